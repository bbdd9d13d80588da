"""The best t of a path, chosen on one half of the evaluated rows and reported on the other.

The lowest of many losses on the rows that chose it leans downwards, so what a chosen t is worth is told by rows that had
no say in the choice. A pure function of stored responses; the halves depend on nothing but the rows' ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mcore.errors import McoreError
from mcore.evaluation.barrier import resampled_means
from mcore.evaluation.measures import Measured
from mcore.names import nats, percent

FEWEST = 4  # rows: two to choose on and two to report


@dataclass(frozen=True)
class Interval:
    """A number and 95 % of its bootstrap over rows."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Best:
    """``choosing``: its loss on the rows that chose it, the lowest of all t; ``loss`` and ``accuracy``: on the ``reported`` other rows."""

    t: float
    choosing: float
    loss: Interval
    accuracy: Interval
    chosen_on: int
    reported: int


def halves(ids: Sequence[int], seed: int = 0) -> np.ndarray:
    """[rows], True for those that choose: the half whose ids, hashed with ``seed``, come first, whatever order the rows stand in."""
    drawn = [hashlib.sha256(f"{seed}:{one}".encode()).digest() for one in ids]
    choosing = np.zeros(len(drawn), dtype=bool)
    choosing[sorted(range(len(drawn)), key=drawn.__getitem__)[: len(drawn) // 2]] = True
    return choosing


def best(found: Mapping[float, Measured], ids: Sequence[int], seed: int = 0, resamples: int = 1000) -> Best:
    """``found``: t -> what the same rows, of these ``ids``, came to there. Of equal losses the first t is taken.

    Raises ``McoreError`` where there are too few rows, or nothing to choose among.
    """
    measured_rows = np.ones(len(ids), dtype=bool)
    for one in found.values():
        if one.weights is not None:
            measured_rows &= one.weights > 0  # a text without a token to predict says nothing in either half
    if not found or measured_rows.sum() < FEWEST:
        raise McoreError(f"The best t is chosen on half of the rows and reported on the other: it takes {FEWEST} rows and one t that is evaluated.")
    places = np.flatnonzero(measured_rows)
    choosing = halves([ids[i] for i in places], seed)
    losses = {t: _part(found[t], places[choosing]).loss for t in sorted(found)}
    t = min(losses, key=losses.__getitem__)
    held_out = _part(found[t], places[~choosing])
    series = np.stack([held_out.losses, held_out.right]).astype(np.float64)
    low, high = np.percentile(resampled_means(series, held_out.weights, resamples, seed), [2.5, 97.5], axis=0)
    loss, accuracy = (Interval(value, float(low[i]), float(high[i])) for i, value in enumerate((held_out.loss, held_out.accuracy)))
    return Best(t, losses[t], loss, accuracy, int(choosing.sum()), int((~choosing).sum()))


def told(found: Best, measure: Mapping[str, str]) -> str:
    """One sentence; ``measure``: what loss and accuracy are here (``measures.named``)."""
    loss, accuracy = found.loss, found.accuracy
    narrow = (loss.low, loss.high)
    return (
        f"Best t = {found.t:.12g}: the lowest loss, {nats(found.choosing, narrow)} {measure['loss']}, on the {found.chosen_on:,} rows that chose it; "
        f"on the {found.reported:,} other rows {nats(loss.value, narrow)} [{nats(loss.low, narrow)}, {nats(loss.high, narrow)}] {measure['loss']}, "
        f"{measure['accuracy']} {percent(accuracy.value)} [{percent(accuracy.low)}, {percent(accuracy.high)}]."
    )


def _part(measured: Measured, rows: np.ndarray) -> Measured:
    weights = None if measured.weights is None else measured.weights[rows]
    return Measured(measured.losses[rows], measured.right[rows], weights)
