"""Paths: each a function from t to coefficients over its control points (here A and B)."""

from __future__ import annotations

from mcore.question import PathSpec


def coefficients(path: PathSpec, t: float) -> tuple[float, ...]:
    """The coefficients of the control points of ``path`` at ``t``; they sum to 1. Linear: (1 − t, t) over (A, B)."""
    return {"linear": (1.0 - t, t)}[path.kind]
