"""Copies of rows that were chosen from a large data set on the Hub, one small file each, so that a second run asks for nothing."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np

from mcore.hub.cache import Listing
from mcore.profile import profile
from mcore.tasks.tables import Table

MOST_COPIES = 2**30  # bytes of all that are kept
VERSION = 1  # of what is read of a split: a change in ``hubrows`` or ``tables`` that changes rows raises it


def place(listing: Listing, question: list) -> Path:
    """Where the rows are kept that answer this question at this commit."""
    name = f"{listing.commit}-{hashlib.sha256(json.dumps([VERSION, *question]).encode()).hexdigest()[:32]}.json"
    return listing.root / "rows" / f"datasets--{listing.repo.replace('/', '--')}" / name


def read(path: Path) -> Table | None:
    """The rows of an earlier time; None where they are not there or damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads(path.read_text(encoding="utf-8"))
        labels = None if told["labels"] is None else np.array(told["labels"], np.int64 if told["names"] else np.float64)
        return Table(
            texts=told["texts"] if len(told["text"]) == 1 else list(map(tuple, told["texts"])), labels=labels, names=tuple(told["names"]),
            ids=np.array(told["ids"], np.int64), splits=None, text=told["text"], label=told["label"], columns=told["columns"],
        )  # fmt: skip
    return None


def write(paths: list[Path], table: Table) -> None:
    """Keep the rows in each of these places."""
    told = vars(table) | {"splits": None, "ids": table.ids.tolist(), "labels": None if table.labels is None else table.labels.tolist()}
    first = paths[0]
    with suppress(OSError):  # then they are fetched again
        first.parent.mkdir(parents=True, exist_ok=True)
        temp = first.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        with open(temp, "w", encoding="utf-8") as file:
            json.dump(told, file, ensure_ascii=False, default=str)
        os.replace(temp, first)
        for other in paths[1:]:
            os.link(first, temp)
            os.replace(temp, other)
        _make_room(first)


def _make_room(newest: Path) -> None:
    """Let go of the copies that were made first, so that all together stay small."""
    copies = sorted(newest.parent.parent.glob("*/*.json"), key=lambda one: one.stat().st_mtime)
    size = sum(one.stat().st_size for one in copies)
    for old in copies:
        if size <= min(MOST_COPIES, (profile().downloads or MOST_COPIES) // 4) or old == newest:
            return
        size -= old.stat().st_size
        old.unlink()
