"""Charts of forgetting and of who holds what: every row is where its numbers say, in light and dark, and in words."""

from __future__ import annotations

import altair as alt
import numpy as np
import pytest

from mcore.charts.forgetting import map_chart, map_told, order_chart, order_told, segments_chart, segments_told
from mcore.charts.held import DRAWN, held_chart, held_told
from mcore.charts.knowledge import palette
from mcore.charts.theme import theme, to_svg
from mcore.knowledge.forgetting import Correlation
from mcore.knowledge.forgetting_told import (
    MOST_DOTS,
    Told,
    bars,
    crosses,
    dots,
    hardness,
    lost,
    never_lost,
    number,
    tell,
    verdict,
    written,
)
from mcore.knowledge.grid import Grid
from mcore.knowledge.held import held
from mcore.knowledge.held_told import verdict as held_verdict
from mcore.knowledge.segments import Estimate
from mcore.tuning.cartography import MEASURES, Cartography
from mcore.tuning.followed import Joined

TS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def made(rows: int = 90, followed: int | None = 60, seed: int = 0, right: np.ndarray | None = None) -> Told:
    """Rows of which the last ones were followed; the harder, the sooner lost."""
    random = np.random.default_rng(seed)
    confidence = random.random(rows)
    if right is None:
        right = np.asarray(TS)[None] < (0.15 + confidence)[:, None] + random.normal(0, 0.1, (rows, len(TS)))
    labels = np.arange(rows) % 2
    grid = Grid(
        ids=np.arange(rows) * 3, texts=[f"<b>Text</b> {i} " + "x" * 200 for i in range(rows)], labels=labels, names=("no", "yes"), ts=TS,
        right=right.T, predicted=np.where(right.T, labels, 1 - labels).astype(np.int16), probability=np.full((len(TS), rows), 0.5, np.float32),
    )  # fmt: skip
    if followed is None:
        return tell(grid, None)
    places = np.arange(rows - followed, rows)
    probability = np.clip(confidence[places] + random.normal(0, 0.1, (5, followed)), 0, 1).astype(np.float32)
    return tell(grid, Joined("a", places, Cartography(grid.ids[places], probability, probability > 0.5)))


def rows_of(chart: alt.LayerChart, mark: str) -> list[list[dict]]:
    """The rows of each layer, however deep, with this mark."""
    def layers(part: dict) -> list[dict]:
        return [one for inside in part["layer"] for one in layers(inside)] if "layer" in part else [part]

    with alt.data_transformers.enable(consolidate_datasets=False):
        return [one["data"]["values"] for one in layers(chart.to_dict()) if one["mark"]["type"] == mark]


def test_bars_are_as_long_as_the_groups_and_go_the_right_way() -> None:
    told = made()
    bar, strips, *_ = rows_of(segments_chart(bars(told, "confidence"), number(told.described.whole.means["confidence"]), "confidence"), "rect")
    assert len(bar) == 2 * len(strips) == 2 * (len(TS) - 1)
    for row in bar:
        part = told.parts[row["segment"]]
        assert row["y"] == (part.learned.sum() if row["kind"] == "learned" else -part.forgotten.sum())
        assert part.low < row["t"] < row["t2"] < part.high


@pytest.mark.parametrize("measure", MEASURES)
def test_means_stand_with_their_intervals_and_few_rows_are_hollow(measure: str) -> None:
    told = made()
    chart = segments_chart(bars(told, measure), number(told.described.whole.means[measure]), measure, chosen=1)
    points = rows_of(chart, "circle")[0]
    for row in points:
        i = next(i for i, part in enumerate(told.parts) if part.low < row["t"] < part.high)
        group = told.group(row["kind"], i)
        assert row["rows"] == group.rows and row["y"] == pytest.approx(group.means[measure].value)
        assert row["sure"] == (group.rows >= 5) and row["faint"] == (i != 1) and row["low"] <= row["y"] <= row["high"]
    assert {row["sure"] for row in points} == {True, False}


def test_without_what_was_followed_there_is_one_panel() -> None:
    told = made(followed=None)
    assert not rows_of(segments_chart(bars(told, "confidence"), None, "confidence"), "circle")
    assert "mean" not in segments_told(bars(told, "confidence"), None, "confidence")


def test_a_dot_stands_at_its_rows_own_numbers_and_is_named_by_the_segment() -> None:
    told = made()
    drawn = rows_of(map_chart(dots(told, 2, 80), crosses(told, 2)), "circle")[0]
    assert len(drawn) == 60 and {row["place"] for row in drawn} == set(range(30, 90))
    for row in drawn:
        assert row["confidence"] == pytest.approx(told.values["confidence"][row["place"]], abs=1e-4)
        assert row["variability"] == pytest.approx(told.values["variability"][row["place"]], abs=1e-4)
        part = told.parts[2]
        expected = "forgotten" if part.forgotten[row["place"]] else "learned" if part.learned[row["place"]] else ""
        assert row["kind"] == expected and row["open"] == (row["place"] == 80) and len(row["text"]) <= 91
    assert [row["kind"] != "" for row in drawn] == sorted(row["kind"] != "" for row in drawn)  # what is coloured lies on top
    names = {row["kind"] for row in crosses(told, 2)}
    assert "" in names and "forgotten" in names


def test_a_crowded_map_leaves_out_grey_dots_alone() -> None:
    right = np.ones((2 * MOST_DOTS + 100, len(TS)), bool)
    right[:100, 3:] = False
    told = made(rows=len(right), followed=len(right), right=right)
    drawn = dots(told, None, 5000)
    assert sum(row["kind"] == "forgotten" for row in drawn) == 100 and len(drawn) <= MOST_DOTS + 101
    assert any(row["place"] == 5000 and row["open"] for row in drawn)


