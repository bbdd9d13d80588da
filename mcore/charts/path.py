"""The path chart: loss above, accuracy below, one axis from A to B; points, chord, barrier, ensemble.

Data in, chart out. The line is honest: whole where neighbours that were asked for are computed,
dotted where points between them are still to come. Vertical axes are fixed by the two ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import altair as alt
import numpy as np

from mcore.charts.theme import PAPER, Theme, finish, growing, panel_axis, panel_scale, theme, ticks, way_scale, way_x
from mcore.names import finite, nats, reader, same_t, share, unit
from mcore.paths.ways import ends, span, way
from mcore.words import alternative

PIECE = 1 / 60  # of the path: the line is drawn in pieces this long, each in the colour of its t
WIDE, CLEAR = 0.27, 0.04  # of the path, where a chart is as narrow as on a telephone: half the barrier's label, and an end's letter
DOT, EVERY = 0.003, 0.012  # of the path: the length of a dot and the distance between dots


@dataclass(frozen=True)
class Panel:
    """One of the two panels: its name in the result, and where its pixels lie."""

    name: str
    top: float
    bottom: float
    domain: tuple[float, float]

    def pixels(self, values: np.ndarray) -> np.ndarray:
        low, high = self.domain
        return self.bottom - (np.asarray(values) - low) / (high - low) * (self.bottom - self.top)


def path_chart(
    result: Mapping, asked_t: Iterable[float] | None = None, dark: bool = False, width: int | str = "container"
) -> alt.LayerChart:
    """One task's entry of a result, however much of it is there. ``asked_t`` tells which points are to come."""
    return _path(result, asked_t, theme(dark), width, (250, 44, 110))


def figure(result: Mapping, width: int = 330) -> alt.LayerChart:
    """The path chart for one column of a paper: white, black text, everything named where it stands."""
    return _path(result, None, PAPER, width, (165, 36, 75))


def loss_domain(result: Mapping) -> tuple[float, float]:
    """From the ends' losses and room for a rise of about half of them (at most to a constant predictor's); it only grows."""
    losses = _numbers(result, "loss")
    ends = [losses[t] for t in (0.0, 1.0) if t in losses] or list(losses.values()) or [0.0]
    constant = math.log(max(2, len(result.get("labels", ())))) if share(result) == "accuracy" else max(ends) + 1
    ends.append(min(constant, 1.6 * max(ends) + 0.05))
    room = max(0.0, max(ends) - 0.3)  # ends as bad as a constant predictor must not narrow the view to nothing
    return growing([*ends, room], [*losses.values(), *_numbers(result, "ensemble_loss").values()], room=0.16, floor=0)


def accuracy_domain(result: Mapping) -> tuple[float, float]:
    """From the ends' accuracies with a tenth beneath; it only grows."""
    found = _numbers(result, "accuracy")
    ends = [found[t] for t in (0.0, 1.0) if t in found] or list(found.values()) or [0.6, 1.0]
    return growing([*(end - 0.1 for end in ends), *(min(1.0, end + 0.05) for end in ends)],
                   [*found.values(), *_numbers(result, "ensemble_accuracy").values()], room=0.05, floor=0, ceiling=1)  # fmt: skip


def segments(there: Sequence[float], asked: Iterable[float]) -> list[tuple[float, float, bool]]:
    """Neighbours among the computed t, and whether the line between them is whole (nothing asked is missing)."""
    inside = same_t(asked) - same_t(there)
    return [(left, right, not any(left < t < right for t in inside)) for left, right in pairwise(there)]


