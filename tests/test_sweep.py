"""A sweep asks one partial path for each part, in the order of depth, and tells which of them carries the barrier."""

from __future__ import annotations

import csv
import io

import pytest
import tiny
import torch
import transformers as hf
from browser_fixtures import question
from safetensors.torch import load_file, save_file

from mcore.charts.sweep import sweep_chart, sweep_figure, sweep_told
from mcore.charts.theme import to_svg
from mcore.events import Asked, PointReady
from mcore.live.reuse import Reuse
from mcore.models.checkpoints import look_at
from mcore.paths.siblings import siblings
from mcore.question import PARTS, parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.store import Store
from mcore.studies import sweep
from mcore.studies.studying import run_study
from mcore.studies.sweep import POINTS, asked_by_a_sweep, costliest, csv_of, moves, rows, verdict

NATS = {"measure": {"loss": "nats", "accuracy": "accuracy"}}


def of(asked, **how):
    return sweep.sweep(asked, resolve(asked), **how)


def row(part, barrier, low, high, change=0.0):
    return dict.fromkeys(sweep.FIELDS, 0.0) | {"part": part, "barrier": barrier, "low": low, "high": high, "t": 0.5, "change": change}


UNKNOWN = dict.fromkeys(sweep.FIELDS) | {"part": "head"}


def test_every_layer_is_asked_alone_from_the_embeddings_to_the_head():
    asked = of(question())
    assert list(asked.questions) == ["embeddings", "layer 0", "layer 1", "layer 2", "layer 3", "head"]
    for one, move in zip(asked.questions.values(), ["embeddings", *(f"layers:{i}-{i}" for i in range(4)), "head"], strict=True):
        assert (one.path.move, one.path.rest, one.points) == ([move], None, 5)
        assert (one.a, one.b, one.tasks, one.precision) == (question().a, question().b, question().tasks, question().precision)


def test_every_kind_of_part_is_asked_alone_and_together_they_are_all_there_is():
    asked = of(question(), by="part", rest="b", points=9)
    assert set(asked.questions) == set(PARTS) and {one.path.rest for one in asked.questions.values()} == {"b"}
    assert {one.points for one in asked.questions.values()} == {9}


def test_alignment_is_kept_and_the_rest_of_the_path_is_not():
    curve = question(path={"kind": "bezier", "bends": 2, "align": "weights"}, points=26, tasks=[{"task": "builtin:speech", "limit": 64}, {"task": "builtin:speech", "sample_seed": 1, "limit": 64}])
    for one in of(curve).questions.values():
        assert (one.path.kind, one.path.align, one.path.bends, len(one.tasks)) == ("partial", "weights", None, 1)


def test_a_head_that_only_one_end_has_is_not_asked_for(saved, rows, tmp_path):
    body = tiny.save(tmp_path / "body", "bert", 3, opener=hf.AutoModel)
    assert "head" not in moves(resolve(parse(tiny.experiment(saved("bert", 1), body, rows))), "layer")
    fitted = parse(tiny.experiment(saved("bert", 1), saved("bert", 2), {"task": f"local:{tiny.learnable(tmp_path / 'rows.csv')}", "split": "validation", "read": "fitted"}))
    assert list(moves(resolve(fitted), "layer")) == ["embeddings", "layer 0", "layer 1"]


@pytest.mark.parametrize(("family", "opener", "head"), [("gpt2", hf.AutoModelForCausalLM, False), ("bert", hf.AutoModelForMaskedLM, True), ("t5", hf.AutoModelForSeq2SeqLM, False)])
def test_of_a_language_model_the_head_is_a_part_where_it_has_tensors_of_its_own(family, opener, head, pairs, tmp_path):
    ends = [tiny.save(tmp_path / str(seed), family, seed, opener=opener) for seed in (1, 2)]
    asked = {"task": f"local:{pairs}", "text": ["first", "second"], "read": "tokens"}
    assert list(moves(resolve(parse(tiny.experiment(*ends, asked))), "layer")) == ["embeddings", "layer 0", "layer 1", *(["head"] if head else [])]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return tiny.task(tmp_path_factory.mktemp("pairs") / "pairs.csv", pairs=True)


