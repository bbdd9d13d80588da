"""Under the paths of a pair: which part of the model carries the barrier, asked of each layer or each kind of part as one study.

Each bar leads to its own curve, and from there to its question. What is asked and how it is put together stands in ``mcore.studies.sweep``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import streamlit as st

from mcore.charts.overview import path_chart
from mcore.charts.sweep import PICK, sweep_chart, sweep_figure
from mcore.charts.theme import to_png, to_svg
from mcore.errors import McoreError
from mcore.glossary import SMALL
from mcore.limits import check_study
from mcore.names import finite, nats, percent, t_text
from mcore.profile import profile
from mcore.studies.sweep import BY, POINTS, Sweep, costliest, csv_of, rows, sweep, verdict
from mcore.ui import draft
from mcore.ui.drawing import draw
from mcore.ui.engine import Standing
from mcore.ui.html import rich, show, table, text
from mcore.ui.studied import Studied, studied
from mcore.ui.theme import dark
from mcore.words import joins_minima, meaning

KEY = "parts-chart"
LOOK = "parts-look"  # in the session: the part whose curve is looked at
HEADS = ["part", "barrier", "95 % interval", "at t", "change of loss", "right"]
SAID = "A [partial path] lets one part go from one end to the other while all else stays: where is the [barrier] when a part moves alone?"
CHART, BESIDE = 2.3, 1


def parts(now: Standing, entry: Mapping) -> None:
    """``entry``: the first task's entry of the result that is shown, read as the sweep will read it."""
    if now.resolved.a.fingerprint == now.resolved.b.fingerprint:
        return
    with st.container(key="parts"):
        show(text("Which part carries it?", "head"), rich(SAID, "quiet"))
        by, rest, points = _choices()
        asked = sweep(now.question, now.resolved, by, rest, points)
        try:
            check_study(asked.study, profile())
        except McoreError as refused:
            show(text(str(refused), "error"))
            return
        studied(asked.study, lambda there: _drawn(asked, there, entry), f"Which part carries it? Ask {BY[by]}", "parts")


def _choices() -> tuple[str, str, int]:
    """What is asked, where the rest stays, and points on each path."""
    with st.container(horizontal=True, gap="medium", key="parts-choices"):
        by = _choice("Ask", BY, "parts-by")
        rest = _choice("The rest stays at", {"a": "A", "b": "B"}, "parts-rest")
        points = _choice("Points on each path", {count: str(count) for count in POINTS}, "parts-points")
    return by, rest, points


def _choice(label: str, names: Mapping, key: str):
    words = list(names.values())
    chosen = st.segmented_control(label, words, default=words[0], required=True, key=key, bind="query-params", width="content")
    return next((name for name, word in names.items() if word == chosen), next(iter(names)))


def _drawn(asked: Sweep, there: Studied, entry: Mapping) -> None:
    results = {name: there.result(name) for name in asked.moves}
    known = rows(asked, results)
    first = next((one["tasks"][0] for one in results.values() if one), None)
    if first is None and not there.active:
        show(text("Nothing of it is computed yet. The bars grow here, one for each part, from the embeddings to the head.", "quiet"))
        return
    entry = first or entry
    chosen = _looked_at(asked, results)
    left, right = st.columns([CHART, BESIDE], gap="large")
    with left:
        draw(sweep_chart, known, entry, asked.rest, chosen, dark(), key=KEY, on_select=partial(_clicked, asked), selection_mode=PICK)
    with right:
        _beside(asked, known, entry)
    if first is None:
        return
    _curve(asked, results, chosen)
    with st.expander("Every part's numbers, and files", key="parts-numbers"):
        show(table(HEADS, [_row(row) for row in known], "Parts of the model"))
        _files(asked, known, entry)


def _beside(asked: Sweep, known: Sequence[Mapping], entry: Mapping) -> None:
    show(text("What this means", "head"))
    if said := verdict(known, entry):
        show(text(said, "verdict"))
        if cost := costliest(known, entry, asked.rest):
            show(text(cost, "body"))
    else:
        show(text("No part is measured yet.", "body"))
    line = f" Dotted: the {SMALL:g} nats up to which two minima count as connected." if joins_minima(entry) else ""
    show(
        rich(
            f"Lines on the bars: 95 % [interval]s over rows. The embeddings' and last norms stay where they are in a sweep over layers.{line}"
            if any(name.startswith("layer ") for name in asked.moves)
            else f"Lines on the bars: 95 % [interval]s over rows.{line}",
            "quiet",
        )
    )


def _looked_at(asked: Sweep, results: Mapping[str, Mapping | None]) -> str | None:
    """The part whose curve is shown: the one that was chosen, as long as it is there."""
    chosen = st.session_state.get(LOOK)
    return chosen if results.get(chosen) else None


def _clicked(asked: Sweep) -> None:
    picked = st.session_state[KEY].selection.get(PICK) or []
    if picked and (name := picked[0].get("part")) in asked.moves:
        st.session_state[LOOK] = name


def _curve(asked: Sweep, results: Mapping[str, Mapping | None], chosen: str | None) -> None:
    """The curve of one part, chosen here or by a click on its bar; a button makes its path the question."""
    there = [name for name, one in results.items() if one]
    draft.set_value("parts-curve", chosen)
    st.selectbox(
        "Look at the path that moves only", there, index=None, placeholder="a part: click its bar, or choose it here", key="parts-curve",
        on_change=lambda: st.session_state.update({LOOK: st.session_state["parts-curve"]}),
    )  # fmt: skip
    if chosen is None:
        return
    told, question = results[chosen]["tasks"][0], asked.questions[chosen]
    left, right = st.columns([CHART, BESIDE], gap="large")
    with left:
        draw(path_chart, told, None, dark(), key="parts-path")
    with right:
        show(text(meaning(told, question).summary, "body"))
        if st.button("Open this path", key="parts-open", on_click=draft.change, args=(question,), icon=":material/arrow_forward:"):
            st.session_state.pop(LOOK)
            st.rerun()  # the whole page: its inputs have changed


def _row(row: Mapping) -> list[str]:
    if not finite(row["barrier"]):
        return [row["part"], *["–"] * (len(HEADS) - 1)]
    interval = (row["low"], row["high"])
    right = f"{percent(row['accuracy_rest'])} → {percent(row['accuracy_moved'])}"
    return [
        row["part"], nats(row["barrier"], interval), f"{nats(row['low'], interval)} to {nats(row['high'], interval)}", t_text(row["t"]),
        nats(row["change"]), right,
    ]  # fmt: skip


def _files(asked: Sweep, known: Sequence[Mapping], entry: Mapping) -> None:
    name = f"parts-{asked.study.fingerprint[:8]}"
    files = (
        ("CSV", "csv", "text/csv", lambda: csv_of(known)),
        ("Figure, SVG", "svg", "image/svg+xml", lambda: to_svg(sweep_figure(known, entry, asked.rest))),
        ("Figure, PNG", "png", "image/png", lambda: to_png(sweep_figure(known, entry, asked.rest), 4)),
    )
    with st.container(horizontal=True, gap="small"):
        for label, end, mime, made in files:
            st.download_button(
                label, made, f"{name}.{end}", mime, key=f"parts-{end}", on_click="ignore", icon=":material/download:"
            )
