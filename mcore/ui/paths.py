"""The tab "Paths": this path beside the others of the same pair, on one chart and in one table."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from mcore.along import AXES, extremes, mean_loss, positions
from mcore.charts_ways import labels, ways_chart
from mcore.errors import McoreError, QuestionError
from mcore.names import nats, plain, unit
from mcore.siblings import siblings
from mcore.ui import engine, visitor
from mcore.ui.drawing import draw
from mcore.ui.engine import Standing
from mcore.ui.html import plain_label, rich, show, table, text
from mcore.ui.theme import dark
from mcore.ways import short, way

HEADS = ["path", "barrier", "95 % interval", "lowest loss", "highest", "mean over t", "mean over arc length", "length / chord"]


def paths_tab(now: Standing, result: Mapping) -> None:
    """The first task of this result, and of the results of other paths."""
    others = _others(now)
    entries = [result["tasks"][0], *(one["tasks"][0] for one in others)]
    ways = [result.get("path"), *(one.get("path") for one in others)]
    axis = _axis(entries[0], ways[0])
    draw(ways_chart, entries, ways, axis, dark(), key="ways-chart")
    if left_out := [short(way(one)) for one, path in zip(entries, ways, strict=True) if positions(one, path, axis) is None]:
        show(text(f"Not on this axis, because it was not measured there: {', '.join(left_out)}.", "quiet"))
    if not others:
        show(rich("No other [path] of this pair is in the store yet. Choose another one above and run it: it appears here beside this one.", "quiet"))
    rows = [_row(one, path) for one, path in zip(entries, ways, strict=True)]
    if labels(entries)[-1].isdigit():  # as they stand at the lines
        rows = [[f"{i}. {row[0]}", *row[1:]] for i, row in enumerate(rows, 1)]
    show('<div class="mc-ways">', table(HEADS, rows, "Paths of this pair"), "</div>")
    measure = unit(entries[0])
    show(rich(f"Loss in {measure}, from A to B. [length] is L2 in weight space; the chord is the straight way between the ends of the path.", "quiet"))
    if told := alignment_told(result.get("path")):
        show(text(told, "body"))


def alignment_told(path: Mapping | None) -> str:
    """What permuting B's units has changed, in a sentence; nothing where it was not asked for."""
    told = (path or {}).get("alignment")
    if not told:
        return ""
    return (
        f"Alignment by {told['method']} has moved {told['moved_units']:,} of {told['units']:,} hidden units of B, and brought it "
        f"from an L2 distance of {plain(told['l2_before'], 2)} to one of {plain(told['l2_after'], 2)} from A."
    )


def _others(now: Standing) -> list[Mapping]:
    """The results of the other paths, as far as they are there: at least both ends and a point between them."""
    found = []
    for question in siblings(now.resolved, engine.engine().store, visitor.may_see, engine.resolved):
        try:
            told = engine.result(engine.standing(question))
        except (QuestionError, McoreError):  # it cannot be asked any more
            continue
        if len(told["tasks"][0]["t"]) > 2:
            found.append(told)
    return found


def _axis(entry: Mapping, path: Mapping | None) -> str:
    """What the horizontal axis is: of those on which this path has places."""
    possible = [name for name in AXES if positions(entry, path, name)]
    if len(possible) < 2:
        return "t"
    chosen = st.segmented_control(
        "Equal steps of", possible, format_func=lambda name: plain_label(AXES[name]), default="t", required=True, key="along", bind="query-params",
        help="Where a path bends, equal steps of t are not equal steps of weights or of outputs.",
    )  # fmt: skip
    return chosen if chosen in possible else "t"


def _row(entry: Mapping, path: Mapping | None) -> list[str]:
    barrier = (entry.get("barrier") or {}).get("loss_chord")
    interval = (barrier["low"], barrier["high"]) if barrier else None
    low, high = extremes(entry) or (None, None)
    told = [nats(barrier["value"], interval), f"{nats(barrier['low'], interval)} to {nats(barrier['high'], interval)}"] if barrier else ["–", "–"]
    ratio = path["length"] / path["chord"] if path and path.get("chord") else None
    means = [plain(mean_loss(entry, path, axis), 3) for axis in ("t", "arc")]
    return [short(way(entry)), *told, plain(low, 3), plain(high, 3), *means, plain(ratio, 3)]
