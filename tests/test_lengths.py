"""A path is as long as a dense computation with whole state dictionaries says, whatever its kind."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import reference
import tiny
import torch

from mcore.coefficients import Path
from mcore.live.blend import Place, WeightSet, gram
from mcore.paths import lengths
from mcore.question import PathSpec, parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import run

TS = [0.0, 0.1, 0.3, 0.5, 0.8, 1.0]
KINDS = {
    "bezier": {"kind": "bezier", "bends": 2}, "chain": {"kind": "chain", "bends": 3}, "slerp": {"kind": "slerp"},
    "partial": {"kind": "partial", "move": ["attention"]}, "mix": {"kind": "mix"}, "linear beyond": {"kind": "linear", "extend": 0.5},
    "task vector": {"kind": "task-vector", "base": "builtin:austen@0", "scale": 0.4},
}  # fmt: skip
NAMES = {"encoder.layer.0.attention.self.query.weight": (8, 8), "encoder.layer.1.output.dense.weight": (40, 9), "classifier.bias": (3,)}


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """Six control points: state dictionaries and the same on disk."""
    from safetensors.torch import save_file

    random, states, sets = torch.Generator().manual_seed(0), [], []
    for i in range(6):
        state = {name: 100 + 0.3 * torch.randn(shape, generator=random) for name, shape in NAMES.items()}
        file = tmp_path_factory.mktemp("point") / f"{i}.safetensors"
        save_file(state, file)
        states.append(state)
        sets.append(WeightSet({name: Place(file, name) for name in state}))
    return states, sets


def dense(path: Path, states: list[dict], t: float) -> torch.Tensor:
    """All weights at t in one vector, float64."""
    at = path.at(t)
    return torch.cat([sum(c * state[name].double() for c, state in zip(at(name), states, strict=False)).flatten() for name in NAMES])


@pytest.mark.parametrize("kind", KINDS)
def test_length_and_places_are_those_of_a_dense_computation(points, kind):
    states, sets = points
    given = dict.fromkeys(NAMES, 0.3) if kind in ("slerp", "mix") else {}
    path = Path(PathSpec.model_validate(KINDS[kind]), given)
    states, sets = states[: len(path.controls)], sets[: len(path.controls)]
    ts = [-0.5, *TS, 1.25] if kind == "linear beyond" else TS
    told = lengths.measured(gram(sets, NAMES), path.at, ts)
    fine = np.linspace(min(ts), max(ts), round((max(ts) - min(ts)) * 2400) + 1)
    vectors = [dense(path, states, t) for t in fine]
    along = np.concatenate([[0.0], np.cumsum([float((right - left).norm()) for left, right in itertools.pairwise(vectors)])])
    zero, one = (int(np.abs(fine - end).argmin()) for end in (0.0, 1.0))
    assert told["length"] == pytest.approx(along[one] - along[zero], rel=1e-5)
    assert told["chord"] == pytest.approx(float((dense(path, states, 1.0) - dense(path, states, 0.0)).norm()), rel=1e-6)
    assert told["length"] >= told["chord"] * (1 - 1e-9)
    assert told["arc"] == pytest.approx([along[int(np.abs(fine - t).argmin())] - along[zero] for t in ts], rel=1e-4, abs=1e-4)


def test_a_point_that_lacks_a_tensor_counts_as_no_difference_there(points):
    _, sets = points
    torn = WeightSet({name: place for name, place in sets[1].where.items() if name != "classifier.bias"})
    assert not gram([sets[0], torn], NAMES)["classifier.bias"][1].any()
    assert gram([sets[0], torn], NAMES)["encoder.layer.1.output.dense.weight"][1, 1] > 0


def test_a_run_keeps_the_length_of_its_path_and_a_line_is_as_long_as_its_chord(saved, rows, store):
    a, b = saved("bert", 0), saved("bert", 1)
    arcs = {}
    for kind, way in {"line": {"kind": "linear"}, "sphere": {"kind": "slerp"}}.items():
        asked = parse(tiny.experiment(a, b, rows, points=5, path=way))
        list(run(asked, store))
        arcs[kind] = collect(resolve(asked), store)["path"]
    apart = math.sqrt(sum(float((x.double() - y.double()).pow(2).sum()) for x, y in zip(
        reference.load(a).state_dict().values(), reference.load(b).state_dict().values(), strict=True)))  # fmt: skip
    assert arcs["line"]["length"] == arcs["line"]["chord"] == pytest.approx(apart, rel=1e-5)
    assert arcs["line"]["arc"] == pytest.approx([0, apart / 4, apart / 2, 3 * apart / 4, apart], rel=1e-5)
    assert arcs["sphere"]["chord"] == pytest.approx(apart, rel=1e-5) and arcs["sphere"]["length"] > 1.01 * apart


def test_a_length_that_is_lost_is_measured_again_without_a_point(saved, rows, store):
    asked = parse(tiny.experiment(saved("bert", 0), saved("bert", 1), rows, path={"kind": "slerp"}))
    list(run(asked, store))
    resolved = resolve(asked)
    before = collect(resolved, store)["path"]
    store.drop(lengths.length_key(resolved))
    assert collect(resolved, store)["path"] is None
    assert not any(getattr(event, "done", 0) > 3 for event in run(asked, store))
    assert collect(resolved, store)["path"] == before


def test_the_change_of_output_rises_along_the_path_and_is_nothing_between_equal_models(saved, rows, store):
    same = parse(tiny.experiment(saved("bert", 0), saved("bert", 0), rows))
    other = parse(tiny.experiment(saved("bert", 0), saved("bert", 1), rows, points=5))
    for asked in (same, other):
        list(run(asked, store))
    assert collect(resolve(same), store)["tasks"][0]["flow"] == [0, 0, 0]
    flow = collect(resolve(other), store)["tasks"][0]["flow"]
    assert flow[0] == 0 and all(right > left for left, right in itertools.pairwise(flow)) and flow[-1] <= 4
