"""The grid as a component of the page: what goes to the browser, and the look of what is drawn there."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from mcore.charts.knowledge import LEFT, RIGHT, cells, grid_told, packed
from mcore.charts.theme import PAGE_FONT, step_of, theme
from mcore.knowledge.grid import ORDERS, Grid, as_text
from mcore.names import same_t

HIGH, LOW, LINE = 360, 90, 22  # pixels: the tallest grid, the lowest, and a line where there is room
EXCERPT, MOST_EXCERPTS = 70, 20_000  # characters of a text in the browser, and of how many rows
SCRIPT = Path(__file__).with_name("grid_canvas.js")
HTML = """<div class="grid"><canvas tabindex="0" role="application" aria-roledescription="grid of examples"></canvas>
<div class="tip" hidden></div><div class="live" aria-live="polite"></div></div>"""
CSS = """
.grid { position: relative; width: 100%; font-size: .85rem; line-height: 1.4; }
canvas { display: block; width: 100%; height: 100%; touch-action: pan-y; cursor: crosshair; border-radius: 4px; }
canvas:focus-visible { outline: 2px solid var(--st-text-color); outline-offset: 2px; }
.tip { position: absolute; z-index: 5; max-width: min(22rem, 90%); padding: .4rem .65rem; border-radius: 6px; pointer-events: none;
  color: var(--st-background-color); background: var(--st-text-color); overflow-wrap: anywhere; }
.tip div:first-child { font-weight: 600; }
.live { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
"""


def grid_canvas(
    shown: dict, brush: dict, chosen: int | None, dark: bool, did: Callable[[], None], key: str
) -> None:
    """``shown`` comes from ``drawable``; ``brush`` holds ``t`` and ``rows`` (ranks from 0), ``chosen`` is a rank."""
    look = theme(dark)
    colours = {"text": look.text, "quiet": look.quiet, "grid": look.grid, "ground": look.ground, "a": look.a, "b": look.b, "font": PAGE_FONT}
    if not dark:
        colours["b"] = "#c2570a"  # as text on white
    data = shown | {"brush": brush, "chosen": chosen, "dark": dark, "colours": colours, "palette": cells(dark, shown["classes"])}
    _component()(key=key, data=data, on_did_change=did, height=shown["height"] + 46)


def drawable(grid: Grid, places: Sequence[int], order: str, wanted: Sequence[float], stamp: str) -> dict:
    """What the browser needs to draw these examples in this order. ``stamp`` changes whenever any of it does."""
    texts = [as_text(grid.texts[place]) for place in places] if len(places) <= MOST_EXCERPTS else []
    tips = {
        "ids": [int(grid.ids[place]) for place in places],
        "labels": [int(grid.labels[place]) for place in places],
        "names": list(grid.names),
        "texts": [text if len(text) <= EXCERPT else f"{text[:EXCERPT]}…" for text in texts],
    }
    step = max(1, round(step_of(max(1, len(places)))))
    return {
        "stamp": stamp,
        "rows": len(places),
        "points": len(grid.ts),
        "classes": len(grid.names),
        "cells": _sent(packed(grid, places).tobytes()),
        "tips": _sent(json.dumps(tips, ensure_ascii=False).encode()),
        "ts": list(grid.ts),
        "slots": sorted({*grid.ts, *(t for t in wanted if round(t, 9) not in same_t(grid.ts))}),
        "sure": grid.probability is not None,
        "ticks": list(range(step - 1, len(places), step)) if len(places) > 1 else [0],
        "left": LEFT,
        "right": RIGHT,
        "height": min(HIGH, max(LOW, LINE * len(places))),
        "told": grid_told(grid, places, ORDERS[order].lower()) + " Arrow keys move, Enter opens a row, Shift with arrows marks a range.",
    }


def _sent(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 6)).decode()


@st.cache_resource(show_spinner=False)
def _component() -> Callable:
    return st.components.v2.component("grid_of_examples", html=HTML, css=CSS, js=SCRIPT.read_text())
