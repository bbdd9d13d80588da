"""Beneath the probes: which features of the layers are looked at, and what is read out of them. Only where a probe asks for layers."""

from __future__ import annotations

from typing import Any

import streamlit as st

from mcore.question import LAYERWISE
from mcore.ui import addresses, draft
from mcore.ui.forms import inputs

PATH = ("representation",)
POOLS = {"mean": "mean of the tokens", "first": "first token", "last": "last token"}


def layers_form() -> None:
    if not set(draft.get(("probes",)) or ()) & set(LAYERWISE):
        return
    st.segmented_control(
        "A text's features",
        list(POOLS),
        format_func=POOLS.get,
        required=True,
        help="Of the hidden states of its tokens. The first is the class token of an encoder; in a causal model it sees nothing of the text.",
        **draft.bound("in.representation.pool", (*PATH, "pool"), draft.get((*PATH, "pool"), "mean"), lambda name: None if name == "mean" else name),
    )
    layers, task = st.columns(2)
    given = draft.get((*PATH, "layers"))
    with layers:
        st.text_input(
            "Layers",
            help="Empty: all. Or some, from 0, with commas between, and embeddings for what goes into layer 0.",
            placeholder="all",
            **draft.bound("in.representation.layers", (*PATH, "layers"), "" if given in (None, "all") else inputs.shown(given), _layers),
        )
    with task:
        st.text_input(
            "Task to read out",
            help="Any labelled task, by its address; both models are fed its rows. Empty: the task above.",
            placeholder="the task above",
            **draft.bound("in.representation.task", (*PATH, "task"), draft.get((*PATH, "task", "task"), ""), _task),
        )


def _layers(words: str) -> Any:
    named = inputs.names(words)
    return None if named in (None, ["all"]) else [inputs.number(one) for one in named]


def _task(words: str) -> dict | None:
    return {"task": addresses.data(words)} if words.strip() else None
