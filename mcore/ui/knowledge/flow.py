"""The flow of mastered examples along t, and beside it what it says."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from mcore.charts.knowledge import FLOW, flow_chart, palette
from mcore.knowledge import grid as grids
from mcore.knowledge.grid import Grid
from mcore.names import t_text
from mcore.ui.drawing import draw
from mcore.ui.html import figures, show, text
from mcore.ui.theme import dark


def flow(grid: Grid, asked: Sequence[float]) -> None:
    """``asked``: every t that is or will be there."""
    with st.container(key="flow"):
        left, right = st.columns([2.3, 1], gap="large")
        with left:
            show(_legend(grid))
            draw(flow_chart, grids.flow(grid), list(asked), dark(), key="flow-chart")
        with right:
            _verdict(grid, len(grid.ts) < len(asked))


def _legend(grid: Grid) -> str:
    colours, words = palette(dark()), dict(FLOW)
    if not grid.has_a:
        words["forgotten"], words["learned"], words["never"] = "forgotten since", "learned since", "mastered neither first nor here"
    keys = "".join(f'<span><i style="background:{getattr(colours, name)}"></i>{told}</span>' for name, told in words.items())
    return f'<p class="mc-legend">{keys}</p>'


def _verdict(grid: Grid, partial: bool) -> None:
    told = grids.flow(grid)
    counts = {name: int(mask.sum()) for name, mask in grid.groups.items()}
    show(text("What this means", "head"))
    if not grid.has_ends:
        start = "A" if grid.has_a else f"The model at t = {t_text(grid.ts[0])}, the first one there,"
        show(text(f"{start} masters {told[0]['kept']:,} of {grid.total:,} examples. What becomes of them shows when both ends are there.", "verdict"))
        return
    said = _sentence(told, counts)
    show(text(f"So far: {said[:1].lower()}{said[1:]}" if partial else said, "verdict"))
    show(figures([
        ("mastered by A", f"{told[0]['kept']:,} of {grid.total:,}"),
        ("mastered by B", f"{told[-1]['kept'] + told[-1]['learned']:,}"),
        ("only A masters", f"{counts['only_a']:,}"),
        ("only B masters", f"{counts['only_b']:,}"),
        ("lost midway, regained", f"{counts['regained']:,}"),
        ("mastered throughout", f"{counts['always'] + grid.always:,}"),
    ]))  # fmt: skip


def _sentence(told: Sequence[dict], counts: dict[str, int]) -> str:
    worst = max(told, key=lambda row: row["forgotten"])
    if not worst["forgotten"]:
        return f"Nothing that A masters is lost anywhere on the way; {counts['only_b']:,} examples are learned."
    most = (
        f"Of the {told[0]['kept']:,} examples that A masters, at most {worst['forgotten']:,} are forgotten at once, "
        f"at t = {t_text(worst['t'])}"
    )
    if not counts["regained"]:
        return f"{most}; none that both ends master is lost in between."
    return f"{most}; {counts['regained']:,} are lost midway though both ends master them."
