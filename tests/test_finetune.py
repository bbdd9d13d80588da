"""Fine-tuning is a function of its recipe: twice the same, taken up where it stopped, and done once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from mcore.errors import Cancelled, McoreError, QuestionError
from mcore.events import Trained, Training
from mcore.question import parse_recipe
from mcore.resolve import resolve_recipe
from mcore.store import Store
from mcore.tuning.cartography import Cartography
from mcore.tuning.finetune import SAVES, batch_of, finetune
from mcore.tuning.schedule import learning_rate

STEPS = 24
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return tiny.learnable(tmp_path_factory.mktemp("learnable") / "rows.csv", rows=200)


@pytest.fixture(scope="module")
def recipe(saved, task):
    def make(family="bert", **fields):
        given = {"base": f"local:{saved(family, 5, opener=AutoModel)}", "task": {"task": f"local:{task}", "split": "train", "max_length": 24},
                 "steps": STEPS, "batch_size": 16, "learning_rate": 0.005}  # fmt: skip
        return parse_recipe({**given, **fields})

    return make


def train(recipe, store, **how):
    """The folder of the model, and the events."""
    resolved = resolve_recipe(recipe)
    told = list(finetune(resolved, store, "recipe", **how))
    return store.folder(resolved.fingerprint), told


@pytest.fixture(scope="module")
def once(recipe, tmp_path_factory):
    return train(recipe(), Store(tmp_path_factory.mktemp("once")))


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def test_one_recipe_in_two_stores_gives_the_same_bytes_and_the_same_curve(once, recipe, store):
    folder, told = train(recipe(), store)
    assert weights(folder) == weights(once[0])
    assert json.loads((folder / "training.json").read_text()) == json.loads((once[0] / "training.json").read_text())
    plain = [(e.step, e.loss, e.validation_accuracy, e.validation_loss) for e in told if isinstance(e, Training)]
    assert plain == [(e.step, e.loss, e.validation_accuracy, e.validation_loss) for e in once[1] if isinstance(e, Training)]


def test_it_learns_and_tells_how_it_goes(once):
    told = [event for event in once[1] if isinstance(event, Training)]
    assert told[-1].step == STEPS and told[-1].validation_accuracy > 0.8 and told[-1].loss < 0.6 < told[0].loss
    assert [event.step for event in told] == sorted({event.step for event in told})
    assert isinstance(once[1][-1], Trained) and once[1][-1].steps == STEPS


def test_a_second_time_nothing_is_trained(recipe, store):
    folder, _ = train(recipe(steps=2), store)
    again, told = train(recipe(steps=2), store)
    assert [type(event) for event in told] == [Trained] and told[0].steps == 0 and again == folder


def head(folder):
    return load_file(folder / "model.safetensors")["classifier.weight"]


def test_the_two_seeds_act_apart(recipe, store):
    """With a learning rate next to nothing the head is as it was made, and tells its seed alone."""
    still = {"steps": 1, "learning_rate": 1e-12}
    first = head(train(recipe(head_seed=1, data_seed=1, **still), store)[0])
    other_data = head(train(recipe(head_seed=1, data_seed=2, **still), store)[0])
    other_head = head(train(recipe(head_seed=2, data_seed=1, **still), store)[0])
    assert torch.allclose(first, other_data, atol=1e-9) and not torch.allclose(first, other_head, atol=1e-3)
    moved = [weights(train(recipe(head_seed=1, data_seed=seed, steps=2), store)[0]) for seed in (1, 2)]
    assert moved[0] != moved[1]


def test_only_the_head_comes_from_the_seed(saved, recipe, store):
    base = load_file(saved("bert", 5, opener=AutoModel) / "model.safetensors")
    tuned = load_file(train(recipe(steps=1, learning_rate=1e-12), store)[0] / "model.safetensors")
    for name, tensor in base.items():
        assert torch.allclose(tuned[f"bert.{name}"], tensor, atol=1e-9), name


def test_a_training_that_was_stopped_goes_on_to_the_same_bytes(once, recipe, store):
    asked = iter(range(1000))
    stopped_at = 14
    told = []
    with pytest.raises(Cancelled):
        for event in finetune(resolve_recipe(recipe()), store, "recipe", stop=lambda: next(asked) >= stopped_at):
            told.append(event)
    assert not any(isinstance(event, Trained) for event in told)
    folder, more = train(recipe(), store)
    assert 0 < more[-1].steps < STEPS
    assert weights(folder) == weights(once[0])
    assert (folder / "training.json").read_text() == (once[0] / "training.json").read_text()
    assert (folder / "cartography.safetensors").read_bytes() == (once[0] / "cartography.safetensors").read_bytes()
    assert sorted(file.name for file in folder.iterdir()) == sorted(file.name for file in once[0].iterdir())


def stopped_after(steps, recipe, store):
    """Carry out a recipe and cancel it when so many steps are done; the last event."""
    told = []
    with pytest.raises(Cancelled):
        for event in finetune(resolve_recipe(recipe), store, "recipe", stop=lambda: bool(told) and getattr(told[-1], "step", 0) >= steps):
            told.append(event)
    return told[-1]


def test_a_long_training_that_was_interrupted_has_the_curve_of_one_that_was_not(recipe, store, tmp_path):
    long = recipe(steps=90, cartography=8)  # told every third step
    stopped_after(30, long, store)
    folder, _ = train(long, store)
    straight, _ = train(long, Store(tmp_path / "other"))
    assert (folder / "training.json").read_text() == (straight / "training.json").read_text()


def test_a_training_that_is_stopped_may_be_kept_as_it_is(recipe, store, tmp_path):
    reached = stopped_after(14, recipe(), store).step
    assert 14 <= reached < STEPS
    kept, told = train(recipe(stop_at=reached), store)
    assert told[-1].steps == 0  # everything was there: no step had to be taken again
    straight, _ = train(recipe(stop_at=reached), Store(tmp_path / "other"))
    assert weights(kept) == weights(straight)
    assert (kept / "training.json").read_text() == (straight / "training.json").read_text()
    assert json.loads((kept / "training.json").read_text())["curve"][-1]["validation_accuracy"] is not None


def test_what_was_kept_on_the_way_does_not_keep_the_whole_from_going_on(once, recipe, store):
    reached = stopped_after(14, recipe(), store).step
    train(recipe(stop_at=reached), store)
    folder, told = train(recipe(), store)
    assert told[-1].steps == STEPS - reached and weights(folder) == weights(once[0])
    earlier, _ = train(recipe(stop_at=5), store)
    assert weights(earlier) != weights(folder)


def test_a_training_goes_on_for_more_steps_from_the_model_that_is_there(once, recipe, store, tmp_path):
    longer, told = train(recipe(continued=[6]), store)  # which trains the first part too
    assert [event.steps for event in told if isinstance(event, Trained)] == [6]
    assert weights(train(recipe(), store)[0]) == weights(once[0]) != weights(longer)
    curve = json.loads((longer / "training.json").read_text())["curve"]
    assert curve[: len(json.loads((once[0] / "training.json").read_text())["curve"])] == json.loads((once[0] / "training.json").read_text())["curve"]
    assert [one["step"] for one in curve] == sorted({one["step"] for one in curve}) and curve[-1]["step"] == STEPS + 6
    other = Store(tmp_path / "other")
    train(recipe(), other)
    again, told = train(recipe(continued=[6]), other)
    assert told[-1].steps == 6 and weights(again) == weights(longer)
    assert train(recipe(continued=[6, 4]), other)[1][-1].steps == 4


def test_stopping_at_the_last_step_is_not_stopping(recipe):
    assert resolve_recipe(recipe(stop_at=STEPS)).fingerprint == resolve_recipe(recipe()).fingerprint
    assert resolve_recipe(recipe(stop_at=STEPS - 1)).fingerprint != resolve_recipe(recipe()).fingerprint
    assert resolve_recipe(recipe(stop_at=STEPS - 1)).schedule == resolve_recipe(recipe()).fingerprint


def start(file, store):
    command = [sys.executable, "-m", "mcore", "finetune", str(file), "--store", str(store)]
    return subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_training_that_was_killed_goes_on_to_the_same_bytes_and_loses_at_most_a_fifth(once, recipe, store, tmp_path):
    file = tiny.write(tmp_path / "recipe.json", recipe().model_dump_json())
    process = start(file, store.root)
    reached = 0
    for line in process.stderr:
        if "step " in line and (reached := int(line.partition("step ")[2].split()[0])) >= 17:
            process.kill()
            break
    assert process.wait() == -signal.SIGKILL
    process.stdout.close(), process.stderr.close()
    folder, told = train(recipe(), store)
    assert reached <= STEPS - told[-1].steps + STEPS / 5 and told[-1].steps < STEPS
    assert weights(folder) == weights(once[0])
    assert (folder / "training.json").read_text() == (once[0] / "training.json").read_text()


def test_two_processes_that_want_one_model_train_it_once(recipe, tmp_path):
    file = tiny.write(tmp_path / "recipe.json", recipe(steps=60).model_dump_json())
    processes = [start(file, tmp_path / "store") for _ in range(2)]
    told = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert told[0][0] == told[1][0]
    trained = [sum(": step " in line for line in errors.splitlines()) for _, errors in told]
    assert sorted(map(bool, trained)) == [False, True], told


def test_a_damaged_saved_state_is_no_traceback(once, recipe, store):
    """A machine that lost power may leave half a file."""
    resolved = resolve_recipe(recipe())
    (store.work(resolved.fingerprint) / "state.safetensors").write_bytes(b"\x10\x00\x00")
    folder, _ = train(recipe(), store)
    assert weights(folder) == weights(once[0])


def test_the_model_loads_with_transformers_alone_and_names_its_labels(once):
    model, info = AutoModelForSequenceClassification.from_pretrained(once[0], output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and model.config.id2label == {0: "no", 1: "yes"}
    tokenizer = AutoTokenizer.from_pretrained(once[0])
    said = model.eval()(**tokenizer(["the old man merry", "the old man sad"], padding=True, return_tensors="pt")).logits.argmax(-1)
    assert said.tolist() == [1, 0]


def test_the_card_holds_the_recipe_that_makes_it_again(once, recipe, store):
    card = (once[0] / "README.md").read_text()
    written = json.loads(card.partition("```json")[2].partition("```")[0])
    known = recipe()
    base, task = (Path(one.removeprefix("local:")).name for one in (known.base, known.task.task))
    assert written["base"].startswith(f"local:{base}@") and written["task"]["task"].startswith(f"local:{task}@") and "on your machine" in card
    again = parse_recipe(written | {"base": known.base, "task": written["task"] | {"task": known.task.task}})
    assert resolve_recipe(again).fingerprint == resolve_recipe(known).fingerprint


@pytest.mark.parametrize("family", ["gpt2", "roberta", "distilbert", "albert", "modernbert"])
def test_every_kind_of_model_can_be_tuned_and_is_followed_by_its_own_numbers(family, recipe, store):
    folder, told = train(recipe(family, steps=5), store)
    curve = [event.loss for event in told if isinstance(event, Training)]
    assert np.isfinite(curve).all()
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    resolved = resolve_recipe(recipe(family, steps=5))
    rows, right, total = resolved.validation.rows, 0, 0.0
    for text, label in zip(rows.texts, rows.labels, strict=True):
        with torch.no_grad():
            scores = model(**tokenizer(text, truncation=True, max_length=24, return_tensors="pt")).logits[0]
        right, total = right + int(scores.argmax() == label), total - float(scores.log_softmax(-1)[label])
    last = [event for event in told if isinstance(event, Training)][-1]
    assert last.validation_accuracy == pytest.approx(right / len(rows)) and last.validation_loss == pytest.approx(total / len(rows), abs=1e-5)


def test_cartography_is_what_a_plain_computation_from_the_probabilities_gives(once, recipe):
    drawn, rows = Cartography.read(once[0]), resolve_recipe(recipe()).training.rows
    assert drawn.ids.tolist() == rows.ids.tolist() and drawn.probability.shape == (5, len(rows))
    for number, (confidence, variability, correctness) in enumerate(drawn.by_row().values()):
        seen = [float(p) for p in drawn.probability[:, number]]
        mean = sum(seen) / len(seen)
        assert confidence == pytest.approx(mean, abs=1e-6)
        assert variability == pytest.approx((sum((p - mean) ** 2 for p in seen) / len(seen)) ** 0.5, abs=1e-6)
        assert correctness == sum(map(bool, drawn.right[:, number])) / len(seen)
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(once[0]).eval(), AutoTokenizer.from_pretrained(once[0])
    for place in range(0, len(rows), 20):
        with torch.no_grad():
            scores = model(**tokenizer(rows.texts[place], truncation=True, max_length=24, return_tensors="pt")).logits[0]
        assert drawn.probability[-1, place] == pytest.approx(float(scores.softmax(-1)[rows.labels[place]]), abs=1e-5)
        assert drawn.right[-1, place] == (scores.argmax() == rows.labels[place])


def test_following_rows_changes_nothing_about_the_model(once, recipe, store):
    folder, _ = train(recipe(cartography=0), store)
    assert weights(folder) == weights(once[0]) and Cartography.read(folder) is None


def test_a_training_that_diverges_is_told_in_a_sentence_or_ends_in_numbers(recipe, store):
    try:
        folder, _ = train(recipe(learning_rate=10.0, clip=1e6), store)
    except McoreError as error:
        assert isinstance(error, QuestionError) and error.field == "learning_rate" and "try 1" in str(error)
    else:
        assert all(torch.isfinite(tensor).all() for tensor in load_file(folder / "model.safetensors").values())


def test_half_of_the_rows_is_another_model_than_the_other_half(recipe, store):
    folders = [train(recipe(rows=part, steps=3), store)[0] for part in ("half-1", "half-2")]
    followed = [set(Cartography.read(folder).ids.tolist()) for folder in folders]
    assert not followed[0] & followed[1] and weights(folders[0]) != weights(folders[1])


@given(st.integers(1, 500), st.floats(0, 1), st.floats(1e-6, 1))
def test_the_learning_rate_rises_to_its_peak_and_falls_towards_zero(steps, warmup, peak):
    rates = [learning_rate(step, steps, warmup, peak) for step in range(steps)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(peak) and min(rates) > 0
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert top <= max(1, warmup * steps + 1)


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 99))
def test_an_epoch_takes_every_row_at_most_once(rows, size, seed):
    per_epoch = rows // min(rows, size)
    for epoch in (0, 1):
        taken = [i for step in range(per_epoch) for i in batch_of(epoch * per_epoch + step, rows, size, seed)]
        assert len(taken) == len(set(taken)) == per_epoch * min(rows, size) and set(taken) <= set(range(rows))
    assert np.array_equal(batch_of(3, rows, size, seed), batch_of(3, rows, size, seed))


def test_the_state_is_saved_often_enough():
    assert 1 / SAVES <= 0.2


def test_stopping_takes_effect_within_a_step(recipe, store):
    began = time.monotonic()
    with pytest.raises(Cancelled):
        train(recipe(steps=100_000), store, stop=lambda: time.monotonic() - began > 2)
    assert time.monotonic() - began < 15
