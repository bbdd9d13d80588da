"""The tab "Paths": this path beside the others of the same pair, on one chart and in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from mcore.charts.ways import labels, ways_chart
from mcore.errors import McoreError, QuestionError
from mcore.names import nats, percent, plain, unit
from mcore.paths.along import AXES, extremes, mean_loss, positions
from mcore.paths.siblings import siblings
from mcore.paths.ways import LORA, short, way
from mcore.question import PathSpec, as_written, parse
from mcore.studies.sweep import asked_by_a_sweep
from mcore.ui import draft, engine, visitor
from mcore.ui.compare.parts import parts
from mcore.ui.drawing import draw
from mcore.ui.engine import Standing
from mcore.ui.html import plain_label, rich, show, table, text
from mcore.ui.theme import dark
from mcore.words import is_connected, joins_minima

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
    if {"factors", "merged"} <= {way(one).lora for one in entries}:
        show(rich(f"The two ways of LoRA meet at both ends and nowhere else. {LORA['factors']} {LORA['merged']}", "body"))
    _alignment(now, entries, ways)
    parts(now, entries[0])


def _alignment(now: Standing, entries: Sequence[Mapping], ways: Sequence[Mapping | None]) -> None:
    """What alignment has changed: of this path, or of those beside it that are this one with B aligned."""
    here, twins = way(entries[0]), [way(one) for one in entries[1:]]
    if here.align == "none":
        for entry, path, other in zip(entries[1:], ways[1:], twins, strict=True):
            if other.align != "none" and _unaligned(other) == _unaligned(here) and (told := alignment_told(path)):
                show(text(f"{told} {barrier_removed(entry, entries[0])}", "body"))
        return
    if not (told := alignment_told(ways[0])):
        return
    without = next((entry for entry, other in zip(entries[1:], twins, strict=True) if other.align == "none" and _unaligned(other) == _unaligned(here)), None)
    show(text(f"{told} {barrier_removed(entries[0], without)}" if without else told, "body"))
    if without is None or not without.get("barrier"):
        show(text("How much of the barrier that removes is known once the same path to the untouched B is there too.", "quiet"))
        written = as_written(now.question)
        written["path"] = {name: value for name, value in written["path"].items() if name != "align"}
        if st.button("Ask for the unaligned path", key="unaligned", on_click=draft.change, args=(parse(written),), icon=":material/arrow_forward:"):
            st.rerun()  # the whole page: its inputs have changed


def _unaligned(spec: PathSpec) -> dict:
    """Everything that a path is but for its alignment."""
    return spec.model_dump(exclude={"align"})


def alignment_told(path: Mapping | None) -> str:
    """What permuting B's units has changed, in a sentence; nothing where it was not asked for."""
    told = (path or {}).get("alignment")
    if not told:
        return ""
    return (
        f"Alignment by {told['method']} has moved {told['moved_units']:,} of {told['units']:,} hidden units of B, and brought it "
        f"from an L2 distance of {plain(told['l2_before'], 2)} to one of {plain(told['l2_after'], 2)} from A."
    )


def barrier_removed(aligned: Mapping, without: Mapping) -> str:
    """What of the barrier of a task's entry ``without`` alignment is left in the ``aligned`` one, in a sentence; nothing where one is not known."""
    now, was = ((one.get("barrier") or {}).get("loss_chord") for one in (aligned, without))
    if not now or not was:
        return ""
    intervals = [(one["low"], one["high"]) for one in (now, was)]
    here, before = (
        f"{nats(one['value'], interval)} {unit(aligned)} (95 % interval {nats(interval[0], interval)} to {nats(interval[1], interval)})"
        for one, interval in zip((now, was), intervals, strict=True)
    )
    told = f"The barrier of the aligned path is {here}, without alignment {before}"
    if is_connected(was) if joins_minima(without) else was["low"] <= 0:
        return f"{told}: there was none to remove."
    left = max(0.0, now["value"]) / was["value"]
    if now["high"] >= was["low"] and was["high"] >= now["low"]:
        return f"{told}: the intervals overlap, so these rows do not say how much of it is removed."
    return f"{told}: {percent(1 - left)} of it is removed." if left < 1 else f"{told}: it has become higher."


def _others(now: Standing) -> list[Mapping]:
    """The results of the other paths, as far as they are there: at least both ends and a point between them."""
    found = []
    for question in siblings(now.resolved, engine.engine().store, visitor.may_see, engine.resolved, asked_by_a_sweep):
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