def _path(
    result: Mapping, asked_t: Iterable[float] | None, look: Theme, width: int | str, heights: tuple[int, int, int]
) -> alt.LayerChart:
    high, gap, low = heights
    asked = sorted(same_t(asked_t if asked_t is not None else ()))
    loss = Panel("loss", 0, high, loss_domain(result))
    accuracy = Panel("accuracy", high + gap, high + gap + low, accuracy_domain(result))
    x = way_x(look, result, asked)
    above = [_frame(loss, look, x, f"Loss ({unit(result)}){reader(result)}", ".2~f"), *_marked_ends(result, asked, loss, look), *_lines(result, asked, loss, look), *_barrier(result, loss, look)]
    above += [*_names(result, loss, look), *_points(result, loss, look)]
    below = [_frame(accuracy, look, x, share(result).capitalize(), "~%"), *_marked_ends(result, asked, accuracy, look), *_lines(result, asked, accuracy, look)]
    below += _baseline(result, accuracy, look)
    below += [*_waiting(result, asked, accuracy, look), *_points(result, accuracy, look)]
    layered = alt.layer(alt.layer(*above), alt.layer(*below), resolve=alt.Resolve(scale={"y": "independent"}))
    return finish(layered, look, width, high + gap + low, alternative(result))


def _layer(rows: list[dict]) -> alt.Chart:
    """Rows with ``t`` and ``y``; scales and axes come from ``_frame``, the first layer of the panel."""
    return alt.Chart(alt.InlineData(values=tuple(rows))).encode(x=alt.X("t:Q"), y=alt.Y("y:Q"))


def _frame(panel: Panel, look: Theme, x: alt.X, title: str, form: str) -> alt.Chart:
    """The panel's fixed axes, without data: they stand before the first point does."""
    return alt.Chart(alt.InlineData(values=[])).mark_point().encode(
        x=x,
        y=alt.Y("y:Q", scale=panel_scale(panel.domain, panel.top, panel.bottom),
                axis=panel_axis(title, panel.top, form, ticks(panel.domain))),
    )  # fmt: skip


def _marked_ends(result: Mapping, asked: Sequence[float], panel: Panel, look: Theme) -> list[alt.Chart]:
    """A thin upright line at each end where the path goes on beyond it."""
    low, high = span([*result.get("t", ()), *asked])
    rows = [{"t": t} for t, beyond in ((0.0, low < 0), (1.0, high > 1)) if beyond]
    ruled = alt.Chart(alt.InlineData(values=rows)).mark_rule(stroke=look.line, strokeWidth=1, opacity=0.6)
    return [ruled.encode(x=alt.X("t:Q"), y=alt.value(panel.top), y2=alt.value(panel.bottom))] if rows else []


def _lines(result: Mapping, asked: Sequence[float], panel: Panel, look: Theme) -> list[alt.Chart]:
    values, mixed = _numbers(result, panel.name), _numbers(result, f"ensemble_{panel.name}")
    pieces = []
    for left, right, whole in segments(list(values), asked):
        count = max(1, round((right - left) / (PIECE if whole else EVERY)))
        for start, end in pairwise(np.linspace(left, right, count + 1).tolist()):
            t = (start, end) if whole else ((start + end - DOT) / 2, (start + end + DOT) / 2)
            y = [values[left] + (one - left) / (right - left) * (values[right] - values[left]) for one in t]
            pieces.append({"t": t[0], "t2": t[1], "y": y[0], "y2": y[1], "at": (start + end) / 2})
    chord = [{"t": t, "y": values[t]} for t in (0.0, 1.0) if {0.0, 1.0} <= set(values)]
    colour = alt.Color("at:Q", scale=way_scale(look), legend=None)
    return [
        _layer(chord).mark_line(stroke=look.line, strokeDash=[5, 4], strokeWidth=1.2),
        _layer([{"t": t, "y": y} for t, y in mixed.items()]).mark_line(stroke=look.line, strokeWidth=1.1),
        _layer(pieces).mark_rule(strokeWidth=look.size / 4.4, strokeCap="round")
        .encode(x2="t2:Q", y2="y2:Q", color=colour),
    ]  # fmt: skip


