"""Questions to start from: presets about checkpoints on the Hub, grouped by what they answer. One fills both ends and the task."""

from __future__ import annotations

import streamlit as st

from mcore import presets
from mcore.hub import presets as hubpresets
from mcore.hub.presets import Preset
from mcore.question import Experiment
from mcore.ui import draft
from mcore.ui.html import show, text

OPEN, STARTED = "starting", "mc.started"
FIRST = "The first question: two seeds of the family that ships"
SAID = "Checkpoints that others put on the Hub, as examples: they may have changed since. Nothing is computed before you press Run."


def starting() -> None:
    """The button, and behind it the presets; drawn by itself when it is opened, closed by a choice."""
    st.fragment(_starting)()


def _starting() -> None:
    if st.session_state.pop(STARTED, False):
        st.rerun()
    opened = st.popover("Questions to start from", icon=":material/lightbulb:", key=OPEN, width="content", on_change="rerun")
    if not opened.open:
        return
    with opened:
        show(text(SAID, "quiet"))
        st.button(FIRST, key="preset-first", on_click=_start, args=(presets.first_question(),), type="tertiary")
        for i, group in enumerate(hubpresets.groups()):
            with st.expander(group.name, key=f"presets-{i}"):
                for j, preset in enumerate(group.presets):
                    _offer(preset, f"preset-{i}-{j}")


def _offer(preset: Preset, key: str) -> None:
    st.button(preset.name, key=key, on_click=_start, args=(preset.question,), width="stretch")
    show(text(preset.told, "quiet"), text(" → ".join(preset.repositories), "quiet"))


def _start(question: Experiment) -> None:
    for side in "ab":
        st.session_state.pop(f"chosen-kind-{side}", None)
    draft.change(question)
    st.session_state.update({OPEN: False, STARTED: True})
