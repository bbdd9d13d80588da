"""The examples of the Knowledge page: the grid, what is brushed and found in it, the table, one example.

Everything that is chosen here is a ``View`` in the address; inputs are set from it before they are drawn
and write to it, so that a link, the browser's back and a click do the same thing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import streamlit as st

from mcore.charts.knowledge import palette
from mcore.charts.theme import theme
from mcore.knowledge.grid import GROUPS, ORDERS, Grid, as_csv, as_text
from mcore.names import t_text, task_name
from mcore.question import Experiment
from mcore.ui import draft
from mcore.ui.html import plain_label, rich, show, text
from mcore.ui.knowledge.example import example
from mcore.ui.knowledge.grid_canvas import drawable, grid_canvas
from mcore.ui.knowledge.looking import bound, look, seen
from mcore.ui.knowledge.view import MOST_CHARACTERS, View
from mcore.ui.theme import dark

MOST_IN_TABLE = 500
SPARKS = 26  # values of a row's small line
CANVAS, TABLE = "knowledge-grid", "knowledge-table"


def task_choice(question: Experiment) -> int:
    """Which of the tasks is looked at: there is a choice where there is more than one."""
    every, chosen = range(len(question.tasks)), seen(len(question.tasks)).task
    if len(every) > 1:
        st.segmented_control(
            "Read on", every, format_func=lambda i: plain_label(f"{i + 1}. {task_name(question.tasks[i])}"),
            required=True, **bound("task", chosen),
        )  # fmt: skip
    return chosen


def examples(
    grid: Grid, asked: Sequence[float], stamp: str, along: Callable[[int], np.ndarray] | None, tasks: int = 1
) -> None:
    """``asked``: every t that is or will be there; ``along(place)`` gives an example's probabilities ``[points, classes]``."""
    view = seen(tasks)
    show("<h2>Every example along the path</h2>")
    _choices(grid, view)
    places = _places(grid, view)
    brush = _brush(grid, view, len(places))
    chosen = _chosen(grid, view)
    inside = _inside(grid, places, brush)
    left, right = st.columns([2.3, 1], gap="large")
    with left:
        if len(places):
            ranks = np.flatnonzero(places == chosen) if chosen is not None else ()
            drawn = _drawable(f"{stamp}/{view.sort}/{view.group}/{view.find}", grid, places, view.sort, asked)
            st.session_state["mc.knowledge-ids"] = grid.ids[places]
            grid_canvas(drawn, brush, int(ranks[0]) if len(ranks) else None, dark(), _did, CANVAS)
        else:
            show(text("No example is in this group and holds these words.", "note"))
    with right:
        _reading(grid, brush, len(inside), len(places))
    left, right = st.columns([2.3, 1], gap="large")
    with left:
        _table(grid, inside, chosen, stamp)
    with right:
        example(grid, chosen, inside, along)


def _choices(grid: Grid, view: View) -> None:
    masks = grid.groups
    groups = [name for name in GROUPS if grid.has_ends or name in ("all", "always", "never")]
    st.pills(
        "Group", groups, format_func=lambda name: f"{GROUPS[name]} · {int(masks[name].sum()):,}", required=True,
        label_visibility="collapsed", **bound("group", view.group if view.group in groups else "all"),
    )  # fmt: skip
    left, right = st.columns([2.3, 1], gap="large")
    with left:
        st.text_input(
            "Search in the texts", placeholder="Search in the texts", icon=":material/search:",
            max_chars=MOST_CHARACTERS, label_visibility="collapsed", **bound("find", view.find),
        )  # fmt: skip
    with right:
        st.selectbox(
            "Sorted by", list(ORDERS), format_func=lambda name: f"Sorted by: {ORDERS[name][:1].lower()}{ORDERS[name][1:]}",
            label_visibility="collapsed", **bound("sort", view.sort),
        )  # fmt: skip


def _places(grid: Grid, view: View) -> np.ndarray:
    """The examples of the group that hold the words, in their order."""
    group = view.group if grid.has_ends or view.group in ("always", "never") else "all"
    mask = grid.groups[group]
    if view.find:
        mask = mask & grid.holds(view.find)
    order = grid.order(view.sort)
    return order[mask[order]]


def _brush(grid: Grid, view: View, count: int) -> dict:
    """The brushed ranges that fit what is shown."""
    fits = view.rows and view.rows[0] < count
    return {
        "t": list(view.t) if view.t else None,
        "rows": [view.rows[0], min(view.rows[1], count - 1)] if fits else None,
    }


def _inside(grid: Grid, places: np.ndarray, brush: dict) -> np.ndarray:
    """Those of the places that the brush leaves."""
    if brush["rows"]:
        places = places[brush["rows"][0] : brush["rows"][1] + 1]
    if brush["t"]:
        places = places[grid.changes(*brush["t"])[places]]
    return places


def _chosen(grid: Grid, view: View) -> int | None:
    found = np.flatnonzero(grid.ids == int(view.row)) if view.row else ()
    return int(found[0]) if len(found) else None


@st.cache_data(show_spinner=False, max_entries=16)
def _drawable(stamp: str, _grid: Grid, _places: np.ndarray, order: str, _asked: Sequence[float]) -> dict:
    return drawable(_grid, _places.tolist(), order, _asked, stamp)