def test_layers_are_counted_by_the_configuration_where_no_tensor_is_known(tmp_path):
    folder = tiny.save(tmp_path / "pickled", "minilm", 1)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    looked = look_at(folder, f"local:{folder}", "a")
    assert looked.unread and sweep.layers_of(looked) == [0, 1, 2]


@pytest.fixture(scope="module")
def answered(saved, tmp_path_factory):
    """A sweep between two ends that differ in layer 2 and, hardly, in the head; the results; what was told; how often lower layers were reused."""
    folder = tmp_path_factory.mktemp("sweep")
    store, tensors, other = Store(folder / "store"), *(load_file(saved("minilm", seed) / "model.safetensors") for seed in (1, 2))
    b = tiny.save(folder / "b", "minilm", 1)
    save_file(tensors | {name: one for name, one in other.items() if name.startswith("bert.encoder.layer.2.")} | {"classifier.bias": tensors["classifier.bias"] + 1e-3}, b / "model.safetensors", metadata={"format": "pt"})
    asked = of(parse(tiny.experiment(saved("minilm", 1), b, tiny.task(folder / "rows.csv", rows=40), points=26)))
    made, whole = [], Reuse.between.__func__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reuse, "between", classmethod(lambda cls, *how: (made.append(whole(cls, *how)), made[-1])[1]))
        told = list(run_study(asked.study, store))
    return asked, {name: collect(resolve(one), store) for name, one in asked.questions.items()}, told, made, store


def test_the_part_in_which_the_ends_differ_is_the_one_that_moves_the_loss(answered):
    asked, results, *_ = answered
    found = {one["part"]: one for one in rows(asked, results)}
    assert all(one["barrier"] == one["change"] == 0 for part, one in found.items() if part not in ("layer 2", "head"))
    assert abs(found["layer 2"]["change"]) > 0.02 and 0 < abs(found["head"]["change"]) < 0.01
    task = results["layer 2"]["tasks"][0]
    assert found["layer 2"]["barrier"] == task["barrier"]["loss_chord"]["value"] and found["layer 2"]["loss_moved"] == task["loss"][-1]


def test_all_parts_begin_at_one_point_that_is_computed_once(answered):
    asked, results, told, *_ = answered
    assert len({result["tasks"][0]["loss"][0] for result in results.values()}) == 1
    names = [event.name for event in told if isinstance(event, Asked)]
    assert names == list(asked.questions)
    seen = [event for event in told if isinstance(event, PointReady)]
    assert len(seen) == POINTS[0] * len(names)


def test_lower_layers_are_reused_where_they_stand_still(answered):
    asked, *_, made, _ = answered
    reused = dict(zip(asked.questions, made, strict=True))
    assert reused["layer 2"].bytes and reused["head"].bytes


def test_the_end_that_rests_at_b_turns_the_change_round(answered):
    asked, results, *_ = answered
    turned = sweep.Sweep(asked.question, asked.moves, "b")
    for one, other in zip(rows(asked, results), rows(turned, results), strict=True):
        assert other["change"] == -one["change"] and (other["loss_rest"], other["loss_moved"]) == (one["loss_moved"], one["loss_rest"])


def test_its_questions_are_no_lines_among_the_paths_of_a_pair(answered):
    asked, _, _, _, store = answered
    resolved = resolve(asked.question)
    assert len(siblings(resolved, store)) == len(asked.questions) and not siblings(resolved, store, leave_out=asked_by_a_sweep)
    assert all(map(asked_by_a_sweep, asked.questions.values()))
    for path, points in (({"kind": "partial", "move": ["head", "norms"]}, 5), ({"kind": "partial", "move": ["head"]}, 26), ({"kind": "partial", "move": ["layers:0-1"]}, 5), ({}, 5)):
        assert not asked_by_a_sweep(question(path=path, points=points))


