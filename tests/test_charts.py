"""Charts hold what was computed, on axes that stay, and render at any stage, in light, dark and print."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcore.charts import overview as charts
from mcore.charts import path as charts_path
from mcore.charts import theme as charts_theme
from tests.test_words import result

ASKED = np.linspace(0, 1, 13).tolist()
EMPTY = {"t": [], "loss": [], "accuracy": [], "rows": [], "labels": ["no", "yes"], "barrier": None}
STAGES = {
    "empty": EMPTY, "one point": result(keep=[0]), "ends": result(keep=[0, 12]), "partial": result(keep=[0, 3, 6, 12]),
    "inside only": result(keep=[4, 6]), "complete": result(), "connected": result(height=-0.05, dip=0.0),
    "ends not asked for": result() | {"t": [0.5], "loss": [0.7], "accuracy": [0.6], "knowledge": None, "ensemble_loss": [0.3]},
    "not a number": result() | {"loss": [0.3] * 6 + [float("nan")] + [None] * 6, "barrier": None},
    "weak": result(right=0.5, dip=0.0),
}  # fmt: skip


def leaves(spec: dict) -> list[dict]:
    """All unit views of a specification, each with the data that it has or inherits."""
    above = {"data": spec["data"]} if "data" in spec else {}
    return [leaf for layer in spec["layer"] for leaf in leaves(above | layer)] if "layer" in spec else [spec]


def rows(leaf: dict, spec: dict) -> list[dict]:
    data = leaf.get("data") or spec["data"]
    return data["values"] if "values" in data else spec["datasets"][data["name"]]


def marked(spec: dict, kind: str) -> list[dict]:
    return [leaf for leaf in leaves(spec) if leaf["mark"]["type"] == kind]


def texts(spec: dict) -> set[str]:
    return {row["text"] for leaf in marked(spec, "text") for row in rows(leaf, spec)}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_renders(stage):
    entry = STAGES[stage]
    for chart in (charts.path_chart(entry, ASKED, dark=True, width=420), charts.figure(entry), charts.knowledge_chart(entry)):
        drawn = charts.to_svg(chart)
        assert drawn.startswith(b"<svg") and b"NaN" not in drawn


def test_png_and_svg_are_files_of_their_kind():
    chart = charts.path_chart(result())
    assert charts.to_png(chart, scale=1).startswith(b"\x89PNG")
    assert b"barrier 0.40" in charts.to_svg(chart)


def test_circles_stand_exactly_where_points_were_computed():
    entry = result(keep=[0, 3, 12])
    spec = charts.path_chart(entry, ASKED).to_dict()
    for leaf in marked(spec, "circle"):
        assert [row["t"] for row in rows(leaf, spec)] == entry["t"]
        assert [row["loss"] for row in rows(leaf, spec)] == entry["loss"]
        assert {tip["field"] for tip in leaf["encoding"]["tooltip"]} >= {"t", "loss", "accuracy", "rows", "ensemble_loss"}


def test_the_line_is_dotted_where_points_are_missing():
    assert charts_path.segments([0.0, 0.25, 0.5, 1.0], ASKED + [0.25, 0.5]) == [
        (0.0, 0.25, False), (0.25, 0.5, False), (0.5, 1.0, False)]  # fmt: skip
    assert charts_path.segments([0.0, 0.5, 0.75, 1.0], [0, 0.25, 0.5, 0.75, 1]) == [
        (0.0, 0.5, False), (0.5, 0.75, True), (0.75, 1.0, True)]  # fmt: skip
    covered = []
    for entry in (result(), result(keep=[0, 12])):
        spec = charts.path_chart(entry, ASKED).to_dict()
        line = next(leaf for leaf in marked(spec, "rule") if "color" in leaf["encoding"])
        covered.append(sum(row["t2"] - row["t"] for row in rows(line, spec)))
    assert covered[0] == pytest.approx(1) and covered[1] < 0.4


def test_the_bracket_joins_chord_and_curve_at_the_maximum():
    entry = result()
    spec = charts.path_chart(entry, ASKED).to_dict()
    found = [row for leaf in marked(spec, "rule") for row in rows(leaf, spec) if row.get("t") == row.get("t2") == 0.5]
    assert len(found) == 1
    assert found[0]["y2"] - found[0]["y"] == pytest.approx(entry["barrier"]["loss_chord"]["value"])
    assert {"A", "B", "chord", "ensemble"} < texts(spec)
    assert any(text.startswith("barrier 0.40 [0.38") for text in texts(spec))


def test_no_ensemble_no_label():
    assert "ensemble" not in texts(charts.path_chart(result(ensemble=False), ASKED).to_dict())


def test_the_baseline_is_drawn_only_where_it_is_in_view():
    assert "always one label" not in texts(charts.path_chart(result(dip=0.05), ASKED).to_dict())
    assert "always one label" in texts(charts.path_chart(result(dip=0.45), ASKED).to_dict())


@settings(max_examples=60)
@given(st.lists(st.floats(0, 5), min_size=13, max_size=13), st.lists(st.floats(0, 1), min_size=13, max_size=13),
       st.lists(st.integers(1, 11), unique=True))  # fmt: skip
def test_axes_are_fixed_by_the_ends_and_only_grow(losses, accuracies, order):
    for domain in (charts_path.loss_domain, charts_path.accuracy_domain):
        before = None
        for arrived in range(len(order) + 1):
            keep = sorted([0, 12, *order[:arrived]])
            entry = EMPTY | {"t": [ASKED[i] for i in keep], "loss": [losses[i] for i in keep], "accuracy": [accuracies[i] for i in keep]}
            low, high = now = domain(entry)
            name = "loss" if domain is charts_path.loss_domain else "accuracy"
            assert low <= min(entry[name]) and max(entry[name]) <= high and low < high
            if before is not None:
                assert low <= before[0] and high >= before[1]
                inside = all(before[0] + 1 <= value <= before[1] - 1 for value in entry[name])
                assert not inside or now == before
            before = now


def test_a_point_within_view_moves_no_axis():
    ends, more = result(height=0.2, keep=[0, 12]), result(height=0.2, keep=[0, 5, 6, 12])
    assert charts_path.loss_domain(ends) == charts_path.loss_domain(more)


@given(st.floats(0, 100), st.floats(1e-6, 100))
def test_ticks_are_few_round_and_inside(low, span):
    found = charts_theme.ticks((low, low + span))
    assert len(found) <= 6 and all(low - span * 1e-3 <= tick <= low + span * 1.001 for tick in found)


def test_charts_fill_their_container_as_one_view():
    for chart in (charts.path_chart(result()), charts.knowledge_chart(result()), charts.training_chart({}, 10), charts.layers_chart(None)):
        spec = chart.to_dict()
        assert spec["width"] == "container" and spec["autosize"]["type"] == "fit-x" and "vconcat" not in spec
        assert spec["description"].endswith(".") and spec["background"] == "transparent"


def test_a_is_blue_and_b_is_orange_in_light_and_dark():
    for dark, a, b in ((False, "#2563eb", "#ea730c"), (True, "#6ea2ff", "#ff9a3d")):
        text = charts.path_chart(result(), dark=dark).to_json()
        assert a in text and b in text and "A · t = 0" in text and "B · t = 1" in text


def test_a_figure_is_white_with_black_text():
    spec = charts.figure(result()).to_dict()
    assert spec["background"] == "white" and spec["width"] < 340
    assert spec["config"]["axis"]["labelColor"] == spec["config"]["axis"]["titleColor"] == "#000000"


def test_knowledge_bars_are_the_counts_of_forgotten_and_learned():
    entry = result()
    spec = charts.knowledge_chart(entry).to_dict()
    bars = rows(marked(spec, "rect")[0], spec)
    assert [bar["y"] for bar in bars[0::2]] == [len(group) for group in entry["knowledge"]["learned"]]
    assert [-bar["y"] for bar in bars[1::2]] == [len(group) for group in entry["knowledge"]["forgotten"]]


def test_training_curves_keep_a_fixed_axis_and_skip_what_was_not_measured():
    curve = [{"step": step, "loss": 0.7 - step / 100, "validation_accuracy": 0.8 if step == 20 else None, "validation_loss": 0.9 if step == 20 else None} for step in range(0, 31, 10)]
    spec = charts.training_chart({"A": curve, "B": curve[:2]}, 150, width=420).to_dict()
    assert all(leaf["encoding"]["x"]["scale"]["domain"] == [0, 150] for leaf in marked(spec, "line"))
    loss, held_out, accuracy = (rows(leaf, spec) for leaf in marked(spec, "line"))
    assert len(loss) == 6 and accuracy == [{"step": 20, "y": 0.8, "end": "A"}] and held_out == [{"step": 20, "y": 0.9, "end": "A"}]
    in_loss = [leaf["encoding"]["y"]["scale"] for leaf in marked(spec, "line")[:2]]
    assert in_loss[0] == in_loss[1] and in_loss[0]["domain"][1] > 0.9
    assert "A: step 30 of 150" in spec["description"] and "80.0 % of its validation rows right" in spec["description"]
    assert charts.to_svg(charts.training_chart({"A": curve, "B": []}, 150, dark=True))


def test_layers_stand_in_their_order_with_l2_per_root_of_parameters():
    layers = [{"layer": "embeddings", "l2": 2.0, "cosine": 0.9, "parameters": 100}, {"layer": "head", "l2": 1.0, "cosine": 0.1, "parameters": 4}]
    chart = charts.layers_chart({"layers": layers})
    spec = chart.to_dict()
    assert [row["apart"] for row in rows(marked(spec, "bar")[0], spec)] == pytest.approx([0.2, 0.5])
    assert "head" in spec["description"] and b"embeddings" in charts.to_svg(chart)


def test_the_alternative_tells_the_result():
    told = charts.alternative(result())
    assert "13 points, 400 rows: at A loss 0.30 nats, accuracy 90.0 %; at t = 0.50 loss 0.70" in told
    assert "not linearly connected" in told
    assert "no point is computed yet" in charts.alternative(EMPTY)


def test_a_page_that_draws_loads_no_torch():
    code = "import sys, mcore.charts.overview, mcore.evaluation.probes; sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'streamlit')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("peak", [1, 2, 6, 10, 11])
@pytest.mark.parametrize("rise", [0.01, 0.4])
def test_the_barriers_number_is_clear_of_the_ends_letters_on_a_telephone(peak, rise):
    """Its place in pixels, by the widest that its letters are; the chart's own is what is left of 420 pixels."""
    t = np.linspace(0, 1, 13)
    loss = 0.3 + rise * (np.arange(13) == peak)
    barrier = {"value": rise, "low": rise - 0.004, "high": rise + 0.004, "t": float(t[peak])}
    entry = result() | {"t": t.tolist(), "loss": loss.tolist(), "ensemble_loss": None, "barrier": dict.fromkeys(("loss_chord", "loss_mean", "accuracy_chord"), barrier)}
    spec = charts.path_chart(entry, width=320).to_dict()
    scale = next(leaf["encoding"]["y"]["scale"] for leaf in marked(spec, "point"))
    found = {}
    for leaf in marked(spec, "text"):
        for row in rows(leaf, spec):
            y = scale["range"][0] - (row["y"] - scale["domain"][0]) / (scale["domain"][1] - scale["domain"][0]) * (scale["range"][0] - scale["range"][1])
            found[row["text"]] = 320 * row["t"], y + leaf["mark"].get("dy", 0)
    label = next(text for text in found if text.startswith("barrier"))
    x, y = found[label]
    for end in "AB":
        clear = abs(found[end][0] - x) - 6.2 * len(label) / 2 - 5 > 0 or abs(found[end][1] - y) > 14
        assert clear, (end, found)
    assert x - 6.2 * len(label) / 2 >= 0 and x + 6.2 * len(label) / 2 <= 320
