"""Charts on a page: one that was drawn before, for whomever, is only sent; making it takes longer than all else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import altair as alt
import pandas  # noqa: F401 (half imported by one visitor's first chart it would break another's)
import streamlit as st


def draw(make: Callable[..., alt.TopLevelMixin], *given: Any, key: str, **options: Any) -> Any:
    """The chart ``make(*given)``, as wide as there is room; ``options`` are those of ``st.vega_lite_chart``."""
    spec = _spec(f"{make.__module__}.{make.__qualname__}", json.dumps(given), make, given)
    return st.vega_lite_chart(spec, theme=None, width="stretch", key=key, **options)


@st.cache_data(show_spinner=False, max_entries=128)
def _spec(name: str, told: str, _make: Callable[..., alt.TopLevelMixin], _given: tuple) -> dict:
    """``told`` stands for ``_given``, which is not hashed: samples of it would be."""
    return _make(*_given).to_dict()
