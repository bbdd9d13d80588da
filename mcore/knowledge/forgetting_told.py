"""Forgetting along the path, made ready for charts, sentences and files: segments, the data map, the order. Headless.

A ``Told`` joins the grid of an answer with the cartography of one endpoint, where there is one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mcore.evaluation.bootstrap import Estimate
from mcore.knowledge.forgetting import Correlation, lost_at, order
from mcore.knowledge.grid import Grid, as_text
from mcore.knowledge.segments import Described, Group, Segment, describe, segments
from mcore.names import plain, t_text
from mcore.tuning.cartography import MEASURES
from mcore.tuning.followed import Joined

KINDS = ("forgotten", "learned")
MOST_DOTS = 3000  # on the map, of the rows that are neither forgotten nor learned there: more would only fill it
EXCERPT = 90  # characters of a text in a tooltip


@dataclass(frozen=True)
class Told:
    """``places``: of the grid's points from t = 0 to t = 1, which is where A and B lie."""

    grid: Grid
    places: np.ndarray
    joined: Joined | None

    @property
    def ts(self) -> tuple[float, ...]:
        return tuple(self.grid.ts[i] for i in self.places)

    @cached_property
    def right(self) -> np.ndarray:
        """bool ``[rows, ts]``"""
        return self.grid.right[self.places].T

    @cached_property
    def parts(self) -> list[Segment]:
        return segments(self.ts, self.right)

    @cached_property
    def lost_at(self) -> np.ndarray:
        """``forgetting.lost_at`` of every row."""
        return lost_at(self.ts, self.right)

    @cached_property
    def learned_at(self) -> np.ndarray:
        """The first t at which a row that the first model does not master is right; NaN where there is none."""
        if not self.ts:
            return np.full(len(self.grid), np.nan)
        found = self.right.any(axis=1) & ~self.right[:, 0]
        return np.where(found, np.asarray(self.ts)[self.right.argmax(axis=1)], np.nan)

    @cached_property
    def described(self) -> Described | None:
        return describe(self.ts, self.right[self.joined.places], self.joined.cartography) if self.joined else None

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """By measure, of every row of the grid; NaN where it was not followed. Empty where none was."""
        found = {}
        for name, values in (self.joined.cartography.measures if self.joined else {}).items():
            found[name] = np.full(len(self.grid), np.nan)
            found[name][self.joined.places] = values
        return found

    @cached_property
    def _correlations(self) -> dict[tuple[str, bool], Correlation]:
        return {}

    def correlation(self, measure: str, kept: bool = False) -> Correlation:
        """Of the t at which a row is lost with its measure (``forgetting.order``); computed once."""
        if (measure, kept) not in self._correlations:
            found = order(self.ts, self.right[self.joined.places], self.joined.cartography, measure, kept)
            self._correlations[measure, kept] = found
        return self._correlations[measure, kept]

    def mask(self, kind: str, segment: int | None) -> np.ndarray:
        """The rows that are forgotten or learned in a segment, or in any."""
        chosen = self.parts if segment is None else [self.parts[segment]]
        return np.any([getattr(part, kind) for part in chosen], axis=0) if chosen else np.zeros(len(self.grid), bool)

    def group(self, kind: str, segment: int | None) -> Group:
        """What those of them that were followed were like."""
        return getattr(self.described, f"ever_{kind}") if segment is None else getattr(self.described, kind)[segment]

    def nearest(self, between: tuple[float, float] | None) -> int | None:
        """The segment between these two t; None where there is no such segment."""
        ends = [abs(part.low - between[0]) + abs(part.high - between[1]) for part in self.parts] if between else []
        return int(np.argmin(ends)) if ends and min(ends) < 1e-4 else None


def tell(grid: Grid, joined: Joined | None) -> Told:
    """``joined`` is of the same rows as the grid, which must hold them all."""
    return Told(grid, np.flatnonzero([0 <= t <= 1 for t in grid.ts]), joined)


