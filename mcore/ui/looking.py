"""The view of the Knowledge page in the address bar: read from it, written to it, bound to inputs."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from mcore.question import Experiment
from mcore.ui import draft, view
from mcore.ui.view import View


def seen(tasks: int) -> View:
    """The view in the address, for a question with so many tasks."""
    return view.read(st.query_params, tasks)


def look(**changes: object) -> None:
    """Write a changed view into the address. Ranks mean nothing any more where the rows or their order change."""
    if {"task", "sort", "group", "find"} & changes.keys():
        changes = {"rows": None} | changes
    if "task" in changes:
        changes = {"row": None} | changes
    for name, value in view.written(replace(seen(Experiment.model_fields["tasks"].metadata[1].max_length), **changes)).items():
        if value is not None:
            st.query_params[name] = value
        elif name in st.query_params:
            del st.query_params[name]


def bound(name: str, shown: object) -> dict:
    """The arguments that make an input show ``shown`` and write what a person gives it to the view's ``name``."""
    key = f"knowledge-{name}"
    draft.set_value(key, shown)
    return {"key": key, "on_change": _taken, "args": (key, name)}


def _taken(key: str, name: str) -> None:
    look(**{name: st.session_state[key]})