def test_finer_points_have_all_those_of_the_coarser():
    for coarse, fine in zip(POINTS, POINTS[1:], strict=False):
        assert set(question(points=coarse).ts()) < set(question(points=fine).ts())


def test_the_table_as_csv_has_a_line_for_each_part_and_nothing_where_nothing_is_known():
    read = list(csv.DictReader(io.StringIO(csv_of([row("layer 0", 0.25, 0.2, 0.3), UNKNOWN]).decode())))
    assert list(read[0]) == list(sweep.FIELDS) and float(read[0]["barrier"]) == 0.25
    assert read[1] == dict.fromkeys(sweep.FIELDS, "") | {"part": "head"}


@pytest.mark.parametrize(("table", "told"), [
    ([UNKNOWN], ""),
    ([row("layer 0", 0.30, 0.25, 0.35), row("layer 1", 0.10, 0.05, 0.15)], "Layer 0 carries the highest barrier, 0.30 nats (95 % interval 0.25 to 0.35), before layer 1 with 0.10."),
    ([row("embeddings", 0.30, 0.25, 0.35), UNKNOWN], "1 of 2 parts so far: the embeddings carry"),
    ([row("layer 0", 0.30, 0.25, 0.35), row("norms", 0.28, 0.23, 0.33)], "it cannot be told from the norms"),
    ([row("layer 0", 0.03, 0.02, 0.04), row("layer 1", 0.01, 0.0, 0.02)], "Moved alone, no part meets a barrier; the highest is that of layer 0 with 0.03 nats"),
    ([row("layer 0", 0.2, 0.0, 0.5), row("layer 1", 0.01, 0.0, 0.02)], "no part's loss rises above the chord by more than these rows could tell from nothing"),
])  # fmt: skip
def test_what_carries_the_barrier_is_told_as_far_as_the_intervals_carry_it(table, told):
    assert told in verdict(table, NATS) and bool(told) == bool(verdict(table, NATS))


def test_of_losses_that_are_not_nats_of_labels_none_counts_as_connected():
    small = [row("layer 0", 0.03, 0.02, 0.04), row("layer 1", 0.005, 0.0, 0.01)]
    assert "connected" not in verdict(small, {"measure": {"loss": "nats per token"}}) and "carries" in verdict(small, {"measure": {"loss": "nats per token"}})


def test_what_it_costs_to_take_over_a_part_is_told():
    table = [row("layer 0", 0, 0, 0, 0.4), row("head", 0, 0, 0, -0.1)]
    assert costliest(table, NATS, "a") == "At the end of its path it costs most to have B's layer 0 in A: 0.40 nats more loss."
    assert "A's layer 0 in B" in costliest(table, NATS, "b") and costliest(table[:1], NATS, "a") == ""
    assert costliest([row("layer 0", 0, 0, 0, -0.4), row("head", 0, 0, 0, 0.0)], NATS, "a") == "No part of B in the place of A's raises the loss."


def test_the_chart_has_a_place_for_every_part_and_tells_itself():
    table = [row("embeddings", 0.3, 0.25, 0.35, 0.5), row("layer 0", 0.02, 0.01, 0.03, -0.1), UNKNOWN]
    for chart in (sweep_chart(table, NATS, "a", "layer 0", True), sweep_chart([UNKNOWN], NATS, "a")):
        assert "layer 0" in str(chart.to_dict()) or "Barrier of each part" in chart.to_dict()["description"]
    told = sweep_told(table, NATS, "b")
    assert told == "Barrier in nats of each part of the model that goes alone from B to A: embeddings 0.30, layer 0 0.020; 1 still to come."
    svg = to_svg(sweep_figure(table, NATS, "a")).decode()
    assert "embeddings" in svg.replace("emb.", "embeddings") and "· · ·" in svg and "0.30" in svg
