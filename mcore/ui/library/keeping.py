"""What the app keeps on this machine: a line for Home, and in the Library the ways to free some of it."""

from __future__ import annotations

import streamlit as st

from mcore.errors import McoreError
from mcore.library import clearing
from mcore.library.items import Item
from mcore.names import size
from mcore.ui.engine import engine
from mcore.ui.html import show, text
from mcore.ui.library import shelf

LIBRARY = "pages/6_Library.py"
AGES = {"Not used for 30 days": 30, "Not used for 7 days": 7, "Everything": None}


def keeping() -> None:
    """Home's line: how much it is, and the way to the Library."""
    store = engine().store
    show("<h2>What is kept</h2>")
    show(text(
        f"Trained models and computed points take {size(store.size())} of at most {size(store.limit_bytes)} on the machine "
        "that runs this app; the least recently used leave first. What is kept is never computed again.", "body",
    ))  # fmt: skip
    st.page_link(LIBRARY, label="See it in the Library", icon=":material/inventory_2:")


def free_space(every: list[Item]) -> None:
    """What would go, and the button that makes it go."""
    age = st.radio("Delete what is", list(AGES), key="age", format_func=lambda name: name[:1].lower() + name[1:])
    store = engine().store
    if AGES[age] is None:
        entries = store.entries()
        show(text("Every result, trained model, imported file and note is deleted, but for what is being computed now.", "body"))
    else:
        entries = clearing.unused(AGES[age], store)
        show(text("A result that was opened since stays, with all that belongs to it.", "quiet"))
    freed = sum(entry.bytes for entry in entries)
    label = f"Delete {len(entries):,} entries, {size(freed)}" if entries else "Nothing to delete"
    st.button(label, key="clear-store", disabled=not entries, on_click=_clear, args=(AGES[age], every))


def _clear(days: int | None, every: list[Item]) -> None:
    store, notes = engine().store, shelf.memory()
    try:
        if days is None:
            freed = store.clear()
            if notes:
                notes.forget([item.key for item in every])
        else:
            freed = clearing.clear(clearing.unused(days, store), store, notes)
        shelf.say(f"{size(freed)} freed.")
    except McoreError as error:
        shelf.say(str(error))
