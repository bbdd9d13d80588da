"""What the layers hold along a path, headless: a map of CKA by layer and t, and the read-out of one layer; in words too.

``told`` is the part of a result that ``mcore.layers.represented`` makes, with the ``way`` of the path beside it where that is not straight.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import altair as alt

from mcore.charts.theme import (
    PAPER,
    Theme,
    finish,
    growing,
    panel_axis,
    panel_scale,
    step_of,
    theme,
    ticks,
    way_axis,
    way_scale,
    way_x,
)
from mcore.names import finite, percent, plain, t_text
from mcore.paths.ways import endpoints, ends, span, way

ROW, LOW_ROW, MANY = 24, 15, 14  # pixels of a layer, and of one among more than ``MANY``
NUMBERED = 7  # t, at the most, with which a number has room in each cell
NARROW = 0.01  # the least that a map's colours span
PANEL = 230


def cka_chart(told: Mapping, side: str, dark: bool = False, width: int | str = "container") -> alt.LayerChart:
    """CKA with A ("a") or B ("b"): t to the right, layers upwards, the stronger the colour the more alike."""
    return _cka(told, side, theme(dark), width)


def readout_chart(told: Mapping, layer: str, dark: bool = False, width: int | str = "container") -> alt.LayerChart:
    """What a read-out of one layer tells right at each t, with its control; the scale holds the read-outs of every layer."""
    return _readout(told, layer, theme(dark), width)


def cka_figure(told: Mapping, side: str, width: int = 330) -> alt.LayerChart:
    """A map for one column of a paper, with what its colours mean above it."""
    chart, named = _cka(told, side, PAPER, width), f"CKA with {side.upper()}, from {lowest(told):.3g} (faint) to 1"
    chart.title = alt.Title(named, anchor="start", fontSize=PAPER.size, fontWeight=600, font=PAPER.font)
    return chart


def readout_figure(told: Mapping, layer: str, width: int = 330) -> alt.LayerChart:
    """A read-out for one column of a paper."""
    return _readout(told, layer, PAPER, width)


def _cka(told: Mapping, side: str, look: Theme, width: int | str) -> alt.LayerChart:
    ts, layers = list(told["t"]), list(told["layers"])
    edges, low = _edges(ts), lowest(told)
    cells = [
        {"t": t, "from": edges[i], "to": edges[i + 1], "layer": layer, "cka": value, "shown": plain(value, 2)}
        for i, t in enumerate(ts)
        for layer, value in zip(layers, told[f"cka_{side}"][i], strict=True)
    ]
    height = (ROW if len(layers) <= MANY else LOW_ROW) * max(1, len(layers))
    x = alt.X("from:Q", scale=alt.Scale(domain=[edges[0], edges[-1]], nice=False), axis=way_axis(look, told, span(ts)))
    y = alt.Y("layer:N", sort=layers[::-1], title=None, axis=alt.Axis(labelLimit=90, labelColor=look.text, labelOverlap=True, grid=False))
    colours = alt.Scale(domain=[low, 1], range=[look.grid, look.a if side == "a" else look.b], clamp=True, interpolate="rgb")
    base = alt.Chart(alt.InlineData(values=cells))
    tips = [alt.Tooltip("layer:N"), alt.Tooltip("t:Q", format=".2f"), alt.Tooltip("cka:Q", title=f"CKA with {side.upper()}", format=".3f")]
    there, nothing = "isValid(datum.cka)", "!isValid(datum.cka)"
    rects = base.transform_filter(there).mark_rect(stroke=look.ground, strokeWidth=0.6).encode(
        x=x, x2="to:Q", y=y, color=alt.Color("cka:Q", scale=colours, legend=None), tooltip=tips
    )
    layers_drawn = [rects]
    middle = alt.X("t:Q", scale=alt.Scale(domain=[edges[0], edges[-1]], nice=False))
    if 0 < len(ts) <= NUMBERED:
        strong = f"datum.cka > {low + 0.6 * (1 - low):.6f}"
        numbers = base.transform_filter(there).mark_text(fontSize=10.5)
        layers_drawn.append(numbers.encode(x=middle, y=y, text="shown:N", color=alt.condition(strong, alt.value(look.ground), alt.value(look.text))))
    dashes = base.transform_filter(nothing).mark_text(color=look.quiet)
    layers_drawn.append(dashes.encode(x=middle, y=y, text=alt.value("–"), tooltip=[alt.Tooltip("layer:N"), alt.Tooltip("t:Q", format=".2f")]))
    return finish(alt.layer(*layers_drawn), look, width, height, " ".join([f"CKA with {side.upper()} by layer and t.", *_side_told(told, side)]))


def _readout(told: Mapping, layer: str, look: Theme, width: int | str) -> alt.LayerChart:
    ts, share = list(told["t"]), told["measure"] == "accuracy"
    place, chance = list(told["layers"]).index(layer), told.get("constant_baseline")
    every = [value for name in ("readout", "control") for of_t in told[name] for value in of_t if finite(value)]
    every = [max(value, -0.2) for value in every] + [value for value in (chance, 0.0 if not share else None) if value is not None]
    domain = growing([min(every, default=0.0), max(every, default=1.0)], (), 0.06, 0 if share else -0.25, 1)
    form = "~%" if share else ".2~f"
    x, axis = way_x(look, told), panel_axis(f"{_capital(told['measure'])} of the read-out of {_the(layer)}", 0, form, ticks(domain))
    scale = panel_scale(domain, 0, PANEL)

    def rows(name: str, column: int) -> list[dict]:
        found = [{"t": t, "y": of_t[column], "control": told["control"][i][column]} for i, (t, of_t) in enumerate(zip(ts, told[name], strict=True))]
        return [row for row in found if finite(row["y"])]

    def drawn(values: list[dict]) -> alt.Chart:
        return alt.Chart(alt.InlineData(values=values)).encode(x=x, y=alt.Y("y:Q", scale=scale, axis=axis))

    others = [drawn(rows("readout", i)).mark_line(stroke=look.grid, strokeWidth=1.4, clip=True) for i in range(len(told["layers"])) if i != place]
    read, control = drawn(rows("readout", place)), rows("control", place)
    tips = [alt.Tooltip("t:Q", format=".2f"), alt.Tooltip("y:Q", title=told["measure"], format=".1%" if share else ".3f"),
            alt.Tooltip("control:Q", title="control", format=".1%" if share else ".3f")]  # fmt: skip
    lines = [*others, drawn(control).mark_line(stroke=look.line, strokeWidth=1.8, clip=True)]
    over = chance is None or (bool(control) and control[0]["y"] > chance)  # the higher line has its name above it
    names = [(control[0]["t"], control[0]["y"], "shuffled labels", "left", -9 if over else 11)] if control else []
    if chance is not None and ts:
        lines.append(drawn([{"t": t, "y": chance} for t in (ts[0], ts[-1])]).mark_line(stroke=look.line, strokeDash=[3, 4], strokeWidth=1.2))
        names.append((ts[-1], chance, "always one label", "right", 11 if over else -9))
    dots = read.mark_circle(opacity=1, stroke=look.ground, strokeWidth=1).encode(
        color=alt.Color("t:Q", scale=way_scale(look), legend=None), tooltip=tips,
        size=alt.condition("datum.t === 0 || datum.t === 1", alt.value(130), alt.value(50)),
    )  # fmt: skip
    lines += [read.mark_line(stroke=look.text, strokeWidth=1.8, opacity=0.85), dots]
    lines += [one for name in names for one in _name(drawn, look, *name)]
    return finish(alt.layer(*lines), look, width, PANEL, readout_told(told, layer))


def lowest(told: Mapping) -> float:
    """Where the colours of both maps begin: a round value at or below the least of either."""
    every = [value for side in "ab" for of_t in told[f"cka_{side}"] for value in of_t if value is not None]
    span = max(NARROW, 1 - min(every, default=0.0))
    step = step_of(span)
    return round(max(0.0, 1 - step * math.ceil(span / step - 1e-9)), 10)


def cka_told(told: Mapping) -> list[str]:
    """A sentence on the ends, one on what lies between them."""
    names, found = list(told["layers"]), []
    between = _at(told, "cka_a", 1.0) if len(endpoints(way(told))) == 2 else None
    if between and (pairs := [(value, name) for value, name in zip(between, names, strict=True) if value is not None]):
        (least, where), (most, there) = min(pairs), max(pairs)
        also = f" and most in {_the(there)} ({plain(most, 2)})" if where != there else ""
        found.append(f"The features of A and B themselves are least alike in {_the(where)} (CKA {plain(least, 2)}){also}.")
    inside = [(i, t) for i, t in enumerate(told["t"]) if 0 < t < 1]
    nearest = [
        (max(a, b), a, b, names[k], t)
        for i, t in inside
        for k, (a, b) in enumerate(zip(told["cka_a"][i], told["cka_b"][i], strict=True))
        if a is not None and b is not None
    ]
    if nearest:
        _, a, b, name, t = min(nearest)
        farthest = f"{_the(name)} {'are' if name == 'embeddings' else 'is'} farthest from both"
        found.append(f"On the way {farthest} at t = {t_text(t)}: {plain(a, 2)} with A, {plain(b, 2)} with B.")
    return found


def readout_told(told: Mapping, layer: str) -> str:
    """What is read out of a layer: at both ends, where it is least, and by the control."""
    place, rows = list(told["layers"]).index(layer), [(t, of_t[list(told["layers"]).index(layer)]) for t, of_t in zip(told["t"], told["readout"], strict=True)]
    known = {t: value for t, value in rows if finite(value)}
    if not known:
        return f"Read-out of {_the(layer)}: nothing is computed yet."
    named = [f"{_value(told, known[t])} at {name}" for t, name in zip((0.0, 1.0), ends(way(told)), strict=True) if t in known]
    inside = {t: value for t, value in known.items() if 0 < t < 1}
    if inside:
        t = min(inside, key=inside.get)
        named.append(f"between them at least {_value(told, inside[t])}, at t = {t_text(t)}")
    control = [of_t[place] for of_t in told["control"] if finite(of_t[place])]
    against = f" With shuffled labels it is {_value(told, sum(control) / len(control))} on average." if control else ""
    return f"{_capital(told['measure'])} of a read-out of {_the(layer)}: {', '.join(named)}.{against}"


def margin(told: Mapping) -> str:
    """How far such an accuracy may be off by the choice of rows: half of the 95 % interval of Agresti and Coull around the middle one."""
    every = [value for of_t in told["readout"] for value in of_t if finite(value)]
    if told["measure"] != "accuracy" or not every or not told["rows"]:
        return ""
    rows = len(told["rows"]) + 4
    middle = (sorted(every)[len(every) // 2] * (rows - 4) + 2) / rows
    return f"± {plain(196 * math.sqrt(middle * (1 - middle) / rows), 1)} points"


def _side_told(told: Mapping, side: str) -> list[str]:
    cells = [
        (value, layer, t)
        for t, of_t in zip(told["t"], told[f"cka_{side}"], strict=True)
        for layer, value in zip(told["layers"], of_t, strict=True)
        if value is not None
    ]
    if not cells:
        return ["Nothing is computed yet."]
    value, layer, t = min(cells)
    return [f"Least alike: {_the(layer)} at t = {t_text(t)}, {plain(value, 2)}.", *cka_told(told)]


def _at(told: Mapping, name: str, t: float) -> Sequence[float | None] | None:
    return told[name][list(told["t"]).index(t)] if t in told["t"] else None


def _edges(ts: Sequence[float]) -> list[float]:
    """Where one cell ends and the next begins: halfway between neighbours."""
    if len(ts) < 2:
        return [-0.05, 1.05] if not ts else [ts[0] - 0.05, ts[0] + 0.05]
    between = [(left + right) / 2 for left, right in pairwise(ts)]
    return [2 * ts[0] - between[0], *between, 2 * ts[-1] - between[-1]]


def _the(layer: str) -> str:
    return "the embeddings" if layer == "embeddings" else layer


def _capital(measure: str) -> str:
    return measure[:1].upper() + measure[1:]


def _value(told: Mapping, value: float) -> str:
    return percent(value) if told["measure"] == "accuracy" else plain(value, 2)


def _name(drawn, look: Theme, t: float, y: float, text: str, align: str, dy: int) -> list[alt.Chart]:
    """A name beside a line, cut free of what passes behind."""
    base = drawn([{"t": t, "y": y, "text": text}]).encode(text="text:N")
    style = {"align": align, "dy": dy, "dx": 6 if align == "left" else -6, "fontSize": 11}
    return [base.mark_text(stroke=look.ground, strokeWidth=4, fill=look.ground, **style), base.mark_text(color=look.quiet, **style)]
