"""The interval of a mean over pairs of models, some of which share a model."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from mcore.evaluation.intervals import of_pairs, student


def test_pairs_that_share_nothing_have_students_interval():
    values = [0.1, 0.2, 0.15, 0.4]
    for pairs in ([(i, i) for i in range(4)], [(i, i + 10) for i in range(4)]):
        found, plain = of_pairs(values, pairs), student(values)
        assert (found.mean, found.n) == (plain.mean, plain.n)
        assert (found.low, found.high) == pytest.approx((plain.low, plain.high))


@pytest.mark.parametrize("seeds", [3, 4, 5])
def test_pairs_of_all_seeds_hold_the_mean_in_95_of_100_cases_where_students_interval_does_not(seeds):
    """Each number is the sum of what its two models have and of what only the pair has."""
    random, pairs, held, plain = np.random.default_rng(seeds), list(combinations(range(seeds), 2)), [], []
    for _ in range(1500):
        own = random.normal(0, 1, seeds)
        values = [own[i] + own[j] + random.normal(0, 0.5) for i, j in pairs]
        found, naive = of_pairs(values, pairs), student(values)
        held.append(found.low <= 0 <= found.high)
        plain.append(naive.low <= 0 <= naive.high)
    assert 0.935 < np.mean(held) < 0.985 and np.mean(plain) < 0.88


def test_a_known_variance_widens_it_and_is_all_there_is_where_the_numbers_agree():
    pairs = [(1, 2), (1, 3), (2, 3)]
    narrow, wide = of_pairs([0.1, 0.2, 0.3], pairs), of_pairs([0.1, 0.2, 0.3], pairs, known=0.01)
    assert wide.high > narrow.high and wide.low < narrow.low and wide.mean == narrow.mean
    alone = of_pairs([0.2, 0.2, 0.2], pairs, known=0.01)
    assert alone.high - 0.2 == pytest.approx(1.96 * 0.1, abs=1e-4)
    assert of_pairs([0.2, 0.2, 0.2], pairs).low == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("values", "pairs"), [([0.1], [(1, 2)]), ([0.1, 0.2], [(1, 2)]), ([0.1, float("nan")], [(1, 2), (3, 4)]), ([0.1, 0.2], [(1, 2), (1, 2)])]
)
def test_too_little_is_refused(values, pairs):
    with pytest.raises(ValueError, match="interval needs|nothing is known"):
        of_pairs(values, pairs)
