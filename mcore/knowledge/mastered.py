"""Which rows are mastered along a path, and which are forgotten and learned on the way.

A row is *mastered* at t if it is predicted right there. Between consecutive points some rows are
newly *forgotten* and some newly *learned*; data cartography (Swayamdipta et al. 2020), gathered
while an endpoint was trained, tells whether those rows were hard.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

MEASURES = ("confidence", "variability", "correctness")
Cartography = tuple[str, Mapping[int | str, tuple[float, float, float]]]  # the endpoint, and the measures by row id


def knowledge(
    t: Sequence[float], right: np.ndarray, rows: Sequence[int | str], cartography: Cartography | None = None
) -> dict:
    """``mastered`` (a count for each t), ``forgotten`` and ``learned`` (row ids for each consecutive pair).

    ``right`` is bool ``[points, examples]``, its points in the order of ``t``, which rises; ``rows`` names the
    examples. ``cartography`` describes the groups by the means of ``MEASURES`` over those of their
    rows that were followed; it is None where none of the rows was, and so is a group without any.
    """
    if any(later <= earlier for earlier, later in itertools.pairwise(t)):
        raise ValueError("t must rise: forgotten and learned are told between neighbours")
    right = np.asarray(right, dtype=bool).reshape(len(t), len(rows))
    names = np.asarray(rows)
    forgotten = [names[before & ~after].tolist() for before, after in itertools.pairwise(right)]
    learned = [names[~before & after].tolist() for before, after in itertools.pairwise(right)]
    return {
        "mastered": right.sum(axis=1).tolist(),
        "forgotten": forgotten,
        "learned": learned,
        "cartography": _described(cartography, names.tolist(), forgotten, learned),
    }


def _described(cartography: Cartography | None, rows: list, forgotten: list[list], learned: list[list]) -> dict | None:
    if cartography is None:
        return None
    endpoint, measures = cartography
    known = sum(row in measures for row in rows)
    if not known:
        return None
    return {
        "endpoint": endpoint,
        "known": known,
        "all": _means(rows, measures),
        "forgotten": [_means(group, measures) for group in forgotten],
        "learned": [_means(group, measures) for group in learned],
    }


def _means(group: list, measures: Mapping) -> dict[str, float] | None:
    followed = [measures[row] for row in group if row in measures]
    if not followed:
        return None
    return dict(zip(MEASURES, np.mean(followed, axis=0).tolist(), strict=True))


def exchanged(told: Mapping) -> dict[str, int]:
    """How many rows are ``regained`` (mastered at both ends, lost in between), ``only_a`` and ``only_b``.

    ``told`` is what ``knowledge`` returned. A row's first change says whether A mastered it (it can only
    forget what it knew), its last change whether B does; rows that never change count nowhere.
    """
    first: dict[int | str, bool] = {}
    last: dict[int | str, bool] = {}
    for forgotten, learned in zip(told["forgotten"], told["learned"], strict=True):
        for group, mastered in ((forgotten, False), (learned, True)):
            for row in group:
                first.setdefault(row, not mastered)
                last[row] = mastered
    ends = [(first[row], last[row]) for row in first]
    return {name: ends.count(pair) for name, pair in
            (("regained", (True, True)), ("only_a", (True, False)), ("only_b", (False, True)))}  # fmt: skip
