"""Inputs that several parts of a page share: numbers written as text, a checkpoint, a task."""

from __future__ import annotations

from typing import Any

import streamlit as st

from mcore.models.checkpoints import families
from mcore.question import Recipe, Task
from mcore.tasks import rows as tasks
from mcore.ui import addresses, draft

DEFAULTS = {"a": Recipe.model_fields, "b": Recipe.model_fields, "tasks": Task.model_fields}


def number(words: str) -> Any:
    """A number if it is one (``1e-3``, ``512``), else the text itself, which the question's check then names."""
    words = words.strip().replace(",", "") if isinstance(words, str) else words
    for kind in (int, float):
        try:
            return kind(words)
        except (TypeError, ValueError):
            continue
    return words or None


def numbers(words: str) -> Any:
    """A count, or a list of numbers with commas or spaces between them."""
    parts = words.replace(",", " ").replace(";", " ").split()
    return (
        number(words) if len(parts) == 1 and "." not in words else [number(part) for part in parts] if parts else None
    )


def counts(words: str) -> list | None:
    """Numbers with commas or spaces between them; None for none."""
    return [number(part) for part in words.replace(",", " ").split()] or None


def names(words: str) -> list[str] | None:
    """Texts with commas between them; None for none."""
    return [part.strip() for part in words.split(",")] if words.strip() else None


def shown(value: Any) -> str:
    """A value as it stands in a text field."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(shown(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def number_field(label: str, path: draft.Path, told: str | None = None, standard: Any = None) -> None:
    """A text field for a number. What is left empty has its default, which stands in the field in grey."""
    given = draft.get(path)
    st.text_input(
        label,
        help=told,
        placeholder="" if standard is None else shown(standard),
        **draft.bound(key_of(path), path, shown(given), number),
    )


def recipe_field(label: str, side: str, name: str, told: str | None = None) -> None:
    """A number of a recipe."""
    number_field(label, (side, name), told, Recipe.model_fields[name].default)


def choice_field(label: str, path: draft.Path, known: dict[str | None, str], told: str | None = None) -> None:
    """One of a few values, by the words for each. None is what a field that is left out means: an option like the others, never an empty field."""
    given = draft.get(path)
    offered = known if given in known else {**known, given: str(given)}
    meant = {words: value for value, words in offered.items()}
    st.selectbox(label, list(meant), help=told, **draft.bound(key_of(path), path, offered[given], meant.get))


def family_steps() -> list[str]:
    """The addresses of what ships with the app."""
    return [f"builtin:{name}@{step}" for name, steps in families().items() for step in steps]


def checkpoint_field(label: str, path: draft.Path, told: str) -> None:
    """The family's steps, or any address that is typed or pasted."""
    given, known = draft.get(path), family_steps()
    st.selectbox(
        label,
        known if given in known or not isinstance(given, str) else [*known, given],
        format_func=_checkpoint_name,
        accept_new_options=True,
        help=told,
        placeholder="a step, or paste an address",
        **draft.bound(
            key_of(path),
            path,
            given if isinstance(given, str) else None,
            lambda words: addresses.checkpoint(words or ""),
        ),
    )


def task_field(label: str, path: draft.Path, told: str) -> None:
    """The tasks that ship with the app, known data sets on the Hub, or the path of a file."""
    given, known = draft.get(path), [*(f"builtin:{name}" for name in tasks.declarations()), *tasks.known()]
    st.selectbox(
        label,
        known if given in known or not isinstance(given, str) else [*known, given],
        format_func=task_shown,
        accept_new_options=True,
        help=told,
        placeholder="a task, a data set or a file",
        **draft.bound(
            key_of(path), path, given if isinstance(given, str) else None, lambda words: addresses.data(words or "")
        ),
    )


def described(address: str | None) -> str:
    """What a task asks, for those that are known."""
    name = (address or "").partition("@")[0]
    declared = tasks.declarations().get(name.removeprefix("builtin:")) or tasks.known().get(name)
    return declared["description"] if declared else ""


def key_of(path: draft.Path) -> str:
    """The key of the input that writes there."""
    return "in." + ".".join(map(str, path))


def _checkpoint_name(address: str) -> str:
    name, _, step = address.removeprefix("builtin:").partition("@")
    return f"{name}, step {step}" if address.startswith("builtin:") and step.isdigit() else address


def task_shown(address: str) -> str:
    """How a task's address stands in a list."""
    known = tasks.known().get(address)
    return f"{known['description'].partition(':')[0]}, on the Hub" if known else address.removeprefix("builtin:")
