"""What the Library's parts share: the rows that this visitor may see, their notes, and what is chosen and open.

On a host notes belong to the session, nothing is imported and nothing deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress

import streamlit as st

from mcore import presets
from mcore.errors import McoreError
from mcore.library import items as library
from mcore.library.items import Facts, Item
from mcore.library.notes import Note, Notes
from mcore.profile import profile
from mcore.ui import visitor
from mcore.ui.engine import engine, result, standing
from mcore.ui.library import imported

NOTES = "mc.notes"  # a host's visitor's own, by key
OPEN, PAIR = "open", "pair"  # in the address: beginnings of keys
SHORT = 12  # of a key, in the address
SAID = "mc.library-said"  # what a click has done, told once


def items() -> list[Item]:
    """The rows, newest first; the result that ships with the app last, unless it was computed here."""
    store = engine().store
    entries = [entry for kind in library.KINDS for entry in store.entries(kind)]
    stamp = hashlib.sha256(repr(sorted((entry.key, entry.created) for entry in entries)).encode()).hexdigest()
    found = [item for item in _listed(stamp) if visitor.may_see(item.key)]
    ships = presets.shipped_result()
    if ships and ships["fingerprint"] not in {item.key for item in found}:
        found.append(library.shipped(ships))
    return found


@st.cache_resource(show_spinner=False, max_entries=2)
def _listed(stamp: str) -> list[Item]:
    return library.items(engine().store)


@st.cache_resource(show_spinner=False)
def _file() -> Notes:
    return Notes(engine().store.root)


def memory() -> Notes | None:
    """What was read off results before; None where the file cannot be used."""
    with suppress(McoreError):
        return _file()
    return None


def notes() -> Mapping[str, Note]:
    """By key."""
    if profile().hosted:
        return st.session_state.get(NOTES, {})
    with suppress(McoreError):
        return _file().every()
    return {}


def write(key: str, note: Note) -> None:
    """Raises ``McoreError`` where it cannot be kept."""
    if profile().hosted:
        st.session_state.setdefault(NOTES, {})[key] = note
    else:
        _file().write(key, note)


def facts(shown: Sequence[Item], seconds: float) -> Mapping[str, Facts]:
    """Of these rows; those that nobody has looked at before for so many seconds, where that can be remembered."""
    remembered = memory()
    return library.known_facts(shown, engine().store, remembered, seconds if remembered else 1e9)


def document(item: Item) -> dict | None:
    """The whole result behind a row, as far as it is there. Raises ``McoreError``."""
    if item.kind == "shipped":
        return presets.shipped_result()
    if item.kind == "import":
        return imported.document(item.key)
    now = standing(item.question)
    return result(now) if now.stored else None


def opened(every: Sequence[Item]) -> Item | None:
    """The row that the address opens."""
    return _named(st.query_params.get(OPEN, ""), every)


def open_or_close(key: str) -> None:
    if st.query_params.get(OPEN) == key[:SHORT]:
        del st.query_params[OPEN]
    else:
        st.query_params[OPEN] = key[:SHORT]


def pair(every: Sequence[Item]) -> list[Item]:
    """The rows that the address chooses for comparison, at most two."""
    named = [_named(begin, every) for begin in st.query_params.get_all(PAIR)[:2]]
    found = list(dict.fromkeys(item.key for item in named if item and item.question))
    return [item for key in found for item in every if item.key == key]


def choose(keys: Sequence[str]) -> None:
    """Put these, the last two of them, into the address."""
    if keys:
        st.query_params[PAIR] = [key[:SHORT] for key in keys[-2:]]
    else:
        st.query_params.pop(PAIR, None)


def say(sentence: str) -> None:
    st.session_state[SAID] = sentence


def _named(begin: str, every: Sequence[Item]) -> Item | None:
    found = [item for item in every if len(begin) >= 8 and item.key.startswith(begin)]
    return found[0] if len(found) == 1 else None
