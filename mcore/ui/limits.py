"""What a host lets a visitor ask, shown where it matters, and the button of a running question; see ``mcore.profile``."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from mcore.jobs.queue import Job
from mcore.profile import profile, told
from mcore.ui import engine
from mcore.ui.html import show, text


def limits() -> None:
    """Beneath what a visitor submits: why the queue did not take it, and on a host one quiet line."""
    if refused := st.session_state.pop(engine.REFUSED, None):
        show(text(refused, "error"))
    if profile().hosted and (most := told(profile())):
        show(text(f"On this host: at most {most}.", "quiet"))


def running_button(job: Job, run: Callable[[], None], cancel: Callable[[], None], **how: object) -> None:
    """Cancel, or for a question that only others have asked: Join."""
    if engine.may_cancel(job):
        st.button("Cancel", type="primary", on_click=cancel, key="cancel", icon=":material/stop:", **how)
    else:
        told = "Another visitor asked this. Join, and it goes on for you even if they cancel it."
        st.button("Join", on_click=run, key="join", icon=":material/group_add:", help=told, **how)


def at_home(words: str) -> str:
    """Words about a person's own files, which there are none of on a host."""
    return "" if profile().hosted else words
