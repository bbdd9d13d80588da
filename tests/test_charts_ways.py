"""Several paths on one chart, their averages, the fit of one; sentences name the path and what lies at its ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_charts import marked, rows, texts
from test_words import experiment, recipe, result

from mcore import words
from mcore.charts import overview as charts
from mcore.charts.fit import cells, fit_chart, mix_chart, most_decided, shortened
from mcore.charts.ways import ways_chart
from mcore.names import nats
from mcore.paths.along import extremes, mean_loss, positions
from mcore.paths.ways import NAMES, TOLD, between, conclusion, endpoints, ends, short, subject
from mcore.question import PathSpec
from mcore.ui.compare.suggestions import suggestion

CURVE = {"kind": "bezier", "bends": 1}
MOVED = {"kind": "partial", "move": ["attention"]}
ONE_EACH = [
    {"kind": "linear"}, {"kind": "linear", "align": "weights"}, CURVE, {"kind": "chain", "bends": 2}, {"kind": "mix", "per": "block"}, MOVED,
    {"kind": "partial", "move": ["norms", "layers:1-3"], "rest": "b"}, {"kind": "slerp"}, {"kind": "task-vector", "base": "builtin:austen@0", "scale": 0.5},
]  # fmt: skip


def on(way: dict, **changes) -> dict:
    return result(**changes) | {"way": way}


def beyond() -> dict:
    """Thirteen points from t = −0.5 to 1.5; the loss is lowest at both ends."""
    told = result()
    t = np.linspace(-0.5, 1.5, 13)
    return told | {"t": t.tolist(), "way": {"kind": "linear", "extend": 0.5}, "ensemble_loss": None, "loss": (1.0 + np.cos(2 * np.pi * t) * -0.3).tolist()}


@pytest.mark.parametrize("way", ONE_EACH, ids=lambda way: "-".join(map(str, way.values())))
def test_every_kind_of_path_has_words(way):
    spec = PathSpec.model_validate(way)
    told = words.meaning(on(way))
    assert told.summary.lower().startswith(subject(spec).lower()) and conclusion(spec, False, False) in told.summary
    assert short(spec) and spec.kind in NAMES and spec.kind in TOLD
    assert words.alternative(on(way)).startswith(f"Loss and accuracy along the path from {ends(spec)[0]} (t = 0) to {ends(spec)[1]} (t = 1)")
    assert charts.to_svg(charts.path_chart(on(way), dark=True, width=420)).startswith(b"<svg")


def test_a_curve_is_told_as_a_curve_and_only_a_line_is_linear():
    assert words.meaning(on(CURVE, height=0.02, dip=0.0)).summary.startswith("The curve with one fitted bend never rises more than 0.02")
    assert "this path connects these two minima" in words.meaning(on(CURVE, height=0.01, dip=0.0)).summary
    assert "linearly" not in words.meaning(on(CURVE)).summary


def test_the_end_of_a_partial_path_is_not_called_b():
    assert ends(PathSpec.model_validate(MOVED)) == ("A", "A with B's attention")
    assert ends(PathSpec.model_validate(MOVED | {"rest": "b"})) == ("B with A's attention", "B")
    assert endpoints(PathSpec.model_validate(MOVED)) == {"a": 0.0}
    told = words.meaning(on(MOVED))
    assert "on the way to A with B's attention" in told.more[0] and "moving only attention meets a barrier" in told.summary
    spec = charts.path_chart(on(MOVED)).to_dict()
    assert "A with B's attention" in texts(spec) and "B" not in texts(spec) and "B · t = 1" not in str(spec)


def test_a_barrier_of_the_line_leads_to_a_curve_and_back():
    entry = result() | {"head": "both"}
    same = experiment(recipe(), recipe(data_seed=2))
    told = words.meaning(entry, same).next_step
    proposed = suggestion(told, same)
    assert told == "A curve with one bend may connect them: fit it." and proposed.question.path.kind == "bezier"
    assert proposed.question.path.steps == 150
    back = suggestion(words.meaning(entry | {"way": CURVE} | {"barrier": result(height=0.0)["barrier"]}, proposed.question).next_step, proposed.question)
    assert back.question.path == PathSpec()
    more = suggestion(words.meaning(entry | {"way": CURVE}, proposed.question).next_step, proposed.question)
    assert more.question.path.bends == 2


def test_axes_go_beyond_the_ends_and_mark_them_and_the_chord_does_not():
    spec = charts.path_chart(beyond()).to_dict()
    scales = [leaf["encoding"]["x"]["scale"]["domain"] for leaf in marked(spec, "point")]
    assert scales == [[-0.5, 1.5]] * 2
    chord = rows(marked(spec, "line")[0], spec)
    assert [row["t"] for row in chord] == [0, 1]
    upright = [row["t"] for leaf in marked(spec, "rule") for row in rows(leaf, spec) if set(row) == {"t"}]
    assert upright.count(0) == upright.count(1) == 2
    assert "from A (t = 0) to B (t = 1)" in spec["description"] and "at A loss" in spec["description"]


def test_what_lies_beyond_the_ends_is_cut_off_with_its_changes():
    entry = beyond()
    cut = between(entry)
    assert cut["t"][0] == 0 and cut["t"][-1] == 1 and len(cut["loss"]) == len(cut["t"]) == 7
    assert cut["knowledge"]["mastered"] == entry["knowledge"]["mastered"][3:10] and len(cut["knowledge"]["forgotten"]) == 6
    assert between(result()) == result()


@given(st.lists(st.floats(0.01, 5), min_size=4, max_size=4))
def test_places_are_0_at_a_and_1_at_b_and_rise(steps):
    entry = {"t": [-0.25, 0.0, 0.5, 1.0, 1.25], "flow": np.concatenate([[0], np.cumsum(steps)]).tolist(), "loss": [1.0] * 5}
    path = {"length": steps[1] + steps[2], "arc": [-steps[0], 0.0, steps[1], steps[1] + steps[2], sum(steps[1:])]}
    for axis in ("t", "arc", "flow"):
        where = positions(entry, path, axis)
        assert where[1] == 0 and where[3] == pytest.approx(1) and all(right > left for left, right in zip(where, where[1:], strict=False))
        assert mean_loss(entry, path, axis) == pytest.approx(1)


def test_means_weigh_by_their_axis_and_leave_out_what_is_beyond():
    entry = {"t": [-0.5, 0.0, 0.5, 1.0], "loss": [9.0, 1.0, 1.0, 0.0], "flow": None}
    path = {"length": 4.0, "arc": [-9.0, 0.0, 3.0, 4.0]}
    assert mean_loss(entry, path, "t") == pytest.approx(0.75) and mean_loss(entry, path, "arc") == pytest.approx(0.875)
    assert mean_loss(entry, None, "arc") is None and extremes(entry) == (0.0, 1.0)


def test_others_are_grey_beneath_the_present_one_and_named_at_their_lines():
    chart = ways_chart([on(CURVE, height=0.1), result(), on({"kind": "slerp"}, height=0.3)], [None] * 3)
    spec = chart.to_dict()
    assert {"Bézier, one bend", "straight line", "spherical"} <= texts(spec)
    assert "3 paths" in spec["description"] and f"barrier {nats(0.4)}" in spec["description"]
    many = ways_chart([on(CURVE), *(on({"kind": "partial", "move": [f"layers:{i}-{i}"]}) for i in range(4))], [None] * 5).to_dict()
    assert {"1", "2", "3", "4", "5"} <= texts(many)
    assert {"1  Bézier, one bend", "2  only layer 0", "5  only layer 3"} <= texts(many), "a key says which number is which"
    assert not any("1  " in one for one in texts(spec)), "where every line has its name no key is needed"
    for dark in (False, True):
        assert charts.to_svg(ways_chart([on(CURVE)], [None], "t", dark, 420)).startswith(b"<svg")


def test_the_number_of_each_of_many_paths_stands_on_its_own_line_apart_from_the_others():
    heights = [0.1, 0.5, 0.45, 0.4, 0.3, 0.2]
    entries = [on({"kind": "partial", "move": [f"layers:{i}-{i}"]}, height=height) for i, height in enumerate(heights)]
    spec = ways_chart(entries, [None] * len(entries)).to_dict()
    found = {row["text"]: row for leaf in marked(spec, "text") for row in rows(leaf, spec) if row["text"].isdigit()}
    assert set(found) == {"1", "2", "3", "4", "5", "6"}
    for name, row in found.items():
        entry = entries[int(name) - 1]
        assert row["y"] == pytest.approx(np.interp(row["x"], entry["t"], entry["loss"]))
    scale = next(leaf["encoding"]["y"]["scale"] for leaf in marked(spec, "point"))
    tall = abs(scale["range"][0] - scale["range"][1]) / (scale["domain"][1] - scale["domain"][0])
    places = [(320 * row["x"], tall * row["y"]) for row in found.values()]
    assert min(np.hypot(x - u, y - v) for i, (x, y) in enumerate(places) for u, v in places[:i]) > 12, "no number on another"
    keyed = [row["text"] for leaf in marked(spec, "text") for row in rows(leaf, spec) if "  " in row["text"]]
    assert keyed == [f"{i}  only layer {i - 1}" for i in range(1, 7)]
    assert spec["height"] > ways_chart(entries[:2], [None] * 2).to_dict()["height"] + 6 * 15


def test_numbers_of_paths_that_lie_on_one_another_stand_beside_one_another():
    entries = [on({"kind": "partial", "move": [f"layers:{i}-{i}"]}, height=0.3) for i in range(9)]
    spec = ways_chart(entries, [None] * len(entries)).to_dict()
    found = sorted(row["x"] for leaf in marked(spec, "text") for row in rows(leaf, spec) if row["text"].isdigit())[::2]  # each has a halo
    assert len(found) == 9 and min(np.diff(found)) > 0.04


def test_a_key_names_only_what_is_drawn():
    path = {"length": 2.0, "chord": 1.0, "arc": np.linspace(0, 2, 13).tolist()}
    entries = [on(CURVE), result(), on({"kind": "slerp"}), on(MOVED)]
    spec = ways_chart(entries, [path, None, path, path], "arc").to_dict()
    assert {"1  Bézier, one bend", "3  spherical", "4  only attention"} <= texts(spec) and "2  straight line" not in texts(spec)


def test_what_has_no_place_on_the_axis_is_left_out():
    path = {"length": 2.0, "chord": 1.0, "arc": np.linspace(0, 2, 13).tolist()}
    spec = ways_chart([on(CURVE), result()], [path, None], "arc").to_dict()
    assert "straight line" not in texts(spec) and "Bézier, one bend" in texts(spec)


def test_a_fit_is_binned_by_step_and_t():
    found = cells([(1, 0.01, 1.0), (2, 0.02, 3.0), (2, 1.0, 5.0), (11, 0.5, 0.5)], 10, 15)
    assert [(cell["step"], cell["to"], cell["t"], cell["loss"], cell["count"]) for cell in found] == [
        (0, 10, 0.0, 2.0, 2), (0, 10, 0.875, 5.0, 1), (10, 15, 0.5, 0.5, 1)]  # fmt: skip
    curve = [(i, (i * 0.37) % 1, 1 / i) for i in range(1, 201)]
    for drawn in (curve, [(i, None, loss) for i, _, loss in curve], curve[:1], []):
        assert charts.to_svg(fit_chart(drawn, 200, dark=True, width=420)).startswith(b"<svg")
    assert len(marked(fit_chart(curve, 200).to_dict(), "rect")) == 1 and not marked(fit_chart([(1, None, 0.5)], 200).to_dict(), "rect")
    assert "no step is done yet" in fit_chart([], 10).to_dict()["description"]


def test_a_mix_is_a_bar_for_each_group():
    chart = mix_chart({"embeddings": 0.1, "layer 0": 0.9})
    assert [row["share"] for row in rows(marked(chart.to_dict(), "bar")[0], chart.to_dict())] == [0.1, 0.9]
    tensors = ["bert.embeddings.weight", "bert.encoder.layer.0.attention.weight", "bert.encoder.layer.11.attention.weight"]
    assert shortened(tensors) == ["bert.embeddings.weight", "0: attention.weight", "11: attention.weight"]
    blocks = [f"{side}.block.{i}.layer.0.wi.weight" for side in ("encoder", "decoder") for i in (0, 1)]
    assert shortened(blocks) == ["encoder block 0: layer.0.wi.weight", "encoder block 1: layer.0.wi.weight", "decoder block 0: layer.0.wi.weight", "decoder block 1: layer.0.wi.weight"]
    assert shortened(["layer 0", "embeddings"]) == ["layer 0", "embeddings"]
    assert most_decided({"a": 0.4, "b": 0.9, "c": 0.5, "d": 0.05}, 2) == {"b": 0.9, "d": 0.05}
    assert "layer 0 90.0 %" in chart.to_dict()["description"] and charts.to_svg(chart).startswith(b"<svg")
