"""Charts over pre-training steps: barriers or what is kept of two tasks at each, on a symlog axis; and both tasks along t, a panel each.

Data as ``bystep.answer`` has them, charts out. Every pair is a faint dot, which a click follows to its own curve, the mean of a step a large one
with its interval. What the tuned models reached stands beneath: a barrier between models that have learned nothing says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np

from mcore.charts.theme import PAPER, Theme, finish, growing, panel_axis, panel_scale, theme, ticks
from mcore.names import nats, percent

TITLES = {
    "loss_chord": "Barrier between two seeds (nats above the chord)",
    "loss_mean": "Barrier between two seeds (nats above the ends' mean)",
    "accuracy_chord": "Accuracy lost between two seeds (below the chord)",
    "best": "What one model on the line keeps of both tasks",
    "average": "What is kept of both tasks, mean over t",
}
KINDS = {"best": "tasks", "average": "tasks"}
HIGH, GAP, LOW = 240, 44, 90
PANEL = 150  # pixels that a panel over t is high
BESIDE = 9  # pixels that the dots of pairs stand to the right of their mean
EVEN = 0.5  # of both tasks, where one is plainly traded for the other


def steps_chart(
    answer: Mapping, measure: str, dark: bool = False, links: Mapping[str, str] | None = None, width: int | str = "container"
) -> alt.LayerChart:
    """``measure``: one of ``TITLES``. The axis holds every step that is asked, also while none is there.

    ``links``: where a click on a pair leads, by the pair's name.
    """
    return _steps(answer, measure, theme(dark), width, (HIGH, GAP, LOW), links)


def steps_figure(answer: Mapping, measure: str, width: int = 330) -> alt.LayerChart:
    """The same for one column of a paper."""
    return _steps(answer, measure, PAPER, width, (165, 40, 60))


def boundary_chart(
    answer: Mapping, step: int, dark: bool = False, links: Mapping[str, str] | None = None, width: int | str = "container"
) -> alt.LayerChart:
    """What is kept of both tasks along t, of the pairs from one step."""
    look = theme(dark)
    return finish(_panel(answer, step, look, PANEL, links), look, width, PANEL, boundary_told(answer, step))


def boundary_figure(answer: Mapping, columns: int = 3) -> alt.TopLevelMixin:
    """All panels on one white sheet."""
    panels = [_panel(answer, step, PAPER, 110).properties(width=150, height=110) for step in answer["steps"]]
    whole, empty = alt.concat(*panels, columns=columns, spacing=28), finish(alt.layer(_blank()), PAPER, 150, 110)
    return whole.properties(background=PAPER.background, config=empty.config, padding=8)


def told(value: float | None, measure: str, interval: tuple[float, float] | None = None) -> str:
    """A number of this measure as it is written: nats, or percent."""
    return percent(value) if measure not in ("loss_chord", "loss_mean") else f"{nats(value, interval)} nats"


def steps_told(answer: Mapping, measure: str) -> str:
    """The chart in words."""
    found = answer[KINDS.get(measure, "seeds")]["measures"][measure]["means"]
    if not found:
        return f"{TITLES[measure]} by pre-training step: no pair is computed yet."
    parts = [f"step {one['step']:,} {told(one['value'], measure)}{_interval(one, measure)}" for one in found]
    return f"{TITLES[measure]} by pre-training step, mean of the pairs: {'; '.join(parts)}."


def boundary_told(answer: Mapping, step: int) -> str:
    found = {one["step"]: one for one in answer["tasks"]["measures"]["best"]["means"]}.get(step)
    if found is None:
        return f"Both tasks along the line from step {step:,}: no pair is computed yet, or its models have not learned their tasks."
    return f"Both tasks along the line from step {step:,}: the best single model keeps {told(found['value'], 'best')} of either{_interval(found, 'best')}."


def _interval(mean: Mapping, measure: str) -> str:
    if mean["low"] is None:
        return ""
    low, high = (told(mean[end], measure, (mean["low"], mean["high"])).removesuffix(" nats").removesuffix(" %") for end in ("low", "high"))
    return f" (95 % interval {low} to {high})"


def _steps(
    answer: Mapping, measure: str, look: Theme, width: int | str, heights: tuple[int, int, int], links: Mapping[str, str] | None = None
) -> alt.LayerChart:
    high, gap, low = heights
    of = answer[KINDS.get(measure, "seeds")]
    pairs = [_dot(one, measure) for one in of["pairs"] if one.get(measure)]
    means = of["measures"][measure]["means"]
    x = _x(answer["steps"], look)
    domain, form = _domain(measure, pairs, means), ".2~f" if measure in ("loss_chord", "loss_mean") else "~%"
    above = [_frame(x, domain, (0, high), TITLES[measure], form)]
    if measure in KINDS:
        above += _level(EVEN, "one traded for the other", look)
    above += _waiting(answer["steps"], means, high, look) + _means(means, measure, look) + _pairs(pairs, measure, look, links)
    ends = [{"step": one["step"], "y": y, "task": i, "name": one["name"]} for one in of["pairs"] for i, y in enumerate(one["ends"])]
    bottom = growing([0.5, 1.0], [one["y"] for one in ends], 0.0, 0, 1)
    below = [_frame(x, bottom, (high + gap, high + gap + low), _ends_title(answer, measure), "~%"), *_ends(ends, measure in KINDS, look)]
    chart = alt.layer(alt.layer(*above), alt.layer(*below)).resolve_scale(y="independent")
    return finish(chart, look, width, high + gap + low, steps_told(answer, measure))


def _ends_title(answer: Mapping, measure: str) -> str:
    return "Accuracy of the tuned models, each on its own task" if measure in KINDS else "Accuracy of the tuned models"


def _dot(pair: Mapping, measure: str) -> dict:
    number = pair[measure]
    return {
        "name": pair["name"], "step": pair["step"], "y": number["value"], "at": number["t"], "learned": pair["learned"],
        "told": told(number["value"], measure, (number["low"], number["high"])),
        "interval": f"{told(number['low'], measure)} to {told(number['high'], measure)}",
        "ends": " and ".join(percent(end) for end in pair["ends"]),
    }  # fmt: skip


def _domain(measure: str, pairs: Sequence[Mapping], means: Sequence[Mapping]) -> tuple[float, float]:
    ends = [value for one in means for value in (one["low"], one["high"]) if value is not None]
    first = {"loss_chord": 0.1, "loss_mean": 0.1, "accuracy_chord": 0.05}.get(measure, 1.0)
    room = 0.0 if measure in KINDS else 0.04
    return growing([0.0, first], [*(one["y"] for one in pairs), *ends], room, -1.0 if measure in KINDS else 0.0)


def _x(steps: Sequence[int], look: Theme) -> alt.X:
    """Symlog, with zero on it: linear up to the first step after zero, a logarithm from there on."""
    positive = [step for step in steps if step > 0]
    scale = alt.Scale(type="symlog", constant=min(positive, default=1), domain=[min(steps), max(max(steps), min(steps) + 1)], nice=False, padding=20)
    axis = alt.Axis(
        title="pre-training step", titleFontWeight=400, values=list(steps), grid=False, offset=8, labelOverlap="greedy", labelSeparation=6,
        labelExpr="format(datum.value, '.3~s')", labelColor=look.quiet,
    )  # fmt: skip
    return alt.X("step:Q", scale=scale, axis=axis)


def _blank() -> alt.Chart:
    return alt.Chart(alt.InlineData(values=[])).mark_point()


def _frame(x: alt.X, domain: tuple[float, float], pixels: tuple[float, float], title: str, form: str) -> alt.Chart:
    return _blank().encode(x=x, y=alt.Y("y:Q", scale=panel_scale(domain, *pixels), axis=panel_axis(title, pixels[0], form, ticks(domain, 4))))


def _layer(rows: Sequence[Mapping]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=list(rows))).encode(x=alt.X("step:Q"), y=alt.Y("y:Q"))


def _level(y: float, name: str, look: Theme) -> list[alt.Chart]:
    """A dashed line across, named at its right end."""
    ruled = alt.Chart(alt.InlineData(values=[{"y": y, "text": name}])).encode(y=alt.Y("y:Q"))
    return [
        ruled.mark_rule(stroke=look.line, strokeWidth=1, strokeDash=[1, 3]),
        ruled.encode(x=alt.value("width"), text="text:N").mark_text(align="right", dy=10, color=look.quiet, fontSize=look.size - 1.5),
    ]


def _waiting(steps: Sequence[int], means: Sequence[Mapping], bottom: float, look: Theme) -> list[alt.Chart]:
    """Small ticks where pairs are still to come."""
    whole = {one["step"] for one in means if one["over"]}
    rows = [{"step": step} for step in steps if step not in whole]
    marks = alt.Chart(alt.InlineData(values=rows)).mark_rule(stroke=look.line, strokeWidth=1)
    return [marks.encode(x=alt.X("step:Q"), y=alt.value(bottom), y2=alt.value(bottom + 5))]


def _means(means: Sequence[Mapping], measure: str, look: Theme) -> list[alt.Chart]:
    rows = [
        {"step": one["step"], "y": one["value"], "low": one["low"], "high": one["high"], "pairs": one["pairs"],
         "told": f"{told(one['value'], measure)}{_interval(one, measure)}"}
        for one in means
    ]  # fmt: skip
    ruled = _layer([row | {"y": row["low"], "y2": row["high"]} for row in rows if row["low"] is not None])
    tips = [alt.Tooltip("step:Q", format=","), alt.Tooltip("told:N", title="mean"), alt.Tooltip("pairs:Q")]
    return [
        _layer(rows).mark_line(stroke=look.line, strokeWidth=1.4),
        ruled.mark_rule(stroke=look.text, strokeWidth=1.4).encode(y2="y2:Q"),
        _layer(rows).mark_circle(size=look.size**2 * 0.75, opacity=1, color=look.text, stroke=look.ground, strokeWidth=1).encode(tooltip=tips),
    ]


def _pairs(pairs: Sequence[Mapping], measure: str, look: Theme, links: Mapping[str, str] | None) -> list[alt.Chart]:
    """Each pair beside its mean, hollow where its models have learned nothing; unseen ones make clicking easy."""
    tips = [
        alt.Tooltip("name:N", title="pair"), alt.Tooltip("told:N", title="kept" if measure in KINDS else "barrier"),
        alt.Tooltip("interval:N", title="over examples"), alt.Tooltip("at:Q", title="at t", format=".2f"), alt.Tooltip("ends:N", title="ends right"),
    ]  # fmt: skip
    seen = _layer(pairs).mark_point(size=look.size**2 * 0.26, opacity=1, strokeWidth=1, filled=True, xOffset=BESIDE)
    fill, edge = (alt.condition("datum.learned", alt.value(one), alt.value(other)) for one, other in ((look.line, look.ground), (look.ground, look.line)))
    seen = seen.encode(fill=fill, stroke=edge, tooltip=tips)
    return [seen, *_clicks(_layer(pairs), tips, links, size=260, xOffset=BESIDE)]


def _clicks(dots: alt.Chart, tips: Sequence[alt.Tooltip], links: Mapping[str, str] | None, **how: int) -> list[alt.Chart]:
    """Unseen circles that a click follows to where each pair's own curve stands."""
    if not links:
        return []
    known = alt.LookupData(alt.InlineData(values=[{"name": name, "href": href} for name, href in links.items()]), "name", ["href"])
    return [dots.transform_lookup("name", from_=known).mark_circle(opacity=0, cursor="pointer", **how).encode(tooltip=list(tips), href="href:N")]


