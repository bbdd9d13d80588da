"""A fit is a function of its question: bends get the gradient that differentiation through the blend gives, are fitted once, taken up where they stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tiny
import torch
from conftest import ROOT
from safetensors.torch import load_file
from torch.func import functional_call
from transformers import AutoModel, AutoTokenizer

from mcore import events
from mcore.cli import main
from mcore.coefficients import Path, bezier, chain
from mcore.errors import Cancelled, QuestionError
from mcore.library.resultfile import read
from mcore.live.model import open_live
from mcore.models.checkpoints import look_at
from mcore.paths.curve import laid, t_of
from mcore.paths.distances import layer_of
from mcore.paths.fitter import Fitter, group_of, rate_at
from mcore.question import PathSpec, Task, parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import run
from mcore.store import Store
from mcore.tasks.rows import open_task
from mcore.tuning.finetune import batch_of
from mcore.tuning.objectives import LabelObjective

STEPS = 24
SPEC = {"kind": "bezier", "steps": STEPS, "batch_size": 16, "learning_rate": 0.005}


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return tiny.learnable(tmp_path_factory.mktemp("learnable") / "rows.csv", rows=200)


@pytest.fixture(scope="module")
def question(saved, task):
    """question(family, the task's fields, path's fields …): an experiment with a fitted path."""

    def make(family="bert", asked=None, ends=None, **path):
        both = ends or [saved(family, seed) for seed in (1, 2)]
        return tiny.experiment(*both, {"task": f"local:{task}", "max_length": 16, "split": "validation", **(asked or {})}, path={**SPEC, **path})

    return make


def fitted(question, store, **how):
    """The folder of the path, and the events."""
    told = list(run(parse(question), store, **how))
    return store.folder(resolve(parse(question)).route.fingerprint), told


def files(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def steps(told):
    return [event for event in told if isinstance(event, events.Fitting)]


@pytest.fixture(scope="module")
def once(question, tmp_path_factory):
    return fitted(question(), Store(tmp_path_factory.mktemp("once")))


def fitter(saved, task, tmp_path, family="bert", head="both", **fields):
    """A fit of a path between two random models, at its first step; no dropout."""
    ends = [look_at(saved(family, seed), f"local:{saved(family, seed)}", side) for seed, side in ((1, "a"), (2, "b"))]
    live = open_live(*ends, "a", Store(tmp_path / "fits"))
    for module in live.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    _, rows = open_task(Task(task=f"local:{task}", split="train"), "task", "train")
    spec = PathSpec(**{**SPEC, "seed": 0, **fields})
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    return Fitter(live, Path(spec, output_layer=live.output_layer), head, LabelObjective(live.model, live.tokenizer, (0, 1), rows, 16), work), rows


@pytest.mark.parametrize(("kind", "bends", "coefficients"), [("bezier", 1, bezier), ("bezier", 3, bezier), ("chain", 2, chain)])
def test_the_gradient_to_the_bends_is_that_of_differentiation_through_the_blend(kind, bends, coefficients, saved, task, tmp_path):
    fit, rows = fitter(saved, task, tmp_path, kind=kind, bends=bends, weight_decay=0.1)
    torch.manual_seed(3)
    for number in fit.way.numbers:
        number.copy_(0.05 * torch.randn_like(number))
    live, t, places = fit.live, 0.37, batch_of(0, len(rows), 16, 0)
    a, b = ({name: live.weights[side].read(name) for name in live.tensors} for side in "ab")
    chord = [{n: (1 - (i + 1) / (bends + 1)) * a[n] + (i + 1) / (bends + 1) * b[n] for n in fit.way.names} for i in range(bends)]
    leaves = [{n: (chord[i][n] + fit.way.away[i][n]).requires_grad_() for n in fit.way.names} for i in range(bends)]
    ca, cb, *inner = coefficients(t, bends)
    at_t = {n: ca * a[n] + cb * b[n] + sum(c * leaf[n] for c, leaf in zip(inner, leaves, strict=True)) for n in fit.way.names}
    tokenizer = AutoTokenizer.from_pretrained(saved("bert", 1))
    batch = tokenizer([rows.texts[i] for i in places], padding=True, truncation=True, max_length=16, return_tensors="pt")

    def loss_at(weights):
        scores = functional_call(live.model, weights, kwargs=dict(batch)).logits
        penalty = sum((tensor**2).sum() for tensor in weights.values())
        return torch.nn.functional.cross_entropy(scores, torch.as_tensor(rows.labels)[torch.as_tensor(places)]) + 0.05 * penalty

    loss_at(at_t).backward()
    kept = {}
    fit.optimizer.step = lambda: kept.update({i: number.grad.clone() for i, number in enumerate(fit.way.numbers) if number.grad is not None})
    fit.step(places, t, 0.0)
    expected = [leaf[n].grad for leaf in leaves for n in fit.way.names]
    assert len(kept) == len(expected)
    for i, gradient in kept.items():
        assert torch.allclose(gradient, expected[i], atol=1e-5), i
    step, name = 1e-2, "classifier.weight"  # the finite difference, in one direction
    with torch.no_grad():
        direction = leaves[0][name].grad / leaves[0][name].grad.norm()
        sides = [loss_at({**at_t, name: at_t[name] + inner[0] * sign * step * direction}) for sign in (1, -1)]
    slope = (sides[0] - sides[1]) / (2 * step)
    assert float(slope) == pytest.approx(float((kept[fit.way.names.index(name)] * direction).sum()), rel=2e-2)


@pytest.mark.parametrize("per", ["tensor", "layer", "block"])
def test_the_gradient_to_the_shares_is_that_of_differentiation_through_the_mix(per, saved, task, tmp_path):
    fit, rows = fitter(saved, task, tmp_path, kind="mix", per=per, learning_rate=0.05)
    fit.way.raw.copy_(torch.linspace(-1, 1, len(fit.way.raw)))
    live, places = fit.live, batch_of(0, len(rows), 16, 0)
    raw = fit.way.raw.clone().requires_grad_()
    share = {name: torch.sigmoid(raw)[fit.way.groups.index(group_of(name, per, live.output_layer))] for name in fit.way.names}
    mixed = {n: (1 - share[n]) * live.weights["a"].read(n) + share[n] * live.weights["b"].read(n) for n in fit.way.names}
    batch = AutoTokenizer.from_pretrained(saved("bert", 1))([rows.texts[i] for i in places], padding=True, truncation=True, max_length=16, return_tensors="pt")
    scores = functional_call(live.model, mixed, kwargs=dict(batch)).logits
    torch.nn.functional.cross_entropy(scores, torch.as_tensor(rows.labels)[torch.as_tensor(places)]).backward()
    kept = []
    fit.optimizer.step = lambda: kept.append(fit.way.raw.grad.clone())
    fit.step(places, 0.5, 0.0)
    assert torch.allclose(kept[0], raw.grad, atol=1e-5) and raw.grad.abs().max() > 1e-4


@pytest.mark.parametrize("kind", ["bezier", "chain"])
@pytest.mark.parametrize("bends", [1, 2, 4])
def test_bends_that_stand_on_the_chord_are_the_line_to_a_millionth(kind, bends, saved, task, tmp_path):
    """And a chain through points on the line is the line."""
    fit, _ = fitter(saved, task, tmp_path, kind=kind, bends=bends)
    fit.write({})
    path = Path(PathSpec(kind=kind, bends=bends))
    live = laid(fit.live, path, fit.work)
    for t in (0.0, 0.1, 1 / 3, 0.5, 0.85, 1.0):
        live.place_body(path.at(t))
        live.place_head(path.at(t), "both")
        for name, tensor in live.tensors.items():
            line = (1 - t) * live.weights["a"].read(name) + t * live.weights["b"].read(name)
            assert torch.allclose(tensor, line, atol=1e-6), (t, name)


def test_at_a_bend_of_a_chain_the_weights_are_the_bend(question, store):
    folder, _ = fitted(question(kind="chain", bends=3, steps=3), store)
    live = _laid(question(kind="chain", bends=3, steps=3), store, folder)
    for i in range(3):
        live.place_body(live.path.at((i + 1) / 4))
        live.place_head(live.path.at((i + 1) / 4), "both")
        bend = load_file(folder / f"bend-{i + 1}.safetensors")
        assert set(bend) == set(live.tensors)
        assert all(torch.equal(tensor, bend[name]) for name, tensor in live.tensors.items())


def _laid(asked, store, folder):
    resolved = resolve(parse(asked))
    live = open_live(resolved.a.looked_at, resolved.b.looked_at, "a", store)
    return laid(live, Path(resolved.route.spec, output_layer=live.output_layer), folder)


def test_a_curve_goes_below_the_line_that_it_began_as(saved, question, store):
    asked = question(steps=60)
    line = list(run(parse({**asked, "path": {"kind": "linear"}}), store)) and collect(resolve(parse({**asked, "path": {"kind": "linear"}})), store)
    folder, told = fitted(asked, store)
    curve = collect(resolve(parse(asked)), store)
    middle = [result["tasks"][0]["loss"][1] for result in (line, curve)]
    assert middle[1] < middle[0] - 0.05
    assert [result["tasks"][0]["loss"][::2] for result in (line, curve)] == [line["tasks"][0]["loss"][::2]] * 2  # the ends are the ends
    history = json.loads((folder / "curve.json").read_text())
    assert len(history["t"]) == len(history["loss"]) == 60 and history["t"] == [round(t_of(i, 0), 6) for i in range(60)]


def test_one_question_in_two_stores_gives_the_same_bytes(once, question, store):
    folder, told = fitted(question(), store)
    assert files(folder) == files(once[0]) and sorted(files(folder)) == ["bend-1.safetensors", "curve.json"]
    assert [(e.step, e.loss, e.t) for e in steps(told)] == [(e.step, e.loss, e.t) for e in steps(once[1])]
    assert steps(told)[-1].step == STEPS and steps(told)[0].seconds_left > 0


def test_a_second_time_nothing_is_fitted(question, store):
    folder, _ = fitted(question(steps=2), store)
    finer = {**question(steps=2), "points": 5}
    again, told = fitted(finer, store)
    assert again == folder and not steps(told) and sum(isinstance(event, events.PointReady) for event in told) == 5
    assert fitted(question(steps=2, seed=1), store)[0] != folder


@pytest.mark.parametrize("path", [{}, {"kind": "chain", "bends": 2, "weight_decay": 0.01}, {"kind": "mix", "per": "tensor", "learning_rate": 0.05}])
def test_a_fit_that_was_stopped_goes_on_to_the_same_bytes(path, question, store, tmp_path):
    asked, told = question(**path), []
    with pytest.raises(Cancelled):
        for event in run(parse(asked), store, stop=lambda: bool(steps(told)) and steps(told)[-1].step >= 14):
            told.append(event)
    folder, more = fitted(asked, store)
    assert steps(more)[0].step == 15  # a stop loses nothing
    assert files(folder) == files(fitted(asked, Store(tmp_path / "other"))[0])


def test_a_fit_that_was_killed_goes_on_to_the_same_bytes_and_loses_at_most_an_eighth(once, question, store, tmp_path):
    file = tiny.write(tmp_path / "question.json", question())
    command = [sys.executable, "-m", "mcore", "run", str(file), "--store", str(store.root)]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    reached = 0
    for line in process.stderr:
        if "step " in line and (reached := int(line.partition("step ")[2].split()[0])) >= 17:
            process.kill()
            break
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()
    folder, told = fitted(question(), store)
    assert reached - steps(told)[0].step + 1 <= STEPS / 8 + 1 and steps(told)[0].step > 1
    assert files(folder) == files(once[0])


def test_a_damaged_saved_state_is_no_traceback(once, question, store):
    asked = question()
    (store.work(resolve(parse(asked)).route.fingerprint) / "state.safetensors").write_bytes(b"\x10\x00\x00")
    assert files(fitted(asked, store)[0]) == files(once[0])


@pytest.mark.parametrize(
    ("train", "moved"),
    [("all", {"embeddings", "layer 0", "layer 1", "head"}), ("last:1", {"layer 1", "head"}), ("last:2", {"layer 0", "layer 1", "head"}),
     ("head", {"head"}), ("no-embeddings", {"layer 0", "layer 1", "head"})],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["bezier", "chain"])
def test_only_what_may_bend_leaves_the_chord(kind, train, moved, question, store):
    asked = question(kind=kind, train=train, steps=3)
    folder, _ = fitted(asked, store)
    live, bend, off = _laid(asked, store, folder), load_file(folder / "bend-1.safetensors"), set()
    for name, tensor in bend.items():
        if not torch.allclose(tensor, 0.5 * live.weights["a"].read(name) + 0.5 * live.weights["b"].read(name), atol=1e-5):
            off.add(layer_of(name, live.output_layer))
    assert off == moved


def test_more_layers_than_there_are_is_a_sentence(question, store):
    with pytest.raises(QuestionError, match=r"path.train: the model has 2 layers; give at most last:2") as told:
        fitted(question(train="last:3"), store)
    assert told.value.field == "path.train"


def test_rows_that_are_evaluated_are_not_fitted_on(question, store):
    with pytest.raises(QuestionError, match=r"path.task: \d+ of its \d+ rows are evaluated too"):
        fitted(question(asked={"split": "train"}), store)
    with pytest.raises(QuestionError, match=r"path.task"):
        fitted(question(task=question()["tasks"][0]), store)
    asked = question()
    with pytest.raises(QuestionError, match=r"path.task: \d+ of its \d+ rows are evaluated too"):
        fitted({**asked, "tasks": [*asked["tasks"], {**asked["tasks"][0], "split": "train"}]}, store)


def test_a_learned_mix_is_the_ends_at_its_ends_and_the_mix_in_the_middle(question, store):
    asked = question(kind="mix", per="layer", learning_rate=0.5)
    folder, told = fitted(asked, store)
    live = _laid(asked, store, folder)
    shares = json.loads((folder / "curve.json").read_text())["mix"]
    assert set(shares) == {"embeddings", "layer 0", "layer 1", "head"} and all(0 < share < 1 for share in shares.values())
    assert len({round(share, 3) for share in shares.values()}) > 1 and all(event.t is None for event in steps(told))
    result = collect(resolve(parse(asked)), store)
    assert result["path"]["mix"] == shares and read(json.dumps(result).encode())
    for t, side in ((0.0, "a"), (1.0, "b"), (0.5, None)):
        live.place_body(live.path.at(t))
        live.place_head(live.path.at(t), "both")
        for name, tensor in live.tensors.items():
            a, b, share = live.weights["a"].read(name), live.weights["b"].read(name), shares[layer_of(name, live.output_layer)]
            assert torch.equal(tensor, {"a": a, "b": b}[side]) if side else torch.allclose(tensor, (1 - share) * a + share * b, atol=1e-6), name


@pytest.mark.parametrize("family", ["gpt2", "albert", "roberta", "distilbert", "bart", "modernbert"])
def test_every_kind_of_model_can_be_joined_by_a_curve_and_what_is_tied_stays_tied(family, question, store):
    asked = question(family, steps=2, bends=2)
    folder, told = fitted(asked, store)
    live = _laid(asked, store, folder)
    assert np.isfinite([event.loss for event in steps(told)]).all()
    live.place_body(live.path.at(0.3))
    state = live.model.state_dict(keep_vars=True)
    assert len({id(tensor) for tensor in state.values()}) == len(live.tensors) == len(load_file(folder / "bend-1.safetensors"))
    if family == "bart":
        shared, encoder, decoder = (state[f"model.{name}.weight"] for name in ("shared", "encoder.embed_tokens", "decoder.embed_tokens"))
        assert shared is encoder is decoder
    assert live.model.config.pad_token_id == resolve(parse(asked)).a.looked_at.config.get("pad_token_id")


def test_the_labels_of_b_take_the_order_of_those_of_a(saved, task, question, store, tmp_path):
    """B with its outputs in the other order is B: the bend has A's order, and the curve the same loss."""
    swapped = tmp_path / "swapped"
    model = tiny.model("bert", 2, labels=("yes", "no"))
    with torch.no_grad():
        for tensor in (model.classifier.weight, model.classifier.bias):
            tensor.copy_(tensor.flip(0))
    model.save_pretrained(swapped), AutoTokenizer.from_pretrained(saved("bert", 2)).save_pretrained(swapped)
    plain, turned = question(), question(ends=[saved("bert", 1), swapped])
    bends = [load_file(fitted(asked, store)[0] / "bend-1.safetensors") for asked in (plain, turned)]
    assert all(torch.allclose(bends[0][name], bends[1][name], atol=1e-5) for name in bends[0])
    losses = [collect(resolve(parse(asked)), store)["tasks"][0]["loss"] for asked in (plain, turned)]
    assert np.allclose(*losses, atol=1e-5)