def _points(result: Mapping, panel: Panel, look: Theme) -> list[alt.Chart]:
    """Circles where points were computed, the ends larger, and wide unseen ones that make hovering easy."""
    told = {name: _numbers(result, name) for name in ("loss", "accuracy", "ensemble_loss", "ensemble_accuracy")}
    rows = [
        {"t": t, "y": y, "rows": len(result.get("rows", ())), **{name: values.get(t) for name, values in told.items()}}
        for t, y in told[panel.name].items()
    ]
    tips = [alt.Tooltip("t:Q", format=".2f"), alt.Tooltip("loss:Q", title=f"loss ({unit(result)})", format=".3f"),
            alt.Tooltip("accuracy:Q", title=share(result), format=".1%"), alt.Tooltip("rows:Q", format=",")]  # fmt: skip
    if told["ensemble_loss"]:
        tips.append(alt.Tooltip("ensemble_loss:Q", title=f"ensemble's loss ({unit(result)})", format=".3f"))
    if told["ensemble_accuracy"]:
        tips.append(alt.Tooltip("ensemble_accuracy:Q", title="ensemble's accuracy", format=".1%"))
    end = "datum.t === 0 || datum.t === 1"
    dots = look.size**2 * (0.3 if len(rows) <= 30 else 0.15)
    seen = _layer(rows).mark_circle(opacity=1, stroke=look.ground, strokeWidth=1).encode(
        color=alt.Color("t:Q", scale=way_scale(look), legend=None), tooltip=tips,
        size=alt.condition(end, alt.value(look.size**2), alt.value(dots)),
    )  # fmt: skip
    return [seen, _layer(rows).mark_circle(opacity=0, size=400).encode(tooltip=tips)]


def _barrier(result: Mapping, panel: Panel, look: Theme) -> list[alt.Chart]:
    """A rule between chord and curve where the rise is highest, with caps, and its number above."""
    values, barrier = _numbers(result, "loss"), (result.get("barrier") or {}).get("loss_chord")
    if not (barrier and {0.0, 1.0, barrier["t"]} <= set(values)):
        return []
    t, bottom = barrier["t"], values[0.0] + barrier["t"] * (values[1.0] - values[0.0])
    top, cap = values[t], 0.012
    rises = abs(float(np.subtract(*panel.pixels(np.array([bottom, top]))))) > 6
    lines = [(t, t, bottom, top), *((t - cap, t + cap, y, y) for y in (bottom, top))] if rises else []
    ruled = _layer([{"t": a, "t2": b, "y": c, "y2": d} for a, b, c, d in lines])
    return [
        ruled.mark_rule(stroke=look.text, strokeWidth=1.3).encode(x2="t2:Q", y2="y2:Q"),
        *_text(panel, look, *_barrier_label(values, barrier), look.text, weight=600),
    ]


def _barrier_label(values: Mapping[float, float], barrier: Mapping) -> tuple[float, float, str, int]:
    """t, y, text and dy of the barrier's label, kept clear of both edges; over the middle if nothing rises."""
    interval = (barrier["low"], barrier["high"])
    value, low, high = (nats(barrier[key], interval) for key in ("value", "low", "high"))
    t = barrier["t"] if 0 < barrier["t"] < 1 else 0.5
    place, chord = min(max(t, WIDE + CLEAR), 1 - WIDE - CLEAR), _along({end: values[end] for end in (0.0, 1.0)})
    beneath = [t for t in (*values, place - WIDE, place, place + WIDE) if abs(t - place) < WIDE + 1e-4]
    top = max(max(_along(values)(t), chord(t)) for t in beneath)
    return place, float(top), f"barrier {value} [{low}, {high}]", -16


