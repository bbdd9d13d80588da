"""Sentences say what the numbers carry, no more; numbers and endpoints are written in one way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcore import words
from mcore.evaluation.barrier import barriers
from mcore.knowledge.mastered import knowledge
from mcore.question import Task, parse, parse_recipe
from mcore.words import meaning


def result(height=0.4, points=13, examples=400, keep=None, right=0.9, dip=0.3, spread=0.5, ensemble=True) -> dict:
    """One task's entry of a result whose loss rises by ``height`` and whose accuracy dips by ``dip``."""
    random = np.random.default_rng(0)
    t = np.linspace(0, 1, points)[list(range(points)) if keep is None else keep]
    bump = np.sin(np.pi * t)[:, None]
    noise = random.normal(size=examples)
    losses = 0.3 + height * bump * (1 + spread * (noise - noise.mean()))
    hits = np.arange(examples) < ((right - dip * bump) * examples).round()
    told = {"t": t.tolist(), "loss": losses.mean(axis=1).tolist(), "accuracy": hits.mean(axis=1).tolist(),
            "rows": list(range(examples)), "labels": ["no", "yes"], "constant_baseline": 0.5,
            "barrier": barriers(t, losses, hits), "knowledge": knowledge(t.tolist(), hits, list(range(examples)))}  # fmt: skip
    return told | ({"ensemble_loss": [0.28] * len(t)} if ensemble else {})


def recipe(**fields):
    return parse_recipe({"base": "builtin:austen@7000", "task": {"task": "builtin:speech"}, "steps": 150, **fields})


def experiment(a, b):
    return parse({"version": 1, "a": a, "b": b, "tasks": [{"task": "builtin:speech"}], "points": 13})


def test_a_high_barrier_is_told_with_its_interval_and_place():
    told = meaning(result())
    assert told.summary.startswith("The straight line rises 0.40 nats (95 % interval 0.38 to 0.42)")
    assert "above the chord at t = 0.50: these two minima are not linearly connected on this task." in told.summary
    assert "Accuracy falls 30.0 points" in told.summary


def test_a_flat_path_is_told_connected():
    told = meaning(result(height=0.01, dip=0.0))
    assert "never rises more than 0.010 nats above the chord" in told.summary
    assert "linearly connected on this task" in told.summary and "not" not in told.summary
    assert "Accuracy falls no more than 0.0 points" in told.summary


def test_an_interval_across_the_threshold_decides_nothing():
    told = meaning(result(height=0.05, spread=5))
    assert "these rows do not decide it" in told.summary and "connected on this task" not in told.summary
    assert told.next_step == "Evaluate more rows: 400 leave the interval too wide."


@pytest.mark.parametrize(("loss", "accuracy", "rise"), [
    ("nats per token", "tokens predicted right", "rises 0.40 nats per token"), ("squared error", "within 0.5", "rises 0.40 in squared error"),
])  # fmt: skip
def test_what_tokens_and_scores_cost_is_told_without_a_verdict_on_minima(loss, accuracy, rise):
    measured = {"measure": {"loss": loss, "accuracy": accuracy}, "constant_baseline": None}
    high, flat = (meaning(result(**how) | measured) for how in ({}, {"height": 0.0, "dip": 0.0}))
    assert rise in high.summary and "to 0.42) above the chord at t = 0.50." in high.summary
    assert "never rises above the chord (95 % interval" in flat.summary and f"0.000 {loss})." in flat.summary
    assert not any("connected" in told.summary or "basin" in told.next_step for told in (high, flat))
    assert "in the Library" in high.next_step


def test_a_fitted_head_stands_in_the_headline():
    high, flat = (meaning(result(**how) | {"head": "fitted", "task": {"read": "fitted"}}).summary for how in ({}, {"height": 0.0, "dip": 0.0}))
    for told in (high, flat):
        assert told.startswith("Read with a head that is fitted anew at each t, the straight line") and "minima" not in told
    assert "is lost between them" in high and "is there all along" in flat


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_certainty_needs_the_whole_interval_on_one_side(low, value, high):
    low, value, high = sorted((low, value, high))
    decided = words.is_connected({"low": low, "value": value, "high": high})
    assert decided is (True if high <= words.SMALL else False if low > words.SMALL else None)


