"""Charts of what was forgotten and learned, and of what those rows were like in training: by segment, on a map, in order.

Forgotten is purple and learned green, as right and wrong are in the grid; everything else is grey. Blue and orange stay A and B.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import altair as alt

from mcore.charts.knowledge import Palette, palette
from mcore.charts.theme import Theme, finish, growing, panel_axis, panel_scale, theme, ticks, way_x
from mcore.names import plain, t_text

PICKED = "picked"  # the selection's name in every chart: a segment's number, or a row's place
KINDS = ("forgotten", "learned")
TITLES = {
    "confidence": "Confidence in training", "variability": "Variability in training",
    "correctness": "Correctness in training", "flips": "Flips in training",
}  # fmt: skip
COUNTS, GAP, MEANS = 120, 56, 130  # pixels of the panels by segment
MAP, ORDER = 330, 230
LOOK = {"forgotten": "wrong", "learned": "right"}  # names in the grid's palette
Number = Mapping[str, float | None]  # value, low, high


def segments_chart(
    told: Sequence[Mapping], whole: Number | None, measure: str, chosen: int | None = None, dark: bool = False,
    width: int | str = "container",
) -> alt.LayerChart:  # fmt: skip
    """For each segment how many rows are learned (up) and forgotten (down), and beneath what these were like in training.

    ``told``: ``low``, ``high``, ``forgotten`` and ``learned`` (counts), and, where rows were followed, ``means``: by kind
    ``value``, ``low``, ``high`` and ``rows``. ``whole``: the mean over all followed rows; None: no second panel. A click picks a segment.
    """
    look, bottom = theme(dark), COUNTS + (GAP + MEANS if whole else 0)
    x = way_x(look, {"t": [one[end] for one in told for end in ("low", "high")]})
    layers = [_counts(told, chosen, x, look, dark)]
    if whole:
        layers.append(_means(told, whole, measure, chosen, x, look, dark))
    chart = alt.layer(*layers).resolve_scale(y="independent")
    return finish(chart, look, width, bottom, segments_told(told, whole, measure))


def map_chart(rows: Sequence[Mapping], means: Sequence[Mapping], dark: bool = False, width: int | str = "container") -> alt.LayerChart:
    """The data map (Swayamdipta et al. 2020): variability to the right, confidence upwards, a dot a row.

    ``rows``: ``place``, ``variability``, ``confidence``, ``kind`` ("forgotten", "learned", "" for the others), ``text``, ``id``,
    and ``open`` for the one that is read. ``means``: ``kind``, ``variability``, ``confidence`` of groups, drawn as crosses. A click picks a row.
    """
    look, colours = theme(dark), palette(dark)
    most = max([0.3, *(row["variability"] for row in rows)])
    x = alt.X("variability:Q", scale=alt.Scale(domain=[0, most * 1.04], nice=False),
              axis=alt.Axis(title="variability", titleFontWeight=400, tickCount=5, format=".1f", grid=True, offset=8))  # fmt: skip
    y = alt.Y("confidence:Q", scale=panel_scale((0, 1), 0, MAP), axis=panel_axis("Confidence", 0, ".1f", [0, 0.2, 0.4, 0.6, 0.8, 1]))
    regions = [
        {"variability": most * at, "confidence": level, "text": name}
        for name, at, level in (("easy to learn", 0.5, 0.97), ("ambiguous", 0.9, 0.45), ("hard to learn", 0.5, 0.03))
    ]
    names = alt.Chart(alt.InlineData(values=regions)).mark_text(color=look.quiet, fontStyle="italic").encode(x=x, y=y, text="text:N")
    picked = alt.selection_point(name=PICKED, fields=["place"], on="click", clear=False)
    tips = [alt.Tooltip("id:N", title="row"), alt.Tooltip("confidence:Q", format=".2f"), alt.Tooltip("variability:Q", format=".2f"),
            alt.Tooltip("told:N", title="here"), alt.Tooltip("text:N")]  # fmt: skip
    dots = alt.Chart(alt.InlineData(values=sorted(rows, key=lambda row: row["kind"] != "")), name="dots").mark_circle(stroke=look.ground).encode(
        x=x, y=y, tooltip=tips,
        fill=_kind_colour(alt.Fill, look, colours),
        size=alt.condition("datum.kind !== ''", alt.value(58), alt.value(26)),
        opacity=alt.condition("datum.kind !== ''", alt.value(0.95), alt.value(0.5)),
        strokeWidth=alt.condition("datum.kind !== ''", alt.value(0.8), alt.value(0)),
    ).add_params(picked)  # fmt: skip
    ring = alt.Chart(alt.InlineData(values=[row for row in rows if row.get("open")])).mark_point(
        filled=False, size=190, stroke=look.text, strokeWidth=2).encode(x=x, y=y)  # fmt: skip
    return finish(alt.layer(dots, names, *_crosses(means, x, y, look, colours), ring), look, width, MAP, map_told(rows, means))


def order_chart(
    rows: Sequence[Mapping], measure: str, kept: Number | None, ts: Sequence[float], dark: bool = False, width: int | str = "container"
) -> alt.LayerChart:
    """Each row that is lost, at the t where it is lost first, by what it was like in training; means of each t as ticks.

    ``rows``: ``place``, ``t``, ``value``, ``id``, ``text``, ``open``. ``kept``: the mean of those that the first model masters and
    that are never lost, a dashed line. A dot stands where it is to be seen, within the segment on whose way it was lost.
    """
    look, colours = theme(dark), palette(dark)
    before = dict(zip(ts[1:], ts, strict=False))
    dots = [
        row | {"lost": row["t"], "t": row["t"] - (row["t"] - before.get(row["t"], row["t"])) * (0.12 + 0.76 * _spread(i))}
        for i, row in enumerate(rows)
    ]  # fmt: skip
    values = [row["value"] for row in rows] + ([kept["value"]] if kept else [])
    domain = (0.0, 1.0) if measure in ("confidence", "correctness") else growing([0.0, 0.5 if measure == "variability" else 1.0], values, 0.02, 0)
    x = way_x(look, {"t": list(ts)})
    y = alt.Y("value:Q", scale=panel_scale(domain, 0, ORDER), axis=panel_axis(TITLES[measure], 0, "~g", ticks(domain, 5)))
    picked = alt.selection_point(name=PICKED, fields=["place"], on="click", clear=False)
    tips = [alt.Tooltip("id:N", title="row"), alt.Tooltip("lost:Q", title="lost at t", format=".2f"), alt.Tooltip("value:Q", title=measure, format=".2f"),
            alt.Tooltip("text:N")]  # fmt: skip
    points = alt.Chart(alt.InlineData(values=dots), name="dots").mark_circle(fill=colours.wrong, size=34, stroke=look.ground, strokeWidth=0.5).encode(
        x=x, y=y, tooltip=tips, opacity=alt.value(0.6),
    ).add_params(picked)  # fmt: skip
    ring = alt.Chart(alt.InlineData(values=[dot for dot in dots if dot.get("open")])).mark_point(
        filled=False, size=170, stroke=look.text, strokeWidth=2).encode(x=x, y=y)  # fmt: skip
    layers = [points, *_steps(rows, before, x, y, look), ring]
    if kept:
        line = alt.Chart(alt.InlineData(values=[{"value": kept["value"], "text": "never lost, on average"}])).encode(y=y)
        beside = {"align": "left", "dy": 13 if kept["value"] > sum(domain) / 2 else -8, "color": look.text}
        layers += [line.mark_rule(stroke=look.text, strokeDash=[4, 3], opacity=0.75),
                   line.mark_text(**beside, stroke=look.ground, strokeWidth=3).encode(text="text:N", x=alt.value(6)),
                   line.mark_text(**beside).encode(text="text:N", x=alt.value(6))]  # fmt: skip
    return finish(alt.layer(*layers), look, width, ORDER, order_told(rows, measure, kept))


def segments_told(told: Sequence[Mapping], whole: Number | None, measure: str) -> str:
    """The chart by segment in words."""
    if not told:
        return "Rows forgotten and learned by segment: two points are needed."
    parts = []
    for one in told:
        means = [f"{kind} {plain(mean['value'], 2)}" for kind in KINDS if (mean := (one.get("means") or {}).get(kind))]
        parts.append(f"from t = {t_text(one['low'])} to {t_text(one['high'])} {one['forgotten']:,} forgotten, {one['learned']:,} learned"
                     + (f", mean {measure}: {', '.join(means)}" if means else ""))  # fmt: skip
    beside = f" Mean {measure} of all followed rows: {plain(whole['value'], 2)}." if whole else ""
    return f"Rows newly forgotten and learned by segment: {'; '.join(parts[:60])}.{beside}"


def map_told(rows: Sequence[Mapping], means: Sequence[Mapping]) -> str:
    """The data map in words."""
    counts = ", ".join(f"{sum(row['kind'] == kind for row in rows):,} {kind}" for kind in KINDS)
    groups = "; ".join(
        f"{one['kind'] or 'all'}: confidence {plain(one['confidence'], 2)}, variability {plain(one['variability'], 2)}" for one in means
    )
    return f"Data map of {len(rows):,} rows, variability against confidence in training; {counts}. Means of {groups}."


def order_told(rows: Sequence[Mapping], measure: str, kept: Number | None) -> str:
    """The order of forgetting in words."""
    by_t: dict[float, list[float]] = {}
    for row in rows:
        by_t.setdefault(row["t"], []).append(row["value"])
    parts = [f"at t = {t_text(t)} {len(values):,} rows, mean {plain(sum(values) / len(values), 2)}" for t, values in sorted(by_t.items())]
    never = f" Never lost: mean {plain(kept['value'], 2)}." if kept else ""
    return f"The t at which rows are lost, by their {measure} in training: {'; '.join(parts[:60]) or 'none is lost'}.{never}"


def _counts(told: Sequence[Mapping], chosen: int | None, x: alt.X, look: Theme, dark: bool) -> alt.LayerChart:
    """Learned up, forgotten down, a bar for each segment; a strip behind each takes the click."""
    least = max([4, *(one[kind] for one in told for kind in KINDS)]) // 4  # so that both have room for a word
    gone, come = (max([least, *(one[kind] for one in told)]) for kind in KINDS)
    domain = growing([-gone, come], (), 0.12, -2 * gone, 2 * come)
    bars = [
        {"t": one["low"] + 0.06 * (one["high"] - one["low"]), "t2": one["high"] - 0.06 * (one["high"] - one["low"]), "kind": kind,
         "y": one[kind] * (1 if kind == "learned" else -1), "segment": i, "faint": chosen is not None and chosen != i}
        for i, one in enumerate(told) for kind in KINDS
    ]  # fmt: skip
    strips = [
        {"t": one["low"], "t2": one["high"], "y": domain[0], "y2": domain[1], "segment": i, "from": t_text(one["low"]), "to": t_text(one["high"]),
         "forgotten": one["forgotten"], "learned": one["learned"], "here": chosen == i}
        for i, one in enumerate(told)
    ]  # fmt: skip
    names = [{"y": 0, "text": text, "at": at} for text, at in (("↑ newly learned", 6), ("↓ newly forgotten", COUNTS - 6))]
    scale = panel_scale(domain, 0, COUNTS)
    axis = panel_axis("Rows that change", 0, ",.0f", [tick for tick in ticks(domain, 4) if tick % 1 == 0])
    axis.labelExpr = "format(abs(datum.value), ',.0f')"
    y, colour = alt.Y("y:Q", scale=scale, axis=axis), _kind_colour(alt.Fill, look, palette(dark))
    picked = alt.selection_point(name=PICKED, fields=["segment"], on="click", clear=False)
    tips = [alt.Tooltip("from:N", title="from t"), alt.Tooltip("to:N", title="to t"), *(alt.Tooltip(f"{kind}:Q", format=",") for kind in KINDS)]
    zero = alt.Chart(alt.InlineData(values=[{"y": 0}])).mark_rule(stroke=look.line, strokeWidth=1).encode(y=y)
    return alt.layer(
        alt.Chart(alt.InlineData(values=bars)).mark_rect().encode(
            x=x, x2="t2:Q", y=y, y2=alt.Y2Datum(0), fill=colour, opacity=alt.condition("datum.faint", alt.value(0.4), alt.value(1))),
        zero,
        *[alt.Chart(alt.InlineData(values=[name])).mark_text(align="left", baseline="middle", color=look.quiet, fontSize=11).encode(
            x=alt.value(4), y=alt.value(name["at"]), text="text:N") for name in names],
        alt.Chart(alt.InlineData(values=strips)).mark_rect(fill=look.text, cursor="pointer").encode(
            x=x, x2="t2:Q", y=y, y2="y2:Q", tooltip=tips, opacity=alt.condition("datum.here", alt.value(0.08), alt.value(0.001)),
        ).add_params(picked),
    )  # fmt: skip


def _means(told: Sequence[Mapping], whole: Number, measure: str, chosen: int | None, x: alt.X, look: Theme, dark: bool) -> alt.LayerChart:
    """The mean of each group with its interval, and the band of all followed rows."""
    top, rows = COUNTS + GAP, []
    for i, one in enumerate(told):
        for kind, shift in (("forgotten", -0.1), ("learned", 0.1)):
            if mean := (one.get("means") or {}).get(kind):
                middle = (one["low"] + one["high"]) / 2 + shift * (one["high"] - one["low"])
                rows.append({"t": middle, "y": mean["value"], "low": _or(mean["low"], mean["value"]), "high": _or(mean["high"], mean["value"]),
                             "sure": mean["low"] is not None, "kind": kind, "rows": mean["rows"], "faint": chosen is not None and chosen != i,
                             "from": t_text(one["low"]), "to": t_text(one["high"]), "told": _interval(mean)})  # fmt: skip
    seen = [row[name] for row in rows for name in ("low", "high")]
    domain = (0.0, 1.0) if measure in ("confidence", "correctness") else growing([0.0, 0.3 if measure == "variability" else 1.0], seen, 0.04, 0)
    scale = panel_scale(domain, top, top + MEANS)
    y = alt.Y("y:Q", scale=scale, axis=panel_axis(f"{TITLES[measure]}, mean", top, "~g", ticks(domain, 4)))
    base = alt.Chart(alt.InlineData(values=rows)).encode(x=x, opacity=alt.condition("datum.faint", alt.value(0.35), alt.value(1)))
    band = {"y": _or(whole["low"], whole["value"]), "y2": _or(whole["high"], whole["value"]), "mean": whole["value"]}
    behind = alt.Chart(alt.InlineData(values=[band]))
    near = (domain[1] - whole["value"]) / (domain[1] - domain[0]) < 0.15
    colours = palette(dark)
    tips = [alt.Tooltip("kind:N", title="rows newly"), alt.Tooltip("from:N", title="from t"), alt.Tooltip("to:N", title="to t"),
            alt.Tooltip("rows:Q", title="rows followed", format=","), alt.Tooltip("told:N", title=f"mean {measure}")]  # fmt: skip
    return alt.layer(
        behind.mark_rect(fill=look.line, opacity=0.25).encode(y=y, y2="y2:Q"),
        behind.mark_rule(stroke=look.line, strokeWidth=1.4).encode(y=alt.Y("mean:Q", scale=scale)),
        behind.transform_calculate(text="'all followed rows'").mark_text(align="left", dy=13 if near else -9, color=look.quiet, fontSize=11).encode(
            x=alt.value(4), y=alt.Y("mean:Q", scale=scale), text="text:N"),
        base.mark_rule(strokeWidth=1.8).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q", color=_kind_colour(alt.Color, look, colours)),
        base.mark_circle(size=52, strokeWidth=1.8).encode(
            y=y, stroke=_kind_colour(alt.Stroke, look, colours), tooltip=tips,
            fill=alt.condition("datum.sure", _kind_colour(alt.Fill, look, colours), alt.value(look.ground))),
    )  # fmt: skip


def _steps(rows: Sequence[Mapping], before: Mapping[float, float], x: alt.X, y: alt.Y, look: Theme) -> list[alt.Chart]:
    """The mean of the rows lost at each t, across the segment on whose way they were lost."""
    by_t: dict[float, list[float]] = {}
    for row in rows:
        by_t.setdefault(row["t"], []).append(row["value"])
    steps = [{"t": before.get(t, t), "t2": t, "value": sum(values) / len(values)} for t, values in sorted(by_t.items())]
    joined = [{"t": one["t2"], "value": one["value"], "to": other["value"]} for one, other in pairwise(steps) if one["t2"] == other["t"]]
    line = {"stroke": look.text, "strokeWidth": 2}
    return [
        alt.Chart(alt.InlineData(values=steps)).mark_rule(**line).encode(x=x, x2="t2:Q", y=y),
        alt.Chart(alt.InlineData(values=joined)).mark_rule(**line).encode(x=x, y=y, y2="to:Q"),
    ]


def _crosses(means: Sequence[Mapping], x: alt.X, y: alt.Y, look: Theme, colours: Palette) -> list[alt.Chart]:
    """The mean of each group, a cross with a halo."""
    base = alt.Chart(alt.InlineData(values=list(means))).encode(x=x, y=y)
    tips = [alt.Tooltip("told:N", title="mean of"), alt.Tooltip("confidence:Q", format=".3f"), alt.Tooltip("variability:Q", format=".3f")]
    return [
        base.mark_point(shape="cross", size=210, filled=True, fill=look.ground, opacity=1),
        base.mark_point(shape="cross", size=110, filled=True, opacity=1).encode(fill=_kind_colour(alt.Fill, look, colours, other=look.text), tooltip=tips),
    ]


def _kind_colour(channel: type, look: Theme, colours: Palette, other: str = "") -> Any:
    """Purple for forgotten, green for learned, grey for the others."""
    return channel("kind:N", legend=None, scale=alt.Scale(
        domain=[*KINDS, ""], range=[*(getattr(colours, LOOK[kind]) for kind in KINDS), other or look.line]))  # fmt: skip


def _interval(mean: Number) -> str:
    if mean["low"] is None:
        return f"{plain(mean['value'], 2)}, too few rows for an interval"
    return f"{plain(mean['value'], 2)} ({plain(mean['low'], 2)} to {plain(mean['high'], 2)})"


def _spread(i: int) -> float:
    """Numbers in [0, 1) that keep clear of each other: the golden ratio's multiples."""
    return (i * 0.6180339887498949) % 1


def _or(value: float | None, other: float) -> float:
    return other if value is None else value
