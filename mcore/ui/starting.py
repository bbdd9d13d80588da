"""Questions to start from: presets about checkpoints on the Hub, grouped by what they answer. One fills both ends and the task."""

from __future__ import annotations

import streamlit as st

from mcore import hubpresets, presets
from mcore.hubpresets import Preset
from mcore.ui import draft
from mcore.ui.html import show, text

SAID = "Checkpoints that others put on the Hub, as examples: they may have changed since. Nothing is computed before you press Run."


def starting() -> None:
    """The button, and behind it the presets."""
    with st.popover("Questions to start from", icon=":material/lightbulb:", key="starting", width="content"):
        show(text(SAID, "quiet"))
        st.button("The first question: two seeds of the family that ships", key="preset-first", on_click=draft.change, args=(presets.first_question(),), type="tertiary")
        for i, group in enumerate(hubpresets.groups()):
            with st.expander(group.name, key=f"presets-{i}"):
                for j, preset in enumerate(group.presets):
                    _offer(preset, f"preset-{i}-{j}")


def _offer(preset: Preset, key: str) -> None:
    st.button(preset.name, key=key, on_click=_start, args=(preset,), width="stretch")
    show(text(preset.told, "quiet"), text(" → ".join(preset.repositories), "quiet"))


def _start(preset: Preset) -> None:
    for side in "ab":
        st.session_state.pop(f"chosen-kind-{side}", None)
    draft.change(preset.question)