def test_partial_results_say_so():
    asked = np.linspace(0, 1, 13).tolist()
    assert meaning(result(keep=[]), asked_t=asked).summary == "0 of 13 points so far: nothing is computed yet."
    ends = meaning(result(keep=[0, 12]), asked_t=asked).summary
    assert ends.startswith("2 of 13 points so far: A has a loss of 0.30 nats and is right on 90.0 % of the rows; B")
    high = meaning(result(keep=[0, 6, 12]), asked_t=asked)
    assert high.summary.startswith("3 of 13 points so far: the straight line") and "already not" in high.summary
    assert "10 more points can only raise the barrier" in high.next_step
    flat = meaning(result(height=0.0, keep=[0, 6, 12]), asked_t=asked).summary
    assert "no barrier yet" in flat and "linearly connected" not in flat


def test_the_experiment_tells_which_points_are_missing():
    asked = experiment("builtin:austen@0", "builtin:austen@7000")
    assert meaning(result(keep=[0, 6, 12]), asked).summary.startswith("3 of 13")
    assert "so far" not in meaning(result(), asked).summary


def test_ends_that_learned_nothing_are_named():
    told = meaning(result(right=0.52, dip=0.0))
    assert "But A is right on 52.0 % and B is right on 52.0 % of the rows, near the 50.0 %" in told.summary
    assert "says little" in told.summary and any("Accuracy" in sentence for sentence in told.more)
    assert meaning(result(right=0.52), experiment(recipe(), recipe(head_seed=2))).next_step.startswith("Train both for more")
    assert "which label each output" in meaning(result(right=0.2, dip=0.0)).next_step


def test_losses_that_are_not_numbers_are_named():
    broken = result() | {"barrier": None}
    broken["loss"] = [*broken["loss"][:4], None, *broken["loss"][5:]]
    assert "The loss is not a finite number at t = 0.33" in meaning(broken).summary
    assert "at A loss 0.30" in words.alternative(broken)


def test_knowledge_and_ensemble_have_a_sentence_each():
    lost, mixed = meaning(result()).more
    assert lost.startswith("Of the 360 rows that A masters, 0 are lost for good") and "120 that both master" in lost
    assert "loss of 0.70 nats, the ensemble of A and B 0.28: the ensemble does better" in mixed
    assert len(meaning(result(ensemble=False)).more) == 1


@pytest.mark.parametrize(
    ("a", "b", "height", "step"),
    [
        ({}, {"head_seed": 2}, 0.4, "same head seed"),
        ({"rows": "half-1"}, {"rows": "half-2"}, 0.4, "same rows"),
        ({}, {"base": "builtin:austen@0"}, 0.4, "same pre-training step"),
        ({}, {"task": {"task": "builtin:novel"}}, 0.4, "later pre-training step"),
        ({}, {"data_seed": 2}, 0.4, "fewer steps"),
        ({}, {"data_seed": 2}, 0.0, "another head seed"),
        ({}, {"head_seed": 2}, 0.0, "earlier pre-training step"),
        ({}, {}, 0.0, "A and B are the same"),
    ],
)
def test_the_next_step_follows_from_what_differs(a, b, height, step):
    assert step in meaning(result(height=height, dip=height / 2), experiment(recipe(**a), recipe(**b))).next_step


def test_few_points_ask_for_more():
    assert "more points" in meaning(result(height=0.0, points=4)).next_step


@given(st.floats(0, 2), st.floats(-0.5, 0.5), st.integers(2, 9), st.floats(0, 3), st.floats(0.3, 1), st.sets(st.integers(0, 8)))
def test_there_is_always_a_sentence_and_a_next_step(height, dip, points, spread, right, keep):
    entry = result(height, points, 30, sorted(k for k in keep if k < points), right, dip, spread)
    for told in (meaning(entry), meaning(entry, asked_t=np.linspace(0, 1, points))):
        for sentence in (told.summary, told.next_step, *told.more, words.alternative(entry)):
            assert sentence.endswith(".") and sentence[0].upper() == sentence[0]
            assert "nan" not in sentence and "None" not in sentence and "−0.00" not in sentence


def test_numbers_have_as_many_digits_as_their_interval_carries():
    assert words.nats(0.4213) == "0.42" and words.nats(0.4213, (0.35, 0.49)) == "0.42"
    assert words.nats(0.0042, (0.001, 0.009)) == "0.004"
    assert words.nats(-0.001) == "0.00" and words.nats(-0.5) == "−0.50" and words.nats(None) == "–"
    assert words.percent(0.85349) == "85.3 %" and words.t_text(1) == "1.00" and words.percent(float("nan")) == "–"


