"""A fitted head: the read-out of a task for which neither endpoint has a head.

At each t the body's last hidden states of some training rows are taken as they are (``mcore.evaluation.features``), and a linear
read-out is fitted to them: multinomial logistic regression for classes, ridge regression for scores, both with a fixed
penalty and one solution. It says what the body at t holds ready for the task, not what a tuned head would make of it.
No rows that are evaluated are fitted on. No torch here: a page chooses the rows as one types.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcore.errors import McoreError, QuestionError
from mcore.question import Task
from mcore.tasks import rows as tasks
from mcore.tasks.rows import Rows

FITTED_VERSION = 1  # of what a fitted head means: a change of rows, features, penalty or solution raises it
MOST_ROWS = 1024  # to fit on: enough for a few labels, and no more work than the rows that are evaluated
FEWEST_ROWS = 8
PENALTY = 0.03  # on half the squared weights, beside the mean loss over the rows; of 0.001 to 0.3 the best on the built-in tasks
STEPS = 500  # of L-BFGS at the most; the problem is convex, and most end far sooner
CLOSE = 1e-6  # the largest slope that counts as none


@dataclass(frozen=True)
class ReadOut:
    """Standardises features and maps them to outputs. ``weights``: [features + 1, outputs], the last row the bias."""

    mean: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """features: [rows, features]. Returns float32 [rows, outputs]: logits of the labels, or the one score."""
        return (standardised(features, self.mean, self.deviation) @ self.weights).astype(np.float32)


def fitting_rows(task: Task, evaluated: Rows, field: str, asked: str = "read") -> Rows:
    """The training rows that the read-out of ``task`` is fitted on: a seeded sample, none with a text that is evaluated.

    Raises ``QuestionError`` below ``field``, of what ``asked`` for a read-out, where there are none.
    """
    asked = f"{field}.{asked}"
    if evaluated.kind == "texts":
        raise QuestionError(asked, "a head cannot be fitted to rows without labels", "name the label's column, or read tokens")
    split = "train" if tasks.has_rows(task, "train", field) else None  # None: what else the data call it
    named, rows = tasks.open_task(task.model_copy(update={"split": split, "limit": MOST_ROWS + len(evaluated)}), field, "train")
    if not named.split.startswith("train"):
        raise QuestionError(asked, "a head is fitted on training rows, and the data have no split train", "choose data that have one")
    known = set(evaluated.texts)
    free = np.array([i for i, text in enumerate(rows.texts) if text not in known], np.int64)
    chosen = rows.take(tasks.sample(free, MOST_ROWS, task.sample_seed))
    if len(chosen) < FEWEST_ROWS or len(set(chosen.labels.tolist())) < 2:
        raise QuestionError(
            asked, f"{len(chosen)} training rows are left that are not evaluated, too few to fit a head on",
            "evaluate the split validation or a smaller limit",
        )  # fmt: skip
    return chosen


def fit(features: np.ndarray, rows: Rows) -> ReadOut:
    """The read-out of the rows' labels or scores. features: [rows, features].

    Raises ``McoreError`` where the features are no numbers.
    """
    features = np.asarray(features, np.float64)
    if not np.isfinite(features).all():
        raise McoreError("The hidden states that a head is fitted on are no numbers; try precision float32 or another endpoint.")
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    inputs = standardised(features, mean, deviation)
    solve = _logistic(inputs, rows.labels, len(rows.names)) if rows.kind == "classes" else ridge(inputs, rows.labels)
    return ReadOut(mean, deviation, solve)


def standardised(features: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """float64 [rows, features + 1]: mean 0 and deviation 1 on the rows that were fitted on, then a column of ones."""
    spread = np.where(deviation > 0, deviation, 1.0)
    return np.column_stack([(np.asarray(features, np.float64) - mean) / spread, np.ones(len(features))])


def _logistic(inputs: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights [inputs, classes] of the least mean cross-entropy + PENALTY / 2 · Σ weights².

    The bias is penalised like the rest, so that a label that no row has gets a finite logit.
    """
    from scipy.optimize import minimize  # 40 MB that other heads do without

    truth = np.eye(classes)[labels]

    def loss_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(inputs.shape[1], classes)
        logits = inputs @ weights
        logits -= logits.max(axis=1, keepdims=True)
        chances = np.exp(logits)
        total = chances.sum(axis=1, keepdims=True)
        loss = (np.log(total[:, 0]) - (logits * truth).sum(axis=1)).mean() + PENALTY / 2 * (flat @ flat)
        slope = inputs.T @ (chances / total - truth) / len(inputs) + PENALTY * weights
        return loss, slope.ravel()

    start = np.zeros(inputs.shape[1] * classes)
    found = minimize(loss_and_slope, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS, "gtol": CLOSE, "ftol": 0.0})
    return found.x.reshape(inputs.shape[1], classes)


def ridge(inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Weights [inputs, outputs] of the least mean squared error + PENALTY · Σ weights², the bias (the mean target) free.

    inputs: as ``standardised`` gives them. targets: [rows], or [rows, outputs], each of which has its own solution.
    """
    centred, middle = inputs[:, :-1], targets.mean(axis=0)
    square = centred.T @ centred / len(inputs) + PENALTY * np.eye(centred.shape[1])
    weights = np.linalg.solve(square, centred.T @ (targets - middle) / len(inputs))
    return np.vstack([weights.reshape(centred.shape[1], np.size(middle)), np.atleast_1d(middle)])
