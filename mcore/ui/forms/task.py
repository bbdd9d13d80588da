"""What few people change of the first task: its data on the Hub, its columns, and how a language model is asked."""

from __future__ import annotations

import streamlit as st

from mcore.errors import QuestionError
from mcore.hub.data import splits
from mcore.resolved import ResolvedTask
from mcore.tasks.reading import LANGUAGE
from mcore.ui import draft
from mcore.ui.engine import Standing
from mcore.ui.forms import inputs, token
from mcore.ui.forms.hub import data_set_form
from mcore.ui.forms.prompt import columns_form, prompt_form

TASK: draft.Path = ("tasks", 0)
SPLITS = ["validation", "test", "train", "all"]
READS = {None: "as is usual", "head": "with its head", "answers": "by its answers", "tokens": "by the loss of its tokens", "fitted": "with a fitted head"}
MOST_ANSWERS, LONGEST = 6, 160  # that are told of how it is read; characters of each
PROMPT = ("read", "template", "answers", "normalised")
SAYS_HOW = (*PROMPT, "label")  # fields whose error may be mended by reading in another way


def data_form(now: Standing | None) -> None:
    """Where the rows come from: a search on the Hub, the split, the columns."""
    data_set_form((*TASK, "task"))
    token.place("task")
    address = str(draft.get((*TASK, "task"), ""))
    if address.startswith(("local:", "hub:")):
        columns_form(TASK)
    given, known = draft.get((*TASK, "split")), _splits(now, address)
    st.selectbox(
        "Split",
        known if given in (None, *known) else [*known, given],
        accept_new_options=True,
        index=None,
        placeholder=now.resolved.tasks[0].task.split if now else "validation",
        help="Which part of the data is evaluated.",
        **draft.bound("in.tasks.0.split", (*TASK, "split"), given),
    )


def reading_form(now: Standing | None, wrong: QuestionError | None) -> None:
    """How the models are read, where they are language models or somebody has said how."""
    told = any(draft.get((*TASK, name)) is not None for name in PROMPT) or bool(wrong and wrong.field.startswith("tasks.0.") and wrong.field.split(".")[2] in SAYS_HOW)
    if not told and not (now and now.resolved.kind in LANGUAGE):
        return
    used = now.resolved.tasks[0].task if now else None
    given = draft.get((*TASK, "read"))
    about = "A language model answers by the likelihood of words after a prompt, or by the loss of the text's own tokens."
    inputs.choice_field("How it is read", (*TASK, "read"), READS, about)
    if given in ("head", "tokens", "fitted") or (used and used.read != "answers" and given is None and not draft.get((*TASK, "template"))):
        return
    prompt_form(TASK, used, now.resolved.tasks[0].rows.names if now else ())
    if used and used.template and not draft.get((*TASK, "template")):
        st.button("Write it anew, beginning with the prompt that ships", key="own-prompt", on_click=_own, args=(used.template, list(used.answers or ())))


def reading_told(task: ResolvedTask) -> str:
    """What a language model is asked for, in a sentence; nothing where a head answers."""
    if task.read == "tokens":
        return "Read by the loss of the texts' own tokens."
    if task.read != "answers":
        return ""
    prompt = f" after the prompt “{_short(task.task.template)}”" if task.task.template else ""
    return f"Read by the likelihood of {' or '.join(f'“{_short(answer)}”' for answer in (task.task.answers or ())[:MOST_ANSWERS])}{prompt}."


def _short(words: str) -> str:
    line = " ".join(words.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _own(template: str, answers: list[str]) -> None:
    draft.put((*TASK, "read"), "answers")
    draft.put((*TASK, "template"), template)
    draft.put((*TASK, "answers"), answers or None)


def _splits(now: Standing | None, address: str) -> list[str]:
    """Those that the data have, where that is known without asking."""
    if now and address.startswith("hub:"):
        return splits(now.resolved.tasks[0].task, "tasks.0")
    return SPLITS