def _did() -> None:
    """What was brushed or clicked in the grid goes into the address."""
    did = st.session_state[CANVAS].did or {}
    ids = st.session_state.get("mc.knowledge-ids", ())
    if did.get("kind") == "pick" and 0 <= int(did["rank"]) < len(ids):
        look(row=str(ids[int(did["rank"])]))
    elif did.get("kind") == "brush":
        t, rows = did.get("t"), did.get("rows")
        one = {"row": str(ids[rows[0]])} if rows and rows[0] == rows[1] < len(ids) else {}
        look(t=tuple(map(float, t)) if t else None, rows=tuple(map(int, rows)) if rows else None, **one)


def _reading(grid: Grid, brush: dict, inside: int, count: int) -> None:
    """How to read the grid, what is brushed, and the way back."""
    colours = palette(dark())
    if grid.probability is None:
        keys = [(colours.right, "right"), (colours.wrong, "wrong")]
        legend = "".join(f'<span><i style="background:{colour}"></i>{word}</span>' for colour, word in keys)
    else:
        ramp = f"linear-gradient(90deg, {colours.wrong}, {colours.unsure}, {colours.right})"
        legend = f'<span>wrong and sure&ensp;<i class="mc-wide" style="background:{ramp}"></i>right and sure</span>'
    show(f'<p class="mc-legend">{legend}</p>')
    if grid.probability is None:
        show(rich(f"Only the {len(grid):,} rows that change are shown: a shipped result does not hold the model's [confidence], "
                  f"and of the others only that {grid.always:,} are [mastered] throughout and {grid.never:,} never.", "quiet"))  # fmt: skip
    else:
        show(rich("The fainter, the less sure: colour is the probability of the true label, the model's [confidence] in it.", "quiet"))
    show(text("Drag across to mark a range of t, down to mark rows, or both; click a row to read it.", "quiet"))
    if brush["t"] or brush["rows"]:
        show(text(_brushed(brush, inside), "body"))
        st.button("Clear the marked range", key="knowledge-clear", on_click=look, kwargs={"t": None, "rows": None}, icon=":material/close:")
    else:
        show(text(f"{count:,} {'example' if count == 1 else 'examples'} in view.", "body"))


def _brushed(brush: dict, inside: int) -> str:
    parts = []
    if brush["rows"]:
        parts.append(f"lines {brush['rows'][0] + 1:,} to {brush['rows'][1] + 1:,} of the grid")
    if brush["t"]:
        low, high = brush["t"]
        between = f"between t = {t_text(low)} and t = {t_text(high)}" if low < high else f"at t = {t_text(low)}"
        parts.append(f"newly forgotten or learned {between}")
    return f"{inside:,} {'example' if inside == 1 else 'examples'}: {', '.join(parts)}."


def _table(grid: Grid, inside: np.ndarray, chosen: int | None, stamp: str) -> None:
    if not len(inside):
        show(text("Nothing to list: no example in the marked range fits. Mark a wider one, or clear it.", "note"))
        return
    listed = inside[:MOST_IN_TABLE]
    rank = np.flatnonzero(listed == chosen) if chosen is not None else ()
    st.session_state["mc.knowledge-listed"] = grid.ids[listed]
    draft.set_value(TABLE, {"selection": {"rows": [int(rank[0])] if len(rank) else [], "columns": [], "cells": []}})
    number = st.column_config.NumberColumn
    st.dataframe(
        _frame(grid, listed), hide_index=True, height=min(430, 38 + 35 * len(listed)), key=TABLE, on_select=_selected,
        selection_mode="single-row", placeholder="–", alt="The examples in view",
        column_config={
            "text": st.column_config.TextColumn("text", width=310),
            "true label": st.column_config.TextColumn("true label", width=95),
            "along t": st.column_config.LineChartColumn("along t", width=95, y_min=0, y_max=1, color=theme(dark()).quiet, help="Probability of the true label from A to B."),
            "forgotten at": number("forgotten at", format="%.2f", width=95, help="The first t at which a row that A masters is wrong."),
            "learned at": number("learned at", format="%.2f", width=95, help="The first t at which a row that A does not master is right."),
            "row": number("row", format="%d", width=65, help="Its place in the data."),
        },
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.download_button(
            f"Download {len(inside):,} {'row' if len(inside) == 1 else 'rows'} (CSV)", lambda: as_csv(grid, inside.tolist()),
            "examples.csv", "text/csv", key="knowledge-csv", on_click="ignore", icon=":material/download:",
        )  # fmt: skip
        if len(inside) > len(listed):
            show(text(f"The first {len(listed):,} of {len(inside):,} are listed; the file holds all.", "quiet"))


def _frame(grid: Grid, listed: np.ndarray) -> pd.DataFrame:
    points = np.unique(np.linspace(0, len(grid.ts) - 1, SPARKS).round().astype(int))
    return pd.DataFrame({
        "text": [as_text(grid.texts[place]) for place in listed],
        "true label": [str(grid.names[label]) for label in grid.labels[listed]],
        "along t": np.round(grid.confidence[points][:, listed].T.astype(float), 2).tolist(),
        "forgotten at": grid.forgotten_at[listed],
        "learned at": grid.learned_at[listed],
        "row": grid.ids[listed],
    })  # fmt: skip


def _selected() -> None:
    rows, ids = st.session_state[TABLE]["selection"]["rows"], st.session_state.get("mc.knowledge-listed", ())
    look(row=str(ids[rows[0]]) if rows and rows[0] < len(ids) else None)