def test_where_names_do_not_tell_the_data_are_asked_before_the_fit(saved, question, store, tmp_path):
    nameless = []
    for seed in (1, 2):
        tiny.model("bert", seed, labels=("LABEL_0", "LABEL_1")).save_pretrained(tmp_path / str(seed))
        AutoTokenizer.from_pretrained(saved("bert", seed)).save_pretrained(tmp_path / str(seed))
        nameless.append(tmp_path / str(seed))
    _, told = fitted(question(ends=nameless, steps=2), store)
    said = [event.what if isinstance(event, events.Working) else type(event).__name__ for event in told]
    assert said.index("asking the data what each output means") < said.index("Fitting")


def test_a_task_that_only_one_end_has_a_head_for_is_fitted_with_that_head(saved, question, task, store):
    """The bends have none of their own."""
    base = saved("bert", 5, opener=AutoModel)
    for ends, side in (([saved("bert", 1), base], "a"), ([base, saved("bert", 1)], "b")):
        asked = question(ends=ends, steps=3)
        folder, _ = fitted(asked, store)
        result = collect(resolve(parse(asked)), store)
        assert result["tasks"][0]["head"] == side and not any(name.startswith("classifier") for name in load_file(folder / "bend-1.safetensors"))
        assert np.isfinite(result["tasks"][0]["loss"]).all()
    apart = question(ends=[saved("distilbert", 1), saved("distilbert", 5, opener=AutoModel)], train="head")
    with pytest.raises(QuestionError, match=r"path.train: nothing that A and B share is meant by head"):
        fitted(apart, store)