def _names(result: Mapping, panel: Panel, look: Theme) -> list[alt.Chart]:
    """The letters of the ends, and "chord" and "ensemble" where they are clear of every line."""
    values, mixed = _numbers(result, "loss"), _numbers(result, "ensemble_loss")
    layers = []
    for name, t, colour, align in zip(ends(way(result)), (0.0, 1.0), (look.a, look.b), ("left", "right"), strict=True):
        if t in values:
            dy = -15 if len(name) == 1 else 22  # a long name beneath, clear of the barrier's number
            layers += _text(panel, look, t, values[t], name, dy, colour, weight=700, align="center" if len(name) == 1 else align)
    if not {0.0, 1.0} <= set(values):
        return layers
    grid = np.linspace(0, 1, 101)
    lines = [_along(values), _along({end: values[end] for end in (0.0, 1.0)})]
    named = [("chord", lines[1], 0.24)]
    if len(mixed) > 1:
        lines.append(_along(mixed))
        named.append(("ensemble", lines[2], 0.74))
    taken = [(float(t), float(panel.pixels(line(t)))) for line in lines for t in grid]
    taken += [(t, float(panel.pixels(values[t])) - 15) for t in (0.0, 1.0)]
    barrier = (result.get("barrier") or {}).get("loss_chord")
    if barrier and barrier["t"] in values:
        t, y, _, dy = _barrier_label(values, barrier)
        taken += [(t + shift, float(panel.pixels(y)) + dy) for shift in np.linspace(-WIDE, WIDE, 25)]
        taken += [(barrier["t"], y) for y in np.linspace(*panel.pixels([lines[1](barrier["t"]), values[barrier["t"]]]), 9)]
    for text, line, wish in named:
        t, dy = clear_place(lambda t, line=line: panel.pixels(line(t)), wish, taken, panel)
        taken += [(t + shift, float(panel.pixels(line(t))) + dy) for shift in (-0.08, -0.04, 0, 0.04, 0.08)]
        layers += _text(panel, look, t, float(line(t)), text, dy, look.quiet)
    return layers


def clear_place(
    line: Callable[[float], float], wish: float, taken: Sequence[tuple[float, float]], panel: Panel
) -> tuple[float, int]:
    """t and dy of a short label beside ``line`` (t → pixel), clear of what is ``taken`` and near ``wish``."""
    best = (-math.inf, wish, -11)
    for t in np.linspace(0.1, 0.9, 41).tolist():
        for dy in (-11, 13):
            y = float(line(t)) + dy
            near = [abs(other - y) for at, other in taken if abs(at - t) < 0.06]
            edge = min(y - panel.top, panel.bottom - y)
            best = max(best, (min([*near, edge, 10]) - 3 * abs(t - wish), t, dy))
    return best[1], best[2]


def _text(
    panel: Panel, look: Theme, t: float, y: float, text: str, dy: int, colour: str, weight: int = 400, align: str = "center"
) -> list[alt.Chart]:
    """A label over a halo of the ground's colour, so that lines pass behind it."""
    base = _layer([{"t": t, "y": y, "text": text}]).encode(text="text:N")
    halo = base.mark_text(dy=dy, align=align, fontWeight=weight, stroke=look.ground, strokeWidth=3, strokeJoin="round", fill=look.ground)
    return [halo, base.mark_text(dy=dy, align=align, fontWeight=weight, color=colour)]


def _baseline(result: Mapping, panel: Panel, look: Theme) -> list[alt.Chart]:
    """Always giving the commonest label, where that accuracy is within view."""
    baseline = result.get("constant_baseline")
    if baseline is None or not panel.domain[0] <= baseline <= panel.domain[1]:
        return []
    low, high = span(result.get("t", ()))
    ruled = _layer([{"t": low, "t2": high, "y": baseline}])
    name = _layer([{"t": low + 0.02, "y": baseline, "text": "always one label"}]).encode(text="text:N")
    return [
        ruled.mark_rule(stroke=look.line, strokeWidth=1, strokeDash=[1, 3], opacity=0.9).encode(x2="t2:Q"),
        name.mark_text(align="left", dy=-7, color=look.quiet, fontSize=look.size - 1.5),
    ]


def _waiting(result: Mapping, asked: Sequence[float], panel: Panel, look: Theme) -> list[alt.Chart]:
    """Small ticks on the axis where points are still to come."""
    to_come = [{"t": t} for t in sorted(same_t(asked) - same_t(result.get("t", ())))]
    marks = alt.Chart(alt.InlineData(values=to_come)).mark_rule(stroke=look.line, strokeWidth=1)
    return [marks.encode(x=alt.X("t:Q"), y=alt.value(panel.bottom), y2=alt.value(panel.bottom + 5))]


def _numbers(result: Mapping, name: str) -> dict[float, float]:
    """t → value in rising t, for those points where it is a finite number."""
    pairs = zip(result.get("t", ()), result.get(name) or (), strict=False)
    return {t: value for t, value in sorted(pairs) if finite(value)}


def _along(values: Mapping[float, float]) -> Callable[[float], float]:
    return lambda t: np.interp(t, list(values), list(values.values()))
