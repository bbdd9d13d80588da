"""What is newly forgotten and newly learned between neighbouring points, and what those rows were like in training.

Rows come first here: ``right`` is bool ``[rows, ts]``, its columns in the order of ``t``, which rises. Where a
``Cartography`` is given its rows are those of ``right``, in their order: leave out beforehand what was not followed
(``mcore.tuning.followed`` joins the two). Pure functions; no store, no model.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mcore.evaluation.bootstrap import RESAMPLES, Estimate, counts, interval
from mcore.tuning.cartography import MEASURES, Cartography

FEWEST = 5  # rows of a group whose means have an interval: resampling fewer would only show how few they are


@dataclass(frozen=True)
class Segment:
    """A stretch of the path between neighbouring points. ``forgotten`` and ``learned`` are masks, bool ``[rows]``.

    Forgotten: right at ``low`` and wrong at ``high``; learned: the other way round.
    """

    low: float
    high: float
    forgotten: np.ndarray
    learned: np.ndarray


@dataclass(frozen=True)
class Group:
    """What some rows were like: how many they are, and by ``MEASURES`` their mean and how far it lies from that of all rows.

    Without any row there are no means.
    """

    rows: int
    means: Mapping[str, Estimate]
    apart: Mapping[str, Estimate]  # the group's mean minus that of all rows, resampled together


@dataclass(frozen=True)
class Described:
    """All rows, and for each segment in order those that are forgotten and learned there; ``ever``: on any segment."""

    whole: Group
    forgotten: tuple[Group, ...]
    learned: tuple[Group, ...]
    ever_forgotten: Group
    ever_learned: Group


def checked(t: Sequence[float], right: np.ndarray) -> np.ndarray:
    """``right`` as bool ``[rows, ts]``. Raises ``ValueError`` where it does not fit ``t``, or t does not rise."""
    right = np.asarray(right, bool)
    if right.ndim != 2 or right.shape[1] != len(t):
        raise ValueError(f"right is {right.shape}; give [rows, {len(t)}], a column for each t")
    if any(later <= earlier for earlier, later in itertools.pairwise(t)):
        raise ValueError("t must rise: forgotten and learned are told between neighbours")
    return right


def segments(t: Sequence[float], right: np.ndarray) -> list[Segment]:
    """One for each pair of neighbouring t."""
    right = checked(t, right)
    pairs = zip(itertools.pairwise(t), itertools.pairwise(right.T), strict=True)
    return [Segment(float(low), float(high), before & ~after, ~before & after) for (low, high), (before, after) in pairs]


def describe(
    t: Sequence[float], right: np.ndarray, cartography: Cartography, resamples: int = RESAMPLES, seed: int = 0
) -> Described:
    """The training dynamics of what is forgotten and learned in each segment, beside those of all rows."""
    parts = segments(t, right)
    forgotten, learned = [one.forgotten for one in parts], [one.learned for one in parts]
    none = np.zeros(len(cartography.ids), bool)
    ever = [np.any([*masks, none], axis=0) for masks in (forgotten, learned)]
    found = groups([~none, *forgotten, *learned, *ever], cartography, resamples, seed)
    n = len(parts)
    return Described(found[0], tuple(found[1 : n + 1]), tuple(found[n + 1 : 2 * n + 1]), *found[2 * n + 1 :])


def groups(masks: Sequence[np.ndarray], cartography: Cartography, resamples: int = RESAMPLES, seed: int = 0) -> list[Group]:
    """Groups of rows, each a mask bool ``[rows]``, described by ``MEASURES``.

    The bootstrap draws all rows anew, the same for every group and measure, so that differences keep what they share.
    """
    rows = len(cartography.ids)
    inside = np.stack([np.asarray(mask, bool) for mask in masks]).T.astype(np.float64) if len(masks) else np.zeros((rows, 0))
    if inside.shape[0] != rows:
        raise ValueError(f"the masks have {inside.shape[0]} rows, the cartography {rows}")
    values = np.stack([cartography.measures[name] for name in MEASURES]).astype(np.float64)  # [measures, rows]
    inside = np.column_stack([np.ones(rows), inside])  # the first group is everything
    means = _means(np.ones((1, rows)), inside, values)[:, 0]  # [measures, groups]
    blocks = [_means(block, inside, values) for block in counts(rows, resamples, seed)] if rows else []
    drawn = np.concatenate(blocks, axis=1) if blocks else np.full((len(MEASURES), 0, inside.shape[1]), np.nan)
    sizes = inside.sum(axis=0).astype(int)
    return [_group(int(sizes[g]), means[:, [0, g]], drawn[:, :, [0, g]]) for g in range(1, inside.shape[1])]


def _means(drawn: np.ndarray, inside: np.ndarray, values: np.ndarray) -> np.ndarray:
    """``[measures, resamples, groups]``; NaN where a resample holds no row of a group."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([drawn @ (inside * one[:, None]) for one in values]) / (drawn @ inside)


def _group(rows: int, means: np.ndarray, drawn: np.ndarray) -> Group:
    """means: [measures, 2], of all rows and of the group; drawn: [measures, resamples, 2]."""
    if not rows:
        return Group(0, {}, {})
    told: tuple[dict, dict] = ({}, {})
    for k, name in enumerate(MEASURES):
        of_group, apart = float(means[k, 1]), float(means[k, 1] - means[k, 0])
        enough = rows >= FEWEST
        told[0][name] = interval(of_group, drawn[k, :, 1]) if enough else Estimate(of_group)
        told[1][name] = interval(apart, drawn[k, :, 1] - drawn[k, :, 0]) if enough else Estimate(apart)
    return Group(rows, *told)
