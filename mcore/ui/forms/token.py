"""Where a visitor types a token of their own for the Hub, and has it forgotten. ``visitor`` has it for as long as the session lasts.

What is typed leaves its field at once: neither a link nor anything that is shown ever holds it.
"""

from __future__ import annotations

import streamlit as st

from mcore.errors import QuestionError
from mcore.hub.access import SHAPE
from mcore.hub.refusals import Refused
from mcore.ui import visitor
from mcore.ui.engine import engine
from mcore.ui.html import show, text

WRONG = "mc.token-wrong"  # in the session: what was typed last is no token
KEPT = (
    "It stays in this session's memory, on this app's machine, until you forget it, reload or close this tab: in no file, link or log. "
    "It is sent to the Hub alone, and only for repositories that cannot be read without one, or that you send a model to."
)
HERE = "A token is given for this session."
NO_TOKEN = "This is no token: one is 8 to 200 letters, digits, dots, dashes or underscores, as in hf_…"


def place(key: str) -> None:
    """Folded away beside a field that takes a repository's address."""
    with st.expander("Private or gated?", icon=":material/key:", key=f"token-{key}"):
        form(key)


def offer(wrong: QuestionError | None, key: str) -> None:
    """Beneath an error that a token may mend; nothing beneath another one."""
    if isinstance(wrong, Refused):
        with st.popover("Give a token", icon=":material/key:", key=f"token-{key}"):
            form(key)


def form(key: str) -> None:
    """A field for a token, and once there is one the way to have it forgotten."""
    given, field = visitor.token() is not None, f"token-field-{key}"
    if given:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            show(text(HERE, "body"))
            st.button("Forget it", key=f"token-forget-{key}", icon=":material/key_off:", on_click=_forget)
    st.text_input(
        "Another token" if given else "Token",
        type="password",
        autocomplete="off",
        placeholder="hf_…",
        help="A token with the right to read, from the settings of your account on the Hub. Accept the licence of a gated repository there first. To send a model: with the right to write.",
        key=field,
        on_change=_take,
        args=(field,),
    )
    if st.session_state.get(WRONG):
        show(text(NO_TOKEN, "error"))
    show(text(KEPT, "quiet"))


def _take(field: str) -> None:
    given = st.session_state[field].strip()
    st.session_state[field] = ""
    st.session_state[WRONG] = bool(given) and not SHAPE.fullmatch(given)
    if SHAPE.fullmatch(given):
        st.session_state[visitor.TOKEN] = given


def _forget() -> None:
    del st.session_state[visitor.TOKEN]
    with engine().keeper.lent(visitor.name(), None):  # what of theirs waits in the queue has none either, from now on
        pass
