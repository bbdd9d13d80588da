"""A list of examples with their texts, beside which the chosen one is read: every part of the Knowledge page has one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import streamlit as st

from mcore.knowledge.grid import Grid, as_text
from mcore.ui import draft
from mcore.ui.knowledge.looking import look

TABLE, IDS = "knowledge-list", "mc.knowledge-list-ids"
MOST = 500  # rows of a list; the file holds all


def listed(grid: Grid, places: np.ndarray, chosen: int | None, numbers: Mapping[str, tuple[np.ndarray, str, str]]) -> None:
    """``numbers``: by the name of a column its values over the whole grid, how they are written and what they are."""
    shown = places[:MOST]
    rank = np.flatnonzero(shown == chosen) if chosen is not None else ()
    st.session_state[IDS] = grid.ids[shown]
    draft.set_value(TABLE, {"selection": {"rows": [int(rank[0])] if len(rank) else [], "columns": [], "cells": []}})
    frame = {"text": [as_text(grid.texts[place]) for place in shown], "true label": [str(grid.names[label]) for label in grid.labels[shown]]}
    frame |= {name: values[shown] for name, (values, _, _) in numbers.items()}
    number = st.column_config.NumberColumn
    st.dataframe(
        pd.DataFrame(frame | {"row": grid.ids[shown]}), hide_index=True, height=min(330, 38 + 35 * len(shown)), key=TABLE, on_select=_selected,
        selection_mode="single-row", placeholder="–", alt="The examples in view",
        column_config={
            "text": st.column_config.TextColumn("text", width=330),
            "true label": st.column_config.TextColumn("true label", width=95),
            **{name: number(name, format=form, width=95, help=told) for name, (_, form, told) in numbers.items()},
            "row": number("row", format="%d", width=65, help="Its place in the data."),
        },
    )  # fmt: skip


def _selected() -> None:
    rows, ids = st.session_state[TABLE]["selection"]["rows"], st.session_state.get(IDS, ())
    look(row=str(ids[rows[0]]) if rows and rows[0] < len(ids) else None)
