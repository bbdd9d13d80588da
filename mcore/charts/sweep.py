"""The sweep over a model's parts: the barrier that each meets alone, and beneath it what its end costs, from the embeddings to the head.

Rows as ``sweep.rows`` has them, a chart out. Every part has its place from the start; one that is still asked for has a dotted foot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt

from mcore.charts.theme import PAPER, Theme, finish, growing, panel_axis, panel_scale, theme, ticks
from mcore.glossary import SMALL
from mcore.names import finite, nats, percent, t_text, unit
from mcore.words import joins_minima

PICK = "part"  # the selection: the name of a clicked part
HIGH, GAP, LOW = 230, 46, 100
LABELLED = 16  # parts, up to which each has its number above it
LABEL = "split(replace(replace(datum.label, 'layer ', ''), 'feed-', 'feed- '), ' ')"  # a layer's number; what is long on two lines
NARROW = f"width < 44 * length(domain('x')) ? split(replace(replace(replace(datum.label, 'layer ', ''), 'embeddings', 'emb.'), 'feed-', 'feed- '), ' ') : {LABEL}"


def sweep_chart(
    table: Sequence[Mapping], entry: Mapping, rest: str, chosen: str | None = None, dark: bool = False, width: int | str = "container"
) -> alt.LayerChart:
    """``entry``: one task's entry of a result, which tells what its losses are; ``rest``: the end that all parts share; ``chosen``: the part that is looked at."""
    return _chart(table, entry, rest, chosen, theme(dark), width, (HIGH, GAP, LOW), pick=True)


def sweep_figure(table: Sequence[Mapping], entry: Mapping, rest: str, width: int = 330) -> alt.LayerChart:
    """The same for one column of a paper."""
    return _chart(table, entry, rest, None, PAPER, width, (150, 40, 70), pick=False)


def sweep_told(table: Sequence[Mapping], entry: Mapping, rest: str) -> str:
    """The chart in words."""
    known = [row for row in table if finite(row["barrier"])]
    if not known:
        return "Barrier of each part of the model, moved alone: none is computed yet."
    parts = [f"{row['part']} {nats(row['barrier'], (row['low'], row['high']))}" for row in known]
    left = f"; {len(table) - len(known)} still to come" if len(known) < len(table) else ""
    return f"Barrier in {unit(entry)} of each part of the model that goes alone from {'A to B' if rest == 'a' else 'B to A'}: {', '.join(parts)}{left}."


def _chart(
    table: Sequence[Mapping], entry: Mapping, rest: str, chosen: str | None, look: Theme, width: int | str, heights: tuple[int, int, int], pick: bool
) -> alt.LayerChart:
    high, gap, low = heights
    names, known = [row["part"] for row in table], [_told(row, entry) for row in table if finite(row["barrier"])]
    x, measure = _x(names, look), unit(entry)
    barriers = growing([0.0, 0.1], [row["high"] for row in known], 0.06, 0.0)
    changes = growing([0.0, 0.1], [row["change"] for row in known], 0.06, -1e18)
    below = (high + gap, high + gap + low)
    stays, other = "AB" if rest == "a" else "BA"
    top = [_frame(x, barriers, (0, high), f"Barrier, moved alone ({measure})")]
    if joins_minima(entry) and barriers[1] > SMALL:
        top.append(_level(SMALL, look))
    top += [
        _waiting(x, [name for name in names if name not in {row["part"] for row in known}], high, look),
        _bars(x, known, "barrier", look.line, look, chosen),
        _over(x, known).mark_rule(stroke=look.text, strokeWidth=1.3).encode(y="low:Q", y2="high:Q"),
    ]
    if len(names) <= LABELLED:
        top.append(_over(x, known).mark_text(dy=-7, color=look.text, fontSize=look.size - 1).encode(y="high:Q", text="told:N"))
    end = [
        _frame(x, changes, below, f"Change of loss with {other}'s part in {stays} ({measure})"),
        _bars(x, known, "change", look.b if rest == "a" else look.a, look, chosen),
        alt.Chart(alt.InlineData(values=[{"zero": 0}])).mark_rule(stroke=look.line, strokeWidth=1).encode(y="zero:Q"),
    ]
    chart = alt.layer(alt.layer(*top), alt.layer(*end), *_clicks(x, known, below[1], pick)).resolve_scale(y="independent")
    return finish(chart, look, width, below[1], sweep_told(table, entry, rest))


