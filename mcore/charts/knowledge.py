"""Charts of what is known along a path, headless: the flow of mastered examples, one example, the colours of a grid.

The flow is told by the first model: what A masters is blue, what is learned since is orange. In the grid
right and wrong are green and purple, which differ in lightness too, and fade where the model is unsure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import altair as alt
import numpy as np

from mcore.charts.theme import Theme, finish, panel_axis, panel_scale, theme, ticks, way_scale, way_x
from mcore.knowledge.grid import Grid
from mcore.names import percent, same_t, t_text

FLOW = {
    "kept": "still mastered",
    "forgotten": "forgotten since A",
    "learned": "learned since A",
    "never": "mastered neither at A nor here",
}
TOLD = {
    "always": "mastered throughout",
    "regained": "lost midway and regained",
    "only_a": "mastered at the start only",
    "only_b": "mastered at the end only",
    "midway": "mastered only midway",
    "never": "never mastered",
}
LEFT = 58  # pixels from a chart's left edge to t = 0, so that the flow and the grid beneath it share one axis
RIGHT = 10
STRIP = 0.006  # of the path: half of a computed point's width while others are to come
MOST_LABELS = 6  # lines in the chart of one example


@dataclass(frozen=True)
class Palette:
    """Colours of the four sets of the flow and of the cells of a grid."""

    kept: str
    forgotten: str
    learned: str
    never: str
    right: str
    unsure: str
    wrong: str


LIGHT = Palette("#2563eb", "#b9cdf8", "#ea730c", "#e3e6eb", "#1f9e77", "#f1f1ee", "#5b1a78")
DARK = Palette("#6ea2ff", "#2c426f", "#ff9a3d", "#262c37", "#57d3a8", "#22252c", "#a04fc0")


def palette(dark: bool) -> Palette:
    return DARK if dark else LIGHT


def flow_chart(
    told: Sequence[Mapping], asked: Iterable[float] | None = None, dark: bool = False, width: int | str = "container"
) -> alt.LayerChart:
    """How many examples are kept, forgotten and learned since A, as ``grid.flow`` tells. ``asked``: every t, those to come too.

    What A masters ends in a level line: beneath it the forgotten wedge, above it what is learned.
    """
    look, colours, height = theme(dark), palette(dark), 210
    total = sum(told[0][name] for name in FLOW)
    scale = panel_scale((0, total), 0, height)
    way = way_x(look, {"t": [row["t"] for row in told]}, asked or ())
    axis = panel_axis("Examples", 0, ",.0f", _rows_ticks(total))
    axis.minExtent = axis.maxExtent = LEFT - 14
    stacked = []
    for row in told:
        low = 0
        for name in FLOW:
            stacked.append({"t": row["t"], "set": name, "y": low, "y2": low + row[name]})
            low += row[name]
    names = list(FLOW)
    areas = alt.Chart(alt.InlineData(values=stacked)).mark_area(line=False, interpolate="linear").encode(
        x=way, y=alt.Y("y:Q", scale=scale, axis=axis), y2="y2:Q",
        color=alt.Color("set:N", legend=None, scale=alt.Scale(domain=names, range=[getattr(colours, n) for n in names])),
    )  # fmt: skip
    layers = [areas, *_veils(told, asked, stacked, colours, scale, look), *_level(told, total, scale, look), _hover(told, total, scale, look)]
    return finish(alt.layer(*layers), look, width, height, flow_told(told))


def flow_told(told: Sequence[Mapping]) -> str:
    """The flow in words."""
    first, last, start = told[0], told[-1], _start(told)
    low = min(told, key=lambda row: row["kept"])
    return (
        f"Of {sum(first[name] for name in FLOW):,} examples {start} masters {first['kept']:,}. Fewest of these are still mastered at "
        f"t = {t_text(low['t'])}: {low['kept']:,}; {low['forgotten']:,} are forgotten there and {low['learned']:,} others learned. "
        f"At t = {t_text(last['t'])} {last['kept']:,} are still mastered, {last['forgotten']:,} forgotten, "
        f"{last['learned']:,} learned, and {last['never']:,} mastered neither there nor at the start."
    )


def grid_told(grid: Grid, places: Sequence[int], order: str) -> str:
    """The grid of these examples in words; ``order`` as it reads in a sentence."""
    if not len(places):
        return "Grid of examples along the path: no example is in view."
    shown = np.asarray(places)
    counts = ", ".join(f"{int(grid.groups[name][shown].sum()):,} {words}" for name, words in TOLD.items())
    return (
        f"Grid of {len(shown):,} examples by {len(grid.ts)} points from t = {t_text(grid.ts[0])} to {t_text(grid.ts[-1])}, "
        f"sorted by {order}; right or wrong and how sure: {counts}."
    )


def example_chart(
    ts: Sequence[float], probabilities: Sequence[Sequence[float]], names: Sequence[str], true: int, dark: bool = False,
    width: int | str = "container",
) -> alt.LayerChart:  # fmt: skip
    """One example: the probability of each label along t, ``[points, classes]``; the true one as a thick line.

    Of many labels those that are most probable anywhere are drawn. Filled dots: predicted right there.
    """
    look, height, probabilities = theme(dark), 190, np.asarray(probabilities)
    shown = labels_shown(probabilities, true)
    predicted = probabilities.argmax(axis=1)
    rows = [
        {"t": t, "y": float(probabilities[i, k]), "label": str(names[k]), "k": n, "right": bool(predicted[i] == true),
         "predicted": str(names[predicted[i]]), "true": k == true}
        for n, k in enumerate(shown) for i, t in enumerate(ts)
    ]  # fmt: skip
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=way_x(look, {"t": ts}),
        y=alt.Y("y:Q", scale=panel_scale((0, 1), 0, height), axis=panel_axis("Probability of each label", 0, "~%", [0, 0.5, 1])),
        tooltip=[alt.Tooltip("t:Q", format=".2f"), alt.Tooltip("label:N"), alt.Tooltip("y:Q", title="probability", format=".1%"),
                 alt.Tooltip("predicted:N", title="predicted here")],
    )  # fmt: skip
    others = base.transform_filter("!datum.true").mark_line(stroke=look.line, strokeWidth=1.3).encode(
        detail="k:N", strokeDash=alt.StrokeDash("k:N", legend=None, scale=alt.Scale(
            domain=list(range(len(shown))), range=[[1, 0], [5, 3], [1, 3], [8, 3, 1, 3], [3, 3], [10, 4]])),
    )  # fmt: skip
    true_line = base.transform_filter("datum.true").mark_line(stroke=look.text, strokeWidth=2.4)
    dots = base.transform_filter("datum.true").mark_circle(size=60, opacity=1, strokeWidth=1.8).encode(
        stroke=alt.Color("t:Q", scale=way_scale(look), legend=None),
        fill=alt.condition("datum.right", alt.Color("t:Q", scale=way_scale(look), legend=None), alt.value(look.ground)),
    )  # fmt: skip
    layers = [others, true_line, dots, *_label_names(ts, probabilities, names, shown, true, look, height)]
    return finish(alt.layer(*layers), look, width, height, example_told(ts, probabilities, names, true))


def labels_shown(probabilities: np.ndarray, true: int) -> list[int]:
    """The labels that are drawn: the true one first, then the most probable ones."""
    by_most = np.argsort(-probabilities.max(axis=0), kind="stable").tolist()
    return [true, *[k for k in by_most if k != true]][:MOST_LABELS]


def example_told(ts: Sequence[float], probabilities: np.ndarray, names: Sequence[str], true: int) -> str:
    """One example in words."""
    predicted = probabilities.argmax(axis=1)
    ends = "; ".join(
        f"at t = {t_text(ts[i])} {names[predicted[i]]!s} is predicted, "
        f"{'right' if predicted[i] == true else 'wrong'}, the true label has {percent(float(probabilities[i, true]))}"
        for i in sorted({0, len(ts) - 1})
    )
    right = int((predicted == true).sum())
    return f"Probability of each label along the path, true label {names[true]}: {ends}. Right at {right} of {len(ts)} points."


def cells(dark: bool, classes: int, levels: int = 64) -> list[list[int]]:
    """Colours [r, g, b] of a grid's cells: ``levels`` for wrong, then ``levels`` for right, each by rising probability.

    Where a row is wrong its true label has at most a half, where it is right at least one part in ``classes``:
    there the colours are palest, but for a step between them that tells right from wrong.
    """
    colours, chance = palette(dark), 1 / classes
    wrong, unsure, right = (_rgb(one) for one in (colours.wrong, colours.unsure, colours.right))
    probabilities = [i / (levels - 1) for i in range(levels)]
    return [
        *(_mixed(wrong, unsure, 0.75 * min(1, 2 * p)) for p in probabilities),
        *(_mixed(unsure, right, 0.25 + 0.75 * max(0.0, (p - chance) / (1 - chance))) for p in probabilities),
    ]


def packed(grid: Grid, places: Sequence[int], levels: int = 64) -> np.ndarray:
    """Cells as numbers of ``cells``, uint8 ``[examples, points]``: the confidence's level, plus ``levels`` where right."""
    chosen = np.asarray(places, np.int64)
    level = np.clip(np.rint(grid.confidence[:, chosen] * (levels - 1)), 0, levels - 1).astype(np.uint8)
    return np.ascontiguousarray((level + levels * grid.right[:, chosen].astype(np.uint8)).T)


