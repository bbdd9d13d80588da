"""Several paths between the same two models on one chart: the present one in colour, the others in grey, each named at its line.

The horizontal axis is t, the way walked, or the change of output, all of them 0 at A and 1 at B (``mcore.along``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import altair as alt
import numpy as np

from mcore.along import AXES, positions
from mcore.charts_path import PIECE, Panel, accuracy_domain, loss_domain
from mcore.charts_theme import Theme, finish, growing, panel_axis, panel_scale, theme, ticks, way_axis, way_scale
from mcore.names import finite, nats, share, unit
from mcore.ways import short, span, way

HIGH, GAP, LOW = 270, 44, 110
DASHES = ([1, 0], [7, 4], [2, 3], [9, 3, 2, 3])  # of the others, in turn
HALF = 0.09  # of the way: about half the width of a label
NAMED = 2  # others that are named at their lines; of more, only the numbers that they have in the table have room


def ways_chart(
    entries: Sequence[Mapping], paths: Sequence[Mapping | None], axis: str = "t", dark: bool = False, width: int | str = "container"
) -> alt.LayerChart:
    """``entries``: one task's entry of each result, the present one first; ``paths``: the ``path`` of each result.

    One whose points have no place on the ``axis`` is left out.
    """
    look = theme(dark)
    placed = [(entry, where) for entry, path in zip(entries, paths, strict=True) if (where := positions(entry, path, axis))]
    shown = span(placed[0][1] if placed and placed[0][0] is entries[0] else ())
    panels = []
    for name, top, height, title, form, domain in (
        ("loss", 0, HIGH, f"Loss ({unit(entries[0])})", ".2~f", loss_domain),
        ("accuracy", HIGH + GAP, LOW, share(entries[0]).capitalize(), "~%", accuracy_domain),
    ):
        panel = Panel(name, top, top + height, _union([domain(entry) for entry in entries], 0, 1 if name == "accuracy" else np.inf))
        curves = [[row for row in _curve(entry, where, name) if shown[0] - 1e-9 <= row["x"] <= shown[1] + 1e-9] for entry, where in placed]
        layers = [_frame(panel, look, title, form, shown, axis)]
        for i, (curve, (entry, _)) in reversed(list(enumerate(zip(curves, placed, strict=True)))):
            layers += _present(curve, panel, look) if entry is entries[0] else _other(curve, entry, DASHES[i % len(DASHES)], panel, look)
        if name == "loss":
            names = labels(entries)
            named = {id(entry): name for entry, name in zip(entries, names, strict=True)}
            layers += _names([(named[id(entry)], curve, entry is entries[0]) for curve, (entry, _) in zip(curves, placed, strict=True)], panel, look)
        panels.append(alt.layer(*layers))
    chart = alt.layer(*panels).resolve_scale(y="independent")
    return finish(chart, look, width, HIGH + GAP + LOW, ways_told(entries, axis))


def ways_told(entries: Sequence[Mapping], axis: str) -> str:
    """The chart in words."""
    told = []
    for entry in entries:
        barrier = (entry.get("barrier") or {}).get("loss_chord")
        told.append(f"{short(way(entry))}: " + (f"barrier {nats(barrier['value'])} {unit(entry)}" if barrier else "no barrier yet"))
    return f"Loss and accuracy of {len(entries)} {'path' if len(entries) == 1 else 'paths'} from A to B over {AXES[axis]}. " + "; ".join(told) + "."


def labels(entries: Sequence[Mapping]) -> list[str]:
    """What stands at each line: the present path's name, and the others' names or their numbers, from 2 on."""
    names = [short(way(entry)) for entry in entries]
    return names if len(names) - 1 <= NAMED else [names[0], *(str(i) for i in range(2, len(names) + 1))]


def _curve(entry: Mapping, where: Sequence[float], name: str) -> list[dict]:
    rows = zip(where, entry["t"], entry[name], entry["loss"], entry["accuracy"], strict=True)
    return [
        {"x": x, "y": y, "t": t, "loss": loss, "accuracy": accuracy, "path": short(way(entry))} for x, t, y, loss, accuracy in rows if finite(y)
    ]


def _union(domains: Sequence[tuple[float, float]], floor: float, ceiling: float) -> tuple[float, float]:
    return growing([min(low for low, _ in domains), max(high for _, high in domains)], (), 0.0, floor, ceiling)


def _frame(panel: Panel, look: Theme, title: str, form: str, shown: tuple[float, float], axis: str) -> alt.Chart:
    """The panel's fixed axes, without data."""
    along = way_axis(look, None, shown)
    if axis != "t":
        along.labelExpr = f"datum.value === 0 ? 'A' : datum.value === 1 ? 'B' : format(datum.value, '.0%') + (datum.value === 0.6 ? ' of the {AXES[axis]}' : '')"
    return alt.Chart(alt.InlineData(values=[])).mark_point().encode(
        x=alt.X("x:Q", scale=alt.Scale(domain=list(shown), nice=False), axis=along),
        y=alt.Y("y:Q", scale=panel_scale(panel.domain, panel.top, panel.bottom), axis=panel_axis(title, panel.top, form, ticks(panel.domain))),
    )  # fmt: skip


