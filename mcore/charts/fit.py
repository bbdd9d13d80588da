"""How a path is fitted: the loss over the steps, and beneath it where on the path it lies; and what a learned mix has taken.

Each step draws one t and one batch, so a single loss says little: means over stretches of steps and of t are drawn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np

from mcore.charts.theme import Theme, finish, growing, panel_axis, panel_scale, theme, ticks, way_scale
from mcore.names import finite, nats, percent

COLUMNS, BINS = 20, 8  # stretches of steps, and of t
DRAWN = 2  # steps that a cell of the map has on average, at the least
LAYER = re.compile(r"\b(\d+)\.")  # in the name of a tensor
TOP, GAP, MAP = 130, 52, 170


def fit_chart(rows: Sequence[tuple[int, float | None, float]], steps: int, dark: bool = False, width: int | str = "container") -> alt.LayerChart:
    """``rows``: step (from 1), t (None: a mix, which has none) and loss in nats of each step that is told of; ``steps`` in all."""
    look = theme(dark)
    rows = [(step, t, loss) for step, t, loss in rows if finite(loss)]
    column = max(1, -(-steps // COLUMNS))
    means = [{"step": middle, "y": mean, "count": count} for middle, mean, count in _means([(step, loss) for step, _, loss in rows], column, steps)]
    domain = growing([0.0, means[0]["y"] if means else 1.0], [row["y"] for row in means], 0.08, 0)
    x = alt.X("step:Q", scale=alt.Scale(domain=[0, steps], nice=False),
              axis=alt.Axis(title="step of the fit", titleFontWeight=400, grid=False, offset=8, tickCount=6, labelFlush=True))  # fmt: skip
    base = alt.Chart(alt.InlineData(values=means)).encode(
        x=x, y=alt.Y("y:Q", scale=panel_scale(domain, 0, TOP), axis=panel_axis(f"Loss (nats), mean of {column:,} {'step' if column == 1 else 'steps'}", 0, ".2~f", ticks(domain, 4))),
        tooltip=[alt.Tooltip("step:Q", format=".0f"), alt.Tooltip("y:Q", title="loss", format=".3f"), alt.Tooltip("count:Q", title="steps")],
    )  # fmt: skip
    layers = [alt.layer(base.mark_line(stroke=look.way[1], strokeWidth=2.4), base.mark_circle(size=34, color=look.way[1], opacity=1))]
    height = TOP
    if any(t is not None for _, t, _ in rows):
        layers.append(_map(rows, max(column, DRAWN * BINS), steps, look, x))
        height = TOP + GAP + MAP
    return finish(alt.layer(*layers).resolve_scale(y="independent"), look, width, height, _told(means, steps))


def cells(rows: Sequence[tuple[int, float | None, float]], column: int, steps: int) -> list[dict]:
    """Mean loss of each stretch of steps and of t that has one."""
    found: dict[tuple[int, int], list[float]] = {}
    for step, t, loss in rows:
        if t is not None:
            found.setdefault(((step - 1) // column, min(BINS - 1, int(t * BINS))), []).append(loss)
    return [
        {"step": i * column, "to": min(steps, (i + 1) * column), "t": k / BINS, "t2": (k + 1) / BINS, "loss": float(np.mean(losses)), "count": len(losses)}
        for (i, k), losses in sorted(found.items())
    ]


def most_decided(mix: Mapping[str, float], count: int) -> dict[str, float]:
    """The groups whose share of B differs most from one half, as many as ``count``, in the order of the model."""
    far = sorted(mix, key=lambda name: -abs(mix[name] - 0.5))[:count]
    return {name: mix[name] for name in mix if name in far}


def shortened(names: Sequence[str]) -> list[str]:
    """Names of tensors as short as they are still told apart: ``3: attention.self.query.weight`` for the fourth layer's; other names as they are."""
    for keep in (0, 1, 2):  # words before the layer's number
        found = []
        for name in names:
            layer = LAYER.search(name)
            before = " ".join(name[: layer.start()].split(".")[-keep - 1 : -1]) if layer and keep else ""
            found.append(f"{before} {layer[1]}: {name[layer.end() :]}".strip() if layer else name)
        if len(set(found)) == len(names):
            return found
    return list(names)


