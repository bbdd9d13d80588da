"""How far the loss rises, and the accuracy falls, between two endpoints, with a bootstrap interval.

Three barriers, named because papers differ: over the chord between the ends' losses (Frankle et
al. 2020, Entezari et al. 2021), over the mean of the ends' losses, and accuracy lost under its chord.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcore.evaluation.bootstrap import counts


def barriers(
    t: Sequence[float], losses: np.ndarray, right: np.ndarray, resamples: int = 1000, seed: int = 0, weights: np.ndarray | None = None
) -> dict[str, dict[str, float]] | None:
    """``loss_chord``, ``loss_mean`` and ``accuracy_chord``, each ``{"value", "low", "high", "t"}``.

    ``losses`` (nats) and ``right`` (bool) are ``[points, examples]``, a row for each t. ``low`` and
    ``high`` hold 95 % of the bootstrap over examples; a resample takes the same examples at every t,
    because the points share them, and looks for its own maximum. ``weights`` ``[examples]`` make every mean a
    weighted one (tokens of a text); examples that weigh nothing are left out. A maximum leans upwards under
    resampling; where that would leave the value outside its interval, the interval is widened to it.
    ``t`` is where the maximum stands. None unless both ends, one point between them and only
    finite losses are there: less than that says nothing about a barrier.
    """
    where = np.asarray(t, dtype=np.float64)
    losses, hits = np.asarray(losses, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if not (0.0 in where and 1.0 in where and len(where) > 2 and losses.size and np.isfinite(losses).all()):
        return None
    series = np.concatenate([losses, hits])
    if weights is not None:
        series, weights = series[:, weights > 0], weights[weights > 0]
    mean_loss, mean_right = np.split(series.mean(axis=1) if weights is None else series @ weights / weights.sum(), 2)
    resampled = resampled_means(series, weights, resamples, seed)
    points = len(where)
    told = {}
    for name, rise, mean, means in (
        ("loss_chord", _over_chord, mean_loss, resampled[:, :points]),
        ("loss_mean", _over_mean, mean_loss, resampled[:, :points]),
        ("accuracy_chord", _under_chord, mean_right, resampled[:, points:]),
    ):
        rises = rise(where, mean)
        value = float(rises.max())
        low, high = np.percentile(rise(where, means).max(axis=1), [2.5, 97.5])
        told[name] = {
            "value": value,
            "low": min(float(low), value),
            "high": max(float(high), value),
            "t": float(where[rises.argmax()]),
        }
    return told


def chord(t: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The straight line between the values at t = 0 and t = 1, at each t. ``values`` is ``[..., points]``."""
    first, last = _ends(t, values)
    return (1 - t) * first + t * last


def _over_chord(t: np.ndarray, loss: np.ndarray) -> np.ndarray:
    return loss - chord(t, loss)


def _over_mean(t: np.ndarray, loss: np.ndarray) -> np.ndarray:
    return loss - sum(_ends(t, loss)) / 2


def _under_chord(t: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    return chord(t, accuracy) - accuracy


def _ends(t: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values at t = 0 and at t = 1, each ``[..., 1]``."""
    return tuple(values[..., np.flatnonzero(t == end)[:1]] for end in (0, 1))


def resampled_means(values: np.ndarray, weights: np.ndarray | None, resamples: int, seed: int) -> np.ndarray:
    """(Weighted) means over examples drawn with replacement: ``[series, examples]`` → ``[resamples, series]``."""
    drawn = counts(values.shape[1], resamples, seed)
    if weights is None:
        return np.concatenate([block.astype(np.float64) @ values.T / values.shape[1] for block in drawn])  # as floats: ten times as fast
    return np.concatenate([block @ (values * weights).T / (block @ weights)[:, None] for block in drawn])
