"""Forgotten and learned rows of each segment, what they were like, the order of forgetting, and who holds what."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from mcore.evaluation.bootstrap import counts
from mcore.knowledge.forgetting import lost_at, order, spearman
from mcore.knowledge.held import HELD, WITHIN, half, held, parted
from mcore.knowledge.mastered import knowledge
from mcore.knowledge.segments import FEWEST, describe, groups, segments
from mcore.tuning.cartography import MEASURES, Cartography

RIGHTS = some.tuples(some.integers(0, 14), some.integers(1, 6)).flatmap(lambda shape: arrays(bool, shape))


def ts(right: np.ndarray) -> list[float]:
    return np.linspace(0, 1, right.shape[1]).tolist() if right.shape[1] > 1 else [0.0]


def drawn(rows: int, looks: int = 4, seed: int = 0) -> Cartography:
    random = np.random.default_rng(seed)
    probability = random.random((looks, rows)).astype(np.float32)
    return Cartography(np.arange(rows) * 7, probability, probability > 0.5)


@given(RIGHTS)
def test_forgotten_and_learned_agree_with_the_predictions_of_every_row(right: np.ndarray) -> None:
    parts = segments(ts(right), right)
    assert [(one.low, one.high) for one in parts] == list(itertools.pairwise(ts(right)))
    for i, part in enumerate(parts):
        for row in range(len(right)):
            before, after = bool(right[row, i]), bool(right[row, i + 1])
            assert bool(part.forgotten[row]) == (before and not after)
            assert bool(part.learned[row]) == (after and not before)


@given(RIGHTS)
def test_segments_name_the_rows_that_a_result_names(right: np.ndarray) -> None:
    told = knowledge(ts(right), right.T, list(range(len(right))))
    parts = segments(ts(right), right)
    assert [np.flatnonzero(one.forgotten).tolist() for one in parts] == told["forgotten"]
    assert [np.flatnonzero(one.learned).tolist() for one in parts] == told["learned"]


def test_means_of_a_group_are_those_of_a_plain_computation_from_the_logged_probabilities() -> None:
    random, cartography = np.random.default_rng(1), drawn(60)
    right = random.random((60, 4)) > 0.4
    told = describe([0, 0.3, 0.5, 1], right, cartography, resamples=50)

    def plain(rows: list[int]) -> dict[str, float]:
        each: dict[str, list[float]] = {name: [] for name in MEASURES}
        for row in rows:
            seen, hits = [float(p) for p in cartography.probability[:, row]], [bool(hit) for hit in cartography.right[:, row]]
            mean = sum(seen) / len(seen)
            each["confidence"].append(mean)
            each["variability"].append((sum((p - mean) ** 2 for p in seen) / len(seen)) ** 0.5)
            each["correctness"].append(sum(hits) / len(hits))
            each["flips"].append(sum(a != b for a, b in itertools.pairwise(hits)))
        return {name: sum(values) / len(values) for name, values in each.items()}

    whole = plain(list(range(60)))
    assert told.whole.rows == 60 and {name: one.value for name, one in told.whole.means.items()} == pytest.approx(whole, abs=1e-6)
    for i in range(3):
        for group, gone in ((told.forgotten[i], True), (told.learned[i], False)):
            rows = [row for row in range(60) if right[row, i] == gone and right[row, i + 1] != gone]
            assert group.rows == len(rows) > FEWEST
            assert {name: one.value for name, one in group.means.items()} == pytest.approx(plain(rows), abs=1e-6)
            assert {name: one.value for name, one in group.apart.items()} == pytest.approx({k: v - whole[k] for k, v in plain(rows).items()}, abs=1e-6)
    ever = [row for row in range(60) if any(right[row, i] and not right[row, i + 1] for i in range(3))]
    assert told.ever_forgotten.rows == len(ever)
    assert told.ever_forgotten.means["flips"].value == pytest.approx(plain(ever)["flips"])


def test_an_interval_is_the_percentiles_over_resampled_rows() -> None:
    cartography, mask = drawn(40), np.arange(40) < 15
    [group] = groups([mask], cartography, resamples=200, seed=5)
    values, means, apart = cartography.confidence.astype(float), [], []
    for times in np.concatenate(list(counts(40, 200, 5))):
        rows = np.repeat(np.arange(40), times)
        means.append(values[rows][mask[rows]].mean())
        apart.append(means[-1] - values[rows].mean())
    told = group.means["confidence"], group.apart["confidence"]
    for one, found in zip(told, (means, apart), strict=True):
        assert [one.low, one.high] == pytest.approx(np.percentile(found, [2.5, 97.5]).tolist())
        assert one.low <= one.value <= one.high


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random, hits = np.random.default_rng(0), 0
    for trial in range(200):
        probability = random.beta(2, 1, (1, 80)).astype(np.float32)
        [group] = groups([np.arange(80) < 40], Cartography(np.arange(80), probability, probability > 0.5), resamples=300, seed=trial)
        hits += group.means["confidence"].low <= 2 / 3 <= group.means["confidence"].high
    assert 0.88 <= hits / 200 <= 0.99


def test_a_group_that_is_harder_than_the_rest_is_told_so_by_its_interval() -> None:
    confidence = np.where(np.arange(200) < 20, 0.4, 0.9) + np.random.default_rng(0).normal(0, 0.05, 200)
    cartography = Cartography(np.arange(200), confidence[None].astype(np.float32), confidence[None] > 0.5)
    hard, usual = groups([np.arange(200) < 20, np.arange(200) % 2 == 0], cartography)
    assert hard.apart["confidence"].high < -0.4
    assert usual.apart["confidence"].low < 0 < usual.apart["confidence"].high


def test_a_handful_of_rows_has_means_but_no_interval_and_none_has_neither() -> None:
    cartography = drawn(30)
    few, none = groups([np.arange(30) < FEWEST - 1, np.zeros(30, bool)], cartography)
    assert few.means["flips"].low is None and few.means["flips"].value == pytest.approx(cartography.flips[: FEWEST - 1].mean())
    assert none.rows == 0 and not none.means and not none.apart


def test_no_row_and_one_point_are_no_error() -> None:
    told = describe([0.0], np.zeros((0, 1), bool), drawn(0))
    assert told.whole.rows == 0 and told.forgotten == ()
    assert describe([0, 1], np.zeros((0, 2), bool), drawn(0)).ever_forgotten.rows == 0
    assert describe([0.0], np.ones((9, 1), bool), drawn(9)).ever_learned.rows == 0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="rise"):
        segments([0, 1, 0.5], np.ones((3, 3), bool))
    with pytest.raises(ValueError, match="a column for each t"):
        segments([0, 1], np.ones((2, 3), bool))
    with pytest.raises(ValueError, match="4 rows"):
        groups([np.ones(4, bool)], drawn(5))
    with pytest.raises(ValueError, match="both ends"):
        held([0, 0.5], np.ones((2, 2), bool))


@given(RIGHTS)
def test_a_row_is_lost_where_it_is_first_wrong_if_the_first_model_masters_it(right: np.ndarray) -> None:
    at, t = lost_at(ts(right), right), ts(right)
    for row, series in enumerate(right):
        if not series[0]:
            assert np.isnan(at[row])
        elif series.all():
            assert at[row] == np.inf
        else:
            assert at[row] == t[list(series).index(False)]


def test_the_rank_correlation_is_spearmans() -> None:
    random = np.random.default_rng(3)
    x, y = random.integers(0, 6, 80).astype(float), random.random(80)
    found = spearman(x, y, resamples=60, seed=2)
    assert found.rows == 80 and found.rho.value == pytest.approx(spearmanr(x, y).statistic)
    again = []
    for times in np.concatenate(list(counts(80, 60, 2))):
        rows = np.repeat(np.arange(80), times)
        again.append(spearmanr(x[rows], y[rows]).statistic)
    assert [found.rho.low, found.rho.high] == pytest.approx(np.percentile(again, [2.5, 97.5]).tolist())
    assert spearman(np.append(x, np.inf), np.append(y, 2.0)).rho.value > found.rho.value


def test_what_goes_first_was_hard_is_a_positive_correlation_with_confidence() -> None:
    """The harder a row, the sooner it is lost; the easiest never."""
    rows, t = 120, np.linspace(0, 1, 11)
    confidence = np.linspace(0.05, 0.95, rows)
    right = t[None] < confidence[:, None] * 1.3
    right[:, 0] = True
    right[:, -1] = np.arange(rows) >= 100
    right[100:] = True
    probability = np.stack([confidence, confidence]).astype(np.float32)
    cartography = Cartography(np.arange(rows), probability, probability > 0.5)
    lost, every = (order(t, right, cartography, kept=kept) for kept in (False, True))
    assert lost.rows == 100 and every.rows == rows
    assert lost.rho.low > 0.9 and every.rho.low > 0.9
    assert order(t, right, cartography, "variability").rho is None  # alike in all rows


def test_too_few_rows_or_a_single_segment_have_no_correlation() -> None:
    right = np.ones((20, 3), bool)
    right[:4, 1] = False
    assert order([0, 0.5, 1], right, drawn(20)).rows == 4 and order([0, 0.5, 1], right, drawn(20)).rho is None
    right[:, 1] = False
    assert order([0, 0.5, 1], right, drawn(20)).rho is None  # all lost at one t


@given(RIGHTS)
def test_every_row_is_held_by_one_of_four_and_the_finer_parts_add_up(right: np.ndarray) -> None:
    masks = parted(right)
    assert (sum(mask.astype(int) for mask in masks.values()) == 1).all()
    if right.shape[1] < 2:
        return
    told = held(ts(right), right, resamples=20)
    assert set(told) == {*HELD, *WITHIN} and sum(told[name].rows for name in HELD) == len(right)
    for whole in set(WITHIN.values()):
        assert sum(told[part].rows for part, of in WITHIN.items() if of == whole) == told[whole].rows
    for row in range(len(right)):
        a, b = bool(right[row, 0]), bool(right[row, -1])
        name = {(True, False): "only_a", (False, True): "only_b", (True, True): "both", (False, False): "neither"}[a, b]
        assert told[name].mask[row]
        assert told["midway"].mask[row] == (not a and not b and right[row].any())


def test_where_on_the_path_each_is_held() -> None:
    right = np.array([
        [1, 1, 0, 0, 0], [1, 0, 0, 0, 0],  # only A
        [0, 0, 0, 1, 1],  # only B
        [1, 1, 1, 1, 1], [1, 0, 1, 1, 1],  # both, one of them lost midway
        [0, 0, 1, 0, 0], [0, 0, 0, 0, 0],  # neither, one of them held only midway
    ], bool)  # fmt: skip
    told = held([0, 0.25, 0.5, 0.75, 1], right)
    assert told["only_a"].along.tolist() == [1, 0.5, 0, 0, 0] and told["only_b"].along.tolist() == [0, 0, 0, 1, 1]
    assert told["both"].along.tolist() == [1, 0.5, 1, 1, 1] and told["midway"].along.tolist() == [0, 0, 1, 0, 0]
    assert told["only_a"].share.value == pytest.approx(2 / 7)
    assert told["only_a"].share.low < 2 / 7 < told["only_a"].share.high
    assert half([0, 0.25, 0.5, 0.75, 1], told["only_a"].along) == 0.5
    assert half([0, 0.25, 0.5, 0.75, 1], told["both"].along) is None


def test_an_empty_part_is_held_nowhere() -> None:
    told = held([0, 1], np.ones((6, 2), bool))
    assert told["only_a"].rows == 0 and np.isnan(told["only_a"].along).all()
    assert (told["both"].share.value, told["both"].share.low, told["both"].share.high) == (1, None, None)


def test_twice_the_same() -> None:
    right = np.random.default_rng(0).random((50, 4)) > 0.3
    assert describe([0, 0.2, 0.6, 1], right, drawn(50)) == describe([0, 0.2, 0.6, 1], right, drawn(50))
