"""Which output of an endpoint means which label of a task: by names where they match, else by the data.

A wrong label order reads as a bad model, so the order is never guessed: it is named by a
person, found from equal names, or is the assignment of outputs to labels that agrees best with
labelled rows; in this last case its agreement is shown. Rows that do not tell leave the outputs in
their own order, and the result says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from mcore.models.checkpoints import named

CLOSE = 0.05  # two assignments whose agreements are nearer than this leave the order open; so does chance (2 √rows)


@dataclass(frozen=True)
class Order:
    """``columns[i]`` is the output that task label ``i`` is read from."""

    columns: tuple[int, ...]
    source: str  # "names", "data" or "person"
    agreement: float | None = None
    ambiguous: bool = False

    def as_json(self, names: tuple[str, ...]) -> dict:
        """For the result: the task's label for each output, in the order of the outputs (None: not read)."""
        outputs = [None] * (max(self.columns) + 1)
        for label, column in enumerate(self.columns):
            outputs[column] = names[label]
        return {"names": outputs, "from": self.source, "agreement": self.agreement, "ambiguous": self.ambiguous}


def plain(name: str) -> str:
    """A label's name for comparison: lower case, words parted by one space; LABEL_2 is the label 2."""
    return re.sub(r"^label (?=\d+$)", "", re.sub(r"[\s_\-]+", " ", name).strip().lower())


def by_names(outputs: tuple[str, ...], task: tuple[str, ...], source: str = "names") -> Order | None:
    """The order if every task label is an output's name (an output may be left over), else None."""
    places = {plain(name): i for i, name in enumerate(outputs)}
    if len(places) != len(outputs) or any(plain(name) not in places for name in task):
        return None
    return Order(tuple(places[plain(name)] for name in task), source)


def may_fit(outputs: tuple[str, ...] | None, task: tuple[str, ...]) -> bool:
    """True where a head with these outputs can be meant for this task, before any data are seen."""
    if outputs is None:
        return False
    if by_names(outputs, task):
        return True
    return len(outputs) == len(task) and not (named(outputs) and named(task))


def by_data(logits: np.ndarray, labels: np.ndarray, classes: int) -> Order:
    """The assignment of outputs to labels that agrees with most rows.

    logits: [examples, outputs]; labels: [examples] in 0 … classes − 1. ``ambiguous`` where some other
    assignment agrees with nearly as many rows: then output ``i`` is read as label ``i``. Source: Hungarian
    assignment on the confusion counts.
    """
    from scipy.optimize import linear_sum_assignment  # 40 MB that names do without

    counts = np.zeros((classes, logits.shape[1]))
    np.add.at(counts, (labels, logits.argmax(axis=1)), 1)
    rows, columns = linear_sum_assignment(-counts)
    best = counts[rows, columns].sum()
    runner_up = 0.0
    for row, column in zip(rows, columns, strict=True):
        without = counts.copy()
        without[row, column] = -len(labels) - 1
        other_rows, other_columns = linear_sum_assignment(-without)
        runner_up = max(runner_up, counts[other_rows, other_columns].sum() if (other_columns != columns).any() else 0.0)
    if best - runner_up < max(CLOSE * len(labels), 2 * len(labels) ** 0.5):
        own = np.arange(classes)
        return Order(tuple(own.tolist()), "data", float(counts[own, own].sum() / len(labels)), ambiguous=True)
    return Order(tuple(columns.tolist()), "data", float(best / len(labels)))
