"""The order of forgetting: where on the path each row is first lost, and how that goes with what it was like in training.

``right`` is bool ``[rows, ts]`` and a ``Cartography`` holds the same rows, as in ``mcore.knowledge.segments``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcore.evaluation.bootstrap import RESAMPLES, Estimate, counts, interval
from mcore.knowledge.segments import checked
from mcore.tuning.cartography import Cartography

FEWEST = 5  # rows that a rank correlation is told of


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation over ``rows`` rows; None where they are too few, or all alike in one of the two."""

    rows: int
    rho: Estimate | None


def lost_at(t: Sequence[float], right: np.ndarray) -> np.ndarray:
    """``[rows]``: the first t at which a row that is right at the first t is wrong.

    Infinity where such a row is never lost, NaN where the first model has it wrong.
    """
    right = checked(t, right)
    wrong = ~right
    found = np.where(wrong.any(axis=1), np.asarray(t, np.float64)[wrong.argmax(axis=1)], np.inf)
    return np.where(right[:, 0], found, np.nan)


def order(
    t: Sequence[float], right: np.ndarray, cartography: Cartography, measure: str = "confidence", kept: bool = False,
    resamples: int = RESAMPLES, seed: int = 0,
) -> Correlation:  # fmt: skip
    """The rank correlation of the t at which a row is lost with its ``measure`` in training (one of ``MEASURES``).

    Over the rows that are lost somewhere; with ``kept`` over all that the first model masters, those never lost counting
    as lost last. Positive with confidence: what goes first was hard.
    """
    at = lost_at(t, right)
    chosen = ~np.isnan(at) if kept else np.isfinite(at)
    return spearman(at[chosen], cartography.measures[measure][chosen], resamples, seed)


def spearman(x: np.ndarray, y: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> Correlation:
    """Pearson's correlation of the ranks, equal values sharing their mean rank; the interval resamples rows.

    ``x`` may hold infinities, which rank as they stand.
    """
    rows = len(x)
    if rows < FEWEST or len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
        return Correlation(rows, None)
    value = _correlated(np.ones((1, rows)), x, y)[0]
    drawn = np.concatenate([_correlated(block, x, y) for block in counts(rows, resamples, seed)])
    return Correlation(rows, interval(float(value), drawn))


def _correlated(drawn: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``[resamples]``; drawn: how often each row counts, ``[resamples, rows]``. NaN where a resample is all alike."""
    drawn = drawn.astype(np.float64)
    middle = (drawn.sum(axis=1, keepdims=True) + 1) / 2  # the mean rank
    a, b = (_ranks(drawn, values) - middle for values in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (drawn * a * b).sum(axis=1) / np.sqrt((drawn * a * a).sum(axis=1) * (drawn * b * b).sum(axis=1))


def _ranks(drawn: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean ranks from 1 of rows that count several times or not at all, ``[resamples, rows]``."""
    _, group = np.unique(values, return_inverse=True)
    by_group = np.argsort(group, kind="stable")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(group[by_group])) + 1])
    sizes = np.add.reduceat(drawn[:, by_group], starts, axis=1)  # [resamples, groups of equal values]
    return (sizes.cumsum(axis=1) - (sizes - 1) / 2)[:, group]
