"""How two fine-tunings go: loss above, accuracy below, A blue and B orange on the same axes; headless.

What was measured on training batches is a line, what was measured on validation rows is dashed with rings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import altair as alt

from mcore.charts.theme import Theme, finish, growing, panel_axis, panel_scale, theme, ticks
from mcore.names import finite, nats, percent

Series = Mapping[str, list[tuple[float, float]]]  # "A" and "B", each (step, value)


def training_chart(
    curves: Mapping[str, Iterable[Mapping]], steps: int, dark: bool = False, width: int | str = "container", in_words: bool = False
) -> alt.LayerChart:
    """``curves``: "A" and "B", each rows of ``step``, ``loss`` and (where measured) ``validation_loss``, ``validation_accuracy``.

    ``in_words``: language models are trained, whose training loss is that of the right answer's tokens among all words.
    """
    look, top, bottom = theme(dark), 170, 300
    curves = {name: list(rows) for name, rows in curves.items()}
    losses, held_out, right = (
        {name: _series(rows, field) for name, rows in curves.items()}
        for field in ("loss", "validation_loss", "validation_accuracy")
    )
    every = [value for series in (losses, held_out) for points in series.values() for _, value in points]
    firsts = [points[0][1] for points in losses.values() if points] or [1.0]
    high = growing([0.0, *firsts], every, 0.08, 0)
    below = growing([0.5, 1.0], [value for points in right.values() for _, value in points], 0.02, 0, 1)
    watched = any(held_out.values())
    title = "Loss (nats): training a line, validation dashed" if watched else "Training loss (nats)"
    if in_words:
        title = "Loss (nats): answer's tokens a line, validation among the answers dashed" if watched else "Training loss (nats per token of the answer)"
    loss = {"pixels": (0, top), "domain": high, "steps": steps, "number_format": ".2~f", "tip": ".3f"}
    accuracy = {"pixels": (top + 40, bottom), "domain": below, "steps": steps, "number_format": "~%", "tip": ".1%"}
    layers = [
        _curves(losses, look, title, tip_title="training loss", named=not watched, **loss),
        _curves(held_out, look, "", tip_title="validation loss", measured=True, **loss),
        _curves(right, look, "Validation accuracy", tip_title="accuracy", measured=True, **accuracy),
    ]
    return finish(
        alt.layer(*layers).resolve_scale(y="independent"), look, width, bottom, _told(curves, steps)
    )


def _series(rows: Sequence[Mapping], field: str) -> list[tuple[float, float]]:
    return [(row["step"], row[field]) for row in rows if finite(row.get(field))]


def _curves(
    series: Series, look: Theme, title: str, *, number_format: str, pixels: tuple[float, float],
    domain: tuple[float, float], steps: int, tip: str, tip_title: str, measured: bool = False, named: bool = True,
) -> alt.LayerChart:  # fmt: skip
    """Lines over training steps, each named at its last point; ``measured``: at the few steps that are marked.

    Without a title there is no axis: that of the panel is drawn by another one.
    """
    rows = [{"step": step, "y": y, "end": end} for end, points in series.items() for step, y in points]
    colour = alt.Color("end:N", scale=alt.Scale(domain=["A", "B"], range=[look.a, look.b]), legend=None)
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("step:Q", scale=alt.Scale(domain=[0, max(1, steps)], nice=False),
                axis=alt.Axis(title="training step", titleFontWeight=400, grid=False, offset=8, tickCount=6, labelFlush=True)),
        y=alt.Y("y:Q", scale=panel_scale(domain, *pixels), 
                axis=panel_axis(title, pixels[0], number_format, ticks(domain, 4)) if title else None),
        color=colour,
        tooltip=[alt.Tooltip("end:N", title="model"), alt.Tooltip("step:Q"), alt.Tooltip("y:Q", title=tip_title, format=tip)],
    )  # fmt: skip
    if measured:
        layers = [
            base.mark_line(strokeWidth=2, strokeDash=[5, 4], clip=True),
            base.mark_circle(size=55, opacity=1, fill=look.ground, strokeWidth=2, clip=False).encode(stroke=colour),
        ]
    else:
        layers = [base.mark_line(strokeWidth=1.6, clip=True, opacity=0.9), base.mark_circle(size=18, opacity=1, clip=False)]
    return alt.layer(*layers, *(_letters(base, series, domain, pixels, steps) if named else ()))


def _letters(
    base: alt.Chart, series: Series, domain: tuple[float, float], pixels: tuple[float, float], steps: int
) -> list[alt.Chart]:
    """A and B beside their last points, apart from each other."""
    latest = [{"step": points[-1][0], "y": points[-1][1], "end": end} for end, points in series.items() if points]
    beside = len(latest) == 2 and abs(latest[0]["step"] - latest[1]["step"]) < 0.03 * steps
    close = beside and abs(latest[0]["y"] - latest[1]["y"]) / (domain[1] - domain[0]) * (pixels[1] - pixels[0]) < 14
    upper = max(latest, key=lambda row: row["y"], default={})
    letters = []
    for row in latest:
        dy = (-9 if row is upper else 9) if close else 0
        letter = base.properties(data=alt.InlineData(values=[row])).encode(text="end:N", tooltip=alt.value(None))
        letters.append(letter.mark_text(align="left", dx=8, dy=dy, fontWeight=700))
    return letters


def _told(curves: Mapping[str, Sequence[Mapping]], steps: int) -> str:
    """What the curves show, for those who cannot see them."""
    parts = []
    for name, rows in curves.items():
        if rows:
            last = next((row for row in reversed(rows) if finite(row.get("validation_accuracy"))), None)
            reached = f", {percent(last['validation_accuracy'])} of its validation rows right" if last else ""
            parts.append(f"{name}: step {rows[-1]['step']:,} of {steps:,}, training loss {nats(rows[-1]['loss'])}{reached}")
    return f"Training of {' and '.join(curves) or 'A and B'}. " + (". ".join(parts) or "No step is done yet") + "."
