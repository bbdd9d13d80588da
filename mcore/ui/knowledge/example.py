"""One example of the Knowledge page: its text, its true label, what is predicted along the path."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st

from mcore.charts.knowledge import example_chart, labels_shown
from mcore.knowledge.grid import Grid
from mcore.ui.drawing import draw
from mcore.ui.html import show, text
from mcore.ui.knowledge.looking import look
from mcore.ui.theme import dark


def example(
    grid: Grid, chosen: int | None, inside: np.ndarray, along: Callable[[int], np.ndarray] | None, where: str = "in the grid or in the table"
) -> None:
    """``inside``: the examples in view, to step through; ``along`` is None where no probabilities are known; ``where`` one is chosen."""
    if chosen is None:
        show(text("One example", "head"))
        show(text(f"Click a row {where} to read it and to see what is predicted along the path.", "body"))
        return
    true, row, story = int(grid.labels[chosen]), grid.texts[chosen], grid.story(chosen)
    show(text(f"Row {grid.ids[chosen]} · true label {grid.names[true]}", "head"))
    show(*[text(part, "example") for part in ([row] if isinstance(row, str) else row)])
    show(text(f"{story[:1].upper()}{story[1:]}.", "body"))
    if along:
        probabilities = along(chosen)
        draw(example_chart, grid.ts, probabilities.tolist(), grid.names, true, dark(), key="example-chart")
        hidden = len(grid.names) - len(labels_shown(probabilities, true))
        more = f" {hidden:,} less probable labels are not drawn." if hidden else ""
        show(text(f"Thick line: the true label, {grid.names[true]}. Filled dots: predicted right there.{more}", "quiet"))
    _steps(grid, chosen, inside)


def _steps(grid: Grid, chosen: int, inside: np.ndarray) -> None:
    """To the example before and after it among those in view, and away from it."""
    at = np.flatnonzero(inside == chosen)
    with st.container(horizontal=True, gap="small"):
        for name, step, icon in (("Previous", -1, "arrow_upward"), ("Next", 1, "arrow_downward")):
            there = int(at[0]) + step if len(at) else 0
            possible = 0 <= there < len(inside)
            row = str(grid.ids[inside[there]]) if possible else None
            st.button(name, key=f"knowledge-{name.lower()}", disabled=not possible, on_click=look, kwargs={"row": row}, icon=f":material/{icon}:")
        st.button("Close", key="knowledge-close", on_click=look, kwargs={"row": None}, icon=":material/close:")
