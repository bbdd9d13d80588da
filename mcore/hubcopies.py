"""Copies of rows that were chosen from a large data set on the Hub, one small file each, so that a second run asks for nothing."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from contextlib import suppress
from pathlib import Path

from mcore.hubcache import Listing
from mcore.profile import profile
from mcore.tables import Table, texts

MOST_COPIES = 2**30  # bytes of all that are kept


def place(listing: Listing, question: list) -> Path:
    """Where the rows are kept that answer this question at this commit."""
    name = f"{listing.commit}-{hashlib.sha256(json.dumps(question).encode()).hexdigest()[:32]}.parquet"
    return listing.root / "rows" / f"datasets--{listing.repo.replace('/', '--')}" / name


def read(path: Path) -> Table | None:
    """The rows of an earlier time; None where they are not there or damaged."""
    if not path.is_file():
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    with suppress(pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        kept = pq.ParquetFile(path).read()
        told = json.loads(kept.schema.metadata[b"mcore"])
        values = {name: kept[f"c{i}"].to_pylist() for i, name in enumerate(told["columns"])}
        labels = kept["labels"].to_numpy() if "labels" in kept.column_names else None
        return Table(
            texts=texts(values, tuple(told["text"])), labels=labels, names=tuple(told["names"]), ids=kept["ids"].to_numpy(), splits=None,
            text=told["text"], label=told["label"], columns={name: values[name] for name in told["used"]},
        )  # fmt: skip
    return None


def write(path: Path, table: Table) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pairs = [table.texts] if len(table.text) == 1 else list(zip(*table.texts, strict=True))
    values = {name: list(column) for name, column in zip(table.text, pairs, strict=True)} | table.columns
    told = {"columns": list(values), "text": table.text, "used": list(table.columns), "label": table.label, "names": table.names}
    held = {"ids": table.ids} | {f"c{i}": column for i, column in enumerate(values.values())}
    held |= {} if table.labels is None else {"labels": table.labels}
    with suppress(OSError):  # then they are fetched again
        path.parent.mkdir(parents=True, exist_ok=True)
        temp = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        pq.write_table(pa.table(held).replace_schema_metadata({"mcore": json.dumps(told)}), temp)
        os.replace(temp, path)
        _make_room(path)


def _make_room(newest: Path) -> None:
    """Let go of the copies that were made first, so that all together stay small."""
    copies = sorted(newest.parent.parent.glob("*/*.parquet"), key=lambda one: one.stat().st_mtime)
    size = sum(one.stat().st_size for one in copies)
    for old in copies:
        if size <= min(MOST_COPIES, (profile().downloads or MOST_COPIES) // 4) or old == newest:
            return
        size -= old.stat().st_size
        old.unlink()
