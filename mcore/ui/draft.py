"""The question as it is being asked: JSON values in the session, which every input of the page reads and writes.

Inputs are controlled: before one is drawn its value is set from the draft, and what a person
changes goes into the draft before the page runs again. So a link, the browser's back and a preset
all do the same thing: replace the draft. It may be impossible for a while; ``experiment`` tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from mcore.question import Experiment, as_written, parse

OF_THE_DATA = ("split", "text", "label", "columns", "form", "template", "answers", "normalised")
DRAFT, TOUCHED = "mc.draft", "mc.touched"
Path = tuple[str | int, ...]  # where in the question: ("a", "steps"), ("tasks", 0, "limit")


def there() -> bool:
    return DRAFT in st.session_state


def fill(experiment: Experiment | dict) -> None:
    """Replace the draft."""
    st.session_state[DRAFT] = as_written(experiment) if isinstance(experiment, Experiment) else experiment


def change(experiment: Experiment) -> None:
    """Replace the draft because a person asked for it here, not because the address says so."""
    fill(experiment)
    touched()


def touched() -> None:
    """Say that the draft is newer than the address."""
    st.session_state[TOUCHED] = True


def take_touched() -> bool:
    return st.session_state.pop(TOUCHED, False)


def experiment() -> Experiment:
    """The draft as a question. Raises ``QuestionError``."""
    return parse(st.session_state[DRAFT])


def get(path: Path, default: Any = None) -> Any:
    """What stands at ``path``, or ``default``."""
    here = st.session_state[DRAFT]
    for step in path:
        try:
            here = here[step]
        except (KeyError, IndexError, TypeError):
            return default
    return here


def put(path: Path, value: Any) -> None:
    """Write ``value``; None takes the field out, so that its default holds."""
    *above, last = path
    here = get(tuple(above))
    if here is None and len(above) == 1:
        here = st.session_state[DRAFT].setdefault(above[0], {})
    if not isinstance(here, dict | list):
        return  # a field of a recipe that was turned into an address in the same moment
    if last == "task" and isinstance(value, str) and isinstance(here, dict) and here.get("task") != value:
        for name in OF_THE_DATA:  # what was said of the columns of other data means nothing here
            here.pop(name, None)
    if value is None and isinstance(here, dict):
        here.pop(last, None)
    else:
        here[last] = value
    touched()


def bound(key: str, path: Path, shown: Any, read: Callable[[Any], Any] = lambda value: value) -> dict:
    """The arguments that make an input show ``shown`` and write what a person gives it to ``path``."""
    set_value(key, shown)
    return {"key": key, "on_change": _taken, "args": (key, path, read)}


def set_value(key: str, value: Any) -> None:
    """Make the input with this key show ``value`` when it is drawn next."""
    if key not in st.session_state or st.session_state[key] != value:
        st.session_state[key] = value


def _taken(key: str, path: Path, read: Callable[[Any], Any]) -> None:
    put(path, read(st.session_state[key]))
