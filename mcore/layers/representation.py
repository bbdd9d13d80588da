"""Which features of a model the probes "readout" and "cka" look at, with every name resolved: rows, layers, where they are fitted.

No torch: a page resolves this as one types. What is computed from it stands in ``mcore.layers.represented``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcore import question
from mcore.errors import QuestionError
from mcore.evaluation.fitted import FITTED_VERSION
from mcore.layers.readout import READOUT_VERSION
from mcore.question import LAYERWISE
from mcore.tasks.rows import Rows, sample

STATES_VERSION = 1  # of what hidden states and their likeness are
BLOCKS = ("encoder_layers", "num_hidden_layers", "n_layer", "n_layers", "num_layers")  # how configurations call the count of blocks
MOST_ROWS = 2048  # whose features are kept: those of A, of B and of one t, of every layer, are in memory at once


@dataclass(frozen=True)
class Representation:
    """``spec`` has its task written out; ``rows`` are a sample of the evaluated ones, ``fitting`` those that are read out are fitted on."""

    spec: question.Representation
    probes: tuple[str, ...]  # of ``LAYERWISE``
    rows: Rows
    max_length: int
    fitting: Rows | None = None

    @property
    def looked_at(self) -> dict:
        """What stands for the features, but for the weights that make them."""
        return {
            "rows": self.rows.digest, "max_length": self.max_length, "layers": self.spec.layers, "pool": self.spec.pool, "states": STATES_VERSION,
        }  # fmt: skip

    @property
    def read_out(self) -> dict | None:
        """What stands for a read-out of them; None where none is asked for."""
        if self.fitting is None:
            return None
        return {"fitting": self.fitting.digest, "seed": self.spec.seed, "versions": [FITTED_VERSION, READOUT_VERSION]}

    @property
    def identity(self) -> dict:
        return {**self.looked_at, "read out": self.read_out}

    @property
    def computed(self) -> int:
        """The rows that the model runs on at each t."""
        return len(self.rows) + (len(self.fitting) if self.fitting is not None else 0)


def asked_for(probes: list[str]) -> tuple[str, ...]:
    """Those of the probes that look at hidden states."""
    return tuple(name for name in LAYERWISE if name in probes)


def sampled(rows: Rows, seed: int) -> Rows:
    """All of them, or as many as are looked at."""
    return rows if len(rows) <= MOST_ROWS else rows.take(sample(np.arange(len(rows)), MOST_ROWS, seed))


def check_layers(spec: question.Representation, config: dict, kind: str) -> None:
    """Raise a ``QuestionError`` where the configuration tells that there is no such layer, or that a first token sees nothing of its text."""
    blocks = next((config[name] for name in BLOCKS if isinstance(config.get(name), int)), None)
    beyond = [one for one in spec.layers if isinstance(one, int) and blocks is not None and one >= blocks] if spec.layers != "all" else []
    if beyond:
        raise no_layer(f"layer {beyond[0]}", blocks)
    if spec.pool == "first" and kind == "causal":
        raise unseen()


def no_layer(name: str, blocks: int) -> QuestionError:
    return QuestionError("representation.layers", f"there is no {name}", f"this model has embeddings and layers 0 to {blocks - 1}")


def unseen() -> QuestionError:
    told = "no token of this model sees those after it, so the first knows nothing of a text"
    return QuestionError("representation.pool", told, 'use "last" or "mean"')


def layer_names(blocks: int) -> tuple[str, ...]:
    """``embeddings``, ``layer 0`` and so on: what goes into the first block, and what comes out of each."""
    return ("embeddings", *(f"layer {i}" for i in range(blocks)))
