"""A question as others may read it: where it names folders and files of this machine, their last names and digests stand.

``local:/home/me/runs/bert-a`` becomes ``local:bert-a@1f0c9a3b52de``. What is written so says what it was and what it must be, and
cannot be opened as it stands. Pure functions of what ``resolve`` gives, but for the digest of a file of rows.
"""

from __future__ import annotations

import re
from pathlib import Path

from mcore.models.checkpoints import file_digest
from mcore.question import Experiment, Recipe, as_written, parse
from mcore.resolved import Resolved, ResolvedRecipe

DIGITS = 12  # of a digest: enough to tell one file from another
ODD = re.compile(r"[^\w.+-]+")  # in a name, which stands in a card's text too


def portable(experiment: Experiment, resolved: Resolved) -> Experiment:
    """``experiment``, which resolves to ``resolved``, without any path of this machine; itself where it has none."""
    written = as_written(experiment)
    for end in (resolved.a, resolved.b):
        if end.recipe:
            written[end.side] = _recipe(written[end.side], end.recipe)
        else:
            written[end.side] = folder(written[end.side], end.looked_at.digest)
    way = written.get("path", {})
    if way.get("base"):
        way["base"] = folder(way["base"], resolved.route.base.digest)
    if way.get("task"):
        way["task"] |= {"task": file(way["task"]["task"])}
    written["tasks"] = [task | {"task": file(task["task"])} for task in written["tasks"]]
    return parse(written)


def portable_recipe(resolved: ResolvedRecipe) -> Recipe:
    """The recipe with every default written out, without any path of this machine."""
    return Recipe.model_validate(_recipe(resolved.recipe.model_dump(mode="json"), resolved))


def folder(address: str, digest: str) -> str:
    """The address of a model; ``digest``: the one it is known by."""
    return f"local:{_name(address)}@{digest[:DIGITS]}" if address.startswith("local:") else address


def file(address: str) -> str:
    """The address of a task, which names one file of this machine where it names any."""
    return f"local:{_name(address)}@{file_digest(_path(address))[:DIGITS]}" if address.startswith("local:") else address


def _recipe(written: dict, resolved: ResolvedRecipe) -> dict:
    return written | {
        "base": folder(written["base"], resolved.base.digest),
        "task": written["task"] | {"task": file(written["task"]["task"])},
    }


def _name(address: str) -> str:
    return ODD.sub("-", _path(address).resolve().name) or "folder"


def _path(address: str) -> Path:
    return Path(address.removeprefix("local:")).expanduser()
