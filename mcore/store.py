"""The store: everything that was computed, kept in one folder that threads and processes share.

    index.sqlite   what there is, of what kind, how large, when last used
    blobs/AB/KEY   bytes: the SHA-256 of key and data, then the data
    folders/KEY    a folder of files (a trained model); their checksums stand in the index
    work/KEY       scratch of work that can be taken up again after a crash
    locks/KEY      who works on what (see ``held``)
    temp/          files on their way to their place

A file is complete before the index names it, and both change under the index's write lock. So a
process may be killed at any moment: what it leaves behind is either whole or nobody's, and what is
nobody's is swept when the store is opened. What is damaged is dropped, and computed again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from mcore.database import Database, held, plain, told
from mcore.errors import McoreError

LIMIT_BYTES = 5_000_000_000
ORPHANS_KEPT = 3600.0  # seconds: a write that is still under way is younger than this
WORK_KEPT = 7 * 24 * 3600.0  # seconds since it was last taken up
KEY = re.compile(r"[0-9a-f]{8,64}")
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY NOT NULL CHECK (length(key) BETWEEN 8 AND 64 AND key NOT GLOB '*[^0-9a-f]*'),
    kind TEXT NOT NULL, bytes INTEGER NOT NULL, created REAL NOT NULL, used REAL NOT NULL, about TEXT, files TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS by_use ON entries (used, bytes);
"""  # files: NULL for a blob; for a folder JSON of name -> [bytes, SHA-256]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One thing in the store; times in seconds since 1970."""

    key: str
    kind: str
    bytes: int
    created: float
    used: float
    about: dict


