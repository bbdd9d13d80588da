"""How much of a task's labels a linear read-out finds in frozen features: a ridge regression, and the same on shuffled labels.

Classes are targets of ±1, one regression for each, of which the highest tells the label; scores are fitted as they are and
told by R². Features are standardised on the rows that are fitted on; the penalty is that of a fitted head (``mcore.evaluation.fitted``),
the same for every layer and every t, so that these can be compared. On the built-in tasks it is within a point of the best.
The control is the mean over several shuffles of the labels that are fitted on, judged by the true ones: what is read out
where there is nothing to read. In scikit-learn's words: ``StandardScaler``, then ``RidgeClassifier(alpha=PENALTY * rows)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcore.errors import McoreError
from mcore.evaluation.fitted import ridge, standardised
from mcore.layers.similarity import CONSTANT
from mcore.tasks.rows import Rows

READOUT_VERSION = 1  # of what is read out: a change of the solution or the control raises it
SHUFFLES = 5
ROUNDING = float(np.finfo(np.float32).eps)  # of the largest number in a layer


@dataclass(frozen=True)
class Found:
    """The share of rows that is told right (classes) or R² (scores), of the labels and of the ``control``; None: R² of equal scores."""

    readout: float | None
    control: float | None


def read_out(fitting: np.ndarray, fitted_on: Rows, features: np.ndarray, rows: Rows, seed: int) -> Found:
    """fitting, features: [rows, features] of the rows to fit on and of those to tell. Raises ``McoreError``."""
    if not (np.isfinite(fitting).all() and np.isfinite(features).all()):
        raise McoreError("The hidden states of a layer are no numbers; try precision float32 or another endpoint.")
    fitting = np.asarray(fitting, np.float64)
    mean, deviation = fitting.mean(axis=0), fitting.std(axis=0)
    largest = np.abs(fitting).max(axis=0, initial=0.0)
    varies = deviation > np.maximum(CONSTANT * largest, ROUNDING * largest.max(initial=0.0))  # the rest is rounding

    def inputs(some: np.ndarray) -> np.ndarray:
        return standardised(some[:, varies], mean[varies], deviation[varies])

    draw = np.random.default_rng([seed, 3])
    labels = [fitted_on.labels, *(draw.permutation(fitted_on.labels) for _ in range(SHUFFLES))]
    targets = np.stack([_targets(some, rows) for some in labels], axis=1)  # [rows, 1 + shuffles, outputs]
    weights = ridge(inputs(fitting), targets.reshape(len(targets), -1))
    told = (inputs(features) @ weights).reshape(len(rows), *targets.shape[1:])
    first, *control = [_told_right(told[:, i], rows) for i in range(len(labels))]
    return Found(first, None if first is None else float(np.mean(control)))


def _targets(labels: np.ndarray, rows: Rows) -> np.ndarray:
    """[rows, outputs]: ±1 for each class, or the score."""
    return np.where(np.eye(len(rows.names), dtype=bool)[labels], 1.0, -1.0) if rows.kind == "classes" else labels[:, None].astype(np.float64)


def _told_right(told: np.ndarray, rows: Rows) -> float | None:
    """told: [rows, outputs]. Of equal outputs the first counts."""
    if rows.kind == "classes":
        return float((told.argmax(axis=1) == rows.labels).mean())
    spread = ((rows.labels - rows.labels.mean()) ** 2).sum()
    return float(1 - ((rows.labels - told[:, 0]) ** 2).sum() / spread) if spread else None