def _veils(
    told: Sequence[Mapping], asked: Iterable[float] | None, stacked: list[dict], colours: Palette, scale: alt.Scale, look: Theme
) -> list[alt.Chart]:
    """While points are to come: pale where the areas only join neighbours, and a full strip at each t that is there."""
    ts = [row["t"] for row in told]
    to_come, most = same_t(asked if asked is not None else ()) - same_t(ts), max(row["y2"] for row in stacked)
    ends = [*([0.0] if ts[0] > 0 else []), *ts, *([1.0] if ts[-1] < 1 else [])]
    gaps = [{"t": low, "t2": high, "y": 0, "y2": most} for low, high in pairwise(ends) if any(low <= t <= high for t in to_come)]
    if not gaps:
        return []
    y = alt.Y("y:Q", scale=scale)
    pale = alt.Chart(alt.InlineData(values=gaps)).mark_rect(fill=look.ground, opacity=0.6).encode(x="t:Q", x2="t2:Q", y=y, y2="y2:Q")
    strips = [
        row | {"t": max(0, row["t"] - STRIP), "t2": min(1, row["t"] + STRIP), "colour": getattr(colours, row["set"])} for row in stacked
    ]
    there = alt.Chart(alt.InlineData(values=strips)).mark_rect().encode(
        x="t:Q", x2="t2:Q", y=y, y2="y2:Q", fill=alt.Fill("colour:N", scale=None)
    )  # fmt: skip
    return [pale, there]


