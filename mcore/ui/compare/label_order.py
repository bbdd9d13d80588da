"""Which output of each end means which label of the task: one line, the table behind it, and a person's own word for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from mcore.names import finite, percent
from mcore.ui import draft
from mcore.ui.engine import Standing
from mcore.ui.html import show, table, text

SOURCES = {"names": "by their names", "data": "found from the data", "person": "named by a person"}
MOST_CHOSEN = 8  # outputs that are named one by one
CHANGED = "mc.order-changed"
AMBIGUOUS = "The rows do not tell the order: another one agrees with nearly as many. The outputs are read in their own order; say below what they mean."


def label_order(now: Standing, task: Mapping) -> None:
    """For ends that were not trained here, whose outputs have the task's own names."""
    if st.session_state.pop(CHANGED, False):
        st.rerun()  # the whole page: the question is another one
    told = {side: one for side, one in (task.get("label_order") or {}).items() if one and not now.resolved.endpoint(side).recipe}
    if not told:
        return
    said = "; ".join(f"{side.upper()} {_source(one)}" for side, one in told.items())
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="label-order"):
        with st.container(width="content"):
            show(text(f"Which output means which label: {said}.", "quiet"))
        with st.popover("Labels", key="label-order-open"):
            for side, one in told.items():
                _side(now, side, one, task["labels"])


def order_table(now: Standing, side: str, told: Mapping) -> str:
    """The table of one end, as HTML."""
    outputs = now.resolved.endpoint(side).looked_at.labels or ()
    rows = [[str(i), outputs[i] if i < len(outputs) else "", name or "not read"] for i, name in enumerate(told["names"])]
    return table(["output", "the model calls it", "read as"], rows, f"Labels of {side.upper()}", left=3)


def _side(now: Standing, side: str, told: Mapping, labels: Sequence[str]) -> None:
    show(text(f"{side.upper()}: {_source(told)}", "head"), order_table(now, side, told))
    if told["ambiguous"]:
        show(text(AMBIGUOUS, "note"))
    own = list(now.resolved.endpoint(side).looked_at.labels or ())
    means = [told["names"][i] if i < len(told["names"]) and told["names"][i] else name for i, name in enumerate(own)]
    if len(own) > MOST_CHOSEN:
        st.caption(f"Name {side.upper()}'s outputs under More, with commas between.")
        return
    with st.container(horizontal=True, gap="small"):
        for i, meant in enumerate(means):
            key = f"order-{side}-{i}"
            draft.set_value(key, meant)
            st.selectbox(
                f"{side.upper()}, output {i} means", list(dict.fromkeys([*labels, meant, own[i]])), key=key, width=180,
                on_change=_named, args=(side, i, tuple(means)),
            )  # fmt: skip
    if draft.get(("labels", side)):
        st.button("Find it again", key=f"order-{side}-found", on_click=_named, args=(side, None, ()))


def _named(side: str, place: int | None, means: tuple[str, ...]) -> None:
    """What a person says an output means; who meant that before means what this one meant."""
    st.session_state[CHANGED] = True
    if place is None:
        draft.put(("labels", side), None)
        return
    said, names = st.session_state[f"order-{side}-{place}"], list(means)
    if said in names:
        names[names.index(said)] = names[place]
    names[place] = said
    draft.put(("labels", side), names)


def _source(told: Mapping) -> str:
    agreement = f", agrees with {percent(told['agreement'])} of the rows" if finite(told["agreement"]) else ""
    return SOURCES[told["from"]] + agreement + (", not certain" if told["ambiguous"] else "")
