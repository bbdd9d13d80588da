"""Several paths between the same two models on one chart: the present one in colour, the others in grey, each named at its line.

The horizontal axis is t, the way walked, or the change of output, all of them 0 at A and 1 at B (``mcore.paths.along``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import altair as alt
import numpy as np

from mcore.charts.path import PIECE, Panel, accuracy_domain, loss_domain
from mcore.charts.theme import Theme, finish, growing, panel_axis, panel_scale, theme, ticks, way_axis, way_scale
from mcore.names import finite, nats, share, unit
from mcore.paths.along import AXES, positions
from mcore.paths.ways import short, span, way

HIGH, GAP, LOW = 270, 44, 110
DASHES = ([1, 0], [7, 4], [2, 3], [9, 3, 2, 3])  # of the others, in turn
HALF = 0.09  # of the way: about half the width of a name; a number takes a third of it
NAMED = 2  # others that are named at their lines; of more, only their numbers have room there, and a key above tells the names
ROW, STROKE = 17, 34  # pixels of the key: of a line of it, and of the piece of a path's line that stands in it


def ways_chart(
    entries: Sequence[Mapping], paths: Sequence[Mapping | None], axis: str = "t", dark: bool = False, width: int | str = "container"
) -> alt.LayerChart:
    """``entries``: one task's entry of each result, the present one first; ``paths``: the ``path`` of each result.

    One whose points have no place on the ``axis`` is left out.
    """
    look = theme(dark)
    placed = [(entry, where) for entry, path in zip(entries, paths, strict=True) if (where := positions(entry, path, axis))]
    shown = span(placed[0][1] if placed and placed[0][0] is entries[0] else ())
    names = labels(entries)
    key = ROW * len(placed) + 3 * GAP // 4 if names[-1].isdigit() else 0
    panels = [alt.layer(*_key(entries, placed, look))] if key else []
    for name, top, height, title, form, domain in (
        ("loss", key, HIGH, f"Loss ({unit(entries[0])})", ".2~f", loss_domain),
        ("accuracy", key + HIGH + GAP, LOW, share(entries[0]).capitalize(), "~%", accuracy_domain),
    ):
        panel = Panel(name, top, top + height, _union([domain(entry) for entry in entries], 0, 1 if name == "accuracy" else np.inf))
        curves = [[row for row in _curve(entry, where, name) if shown[0] - 1e-9 <= row["x"] <= shown[1] + 1e-9] for entry, where in placed]
        layers = [_frame(panel, look, title, form, shown, axis)]
        for i, (curve, (entry, _)) in reversed(list(enumerate(zip(curves, placed, strict=True)))):
            layers += _present(curve, panel, look) if entry is entries[0] else _other(curve, entry, DASHES[i % len(DASHES)], panel, look)
        if name == "loss":
            named = {id(entry): name for entry, name in zip(entries, names, strict=True)}
            layers += _names([(named[id(entry)], curve, entry is entries[0]) for curve, (entry, _) in zip(curves, placed, strict=True)], panel, look)
        panels.append(alt.layer(*layers))
    chart = alt.layer(*panels).resolve_scale(y="independent")
    return finish(chart, look, width, key + HIGH + GAP + LOW, ways_told(entries, axis))


def ways_told(entries: Sequence[Mapping], axis: str) -> str:
    """The chart in words."""
    told = []
    for entry in entries:
        barrier = (entry.get("barrier") or {}).get("loss_chord")
        told.append(f"{short(way(entry))}: " + (f"barrier {nats(barrier['value'])} {unit(entry)}" if barrier else "no barrier yet"))
    return f"Loss and accuracy of {len(entries)} {'path' if len(entries) == 1 else 'paths'} from A to B over {AXES[axis]}. " + "; ".join(told) + "."


def labels(entries: Sequence[Mapping]) -> list[str]:
    """What stands at each line: its name, or, where there are too many, its number."""
    names = [short(way(entry)) for entry in entries]
    return names if len(names) - 1 <= NAMED else [str(i) for i in range(1, len(names) + 1)]


def _key(entries: Sequence[Mapping], placed: Sequence[tuple[Mapping, Sequence[float]]], look: Theme) -> list[alt.Chart]:
    """A line for each path that is drawn: how it is drawn, its number, its name. It needs no scale: all its places are pixels."""
    numbers = {id(entry): number for number, entry in enumerate(entries, 1)}
    layers = []
    for i, (entry, _) in enumerate(placed):
        y, present = ROW * i + ROW / 2, entry is entries[0]
        colours = look.way if present else (look.quiet,)
        for k, colour in enumerate(colours):
            piece = STROKE / len(colours)
            ruled = alt.Chart(alt.InlineData(values=[{}])).mark_rule(
                stroke=colour, strokeWidth=look.size / 3.6 if present else 1.7, strokeDash=[1, 0] if present else list(DASHES[i % len(DASHES)])
            )  # fmt: skip
            layers.append(ruled.encode(x=alt.value(k * piece), x2=alt.value((k + 1) * piece), y=alt.value(y), y2=alt.value(y)))
        text = alt.Chart(alt.InlineData(values=[{"text": f"{numbers[id(entry)]}  {short(way(entry))}"}])).mark_text(
            align="left", baseline="middle", fontWeight=600 if present else 400, color=look.text if present else look.quiet,
            limit=alt.ExprRef(f"width - {STROKE + 10}"),
        )  # fmt: skip
        layers.append(text.encode(x=alt.value(STROKE + 10), y=alt.value(y), text="text:N"))
    return layers


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
    """Each path's name beside its line, or its number on it, where it is clearest of all lines and of what stands already."""
    curves = [(name, [(row["x"], row["y"]) for row in curve], present) for name, curve, present in curves if len(curve) > 1]
    grid, written, halos, layers = np.linspace(0, 1, 101), [], [], []
    lines = [np.interp(grid, [x for x, _ in curve], panel.pixels([y for _, y in curve])) for _, curve, _ in curves]
    for i, (name, curve, present) in enumerate(curves):
        number = name.isdigit()
        half, shifts = (HALF / 3, (0,)) if number else (HALF, (-12, 13))
        passing = [line for k, line in enumerate(lines) if k != i or not number]
        best = (-np.inf, 0.5, 0)
        for x in np.linspace(0.15, 0.85, 36).tolist():
            beneath = np.abs(grid - x) < half
            for dy in shifts:
                y = float(np.interp(x, grid, lines[i])) + dy
                near = [float(np.abs(line[beneath] - y).min()) for line in passing]
                near += [40 * (np.hypot((at - x) / (2 * half if number else half), (other - y) / 16) - 1) for at, other in written]  # below 0: one on the other
                best = max(best, (min([*near, y - panel.top, panel.bottom - y, 24]) - 2 * abs(x - 0.5), x, dy))
        _, x, dy = best
        written += [(x + shift, float(np.interp(x, grid, lines[i])) + dy) for shift in (np.linspace(-half, half, 7) if not number else (0,))]
        base = _layer([{"x": x, "y": float(np.interp(x, *zip(*curve, strict=True))), "text": name}]).encode(text="text:N")
        style = {"dy": dy, "baseline": "middle", "fontWeight": 600 if present else 400}
        halos.append(base.mark_text(stroke=look.ground, strokeWidth=7 if number else 4, strokeJoin="round", fill=look.ground, **style))
        layers.append(base.mark_text(color=look.text if present or number else look.quiet, **style))
    return halos + layers
