"""The figure of a finding: a value for each seed and group, their mean with Student's interval; or a line for each seed over t.

What the claim puts above the rest is drawn in the text's colour, the rest in grey; blue and orange stay with A and B. Data in,
chart out: panels are ``findings.finding.Panel`` as plain values, rows ``findings.finding.Row`` likewise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import altair as alt

from mcore.charts.theme import PAPER, Theme, finish, growing, panel_axis, panel_scale, theme, ticks, way_axis
from mcore.evaluation.intervals import FEWEST, student
from mcore.names import percent, plain

EVERY, ABOVE, BELOW = 38, 22, 26  # pixels: from group to group, for the title, for the axis
TALL = 210  # of a panel with lines
LABEL = 150  # pixels for a group's name


def finding_chart(panel: Mapping, rows: Sequence[Mapping], beside: Sequence[Mapping] = (), dark: bool = False, width: int | str = "container") -> alt.LayerChart:
    """One panel. ``beside``: rows of another run, whose values the axis holds too, so that two charts can be compared."""
    return _chart(panel, rows, beside, theme(dark), width)


def figure(panel: Mapping, rows: Sequence[Mapping], width: int = 420) -> alt.LayerChart:
    """The same for paper: white, black text."""
    return _chart(panel, rows, (), PAPER, width)


def finding_told(panel: Mapping, rows: Sequence[Mapping]) -> str:
    """The chart in words."""
    if not panel["groups"]:
        return f"{panel['title']} over t, a line for each of {len({row['seed'] for row in rows})} seeds."
    told = [f"{group}: {_mean_told(panel, found)}" for group in panel["groups"] if (found := _values(rows, panel, group))]
    return f"{panel['title']} by group, a dot for each seed. " + ("; ".join(told) + "." if told else "Nothing is there yet.")


def _mean_told(panel: Mapping, values: Sequence[float]) -> str:
    write = percent if panel.get("percent") else lambda number: plain(number, 3)
    mean = write(sum(values) / len(values))
    if len(values) < FEWEST:
        return mean
    found = student(values)
    return f"{mean} ({write(found.low)} to {write(found.high)}, {len(values)} seeds)"


def _values(rows: Sequence[Mapping], panel: Mapping, group: str | None = None) -> list[float]:
    return [row["value"] for row in rows if row["panel"] == panel["name"] and group in (None, row["x"])]


def _ends(values: Sequence[float]) -> tuple[float, ...]:
    return (student(values).low, student(values).high) if len(values) >= FEWEST else ()


def _chart(panel: Mapping, rows: Sequence[Mapping], beside: Sequence[Mapping], look: Theme, width: int | str) -> alt.LayerChart:
    mine = [dict(row) for row in rows if row["panel"] == panel["name"]]
    bound = [panel["bound"]] if panel.get("bound") is not None else []
    every = [0.0, *bound, *(_values([*rows, *beside], panel) or [1.0])]
    below = min(every) < 0
    for some in (rows, beside):  # what is never below 0 has intervals that are cut there
        every += [end for group in panel["groups"] for end in _ends(_values(some, panel, group)) if end > 0 or below]
    domain = growing(every, (), 0.06, floor=-math.inf if below else 0.0)
    layers, height = _groups(panel, mine, domain, look) if panel["groups"] else _lines(panel, mine, domain, look)
    return finish(alt.layer(*layers), look, width, height, finding_told(panel, rows))


def _layer(rows: Sequence[Mapping]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=list(rows)))


def _tips(panel: Mapping) -> list[alt.Tooltip]:
    what = alt.Tooltip("x:N", title="group") if panel["groups"] else alt.Tooltip("x:Q", title="t", format=".2f")
    form = ".1%" if panel.get("percent") else ".4f"
    return [what, alt.Tooltip("seed:Q", format="d"), alt.Tooltip("value:Q", format=form), alt.Tooltip("question:N")]


def _groups(panel: Mapping, rows: list[dict], domain: tuple[float, float], look: Theme) -> tuple[list[alt.Chart], int]:
    """Groups beneath one another, values to the right: names of any length have room."""
    groups, strong = list(panel["groups"]), set(panel["strong"])
    height = EVERY * len(groups)
    y = alt.Y("x:N", sort=groups, scale=alt.Scale(domain=groups, padding=0.5), axis=alt.Axis(
        title=None, labelLimit=LABEL, labelColor=look.text, domain=False, ticks=False, grid=False, labelPadding=10,
    ))  # fmt: skip
    x = alt.X("value:Q", scale=alt.Scale(domain=list(domain), nice=False, zero=False), axis=alt.Axis(
        title=panel["title"], format="~%" if panel.get("percent") else "~g", values=ticks(domain, 4), grid=True, titlePadding=8,
    ))  # fmt: skip
    means = [_mean(group, found, group in strong) for group in groups if (found := _values(rows, panel, group))]
    colour = alt.condition("datum.strong", alt.value(look.text), alt.value(look.quiet))
    for row in rows:
        row["strong"] = row["x"] in strong
    layers = [
        _layer([]).mark_point().encode(x=x, y=y),
        *_bounds(panel, look, height),
        _layer(rows).mark_line(stroke=look.line, strokeWidth=1, opacity=0.45).encode(x="value:Q", y=alt.Y("x:N", sort=groups), detail="seed:N", order=alt.Order("place:Q")),
        _layer(means).mark_rule(strokeWidth=6, opacity=0.28, clip=True).encode(x="low:Q", x2="high:Q", y=alt.Y("x:N", sort=groups), color=colour),
        _layer(rows).mark_circle(size=46, opacity=0.75, stroke=look.ground, strokeWidth=0.8).encode(x="value:Q", y=alt.Y("x:N", sort=groups), color=colour),
        _layer(means).mark_tick(thickness=3, size=22).encode(x="value:Q", y=alt.Y("x:N", sort=groups), color=colour),
        _layer(rows).mark_circle(opacity=0, size=260).encode(x="value:Q", y=alt.Y("x:N", sort=groups), tooltip=_tips(panel)),
    ]
    for row in rows:
        row["place"] = groups.index(row["x"]) if row["x"] in groups else len(groups)
    return layers, height


def _mean(group: str, values: Sequence[float], strong: bool) -> dict:
    """The mean, and its interval cut to nothing where one seed has none."""
    found = student(values) if len(values) >= FEWEST else None
    mean = sum(values) / len(values)
    return {"x": group, "value": mean, "low": found.low if found else mean, "high": found.high if found else mean, "strong": strong}


def _bounds(panel: Mapping, look: Theme, height: int) -> list[alt.Chart]:
    """An upright line at 0, and a dashed one at the value that has a meaning of its own, with its name."""
    layers = [_layer([{"value": 0.0}]).mark_rule(stroke=look.line, strokeWidth=1.2).encode(x="value:Q")]
    if panel.get("bound") is not None:
        at = _layer([{"value": panel["bound"], "text": panel.get("bound_name", "")}]).encode(x="value:Q")
        layers += [
            at.mark_rule(stroke=look.line, strokeWidth=1.2, strokeDash=[4, 4]),
            at.mark_text(align="left", baseline="top", dx=5, color=look.quiet).encode(text="text:N", y=alt.value(2)),
        ]
    return layers


def _lines(panel: Mapping, rows: list[dict], domain: tuple[float, float], look: Theme) -> tuple[list[alt.Chart], int]:
    """A line for each seed from A to B, and their mean."""
    frame = _layer([]).mark_point().encode(
        x=alt.X("x:Q", scale=alt.Scale(domain=[0, 1], nice=False), axis=way_axis(look)),
        y=alt.Y("value:Q", scale=panel_scale(domain, 0, TALL), axis=panel_axis(panel["title"], 0, "~%" if panel.get("percent") else "~g", ticks(domain, 4))),
    )  # fmt: skip
    by_t: dict[float, list[float]] = {}
    for row in rows:
        by_t.setdefault(row["x"], []).append(row["value"])
    means = [{"x": t, "value": sum(found) / len(found)} for t, found in sorted(by_t.items())]
    return [
        frame,
        _layer(rows).mark_line(stroke=look.quiet, strokeWidth=1, opacity=0.6).encode(x="x:Q", y="value:Q", detail="seed:N"),
        _layer(means).mark_line(stroke=look.text, strokeWidth=2.6).encode(x="x:Q", y="value:Q"),
        _layer(rows).mark_circle(opacity=0, size=200).encode(x="x:Q", y="value:Q", tooltip=_tips(panel)),
    ], TALL
