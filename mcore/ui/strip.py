"""The one strip of choices beneath the cards: path, task, points, what few people change, and Run or Cancel."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from mcore.errors import QuestionError
from mcore.question import PROBES
from mcore.ui import draft, inputs, token
from mcore.ui.endpoints import field_of
from mcore.ui.engine import Standing
from mcore.ui.html import show, text
from mcore.ui.limits import at_home, running_button

PATHS = {"linear": "Straight"}
PROBE_NAMES = {
    "loss": "loss",
    "accuracy": "accuracy",
    "knowledge": "knowledge",
    "macro_f1": "macro F1",
    "calibration": "calibration",
    "agreement": "agreement with A and B",
    "ensemble": "ensemble of A and B",
}
SPLITS = ["validation", "test", "train", "all"]


def strip(
    now: Standing | None, wrong: QuestionError | None, run: Callable[[], None], cancel: Callable[[], None]
) -> None:
    """``run`` and ``cancel`` are called when their button is pressed, before the page runs again."""
    with st.container(key="strip"):
        path, task, points, more, go = st.columns([2.2, 4, 2.2, 1.4, 2.2], gap="small", vertical_alignment="bottom")
        with path:
            draft.set_value("in.path.kind", draft.get(("path", "kind"), "linear"))
            st.segmented_control(
                "Path",
                list(PATHS),
                format_func=PATHS.get,
                required=True,
                width="stretch",
                **draft.bound("in.path.kind", ("path", "kind"), draft.get(("path", "kind"), "linear")),
            )
        with task:
            told = f"What both ends are evaluated on: a task that ships with the app{at_home(', or a csv, jsonl or parquet file')}."
            inputs.task_field("Task", ("tasks", 0, "task"), told)
        with points:
            st.text_input(
                "Points",
                help="How many evenly spaced t from A to B, ends included; or the t themselves: 0, 0.5, 1.",
                placeholder="26",
                **draft.bound("in.points", ("points",), inputs.shown(draft.get(("points",))), inputs.numbers),
            )
        with more, st.popover("More", width="stretch", key="more"):
            _more()
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
        if asked := inputs.described(draft.get(("tasks", 0, "task"))):
            show(text(asked, "quiet"))
        others = [draft.get(("tasks", i, "task"), "") for i in range(1, len(draft.get(("tasks",), [])))]
        if others:
            show(text(f"The link also asks for: {', '.join(map(str, others))}.", "quiet"))
        if wrong and not field_of(wrong) and wrong.field != "link":
            show(text(str(wrong), "error"))
            token.offer(wrong, "wrong")


def _more() -> None:
    left, right = st.columns(2)
    with left:
        inputs.number_field(
            "Rows", ("tasks", 0, "limit"), "Evaluate a sample of this many rows; empty: all of the split."
        )
        given = draft.get(("tasks", 0, "split"))
        st.selectbox(
            "Split",
            SPLITS if given in (None, *SPLITS) else [*SPLITS, given],
            accept_new_options=True,
            index=None,
            placeholder="validation",
            help="Which part of the data is evaluated.",
            **draft.bound("in.tasks.0.split", ("tasks", 0, "split"), given),
        )
    with right:
        inputs.number_field("Sample seed", ("tasks", 0, "sample_seed"), "Fixes which rows are in the sample.", 0)
        inputs.number_field("Max length", ("tasks", 0, "max_length"), "Tokens; longer texts are cut.", 128)
    if str(draft.get(("tasks", 0, "task"), "")).startswith("local:"):
        _columns()
    given = draft.get(("probes",))
    st.multiselect(
        "Probes",
        PROBES,
        format_func=PROBE_NAMES.get,
        help="What is read off the models' outputs; a further one costs no model run.",
        **draft.bound(
            "in.probes", ("probes",), given if given is not None else ["loss", "accuracy", "knowledge"], list
        ),
    )
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


def _columns() -> None:
    left, right = st.columns(2)
    with left:
        st.text_input(
            "Text columns",
            placeholder="found by itself",
            help="One column, or two with a comma between for pairs of texts.",
            **draft.bound(
                "in.tasks.0.text", ("tasks", 0, "text"), inputs.shown(draft.get(("tasks", 0, "text"))), inputs.names
            ),
        )
    with right:
        st.text_input(
            "Label column",
            placeholder="found by itself",
            **draft.bound(
                "in.tasks.0.label",
                ("tasks", 0, "label"),
                draft.get(("tasks", 0, "label"), ""),
                lambda words: words.strip() or None,
            ),
        )
