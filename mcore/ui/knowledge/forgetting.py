"""The tab about forgetting: what is lost and learned in each segment, what it was like in training, and in which order it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from mcore.charts.forgetting import PICKED, map_chart, order_chart, segments_chart
from mcore.charts.knowledge import palette
from mcore.charts.theme import theme
from mcore.knowledge.forgetting_told import (
    KINDS,
    Told,
    bars,
    crosses,
    dots,
    lost,
    never_lost,
    number,
    rows_csv,
    segments_csv,
    table,
    verdict,
    written,
)
from mcore.knowledge.grid import Grid
from mcore.names import t_text, task_name
from mcore.tuning.cartography import MEASURES
from mcore.tuning.followed import Apart, Joined
from mcore.ui import html
from mcore.ui.drawing import draw
from mcore.ui.engine import Standing
from mcore.ui.html import rich, show, text
from mcore.ui.knowledge.example import example
from mcore.ui.knowledge.listed import listed
from mcore.ui.knowledge.looking import bound, look, seen
from mcore.ui.knowledge.strip import ask_training_rows, can_ask_training_rows
from mcore.ui.knowledge.view import View
from mcore.ui.theme import dark

SAID = "Between neighbouring points some rows are newly [forgotten] and some newly [learned]. What were they like while the model was trained on them?"
WHY = {
    "checkpoint": "{side} was trained elsewhere: what its training rows were like is not known here.",
    "none": "No rows were followed while {side} was trained, so nothing is known of what they were like.",
    "untrained": "{side} is not trained yet.",
    "data": "{side} was trained on {trained}, not on these rows.",
    "split": "These are rows of the split {here}; {side} was trained on {split}, and only rows of that were followed.",
    "columns": "{side} was trained on these rows as other columns or another prompt show them.",
    "rows": "None of these {rows} rows is among those that were followed while {side} was trained.",
}
KEYS = {"segments": "forgetting-segments", "map": "forgetting-map", "order": "forgetting-order"}
ALL = -1  # the slider's first place: the whole path


def forgetting(
    told: Told, joins: Sequence[Joined | Apart], now: Standing, task: int, asked: Sequence[float], along: Callable[[int], np.ndarray]
) -> None:
    """``joins``: what the trainings of A and B tell of these rows; ``told`` is of one of them, or of none."""
    view = seen(len(now.question.tasks))
    show("<h2>What is forgotten, and what it was like in training</h2>", rich(SAID, "quiet"))
    if len(told.parts) < 1:
        show(text("Two points are needed to tell what is forgotten between them.", "note"))
        return
    if len(told.ts) < len([t for t in asked if 0 <= t <= 1]):
        show(text(f"So far {len(told.ts)} points are there: a segment is as wide as the gap between two of them.", "note"))
    segment, chosen = told.nearest(view.segment), _chosen(told.grid, view)
    _choices(told, joins, view, now, task)
    measure = view.measure if told.joined else "confidence"
    left, right = st.columns([2.3, 1], gap="large")
    with left:
        show(_legend(told))
        whole = number(told.described.whole.means[measure]) if told.described else None
        draw(segments_chart, bars(told, measure), whole, measure, segment, dark(), key=KEYS["segments"], on_select=_segment_picked(told))
        _slider(told, segment)
        _groups(told, segment)
    with right:
        show(text("What this means", "head"), text(verdict(told), "verdict"))
        show(text(f"{_where(told, segment)[:1].upper()}{_where(told, segment)[1:]}", "head"), text(_apart_from_all(told, segment, measure), "body"))
    _rows(told, segment, chosen, along)
    if told.joined:
        _order(told, measure, chosen)
    _tables(told)


def _choices(told: Told, joins: Sequence[Joined | Apart], view: View, now: Standing, task: int) -> None:
    """Which measure, and of whose training; or why nothing is known, and the way to where something is."""
    sides = [one.side for one in joins if isinstance(one, Joined)]
    if not told.joined:
        _apart([one for one in joins if isinstance(one, Apart)], now, task)
        return
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        st.segmented_control("What rows were like in training", MEASURES, required=True, **bound("measure", view.measure))
        if len(sides) > 1:
            st.segmented_control(
                "While this one was trained", sides, format_func=str.upper, required=True,
                help="Both were followed on these rows. A's training tells what was hard for the model that forgets.", **bound("of", told.joined.side),
            )  # fmt: skip
    looks, rows = len(told.joined.cartography.probability), len(told.joined.places)
    some = "" if rows == len(told.grid) else f" of {len(told.grid):,}"
    show(rich(
        f"{rows:,}{some} rows were followed while {told.joined.side.upper()} was trained, and looked at {looks} times: [confidence] is the mean "
        "probability of the true label over these looks, [variability] its standard deviation, [correctness] the share of looks at which "
        "the row was right, [flips] how often that changed.", "quiet",
    ))  # fmt: skip


def _apart(joins: Sequence[Apart], now: Standing, task: int) -> None:
    """Why nothing is known of these rows, the nearest miss alone, and one click to rows of which something is."""
    nearest = [one for one in joins if one.why not in ("data", "checkpoint")] or list(joins)
    for one in nearest:
        recipe = now.resolved.endpoint(one.side).recipe
        show(text(WHY[one.why].format(
            side=one.side.upper(), rows=f"{len(now.resolved.tasks[task].rows):,}", here=now.resolved.tasks[task].task.split,
            split=recipe.training.task.split if recipe else "", trained=task_name(recipe.training.task) if recipe else "",
        ), "note"))  # fmt: skip
    if any(one.why in ("split", "rows", "columns") for one in joins) and can_ask_training_rows(now, task):
        if st.button("Ask the same of the training rows", key="forgetting-training-rows", icon=":material/model_training:",
                     on_click=ask_training_rows, args=(now, task)):  # fmt: skip
            st.rerun()  # the whole page: its question has changed
    elif any(one.why == "none" for one in joins):
        show(text("In Compare, the card of a recipe has the field “Rows followed”.", "quiet"))


def _legend(told: Told) -> str:
    colours = palette(dark())
    named = [(colours.wrong, "forgotten"), (colours.right, "learned")]
    named += [(theme(dark()).line, "other rows that were followed")] if told.joined else []
    return '<p class="mc-legend">' + "".join(f'<span><i style="background:{colour}"></i>{word}</span>' for colour, word in named) + "</p>"


def _slider(told: Told, segment: int | None) -> None:
    """The segment by keys or by dragging; the chart above takes clicks."""
    def named(i: int) -> str:
        return "the whole path" if i == ALL else f"t = {t_text(told.parts[i].low)} to {t_text(told.parts[i].high)}"

    def taken() -> None:
        i = st.session_state["forgetting-segment"]
        look(segment=None if i == ALL else (told.parts[i].low, told.parts[i].high))

    key = "forgetting-segment"
    st.session_state[key] = ALL if segment is None else segment
    st.select_slider("Segment", [ALL, *range(len(told.parts))], format_func=named, key=key, on_change=taken)


def _segment_picked(told: Told) -> Callable[[], None]:
    def picked() -> None:
        i = _of_click(KEYS["segments"], "segment")
        if i is not None and 0 <= i < len(told.parts):
            look(segment=(told.parts[i].low, told.parts[i].high))

    return picked


def _row_picked(told: Told, chart: str) -> Callable[[], None]:
    def picked() -> None:
        place = _of_click(KEYS[chart], "place")
        if place is not None and 0 <= place < len(told.grid):
            look(row=str(told.grid.ids[place]))

    return picked


def _of_click(key: str, field: str) -> int | None:
    """The number that a click on a chart has picked."""
    picked = (st.session_state.get(key) or {}).get("selection", {}).get(PICKED) or []
    return int(picked[0][field]) if picked and isinstance(picked[0].get(field), int | float) else None


def _where(told: Told, segment: int | None) -> str:
    return "on the whole path" if segment is None else f"from t = {t_text(told.parts[segment].low)} to {t_text(told.parts[segment].high)}"


def _groups(told: Told, segment: int | None) -> None:
    """The chosen segment's rows beside all rows that were followed."""
    if not told.described:
        return
    groups = {f"newly {kind}": told.group(kind, segment) for kind in KINDS} | {"all followed rows": told.described.whole}
    lines = [[name, f"{group.rows:,}", *(written(group.means.get(measure)) for measure in MEASURES)] for name, group in groups.items()]
    show(html.table([_where(told, segment), "followed", *MEASURES], lines, "The rows of the segment in training"))
    show(text("Means in training, with 95 % bootstrap intervals over rows; none for fewer than five rows.", "quiet"))