def _ends(rows: Sequence[Mapping], two: bool, look: Theme) -> list[alt.Chart]:
    """What each tuned model reaches; of two tasks A's in blue and B's in orange."""
    colour = alt.Color("task:N", scale=alt.Scale(domain=[0, 1], range=[look.a, look.b] if two else [look.line, look.line]), legend=None)
    means = {}
    for row in rows:
        means.setdefault((row["task"] if two else 0, row["step"]), []).append(row["y"])
    lines = [{"task": task, "step": step, "y": float(np.mean(ys))} for (task, step), ys in sorted(means.items())]
    dots = _layer(rows).mark_circle(size=look.size**2 * 0.2, opacity=0.6)
    return [
        _layer(lines).mark_line(strokeWidth=1.4).encode(color=colour),
        dots.encode(color=colour, tooltip=[alt.Tooltip("name:N", title="pair"), alt.Tooltip("y:Q", title="accuracy", format=".1%")]),
    ]


def _panel(answer: Mapping, step: int, look: Theme, high: int, links: Mapping[str, str] | None = None) -> alt.LayerChart:
    """The pairs of one step: thin lines with dots for each seed, thick ones for their mean, where it is best for both marked."""
    pairs = [one for one in answer["tasks"]["pairs"] if one["step"] == step and one["kept"]]
    every = [value for one in answer["tasks"]["pairs"] for kept in one["kept"] or () for value in kept]
    domain = growing([0.0, 1.0], every, 0.0, -1.0)
    ends = [{"test": "datum.value === 0", "value": look.a}, {"test": "datum.value === 1", "value": look.b}]
    axis = alt.Axis(
        title=None, values=[0, 0.5, 1], grid=False, offset=6, labelFlush=True, labelColor={"condition": ends, "value": look.quiet},
        labelExpr="datum.value === 0 ? 'A' : datum.value === 1 ? 'B' : format(datum.value, '.1f')",
        labelFontWeight={"condition": {"test": "datum.value % 1 === 0", "value": 600}, "value": "normal"},
    )  # fmt: skip
    x = alt.X("t:Q", scale=alt.Scale(domain=[0, 1], nice=False), axis=axis)
    frame = _blank().encode(x=x, y=alt.Y("y:Q", scale=panel_scale(domain, 0, high), axis=panel_axis(f"step {step:,}", 0, "~%", ticks(domain, 4))))
    rows = [
        {"name": one["name"], "t": t, "y": y, "task": "AB"[i], "line": f"{one['name']}/{i}", "accuracy": one["accuracy"][i][j]}
        for one in pairs for i, kept in enumerate(one["kept"]) for j, (t, y) in enumerate(zip(one["t"], kept, strict=True))
    ]  # fmt: skip
    means = _mean_rows(pairs)
    colour = alt.Color("task:N", scale=alt.Scale(domain=["A", "B"], range=[look.a, look.b]), legend=None)
    tips = [
        alt.Tooltip("name:N", title="pair"), alt.Tooltip("task:N", title="task of"), alt.Tooltip("t:Q", format=".2f"),
        alt.Tooltip("y:Q", title="kept", format=".1%"), alt.Tooltip("accuracy:Q", format=".1%"),
    ]  # fmt: skip
    one = _along(rows).encode(color=colour)
    layers = [
        frame,
        one.mark_line(strokeWidth=1, opacity=0.45).encode(detail="line:N"),
        _along(means).mark_line(strokeWidth=2.6).encode(color=colour),
        one.mark_circle(size=14, opacity=0.6),
        *_best(means, look),
        *_clicks(_along(rows), tips, links, size=160),
    ]
    if not pairs:
        said = "not learned" if any(one["step"] == step for one in answer["tasks"]["pairs"]) else "to come"
        note = alt.Chart(alt.InlineData(values=[{"t": 0.5, "y": 0.5, "text": said}])).encode(x=alt.X("t:Q"), y=alt.Y("y:Q"), text="text:N")
        layers.append(note.mark_text(color=look.quiet))
    return alt.layer(*layers)


def _along(rows: Sequence[Mapping]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=list(rows))).encode(x=alt.X("t:Q"), y=alt.Y("y:Q"))


def _mean_rows(pairs: Sequence[Mapping]) -> list[dict]:
    if not pairs:
        return []
    means = np.mean([one["kept"] for one in pairs], axis=0)
    return [{"t": t, "y": float(y), "task": "AB"[i]} for i, row in enumerate(means) for t, y in zip(pairs[0]["t"], row, strict=True)]


def _best(means: Sequence[Mapping], look: Theme) -> list[alt.Chart]:
    """A ring where the mean curves keep most of both."""
    by_t: dict[float, list[float]] = {}
    for row in means:
        by_t.setdefault(row["t"], []).append(row["y"])
    if not by_t:
        return []
    t, y = max(((t, min(ys)) for t, ys in by_t.items()), key=lambda one: one[1])
    return [_along([{"t": t, "y": y}]).mark_point(size=90, stroke=look.text, strokeWidth=1.6, filled=False, opacity=1)]
