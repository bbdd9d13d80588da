"""The view of the Knowledge page in the address bar: read from it, written to it, bound to inputs."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from mcore.ui import draft
from mcore.ui.knowledge import view
from mcore.ui.knowledge.view import View

MOST_TASKS = 8  # of a question


def seen(tasks: int) -> View:
    """The view in the address, for a question with so many tasks."""
    return view.read(st.query_params, tasks)


def look(**changes: object) -> None:
    """Write a changed view into the address. Ranks mean nothing any more where the rows or their order change."""
    if {"task", "sort", "group", "find"} & changes.keys():
        changes = {"rows": None} | changes
    if "task" in changes:
        changes = {"row": None} | changes
    written = view.written(replace(seen(MOST_TASKS), **changes))
    others = {name: value for name, value in st.query_params.to_dict().items() if name not in written}
    st.query_params.from_dict(others | {name: value for name, value in written.items() if value is not None})  # one step back


def bound(name: str, shown: object) -> dict:
    """The arguments that make an input show ``shown`` and write what a person gives it to the view's ``name``."""
    key = f"knowledge-{name}"
    draft.set_value(key, shown)
    return {"key": key, "on_change": _taken, "args": (key, name)}


def _taken(key: str, name: str) -> None:
    value = st.session_state[key]
    look(**{name: value.strip() if isinstance(value, str) else value})
