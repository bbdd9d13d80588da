"""Result files that a collaborator sent: taken in, and shown where a question has no answer of its own."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from mcore.errors import McoreError
from mcore.library import items as library
from mcore.library import resultfile
from mcore.names import size
from mcore.profile import profile
from mcore.question import Experiment
from mcore.ui.engine import engine
from mcore.ui.html import mark, show, text

TURN, LAST = "mc.import-turn", "mc.import-last"
SAID = (
    "A result that was downloaded as JSON, here or on another machine. It is read as numbers and words, nothing in it is "
    f"executed, and it stays apart from what is computed here. At most {size(resultfile.MOST_BYTES)}."
)


def document(key: str) -> dict | None:
    """An imported file's result; None if it is not there any more."""
    return _document(key) if engine().store.has([key]) else None


@st.cache_data(show_spinner=False, max_entries=16)
def _document(key: str) -> dict | None:
    file = library.kept_file(key, engine().store)
    return None if file is None else resultfile.document(file)


def answer(question: Experiment, fingerprint: str | None = None) -> Mapping | None:
    """The imported result that answers a question; ``fingerprint``: the question's, where it could be resolved."""
    if profile().hosted:
        return None
    key = library.file_for(question, fingerprint, engine().store)
    told = document(key) if key else None
    return told if told and len(told["tasks"]) == len(question.tasks) else None


def shown_mark() -> None:
    """Says that what stands below came in a file."""
    show(f"<p>{mark('imported file')}</p>", text("This result came in a file; nothing of it was computed here.", "quiet"))


def chooser() -> str | None:
    """Draw the way in; the key of a file that has just been taken."""
    show(text(SAID, "quiet"))
    turn = st.session_state.setdefault(TURN, 0)
    most = resultfile.MOST_BYTES // 1024**2
    given = st.file_uploader("Result file (JSON)", type="json", max_upload_size=most, key=f"import-{turn}")
    if given is None:
        return None
    before, wrong = st.session_state.get(LAST, ("", ""))
    if before != given.file_id:
        wrong = ""
        try:
            key = library.keep_file(given.getvalue(), given.name, engine().store)
        except McoreError as error:
            wrong = str(error)
        st.session_state[LAST] = (given.file_id, wrong)
        if not wrong:
            st.session_state[TURN] = turn + 1  # a new, empty field
            return key
    if wrong:
        show(text(f"This file is not taken. {wrong}", "error"))
    return None
