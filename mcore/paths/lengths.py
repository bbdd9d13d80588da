"""How long a path is in weight space, and where on it each t lies: L2 over all tensors, from the control points' Gram matrices.

A step from one t to the next moves a tensor by Σ Δcᵢ Wᵢ, whose squared norm is Δcᵀ G Δc with G the inner products of the
control points: so the weights are read once, whatever the number of t. The points of a curve are joined by straight pieces,
short enough that their sum is its length. No torch here: the weights are read by ``blend.gram``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mcore.paths.distances import distance_key
from mcore.question import fingerprint
from mcore.resolved import Resolved

PIECES = 240  # of the way from A to B: every bend of a chain and the middle of a mix lie between two of them


def length_key(resolved: Resolved) -> str:
    """Where the length of a path is kept, with the places of the t that are asked for."""
    way = {"path": resolved.route.fingerprint, "t": resolved.experiment.ts()}
    return fingerprint({"length": distance_key(resolved), **way})


def of_line(distance: Mapping, ts: Sequence[float]) -> dict:
    """A straight line is as long as its ends are apart."""
    return {"length": distance["l2"], "chord": distance["l2"], "arc": [t * distance["l2"] for t in ts]}


def measured(grams: Mapping[str, np.ndarray], at: Callable[[float], Callable[[str], Sequence[float]]], ts: Sequence[float]) -> dict:
    """``length`` from t = 0 to t = 1, ``chord``: straight from the one to the other, ``arc``: for each t its way from t = 0 (negative before it).

    ``grams``: tensor's name -> what ``blend.gram`` says of its control points; ``at(t)(name)``: their coefficients.
    """
    low, high = min(0.0, *ts), max(1.0, *ts)
    grid = sorted({0.0, 1.0, *ts, *(i / PIECES for i in range(round(low * PIECES), round(high * PIECES) + 1))})
    points = [at(t) for t in grid]
    steps, whole, first, last = np.zeros(len(grid) - 1), 0.0, grid.index(0.0), grid.index(1.0)
    for name, gram in grams.items():
        found = _in_differences(np.array([point(name)[: len(gram)] for point in points]))
        steps += _squared(np.diff(found, axis=0), gram)
        whole += float(_squared(found[last] - found[first], gram))
    along = np.concatenate([[0.0], np.cumsum(np.sqrt(steps))])
    along -= along[first]
    arc = [float(along[grid.index(t)]) for t in ts]
    return {"length": float(along[last]), "chord": float(np.sqrt(whole)), "arc": arc}


def _in_differences(coefficients: np.ndarray) -> np.ndarray:
    """[..., control points] -> coefficients of A itself and of each other's difference from it, as in ``blend.gram``."""
    return np.concatenate([coefficients.sum(axis=-1, keepdims=True), coefficients[..., 1:]], axis=-1)


def _squared(steps: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Squared norms of steps [..., control points]; rounding may leave one just below zero."""
    return np.maximum(0.0, np.einsum("...i,ij,...j->...", steps, gram, steps))