class Store:
    """See the module. Keys are 8 to 64 hexadecimal digits that stand for everything that can change the content."""

    def __init__(self, root: Path | str | None = None, limit_bytes: int | None = None):
        root = root or os.environ.get("MCORE_STORE") or "~/.cache/mode-connectivity-explorer"
        self.root = Path(root).expanduser().absolute()
        self.limit_bytes = _limit() if limit_bytes is None else limit_bytes
        self._verified: dict[Path, tuple] = {}
        self._index = Database(self.root / "index.sqlite", SCHEMA)
        self._index.write(self._sweep)

    def get(self, key: str) -> bytes | None:
        """The bytes under ``key``, marked as used; None if there are none or they were damaged."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Iterable[str], touch: bool = True) -> dict[str, bytes]:
        """The bytes of those keys that are there and whole, marked as used unless they are only listed."""
        with told(self.root):
            found = {key: self._read(key) for key in self._named(keys, "files IS NULL")}
        for key in [key for key, data in found.items() if data is None]:
            del found[key]
            self._drop_damaged(key, lambda key=key: self._read(key) is None)
        self.touch(found if touch else ())
        return found

    def has(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that the index names."""
        return self._named(keys, "TRUE")

    def known(self, keys: Iterable[str]) -> list[Entry]:
        """What the index says of those of the keys that it names."""
        asked = json.dumps([key for key in keys if self._blob(key)])
        rows = self._index.rows("SELECT * FROM entries WHERE key IN (SELECT value FROM json_each(?))", asked)
        return [Entry(*row[:5], plain(row["about"])) for row in rows]

    def put(self, key: str, data: bytes, kind: str, about: dict | None = None) -> None:
        """Keep ``data``. Atomic; what was under the key is replaced. Raises ``McoreError`` (too large, disk full)."""
        temp = self.root / "temp" / f"{self._blob(key).name}-{uuid.uuid4().hex}"
        with told(self.root):
            try:
                temp.parent.mkdir(parents=True, exist_ok=True)
                with open(temp, "wb") as file:
                    file.write(_seal(key, data))
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                self._place(temp, key, kind, len(data), about, files=None)
            finally:
                temp.unlink(missing_ok=True)

    def folder(self, key: str) -> Path | None:
        """The folder under ``key``, marked as used; None if there is none or a file in it was damaged.

        Checksums are read once and whenever a file has changed. Claim the key to keep the folder from eviction.
        """
        if not self._named([key], "files IS NOT NULL"):
            return None
        if not self._intact(key):
            return self._drop_damaged(key, lambda: not self._intact(key))
        self.touch([key])
        return self.root / "folders" / key

    def put_folder(self, key: str, source: Path, kind: str, about: dict | None = None) -> Path:
        """Move the folder ``source`` (beneath ``work``) into place, atomically; a whole one that is there stays."""
        with told(self.root):
            if there := self.folder(key):
                shutil.rmtree(source)
                return there
            paths = sorted(path for path in source.rglob("*") if path.is_file())
            files = {str(path.relative_to(source)): _sealed(path) for path in paths}
            size = sum(size for size, _ in files.values())
            os.utime(source)  # its age counts from now
            return self._place(source, key, kind, size, about, json.dumps(files))

    def work(self, key: str) -> Path:
        """The scratch folder of ``key``, made if missing; it survives crashes and is swept after a week unused."""
        self._blob(key)
        path = self.root / "work" / key
        with told(self.root):
            path.mkdir(parents=True, exist_ok=True)
            os.utime(path)
        return path

    def drop_work(self, key: str) -> None:
        self._blob(key)
        _erase(self.root / "work" / key)

    def claim(self, key: str) -> AbstractContextManager[bool]:
        """Whether the caller alone may compute ``key`` during the block. Never waits; freed if the process dies."""
        self._blob(key)
        return held(self.root / "locks" / key)

    def drop(self, key: str) -> None:
        self._blob(key)
        self._index.write(lambda connection: self._remove(connection, key))

    def clear(self) -> int:
        """Drop everything, scratch too, that nobody has claimed. Bytes that became free."""
        work = self.root.glob("work/*")
        scratch = sum(self._unclaimed(path.name, lambda path=path: _erase(path)) for path in work)
        return scratch + self._index.write(lambda connection: self._evict(connection, to=-1))  # below any size: all

    def size(self) -> int:
        """Bytes of all entries."""
        return self._index.rows("SELECT coalesce(sum(bytes), 0) FROM entries")[0][0]

    def entries(self, kind: str | None = None) -> list[Entry]:
        """What there is, the last used first."""
        rows = self._index.rows("SELECT * FROM entries WHERE ?1 IS NULL OR kind = ?1 ORDER BY used DESC", kind)
        return [Entry(*row[:5], plain(row["about"])) for row in rows]

    def _blob(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise ValueError(f"{key!r} is not a key")
        return self.root / "blobs" / key[:2] / key

    def _named(self, keys: Iterable[str], where: str) -> set[str]:
        asked = json.dumps([key for key in keys if self._blob(key)])
        query = f"SELECT key FROM entries WHERE key IN (SELECT value FROM json_each(?)) AND {where}"
        return {row["key"] for row in self._index.rows(query, asked)}

    def _read(self, key: str) -> bytes | None:
        try:
            raw = self._blob(key).read_bytes()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EIO):
                raise
            return None
        seal, data = raw[:32], raw[32:]
        return data if seal == _seal(key, data) else None

    def _intact(self, key: str) -> bool:
        rows = self._index.rows("SELECT files FROM entries WHERE key = ?", key)
        files = plain(rows[0]["files"]) if rows else {}
        for name, seal in files.items():
            path = self.root / "folders" / key / name
            try:
                stat = path.stat()
                stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ino, seal)
                if self._verified.get(path) != stamp and _sealed(path) != seal:
                    return False
            except OSError:
                return False
            self._verified[path] = stamp
        return bool(files)

    def _place(self, source: Path, key: str, kind: str, size: int, about: dict | None, files: str | None) -> Path:
        """Name what is complete in the index and move it to its place, then make room."""
        if size > self.limit_bytes:
            limit = f"the store may hold {self.limit_bytes:,}: raise the limit with MCORE_STORE_LIMIT"
            raise McoreError(f"A result is {size:,} bytes large and {limit}.")
        place, now = self.root / "folders" / key if files else self._blob(key), time.time()

        def body(connection: sqlite3.Connection) -> None:
            row = (key, kind, size, now, now, json.dumps(about or {}), files)
            connection.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_dir():
                _erase(place)
            os.replace(source, place)

        self._index.write(body)
        if self.size() > self.limit_bytes:
            self._index.write(lambda connection: self._evict(connection, to=self.limit_bytes, keep=key))
        return place

    def _evict(self, connection: sqlite3.Connection, to: int, keep: str | None = None) -> int:
        """Remove the least recently used, never ``keep`` or what is claimed, until ``to`` bytes are left."""
        rows, freed = connection.execute("SELECT key, bytes FROM entries ORDER BY used").fetchall(), 0
        excess = sum(size for _, size in rows) - to
        for key, size in rows:
            if freed < excess and key != keep and self._unclaimed(key, lambda key=key: self._remove(connection, key)):
                freed += size
        return freed

    def _unclaimed(self, key: str, action: Callable[[], int]) -> int:
        with held(self.root / "locks" / key) as free:
            return action() if free else 0

    def _remove(self, connection: sqlite3.Connection, key: str) -> int:
        connection.execute("DELETE FROM entries WHERE key = ?", (key,))
        _erase(self._blob(key))
        _erase(self.root / "folders" / key)
        return 1

    def _drop_damaged(self, key: str, still: Callable[[], bool]) -> None:
        """Drop ``key`` unless somebody has put it anew in the meantime."""

        def body(connection: sqlite3.Connection) -> None:
            if still():
                self._remove(connection, key)
                log.warning("The stored entry %s was damaged. It is dropped and will be computed again.", key)

        self._index.write(body)

    def touch(self, keys: Iterable[str]) -> None:
        """Mark as used: what is looked at is not old, though nothing of it be read."""
        rows = [(time.time(), key) for key in keys]
        with suppress(McoreError):  # a full disk can still be read
            if rows:
                self._index.write(lambda db: db.executemany("UPDATE entries SET used = ? WHERE key = ?", rows))

    def _sweep(self, connection: sqlite3.Connection) -> None:
        """Remove what a killed process left: unnamed files, and unclaimed scratch of long ago."""
        known = {row["key"] for row in connection.execute("SELECT key FROM entries")}
        for pattern in ("temp/*", "folders/*", "blobs/*/*"):
            for path in self.root.glob(pattern):
                if path.name not in known and _older(path, ORPHANS_KEPT):
                    _erase(path)
        for path in self.root.glob("work/*"):
            if _older(path, WORK_KEPT):
                self._unclaimed(path.name, lambda path=path: _erase(path))


def _limit() -> int:
    text = os.environ.get("MCORE_STORE_LIMIT") or str(LIMIT_BYTES)
    if not text.isdecimal():
        raise McoreError(f"MCORE_STORE_LIMIT is {text!r}; give a number of bytes, such as {LIMIT_BYTES}.")
    return int(text)


def _seal(key: str, data: bytes) -> bytes:
    return hashlib.sha256(key.encode() + data).digest()


def _sealed(path: Path) -> list:
    """Bytes and SHA-256 of a file, which is on the disk afterwards."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
        return [file.tell(), digest]


def _older(path: Path, seconds: float) -> bool:
    with suppress(OSError):
        return time.time() - path.stat().st_mtime > seconds
    return False


def _erase(path: Path) -> int:
    """Remove a file or a folder if it is there. Bytes that became free."""
    size = 0
    with suppress(OSError):
        size = sum(each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file())
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return size
