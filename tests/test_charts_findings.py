"""The figures of findings: what stands on which axis, what is told of it in words, and that a file can be made of it."""

from __future__ import annotations

import json

import pytest

from mcore.charts.findings import figure, finding_chart, finding_told
from mcore.charts.theme import PAPER, theme, to_svg
from mcore.evaluation.intervals import student

BARRIERS = {"name": "barrier", "title": "Barrier (nats)", "groups": ["head seed", "data order"], "strong": ["head seed"], "percent": False,
            "bound": 0.05, "bound_name": "connected up to here"}  # fmt: skip
LOST = {"name": "forgotten", "title": "Forgotten", "groups": [], "strong": [], "percent": True, "bound": None, "bound_name": ""}


def row(panel: str, x: str | float, seed: int, value: float) -> dict:
    return {"panel": panel, "x": x, "seed": seed, "value": value, "question": f"{x}, seed {seed}"}


ROWS = [row("barrier", "head seed", seed, 0.02 + seed / 100) for seed in (1, 2, 3)] + [row("barrier", "data order", seed, 0.001 * seed) for seed in (1, 2, 3)]
CURVES = [row("forgotten", t / 4, seed, t / 4 * seed / 2) for t in range(5) for seed in (1, 2)]


def layers(chart) -> list[dict]:
    """Each with its own rows under ``rows``."""
    spec = chart.to_dict()
    kept = spec.get("datasets", {})
    return [{**layer, "rows": layer["data"].get("values") or kept.get(layer["data"].get("name"), [])} for layer in spec["layer"]]


def values(chart, key: str) -> list:
    """What stands under ``key`` in the data of every layer."""
    return [one[key] for layer in layers(chart) for one in layer["rows"] if key in one]


def test_groups_stand_in_the_given_order_and_the_claims_own_are_stronger():
    chart = finding_chart(BARRIERS, ROWS)
    y = layers(chart)[0]["encoding"]["y"]
    assert y["scale"]["domain"] == ["head seed", "data order"]
    assert {(one["x"], one["strong"]) for layer in layers(chart) for one in layer["rows"] if "strong" in one} == {("head seed", True), ("data order", False)}


def test_the_bar_is_the_mean_with_students_interval():
    bars = [one for layer in layers(finding_chart(BARRIERS, ROWS)) for one in layer["rows"] if "low" in one and one["x"] == "head seed"]
    found = student([0.03, 0.04, 0.05])
    assert bars and all((one["low"], one["value"], one["high"]) == pytest.approx((found.low, found.mean, found.high)) for one in bars)


def test_one_seed_has_a_mean_and_no_interval():
    bars = [one for layer in layers(finding_chart(BARRIERS, ROWS[:1])) for one in layer["rows"] if "low" in one]
    assert bars and all(one["low"] == one["high"] == one["value"] for one in bars)
    assert "head seed: 0.030." in finding_told(BARRIERS, ROWS[:1])


def test_the_value_with_a_meaning_is_named_and_lies_on_the_axis():
    chart = finding_chart(BARRIERS, ROWS)
    low, high = layers(chart)[0]["encoding"]["x"]["scale"]["domain"]
    assert low <= 0 and high >= 0.05 and "connected up to here" in values(chart, "text")


def test_the_axis_holds_every_interval_and_what_is_never_below_zero_is_cut_there():
    wide = [row("barrier", "head seed", 1, 0.01), row("barrier", "head seed", 2, 0.05)]
    low, high = layers(finding_chart(BARRIERS, wide))[0]["encoding"]["x"]["scale"]["domain"]
    assert low == 0 and high >= student([0.01, 0.05]).high
    signed = [*wide, row("barrier", "data order", 1, -0.01)]
    assert layers(finding_chart(BARRIERS, signed))[0]["encoding"]["x"]["scale"]["domain"][0] <= student([0.01, 0.05]).low
    assert all(layer["mark"].get("clip") for layer in layers(finding_chart(BARRIERS, wide)) if layer["mark"].get("opacity") == 0.28)


def test_two_runs_are_drawn_on_one_axis():
    beside = [row("barrier", "head seed", 1, 0.4)]
    domains = [layers(chart)[0]["encoding"]["x"]["scale"]["domain"] for chart in (finding_chart(BARRIERS, ROWS), finding_chart(BARRIERS, ROWS, beside), finding_chart(BARRIERS, [*ROWS, *beside]))]
    assert domains[0] != domains[1] == domains[2] and domains[1][1] >= 0.4
    assert 0.4 not in values(finding_chart(BARRIERS, ROWS, beside), "value")


def test_a_panel_without_groups_has_a_line_for_each_seed_and_their_mean():
    chart = finding_chart(LOST, [*ROWS, *CURVES])
    frame = layers(chart)[0]["encoding"]
    assert frame["x"]["scale"]["domain"] == [0, 1]
    means = [layer for layer in layers(chart) if layer["mark"].get("strokeWidth") == 2.6]
    assert [(one["x"], one["value"]) for one in means[0]["rows"]] == [(t / 4, pytest.approx(t / 4 * 0.75)) for t in range(5)]


def test_a_panel_takes_its_own_rows_and_leaves_those_that_it_is_given_as_they_were():
    given = json.dumps([ROWS, CURVES])
    assert 0.25 not in values(finding_chart(BARRIERS, [*ROWS, *CURVES]), "x")
    assert json.dumps([ROWS, CURVES]) == given


def test_it_is_told_in_words():
    told = finding_told(BARRIERS, ROWS)
    assert "head seed: 0.040 (0.015 to 0.065, 3 seeds)" in told and told == finding_chart(BARRIERS, ROWS).to_dict()["description"]
    assert "a line for each of 2 seeds" in finding_told(LOST, CURVES)
    assert "Nothing is there yet" in finding_told(BARRIERS, [])


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("panel", "rows"), [(BARRIERS, ROWS), (LOST, CURVES), (BARRIERS, []), (LOST, [])])
def test_every_state_can_be_drawn_in_light_and_dark(panel, rows, dark):
    chart = finding_chart(panel, rows, (), dark)
    assert theme(dark).text in json.dumps(chart.to_dict())
    assert to_svg(chart).startswith(b"<svg")


def test_a_figure_for_paper_is_white_and_names_its_groups():
    drawn = to_svg(figure(BARRIERS, ROWS)).decode()
    assert f'fill="{PAPER.background}"' in drawn and "head seed" in drawn and "Barrier (nats)" in drawn and "connected up to here" in drawn
