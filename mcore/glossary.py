"""One sentence for each word of the field, as it stands behind a dotted underline."""

from __future__ import annotations

SMALL = 0.05  # nats: what rises no higher above the chord counts as connected

glossary: dict[str, str] = {
    "barrier": f"The highest rise of the loss along the path above the chord; read by labels, up to {SMALL} nats is none.",
    "chord": "The straight line between the losses of A and B: what the loss would be if it changed evenly.",
    "path": "The way through weight space from A at t = 0 to B at t = 1; at each t it is one whole model.",
    "mastered": "A row is mastered at t if the model at t predicts its label right.",
    "forgotten": "Rows that were mastered at one point of the path and are no longer at the next.",
    "learned": "Rows that were not mastered at one point of the path and are at the next.",
    "endpoint": "One of the two models that the path joins: A at t = 0, B at t = 1.",
    "interval": "A 95 % bootstrap interval: where the number falls when the rows are drawn anew, 95 times of 100.",
    "ensemble": "Both models are run and their outputs mixed, (1−t) of A's and t of B's: twice the work of one model.",
    "weight average": "One model whose weights are (1−t) times A's plus t times B's: the straight path at t.",
    "confidence": "How probable a label is to the model: the predicted one at a point, the true one in cartography.",
    "variability": "How much the probability of a row's true label varied during training (standard deviation).",
    "correctness": "The fraction of looks during training at which a row was predicted right.",
    "flips": "How often a row went from right to wrong or back between two looks during training.",
    "calibration error": "How far confidence and accuracy lie apart, averaged over 15 bins of confidence.",
    "head": "The last layer, new in each fine-tuning, that turns what the model has read into a label.",
    "fitted head": "A linear read-out of the last hidden states, fitted at each t on training rows: what the body holds ready for a task.",
    "seed": "The number that fixes a random choice: how the head starts, or in which order the rows come.",
    "nats": "The unit of loss: the natural logarithm of how unexpected the true label was; 0.69 is a coin toss.",
    "pre-training step": "How long the base had been trained on plain text before it was fine-tuned.",
    "macro F1": "The mean over labels of F1, precision and recall in one number: rare labels count like common ones.",
    "agreement": "The fraction of rows for which two models predict the same label.",
    "bend": "A control point of a curve or chain that is fitted, so that the loss along the way becomes low.",
    "Bézier curve": "A smooth curve from A to B that its bends draw towards them; it does not pass through them.",
    "polygonal chain": "Straight pieces from A over each bend to B; at a bend the weights are the bend.",
    "learned mix": "One model with a fitted share of B for each tensor, layer or block; the way leads over it.",
    "partial path": "Only some parts of the model go from A to B, the rest stays: it shows which part carries a barrier.",
    "spherical": "Each tensor turns from A to B along a great circle and keeps its norm (slerp) where a line would shrink it.",
    "task vector": "What fine-tuning changed: a model's weights minus those of the base that it was tuned from.",
    "alignment": "B's hidden units put in another order that matches A's; B computes what it computed before.",
    "length": "How far one walks along a path, in L2 over all weights; the straight way between its ends is the shortest.",
    "arc length": "The way walked so far, in L2 over all weights: equal steps on this axis change the weights equally.",
    "change of output": "How far the predicted probabilities move on the way (total variation): equal steps change them equally.",
}
