"""Deleting what the store holds: one thing without hurting another, or all that nobody has looked at for long."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from mcore import plan
from mcore.errors import McoreError
from mcore.library.items import Item, known_facts
from mcore.library.notes import Notes
from mcore.question import Endpoint, Experiment, Recipe
from mcore.store import Entry, Store

DAY = 24 * 3600.0


def delete(item: Item, every: Sequence[Item], store: Store, notes: Notes | None) -> int:
    """Delete a thing with what belongs to it alone; what another kept result uses stays. Bytes that became free.

    A result's trained models stay: they are things of their own. A model's results stay too: they need it no more.
    """
    doomed = {item.key}
    if item.kind == "experiment":
        others = [one for one in every if one.key != item.key and may_share(one.question, item.question)]
        doomed |= {*known_facts([item], store, notes)[item.key].parts, plan.timing_key(item.key)}
        doomed -= {part for one in known_facts(others, store, notes).values() for part in one.parts}
    freed = _dropped(doomed, store)
    if item.kind == "model":
        store.drop_work(item.key)
    if notes:
        with suppress(McoreError):  # the thing itself is gone
            notes.forget([item.key])
    return freed


def unused(days: float, store: Store) -> list[Entry]:
    """What nobody has looked at for so many days. A page that shows a result marks all its parts as used."""
    before = time.time() - days * DAY
    return [entry for entry in store.entries() if entry.used < before]


def clear(entries: Iterable[Entry], store: Store, notes: Notes | None) -> int:
    """Delete these, but for what is being computed now. Bytes that became free."""
    keys = [entry.key for entry in entries]
    freed = _dropped(keys, store)
    if notes and keys:
        with suppress(McoreError):
            notes.forget(set(keys) - store.has(keys))
    return freed


def may_share(first: Experiment | None, second: Experiment | None) -> bool:
    """False only where no end of the one can have the weights of an end of the other: then they share no response.

    Told from what is written, at once; what two results do share is told by their ``Facts``.
    """
    if first is None or second is None:
        return False
    return any(_may_be_one(one, other) for one in (first.a, first.b) for other in (second.a, second.b))


def _may_be_one(one: Endpoint, other: Endpoint) -> bool:
    if isinstance(one, Recipe) != isinstance(other, Recipe):
        return False  # the model of a recipe may lie in a folder too, but then under that folder's own name
    if not isinstance(one, Recipe):
        return _may_name_one(one, other)
    apart = {"base", "task"}
    same = one.model_dump(exclude=apart) == other.model_dump(exclude=apart)
    return same and _may_name_one(one.base, other.base) and _may_name_one(one.task.task, other.task.task)


def _may_name_one(address: str, other: str) -> bool:
    """Two whole addresses that ship with the app name two things; else a copy, or a step left out, may make them one."""
    shipped_ones = address.startswith("builtin:") and other.startswith("builtin:")
    return address == other or not shipped_ones or ("@" in address) != ("@" in other)


def _dropped(keys: Iterable[str], store: Store) -> int:
    freed = 0
    for entry in store.known(keys):
        with store.claim(entry.key) as free:
            if free:
                store.drop(entry.key)
                freed += entry.bytes
    return freed