@pytest.mark.parametrize(("seconds", "text"), [
    (0.2, "under 1 s"), (42.4, "42 s"), (59.6, "1 min"), (200, "3 min 20 s"), (3600, "1 h"), (7500, "2 h 5 min"),
])  # fmt: skip
def test_durations(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [
    (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (17_400_000, "17.4 MB"), (999_999, "1.00 MB"), (5e9, "5.00 GB"), (2e12, "2.00 TB"),
])  # fmt: skip
def test_sizes(count, text):
    assert words.size(count) == text


def test_endpoints_have_five_words():
    assert words.endpoint_name(recipe()) == "austen@7000 tuned on speech, 150 steps"
    assert words.endpoint_name(recipe(method="adapter", placement="pfeiffer")) == "austen@7000 tuned on speech by Pfeiffer adapters of 24, 150 steps"
    assert words.endpoint_name("hub:connectivity/feather_berts_0") == "feather_berts_0"
    assert words.endpoint_name("hub:a/b@" + "0123456789" * 4) == "b@0123456"
    assert words.endpoint_name("local:/models/mine@home") == "mine@home"
    assert words.endpoint_name(recipe(task={"task": "hub:nyu-mll/glue/mnli"})) == "austen@7000 tuned on glue/mnli, 150 steps"


@pytest.mark.parametrize(
    ("a", "b", "line"),
    [
        (recipe(), recipe(head_seed=2), "head seed 1 → 2; everything else the same"),
        (recipe(), recipe(learning_rate=5e-5), "learning rate 0.0005 → 5e-5; everything else the same"),
        (recipe(), recipe(base="builtin:austen@0", rows="half-1"),
         "pre-training step 7000 → 0, training rows all → half-1 (50 % in common); everything else the same"),
        (recipe(), recipe(task={"task": "builtin:novel"}), "task speech → novel; everything else the same"),
        (recipe(), recipe(), "the same recipe: nothing differs"),
        (recipe(), recipe(method="lora"), "method full fine-tuning → LoRA r 8; everything else the same"),
        (recipe(method="lora"), recipe(method="lora", rank=8), "the same recipe: nothing differs"),
        (recipe(method="adapter"), recipe(method="adapter", bottleneck=4, train_norms=True),
         "adapter bottleneck 24 → 4, adapter norms tuned no → yes; everything else the same"),
        (recipe(method="adapter"), recipe(method="adapter", head_seed=2), "head seed 1 → 2, adapter seed 1 → 2; everything else the same"),
        (recipe(method="prefix", delta_seed=1), recipe(method="prefix", delta_seed=1, head_seed=2), "head seed 1 → 2; everything else the same"),
        ("builtin:austen@7000", recipe(method="bitfit"), "B is A tuned on speech by BitFit for 150 steps"),
        ("builtin:austen@0", "builtin:austen@7000", "pre-training step 0 → 7000"),
        ("hub:a/b", "hub:a/b@refs/pr/1", "revision main → refs/pr/1"),
        ("hub:a/b_0", "hub:a/b_15", "checkpoint a/b_0 → a/b_15"),
        ("builtin:austen@7000", recipe(), "B is A tuned on speech for 150 steps"),
        ("hub:a/b", recipe(), "A is a checkpoint, B a recipe: b → austen@7000 tuned on speech, 150 steps"),
        ("hub:a/b", "hub:a/b", "the same checkpoint: nothing differs"),
    ],
)  # fmt: skip
def test_differences_in_one_line(a, b, line):
    assert words.differences(a, b) == line


def test_every_word_of_the_field_has_one_sentence():
    assert set(words.glossary) == {
        "tuning method", "LoRA", "factors", "merged", "adapter", "prefix", "BitFit",
        "barrier", "chord", "path", "mastered", "forgotten", "learned", "endpoint", "interval", "ensemble", "weight average",
        "confidence", "variability", "correctness", "flips", "calibration error", "head", "fitted head", "seed", "nats", "pre-training step",
        "macro F1", "agreement", "bend", "Bézier curve", "polygonal chain", "learned mix", "partial path", "spherical", "task vector",
        "alignment", "length", "arc length", "change of output", "CKA", "read-out", "control", "hidden states",
    }  # fmt: skip
    assert all(sentence.endswith(".") and len(sentence) < 120 for sentence in words.glossary.values())


def test_a_data_set_s_commit_is_named_by_its_first_digits():
    assert words.task_name(Task(task=f"hub:nyu-mll/glue/mnli@{'0f3c4a1' + 33 * 'b'}")) == "glue/mnli@0f3c4a1"
    assert words.task_name(Task(task="hub:nyu-mll/glue/mnli@v1")) == "glue/mnli@v1"
