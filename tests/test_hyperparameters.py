"""What may differ between two recipes: each does what it says, and a checkpoint on the way is what a stopped training is."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import plain_training
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from mcore.errors import Cancelled, QuestionError
from mcore.events import Training
from mcore.question import as_written, parse_recipe
from mcore.resolve import resolve_recipe
from mcore.store import Store
from mcore.tasks import rowparts
from mcore.tasks import rows as tasks
from mcore.tuning.finetune import finetune
from mcore.tuning.schedule import learning_rate, on_one_way, rate_at

STEPS = 18


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return tiny.learnable(tmp_path_factory.mktemp("learnable") / "rows.csv", rows=120)


@pytest.fixture(scope="module")
def recipe(saved, task):
    def make(**fields):
        given = {"base": f"local:{saved('bert', 5, opener=AutoModel)}", "task": {"task": f"local:{task}", "split": "train", "max_length": 24},
                 "steps": STEPS, "batch_size": 16, "learning_rate": 0.005, "cartography": 8}  # fmt: skip
        return parse_recipe({**given, **fields})

    return make


def train(recipe, store, **how):
    resolved = resolve_recipe(recipe)
    told = list(finetune(resolved, store, "recipe", **how))
    return store.folder(resolved.fingerprint), told


def weights(folder):
    return load_file(folder / "model.safetensors")


def losses(told):
    return [(event.step, event.loss) for event in told if isinstance(event, Training)]


RATES = {"adamw": 0.005, "adam": 0.005, "sgd": 0.1}


@pytest.mark.parametrize("optimizer", RATES)
@pytest.mark.parametrize("decay", ["linear", "none"])
def test_each_optimiser_and_schedule_is_torchs_own(optimizer, decay, recipe, store, saved):
    asked = recipe(optimizer=optimizer, decay=decay, learning_rate=RATES[optimizer], weight_decay=0.3, head_seed=4, data_seed=6)
    folder, told = train(asked, store)
    resolved = resolve_recipe(asked)
    rows, base = resolved.training.rows, saved("bert", 5, opener=AutoModel)
    model = plain_training.classifier(base, rows.names, 4)
    loss = plain_training.classification(model, AutoTokenizer.from_pretrained(base), rows.texts, rows.labels.tolist(), 24)
    curve = plain_training.train(model, loss, len(rows), STEPS, 16, RATES[optimizer], 6, optimizer, 0.3, decay=decay == "linear")
    assert [seen for _, seen in losses(told)] == pytest.approx([curve[step - 1] for step, _ in losses(told)], abs=1e-5)
    plain_training.assert_equal(model, weights(folder), optimizer)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_every_optimiser_goes_on_where_it_stood(optimizer, recipe, store, tmp_path):
    asked, count = recipe(optimizer=optimizer), iter(range(1000))
    with pytest.raises(Cancelled):
        list(finetune(resolve_recipe(asked), store, "recipe", stop=lambda: next(count) >= 11))
    folder, told = train(asked, store)
    assert 0 < told[-1].steps < STEPS
    straight, _ = train(asked, Store(tmp_path / "other"))
    assert (folder / "model.safetensors").read_bytes() == (straight / "model.safetensors").read_bytes()


def test_what_is_usual_and_said_is_the_same_recipe_as_what_is_left_out(recipe):
    plain = resolve_recipe(recipe())
    assert resolve_recipe(recipe(optimizer="adamw", decay="linear")).fingerprint == plain.fingerprint
    assert "optimizer" not in as_written(recipe(optimizer="adamw"))
    others = [recipe(optimizer="adam"), recipe(optimizer="sgd"), recipe(decay="none"), recipe(rows="0.25-0.75"), recipe(rows=0.75)]
    assert len({resolve_recipe(one).fingerprint for one in (recipe(), *others)}) == 6


@pytest.mark.parametrize(("one", "other"), [("half-1", "0-0.5"), ("half-2", "0.50-1"), ("all", "0-1.0"), ("0.25-0.75", ".250-0.750")])
def test_a_part_of_the_rows_is_one_whatever_it_is_called(one, other, recipe):
    found = [resolve_recipe(recipe(rows=part)) for part in (one, other)]
    assert found[0].fingerprint == found[1].fingerprint and found[0].training.rows.ids.tolist() == found[1].training.rows.ids.tolist()


@given(st.integers(2, 300), st.integers(0, 99), st.integers(1, 100))
def test_two_ranges_share_what_their_names_say(count, low, high):
    if high <= low:
        return
    part, order = f"{low / 100:g}-{high / 100:g}", list(range(count))
    mine = order[rowparts.places(part, count)]
    assert abs(len(mine) - (high - low) / 100 * count) < 1
    other = f"{(100 - high) / 100:g}-{(100 - low) / 100:g}"
    both = set(mine) & set(order[rowparts.places(other, count)])
    larger = max(len(mine), len(order[rowparts.places(other, count)]))
    assert abs(len(both) - rowparts.shared(part, other) * larger) < 2 + larger / count


def test_overlap_goes_from_none_to_all(recipe):
    rows = resolve_recipe(recipe()).training.rows
    first = tasks.part(rows, "0-0.5", "a.rows")
    found = [len(set(first.ids) & set(tasks.part(rows, f"{k / 10:g}-{k / 10 + 0.5:g}", "a.rows").ids)) for k in range(6)]
    assert found[0] == len(first) == len(rows) // 2 and found[-1] == 0 and found == sorted(found, reverse=True)
    assert [round(rowparts.shared("0-0.5", f"{k / 10:g}-{k / 10 + 0.5:g}"), 9) for k in range(6)] == [1, 0.8, 0.6, 0.4, 0.2, 0]


@pytest.mark.parametrize("part", ["half-3", "0.5-0.5", "0.75-0.25", "0-1.5", "-0.5", "a-b", "0,5-1", "0.1234567-1", 0, 1.5])
def test_what_is_no_part_is_said(part, recipe):
    with pytest.raises(QuestionError, match=r"^rows: "):
        recipe(rows=part)
    assert rowparts.between("0-0.5") == (Fraction(0), Fraction(1, 2))


def test_a_checkpoint_of_one_run_is_the_training_stopped_there(recipe, store, saved):
    """What the whole training's weights are at step 7, by a plain loop and by a recipe that leaves there."""
    asked = recipe(stop_at=7)
    folder, _ = train(asked, store)
    rows, base = resolve_recipe(asked).training.rows, saved("bert", 5, opener=AutoModel)
    model = plain_training.classifier(base, rows.names, 1)
    loss = plain_training.classification(model, AutoTokenizer.from_pretrained(base), rows.texts, rows.labels.tolist(), 24)
    plain_training.train(model, loss, len(rows), STEPS, 16, 0.005, 1, until=7)
    plain_training.assert_equal(model, weights(folder))


