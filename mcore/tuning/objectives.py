"""What a fine-tuning minimises, and how its rows are read on the way: one class for each way in which a model answers.

``Trainer`` knows steps, optimiser and state, ``curve`` the points of a path; how a batch of rows becomes a loss stands here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import PreTrainedModel

from mcore.errors import QuestionError
from mcore.evaluation import probes
from mcore.evaluation.evaluate import device, logits
from mcore.evaluation.scoring import likelihoods, output_layer_only_at
from mcore.resolved import ResolvedRecipe, ResolvedTask
from mcore.tasks.batches import Batches, encode, make_batches, padded
from mcore.tasks.passages import Passages, answered, pad_of, passages, tokens_of
from mcore.tasks.reading import Kind
from mcore.tasks.rows import Rows


@dataclass(frozen=True)
class Watched:
    """Rows that are looked at several times, as the model takes them."""

    rows: Rows
    inputs: Batches | Passages


class HeadObjective:
    """A classifier's: the cross-entropy of its output layer, in nats."""

    def __init__(self, model: PreTrainedModel, tokenizer, training: ResolvedTask):
        self.model, self.tokenizer, self.max_length = model, tokenizer, training.max_length
        self.labels = torch.as_tensor(training.rows.labels)
        self.encoded = tokenizer(*texts_of(training.rows), truncation=True, max_length=training.max_length)

    def loss(self, places: np.ndarray) -> torch.Tensor:
        """Mean over the training rows at ``places``, with its graph."""
        batch = self.tokenizer.pad({k: [v[i] for i in places] for k, v in self.encoded.items()}, return_tensors="pt")
        scores = self.model(**batch.to(device())).logits
        return torch.nn.functional.cross_entropy(scores, self.labels[torch.as_tensor(places)].to(device()))

    def watch(self, rows: Rows) -> Watched:
        """Rows with the labels of the training rows, made ready once."""
        return Watched(rows, make_batches(self.tokenizer, rows.texts, self.max_length, self.model.config.get_text_config().pad_token_id))

    def look(self, watched: Watched, stop: Callable[[], bool]) -> tuple[np.ndarray, np.ndarray]:
        """As the model stands: the loss of each row in nats [rows], and whether it is predicted right [rows]."""
        scores = logits(self.model.eval(), watched.inputs, stop)
        return probes.cross_entropy(scores, watched.rows.labels), scores.argmax(axis=1) == watched.rows.labels


class LabelObjective:
    """A classifier's on a path between two: the cross-entropy of those ``columns`` of its output that the rows' labels count in."""

    def __init__(self, model: PreTrainedModel, tokenizer, columns: Sequence[int], rows: Rows, max_length: int):
        self.model, self.columns, self.labels = model, list(columns), torch.as_tensor(rows.labels)
        self.pad = model.config.get_text_config().pad_token_id
        if self.pad is None:  # several rows at once need one, as in a fine-tuning
            self.pad = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.unk_token_id
        self.encoded = encode(tokenizer, rows.texts, max_length)
        self.known = inspect.signature(model.forward).parameters

    def loss(self, places: np.ndarray) -> torch.Tensor:
        """Mean over the rows at ``places``, with its graph."""
        inputs = {name: tensor.to(device()) for name, tensor in padded(self.encoded, places.tolist(), self.pad).inputs.items() if name in self.known}
        fixed = {"use_cache": False} if "use_cache" in self.known else {}
        config = self.model.config.get_text_config()
        own, config.pad_token_id = config.pad_token_id, self.pad
        try:
            scores = self.model(**inputs, **fixed).logits[:, self.columns]
        finally:
            config.pad_token_id = own
        return torch.nn.functional.cross_entropy(scores, self.labels[torch.as_tensor(places)].to(scores.device))