def _told(row: Mapping, entry: Mapping) -> dict:
    interval = (row["low"], row["high"])
    return {
        **row, "zero": 0.0, "told": nats(row["barrier"], interval), "interval": f"{nats(row['low'], interval)} to {nats(row['high'], interval)}",
        "at": t_text(row["t"]), "cost": nats(row["change"]), "right": f"{percent(row['accuracy_rest'])} → {percent(row['accuracy_moved'])}",
    }  # fmt: skip


def _x(names: Sequence[str], look: Theme) -> alt.X:
    axis = alt.Axis(
        title="layer" if any(name.startswith("layer ") for name in names) else None, titleFontWeight=400, labelAngle=0, labelExpr=NARROW,
        labelColor=look.text, labelOverlap=False, labelLimit=90, grid=False, offset=6,
    )  # fmt: skip
    return alt.X("part:N", sort=None, scale=alt.Scale(domain=list(names), paddingInner=0.34, paddingOuter=0.2), axis=axis)


def _frame(x: alt.X, domain: tuple[float, float], pixels: tuple[float, float], title: str) -> alt.Chart:
    axis = panel_axis(title, pixels[0], ".2~f", ticks(domain, 4))
    return alt.Chart(alt.InlineData(values=[])).mark_point().encode(x=x, y=alt.Y("y:Q", scale=panel_scale(domain, *pixels), axis=axis))


def _over(x: alt.X, rows: Sequence[Mapping]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=list(rows))).encode(x=x)


def _bars(x: alt.X, rows: Sequence[Mapping], field: str, colour: str, look: Theme, chosen: str | None) -> alt.Chart:
    rows = [row | {"seen": 1.0 if chosen in (None, row["part"]) else 0.5} for row in rows]
    bars = _over(x, rows).mark_bar(color=colour, cornerRadius=1.5)
    return bars.encode(y=alt.Y(f"{field}:Q"), y2="zero:Q", opacity=alt.Opacity("seen:Q", scale=None))


def _waiting(x: alt.X, names: Sequence[str], bottom: float, look: Theme) -> alt.Chart:
    """A dotted foot where a part is still to come."""
    marks = _over(x, [{"part": name} for name in names]).mark_text(text="· · ·", color=look.quiet, baseline="bottom", fontSize=look.size)
    return marks.encode(y=alt.value(bottom - 2))


def _level(y: float, look: Theme) -> alt.Chart:
    """Up to where two minima are called connected."""
    ruled = alt.Chart(alt.InlineData(values=[{"y": y}])).encode(y=alt.Y("y:Q"))
    return ruled.mark_rule(stroke=look.line, strokeWidth=1, strokeDash=[1, 3])


def _clicks(x: alt.X, rows: Sequence[Mapping], bottom: float, pick: bool) -> list[alt.Chart]:
    """Over the whole height of a part: what its numbers are, and the click that looks at its curve."""
    tips = [
        alt.Tooltip("part:N"), alt.Tooltip("told:N", title="barrier"), alt.Tooltip("interval:N", title="95 % interval"), alt.Tooltip("at:N", title="at t"),
        alt.Tooltip("cost:N", title="change of loss at the end"), alt.Tooltip("right:N", title="right"),
    ]  # fmt: skip
    unseen = _over(x, rows).mark_bar(opacity=0, cursor="pointer").encode(y=alt.value(0), y2=alt.value(bottom), tooltip=tips)
    return [unseen.add_params(alt.selection_point(name=PICK, fields=["part"], on="click", toggle=False, clear=False))] if pick else []
