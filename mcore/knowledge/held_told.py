"""Who holds what, made ready for sentences, tables and files. Headless."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np

from mcore.evaluation.bootstrap import Estimate
from mcore.knowledge.forgetting_told import written
from mcore.knowledge.grid import Grid, as_text
from mcore.knowledge.held import HELD, NAMES, WITHIN, Held, half
from mcore.knowledge.segments import Group, groups
from mcore.names import plain, t_text
from mcore.tuning.cartography import MEASURES
from mcore.tuning.followed import Joined

ORDER = ("only_a", "only_b", "both", "regained", "always", "neither", "midway", "never")  # each group before its parts


def share(one: Estimate) -> str:
    """``8.8 % (6.5 to 11.1)``."""
    value = f"{plain(100 * one.value, 1)} %"
    return value if one.low is None else f"{value} ({plain(100 * one.low, 1)} to {plain(100 * one.high, 1)})"


def verdict(ts: Sequence[float], found: Mapping[str, Held], first: str = "A", last: str = "B") -> str:
    """What each holds that the other lacks, and where it goes."""
    a, b, midway = found["only_a"], found["only_b"], found["midway"].rows
    if not a.rows and not b.rows:
        said = f"{first} and {last} master the same rows."
    elif a.rows and b.rows:
        said = f"Each holds what the other lacks: {first} masters {_rows(a.rows)} that {last} does not, {last} {b.rows:,} that {first} does not."
    else:
        rich, poor, rows = (first, last, a.rows) if a.rows else (last, first, b.rows)
        said = f"{rich} masters {_rows(rows)} that {poor} does not, and {poor} none that {rich} does not."
    if a.rows and (gone := half(ts, a.along)) is not None:
        said += f" More than half of what only {first} knows is lost at t = {t_text(gone)}."
    if b.rows and (there := _from(ts, b.along)) is not None:
        said += f" Half of what only {last} knows is there from t = {t_text(there)} on."
    if midway:
        said += f" {_rows(midway)} {'is' if midway == 1 else 'are'} mastered by neither, but somewhere between."
    return said


def table(found: Mapping[str, Held], described: Mapping[str, Mapping[str, Group]], measure: str) -> tuple[list[str], list[list[str]]]:
    """Heads and lines: each group of rows, how many, what share of all, and what they were like in the trainings that followed them.

    ``described``: by side, by group.
    """
    heads = ["rows that", "how many", "share of all", *(f"{measure} in {side.upper()}'s training" for side in described)]
    lines = [
        [NAMES[name], f"{found[name].rows:,}", share(found[name].share),
         *(written(one[name].means.get(measure)) for one in described.values())]
        for name in ORDER
    ]  # fmt: skip
    return heads, lines


def describe(found: Mapping[str, Held], joined: Joined) -> dict[str, Group]:
    """By group what those of its rows that were followed were like in that training."""
    return dict(zip(found, groups([one.mask[joined.places] for one in found.values()], joined.cartography), strict=True))


def rows_csv(grid: Grid, ts: Sequence[float], right: np.ndarray, found: Mapping[str, Held], joined: Sequence[Joined]) -> bytes:
    """One line for each row: who holds it, what it was like in each training, right or wrong at each t."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    heads = [f"{name}_{one.side}" for one in joined for name in MEASURES]
    writer.writerow(["row", "true_label", "held_by", "part", *heads, *(f"right_t{t:.6g}" for t in ts), "text"])
    values = []
    for one in joined:
        for name in MEASURES:
            whole = np.full(len(grid), np.nan)
            whole[one.places] = one.cartography.measures[name]
            values.append(whole)
    for place in range(len(grid)):
        by = next(name for name in HELD if found[name].mask[place])
        part = next((name for name in WITHIN if found[name].mask[place]), "")
        known = ["" if np.isnan(whole[place]) else f"{whole[place]:.6g}" for whole in values]
        writer.writerow([grid.ids[place], grid.names[grid.labels[place]], by, part, *known, *right[place].astype(int), as_text(grid.texts[place])])
    return file.getvalue().encode()


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def _from(ts: Sequence[float], along: np.ndarray) -> float | None:
    """The t from which at least half is held at every further t."""
    below = np.flatnonzero(np.asarray(along) < 0.5)
    start = 0 if not len(below) else int(below[-1]) + 1
    return float(ts[start]) if start < len(ts) else None
