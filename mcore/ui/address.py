"""The address bar always holds the question: what stands there fills the page, what is changed is written there.

Nothing here computes. A link that cannot be read leaves one sentence and the nearest question that can be asked.
"""

from __future__ import annotations

import streamlit as st

from mcore.errors import QuestionError
from mcore.link import VERSION, mended, pack, unlink
from mcore.question import Experiment
from mcore.ui import draft

KNOWN, HELD, WRONG, PAGE = "mc.address", "mc.held", "mc.link-wrong", "mc.page"


def read(page: str, first: Experiment) -> str | None:
    """Fill the draft from the address if that has changed by itself (a link, back, forward).

    What is wrong with the link, and what stands there instead: the nearest question that can be asked.
    """
    packed = st.query_params.get("q")
    arrived = st.session_state.get(PAGE) != page
    st.session_state[PAGE] = page
    if draft.take_touched() and draft.there():
        st.session_state[WRONG] = None  # a person has gone on from what stood there instead
        return None
    if draft.there() and not arrived and packed == st.session_state.get(KNOWN):
        return st.session_state.get(WRONG)
    st.session_state.update({KNOWN: packed, HELD: None, WRONG: None})
    if packed is None:
        if not (draft.there() and arrived):
            draft.fill(first)
        return None
    try:
        draft.fill(unlink(f"v={st.query_params.get('v', VERSION)}&q={packed}"))
    except QuestionError as wrong:
        nearest, left = mended(packed, first)
        draft.fill(nearest)
        instead = "What could be read of the link stands below." if left else "The first question stands below instead."
        st.session_state[WRONG] = f"{wrong} {instead}"
    st.session_state[HELD] = pack(draft.experiment())
    return st.session_state[WRONG]


def write(experiment: Experiment) -> None:
    """Put the question into the address, unless it stands there in other words."""
    packed = pack(experiment)
    if packed in (st.session_state.get(KNOWN), st.session_state.get(HELD)):
        return
    st.query_params.update({"v": VERSION, "q": packed})  # what else a page keeps there stays
    st.session_state.update({KNOWN: packed, HELD: None, WRONG: None})


def query(experiment: Experiment) -> dict[str, str]:
    """The question as query parameters of a page."""
    return {"v": VERSION, "q": pack(experiment)}


def whole(experiment: Experiment, page: str) -> str:
    """The question as an address that can be sent to somebody."""
    base = (st.context.url or "").partition("?")[0].rstrip("/")
    if base.rpartition("/")[2] != page:
        base = f"{base}/{page}"
    return f"{base}?v={VERSION}&q={pack(experiment)}"
