"""What responses are worth: the loss of each row and whether it is right, by what the rows hold and how they are read.

Logits of labels give the cross-entropy and right or wrong; a score gives the squared error; a text's own tokens give
nats in all, how many tokens there were, and how many of them were predicted first. Pure functions; no model runs here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcore.evaluation import probes
from mcore.resolved import ResolvedTask

CLOSE = 0.5  # a predicted score no further than this from the true one counts as right
NAMES = {
    "classes": {"loss": "nats", "accuracy": "accuracy"},
    "tokens": {"loss": "nats per token", "accuracy": "tokens predicted right"},
    "scores": {"loss": "squared error", "accuracy": f"within {CLOSE}"},
}


@dataclass(frozen=True)
class Measured:
    """``losses`` and ``right``: [rows]. ``weights``: [rows], the tokens that each row's means are over; None: rows count alike."""

    losses: np.ndarray  # float64
    right: np.ndarray  # bool, or the fraction of a row's tokens
    weights: np.ndarray | None = None

    @property
    def loss(self) -> float:
        """Of all rows; in nats per token it is the logarithm of the perplexity."""
        return self._mean(self.losses)

    @property
    def accuracy(self) -> float:
        return self._mean(self.right)

    def _mean(self, values: np.ndarray) -> float:
        return float(values.mean()) if self.weights is None else float(values @ self.weights / self.weights.sum())


def named(task: ResolvedTask) -> dict[str, str]:
    """What loss and accuracy are of this task, in words: a value of ``NAMES``."""
    return NAMES[_kind(task)]


def by_label(task: ResolvedTask) -> bool:
    """Whether the responses are logits of labels, so that one is predicted and each has a probability."""
    return _kind(task) == "classes"


def measured(task: ResolvedTask, responses: np.ndarray) -> Measured:
    """responses: [rows, labels] logits; [rows, 1] scores; [rows, 3] nats, tokens and tokens predicted right."""
    kind = _kind(task)
    if kind == "classes":
        labels = task.rows.labels
        return Measured(probes.cross_entropy(responses, labels), probes.right(responses, labels))
    if kind == "scores":
        apart = responses[:, 0].astype(np.float64) - task.rows.labels
        return Measured(apart**2, np.abs(apart) <= CLOSE)
    nats, tokens, right = responses.T
    each = np.maximum(tokens, 1)  # a text without a token to predict weighs nothing
    return Measured(nats / each, right / each, tokens)


def _kind(task: ResolvedTask) -> str:
    return "tokens" if task.read == "tokens" else task.rows.kind
