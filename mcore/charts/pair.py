"""Two results on one chart: both losses over t with their chords, and in words which of the barriers is higher.

Colour tells where on the way a point lies, as everywhere; the two results are told apart by line and
mark: the first has a whole line with dots, the second a dashed one with open squares, and each is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import altair as alt

from mcore.charts.path import Panel, accuracy_domain, loss_domain
from mcore.charts.theme import Theme, finish, panel_axis, panel_scale, theme, ticks, way_scale, way_x
from mcore.names import finite, nats, percent, share, t_text, unit
from mcore.words import SMALL, is_connected, joins_minima

HIGH, GAP, LOW = 260, 44, 110
STYLES = (("circle", [1, 0], True), ("square", [7, 4], False))  # of the first and the second: mark, dashes, filled


def pair_chart(
    first: Mapping, second: Mapping, dark: bool = False, width: int | str = "container"
) -> alt.LayerChart:
    """Two tasks' entries of results, named 1 and 2."""
    look, both = theme(dark), (first, second)
    loss = Panel("loss", 0, HIGH, _union([loss_domain(one) for one in both]))
    accuracy = Panel("accuracy", HIGH + GAP, HIGH + GAP + LOW, _union([accuracy_domain(one) for one in both]))
    panels = [
        alt.layer(_frame(panel, look, name, form, both), *_curves(both, panel, look))
        for panel, name, form in ((loss, f"Loss ({_either(both, unit)})", ".2~f"), (accuracy, _either(both, share).capitalize(), "~%"))
    ]
    chart = alt.layer(*panels).resolve_scale(y="independent")
    return finish(chart, look, width, HIGH + GAP + LOW, " ".join(["Two results on one chart.", *pair_told(first, second)]))


def _either(both: Sequence[Mapping], name: Callable[[Mapping], str]) -> str:
    """``nats``; ``nats, nats per token`` where the two results are measured in different ways."""
    return ", ".join(dict.fromkeys(map(name, both)))


def pair_told(first: Mapping, second: Mapping) -> list[str]:
    """A sentence on each barrier, one on both, and one where the two were not measured on the same rows."""
    told = [_one_told(number, one) for number, one in ((1, first), (2, second))]
    barriers = [(one.get("barrier") or {}).get("loss_chord") for one in (first, second)]
    if all(barriers) and unit(first) == unit(second):
        told.append(_both_told(*barriers, unit(first)))
    if (first["task"], first["rows"]) != (second["task"], second["rows"]):
        told.append("They were evaluated on different rows: compare the shapes and the barriers, not the heights.")
    return told


def _one_told(number: int, result: Mapping) -> str:
    barrier = (result.get("barrier") or {}).get("loss_chord")
    known = dict(zip(result["t"], result["accuracy"], strict=True))
    ends = f"{share(result)} {percent(known.get(0.0))} at A and {percent(known.get(1.0))} at B"
    if not barrier:
        return f"Result {number} has no barrier yet: it takes both ends and a point between them ({ends})."
    interval = (barrier["low"], barrier["high"])
    value, low, high = (nats(barrier[name], interval) for name in ("value", "low", "high"))
    verdict = {True: "linearly connected", False: "not linearly connected", None: f"undecided at {SMALL} {unit(result)}"}
    return (
        f"Result {number} has a barrier of {value} {unit(result)} (95 % interval {low} to {high}) at t = {t_text(barrier['t'])}: "
        f"{f'{verdict[is_connected(barrier)]}; ' if joins_minima(result) else ''}{ends}."
    )


def _both_told(first: Mapping, second: Mapping, unit: str) -> str:
    apart = second["value"] - first["value"]
    if max(first["low"], second["low"]) <= min(first["high"], second["high"]):
        return f"The barriers differ by {nats(abs(apart))} {unit} and their intervals overlap: these rows do not tell them apart."
    return f"The barrier of result {2 if apart > 0 else 1} is higher by {nats(abs(apart))} {unit}, and the intervals do not overlap."


def _union(domains: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return min(low for low, _ in domains), max(high for _, high in domains)


def _frame(panel: Panel, look: Theme, name: str, form: str, both: Sequence[Mapping]) -> alt.Chart:
    """The panel's fixed axes, without data."""
    return alt.Chart(alt.InlineData(values=[])).mark_point().encode(
        x=way_x(look, both[0], both[1].get("t", ())),
        y=alt.Y("y:Q", scale=panel_scale(panel.domain, panel.top, panel.bottom),
                axis=panel_axis(name, panel.top, form, ticks(panel.domain))),
    )  # fmt: skip


def _curves(both: Sequence[Mapping], panel: Panel, look: Theme) -> list[alt.Chart]:
    layers = []
    for number, (result, (shape, dashes, filled)) in enumerate(zip(both, STYLES, strict=True), 1):
        rows = [
            {"t": t, "y": result[panel.name][i], "loss": result["loss"][i], "accuracy": result["accuracy"][i], "result": number}
            for i, t in enumerate(result["t"])
            if finite(result[panel.name][i])
        ]
        tips = [alt.Tooltip("result:N"), alt.Tooltip("t:Q", format=".2f"), alt.Tooltip("loss:Q", title=f"loss ({unit(result)})", format=".3f"),
                alt.Tooltip("accuracy:Q", title=share(result), format=".1%")]  # fmt: skip
        base = _layer(rows)
        colour = alt.Color("t:Q", scale=way_scale(look), legend=None)
        inside = {} if filled else {"fill": look.ground}
        dots = base.mark_point(filled=filled, shape=shape, size=65, opacity=1, strokeWidth=1.6, **inside)
        layers += [
            _layer([row for row in rows if row["t"] in (0, 1)]).mark_line(stroke=look.line, strokeDash=[2, 4], strokeWidth=1),
            base.mark_line(stroke=look.text, strokeDash=dashes, strokeWidth=1.8, opacity=0.85),
            dots.encode(color=colour),
            base.mark_circle(opacity=0, size=400).encode(tooltip=tips),
        ]
    return [*layers, *(_names(both, panel, look) if panel.name == "loss" else [])]


def _names(both: Sequence[Mapping], panel: Panel, look: Theme) -> list[alt.Chart]:
    """The numbers 1 and 2 beside their lines where these lie farthest apart, cut free of what passes behind."""
    curves = [{t: y for t, y in zip(one["t"], one["loss"], strict=True) if finite(y)} for one in both]
    shared = sorted(t for t in set(curves[0]) & set(curves[1]) if 0.05 < t < 0.95)
    at = max(shared, key=lambda t: (abs(curves[0][t] - curves[1][t]), -abs(t - 0.5)), default=None)
    layers = []
    for number, curve in enumerate(curves, 1):
        inside = [t for t in curve if 0.05 < t < 0.95] or list(curve)
        if not inside:
            continue
        t = at if at is not None else min(inside, key=lambda t: abs(t - 0.5))
        other = curves[2 - number].get(t)
        above = number == 1 if other is None or other == curve[t] else curve[t] > other
        text = _layer([{"t": t, "y": curve[t], "text": str(number)}]).encode(text="text:N")
        style = {"dy": -16 if above else 18, "fontWeight": 700, "fontSize": look.size + 2}
        layers += [text.mark_text(stroke=look.ground, strokeWidth=4, fill=look.ground, **style), text.mark_text(color=look.text, **style)]
    return layers


def _layer(rows: list[dict]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows)).encode(x=alt.X("t:Q"), y=alt.Y("y:Q"))