def test_the_whole_training_passes_through_its_checkpoints(recipe, store, tmp_path):
    """The same bytes, whether the rest of the training is there already or comes after."""
    whole, _ = train(recipe(), store)
    later, _ = train(recipe(stop_at=11), store)
    before = Store(tmp_path / "before")
    first, _ = train(recipe(stop_at=11), before)
    then, _ = train(recipe(), before)
    assert (later / "model.safetensors").read_bytes() == (first / "model.safetensors").read_bytes()
    assert (then / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert [one for one in curve(whole) if one["step"] < 11] == [one for one in curve(first) if one["step"] < 11]


def curve(folder):
    return json.loads((folder / "training.json").read_text())["curve"]


def test_a_training_without_decay_has_the_shorter_ones_on_its_way(recipe, store):
    """Where the schedule allows it a recipe's checkpoint is the recipe stopped there; where rates fall it is another thing."""
    level = {"decay": "none", "warmup": 0.0}
    on_the_way, _ = train(recipe(stop_at=6, **level), store)
    short, _ = train(recipe(steps=6, **level), store)
    assert (on_the_way / "model.safetensors").read_bytes() == (short / "model.safetensors").read_bytes()
    assert on_one_way(recipe(stop_at=6, **level), recipe(steps=6, **level)) and on_one_way(recipe(**level), recipe(steps=6, **level))
    falling, _ = train(recipe(stop_at=6), store)
    own, _ = train(recipe(steps=6), store)
    assert not torch.allclose(weights(falling)["classifier.weight"], weights(own)["classifier.weight"], atol=1e-5)
    assert not on_one_way(recipe(stop_at=6), recipe(steps=6)) and on_one_way(recipe(stop_at=6), recipe())
    assert resolve_recipe(recipe(stop_at=6)).fingerprint != resolve_recipe(recipe(steps=6)).fingerprint


def test_a_continuation_is_not_on_the_way_of_a_training_that_goes_on(recipe):
    level = {"decay": "none", "warmup": 0.0}
    assert not on_one_way(recipe(continued=[4], **level), recipe(steps=STEPS + 4, **level))
    assert on_one_way(recipe(continued=[4]), recipe(continued=[4, 2])) and on_one_way(recipe(), recipe(continued=[4]))
    assert not on_one_way(recipe(), recipe(learning_rate=0.004))


@given(st.integers(1, 500), st.floats(0, 1), st.floats(1e-6, 1))
def test_without_decay_the_rate_rises_and_stays(steps, warmup, peak):
    rates = [learning_rate(step, steps, warmup, peak, "none") for step in range(steps)]
    assert rates == pytest.approx(sorted(rates)) and rates[-1] == pytest.approx(peak)
    assert np.isclose(rates, peak).sum() >= steps - max(1, int(np.ceil(warmup * steps)))


def test_the_rate_of_a_step_is_that_of_its_own_part(recipe):
    asked = recipe(steps=10, stop_at=4, continued=[5], warmup=0.0)
    rates = [rate_at(asked, step) for step in range(9)]
    assert rates[0] == rates[4] == 0.005 and rates[3] > rates[8]
    with pytest.raises(ValueError, match="no step 9"):
        rate_at(asked, 9)
