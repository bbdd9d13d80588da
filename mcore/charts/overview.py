"""Charts, headless: data in, an Altair chart out. The path chart has its own module beside this one.

Every chart is one layered view (that fits any width), has fixed axes, and colours for light and dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import altair as alt

from mcore.charts.path import figure, path_chart
from mcore.charts.theme import (
    Theme,
    finish,
    growing,
    panel_axis,
    panel_scale,
    theme,
    ticks,
    to_png,
    to_svg,
    way_scale,
    way_x,
)
from mcore.charts.training import training_chart
from mcore.paths.ways import ends, span, way
from mcore.words import alternative

__all__ = [
    "alternative", "figure", "knowledge_chart", "layers_chart", "path_chart", "to_png", "to_svg", "training_chart",
]  # fmt: skip


def knowledge_chart(result: Mapping, dark: bool = False, width: int | str = "container") -> alt.LayerChart:
    """How many rows are mastered at each t; beneath, for each stretch, newly learned up and newly forgotten down."""
    look, top, bottom = theme(dark), 140, 300
    told, there = result.get("knowledge") or {}, result.get("t", ())
    x, (low, high) = way_x(look, result), span(there)
    mastered = [{"t": t, "y": count} for t, count in zip(there, told.get("mastered", ()), strict=False)]
    rows = len(result.get("rows", ())) or 100
    ends = [row["y"] for row in mastered if row["t"] in (0, 1)] or [row["y"] for row in mastered] or [0, rows]
    counts = growing([min(ends) - 0.1 * rows, max(ends)], [row["y"] for row in mastered], 0.05, 0, rows)
    bars, most = [], max(2, rows // 50)
    for i, (start, end) in enumerate(pairwise(there) if told else ()):
        learned, forgotten = len(told["learned"][i]), len(told["forgotten"][i])
        gap, most = (end - start) * 0.08, max(most, learned, forgotten)
        for kind, y in (("newly learned", learned), ("newly forgotten", -forgotten)):
            bars.append({"t": start + gap, "t2": end - gap, "from": start, "to": end, "y": y, "y2": 0, "at": (start + end) / 2,
                         "kind": kind, "rows": abs(y)})  # fmt: skip
    changes = growing([-most, most], (), 0.12, -rows, rows)
    base = _panel(look, x, mastered, "Rows mastered", ",.0f", (0, top), counts)
    tips = [alt.Tooltip("t:Q", format=".2f"), alt.Tooltip("y:Q", title="mastered", format=",")]
    dots = base.mark_circle(opacity=1, stroke=look.ground, strokeWidth=1).encode(
        color=alt.Color("t:Q", scale=way_scale(look), legend=None), tooltip=tips,
        size=alt.condition("datum.t === 0 || datum.t === 1", alt.value(140), alt.value(45)),
    )  # fmt: skip
    moved = _panel(look, x, bars, "Rows that change on the way", ",.0f", (top + 44, bottom), changes)
    zero = _panel(look, x, [{"t": low, "t2": high, "y": 0}], "", "", (top + 44, bottom), changes)
    names = [
        zero.transform_calculate(text=f"'{text}'").encode(text="text:N", x=alt.value(4), y=alt.value(y))
        .mark_text(align="left", baseline="middle", color=look.quiet, fontSize=11)
        for text, y in (("↑ newly learned", top + 50), ("↓ newly forgotten", bottom - 6)) if bars
    ]  # fmt: skip
    below = [
        moved.mark_rect().encode(
            x2="t2:Q", y2="y2:Q", color=alt.Color("at:Q", scale=way_scale(look), legend=None),
            opacity=alt.condition("datum.y >= 0", alt.value(0.95), alt.value(0.6)),
            tooltip=[alt.Tooltip("from:Q", title="from t", format=".2f"), alt.Tooltip("to:Q", title="to t", format=".2f"),
                     alt.Tooltip("kind:N", title="what"), alt.Tooltip("rows:Q", format=",")],
        ),
        zero.mark_rule(stroke=look.line, strokeWidth=1).encode(x2="t2:Q"), *names,
    ]  # fmt: skip
    chart = alt.layer(alt.layer(base.mark_line(stroke=look.line, strokeWidth=1.4), dots), alt.layer(*below))
    return finish(chart.resolve_scale(y="independent"), look, width, bottom, _knowledge_told(result, mastered, rows))


def layers_chart(distance: Mapping | None, dark: bool = False, width: int | str = "container") -> alt.LayerChart:
    """How far the ends lie apart layer by layer: L2 per square root of the layer's parameter count."""
    look = theme(dark)
    layers = [dict(layer) for layer in (distance or {}).get("layers", ())]
    for layer in layers:
        count = layer["parameters"]
        layer["apart"] = layer["l2"] / count**0.5 if count else 0.0
    most = max((layer["apart"] for layer in layers), default=0) or 1.0
    base = alt.Chart(alt.InlineData(values=layers)).encode(
        y=alt.Y("layer:N", sort=None, title=None, axis=alt.Axis(labelLimit=140, labelColor=look.text),
                scale=alt.Scale(paddingInner=0.35, paddingOuter=0.2)),
        x=alt.X("apart:Q", title="L2 per √parameters", scale=alt.Scale(domain=[0, most * 1.15], nice=False),
                axis=alt.Axis(tickCount=4, format=".2~g", grid=True, titleFontWeight=400)),
        tooltip=["layer:N", alt.Tooltip("l2:Q", title="L2", format=".3f"),
                 alt.Tooltip("apart:Q", title="L2 per √parameters", format=".4f"),
                 alt.Tooltip("cosine:Q", format=".4f"), alt.Tooltip("parameters:Q", format=",")],
    )  # fmt: skip
    bars = base.mark_bar(color=look.line, opacity=0.75, cornerRadiusEnd=2)
    numbers = base.mark_text(align="left", dx=5, color=look.text).encode(text=alt.Text("apart:Q", format=".2~g"))
    farthest = max(layers, key=lambda layer: layer["apart"], default=None)
    told = f"Distance between A and B by layer; farthest apart: {farthest['layer']}." if farthest else "No distance yet."
    return finish(alt.layer(bars, numbers), look, width, max(60, 24 * len(layers)), told)


def _panel(
    look: Theme, x: alt.X, rows: list[dict], title: str, form: str, pixels: tuple[float, float], domain: tuple[float, float]
) -> alt.Chart:
    axis = {"axis": panel_axis(title, pixels[0], form, ticks(domain, 4))} if title else {}
    return alt.Chart(alt.InlineData(values=rows)).encode(
        x=x,
        y=alt.Y("y:Q", scale=panel_scale(domain, *pixels), **axis),
    )


def _knowledge_told(result: Mapping, mastered: Sequence[Mapping], rows: int) -> str:
    if not mastered:
        return "Rows mastered along the path from A to B: no point is computed yet."
    least, (first, last) = min(mastered, key=lambda row: row["y"]), ends(way(result))
    return (
        f"Rows mastered along the path from {first} to {last}, of {rows:,}: {mastered[0]['y']:,} at t = {mastered[0]['t']:.2f}, "
        f"fewest {least['y']:,} at t = {least['t']:.2f}, {mastered[-1]['y']:,} at t = {mastered[-1]['t']:.2f}."
    )
