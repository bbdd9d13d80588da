"""Resampling rows with replacement: how often each row is drawn, in blocks, and intervals of what follows from that.

Whatever is a sum over rows is a product with these counts, so that one set of resamples serves many groups and measures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BLOCK = 4_000_000  # numbers in one block of counts: bounds the memory for large data sets
RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % bootstrap interval; None for an interval where there are too few rows for one."""

    value: float
    low: float | None = None
    high: float | None = None


def counts(rows: int, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[np.ndarray]:
    """Blocks of ``[resamples, rows]``: how often each row is in each resample of ``rows`` rows."""
    random, block = np.random.default_rng(seed), max(1, min(resamples, BLOCK // max(1, rows)))
    for start in range(0, resamples, block):
        draws = (random.integers(0, rows, rows) for _ in range(min(block, resamples - start)))
        yield np.stack([np.bincount(drawn, minlength=rows) for drawn in draws])


def interval(value: float, resampled: np.ndarray) -> Estimate:
    """``value`` with the 2.5th and 97.5th percentile of ``resampled`` [resamples], those that are no number left out.

    Widened to the value where a statistic leans under resampling; no interval where most resamples have no value.
    """
    there = resampled[np.isfinite(resampled)]
    if not np.isfinite(value) or len(there) < max(1, len(resampled) / 2):
        return Estimate(float(value))
    low, high = np.percentile(there, [2.5, 97.5])
    return Estimate(float(value), min(float(low), float(value)), max(float(high), float(value)))
