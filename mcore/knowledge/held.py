"""Who holds what: the rows that A masters and B does not, both, neither, and where on the path each is held.

``right`` is bool ``[rows, ts]`` as in ``mcore.knowledge.segments``; the first t is A's and the last B's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcore.evaluation.bootstrap import RESAMPLES, Estimate, counts, interval
from mcore.knowledge.segments import checked

HELD = ("only_a", "only_b", "both", "neither")  # by the two ends; every row is in one
WITHIN = {"always": "both", "regained": "both", "midway": "neither", "never": "neither"}  # parts of these -> of which
NAMES = {
    "only_a": "A masters and B does not", "only_b": "B masters and A does not", "both": "both master", "neither": "neither masters",
    "always": "mastered throughout", "regained": "both master, lost midway", "midway": "mastered only midway", "never": "never mastered",
}  # fmt: skip


@dataclass(frozen=True)
class Held:
    """Some of the rows: which (bool ``[rows]``), what share of all they are, and what share of them each t holds ``[ts]``.

    ``along`` is NaN where there are none.
    """

    mask: np.ndarray
    share: Estimate
    along: np.ndarray

    @property
    def rows(self) -> int:
        return int(self.mask.sum())


def parted(right: np.ndarray) -> dict[str, np.ndarray]:
    """Masks by name. ``always`` (at every t), ``regained`` (at both ends but not throughout), ``only_a``, ``only_b``,

    ``midway`` (at neither end, but somewhere between) and ``never`` share no row and leave none out.
    """
    right = np.asarray(right, bool)
    first, last, ever, throughout = right[:, 0], right[:, -1], right.any(axis=1), right.all(axis=1)
    return {
        "always": throughout,
        "regained": first & last & ~throughout,
        "only_a": first & ~last,
        "only_b": ~first & last,
        "midway": ~first & ~last & ever,
        "never": ~ever,
    }


def held(t: Sequence[float], right: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Held]:
    """By the names of ``HELD`` and of ``WITHIN``. Raises ``ValueError`` unless t leads from 0 to 1."""
    right = checked(t, right)
    if not len(t) or t[0] != 0 or t[-1] != 1:
        raise ValueError("both ends must be there to tell which of them holds a row")
    masks = parted(right)
    masks |= {name: np.any([masks[part] for part, whole in WITHIN.items() if whole == name], axis=0) for name in ("both", "neither")}
    names = (*HELD, *WITHIN)
    inside = np.stack([masks[name] for name in names]).T.astype(np.float64)
    rows = len(right)
    drawn = np.concatenate([block @ inside / rows for block in counts(rows, resamples, seed)]) if rows else np.zeros((0, len(names)))
    return {
        name: Held(masks[name], _share(masks[name], drawn[:, i]), _along(right, masks[name])) for i, name in enumerate(names)
    }


def half(t: Sequence[float], along: np.ndarray) -> float | None:
    """The first t at which fewer than half of some rows that the first model holds are held; None where there is none."""
    below = np.flatnonzero(np.asarray(along) < 0.5)
    return float(t[below[0]]) if len(below) else None


def _share(mask: np.ndarray, drawn: np.ndarray) -> Estimate:
    """Without an interval where no row is in it, or every one: then resamples are all alike, which says nothing."""
    share = float(mask.mean()) if len(mask) else 0.0
    return interval(share, drawn) if 0 < share < 1 else Estimate(share)


def _along(right: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return right[mask].mean(axis=0) if mask.any() else np.full(right.shape[1], np.nan)