def _apart_from_all(told: Told, segment: int | None, measure: str) -> str:
    """How many rows the segment changes, and how what is forgotten there differs from all rows."""
    counts = {kind: int(told.mask(kind, segment).sum()) for kind in KINDS}
    somewhere = " somewhere" if segment is None and len(told.parts) > 1 else ""
    said = f"{counts['forgotten']:,} {'row is' if counts['forgotten'] == 1 else 'rows are'} newly forgotten{somewhere} and {counts['learned']:,} newly learned."
    gone = told.group("forgotten", segment) if told.described else None
    if not gone or not gone.rows:
        return said
    apart = gone.apart[measure]
    few = "" if apart.low is not None else ", too few rows for an interval"
    return f"{said} In {measure}, what is forgotten lies {written(apart, signed=True)} from the mean of all followed rows{few}."


def _rows(told: Told, segment: int | None, chosen: int | None, along: Callable[[int], np.ndarray]) -> None:
    """Where the segment's rows lie on the data map, their texts, and the one that is read."""
    places = np.flatnonzero(told.mask("forgotten", segment) | told.mask("learned", segment))
    places = places[np.lexsort((places, ~told.mask("forgotten", segment)[places]))]
    left, right = st.columns([2.3, 1], gap="large")
    with left:
        if told.joined:
            show("<h2>Where they lie on the data map</h2>")
            draw(map_chart, dots(told, segment, chosen), crosses(told, segment), dark(), key=KEYS["map"], on_select=_row_picked(told, "map"))
            show(rich("Each dot is a row that was followed: what was easy lies at the top left, what was hard at the bottom left, what the model "
                      "wavered on at the right. Crosses are means. Click a dot to read the row.", "quiet"))  # fmt: skip
        if len(places):
            gone = {"lost at": (np.where(np.isfinite(told.lost_at), told.lost_at, np.nan), "%.2f", "The first t at which a row that A masters is wrong.")}
            listed(told.grid, places, chosen, gone | {name: (values, "%.2f", "In training.") for name, values in told.values.items()})
        else:
            show(text("Nothing is forgotten or learned here.", "note"))
    with right:
        example(told.grid, chosen, places, along, "on the map or in the list" if told.joined else "in the list")


