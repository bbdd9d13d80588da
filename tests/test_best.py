"""The best t is chosen on rows other than those that it is reported on."""

from __future__ import annotations

import numpy as np
import pytest

from mcore.errors import McoreError
from mcore.evaluation.measures import Measured
from mcore.paths.best import best, halves

IDS = list(range(100, 140))
CHOOSING = halves(IDS)


def rows(on_choosing: float, on_others: float, right: float = 1.0, weights: np.ndarray | None = None) -> Measured:
    """Every row of a half with the same loss."""
    return Measured(np.where(CHOOSING, on_choosing, on_others), np.full(len(IDS), right), weights)


def test_a_t_that_is_good_only_on_the_rows_that_choose_is_reported_with_what_the_others_say():
    found = {0.0: rows(0.5, 0.5), 0.5: rows(0.1, 0.9, right=0.25), 1.0: rows(0.4, 0.2)}
    told = best(found, IDS)
    assert told.t == 0.5 and told.choosing == pytest.approx(0.1)
    assert told.loss.value == pytest.approx(0.9) and told.accuracy.value == 0.25
    assert (told.chosen_on, told.reported) == (20, 20)


def test_the_other_rows_have_no_say_in_the_choice():
    found = {0.0: rows(0.5, 0.5), 0.5: rows(0.3, 0.9), 1.0: rows(0.4, 0.2)}
    changed = found | {1.0: rows(0.4, -100.0), 0.0: rows(0.5, -100.0)}
    assert best(found, IDS).t == best(changed, IDS).t == 0.5


def test_the_halves_depend_on_the_ids_and_the_seed_alone():
    order = np.random.default_rng(0).permutation(len(IDS))
    assert (halves([IDS[i] for i in order]) == CHOOSING[order]).all()
    assert CHOOSING.sum() == len(IDS) // 2 and halves(IDS[:7]).sum() == 3
    assert (halves(IDS, 1) != CHOOSING).any() and (halves(IDS) == CHOOSING).all()


def test_the_interval_holds_the_mean_and_narrows_with_the_rows():
    def told(count: int):
        drawn = np.random.default_rng(1).normal(1.0, 0.5, count)
        return best({0.5: Measured(drawn, drawn > 1)}, range(count))

    few, many = told(40), told(4000)
    for one in (few, many):
        assert one.loss.low < one.loss.value < one.loss.high and one.accuracy.low < one.accuracy.value < one.accuracy.high
    assert many.loss.high - many.loss.low < 0.2 * (few.loss.high - few.loss.low)
    standard_error = 0.5 / np.sqrt(many.reported)
    assert many.loss.high - many.loss.low == pytest.approx(2 * 1.96 * standard_error, rel=0.1)


def test_rows_weigh_as_many_tokens_as_they_have():
    weights = np.zeros(len(IDS))
    weights[:4] = 1, 3, 1, 3
    losses = np.where(weights == 3, 2.0, 1.0)
    told = best({0.5: Measured(losses, losses == 2.0, weights)}, IDS)
    mean = np.average
    chosen = halves(IDS[:4])
    assert told.choosing == pytest.approx(mean(losses[:4][chosen], weights=weights[:4][chosen]))
    assert told.loss.value == pytest.approx(mean(losses[:4][~chosen], weights=weights[:4][~chosen]))
    assert (told.chosen_on, told.reported) == (2, 2), "rows without a token are in neither half"


def test_of_equal_losses_the_first_t_is_taken():
    assert best({1.0: rows(0.2, 0.1), 0.25: rows(0.2, 0.3), 0.5: rows(0.2, 0.2)}, IDS).t == 0.25


def test_too_few_rows_or_no_t_is_a_sentence():
    with pytest.raises(McoreError, match="takes 4 rows"):
        best({0.5: Measured(np.ones(3), np.ones(3))}, [1, 2, 3])
    with pytest.raises(McoreError, match="one t"):
        best({}, IDS)
