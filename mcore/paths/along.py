"""Where a path's points lie by t, by the way walked, or by how the outputs change; and averages of the loss along each.

Pure functions of one task's entry of a result and of the result's ``path`` (``mcore.paths.lengths``).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mcore.names import finite

AXES = {"t": "t", "arc": "arc length", "flow": "change of output"}


def positions(entry: Mapping, path: Mapping | None, axis: str = "t") -> list[float] | None:
    """For each point of the entry 0 at A, 1 at B and what lies between them in equal steps of ``axis``; None where that is not known."""
    ts = list(entry["t"])
    if axis == "t":
        return ts
    along = (path or {}).get("arc") if axis == "arc" else entry.get("flow")
    if along is None or len(along) != len(ts):
        return None
    if axis == "arc":
        first, last = 0.0, path["length"]
    elif {0.0, 1.0} <= set(ts):
        first, last = (along[ts.index(end)] for end in (0.0, 1.0))
    else:
        return None
    return [(one - first) / (last - first) for one in along] if last - first > 0 else None


def mean_loss(entry: Mapping, path: Mapping | None, axis: str = "t") -> float | None:
    """The loss averaged from A to B in equal steps of ``axis`` (trapezoids between the points)."""
    where = positions(entry, path, axis)
    if where is None or not {0.0, 1.0} <= set(entry["t"]):
        return None
    inside = [i for i, t in enumerate(entry["t"]) if 0 <= t <= 1]
    losses = [entry["loss"][i] for i in inside]
    if len(losses) < 3 or not all(map(finite, losses)):
        return None
    return float(np.trapezoid(losses, [where[i] for i in inside]))


def extremes(entry: Mapping) -> tuple[float, float] | None:
    """The lowest and the highest loss from A to B."""
    inside = [loss for t, loss in zip(entry["t"], entry["loss"], strict=True) if 0 <= t <= 1 and finite(loss)]
    return (min(inside), max(inside)) if inside else None
