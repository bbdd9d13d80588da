"""The way on where neither endpoint has a head for a task: one click asks for a fitted head."""

from __future__ import annotations

import streamlit as st

from mcore.errors import NoHead, QuestionError
from mcore.ui import draft

HELP = "At each t a linear read-out is fitted to the model's last hidden states, on training rows that are not evaluated."


def offer(wrong: QuestionError | None) -> None:
    """Beneath an error that a fitted head would mend; nothing beneath another one."""
    if isinstance(wrong, NoHead):
        path = ("tasks", int(wrong.field.split(".")[1]))
        st.button("Read it with a fitted head", key="fitted-head", icon=":material/linear_scale:", help=HELP, on_click=_ask, args=(path,))


def _ask(path: draft.Path) -> None:
    for field in ("template", "answers", "normalised"):
        draft.put((*path, field), None)
    draft.put((*path, "read"), "fitted")
