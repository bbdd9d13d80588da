"""The tab about who knows what: rows that A masters and B does not, both, neither, and where on the path each is held."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from mcore.charts.held import DRAWN, NAMES, held_chart
from mcore.charts.theme import theme
from mcore.knowledge.forgetting_told import Told
from mcore.knowledge.held import HELD, held
from mcore.knowledge.held_told import ORDER, describe, rows_csv, table, verdict
from mcore.tuning.cartography import MEASURES
from mcore.tuning.followed import Apart, Joined
from mcore.ui import html
from mcore.ui.drawing import draw
from mcore.ui.html import rich, show, text
from mcore.ui.knowledge.example import example
from mcore.ui.knowledge.listed import listed
from mcore.ui.knowledge.looking import bound, seen
from mcore.ui.theme import dark

SAID = "Each row by which of the two ends has it [mastered], and how much of each group is mastered on the way between them."


def who_knows_what(
    told: Told, joins: Sequence[Joined | Apart], tasks: int, along: Callable[[int], np.ndarray], names: tuple[str, str]
) -> None:
    """``joins``: what the trainings of A and B tell of these rows; ``names``: what lies at t = 0 and t = 1."""
    show("<h2>Who knows what</h2>", rich(SAID, "quiet"))
    if not told.ts or told.ts[0] != 0 or told.ts[-1] != 1:
        show(text("Both ends must be there to tell who knows what; they are computed first.", "note"))
        return
    view, found = seen(tasks), held(told.ts, told.right)
    chosen = np.flatnonzero(told.grid.ids == int(view.row)) if view.row else ()
    place = int(chosen[0]) if len(chosen) else None
    left, right = st.columns([2.3, 1], gap="large")
    with left:
        show(_legend())
        along_path = {name: [None if np.isnan(one) else float(one) for one in found[name].along] for name in DRAWN}
        draw(held_chart, list(told.ts), along_path, {name: found[name].rows for name in DRAWN}, view.held, dark(), key="held-chart")
    with right:
        show(text("What this means", "head"), text(verdict(told.ts, found, *names), "verdict"))
    joined = [one for one in joins if isinstance(one, Joined)]
    if joined:
        st.segmented_control("What rows were like in training", MEASURES, required=True, **bound("measure", view.measure))
    heads, lines = table(found, {one.side: describe(found, one) for one in joined}, view.measure)
    show(html.table(heads, lines, "Who masters what"))
    show(text("Shares of all rows, and means in training, with 95 % bootstrap intervals over rows.", "quiet"))
    show("<h2>Their texts</h2>")
    st.pills(
        "Rows that", ORDER, format_func=lambda name: f"{NAMES[name][:1].upper()}{NAMES[name][1:]} · {found[name].rows:,}",
        required=True, label_visibility="collapsed", **bound("held", view.held),
    )  # fmt: skip
    places = np.flatnonzero(found[view.held].mask)
    left, right = st.columns([2.3, 1], gap="large")
    with left:
        if len(places):
            first, _ = names
            listed(told.grid, places, place, {
                "held at": (told.right.mean(axis=1) * 100, "%.0f %%", "The share of the points at which the row is mastered."),
                "lost at": (np.where(np.isfinite(told.lost_at), told.lost_at, np.nan), "%.2f", f"The first t at which a row that {first} masters is wrong."),
                "learned at": (told.learned_at, "%.2f", f"The first t at which a row that {first} does not master is right."),
            })  # fmt: skip
        else:
            show(text("There is no such row.", "note"))
        st.download_button(
            f"All {len(told.grid):,} rows (CSV)", lambda: rows_csv(told.grid, told.ts, told.right, found, joined), "held.csv", "text/csv",
            key="held-csv", on_click="ignore", icon=":material/download:",
        )  # fmt: skip
    with right:
        example(told.grid, place, places, along, "in the list")


def _legend() -> str:
    look = theme(dark())
    colours = {"only_a": look.a, "only_b": look.b, "both": look.text, "neither": look.line}
    return '<p class="mc-legend">' + "".join(f'<span><i style="background:{colours[name]}"></i>{NAMES[name]}</span>' for name in HELD) + "</p>"
