"""What processes share on disk: locks that the kernel frees when their holder dies, and SQLite files that heal.

The store and the queue stand on this; nothing here knows what they keep.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from mcore.errors import McoreError

T = TypeVar("T")
log = logging.getLogger(__name__)


@contextmanager
def held(path: Path, wait: bool = False) -> Iterator[bool]:
    """Whether the caller holds the lock ``path`` for the length of the block; ``wait`` until it does.

    The kernel frees the lock when its process dies. It belongs to the open file, so threads of one
    process exclude one another as processes do, and a holder that asks again is told False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _taken(path, wait)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            if _inode(path) == os.fstat(handle).st_ino:
                os.unlink(path)  # while it is still ours: a lock file nobody holds means nothing
            os.close(handle)


def _taken(path: Path, wait: bool) -> int | None:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(handle)
            return None
        if _inode(path) == os.fstat(handle).st_ino:
            return handle
        os.close(handle)  # its last holder removed it between our two calls


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What the disk or SQLite refuse, as a sentence."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        if full or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise McoreError(f"The disk that holds {path} is full; free some space and run it again.") from error
        raise McoreError(f"{path} cannot be used ({error}); check the disk and who may write there.") from error


class Database:
    """One SQLite file (WAL) that threads and processes share; a damaged one is set aside and begun anew."""

    def __init__(self, path: Path, schema: str):
        self.path, self._schema = path, schema
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inode: int | None = None
        self.read(lambda connection: None)

    def read(self, body: Callable[[sqlite3.Connection], T]) -> T:
        """What ``body`` makes of the connection. Raises ``McoreError`` if the file cannot be used."""
        with self._lock, told(self.path):
            try:
                return body(self._open())
            except (sqlite3.Error, UnicodeDecodeError) as error:
                if not _is_damage(error):
                    raise
                self._set_aside()
                return body(self._open())

    def write(self, body: Callable[[sqlite3.Connection], T]) -> T:
        """The same in one transaction, alone. ``body`` may be run twice: what cannot be repeated stands at its end."""

        def transaction(connection: sqlite3.Connection) -> T:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                return body(connection)

        return self.read(transaction)

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return self.read(lambda connection: connection.execute(sql, values).fetchall())

    def _open(self) -> sqlite3.Connection:
        if self._connection and self._inode == _inode(self.path):  # else another process has begun the file anew
            return self._connection
        if self._connection:
            self._connection.close()
        with held(Path(f"{self.path}.lock"), wait=True):  # SQLite's busy timeout does not cover the change to WAL
            self._connection = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            self._connection.row_factory = sqlite3.Row
            self._connection.text_factory = lambda raw: raw.decode(errors="replace")
            try:
                self._connection.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {self._schema}")
                if self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
                    raise sqlite3.DatabaseError("malformed")
            finally:
                self._inode = _inode(self.path)
        return self._connection

    def _set_aside(self) -> None:
        self._connection = self._connection and self._connection.close()  # first: SQLite finds its journal by name
        with held(Path(f"{self.path}.lock"), wait=True):
            if _inode(self.path) != self._inode:
                return  # somebody else has done it
            for end in ("-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    os.replace(f"{self.path}{end}", f"{self.path}.damaged{end}")
        log.warning("%s was damaged. It is set aside as %s.damaged and begun anew.", self.path, self.path.name)


def plain(text: str) -> dict:
    """A JSON object that was written to a database; empty if it cannot be read any more."""
    with suppress(TypeError, ValueError):
        value = json.loads(text)
        return value if isinstance(value, dict) else {}
    return {}


def _inode(path: Path) -> int | None:
    with suppress(FileNotFoundError):
        return path.stat().st_ino
    return None


def _is_damage(error: Exception) -> bool:
    """True if the file is no database, is corrupt, or has another shape than our statements (which are right)."""
    shape = getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_IOERR_SHORT_READ)
    return shape or type(error) in (sqlite3.DatabaseError, UnicodeDecodeError)  # the latter quotes what it found
