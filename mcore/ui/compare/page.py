"""The Compare page: two cards, one strip of choices, and under them the answer as far as it is there."""

from __future__ import annotations

import streamlit as st

from mcore import presets
from mcore.errors import QuestionError
from mcore.names import right
from mcore.paths.ways import endpoints
from mcore.ui import address, draft, engine
from mcore.ui.compare.answer import answer, shipped
from mcore.ui.compare.endpoints import cards
from mcore.ui.compare.share import share
from mcore.ui.compare.stage import stage
from mcore.ui.compare.starting import starting
from mcore.ui.compare.strip import strip
from mcore.ui.compare.take import take
from mcore.ui.engine import Standing
from mcore.ui.forms import hub as hub_form
from mcore.ui.html import rich, show, text
from mcore.ui.library import imported
from mcore.ui.limits import limits

RUN = "mc.run"
SAID = (
    "A [path] leads from [endpoint] A at t = 0 to B at t = 1; every t on it is a whole model. "
    "Where the loss rises above the [chord] there is a [barrier]."
)


def compare() -> None:
    """Draw the page for the question in the address."""
    link_wrong = address.read("compare", presets.first_question())
    show("<h1>Compare two models along a path</h1>", rich(SAID, "quiet"))
    if link_wrong:
        show(text(link_wrong, "error"))
    question, now, wrong = _asked()
    if question and not link_wrong:
        address.write(question)
    if st.session_state.pop(RUN, False) and now:
        now = _submitted(now)
    with st.container(horizontal=True, gap="small", key="ways-in"):
        starting()
        if question:
            share(question, now)
    if now:
        hub_form.remember(question)
    cards(question, now, _reached(now), wrong)
    strip(now, wrong, run=_run, cancel=lambda: engine.cancel(now.job))
    limits()
    if now:
        answer(
            now,
            below=lambda: shipped(
                "This is what the answer will look like: the first question's, which ships with the app."
            ),
        )
        take(now)
    elif question and (told := imported.answer(question)):  # its names mean nothing here, its numbers do
        imported.shown_mark()
        stage(told["tasks"][0], question, change=False)
    else:
        shipped("Until the question above can be answered, here is the first one's answer.")


def _asked() -> tuple:
    """The question, how far its answer is, and what is wrong with it."""
    question = None
    try:
        question = draft.experiment()
        return question, engine.standing(question), None
    except QuestionError as wrong:
        return question, None, wrong


def _run() -> None:
    """Only notes the click: what was typed just before it must be in the question first."""
    st.session_state[RUN] = True
    draft.touched()


def _submitted(now: Standing) -> Standing:
    engine.submit(now)
    return engine.standing(now.question)


def _reached(now: Standing | None) -> dict[str, str]:
    """What each end reaches on the first task, where it is known."""
    if not now or not now.stored:
        return {}
    task = engine.result(now)["tasks"][0]
    known = dict(zip(task["t"], task["accuracy"], strict=True))
    return {side: right(task, known[t]) for side, t in endpoints(now.resolved.route.spec).items() if t in known}
