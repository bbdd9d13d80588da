"""Means over seeds with Student's interval."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mcore.evaluation.intervals import Interval, paired, student


def test_the_interval_is_that_of_the_textbook():
    """1, 2, 3: mean 2, standard deviation 1, t(0.975; 2) = 4.3027."""
    found = student([1, 2, 3])
    assert found.mean == 2 and found.n == 3
    assert found.high - 2 == pytest.approx(4.302653 / math.sqrt(3), abs=1e-5) and 2 - found.low == pytest.approx(found.high - 2)
    assert student([0.0, 1.0]).high == pytest.approx(0.5 + 12.7062 * 0.5, abs=1e-3)


def test_it_holds_the_true_mean_in_95_of_100_cases():
    random = np.random.default_rng(0)
    held = [found.low <= 3 <= found.high for found in (student(random.normal(3, 2, 4)) for _ in range(4000))]
    assert 0.94 < np.mean(held) < 0.96


def test_what_a_pair_shares_cancels():
    shared = [10.0, -20.0, 35.0]
    found = paired([one + 0.5 for one in shared], shared)
    assert found == Interval(0.5, 0.5, 0.5, 3)
    assert paired([1, 2, 4], [0, 0, 1]) == student([1, 2, 3])


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan], [1.0, math.inf], [[1.0, 2.0], [3.0, 4.0]]])
def test_too_few_numbers_or_none_have_no_interval(values):
    with pytest.raises(ValueError):
        student(values)


def test_a_number_without_a_partner_is_no_pair():
    with pytest.raises(ValueError, match="partners"):
        paired([1, 2, 3], [1, 2])
