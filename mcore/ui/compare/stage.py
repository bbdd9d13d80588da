"""The chart, large, and beside it what it means; the same stage for a running, a finished and a shipped result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from mcore.charts.overview import path_chart, training_chart
from mcore.question import Experiment, Recipe
from mcore.ui import draft
from mcore.ui.compare.suggestions import suggestion
from mcore.ui.drawing import draw
from mcore.ui.html import mark, show, text
from mcore.ui.theme import dark
from mcore.words import meaning

CHART, BESIDE = 2.3, 1


def stage(task: Mapping, question: Experiment, where: str = "", live: bool = False, change: bool = True) -> None:
    """One task's entry of a result. ``where``: where it comes from; ``change``: offer the next step as a button."""
    with st.container(key="stage"):
        left, right = st.columns([CHART, BESIDE], gap="large")
        with left:
            asked = question.ts() if live or len(task["t"]) < len(question.ts()) else None
            draw(path_chart, task, asked, dark(), key="path-chart")
        with right:
            _beside(task, question, where, live, change)


def training_stage(curves: Mapping[str, Sequence[Mapping]], question: Experiment) -> None:
    """While the ends are trained: their curves where the path will be."""
    with st.container(key="stage"):
        left, right = st.columns([CHART, BESIDE], gap="large")
        with left:
            training_curves(curves, question)
        with right:
            show(text("What happens now", "head"))
            show(
                text(
                    "Both ends are fine-tuned first. The path between them appears here as soon as they are trained.",
                    "body",
                )
            )
            show(text("This goes on when you close the page; the link in the address bar leads back to it.", "quiet"))


def training_curves(curves: Mapping[str, Sequence[Mapping]], question: Experiment) -> None:
    steps = max((end.last_step for end in (question.a, question.b) if isinstance(end, Recipe)), default=1)
    draw(training_chart, curves, steps, dark(), key="training-chart")


def _beside(task: Mapping, question: Experiment, where: str, live: bool, change: bool) -> None:
    told = meaning(task, question)
    if where:
        show(mark(where, "live" if live else ""))
    show(text("What this means", "head"), text(told.summary, "verdict"))
    if change and not live and (step := suggestion(told.next_step, question)):
        show(text("Try next", "head"), text(told.next_step, "body"))
        if st.button(
            step.label, key="next-step", on_click=draft.change, args=(step.question,), icon=":material/arrow_forward:"
        ):
            st.rerun()  # the whole page: its inputs have changed
    else:
        show(text("What comes next" if live else "Try next", "head"), text(told.next_step, "body"))
    if told.more and not live:
        with st.expander("More of what the numbers say", key="more-meaning"):
            show(*[text(sentence, "body") for sentence in told.more])