class AnswerObjective:
    """A language model's: the cross-entropy of the right answer's tokens over the whole vocabulary, in nats per token.

    A text-to-text model reads the prompt and is trained on the answer with the end of the text, a causal one on the answer's tokens
    after the prompt, a masked one on the one token in the place of ``{mask}``: what evaluation asks for (``mcore.tasks.passages``) is what
    is trained, and nothing of the prompt. A row's loss is the mean over its answer's tokens, a batch's the mean over its rows.
    ``look`` is as evaluation: the likelihoods of all answers, which together make one for each label.
    Raises ``QuestionError`` below ``field``.
    """

    def __init__(self, model: PreTrainedModel, tokenizer, training: ResolvedTask, kind: Kind, field: str):
        self.model, self.tokenizer, self.training, self.kind, self.field = model, tokenizer, training, kind, field
        rows, tokens = training.rows, tokens_of(tokenizer, kind, model.config, training.max_length, field)
        each = rows.answers if isinstance(rows.answers, list) else [rows.answers] * len(rows)
        right = [answers[label] for answers, label in zip(each, rows.labels, strict=True)]
        encoded = list(answered(tokens, rows.texts, right))
        if kind == "masked":
            shared = [] if isinstance(rows.answers, list) else rows.answers
            every = [*zip(right, encoded, strict=True), *zip(shared, answered(tokens, [rows.texts[0]] * len(shared), shared), strict=True)]
            if long := next(((answer, len(asked)) for answer, (_, asked) in every if len(asked) > 1), None):
                told = f"{long[0][:40]!r} is {long[1]} tokens, and a masked language model is tuned on answers of one token each"
                raise QuestionError(f"{field}.answers", told, "choose words that its tokenizer has whole")
        self.inputs, self.asked = [inputs for inputs, _ in encoded], [asked for _, asked in encoded]
        self.known = inspect.signature(model.forward).parameters

    def loss(self, places: np.ndarray) -> torch.Tensor:
        """Mean over the training rows at ``places``, with its graph; the output layer runs where a token is asked for."""
        where = next(self.model.parameters()).device
        batch = padded(self.inputs, places.tolist(), pad_of(self.model.config))
        asked = [(row, *one, 1 / len(self.asked[place])) for row, place in enumerate(places) for one in self.asked[place]]
        rows, positions, tokens, parts = zip(*asked, strict=True)
        inputs = {name: value.to(where) for name, value in batch.inputs.items() if name in self.known}
        fixed = {"use_cache": False} if "use_cache" in self.known else {}
        with output_layer_only_at(self.model) as at:
            at[:] = torch.tensor(rows, device=where), torch.tensor(positions, device=where)
            found = self.model(**inputs, **fixed).logits.float()  # [tokens asked for, vocabulary]
        nats = torch.nn.functional.cross_entropy(found, torch.tensor(tokens, device=where), reduction="none")
        return nats @ torch.tensor(parts, device=where) / len(places)

    def watch(self, rows: Rows) -> Watched:
        """Rows with the labels of the training rows, made ready once."""
        return Watched(rows, passages(replace(self.training, rows=rows), self.kind, self.tokenizer, self.model.config, self.field))

    def look(self, watched: Watched, stop: Callable[[], bool]) -> tuple[np.ndarray, np.ndarray]:
        """As the model stands: the loss of each row in nats [rows], of its label among all, and whether it is predicted right [rows]."""
        scores = likelihoods(self.model.eval(), watched.inputs, bool(self.training.task.normalised), stop)
        return probes.cross_entropy(scores, watched.rows.labels), scores.argmax(axis=1) == watched.rows.labels


Objective = HeadObjective | AnswerObjective


def objective(resolved: ResolvedRecipe, model: PreTrainedModel, tokenizer, field: str) -> Objective:
    """What this recipe minimises. Raises ``QuestionError`` below ``field``."""
    if resolved.kind == "classifier":
        return HeadObjective(model, tokenizer, resolved.training)
    return AnswerObjective(model, tokenizer, resolved.training, resolved.kind, f"{field}.task")


def texts_of(rows: Rows) -> list[list[str]]:
    """The arguments of a tokenizer: one list of texts, or two for pairs."""
    return [rows.texts] if isinstance(rows.texts[0], str) else [list(column) for column in zip(*rows.texts, strict=True)]
