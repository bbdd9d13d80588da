"""The charts of the Knowledge page: what they show, in which colours, and what they say to those who cannot see them."""

from __future__ import annotations

import altair as alt
import numpy as np
import pytest
from test_grid import RIGHT, grid

from mcore.charts.knowledge import (
    FLOW,
    MOST_LABELS,
    cells,
    example_chart,
    example_told,
    flow_chart,
    flow_told,
    grid_told,
    labels_shown,
    packed,
    palette,
)
from mcore.charts.theme import theme, to_svg
from mcore.knowledge.grid import flow

# Machado et al. 2009, severity 1: what is left of linear RGB without one kind of cone.
BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "normal": np.eye(3).tolist(),
}


def linear(colour: list[int]) -> np.ndarray:
    share = np.asarray(colour) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab(colour: list[int], sight: str) -> np.ndarray:
    seen = np.clip(np.asarray(BLIND[sight]) @ linear(colour), 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def rgb(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def data(chart: alt.LayerChart) -> list[tuple[dict, list[dict]]]:
    """Each layer's mark and rows."""
    with alt.data_transformers.enable(consolidate_datasets=False):
        return [(layer["mark"], layer["data"]["values"]) for layer in chart.to_dict()["layer"]]


def test_the_four_sets_are_stacked_to_all_examples_at_every_t() -> None:
    rows = data(flow_chart(flow(grid())))[0][1]
    for told in flow(grid()):
        here = {row["set"]: row for row in rows if row["t"] == told["t"]}
        assert list(here) == list(FLOW) and here["never"]["y2"] == 8 and here["kept"]["y"] == 0
        assert all(here[name]["y2"] - here[name]["y"] == told[name] for name in FLOW)
        assert here["forgotten"]["y2"] == 4  # what A masters ends in a level line


def test_points_to_come_are_pale_in_the_flow() -> None:
    def pale(asked: list[float]) -> list[tuple[float, float]]:
        layers = data(flow_chart(flow(grid()), asked))
        return [(row["t"], row["t2"]) for mark, rows in layers if mark.get("opacity") == 0.6 for row in rows]

    assert pale(list(grid().ts)) == []
    assert pale([*grid().ts, 0.5]) == [pytest.approx((1 / 3, 2 / 3))]


def test_the_flow_tells_its_numbers() -> None:
    told = flow_told(flow(grid()))
    assert "Of 8 examples A masters 4" in told and "At t = 1.00 2 are still mastered, 2 forgotten, 2 learned, and 2 mastered neither" in told
    assert flow_chart(flow(grid())).to_dict()["description"] == told
    assert "the model at t = 0.50 masters" in flow_told(flow(grid(RIGHT, (0.5, 0.6, 0.7, 0.8))))


@pytest.mark.parametrize("dark", [False, True])
def test_every_chart_can_be_drawn(dark: bool) -> None:
    probabilities = np.stack([np.linspace(0.9, 0.2, 4), np.linspace(0.1, 0.8, 4)], axis=1)
    for chart in (
        flow_chart(flow(grid()), [0, 0.5, 1], dark), flow_chart(flow(grid(RIGHT[:1], (0.0,))), [0, 1], dark),
        example_chart(grid().ts, probabilities, ("no", "yes"), 0, dark), example_chart((0.5,), probabilities[:1], ("no", "yes"), 1, dark),
    ):  # fmt: skip
        assert to_svg(chart).startswith(b"<svg")


def test_the_grid_in_words_counts_its_groups() -> None:
    told = grid_told(grid(), [0, 1, 2], "true label")
    assert "3 examples by 4 points" in told and "1 mastered throughout" in told and "2 mastered at the start only" in told
    assert "no example is in view" in grid_told(grid(), [], "row")


def test_a_cell_tells_right_from_wrong_and_how_sure() -> None:
    made = packed(grid(), [0, 7])
    assert made.dtype == np.uint8 and made.shape == (2, 4)
    assert set(made[0]) == {64 + round(0.9 * 63)} and set(made[1]) == {round(0.2 * 63)}


@pytest.mark.parametrize("sight", BLIND)
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("classes", [2, 77])
def test_right_and_wrong_are_told_apart_with_any_colour_vision(dark: bool, sight: str, classes: int) -> None:
    colours = cells(dark, classes)
    wrong, right = [lab(colour, sight) for colour in colours[:32]], [lab(colour, sight) for colour in colours[64:]]
    assert np.linalg.norm(wrong[0] - right[-1]) > 30  # both sure
    nearest = min(np.linalg.norm(one - other) for one in wrong for other in right[max(0, round(63 / classes)) :])
    assert nearest > 6  # both as unsure as can be
    assert abs(wrong[0][0] - right[-1][0]) > 12  # in lightness too


@pytest.mark.parametrize("sight", BLIND)
@pytest.mark.parametrize("dark", [False, True])
def test_neighbouring_areas_of_the_flow_are_told_apart_with_any_colour_vision(dark: bool, sight: str) -> None:
    colours = [lab(rgb(getattr(palette(dark), name)), sight) for name in FLOW]
    assert min(np.linalg.norm(one - other) for one, other in zip(colours, colours[1:], strict=False)) > 15


def test_one_example_names_its_true_label_and_where_it_is_right() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
    told = example_told((0, 0.5, 1), probabilities, ("no", "yes"), 0)
    assert "true label no" in told and "Right at 2 of 3 points" in told and "at t = 0.00 no is predicted, right" in told
    rows = data(example_chart((0, 0.5, 1), probabilities, ("no", "yes"), 0))[0][1]
    assert [row["right"] for row in rows if row["true"]] == [True, False, True]
    assert {row["label"] for row in rows} == {"no", "yes"}


def test_of_many_labels_the_most_probable_are_drawn_and_always_the_true_one() -> None:
    probabilities = np.full((3, 77), 0.001)
    probabilities[:, 5], probabilities[:, 9] = 0.6, 0.2
    shown = labels_shown(probabilities, 70)
    assert shown[:3] == [70, 5, 9] and len(shown) == MOST_LABELS


def test_a_label_that_looks_like_html_is_only_text() -> None:
    chart = to_svg(example_chart((0, 1), np.array([[0.9, 0.1], [0.2, 0.8]]), ("<script>x</script>", "b"), 0)).decode()
    assert "<script>" not in chart and theme(False).text in chart
