"""Linear CKA: how alike two models' features of the same rows are, whatever basis they are written in.

For features X and Y, each column centred, it is ‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖) in Frobenius norms (Kornblith et al. 2019,
arXiv 1905.00414): 1 for features that are one another's rotation, shift or multiple, 0 for such that share nothing linear.
With fewer rows than features it comes out too high, for unlike models too. Pure functions; no torch here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CONSTANT = 1e-6  # of the largest value: what varies less is rounding, and its features are the same for every row


@dataclass(frozen=True)
class Centred:
    """Features of which the column means are taken. ``values``: float64 [rows, features], or X Xᵀ [rows, rows] where that is smaller.

    ``norm``: ‖XᵀX‖; 0 where all rows have the same features.
    """

    values: np.ndarray
    norm: float
    gram: bool


def centred(features: np.ndarray) -> Centred:
    """features: [rows, features], finite."""
    wide = np.asarray(features, np.float64)
    scale = np.abs(wide).max(initial=0.0)
    wide = wide - wide.mean(axis=0)
    if np.abs(wide).max(initial=0.0) <= CONSTANT * scale:
        wide = np.zeros_like(wide)
    rows, width = wide.shape
    values = wide @ wide.T if rows < width else wide
    return Centred(values, float(np.linalg.norm(values if rows < width else wide.T @ wide)), rows < width)


def cka(x: Centred, y: Centred) -> float | None:
    """From 0 to 1; None where one of them has the same features for every row, so that nothing can be compared."""
    if not (x.norm and y.norm):
        return None
    if x.gram or y.gram:  # ‖XᵀY‖² is the sum of the products of both Gram matrices' entries
        shared = float((_gram(x) * _gram(y)).sum())
    else:
        shared = float(np.linalg.norm(x.values.T @ y.values) ** 2)
    return min(1.0, max(0.0, shared / (x.norm * y.norm)))


def _gram(x: Centred) -> np.ndarray:
    return x.values if x.gram else x.values @ x.values.T
