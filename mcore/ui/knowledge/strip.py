"""The strip of the Knowledge page that poses the paper's questions: which two tunings, which rows, how many points."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from mcore.knowledge import questions
from mcore.knowledge.questions import KINDS, POINTS
from mcore.names import task_name
from mcore.profile import profile
from mcore.question import Experiment, Task
from mcore.ui import draft
from mcore.ui.engine import Standing
from mcore.ui.html import plain_label, rich, show, text
from mcore.ui.knowledge.looking import look

ROWS = {"training": "Training", "validation": "Validation"}
PREFIX = "pose-"  # of the keys


def strip(now: Standing, number: int) -> None:
    """``number``: the task that is looked at. A choice replaces the question."""
    question, kind = now.question, questions.kind(now.question)
    with st.container(key="strip"):
        with st.container(horizontal=True, gap="small", vertical_alignment="bottom", key="pose"):
            _control(
                "The question", list(KINDS), KINDS.get, kind,
                lambda asked: questions.pose(question, asked, _source(question), _target(question)),
            )  # fmt: skip
            if kind:
                _task("Source task, of A" if kind == "tasks" else "Task", "source", question, _source(question), kind)
            if kind == "tasks":
                _task("Target task, of B", "target", question, _target(question), kind)
            _rows(now, number)
            points = question.points if isinstance(question.points, int) else None
            _control(
                "Points", POINTS if points in (*POINTS, None) else sorted({*POINTS, points}), str, points,
                lambda count: questions.on_points(question, count), "Evenly spaced t from A to B, ends included. The paper has six.",
            )  # fmt: skip
        if not kind:
            show(text("A and B are not both tuned here. Choose one of the two questions to tune two.", "quiet"))
        if told := _told(now, number):
            show(rich(told, "quiet"))


def ask_training_rows(now: Standing, number: int) -> None:
    """The same question about rows that were followed in a training."""
    draft.change(questions.on_training_rows(now.question, now.resolved, number, profile().rows))
    look(row=None, rows=None)


def can_ask_training_rows(now: Standing, number: int) -> bool:
    side = questions.trained_side(now.resolved, number)
    return side is not None and now.resolved.endpoint(side).recipe.recipe.cartography > 0


def _rows(now: Standing, number: int) -> None:
    known, here = questions.splits(now.resolved, number), now.resolved.tasks[number].task.split
    current = next((name for name, split in known.items() if split == here), None)
    if not known:
        return
    options = [*known, *([here] if current is None else [])]

    def asked(name: str) -> Experiment:
        if name == "training":
            return questions.on_training_rows(now.question, now.resolved, number, profile().rows)
        return questions.on_validation_rows(now.question, now.resolved, number) if name == "validation" else now.question

    _control(
        "Rows", options, lambda name: plain_label(ROWS.get(name, name)), current or here, asked,
        "Training rows were followed while the model was trained on them; validation rows it never saw.",
    )  # fmt: skip


def _task(label: str, which: str, question: Experiment, shown: str, kind: str) -> None:
    def asked(task: str) -> Experiment:
        source, target = _source(question), _target(question)
        if which == "source":
            return questions.pose(question, kind, task, source if task == target else target)
        return questions.pose(question, kind, target if task == source else source, task)

    key = f"{PREFIX}{which}"
    draft.set_value(key, shown)
    st.selectbox(label, questions.offered(_source(question), _target(question)), format_func=_named, key=key, width=160, on_change=_chosen, args=(key, asked))


def _control(
    label: str, options: list | tuple, named: Callable[[object], str], shown: object, asked: Callable[[object], Experiment], told: str | None = None
) -> None:  # fmt: skip
    key = f"{PREFIX}{label.split()[-1].lower()}"
    draft.set_value(key, shown)
    st.segmented_control(label, options, format_func=named, key=key, required=shown is not None, help=told, on_change=_chosen, args=(key, asked))


def _chosen(key: str, asked: Callable[[object], Experiment]) -> None:
    value = st.session_state[key]
    if value is not None:
        draft.change(asked(value))
        if key != f"{PREFIX}points":
            look(row=None, rows=None)  # ids and ranks are those of other rows now


def _source(question: Experiment) -> str:
    return question.tasks[0].task if isinstance(question.a, str) else question.a.task.task


def _target(question: Experiment) -> str:
    return question.tasks[0].task if isinstance(question.b, str) else question.b.task.task


def _named(address: str) -> str:
    return task_name(Task(task=address))


def _told(now: Standing, number: int) -> str:
    """What moves along the path where only one end has a head for these rows."""
    side = now.resolved.heads[number]
    if side not in ("a", "b"):
        return ""
    name = task_name(now.question.tasks[number])
    return f"Only {side.upper()} has a [head] for {name}: it reads every t, and everything but the head goes from A to B."