def test_dots_of_the_order_stand_on_the_segment_where_they_were_lost() -> None:
    told = made()
    rows = lost(told, "confidence", None)
    assert {row["place"] for row in rows} == {place for place in range(30, 90) if np.isfinite(told.lost_at[place])}
    for row in rows_of(order_chart(rows, "confidence", never_lost(told, "confidence"), list(TS)), "circle")[0]:
        i = TS.index(row["lost"])
        assert TS[i - 1] < row["t"] < TS[i] and row["lost"] == told.lost_at[row["place"]]
    steps = rows_of(order_chart(rows, "confidence", None, list(TS)), "rule")[0]
    for step in steps:
        assert step["value"] == pytest.approx(np.mean([row["value"] for row in rows if row["t"] == step["t2"]]))


def test_shares_of_what_is_held_are_drawn_in_the_ends_colours() -> None:
    told = made()
    found = held(told.ts, told.right)
    along = {name: [None if np.isnan(one) else float(one) for one in found[name].along] for name in DRAWN}
    counts = {name: found[name].rows for name in DRAWN}
    chart = held_chart(list(TS), along, counts, "regained")
    for row in rows_of(chart, "line")[0]:
        assert row["y"] == pytest.approx(told.right[found[row["who"]].mask, TS.index(row["t"])].mean()) and row["thick"] == (row["who"] == "both")
    ranges = chart.to_dict()["layer"][0]["encoding"]["color"]["scale"]["range"]
    assert ranges[:2] == [theme(False).a, theme(False).b]
    assert f"A masters and B does not: {counts['only_a']} rows" in held_told(list(TS), along, counts)


def test_forgotten_and_learned_are_never_the_colours_of_a_and_b() -> None:
    for dark in (False, True):
        look, colours = theme(dark), palette(dark)
        assert not {colours.wrong, colours.right} & {look.a, look.b, *look.way}


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("measure", MEASURES)
def test_every_chart_can_be_drawn(dark: bool, measure: str) -> None:
    told, bare = made(), made(followed=None)
    found = held(told.ts, told.right)
    along = {name: [None if np.isnan(one) else float(one) for one in found[name].along] for name in DRAWN}
    nothing = made(right=np.ones((90, len(TS)), bool))
    for chart in (
        segments_chart(bars(told, measure), number(told.described.whole.means[measure]), measure, 0, dark),
        segments_chart(bars(bare, measure), None, measure, None, dark),
        map_chart(dots(told, 1, 40), crosses(told, 1), dark), map_chart(dots(nothing, None, None), crosses(nothing, None), dark),
        order_chart(lost(told, measure, 40), measure, never_lost(told, measure), list(TS), dark), order_chart([], measure, None, list(TS), dark),
        held_chart(list(TS), along, {name: found[name].rows for name in DRAWN}, "only_a", dark),
        held_chart([0.0, 1.0], {name: [None, None] for name in DRAWN}, {}, "", dark),
    ):  # fmt: skip
        drawn = to_svg(chart)
        assert drawn.startswith(b"<svg") and b"<b>" not in drawn and chart.to_dict()["description"]


def test_charts_tell_their_numbers_in_words() -> None:
    told = made()
    said = segments_told(bars(told, "confidence"), number(told.described.whole.means["confidence"]), "confidence")
    assert f"from t = 0.00 to 0.20 {int(told.parts[0].forgotten.sum())} forgotten" in said and "Mean confidence of all followed rows" in said
    assert "Data map of 60 rows" in map_told(dots(told, None, None), crosses(told, None))
    assert "none is lost" in order_told([], "flips", None) and "at t = 0.20" in order_told(lost(told, "flips", None), "flips", None)


def test_the_verdict_says_hard_easy_or_undecided_by_the_interval() -> None:
    def said(*numbers: float | None) -> str:
        return hardness(Correlation(40, Estimate(*numbers)))

    assert "What goes first was hard" in said(0.4, 0.2, 0.6) and "What goes first was easy" in said(-0.4, -0.6, -0.2)
    assert "these rows do not decide" in said(0.1, -0.1, 0.3) and "0.10, 95 % interval −0.10 to 0.30, 40 rows" in said(0.1, -0.1, 0.3)
    assert "do not tell whether" in hardness(Correlation(3, None))
    assert "What goes first was hard" in verdict(made(rows=300, followed=300))


def test_an_estimate_is_written_to_the_digits_that_its_interval_carries() -> None:
    assert written(Estimate(0.5)) == "0.50" and written(None) == "–"
    assert written(Estimate(0.512, 0.4, 0.6)) == "0.51 (0.40 to 0.60)" and written(Estimate(0.5124, 0.51, 0.52)) == "0.512 (0.510 to 0.520)"
    assert written(Estimate(0.05, 0.01, 0.1), signed=True) == "+0.05 (0.01 to 0.10)" and written(Estimate(-0.2, -0.3, -0.1), signed=True).startswith("−0.20")


def test_who_holds_what_in_a_sentence() -> None:
    right = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0, 0, 1, 0, 0, 0]], bool)
    said = held_verdict(TS, held(TS, right))
    assert "Each holds what the other lacks: A masters 1 row that B does not, B 1 that A does not." in said
    assert "lost at t = 0.40" in said and "from t = 0.60 on" in said and "1 row is mastered by neither, but somewhere between" in said
    assert "A and B master the same rows." in held_verdict(TS, held(TS, right[2:3]))
    assert "A masters 1 row that B does not, and B none" in held_verdict(TS, held(TS, right[[0, 2]]))