def test_a_fit_that_diverges_is_told_in_a_sentence(saved, question, store, tmp_path):
    """Weights so large that their products are no numbers."""
    huge = tmp_path / "huge"
    model = tiny.model("bert", 2)
    with torch.no_grad():
        model.bert.embeddings.LayerNorm.weight.mul_(1e30)
    model.save_pretrained(huge), AutoTokenizer.from_pretrained(saved("bert", 2)).save_pretrained(huge)
    with pytest.raises(QuestionError, match=r"the loss was no number any more at step \d+; try 0.0005") as told:
        fitted(question(ends=[saved("bert", 1), huge]), store)
    assert told.value.field == "path.learning_rate"


@pytest.mark.parametrize("steps", [1, 7, 200])
def test_the_learning_rate_is_constant_for_one_half_and_then_falls_to_a_hundredth(steps):
    rates = [rate_at(step, steps, 2.0) for step in range(steps)]
    assert all(rate == 2.0 for rate in rates[: (steps + 1) // 2]) and rates == sorted(rates, reverse=True)
    assert rate_at(steps - 1, steps, 2.0) == pytest.approx(0.02) or steps < 10


def test_the_command_line_tells_how_the_fit_goes(question, store, tmp_path, capfd):
    file = tiny.write(tmp_path / "question.json", question(steps=2))
    assert main(["run", str(file), "--store", str(store.root), "--out", str(tmp_path / "out.json")]) == 0
    said = capfd.readouterr().err
    assert "fitting the path: step 2 of 2, loss 0." in said and "at t = 0." in said
