"""The one strip of choices beneath the cards: path, task, points, what few people change, and Run or Cancel."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from mcore.errors import QuestionError
from mcore.question import PROBES
from mcore.ui import draft
from mcore.ui.compare import fitted_head
from mcore.ui.compare.endpoints import field_of
from mcore.ui.engine import Standing
from mcore.ui.forms import inputs, token
from mcore.ui.forms.layers import layers_form
from mcore.ui.forms.path import path_form
from mcore.ui.forms.task import data_form, reading_form, reading_told
from mcore.ui.html import show, text
from mcore.ui.limits import at_home, running_button

PROBE_NAMES = {
    "loss": "loss",
    "accuracy": "accuracy",
    "knowledge": "knowledge",
    "macro_f1": "macro F1",
    "calibration": "calibration",
    "agreement": "agreement with A and B",
    "ensemble": "ensemble of A and B",
    "readout": "read-out of each layer",
    "cka": "CKA of each layer with A and B",
}


def strip(
    now: Standing | None, wrong: QuestionError | None, run: Callable[[], None], cancel: Callable[[], None]
) -> None:
    """``run`` and ``cancel`` are called when their button is pressed, before the page runs again."""
    with st.container(key="strip"):
        path_form()
        task, points, more, go = st.columns([5, 2.6, 1.6, 2.2], gap="small", vertical_alignment="bottom")
        with task:
            told = f"What both ends are evaluated on: a task that ships with the app, a data set on the Hub{at_home(', or a csv, jsonl or parquet file')}. More has a search."
            inputs.task_field("Task", ("tasks", 0, "task"), told)
        with points:
            st.text_input(
                "Points",
                help="How many evenly spaced t from A to B, ends included; or the t themselves: 0, 0.5, 1.",
                placeholder="26",
                **draft.bound("in.points", ("points",), inputs.shown(draft.get(("points",))), inputs.numbers),
            )
        with more, st.popover("More", width="stretch", key="more"):
            _more(now, wrong)
        with go:
            if now and now.active:
                running_button(now.job, run, cancel, width="stretch")
            else:
                again = bool(now and now.complete)
                st.button(
                    "Run",
                    type="secondary" if again else "primary",
                    width="stretch",
                    on_click=run,
                    key="run",
                    disabled=now is None or again,
                    icon=":material/play_arrow:",
                    shortcut="Enter",
                    help="Everything that this asks for is there." if again else None,
                )
        asked = inputs.described(draft.get(("tasks", 0, "task")))
        if told := " ".join(filter(None, [asked, reading_told(now.resolved.tasks[0]) if now else ""])):
            show(text(told, "quiet"))
        others = [draft.get(("tasks", i, "task"), "") for i in range(1, len(draft.get(("tasks",), [])))]
        if others:
            show(text(f"The link also asks for: {', '.join(map(str, others))}.", "quiet"))
        if wrong and not field_of(wrong) and wrong.field != "link":
            show(text(str(wrong), "error"))
            token.offer(wrong, "wrong")
            fitted_head.offer(wrong)


def _more(now: Standing | None, wrong: QuestionError | None) -> None:
    data_form(now)
    rows, seed, longest = st.columns(3)
    with rows:
        inputs.number_field("Rows", ("tasks", 0, "limit"), "Evaluate a sample of this many rows; empty: all of the split.")
    with seed:
        inputs.number_field("Sample seed", ("tasks", 0, "sample_seed"), "Fixes which rows are in the sample.", 0)
    with longest:
        inputs.number_field("Max length", ("tasks", 0, "max_length"), "Tokens; longer texts are cut.", 128)
    reading_form(now, wrong)
    given = draft.get(("probes",))
    st.multiselect(
        "Probes",
        PROBES,
        format_func=PROBE_NAMES.get,
        help="What is read off the models' outputs; a further one costs no model run, but for those of the layers, which run each model once more.",
        **draft.bound(
            "in.probes", ("probes",), given if given is not None else ["loss", "accuracy", "knowledge"], list
        ),
    )
    layers_form()
    st.segmented_control(
        "Precision",
        ["float32", "bfloat16"],
        required=True,
        help="bfloat16 is faster and rounds the losses to about three digits.",
        **draft.bound("in.precision", ("precision",), draft.get(("precision",), "float32")),
    )
    for side in "ab":
        st.text_input(
            f"Label names of {side.upper()}",
            placeholder="as they are found",
            help="What each output means, in their order, with commas between. Empty: found by name or from the data.",
            **draft.bound(
                f"in.labels.{side}", ("labels", side), inputs.shown(draft.get(("labels", side))), inputs.names
            ),
        )
