"""Barriers agree with loops over their definitions; intervals cover, and come out the same twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcore.evaluation import bootstrap
from mcore.evaluation.barrier import barriers


def path(seed=0, points=7, examples=60, height=0.4, noise=0.2):
    """t, losses and right of a path that rises by ``height`` in its middle."""
    random = np.random.default_rng(seed)
    t = np.linspace(0, 1, points)
    hard = random.gamma(2, 0.2, examples)
    losses = hard + height * np.sin(np.pi * t)[:, None] + noise * random.random((points, examples))
    right = random.random((points, examples)) < (0.9 - 0.3 * np.sin(np.pi * t))[:, None]
    return t, losses, right


paths = st.builds(
    path, st.integers(0, 10_000), st.integers(3, 9), st.integers(1, 40), st.floats(-0.5, 0.5), st.floats(0, 1)
)


@settings(max_examples=60)
@given(paths)
def test_values_are_the_textbook_maxima(data):
    t, losses, right = data
    told = barriers(t, losses, right, resamples=20)
    loss, accuracy = [row.mean() for row in losses], [row.mean() for row in right]
    over_chord = [loss[i] - ((1 - x) * loss[0] + x * loss[-1]) for i, x in enumerate(t)]
    over_mean = [one - (loss[0] + loss[-1]) / 2 for one in loss]
    under_chord = [(1 - x) * accuracy[0] + x * accuracy[-1] - accuracy[i] for i, x in enumerate(t)]
    for name, rises in (("loss_chord", over_chord), ("loss_mean", over_mean), ("accuracy_chord", under_chord)):
        assert told[name]["value"] == pytest.approx(max(rises), abs=1e-12)
        assert rises[list(t).index(told[name]["t"])] == pytest.approx(max(rises), abs=1e-12)
        assert told[name]["low"] <= told[name]["value"] <= told[name]["high"]
        assert told[name]["value"] >= -1e-12, "the ends stand on their own chord"


def test_the_interval_is_the_percentiles_of_a_plain_paired_bootstrap():
    t, losses, right = path()
    random = np.random.default_rng(3)
    maxima = []
    for _ in range(200):
        drawn = random.integers(0, losses.shape[1], losses.shape[1])
        means = [losses[i, drawn].mean() for i in range(len(t))]
        maxima.append(max(m - ((1 - x) * means[0] + x * means[-1]) for m, x in zip(means, t, strict=True)))
    told = barriers(t, losses, right, resamples=200, seed=3)["loss_chord"]
    assert [told["low"], told["high"]] == pytest.approx(np.percentile(maxima, [2.5, 97.5]).tolist())


def test_blocks_change_nothing(monkeypatch):
    t, losses, right = path()
    whole = barriers(t, losses, right, resamples=50)
    monkeypatch.setattr(bootstrap, "BLOCK", 3 * losses.shape[1])
    blocks = barriers(t, losses, right, resamples=50)
    for name in whole:
        assert blocks[name] == pytest.approx(whole[name])


def test_twice_the_same_and_another_seed_is_close():
    t, losses, right = path()
    assert barriers(t, losses, right) == barriers(t, losses, right)
    one, other = (barriers(t, losses, right, seed=seed)["loss_chord"] for seed in (0, 1))
    assert one["low"] != other["low"] and one["low"] == pytest.approx(other["low"], abs=0.02)


@settings(max_examples=30)
@given(paths)
def test_a_to_b_is_as_high_as_b_to_a(data):
    t, losses, right = data
    there, back = barriers(t, losses, right, 10), barriers(1 - t[::-1], losses[::-1], right[::-1], 10)
    for name in there:
        assert there[name]["value"] == pytest.approx(back[name]["value"], abs=1e-9)


@settings(max_examples=30)
@given(paths, st.floats(-2, 2))
def test_a_constant_added_to_every_loss_moves_no_barrier(data, constant):
    t, losses, right = data
    for name in ("loss_chord", "loss_mean"):
        before, after = (barriers(t, values, right, 10)[name] for values in (losses, losses + constant))
        for measure in ("value", "low", "high"):
            assert after[measure] == pytest.approx(before[measure], abs=1e-9)


def test_shared_difficulty_does_not_widen_the_interval():
    """What all points share cancels in a paired bootstrap: this is why it is paired."""
    t, losses, right = path(noise=0.0)
    hard = losses + np.random.default_rng(1).normal(0, 10, losses.shape[1])
    told = barriers(t, hard, right)["loss_chord"]
    assert told["high"] - told["low"] < 1e-9


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        rise = random.exponential(0.4, 150)  # of each example, at the middle: the true barrier is 0.4
        losses = np.stack([np.ones(150), 1 + rise, np.ones(150)])
        told = barriers([0, 0.5, 1], losses, losses > 9, resamples=300)["loss_chord"]
        covered += told["low"] <= 0.4 <= told["high"]
    assert covered >= 52


@pytest.mark.parametrize("t", [[], [0.0], [0.0, 1.0], [0.0, 0.5, 0.9], [0.1, 0.5, 1.0]])
def test_no_barrier_without_both_ends_and_a_point_between(t):
    assert barriers(t, np.ones((len(t), 4)), np.ones((len(t), 4), bool)) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_barrier_from_losses_that_are_not_numbers(bad):
    t, losses, right = path()
    losses[2, 3] = bad
    assert barriers(t, losses, right) is None


def test_equal_ends_have_no_barrier_at_all():
    told = barriers([0, 0.5, 1], np.full((3, 9), 0.3), np.ones((3, 9), bool))
    for measure in told.values():
        assert [measure[key] for key in ("value", "low", "high")] == pytest.approx([0, 0, 0], abs=1e-12)


def test_weights_count_an_example_as_often_as_they_say():
    random = np.random.default_rng(5)
    t, losses = np.linspace(0, 1, 5), random.random((5, 6))
    weights = np.array([3, 1, 2, 1, 4, 2])
    right = losses < 0.5
    weighted, repeated = barriers(t, losses, right, 10, weights=weights), barriers(t, losses.repeat(weights, 1), right.repeat(weights, 1), 10)
    for name, rise in weighted.items():
        assert rise["value"] == pytest.approx(repeated[name]["value"]) and rise["t"] == repeated[name]["t"]
        assert rise["low"] <= rise["value"] <= rise["high"]


def test_examples_that_weigh_nothing_are_as_if_they_were_not_there():
    losses = np.random.default_rng(6).random((5, 8))
    t, weights = np.linspace(0, 1, 5), np.array([0, 2, 3, 0, 1, 5, 1, 0])
    left = weights > 0
    assert barriers(t, losses, losses > 0.5, 50, weights=weights) == barriers(t, losses[:, left], losses[:, left] > 0.5, 50, weights=weights[left])


def test_equal_weights_give_the_unweighted_barrier():
    losses = np.random.default_rng(7).random((5, 8))
    t, weights = np.linspace(0, 1, 5), np.full(8, 4)
    for name, rise in barriers(t, losses, losses > 0.5, 50).items():
        assert barriers(t, losses, losses > 0.5, 50, weights=weights)[name] == pytest.approx(rise)