def bars(told: Told, measure: str) -> list[dict]:
    """For ``charts_forgetting.segments_chart``."""
    rows = []
    for i, part in enumerate(told.parts):
        one: dict = {"low": part.low, "high": part.high, **{kind: int(getattr(part, kind).sum()) for kind in KINDS}}
        if told.described:
            groups = {kind: told.group(kind, i) for kind in KINDS}
            one["means"] = {kind: number(group.means[measure]) | {"rows": group.rows} for kind, group in groups.items() if group.rows}
        rows.append(one)
    return rows


def dots(told: Told, segment: int | None, chosen: int | None) -> list[dict]:
    """For ``charts_forgetting.map_chart``: the followed rows, those of the segment named by what happens to them there.

    On the whole path a row that is forgotten somewhere and learned somewhere else counts as forgotten.
    """
    forgotten, learned = (told.mask(kind, segment) for kind in KINDS)
    kinds = {place: "forgotten" if forgotten[place] else "learned" if learned[place] else "" for place in told.joined.places.tolist()}
    others = [place for place, kind in kinds.items() if not kind and place != chosen]
    drawn = {place for place, kind in kinds.items() if kind} | {*others[:: max(1, -(-len(others) // MOST_DOTS))], *({chosen} & kinds.keys())}
    return [
        {**_row(told, place, chosen), "kind": kinds[place], "told": kinds[place] or "neither",
         **{name: round(float(told.values[name][place]), 4) for name in ("variability", "confidence")}}
        for place in told.joined.places.tolist() if place in drawn
    ]  # fmt: skip


def crosses(told: Told, segment: int | None) -> list[dict]:
    """For the map: the means of all followed rows, and of those of the segment."""
    named = [("", "all followed rows", told.described.whole), *((kind, kind, told.group(kind, segment)) for kind in KINDS)]
    return [
        {"kind": kind, "told": words, **{name: round(group.means[name].value, 4) for name in ("variability", "confidence")}}
        for kind, words, group in named if group.rows
    ]  # fmt: skip


def lost(told: Told, measure: str, chosen: int | None) -> list[dict]:
    """For ``charts_forgetting.order_chart``: the followed rows that are lost somewhere."""
    places = [place for place in told.joined.places.tolist() if np.isfinite(told.lost_at[place])]
    return [_row(told, place, chosen) | {"t": float(told.lost_at[place]), "value": round(float(told.values[measure][place]), 4)} for place in places]


def never_lost(told: Told, measure: str) -> dict | None:
    """The mean of the followed rows that the first model masters and that are never lost."""
    values = told.values[measure][np.isinf(told.lost_at)]
    values = values[~np.isnan(values)]
    return number(Estimate(float(values.mean()))) | {"rows": len(values)} if len(values) else None


def number(one: Estimate) -> dict:
    """As charts take it."""
    return {"value": one.value, "low": one.low, "high": one.high}


def written(one: Estimate | None, signed: bool = False) -> str:
    """``0.71 (0.66 to 0.75)``, with a third digit where the interval carries it; a dash where there is nothing."""
    if one is None:
        return "–"
    digits = 3 if one.low is not None and one.high - one.low < 0.02 else 2
    value = ("+" if signed and round(one.value, digits) > 0 else "") + plain(one.value, digits)
    return value if one.low is None else f"{value} ({plain(one.low, digits)} to {plain(one.high, digits)})"


def table(told: Told) -> tuple[list[str], list[list[str]]]:
    """Heads and lines: all followed rows, then each segment's forgotten and learned rows with their means."""
    whole = told.described.whole
    lines = [["whole path", "all followed", "", f"{whole.rows:,}", *(written(whole.means.get(name)) for name in MEASURES)]]
    for segment, between in [(None, "whole path"), *((i, f"{t_text(part.low)} to {t_text(part.high)}") for i, part in enumerate(told.parts))]:
        for kind in KINDS:
            rows, group = int(told.mask(kind, segment).sum()), told.group(kind, segment)
            lines.append([between, kind, f"{rows:,}", f"{group.rows:,}", *(written(group.means.get(name)) for name in MEASURES)])
    return ["t", "rows", "how many", "followed", *MEASURES], lines


def segments_csv(told: Told) -> bytes:
    """One line for all followed rows and for each segment's forgotten and learned rows: counts, means, intervals."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    ends = [f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high")]
    writer.writerow(["from_t", "to_t", "rows", "count", "followed", *(ends if told.described else [])])
    if told.described:
        writer.writerow(["", "", "all followed", told.described.whole.rows, told.described.whole.rows, *_cells(told.described.whole)])
    for i, part in enumerate(told.parts):
        for kind in KINDS:
            group = told.group(kind, i) if told.described else Group(0, {}, {})
            cells = _cells(group) if told.described else []
            writer.writerow([f"{part.low:.6g}", f"{part.high:.6g}", kind, int(getattr(part, kind).sum()), group.rows, *cells])
    return file.getvalue().encode()


def rows_csv(told: Told, places: Sequence[int]) -> bytes:
    """One line for each of these rows: what it was like in training, where it is lost and learned, right or wrong at each t."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    measured = MEASURES if told.joined else ()
    writer.writerow(["row", "true_label", *measured, "lost_at", "learned_at", *(f"right_t{t:.6g}" for t in told.ts), "text"])
    for place in places:
        known = ["" if np.isnan(told.values[name][place]) else f"{told.values[name][place]:.6g}" for name in measured]
        at = ["" if not np.isfinite(one[place]) else f"{one[place]:.6g}" for one in (told.lost_at, told.learned_at)]
        grid = told.grid
        writer.writerow([grid.ids[place], grid.names[grid.labels[place]], *known, *at, *told.right[place].astype(int), as_text(grid.texts[place])])
    return file.getvalue().encode()


def verdict(told: Told, first: str = "A") -> str:
    """What is lost on the way from ``first``, and whether what goes first was hard."""
    if not told.ts or told.ts[0] != 0:
        return f"What {first} masters is not known yet; what is lost on the way shows when it is."
    mastered, gone = int(told.right[:, 0].sum()), int(np.isfinite(told.lost_at).sum())
    if not gone:
        return f"Nothing of the {mastered:,} rows that {first} masters is lost anywhere on the way."
    most = max(told.parts, key=lambda part: part.forgotten.sum())
    said = (
        f"Of the {mastered:,} rows that {first} masters, {gone:,} are lost somewhere on the way, most at once between "
        f"t = {t_text(most.low)} and t = {t_text(most.high)} ({int(most.forgotten.sum()):,})."
    )
    return f"{said} {hardness(told.correlation('confidence'))}" if told.joined else said


def hardness(found: Correlation) -> str:
    """Whether what is lost first was hard, by the correlation of the t at which a row is lost with its confidence in training."""
    if found.rho is None:
        return f"{found.rows:,} of them were followed in training, and they do not tell whether what goes first was hard."
    between = "" if found.rho.low is None else f", 95 % interval {plain(found.rho.low, 2)} to {plain(found.rho.high, 2)}"
    told = f"rank correlation of the t at which a row is lost with its confidence in training {plain(found.rho.value, 2)}{between}, {found.rows:,} rows"
    if found.rho.low is None or found.rho.low <= 0 <= found.rho.high:
        return f"Whether what goes first was hard, these rows do not decide ({told})."
    return f"What goes first was {'hard' if found.rho.value > 0 else 'easy'} ({told})."


def _cells(group: Group) -> list[str]:
    told = [group.means.get(name) for name in MEASURES]
    return ["" if one is None or value is None else f"{value:.6g}" for one in told
            for value in ((one.value, one.low, one.high) if one else (None,) * 3)]  # fmt: skip


def _row(told: Told, place: int, chosen: int | None) -> dict:
    text = as_text(told.grid.texts[place])
    short = text if len(text) <= EXCERPT else f"{text[:EXCERPT]}…"
    return {"place": place, "id": int(told.grid.ids[place]), "text": short, "open": place == chosen}
