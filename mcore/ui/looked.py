"""What stands at the two ends, as far as it can be told before a question can be answered: facts of each, a verdict on the pair."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from mcore.errors import QuestionError
from mcore.hub.access import private_part
from mcore.hub.remote import to_fetch
from mcore.hub.search import check_network
from mcore.models.checkpoints import Checkpoint
from mcore.models.joinable import Verdict, joinability, shape
from mcore.names import plain, size
from mcore.profile import profile
from mcore.question import Endpoint, Experiment, Recipe
from mcore.sources import look
from mcore.ui.engine import Standing
from mcore.ui.html import show, table, text
from mcore.ui.waiting import patiently

DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8", "F8_E5M2": "float8"}
MOST_LABELS = 4  # that a card names
MOST_TENSORS = 300  # that are listed


def address(end: Endpoint) -> str:
    return end.base if isinstance(end, Recipe) else end


def checkpoints(question: Experiment | None, now: Standing | None) -> dict[str, Checkpoint]:
    """Side -> what stands there, or its base: of those that can be looked at."""
    if now:
        return {side: now.resolved.endpoint(side).looked_at for side in "ab"}
    return {side: found for side in "ab" if question and (found := at(address(getattr(question, side)), side))}


def facts(model: Checkpoint) -> list[str]:
    """Architecture, parameters, dtype, files, labels, licence: in this order, what is known."""
    told = [
        str((model.config.get("architectures") or [model.config.get("model_type") or "unknown"])[0]),
        f"{'about ' if model.unread else ''}{count(model.parameters)} parameters",
        " and ".join(sorted({DTYPES.get(one.dtype, one.dtype.lower()) for one in model.tensors.values()} - {"i64", "i32", "bool", "u8"})),
        f"{size(left)} to fetch" if (left := to_fetch(model)) else size(model.bytes),
    ]
    if model.base:
        told.append(f"an adapter of {model.base.address.removeprefix('hub:').partition('@')[0]}")
    if model.pickled:
        told.append("weights in a pickle")
    if model.labels:
        more = len(model.labels) - MOST_LABELS
        told.append("labels " + ", ".join(model.labels[:MOST_LABELS]) + (f" and {more} more" if more > 0 else ""))
    if model.listing:
        told.append(f"licence {model.listing.licence}" if model.listing.licence else "no licence named")
    return [one for one in told if one]


def count(parameters: int) -> str:
    """``4.4 M``, ``110 M``, ``24,000``."""
    return f"{round(parameters, -3) or parameters:,}" if parameters < 1e5 else f"{plain(parameters / 1e6, 0 if parameters >= 1e8 else 1)} M"


def verdict(question: Experiment, found: dict[str, Checkpoint]) -> Verdict | None:
    """Whether the pair can be joined; None where that is plain, or one of them is not there."""
    ends = {side: getattr(question, side) for side in "ab"}
    if len(found) < 2 or all(address(end).startswith("builtin:") for end in ends.values()):
        return None
    a, b = (replace(found[side], labels=None) if isinstance(ends[side], Recipe) else found[side] for side in "ab")
    return joinability(a, b)


def show_verdict(told: Verdict) -> None:
    """One line, and behind a button the tensors that differ."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="verdict"):
        with st.container(width="stretch"):
            show(text(told.sentence(), "quiet" if told.joinable else "error"))
        if told.tensors:
            with st.popover(f"{len(told.tensors):,} tensors differ" if len(told.tensors) > 1 else "1 tensor differs", key="differing"):
                rows = [[one.name, shape(one.a), shape(one.b)] for one in told.tensors[:MOST_TENSORS]]
                show(table(["tensor", "A", "B"], rows, "Tensors that differ"))
                if len(told.tensors) > MOST_TENSORS:
                    st.caption(f"These are the first {MOST_TENSORS}.")


def at(name: str, side: str) -> Checkpoint | None:
    """What stands at an address, None where it cannot be looked at; nor is anything that a host has on its own disk."""
    if profile().hosted and name.startswith("local:"):
        return None
    part = private_part()
    try:
        return patiently(lambda: _looked(name, side, part)) if name.startswith("hub:") else look(name, side)
    except QuestionError:
        return None


@st.cache_resource(show_spinner=False, max_entries=64, ttl=600)
def _looked(name: str, side: str, whose: str | None) -> Checkpoint:
    check_network(name, side)
    return look(name, side)
