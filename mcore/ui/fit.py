"""A path that is fitted: its loss by t while it is, and afterwards in a tab; the shares of a learned mix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from mcore import curvefile
from mcore.charts_fit import fit_chart, mix_chart
from mcore.names import nats
from mcore.ui import engine
from mcore.ui.drawing import draw
from mcore.ui.engine import Standing
from mcore.ui.html import figures, rich, show, text
from mcore.ui.stage import BESIDE, CHART
from mcore.ui.theme import dark
from mcore.ways import subject

TENTH = 10


def fit_stage(rows: Sequence[tuple], now: Standing) -> None:
    """While the path is fitted: where the chart will be."""
    spec = now.resolved.route.spec
    with st.container(key="stage"):
        left, right = st.columns([CHART, BESIDE], gap="large")
        with left:
            draw(fit_chart, rows, spec.steps, dark(), key="fit-chart")
        with right:
            show(text("What happens now", "head"))
            show(text(f"{subject(spec).capitalize()} is fitted on training rows. Its points appear here as soon as that is done.", "body"))
            show(text("This goes on when you close the page; the link in the address bar leads back to it.", "quiet"))


def fit_tab(now: Standing, result: Mapping) -> None:
    """How the loss fell while it was fitted; of a mix, what it has taken of B."""
    told = curvefile.history(now.resolved, engine.engine().store)
    if told is None:
        show(text("This path is fitted when the question is run: the loss of every step stands here then.", "body"))
        return
    losses, spec = told["loss"], now.resolved.route.spec
    left, right = st.columns([CHART, BESIDE], gap="large")
    with left:
        if mix := (result.get("path") or {}).get("mix"):
            show(text("How much of B the mix has taken", "head"))
            draw(mix_chart, mix, dark(), key="mix-chart")
        draw(fit_chart, rows_of(told), spec.steps, dark(), key="fit-chart")
    with right:
        count = max(1, len(losses) // TENTH)
        first, last = (sum(some) / count for some in (losses[:count], losses[-count:]))
        show(figures([("loss in the first tenth (nats)", nats(first)), ("in the last tenth", nats(last)), ("steps", f"{len(losses):,}"),
                      ("rows to fit on", f"{len(now.resolved.route.fitting):,}")]))  # fmt: skip
        show(rich("Each step draws one t and one batch of training rows, none of which is evaluated; the gradient moves only what is fitted.", "quiet"))


def rows_of(told: Mapping) -> list[tuple]:
    """Step, t and loss of every step in a ``curve.json``."""
    places = told.get("t") or [None] * len(told["loss"])
    return [(i, t, loss) for i, (t, loss) in enumerate(zip(places, told["loss"], strict=True), 1)]
