"""Means over seeds with Student's interval: what a handful of repetitions says of the next one. Pure functions of numbers.

``mcore.evaluation.bootstrap`` draws intervals over rows instead, of which there are hundreds; of seeds there are three to ten, too few
to resample.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

LEVEL = 0.95
FEWEST = 2  # of one number nothing is known of how much it varies


@dataclass(frozen=True)
class Interval:
    """The mean of ``n`` numbers and its interval, all three in the numbers' own unit."""

    mean: float
    low: float
    high: float
    n: int


def student(values: Sequence[float], level: float = LEVEL) -> Interval:
    """The mean m of n numbers, and m ± t · s / √n.

    s is their standard deviation (over n − 1), t the (1 + level) / 2 quantile of Student's distribution with n − 1 degrees
    of freedom: 12.71 for two numbers, 4.30 for three, 2.78 for five. It holds the true mean in ``level`` of all cases where the
    numbers are independent and about normal. Raises ``ValueError`` for fewer than ``FEWEST`` numbers, or one that is not finite.
    """
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or len(found) < FEWEST or not np.isfinite(found).all():
        raise ValueError(f"an interval needs at least {FEWEST} finite numbers, not {list(values)}")
    n, mean = len(found), float(found.mean())
    half = float(stdtrit(n - 1, (1 + level) / 2)) * float(found.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def paired(first: Sequence[float], second: Sequence[float], level: float = LEVEL) -> Interval:
    """The same of the differences first − second, where each two share what is drawn anew (a seed): what they share cancels."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} numbers have no {len(second)} partners")
    return student(np.asarray(first, np.float64) - np.asarray(second, np.float64), level)


def of_pairs(values: Sequence[float], pairs: Sequence[tuple[Hashable, Hashable]], known: float = 0.0, level: float = LEVEL) -> Interval:
    """The mean of numbers that each belong to two models, and its interval where some of them share a model.

    ``pairs`` names the two of each number. Its variance is that of leaving out one model after the other (the jackknife of a
    U-statistic, Arvesen 1969), with one degree of freedom less than there are models; where no two numbers share one, and for
    pairs named twice by the same name, this is ``student``. ``known``: a variance of the mean from elsewhere (the rows that all
    were evaluated on); the two half-widths are joined as the sides of a right angle, so that more of either is never narrower.

    Raises ``ValueError`` where there are no two numbers, or one that is not finite.
    """
    found = np.asarray(values, np.float64)
    if len(found) != len(pairs) or len(found) < FEWEST or not np.isfinite(found).all():
        raise ValueError(f"an interval needs at least {FEWEST} finite numbers, each of a pair, not {list(values)}")
    holding = {model: frozenset(i for i, pair in enumerate(pairs) if model in pair) for pair in pairs for model in pair}
    every = set(range(len(found)))  # models that are in the same numbers are left out together
    without = np.array([found[sorted(every - held)].mean() for held in dict.fromkeys(holding.values()) if held != every])
    if len(without) < FEWEST:
        raise ValueError("one model is in every pair: nothing is known of how much the others vary")
    freedom = len(without) - 1
    variance = freedom / len(without) * float(((without - without.mean()) ** 2).sum())
    among, fixed = float(stdtrit(freedom, (1 + level) / 2)) ** 2 * variance, float(ndtri((1 + level) / 2)) ** 2 * known
    mean, half = float(found.mean()), math.sqrt(among + fixed)
    return Interval(mean, mean - half, mean + half, len(found))
