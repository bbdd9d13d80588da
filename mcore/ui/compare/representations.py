"""The tab "Representations": how alike the layers' features are to those of A and of B, and what a read-out finds in them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from functools import partial

import streamlit as st

from mcore.charts.layers import (
    cka_chart,
    cka_figure,
    cka_told,
    lowest,
    margin,
    readout_chart,
    readout_figure,
    readout_told,
)
from mcore.charts.theme import to_svg
from mcore.errors import McoreError, QuestionError
from mcore.estimate import cost
from mcore.layers.readout import SHUFFLES
from mcore.names import duration, task_name
from mcore.question import LAYERWISE, Experiment, Task, as_written, parse
from mcore.ui import draft, engine
from mcore.ui.compare.stage import BESIDE, CHART
from mcore.ui.drawing import draw
from mcore.ui.engine import Standing
from mcore.ui.html import mark, rich, show, text
from mcore.ui.theme import dark

WHY = (
    "Loss and accuracy tell what a model answers. Here is what its layers hold on the way: how alike their [hidden states] are to those "
    "of A and of B ([CKA], layer by layer), and how much of a task's labels a linear [read-out] finds in them."
)
POOLS = {"mean": "the mean over a text's tokens", "first": "a text's first token", "last": "a text's last token"}


def representations_tab(now: Standing, result: Mapping, task: Mapping) -> None:
    """``task``: the entry whose path is drawn."""
    told = result.get("representation")
    if not told or not told["t"]:
        show(rich(WHY, "body"))
        _offer(now, LAYERWISE)
        return
    told = {**told, **({"way": task["way"]} if "way" in task else {})}
    if len(told["t"]) < len(now.question.ts()):
        show(mark(f"{len(told['t'])} of {len(now.question.ts())} t", "live" if now.active else ""))
    if "cka_a" in told:
        _cka(told)
    layer = _readout(told) if "readout" in told else ""
    show(text(_features_told(told), "quiet"))
    missing = [name for name, part in (("readout", "readout"), ("cka", "cka_a")) if part not in told]
    if missing:
        _offer(now, missing)
    _files(told, f"layers-{result['fingerprint'][:8]}", layer)


def csv_of(told: Mapping) -> bytes:
    """One line for each t and layer, in full precision; what is not defined is empty."""
    columns = [name for name in ("cka_a", "cka_b", "readout", "control") if name in told]
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(["t", "layer", *columns])
    for i, t in enumerate(told["t"]):
        for k, layer in enumerate(told["layers"]):
            writer.writerow([t, layer, *("" if told[name][i][k] is None else told[name][i][k] for name in columns)])
    return file.getvalue().encode()


def _cka(told: Mapping) -> None:
    show(text("How alike each layer's features are to those of A and of B", "head"))
    for column, side in zip(st.columns(2, gap="medium"), "ab", strict=True):
        with column:
            show(rich(f"[CKA] with {side.upper()}, from {lowest(told):.3g} (faint) to 1", "quiet"))
            draw(cka_chart, told, side, dark(), key=f"cka-chart-{side}")
    show(text(" ".join(cka_told(told)), "body"))


def _readout(told: Mapping) -> str:
    """The layer that is chosen."""
    left, right = st.columns([CHART, BESIDE], gap="large")
    with right:
        show(text("What a linear read-out finds", "head"))
        layer = st.selectbox("Layer", told["layers"], index=len(told["layers"]) - 1, key="readout-layer", bind="query-params")
        layer = layer if layer in told["layers"] else told["layers"][-1]
        show(text(readout_told(told, layer), "body"))
        off = f" By the choice of rows such a number is off by up to {margin(told)} (95 %)." if margin(told) else ""
        show(
            rich(
                f"The [read-out] is fitted on {told['fitted_on']:,} training rows and judged on {len(told['rows']):,} others; its [control] on the same "
                f"rows with their labels shuffled, {SHUFFLES} times over. Faint lines are the other layers.{off}",
                "quiet",
            )
        )
    with left:
        draw(readout_chart, told, layer, dark(), key="readout-chart")
    return layer


def _files(told: Mapping, name: str, layer: str) -> None:
    files = {"CSV": ("csv", "text/csv", lambda: csv_of(told))}
    if "cka_a" in told:
        files |= {f"CKA with {side.upper()}, SVG": (f"{side}.svg", "image/svg+xml", partial(_svg, cka_figure, told, side)) for side in "ab"}
    if layer:
        files["Read-out, SVG"] = ("readout.svg", "image/svg+xml", partial(_svg, readout_figure, told, layer))
    with st.container(horizontal=True, gap="small"):
        for label, (end, mime, made) in files.items():
            st.download_button(label, made, f"{name}.{end}", mime, key=f"download-layers-{end}", on_click="ignore", icon=":material/download:")


def _svg(make: Callable, told: Mapping, what: str) -> bytes:
    return to_svg(make(told, what))


def _features_told(told: Mapping) -> str:
    whose = "the encoder's states" if told["encoder"] else "hidden states"
    rows = f"{len(told['rows']):,} rows of {task_name(Task.model_validate(told['task']))}"
    few = " With fewer rows than features in a layer CKA comes out too high." if "cka_a" in told and len(told["rows"]) < told["width"] else ""
    return f"Features: {whose}, {POOLS[told['pool']]}; on {rows}. Layers count from 0; the embeddings are what goes into layer 0.{few}"


def _offer(now: Standing, wanted: tuple[str, ...] | list[str]) -> None:
    """A button that asks for these probes too; nothing where that is asked already, or cannot be."""
    if set(wanted) <= set(now.question.probes):
        show(text("They are looked at after the points." if now.active else "Run reads them; what is there of the points is kept.", "body"))
        return
    if now.active:
        show(text("Once this question has run, the layers can be looked at too.", "body"))
        return
    question, why_not = _asked(now.question, wanted)
    if why_not:
        show(text(f"Without read-outs here: {why_not}" if question else why_not, "quiet"))
    if question is None:
        return
    if st.button("Look at the layers", key="look-at-layers", icon=":material/layers:", on_click=_ask, args=(question,)):
        st.rerun()  # the whole page: its question has changed
    resolved = engine.resolved(question)
    looks = len(question.ts())
    rows, took = resolved.representation.computed, duration(cost(resolved, dict.fromkeys("ab", True), {}, looks=looks).seconds)
    show(text(f"It runs the model again at {looks} t, on {rows:,} rows: {took if took.startswith('under') else f'about {took}'} here.", "quiet"))


def _asked(question: Experiment, wanted: tuple[str, ...] | list[str]) -> tuple[Experiment | None, str]:
    """The question with these probes, or with CKA alone where nothing can be read out; and why."""
    why = ""
    for probes in dict.fromkeys((tuple(wanted), tuple(name for name in wanted if name == "cka"))):
        if not probes:
            continue
        changed = parse(as_written(question) | {"probes": [*question.probes, *(name for name in probes if name not in question.probes)]})
        try:
            engine.resolved(changed)
            return changed, why
        except (QuestionError, McoreError) as wrong:
            why = str(wrong)
    return None, why


def _ask(question: Experiment) -> None:
    """Ask it and put it in the queue at once."""
    draft.change(question)
    engine.submit(engine.standing(question))
