"""Data cartography: how a model saw its training rows while it was trained (Swayamdipta et al. 2020).

Confidence is the mean over the looks of the probability of the true label, variability its standard
deviation, correctness the fraction of looks at which the row was predicted right, flips the number of
times that this changed from one look to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

FILE = "cartography.safetensors"
MEASURES = ("confidence", "variability", "correctness", "flips")


@dataclass(frozen=True)
class Cartography:
    """ids: [rows]; probability: [looks, rows] of the true label; right: [looks, rows]."""

    ids: np.ndarray
    probability: np.ndarray
    right: np.ndarray

    @property
    def confidence(self) -> np.ndarray:
        return self.probability.mean(axis=0)

    @property
    def variability(self) -> np.ndarray:
        return self.probability.std(axis=0)

    @property
    def correctness(self) -> np.ndarray:
        return self.right.mean(axis=0)

    @property
    def flips(self) -> np.ndarray:
        return (self.right[1:] != self.right[:-1]).sum(axis=0)

    @property
    def measures(self) -> dict[str, np.ndarray]:
        """By the names of ``MEASURES``, [rows] each."""
        return {name: getattr(self, name) for name in MEASURES}

    def take(self, places: np.ndarray) -> Cartography:
        """Of the rows at these places, in that order."""
        return Cartography(self.ids[places], self.probability[:, places], self.right[:, places])

    def write(self, folder: Path) -> None:
        arrays = {"ids": self.ids, "probability": self.probability, "right": self.right}
        (folder / FILE).write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))

    @classmethod
    def read(cls, folder: Path) -> Cartography | None:
        """What was written beside a model, None where nothing was followed."""
        return cls(**load((folder / FILE).read_bytes())) if (folder / FILE).is_file() else None

    def by_row(self) -> dict[int, tuple[float, float, float]]:
        """Row id -> (confidence, variability, correctness)."""
        columns = zip(self.ids, self.confidence, self.variability, self.correctness, strict=True)
        return {int(i): (float(c), float(v), float(k)) for i, c, v, k in columns}