def _level(told: Sequence[Mapping], total: int, scale: alt.Scale, look: Theme) -> list[alt.Chart]:
    """The level line that parts what the first model masters from what it does not, and its name where there is room."""
    count = told[0]["kept"]
    above = count < 0.9 * total
    line = alt.Chart(alt.InlineData(values=[{"t": 0, "t2": 1, "y": count, "text": f"mastered by {_start(told)}"}]))
    y = alt.Y("y:Q", scale=scale)
    return [
        line.mark_rule(stroke=look.text, strokeWidth=1, strokeDash=[4, 3], opacity=0.75).encode(x="t:Q", x2="t2:Q", y=y),
        *([line.mark_text(align="left", dx=6, dy=-8, color=look.text).encode(x="t:Q", y=y, text="text:N")] if above else []),
    ]


def _hover(told: Sequence[Mapping], total: int, scale: alt.Scale, look: Theme) -> alt.Chart:
    """A strip around each computed t that tells its four numbers and shows as a line when pointed at."""
    ts = [row["t"] for row in told]
    edges = [0.0 if ts[0] == 0 else ts[0], *[(low + high) / 2 for low, high in pairwise(ts)], 1.0 if ts[-1] == 1 else ts[-1]]
    strips = [
        {**row, "from": low, "to": max(high, low + 0.004), "bottom": 0, "top": total, "mastered": row["kept"] + row["learned"]}
        for row, low, high in zip(told, edges, edges[1:], strict=False)
    ]
    pointed = alt.selection_point(name="pointed", on="pointerover", clear="pointerout", fields=["t"], empty=False)
    tips = [alt.Tooltip("t:Q", format=".2f"), alt.Tooltip("mastered:Q", title="mastered here", format=",")]
    tips += [alt.Tooltip(f"{name}:Q", title=words, format=",") for name, words in FLOW.items()]
    return (
        alt.Chart(alt.InlineData(values=strips))
        .mark_rect(fill=look.text)
        .encode(x="from:Q", x2="to:Q", y=alt.Y("bottom:Q", scale=scale), y2="top:Q", tooltip=tips,
                opacity=alt.condition(pointed, alt.value(0.18), alt.value(0)))
        .add_params(pointed)
    )  # fmt: skip


def _label_names(
    ts: Sequence[float], probabilities: np.ndarray, names: Sequence[str], shown: Sequence[int], true: int, look: Theme, height: int
) -> list[alt.Chart]:
    """Each label's name where its line stands farthest from the others; names of crowded lines are left to the tooltip."""
    layers, taken = [], []
    for k in shown:
        gaps = np.min([np.abs(probabilities[:, k] - probabilities[:, other]) for other in shown if other != k] or [np.ones(len(ts))], axis=0)
        inner = gaps * np.array([0.2 < t < 0.8 for t in ts]) if len(ts) > 2 else gaps
        i = int(inner.argmax())
        y = float(probabilities[i, k])
        if k != true and (gaps[i] < 0.08 or any(abs(y - other) < 0.09 for other in taken)):
            continue
        taken.append(y)
        name = str(names[k])
        row = [{"t": ts[i], "y": y, "text": name if len(name) <= 24 else name[:23] + "…"}]
        base = alt.Chart(alt.InlineData(values=row)).encode(x="t:Q", y=alt.Y("y:Q"), text="text:N")
        others = [probabilities[i, other] for other in shown if other != k] or [0.5]
        look_of = {"dy": -13 if y > np.mean(others) else 15, "fontWeight": 700 if k == true else 400}  # away from the others
        layers += [
            base.mark_text(stroke=look.ground, strokeWidth=3, strokeJoin="round", fill=look.ground, **look_of),
            base.mark_text(color=look.text if k == true else look.quiet, **look_of),
        ]
    return layers


def _start(told: Sequence[Mapping]) -> str:
    """The model that everything is told by: A, or the first one that is there."""
    return f"the model at t = {t_text(told[0]['t'])}" if told[0]["t"] else "A"


def _rows_ticks(total: int) -> list[float]:
    """Round counts that keep clear of the total, and the total."""
    return [*[value for value in ticks((0, total), 3) if value < 0.9 * total and value % 1 == 0], total]


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def _mixed(one: Sequence[int], other: Sequence[int], share: float) -> list[int]:
    return [round(a + (b - a) * share) for a, b in zip(one, other, strict=True)]
