"""Every path is coefficients over control points: they sum to one, begin at A and end at B, and leave the ends as they were."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModel

from mcore import plan
from mcore.coefficients import Path, bezier, chain, controls, mixed, moves, part_of, spherical, task_vector
from mcore.errors import QuestionError
from mcore.evaluation import responses
from mcore.evaluation.evaluate import prepare
from mcore.progress import Progress
from mcore.question import PARTS, PathSpec, parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import joined, lay, run

FIT = {"steps": 2, "batch_size": 16, "learning_rate": 0.01}
T = st.floats(0, 1)
KINDS = [
    {"kind": "linear"}, {"kind": "bezier", "bends": 2, **FIT}, {"kind": "chain", "bends": 3, **FIT}, {"kind": "mix", "per": "block", **FIT},
    {"kind": "slerp"}, {"kind": "partial", "move": list(PARTS)}, {"kind": "task-vector", "scale": 0.6},
]  # fmt: skip


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return tiny.learnable(tmp_path_factory.mktemp("learnable") / "rows.csv", rows=120)


@pytest.fixture(scope="module")
def asked(saved, task):
    def make(path, family="bert", points=3, **more):
        if path["kind"] == "task-vector":
            path = {"base": f"local:{saved(family, 5, opener=AutoModel)}", **path}
        ends = [saved(family, seed) for seed in (1, 2)]
        return tiny.experiment(*ends, {"task": f"local:{task}", "max_length": 16, "split": "validation"}, points=points, path=path, **more)

    return make


def answer(question, store):
    list(run(parse(question), store))
    return collect(resolve(parse(question)), store)["tasks"][0]


def exhausted(generator):
    """What a generator returns."""
    while True:
        try:
            next(generator)
        except StopIteration as done:
            return done.value


def laid(question, store):
    """The live model with its path, ready to be placed."""
    progress = Progress(resolve(parse(question)), store)
    live = exhausted(joined(progress, store, lambda: False))
    live = exhausted(lay(live, progress, store, lambda: False))
    prepare(live.model)
    return live


def placed(live, t):
    live.place_body(live.path.at(t))
    live.place_head(live.path.at(t), "both")
    return {name: tensor.detach().clone() for name, tensor in live.tensors.items()}


@given(T, st.integers(1, 4))
def test_coefficients_of_curves_and_chains_sum_to_one_and_have_linear_precision(t, bends):
    """With its points on a line, each is that line: what lets a bend be kept as its distance from the chord."""
    for coefficients in (bezier(t, bends), chain(t, bends)):
        places = [0.0, 1.0, *((i + 1) / (bends + 1) for i in range(bends))]
        assert len(coefficients) == bends + 2 and min(coefficients) >= 0
        assert sum(coefficients) == pytest.approx(1, abs=1e-12)
        assert sum(c * place for c, place in zip(coefficients, places, strict=True)) == pytest.approx(t, abs=1e-12)


@given(T, T)
def test_coefficients_of_a_mix_sum_to_one_and_lead_through_the_mix(t, share):
    assert sum(mixed(t, share)) == pytest.approx(1) and mixed(0, share) == (1, 0) and mixed(1, share) == (0, 1)
    assert mixed(0.5, share) == pytest.approx((1 - share, share))


@given(st.floats(-0.5, 1.5), st.floats(-2, 2))
def test_coefficients_over_a_task_vector_sum_to_one_with_that_of_the_base(t, scale):
    path = Path(PathSpec(kind="task-vector", base="local:x", scale=scale), lacking=frozenset({"head"}))
    assert sum(path.at(t)("body")) == pytest.approx(1) and path.at(t)("head") == (1 - t, t, 0)
    assert task_vector(0, scale) == (1, 0) and task_vector(1, scale) == (0, 1) and task_vector(0.5, scale) == pytest.approx((scale, scale))


@given(T, st.sampled_from(["bert.encoder.layer.0.attention.self.query.weight", "classifier.bias"]), st.sampled_from(["a", "b"]))
def test_coefficients_of_a_partial_path_sum_to_one(t, name, rest):
    path = Path(PathSpec(kind="partial", move=["attention"], rest=rest), output_layer=frozenset({"classifier.bias"}))
    still = (0.0, 1.0) if rest == "b" else (1.0, 0.0)
    assert path.at(t)(name) == ((1 - t, t) if "attention" in name else still)


@given(T, st.floats(0.01, math.pi - 0.01))
def test_a_spherical_path_keeps_the_length_of_two_tensors_of_one_length(t, angle):
    a, b = spherical(t, angle)
    assert a * a + b * b + 2 * a * b * math.cos(angle) == pytest.approx(1, abs=1e-6)
    assert spherical(t, 0.0) == (1 - t, t) == spherical(t, math.pi)


@given(st.integers(1, 4))
def test_a_chain_is_at_its_bends_where_t_says(bends):
    for i in range(bends):
        expected = [float(j == i) for j in range(bends)]
        assert chain((i + 1) / (bends + 1), bends) == pytest.approx((0, 0, *expected))
    assert chain(0, bends)[0] == 1 == chain(1, bends)[1] == bezier(0, bends)[0] == bezier(1, bends)[1]


@pytest.mark.parametrize("path", KINDS, ids=lambda path: path["kind"])
def test_the_ends_of_every_path_are_the_untouched_checkpoints_bit_for_bit(path, asked, store, saved):
    question = asked(path)
    list(run(parse(question), store))
    resolved = resolve(parse(question))
    straight = resolve(parse(asked({"kind": "linear"})))
    live = laid(question, store)
    assert live.path.controls == tuple(live.weights) == controls(resolved.route.spec)
    for t, seed in ((0.0, 1), (1.0, 2)):
        own = reference.load(saved("bert", seed)).state_dict()
        found = placed(live, t)
        assert all(torch.equal(tensor, own[name]) for name, tensor in found.items())
        keys = {plan.key(one, plan.Point(0, t), plan.orders(one, 0, store)) for one in (resolved, straight)}
        assert len(keys) == (1 if resolved.route.whole or t == 0.0 else 2)  # computed once for all paths that have this end in common
    orders, inputs = plan.orders(resolved, 0, store), responses.prepared(live, resolved, 0)
    for t in (0.0, 1.0):
        point = plan.Point(0, t)
        scores = responses.at(live, resolved, point, orders, inputs, lambda: False)
        again = laid(asked({"kind": "linear"}), store)
        assert np.array_equal(scores, responses.at(again, straight, point, orders, responses.prepared(again, straight, 0), lambda: False))


@pytest.mark.parametrize("family", ["gpt2", "albert", "bart"])
@pytest.mark.parametrize("path", KINDS[1:], ids=lambda path: path["kind"])
def test_tied_weights_stay_tied_on_every_path(family, path, asked, store):
    live = laid(asked(path, family), store)
    before = {name: id(tensor) for name, tensor in live.model.state_dict(keep_vars=True).items()}
    live.place_body(live.path.at(0.4))
    live.place_head(live.path.at(0.4), "both")
    after = live.model.state_dict(keep_vars=True)
    assert {name: id(tensor) for name, tensor in after.items()} == before and len(set(before.values())) == len(live.tensors)
    if family == "bart":
        assert after["model.shared.weight"] is after["model.encoder.embed_tokens.weight"] is after["model.decoder.embed_tokens.weight"]


def test_a_partial_path_moves_what_it_names_and_nothing_else(asked, store):
    live = laid(asked({"kind": "partial", "move": ["attention", "layers:1-1"]}), store)
    at_b, a, b = placed(live, 1.0), live.weights["a"], live.weights["b"]
    for name, tensor in at_b.items():
        moved = "encoder.layer.1." in name or ("attention" in name and "LayerNorm" not in name)
        assert torch.equal(tensor, (b if moved else a).read(name)), name


def test_a_partial_path_may_rest_at_b(asked, store):
    question = asked({"kind": "partial", "move": ["head"], "rest": "b"})
    live = laid(question, store)
    at_a = placed(live, 0.0)
    assert all(torch.equal(tensor, live.weights["a" if name.startswith(("classifier", "bert.pooler")) else "b"].read(name)) for name, tensor in at_a.items())
    losses = answer(question, store)["loss"]
    assert losses[-1] == answer(asked({"kind": "linear"}), store)["loss"][-1] != losses[0]


def test_all_parts_together_are_the_line_and_every_tensor_has_one_part(asked, store):
    together, line = (answer(asked(path), store)["loss"] for path in ({"kind": "partial", "move": list(PARTS)}, {"kind": "linear"}))
    assert together == line
    for family in ("bert", "gpt2", "roberta", "distilbert", "bart", "modernbert"):
        live = laid(asked({"kind": "partial", "move": list(PARTS)}, family), store)
        parts = {name: part_of(name, live.output_layer) for name in live.tensors}
        assert set(parts.values()) == set(PARTS), family
        assert all(sum(moves(name, [part], live.output_layer) for part in PARTS) == 1 for name in parts)


def test_a_spherical_path_is_on_the_great_circle_of_each_tensor(asked, store):
    live = laid(asked({"kind": "slerp"}), store)
    name = "bert.encoder.layer.0.output.dense.weight"
    a, b = (live.weights[side].read(name).double() for side in "ab")
    angle = math.acos(float((a * b).sum() / a.norm() / b.norm()))
    expected = (math.sin(0.7 * angle) * a + math.sin(0.3 * angle) * b) / math.sin(angle)
    assert torch.allclose(placed(live, 0.3)[name].double(), expected, atol=1e-6)


def test_over_a_task_vector_the_middle_is_the_base_and_what_both_have_learned(saved, asked, store):
    live = laid(asked({"kind": "task-vector", "scale": 0.75}), store)
    base = load_file(saved("bert", 5, opener=AutoModel) / "model.safetensors")
    middle, a, b = placed(live, 0.5), live.weights["a"], live.weights["b"]
    for name, tensor in middle.items():
        if name in live.output_layer:
            expected = 0.5 * a.read(name) + 0.5 * b.read(name)
        else:
            own = base[name.removeprefix("bert.")]
            expected = own + 0.75 * ((a.read(name) - own) + (b.read(name) - own))
        assert torch.allclose(tensor, expected, atol=1e-6), name
    losses = [answer(asked({"kind": "task-vector", "scale": scale}), store)["loss"] for scale in (0.0, 1.0)]
    assert losses[0][::2] == losses[1][::2] and losses[0][1] != losses[1][1]


def test_a_half_of_each_task_vector_is_the_line(asked, store):
    half, line = (answer(asked(path, points=5), store)["loss"] for path in ({"kind": "task-vector", "scale": 0.5}, {"kind": "linear"}))
    assert half[2] == pytest.approx(line[2], abs=1e-5)


def test_a_line_goes_on_beyond_its_ends_and_marks_them(saved, asked, store):
    question = asked({"kind": "linear", "extend": 0.5}, points=3)
    told = answer(question, store)
    assert told["t"] == [-0.5, 0.0, 0.5, 1.0, 1.5]
    assert told["loss"][1:4] == answer(asked({"kind": "linear"}), store)["loss"]
    for t in (-0.5, 1.5):
        model = reference.mixed(saved("bert", 1), saved("bert", 2), t)
        live = laid(question, store)
        assert all(torch.allclose(tensor, model.state_dict()[name], atol=1e-6) for name, tensor in placed(live, t).items())
    with pytest.raises(QuestionError, match="from 0 to 1"):
        parse(asked({"kind": "linear"}, points=[-0.25, 0, 1]))


def test_the_barrier_is_that_between_the_ends_however_far_a_path_goes_on(asked, store):
    beyond, line = (answer(asked(path, points=5), store)["barrier"] for path in ({"kind": "linear", "extend": 0.5}, {"kind": "linear"}))
    assert beyond == line


@pytest.mark.parametrize(
    ("path", "wrong"),
    [({"kind": "linear", "bends": 1}, "bends belongs to a path of the kind bezier or chain"), ({"kind": "partial"}, "needs move"),
     ({"kind": "task-vector"}, "needs base"), ({"kind": "mix", "per": "head"}, "path.per"), ({"kind": "bezier", "bends": 5}, "path.bends"),
     ({"kind": "partial", "move": ["layers:3-1"]}, "path.move"), ({"kind": "chain", "extend": 0.2}, "extend belongs to"),
     ({"kind": "bezier", "train": "first:2"}, "path.train")],
)  # fmt: skip
def test_what_a_path_does_not_have_is_refused_by_name(path, wrong):
    with pytest.raises(QuestionError, match=wrong):
        parse(tiny.experiment("builtin:austen@7000", "builtin:austen@7000", {"task": "builtin:speech"}, path=path))


def test_paths_that_differ_are_answered_apart_and_a_line_as_ever(asked):
    """The fingerprint of a straight line is that of before there were others."""
    prints = [resolve(parse(asked(path))).route.fingerprint for path in KINDS]
    assert prints[0] == "" and len(set(prints)) == len(prints)
    line = resolve(parse(asked({"kind": "linear"})))
    assert resolve(parse({k: v for k, v in asked({"kind": "linear"}).items() if k != "path"})).fingerprint == line.fingerprint


@pytest.mark.parametrize(("rest", "align", "shared"), [("a", "none", True), ("b", "none", True), ("a", "weights", True), ("b", "weights", False)])
def test_where_a_partial_path_rests_it_has_the_responses_of_every_other_path(rest, align, shared, asked, store):
    line, partial = asked({"kind": "linear"}), asked({"kind": "partial", "move": ["head"], "rest": rest, "align": align})
    list(run(parse(line), store))
    progress = Progress(resolve(parse(partial)), store)
    end = {"a": 0.0, "b": 1.0}[rest]
    assert [point.t for point in progress.pending()] == [t for t in (0.0, 1.0, 0.5) if t != end or not shared]
    ends = answer(line, store)["loss"][0 if rest == "a" else -1], answer(partial, store)["loss"][0 if rest == "a" else -1]
    assert ends[0] == ends[1] if shared else ends[0] == pytest.approx(ends[1], abs=1e-5)
