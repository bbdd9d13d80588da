"""A run computes what is missing, once, ends first, and tells of it as it goes; the result is a function of the store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import reference
import tiny
import torch
from conftest import ROOT
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from mcore import events, plan
from mcore.errors import Cancelled, QuestionError
from mcore.paths.distances import distance_key
from mcore.question import parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import run
from mcore.store import Store

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def question(saved, tmp_path_factory):
    """Two recipes, a task with training rows among those that are evaluated, every probe."""
    file = tiny.learnable(tmp_path_factory.mktemp("task") / "rows.csv", rows=80)
    recipe = {"base": f"local:{saved('bert', 5, opener=AutoModel)}", "task": {"task": f"local:{file}"}, "steps": 6, "batch_size": 8, "learning_rate": 5e-3}
    probes = ["loss", "accuracy", "knowledge", "macro_f1", "calibration", "agreement", "ensemble"]
    return tiny.experiment(recipe, {**recipe, "head_seed": 2, "data_seed": 2}, {"task": f"local:{file}", "max_length": 16}, points=5, probes=probes)


def answer(question, store, **how):
    told = list(run(parse(question), store, **how))
    return collect(resolve(parse(question)), store), told


def of(kind, told):
    return [event for event in told if isinstance(event, kind)]


def timeless(result):
    return json.dumps({key: value for key, value in result.items() if key != "timing"}, sort_keys=True, allow_nan=False)


def response_keys(question, store):
    resolved = resolve(parse(question))
    return {p: plan.key(resolved, p, plan.orders(resolved, p.task, store)) for p in plan.in_order(resolved)}


@pytest.fixture(scope="module")
def once(question, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("once"))
    return *answer(question, store), store


def test_one_experiment_in_two_stores_gives_the_same_json_apart_from_timing(once, question, store):
    again, _ = answer(question, store)
    assert timeless(again) == timeless(once[0]) and again["timing"]


def test_the_result_has_the_contracts_keys_and_shapes(once, question):
    result = once[0]
    assert {"fingerprint", "experiment", "tasks", "distance", "timing"} <= result.keys() and result["complete"]
    assert parse(result["experiment"]) and len(result["fingerprint"]) == 32
    assert {"l2", "cosine", "l2_per_sqrt_n"} <= result["distance"].keys() and result["distance"]["l2"] > 0
    (task,) = result["tasks"]
    assert task["t"] == [0, 0.25, 0.5, 0.75, 1] and task["rows"] == list(range(80)) and task["head"] == "both"
    for name in ("loss", "accuracy", "macro_f1", "confidence", "calibration_error", "agreement_a", "agreement_b", "ensemble_loss", "ensemble_accuracy"):
        assert len(task[name]) == 5 and all(isinstance(value, float) for value in task[name]), name
    for name in ("loss_chord", "loss_mean", "accuracy_chord"):
        barrier = task["barrier"][name]
        assert {"value", "low", "high", "t"} <= barrier.keys() and barrier["low"] <= barrier["value"] <= barrier["high"] and barrier["t"] in task["t"]
    knowledge = task["knowledge"]
    assert knowledge["mastered"] == [round(80 * accuracy) for accuracy in task["accuracy"]]
    assert len(knowledge["forgotten"]) == len(knowledge["learned"]) == 4
    for i, (forgotten, learned) in enumerate(zip(knowledge["forgotten"], knowledge["learned"], strict=True)):
        assert set(forgotten) | set(learned) <= set(task["rows"]) and not set(forgotten) & set(learned)
        assert knowledge["mastered"][i + 1] - knowledge["mastered"][i] == len(learned) - len(forgotten)
    assert knowledge["cartography"]["endpoint"] == "a" and knowledge["cartography"]["known"] == 80
    assert task["labels"] == ["no", "yes"] and task["constant_baseline"] == 0.5
    assert task["label_order"]["a"] == {"names": ["no", "yes"], "from": "names", "agreement": None, "ambiguous": False}
    assert set(result["training"]) == {"a", "b"} and result["training"]["a"]["curve"][-1]["step"] == 6
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_the_barrier_is_the_highest_rise_over_the_chord(once):
    task = once[0]["tasks"][0]
    rise = [loss - ((1 - t) * task["loss"][0] + t * task["loss"][-1]) for t, loss in zip(task["t"], task["loss"], strict=True)]
    assert task["barrier"]["loss_chord"]["value"] == pytest.approx(max(rise), abs=1e-9)
    assert task["barrier"]["loss_mean"]["value"] == pytest.approx(max(task["loss"]) - (task["loss"][0] + task["loss"][-1]) / 2, abs=1e-9)


def test_the_stream_tells_everything_once_ends_first_then_the_middle(once):
    told = once[1]
    assert isinstance(told[0], events.Resolved) and isinstance(told[-1], events.Done)
    assert (told[0].points, told[0].stored) == (5, 0)
    points = of(events.PointReady, told)
    assert [point.t for point in points] == [0, 1, 0.5, 0.25, 0.75] and [point.done for point in points] == [1, 2, 3, 4, 5]
    task = once[0]["tasks"][0]
    assert {p.t: (p.loss, p.accuracy) for p in points} == dict(zip(task["t"], zip(task["loss"], task["accuracy"], strict=True), strict=True))
    assert [event.endpoint for event in of(events.Trained, told)] == ["a", "b"]
    assert all(events.from_json(json.loads(json.dumps(events.to_json(event)))) == event for event in told)


def test_a_second_run_computes_nothing(once, question):
    before = {entry.key: entry.created for entry in once[2].entries()}
    result, told = answer(question, once[2])
    assert timeless(result) == timeless(once[0]) and result["timing"] == once[0]["timing"]
    assert (told[0].points, told[0].stored) == (5, 5) and not of(events.Training, told) and not of(events.Working, told)
    kinds = {entry.key for entry in once[2].entries() if entry.kind in ("responses", "model", "distance")}
    assert all(before[entry.key] == entry.created for entry in once[2].entries() if entry.key in kinds)


def test_more_points_compute_only_those_that_are_new(once, question):
    result, told = answer({**question, "points": 9}, once[2])
    assert (told[0].points, told[0].stored) == (9, 5)
    assert result["timing"]["points"] == 4 and not of(events.Training, told)
    assert result["tasks"][0]["loss"][::2] == once[0]["tasks"][0]["loss"]


def test_a_new_probe_runs_no_model(once, question):
    _, told = answer({**question, "probes": ["loss", "macro_f1"]}, once[2])
    assert told[0].stored == 5 and not of(events.Working, told)


def test_points_may_be_a_list_and_the_chord_has_its_ends_all_the_same(saved, rows, store):
    asked = tiny.experiment(saved("bert", 0), saved("bert", 1), rows, points=[0.7, 0.3, 0.3])
    result, told = answer(asked, store)
    assert result["tasks"][0]["t"] == [0.3, 0.7] and len(result["tasks"][0]["loss"]) == 2 and result["complete"]
    assert told[0].points == 4 and result["tasks"][0]["barrier"]["loss_chord"]["t"] in (0.0, 0.3, 0.7, 1.0)


def test_the_path_from_a_model_to_itself_is_flat_and_is_evaluated_once(saved, rows, store, tmp_path):
    copy = shutil.copytree(saved("bert", 0), tmp_path / "copy")
    result, told = answer(tiny.experiment(saved("bert", 0), copy, rows, points=5), store)
    task = result["tasks"][0]
    assert len(set(task["loss"])) == 1 and len(of(events.PointReady, told)) == 5
    for name in ("loss_chord", "loss_mean", "accuracy_chord"):
        assert task["barrier"][name]["value"] == pytest.approx(0, abs=1e-12)
    assert result["distance"]["l2"] == 0 and result["distance"]["cosine"] == pytest.approx(1)
    assert len(store.entries("responses")) == 1


def test_one_model_whose_outputs_are_named_otherwise_at_b_is_another_reading_at_every_t(saved, rows, store):
    asked = parse({"version": 1, "a": f"local:{saved('bert', 1)}", "b": f"local:{saved('bert', 1)}", "tasks": [{"task": f"local:{rows}"}],
                   "points": 3, "labels": {"a": ["no", "yes"], "b": ["yes", "no"]}})  # fmt: skip
    (task,) = answer(asked, store)[0]["tasks"]
    assert task["accuracy"][0] == pytest.approx(1 - task["accuracy"][-1]) and task["loss"][0] != task["loss"][-1]
    middle = task["loss"][1]  # rows that are averaged with each other give equal logits
    assert middle == pytest.approx(np.log(2), abs=1e-6)


def test_one_recipe_at_both_ends_is_trained_once(question, store):
    _, told = answer({**question, "b": question["a"], "points": 3}, store)
    assert {event.endpoint for event in of(events.Training, told)} == {"both"}
    assert [event.steps for event in of(events.Trained, told)] in ([6], [6, 0]) and len(store.entries("model")) == 1


def test_turning_the_path_round_turns_the_curve_round(saved, rows, store):
    a, b = saved("roberta", 0), saved("roberta", 1)
    there, _ = answer(tiny.experiment(a, b, rows, points=5), store)
    back, _ = answer(tiny.experiment(b, a, rows, points=5), store)
    assert back["tasks"][0]["loss"] == pytest.approx(there["tasks"][0]["loss"][::-1], abs=1e-6)
    assert back["distance"]["l2"] == pytest.approx(there["distance"]["l2"])


def test_the_distance_is_that_of_the_state_dictionaries(saved, rows, store):
    result, _ = answer(tiny.experiment(saved("bert", 0), saved("bert", 1), rows), store)
    a, b = (torch.cat([p.detach().flatten() for p in reference.load(saved("bert", seed)).parameters()]).double() for seed in (0, 1))
    assert result["distance"]["l2"] == pytest.approx(float((a - b).norm()), rel=1e-6)
    assert result["distance"]["cosine"] == pytest.approx(float(torch.nn.functional.cosine_similarity(a, b, dim=0)), rel=1e-6)
    assert result["distance"]["l2_per_sqrt_n"] == pytest.approx(float((a - b).norm() / len(a) ** 0.5), rel=1e-6)
    assert sum(layer["parameters"] for layer in result["distance"]["layers"]) == result["distance"]["parameters"] == len(a)


@pytest.mark.parametrize("kept", [1, 3])
def test_cancelling_in_the_middle_keeps_what_is_finished_and_the_next_run_goes_on(kept, saved, rows, store):
    asked = tiny.experiment(saved("bert", 0), saved("bert", 1), rows, points=9)
    seen = []
    with pytest.raises(Cancelled):
        for event in run(parse(asked), store, stop=lambda: len(seen) >= kept):
            if isinstance(event, events.PointReady):
                seen.append(event)
    assert len(store.entries("responses")) == kept
    partial = collect(resolve(parse(asked)), store)
    assert not partial["complete"] and partial["tasks"][0]["t"] == sorted(event.t for event in seen)
    assert (partial["tasks"][0]["barrier"] is None) == (kept < 3)
    result, told = answer(asked, store)
    assert told[0].stored == kept and result["timing"]["points"] == 9 - kept and result["complete"]
    assert [event.done for event in of(events.PointReady, told)] == list(range(1, 10))


def test_a_run_that_is_stopped_from_the_start_stores_no_responses(saved, rows, store):
    with pytest.raises(Cancelled):
        answer(tiny.experiment(saved("bert", 0), saved("bert", 1), rows), store, stop=lambda: True)
    assert not store.entries("responses")


def test_nothing_finished_is_a_result_too(saved, rows, store):
    result = collect(resolve(parse(tiny.experiment(saved("bert", 0), saved("bert", 1), rows))), store)
    assert result["tasks"][0]["t"] == [] and result["tasks"][0]["barrier"] is None and result["distance"] is None and not result["complete"]


@pytest.mark.parametrize("damage", [lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), lambda raw: raw[:40], lambda raw: b""])
def test_a_damaged_response_is_found_and_computed_again(damage, saved, rows, store):
    asked = tiny.experiment(saved("bert", 0), saved("bert", 1), rows, points=5)
    before, _ = answer(asked, store)
    key = response_keys(asked, store)[plan.Point(0, 0.5)]
    (file,) = (store.root / "blobs").rglob(key)
    file.write_bytes(damage(file.read_bytes()))
    after, told = answer(asked, store)
    assert timeless(after) == timeless(before) and after["complete"]
    assert np.isfinite(after["tasks"][0]["loss"]).all() and len(of(events.PointReady, told)) == 5


def test_a_damaged_distance_is_measured_again(saved, rows, store):
    asked = tiny.experiment(saved("bert", 0), saved("bert", 1), rows)
    before, _ = answer(asked, store)
    (file,) = (store.root / "blobs").rglob(distance_key(resolve(parse(asked))))
    file.write_bytes(file.read_bytes()[:-5])
    after, _ = answer(asked, store)
    assert after["distance"] == before["distance"] is not None


def test_a_damaged_model_is_trained_again_to_the_same_numbers(question, once, store):
    before, _ = answer(question, store)
    for entry in store.entries("model"):
        file = store.root / "folders" / entry.key / "model.safetensors"
        raw = bytearray(file.read_bytes())
        raw[-1] ^= 1
        file.write_bytes(raw)
    for entry in store.entries("responses"):
        store.drop(entry.key)
    after, told = answer(question, Store(store.root))
    assert timeless(after) == timeless(before) and [event.steps for event in of(events.Trained, told)] == [6, 6]


def test_two_tasks_are_both_read_at_every_point(saved, rows, store, tmp_path):
    other = tiny.task(tmp_path / "other.csv", rows=15, seed=3)
    result, told = answer(tiny.experiment(saved("bert", 0), saved("bert", 1), rows, other), store)
    assert [(point.t, point.task) for point in of(events.PointReady, told)] == [(0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0), (0.5, 1)]
    assert [len(task["rows"]) for task in result["tasks"]] == [24, 15]


def test_the_rows_that_are_named_are_those_that_were_evaluated(saved, rows, store):
    few = {"task": f"local:{rows}", "limit": 7, "sample_seed": 3, "max_length": 16}
    a, b = saved("bert", 0), saved("bert", 1)
    whole, _ = answer(tiny.experiment(a, b, rows, probes=["knowledge"]), store)
    part, told = answer(tiny.experiment(a, b, few, probes=["knowledge"]), store)
    assert len(part["tasks"][0]["rows"]) == 7 and told[0].stored == 0
    for some, every in zip(part["tasks"][0]["knowledge"]["forgotten"], whole["tasks"][0]["knowledge"]["forgotten"], strict=True):
        assert set(some) == set(every) & set(part["tasks"][0]["rows"])


def test_two_processes_with_one_experiment_compute_every_point_and_model_once(question, once, tmp_path):
    file, root = tiny.write(tmp_path / "e.json", question), tmp_path / "store"
    command = [sys.executable, "-m", "mcore", "run", str(file), "--store", str(root)]
    processes = [subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=200) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    results = [json.loads(out) for out, _ in told]
    assert timeless(results[0]) == timeless(results[1]) == timeless(json.loads(json.dumps(once[0])))
    entries = Store(root).entries()
    assert sum(entry.kind == "model" for entry in entries) == 2 and sum(entry.kind == "responses" for entry in entries) == 5
    trained = [line for _, errors in told for line in errors.splitlines() if "step 6 of 6" in line]
    assert len(trained) == 2, told


def test_a_killed_run_leaves_its_finished_points_to_the_next(saved, rows, tmp_path):
    asked = tiny.experiment(saved("bert", 0), saved("bert", 1), {"task": f"local:{rows}", "max_length": 16}, points=1001)
    file, store = tiny.write(tmp_path / "e.json", asked), Store(tmp_path / "store")
    process = subprocess.Popen(
        [sys.executable, "-m", "mcore", "run", str(file), "--store", str(store.root)], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if line.startswith("[20/"):
            process.kill()
            break
    process.wait()
    process.stderr.close()
    few = {**asked, "points": [i / 1000 for i in (0, 500, 1000)]}
    result, told = answer(few, Store(store.root))
    assert told[0].stored == 3 and result["complete"]


def test_time_left_is_told_and_falls(once):
    told = [event.seconds_left for event in once[1] if isinstance(event, events.PointReady)]
    assert all(left is not None and left >= 0 for left in told) and told[-1] == 0


def test_weights_that_are_no_numbers_are_named_before_any_point(saved, rows, store, tmp_path):
    broken = shutil.copytree(saved("bert", 0), tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["bert.encoder.layer.1.output.dense.weight"][3, 3] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(QuestionError, match=r"^b: the tensor bert\.encoder\.layer\.1\.output\.dense\.weight holds NaN"):
        answer(tiny.experiment(saved("bert", 1), broken, rows), store)
    assert not store.entries("responses")


def test_training_alone_computes_no_point_and_measures_how_far_the_models_have_come(question, store):
    asked = parse(question)
    told = list(run(asked, store, part="training"))
    assert of(events.PointReady, told) == [] and len(of(events.Trained, told)) == 2
    assert len(store.entries("model")) == 2 and store.entries("responses") == [] and len(store.entries("distance")) == 3
    again = list(run(asked, store, part="training"))
    assert of(events.Training, again) == [] and of(events.Working, again) == []
