"""What one or two endpoints' responses say: loss, accuracy, calibration, agreement, the ensemble.

Pure functions of stored responses; no model runs here. Everywhere ``logits`` is a float array
``[examples, classes]`` in the task's label order and ``labels`` an integer array ``[examples]``.
What is measured along a whole path stands in ``barrier`` and ``knowledge``.
"""

from __future__ import annotations

import numpy as np

BINS = 15  # of the calibration error, as in Guo et al. 2017


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Natural log of the softmax, float64 ``[examples, classes]``; stable for logits of any size."""
    wide = np.asarray(logits, dtype=np.float64)
    wide = wide - wide.max(axis=1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The loss of each example in nats, float64 ``[examples]``."""
    return -log_probabilities(logits)[np.arange(len(labels)), labels]


def right(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each example is predicted right, bool ``[examples]``. Of equal logits the first one counts."""
    return np.argmax(logits, axis=1) == np.asarray(labels)


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The fraction that is predicted right."""
    return float(right(logits, labels).mean())


def macro_f1(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean over classes of F1 = 2TP / (2TP + FP + FN).

    A class that neither occurs nor is predicted has no F1 and is left out, as in scikit-learn.
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    predicted = logits.argmax(axis=1)
    occurs = np.bincount(labels, minlength=logits.shape[1])
    claimed = np.bincount(predicted, minlength=logits.shape[1])
    hits = np.bincount(labels[predicted == labels], minlength=logits.shape[1])
    present = occurs + claimed > 0
    return float((2 * hits[present] / (occurs + claimed)[present]).mean())


def confidence(logits: np.ndarray) -> float:
    """The mean probability of the predicted class."""
    return float(np.exp(log_probabilities(logits).max(axis=1)).mean())


def calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error (Guo et al. 2017): Σ over bins of share × |accuracy − confidence|.

    The bins have equal widths and hold their upper edges: (0, 1/15], (1/15, 2/15] …
    """
    sure = np.exp(log_probabilities(logits).max(axis=1))
    bin_of = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    surplus = np.bincount(bin_of, weights=right(logits, labels) - sure, minlength=bins)
    return float(np.abs(surplus).sum() / len(sure))


def agreement(logits: np.ndarray, other: np.ndarray) -> float:
    """The fraction of examples for which both predict the same class."""
    return float((np.argmax(logits, axis=1) == np.argmax(other, axis=1)).mean())


def change(logits: np.ndarray, other: np.ndarray) -> float:
    """How far two models' outputs lie apart: the mean over examples of the total variation, ½ Σ |p − q|, from 0 to 1."""
    p, q = np.exp(log_probabilities(logits)), np.exp(log_probabilities(other))
    return float(np.abs(p - q).sum(axis=1).mean() / 2)


def ensemble(logits_a: np.ndarray, logits_b: np.ndarray, t: float) -> np.ndarray:
    """(1−t)·A + t·B of the two endpoints' *logits* ``[examples, classes]`` (Wortsman et al. 2022).

    Not of their weights: this is what the weight average at ``t`` is compared with.
    """
    if t in (0, 1):  # 0 × infinity would spoil an end that is finite
        return np.asarray(logits_b if t else logits_a)
    return (1 - t) * np.asarray(logits_a) + t * np.asarray(logits_b)
