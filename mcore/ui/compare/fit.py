"""A path that is fitted: its loss by t while it is, and afterwards in a tab; the shares of a learned mix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from mcore.charts.fit import fit_chart, mix_chart, most_decided
from mcore.names import nats, percent
from mcore.paths import curvefile
from mcore.paths.ways import subject
from mcore.ui import engine
from mcore.ui.compare.stage import BESIDE, CHART
from mcore.ui.drawing import draw
from mcore.ui.engine import Standing
from mcore.ui.html import figures, rich, show, text
from mcore.ui.theme import dark

TENTH = 10
MOST_BARS = 30  # of a mix that are shown at once
FRAME = 560  # pixels that all of them scroll in


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
            _mix(mix, spec.per)
        draw(fit_chart, rows_of(told), spec.steps, dark(), key="fit-chart")
    with right:
        count = max(1, len(losses) // TENTH)
        first, last = (sum(some) / count for some in (losses[:count], losses[-count:]))
        show(figures([("loss in the first tenth (nats)", nats(first)), ("in the last tenth", nats(last)), ("steps", f"{len(losses):,}"),
                      ("rows to fit on", f"{len(now.resolved.route.fitting):,}")]))  # fmt: skip
        show(rich("Each step draws one t and one batch of training rows, none of which is evaluated; the gradient moves only what is fitted.", "quiet"))


def _mix(mix: Mapping[str, float], per: str) -> None:
    """Of many groups those that say most, unless all are asked for: these scroll in a frame of their own."""
    if len(mix) <= MOST_BARS:
        draw(mix_chart, mix, dark(), key="mix-chart")
        return
    some, every = f"The {MOST_BARS} furthest from one half", f"All {len(mix):,}"
    chosen = st.segmented_control(f"Shares per {per}", (some, every), default=some, required=True, key="mix-shown")
    if chosen == every:
        with st.container(height=FRAME, key="mix-frame"):
            draw(mix_chart, mix, dark(), key="mix-chart-all")
    else:
        draw(mix_chart, most_decided(mix, MOST_BARS), dark(), key="mix-chart")
        others = [share for name, share in mix.items() if name not in most_decided(mix, MOST_BARS)]
        show(text(f"In the order of the model. The other {len(others):,} have taken {percent(min(others))} to {percent(max(others))} of B.", "quiet"))


def rows_of(told: Mapping) -> list[tuple]:
    """Step, t and loss of every step in a ``curve.json``."""
    places = told.get("t") or [None] * len(told["loss"])
    return [(i, t, loss) for i, (t, loss) in enumerate(zip(places, told["loss"], strict=True), 1)]
