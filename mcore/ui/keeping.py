"""What the app keeps on this machine: how much it is, and the button that deletes it."""

from __future__ import annotations

import streamlit as st

from mcore.names import size
from mcore.profile import profile
from mcore.ui.engine import engine
from mcore.ui.html import show, text

FREED = "mc.freed"


def keeping() -> None:
    """Draw the sizes and, behind a second click, the button."""
    store = engine().store
    show("<h2>What is kept</h2>")
    show(text(
        f"Trained models and computed points take {size(store.size())} of at most {size(store.limit_bytes)} on the machine "
        "that runs this app; the least recently used leave first. What is kept is never computed again.", "body",
    ))  # fmt: skip
    if profile().hosted:
        return  # it is everybody's
    with st.popover("Delete it", icon=":material/delete:"):
        show(text("Every trained model and every computed point is deleted, but for what is being computed now.", "body"))
        st.button("Delete everything that is kept", key="clear-store", on_click=_clear)
    if FREED in st.session_state:
        st.toast(f"{size(st.session_state.pop(FREED))} freed.")


def _clear() -> None:
    st.session_state[FREED] = engine().store.clear()
