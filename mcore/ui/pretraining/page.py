"""The Pre-training page: does the barrier between two models fall with the pre-training that both come from?

The question stands in the address (``sweep_view``); it is asked as one study, and what is there of its answer is drawn while it runs.
"""

from __future__ import annotations

import streamlit as st

from mcore.errors import QuestionError
from mcore.limits import check_study
from mcore.profile import profile
from mcore.question import canonical
from mcore.studies import bystep
from mcore.studies.bystep import Reading
from mcore.studies.pretraining import Asked, Sweep
from mcore.studies.shipped_steps import shipped_steps
from mcore.ui import address, engine
from mcore.ui.forms import token
from mcore.ui.html import rich, show, text
from mcore.ui.pretraining.form import known_history, sweep_form, write
from mcore.ui.pretraining.steps import STYLE, steps
from mcore.ui.pretraining.view import View, read, sweep
from mcore.ui.studied import Studied, studied

SAID = (
    "From each [pre-training step] the same [recipe] is carried out with several [seed]s. How high is the [barrier] between the models, "
    "and does it fall as pre-training goes on? With a second task: how well are both kept on the line between them?"
)


def pretraining() -> None:
    """Draw the page for the question in the address."""
    st.session_state[address.PAGE] = "pre-training"
    show(STYLE)
    show("<h1>Connectivity along pre-training</h1>", rich(SAID, "quiet"))
    view, wrong = read(st.query_params)
    for sentence in wrong:
        show(text(f"{sentence} The usual choice stands below instead.", "error"))
    asked = _asked(view)
    if asked is None:
        return
    if not wrong:
        write(view if view.steps is not None else _with_steps(view, asked))
    studied(asked.study, lambda now: _drawn(asked, now), "Tune and measure", "pretraining")


def _asked(view: View) -> Sweep | None:
    """The form, and the sweep that it asks for; None beneath the sentence that says why there is none."""
    known, asked = None, None
    try:
        known = known_history(view)
        asked = sweep(view, known)
        check_study(asked.study, profile())
        problem = None
    except QuestionError as error:
        problem, asked = error, None
    sweep_form(view, known)
    if problem:
        show(text(str(problem), "error"))
        token.offer(problem, "wrong")
        _shipped("Until the question can be asked, here is how it came out for the one that this page begins with:")
    return asked


def _with_steps(view: View, asked: Sweep) -> View:
    """A link holds the steps that were chosen for whoever made it, whatever is chosen later."""
    return View(**{**vars(view), "steps": tuple(asked.bases)})


def _drawn(asked: Sweep, now: Studied) -> None:
    """What is there so far; where nothing is, what it will look like."""
    readings = {one.name: found for one in asked.asked if (found := _reading_of(one, now)) is not None}
    if readings or now.active:
        steps(bystep.answer(asked, readings), asked, live=now.active)
    else:
        _shipped("Nothing of this is computed yet; the chart grows from the left, pair by pair. So it came out for the question that this page begins with:")


def _shipped(offer: str) -> None:
    if kept := shipped_steps():
        show(text(offer, "quiet"))
        steps(kept.answer, kept.sweep, live=False, where=kept.mark)
    else:
        show(text(offer.partition(". ")[0].rstrip(".") + ".", "note"))


def _reading_of(one: Asked, now: Studied) -> Reading | None:
    standing = now.standings.get(one.name)
    return _reading(one.name, canonical(one.question), standing.resolved.fingerprint, one, standing) if standing and standing.complete else None


@st.cache_resource(show_spinner=False, max_entries=2000, ttl=3600)
def _reading(name: str, question: str, fingerprint: str, _one: Asked, _now: engine.Standing) -> Reading | None:
    return bystep.read(_one, _now.resolved, engine.engine().store)


