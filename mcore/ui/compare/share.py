"""The link that shares a question, with names on the Hub as they are written or pinned to what they stand for now."""

from __future__ import annotations

import streamlit as st

from mcore.pin import pinned
from mcore.question import Experiment
from mcore.ui import address
from mcore.ui.engine import Standing
from mcore.ui.html import show, text

PIN = "The link then names commits instead of branches: what changes on the Hub later changes nothing in it."


def share(question: Experiment, now: Standing | None) -> None:
    """A button with the link behind it."""
    with st.popover("Share", icon=":material/link:", key="share", width="content"):
        show(text("This link holds the whole question, and its answer wherever that is in the store.", "quiet"))
        shared_link(question, now, "pin-share")


def shared_link(question: Experiment, now: Standing | None, key: str) -> Experiment:
    """The link, and where a name on the Hub may change the choice to pin it; the question that it holds."""
    fixed = pinned(question, now.resolved.experiment) if now else question
    if fixed != question and st.toggle("Pin this link", key=key, help=PIN):
        question = fixed
    st.code(address.whole(question, "Compare"), language=None, wrap_lines=True)
    return question