def _order(told: Told, measure: str, chosen: int | None) -> None:
    show("<h2>The order of forgetting</h2>")
    if told.ts[0] != 0:
        show(text("The order is told from A's own answers, which are to come.", "note"))
        return
    rows = lost(told, measure, chosen)
    if not rows:
        show(text("No row that was followed and that A masters is lost anywhere on the way.", "note"))
        return
    left, right = st.columns([2.3, 1], gap="large")
    with left:
        draw(order_chart, rows, measure, never_lost(told, measure), list(told.ts), dark(), key=KEYS["order"], on_select=_row_picked(told, "order"))
        show(text("Each dot is a row, on the segment on which it is first lost. The steps are the means of those lost there.", "quiet"))
    with right:
        show(text("Rank correlation with the t at which a row is lost", "head"))
        lines = [[name, written(told.correlation(name).rho)] for name in MEASURES]
        show(html.table([f"{told.correlation(measure).rows:,} rows that are lost", "Spearman's ρ"], lines, "Rank correlations"))
        every = told.correlation(measure, kept=True)
        show(text(
            f"With 95 % bootstrap intervals over rows. Above 0 for confidence and correctness, below 0 for variability and flips: what was hard goes "
            f"first. Counting those of the {every.rows:,} rows that are never lost as lost last, {measure} has {written(every.rho)}.", "quiet",
        ))  # fmt: skip


def _tables(told: Told) -> None:
    if told.described:
        with st.expander(f"All {len(told.parts):,} segments in numbers" if len(told.parts) > 1 else "The segment in numbers", key="forgetting-numbers"):
            heads, lines = table(told)
            show(html.table(heads, lines, "Every segment", left=2))
            show(text("Means in training with 95 % bootstrap intervals over rows; none for fewer than five rows.", "quiet"))
    with st.container(horizontal=True, gap="medium"):
        st.download_button("Segments (CSV)", lambda: segments_csv(told), "segments.csv", "text/csv", key="forgetting-csv",
                           on_click="ignore", icon=":material/download:")  # fmt: skip
        st.download_button(f"All {len(told.grid):,} rows (CSV)", lambda: rows_csv(told, range(len(told.grid))), "rows.csv", "text/csv",
                           key="forgetting-rows-csv", on_click="ignore", icon=":material/download:")  # fmt: skip


def _chosen(grid: Grid, view: View) -> int | None:
    found = np.flatnonzero(grid.ids == int(view.row)) if view.row else ()
    return int(found[0]) if len(found) else None