def _layer(rows: list[dict]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows)).encode(x=alt.X("x:Q"), y=alt.Y("y:Q"))


def _tips(curve: Sequence[Mapping]) -> list[alt.Tooltip]:
    return [alt.Tooltip("path:N"), alt.Tooltip("t:Q", format=".2f"), alt.Tooltip("loss:Q", format=".3f"), alt.Tooltip("accuracy:Q", format=".1%")]


def _present(curve: list[dict], panel: Panel, look: Theme) -> list[alt.Chart]:
    """From A's colour to B's, with dots; its chord between the ends."""
    pieces = []
    for left, right in pairwise(curve):
        count = max(1, round((right["x"] - left["x"]) / PIECE))
        at = {key: np.linspace(left[key], right[key], count + 1).tolist() for key in ("x", "y", "t")}
        pieces += [
            {"x": at["x"][i], "x2": at["x"][i + 1], "y": at["y"][i], "y2": at["y"][i + 1], "at": (at["t"][i] + at["t"][i + 1]) / 2} for i in range(count)
        ]
    ends = {row["t"]: row for row in curve if row["t"] in (0, 1)}
    chord = [{"x": row["x"], "y": (1 - row["t"]) * ends[0.0]["y"] + row["t"] * ends[1.0]["y"]} for row in curve if 0 <= row["t"] <= 1] if len(ends) == 2 else []
    end = "datum.t === 0 || datum.t === 1"
    return [
        _layer(chord).mark_line(stroke=look.line, strokeDash=[5, 4], strokeWidth=1.2),
        _layer(pieces).mark_rule(strokeWidth=look.size / 3.6, strokeCap="round")
        .encode(x2="x2:Q", y2="y2:Q", color=alt.Color("at:Q", scale=way_scale(look), legend=None)),
        _layer(curve).mark_circle(opacity=1, stroke=look.ground, strokeWidth=1).encode(
            color=alt.Color("t:Q", scale=way_scale(look), legend=None),
            size=alt.condition(end, alt.value(look.size**2), alt.value(look.size**2 * 0.25)),
        ),
        _layer(curve).mark_circle(opacity=0, size=400).encode(tooltip=_tips(curve)),
    ]  # fmt: skip


def _other(curve: list[dict], entry: Mapping, dashes: Sequence[int], panel: Panel, look: Theme) -> list[alt.Chart]:
    base = _layer(curve)
    return [
        base.mark_line(stroke=look.quiet, strokeWidth=1.7, strokeDash=list(dashes), opacity=0.9),
        base.mark_circle(opacity=0, size=300).encode(tooltip=_tips(curve)),
    ]


def _names(curves: Sequence[tuple[str, list[dict], bool]], panel: Panel, look: Theme) -> list[alt.Chart]:
    """Each path's name beside its line, where it is clearest of all lines and of the names that stand already."""
    lines = [(np.array([row["x"] for row in curve]), panel.pixels([row["y"] for row in curve])) for _, curve, _ in curves if len(curve) > 1]
    grid, layers = np.linspace(0, 1, 101), []
    taken = [(x, y) for xs, ys in lines for x, y in zip(grid, np.interp(grid, xs, ys), strict=True)]
    for name, curve, present in curves:
        if len(curve) < 2:
            continue
        xs, ys = np.array([row["x"] for row in curve]), panel.pixels([row["y"] for row in curve])
        best = (-np.inf, 0.5, -12)
        for x in np.linspace(0.15, 0.85, 36).tolist():
            for dy in (-12, 13):
                y = float(np.interp(x, xs, ys)) + dy
                near = [abs(other - y) for at, other in taken if abs(at - x) < HALF]
                best = max(best, (min([*near, y - panel.top, panel.bottom - y, 24]) - 2 * abs(x - 0.5), x, dy))
        _, x, dy = best
        y = float(np.interp(x, xs, [row["y"] for row in curve]))
        taken += [(x + shift, float(np.interp(x, xs, ys)) + dy + up) for shift in np.linspace(-HALF, HALF, 7) for up in (-5, 0, 5)]
        base = _layer([{"x": x, "y": y, "text": name}]).encode(text="text:N")
        style = {"dy": dy, "fontWeight": 600 if present else 400}
        layers += [
            base.mark_text(stroke=look.ground, strokeWidth=4, strokeJoin="round", fill=look.ground, **style),
            base.mark_text(color=look.text if present else look.quiet, **style),
        ]
    return layers
