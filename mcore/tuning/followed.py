"""Which evaluated rows were followed in an endpoint's training, so that its cartography describes them.

A row is the same row where the data set, the split and the place in it are the same, and its text and label too: a place
alone says nothing, for every split counts its rows from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mcore.question import Recipe
from mcore.resolved import Endpoint, ResolvedRecipe, ResolvedTask
from mcore.store import Store
from mcore.tasks.rows import Rows
from mcore.tasks.tables import sample
from mcore.tuning.cartography import Cartography

Why = Literal["checkpoint", "none", "untrained", "data", "split", "columns", "rows"]


@dataclass(frozen=True)
class Joined:
    """The evaluated rows that ``side`` was followed on: their places among the evaluated, rising, and what their training was like.

    ``cartography`` has these rows in this order.
    """

    side: str
    places: np.ndarray
    cartography: Cartography


@dataclass(frozen=True)
class Apart:
    """Why nothing is known of the evaluated rows from the training of ``side``.

    ``checkpoint``: it was not trained here; ``none``: its recipe follows no rows; ``untrained``: not yet; ``data``, ``split``: it was
    trained on others; ``columns``: on the same rows, read otherwise; ``rows``: none of those evaluated was among those followed.
    """

    side: str
    why: Why


def followed(rows: Rows, recipe: Recipe) -> Rows:
    """Those of the training rows that are followed."""
    return rows.take(sample(np.arange(len(rows)), recipe.cartography, 0))


def join(end: Endpoint, task: ResolvedTask, store: Store) -> Joined | Apart:
    """What the training of ``end`` tells of the rows of ``task``."""
    if why := before(end, task):
        return Apart(end.side, why)
    folder = store.folder(end.fingerprint)
    if folder is None:
        return Apart(end.side, "untrained")
    drawn, seen = Cartography.read(folder), followed(end.recipe.training.rows, end.recipe.recipe)
    if drawn is None or not len(drawn.probability) or not np.array_equal(drawn.ids, seen.ids):
        return Apart(end.side, "none")
    places, of_followed = _same(task.rows, seen)
    if not len(places):
        known = set(task.rows.ids.tolist()) & set(seen.ids.tolist())
        return Apart(end.side, "columns" if known else "rows")
    return Joined(end.side, places, drawn.take(of_followed))


def before(end: Endpoint, task: ResolvedTask) -> Why | None:
    """Why these rows cannot have been followed, told without looking at what was trained; None where they can."""
    if end.recipe is None:
        return "checkpoint"
    if not end.recipe.recipe.cartography:
        return "none"
    if task.rows.kind != "classes" or task.task.task != end.recipe.training.task.task:
        return "data"
    if end.recipe.training.rows.kind != "classes":
        return "columns"
    return None if _one_count(end.recipe, task) else "split"


def _one_count(recipe: ResolvedRecipe, task: ResolvedTask) -> bool:
    """Whether both name their rows by one count: of a split, or of a whole file, where the rows of every split have places of their own."""
    return task.task.task.startswith("local:") or task.task.split == recipe.training.task.split


def _same(rows: Rows, seen: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Places of equal rows among ``rows``, rising, and among ``seen``."""
    def named(some: Rows) -> zip:
        return zip(some.ids.tolist(), some.texts, (some.names[label] for label in some.labels.tolist()), strict=True)

    where = {row: place for place, row in enumerate(named(seen))}
    pairs = [(place, where[row]) for place, row in enumerate(named(rows)) if row in where]
    places = np.array(pairs, np.int64).reshape(-1, 2)
    return places[:, 0], places[:, 1]
