"""What a task says of its columns, and how a language model is asked: the same inputs for what is evaluated and for what is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from mcore.question import Task
from mcore.tasks.prompts import MASK
from mcore.ui import draft
from mcore.ui.forms import inputs
from mcore.ui.html import show, text

MOST_LABELS = 8  # that are named


def columns_form(path: draft.Path) -> None:
    """Which column is what, where the data do not show it by themselves. ``path``: of the task in the question."""
    left, right = st.columns(2)
    with left:
        st.text_input(
            "Text columns", placeholder="found by itself", help="One column, or two with a comma between for pairs of texts.",
            **_bound((*path, "text"), inputs.shown(draft.get((*path, "text"))), inputs.names),
        )  # fmt: skip
        st.text_input(
            "Form of the texts", placeholder="premise: {premise} [SEP] hypothesis: {hypothesis}",
            help="Where one column holds several parts: how it is made of them. A classifier then reads the parts, one or two; a prompt may name them.",
            **_bound((*path, "form"), draft.get((*path, "form"), ""), lambda words: words.strip() or None),
        )  # fmt: skip
    with right:
        st.text_input(
            "Label column", placeholder="found by itself",
            **_bound((*path, "label"), draft.get((*path, "label"), ""), lambda words: words.strip() or None),
        )  # fmt: skip
        st.text_input(
            "Names of the columns", placeholder="in the file's first line",
            help="For a csv or tsv file whose first line is a row already: the names of its columns, with commas between them.",
            **_bound((*path, "columns"), inputs.shown(draft.get((*path, "columns"))), inputs.names),
        )  # fmt: skip


def prompt_form(path: draft.Path, used: Task | None, labels: Sequence[str]) -> None:
    """The prompt and the answers of the task at ``path``. ``used``: what holds where nothing is written; ``labels``: whose order the answers are in."""
    st.text_area(
        "Prompt", height=110, placeholder=(used and used.template) or "Review: {text}\nIs it good or bad?",
        help=f"Names of columns stand between braces: {{premise}}. For a masked language model {MASK} stands where the answer goes.",
        **_bound((*path, "template"), draft.get((*path, "template")) or "", lambda words: words or None),
    )  # fmt: skip
    st.text_area(
        "Answers, one on each line", height=90, placeholder="\n".join((used and used.answers) or ["no", "yes"]),
        help="What the model may say, one answer for each label, in the order of the labels.",
        **_bound((*path, "answers"), _lines(draft.get((*path, "answers"))), lambda words: words.splitlines() or None),
    )  # fmt: skip
    if labels:
        show(text(f"In the order of the labels: {', '.join(labels[:MOST_LABELS])}.", "quiet"))
    given = draft.get((*path, "normalised"))
    st.toggle(
        "Divide an answer's log-likelihood by its tokens", help="So that a long answer is not at a disadvantage.",
        **_bound((*path, "normalised"), bool(used and used.normalised if given is None else given), lambda on: on),
    )  # fmt: skip


def _bound(path: draft.Path, shown: object, read) -> dict:
    return draft.bound(inputs.key_of(path), path, shown, read)


def _lines(answers: object) -> str:
    return "\n".join(map(str, answers)) if isinstance(answers, list) else ""
