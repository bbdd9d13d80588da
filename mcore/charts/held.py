"""The chart of who holds what along the path. What only A masters is blue and what only B masters orange: here they mean A and B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt

from mcore.charts.theme import finish, panel_axis, panel_scale, theme, way_x
from mcore.knowledge.held import NAMES, WITHIN
from mcore.names import finite, percent, t_text

DRAWN = ("only_a", "only_b", "both", "neither")
SHORT = {"only_a": "only A", "only_b": "only B", "both": "both", "neither": "neither"}
HEIGHT = 240


def held_chart(
    ts: Sequence[float], along: Mapping[str, Sequence[float]], counts: Mapping[str, int], chosen: str = "", dark: bool = False,
    width: int | str = "container",
) -> alt.LayerChart:  # fmt: skip
    """At each t the share that is mastered of what only A, only B, both and neither of the two master. ``along``: by those names.

    A ``chosen`` one is drawn thick; a finer part of the rows (``held.WITHIN``) stands for the group that it belongs to.
    """
    look, chosen = theme(dark), WITHIN.get(chosen, chosen)
    colours = {"only_a": look.a, "only_b": look.b, "both": look.text, "neither": look.line}
    named = [name for name in DRAWN if counts.get(name)]
    rows = [
        {"t": t, "y": share, "who": name, "told": NAMES[name], "rows": counts[name], "thick": name == chosen}
        for name in named for t, share in zip(ts, along[name], strict=True) if finite(share)
    ]  # fmt: skip
    x, colour = way_x(look, {"t": list(ts)}), {"domain": list(DRAWN), "range": [colours[name] for name in DRAWN]}
    y = alt.Y("y:Q", scale=panel_scale((0, 1), 0, HEIGHT), axis=panel_axis("Share of each group that is mastered at t", 0, "~%", [0, 0.5, 1]))
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=x, y=y, color=alt.Color("who:N", legend=None, scale=alt.Scale(**colour)),
        tooltip=[alt.Tooltip("told:N", title="rows that"), alt.Tooltip("rows:Q", title="how many", format=","),
                 alt.Tooltip("t:Q", format=".2f"), alt.Tooltip("y:Q", title="mastered here", format=".1%")],
    )  # fmt: skip
    lines = base.mark_line(clip=False).encode(
        strokeWidth=alt.condition("datum.thick", alt.value(4), alt.value(2)),
        strokeDash=alt.condition("datum.who === 'neither'", alt.value([5, 4]), alt.value([1, 0])),
    )  # fmt: skip
    dots = base.mark_circle(size=34, opacity=1, stroke=look.ground, strokeWidth=0.8)
    return finish(alt.layer(lines, dots, *_names(ts, along, named, look, colours)), look, width, HEIGHT, held_told(ts, along, counts))


def held_told(ts: Sequence[float], along: Mapping[str, Sequence[float]], counts: Mapping[str, int]) -> str:
    """The chart in words."""
    parts = []
    for name in DRAWN:
        if not counts.get(name):
            parts.append(f"{NAMES[name]}: no row")
            continue
        extreme = (max if name == "neither" else min)(range(len(ts)), key=lambda i, name=name: along[name][i])
        told = "at most" if name == "neither" else "at least"
        parts.append(f"{NAMES[name]}: {counts[name]:,} rows, of which {told} {percent(along[name][extreme])} are mastered, at t = {t_text(ts[extreme])}")
    return f"Who masters what along the path from A to B. {'; '.join(parts)}."


def _names(ts: Sequence[float], along: Mapping[str, Sequence[float]], named: Sequence[str], look: object, colours: Mapping[str, str]) -> list[alt.Chart]:
    """Each group's name where its line stands farthest from the others; where it is crowded the legend tells."""
    layers, taken = [], []
    inner = [i for i, t in enumerate(ts) if 0.1 < t < 0.9] or list(range(len(ts)))
    for name in named:
        others = [other for other in named if other != name]
        gaps = {i: min((abs(along[name][i] - along[other][i]) for other in others), default=1.0) for i in inner}
        at = max(gaps, key=gaps.get)
        y = along[name][at]
        if gaps[at] < 0.1 or any(abs(ts[at] - t) < 0.12 and abs(y - other) < 0.12 for t, other in taken):
            continue
        taken.append((ts[at], y))
        row = alt.Chart(alt.InlineData(values=[{"t": ts[at], "y": y, "text": SHORT[name]}])).encode(x="t:Q", y="y:Q", text="text:N")
        style = {"dy": 14 if y > 0.5 else -12, "fontWeight": 600}
        layers += [row.mark_text(stroke=look.ground, strokeWidth=3, fill=look.ground, strokeJoin="round", **style),
                   row.mark_text(color=look.quiet if name == "neither" else colours[name], **style)]  # fmt: skip
    return layers
