"""What a fine-tuning minimises, and how its rows are read on the way: one class for each way in which a model answers.

``Trainer`` knows steps, optimiser and state; how a batch of rows becomes a loss stands here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from mcore import probes
from mcore.batches import Batches, make_batches
from mcore.evaluate import device, logits
from mcore.resolve import ResolvedTask
from mcore.tasks import Rows


@dataclass(frozen=True)
class Watched:
    """Rows that are looked at several times, as the model takes them."""

    rows: Rows
    inputs: Batches


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


def texts_of(rows: Rows) -> list[list[str]]:
    """The arguments of a tokenizer: one list of texts, or two for pairs."""
    return [rows.texts] if isinstance(rows.texts[0], str) else [list(column) for column in zip(*rows.texts, strict=True)]