def mix_chart(mix: Mapping[str, float], dark: bool = False, width: int | str = "container") -> alt.LayerChart:
    """The share of B in each group of tensors, as a bar from A's side."""
    look = theme(dark)
    rows = [{"group": name, "name": label, "share": share} for (name, share), label in zip(mix.items(), shortened(list(mix)), strict=True)]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=200, labelColor=look.text), scale=alt.Scale(paddingInner=0.3, paddingOuter=0.2)),
        x=alt.X("share:Q", title="share of B", scale=alt.Scale(domain=[0, 1], nice=False),
                axis=alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format="~%", grid=True, titleFontWeight=400)),
        tooltip=["group:N", alt.Tooltip("share:Q", title="share of B", format=".1%")],
    )  # fmt: skip
    bars = base.mark_bar(cornerRadiusEnd=2, opacity=0.9).encode(color=alt.Color("share:Q", scale=way_scale(look), legend=None))
    inside = "datum.share > 0.85"
    numbers = [
        base.transform_filter(f"!({inside})").mark_text(align="left", dx=5, color=look.text).encode(text=alt.Text("share:Q", format=".1%")),
        base.transform_filter(inside).mark_text(align="right", dx=-5, color=look.ground).encode(text=alt.Text("share:Q", format=".1%")),
    ]
    told = "; ".join(f"{row['group']} {percent(row['share'])}" for row in rows[:40])
    return finish(alt.layer(bars, *numbers), look, width, max(60, (24 if len(rows) <= 30 else 17) * len(rows)), f"Share of B in the learned mix. {told}.")


def _map(rows: Sequence[tuple[int, float | None, float]], column: int, steps: int, look: Theme, x: alt.X) -> alt.Chart:
    """t upwards, steps to the right, the darker the higher the loss."""
    found = cells(rows, column, steps)
    losses = [cell["loss"] for cell in found]
    low, high = float(np.quantile(losses, 0.02)), float(np.quantile(losses, 0.98))
    colours = alt.Scale(domain=[low, max(high, low + 1e-6)], range=[look.grid, look.way[1]], clamp=True, interpolate="rgb")
    top = TOP + GAP
    titled = panel_axis(f"Loss by t, from {nats(low)} (pale) to {nats(high)}", top, ".1f", [0, 0.5, 1])
    titled.labelExpr = "datum.value === 0 ? 'A' : datum.value === 1 ? 'B' : '0.5'"
    return alt.Chart(alt.InlineData(values=found)).mark_rect(stroke=look.ground, strokeWidth=1).encode(
        x=x, x2="to:Q", y=alt.Y("t:Q", scale=panel_scale((0, 1), top, top + MAP), axis=titled), y2="t2:Q",
        color=alt.Color("loss:Q", scale=colours, legend=None),
        tooltip=[alt.Tooltip("step:Q", title="from step"), alt.Tooltip("to:Q", title="to step"), alt.Tooltip("t:Q", title="from t", format=".2f"),
                 alt.Tooltip("t2:Q", title="to t", format=".2f"), alt.Tooltip("loss:Q", format=".3f"), alt.Tooltip("count:Q", title="steps")],
    )  # fmt: skip


def _means(pairs: Sequence[tuple[int, float]], column: int, steps: int) -> list[tuple[float, float, int]]:
    """Middle, mean and count of each stretch of steps."""
    groups: dict[int, list[float]] = {}
    for step, loss in pairs:
        groups.setdefault((step - 1) // column, []).append(loss)
    return [((i * column + min(steps, (i + 1) * column)) / 2, float(np.mean(losses)), len(losses)) for i, losses in sorted(groups.items())]


def _told(means: Sequence[Mapping], steps: int) -> str:
    if not means:
        return "Fit of the path: no step is done yet."
    return f"Fit of the path over {steps:,} steps: mean loss {nats(means[0]['y'])} nats in the first steps, {nats(means[-1]['y'])} in the latest."
