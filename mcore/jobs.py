"""The queue between pages and the worker: jobs and their events.

``Jobs`` knows nothing of what a job does. A page submits, reads events and cancels; the one worker
of a store takes, emits and finishes.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mcore.database import Database, plain
from mcore.errors import Cancelled
from mcore.events import Event, Failed, from_json, to_json

JOBS_KEPT = 200
ABANDONED = (
    "The worker process stopped while this was running (it may have run out of memory). "
    "Run it again: finished points are kept."
)
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, fingerprint TEXT,
    experiment TEXT, state TEXT CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')), created REAL,
    started REAL, finished REAL, cancel REAL, sentence TEXT, visitor TEXT, worker TEXT) STRICT;
CREATE INDEX IF NOT EXISTS by_fingerprint ON jobs (fingerprint);
CREATE INDEX IF NOT EXISTS by_state ON jobs (state);
CREATE TABLE IF NOT EXISTS events (job TEXT, n INTEGER, event TEXT, PRIMARY KEY (job, n)) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS prune AFTER DELETE ON jobs BEGIN DELETE FROM events WHERE job = OLD.id; END;
"""
JOB = """SELECT id, fingerprint, experiment, state, created, started, finished, sentence, visitor, CASE state
    WHEN 'queued' THEN (SELECT count(*) FROM jobs ahead WHERE ahead.state = 'queued' AND ahead.number <= jobs.number)
    END AS place FROM jobs """
State = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class Job:
    """One question in the queue; ``place`` is 1 for the next in line, None unless queued. Times: seconds since 1970."""

    id: str
    fingerprint: str
    experiment: dict
    state: State
    place: int | None
    created: float
    started: float | None
    finished: float | None
    sentence: str
    visitor: str


class Jobs:
    """The queue of the store at ``root``. Threads and processes may share it."""

    def __init__(self, root: Path | str):
        self._database = Database(Path(root) / "jobs.sqlite", SCHEMA)

    def submit(self, experiment: dict, fingerprint: str, visitor: str = "") -> str:
        """The id of a new job, or of the unfinished one that asks the same and that nobody has cancelled."""

        def body(connection: sqlite3.Connection) -> str:
            same = "fingerprint = ? AND state IN ('queued', 'running') AND cancel IS NULL"
            if there := connection.execute(f"SELECT id FROM jobs WHERE {same}", (fingerprint,)).fetchone():
                return there["id"]
            job = secrets.token_hex(8)
            connection.execute(
                "INSERT INTO jobs (id, fingerprint, experiment, state, created, sentence, visitor) "
                "VALUES (?, ?, ?, 'queued', ?, '', ?)",
                (job, fingerprint, json.dumps(experiment), time.time(), visitor),
            )
            kept = "state IN ('queued', 'running') OR number IN (SELECT number FROM jobs ORDER BY number DESC LIMIT ?)"
            connection.execute(f"DELETE FROM jobs WHERE NOT ({kept})", (JOBS_KEPT,))
            return job

        return self._database.write(body)

    def job(self, id: str) -> Job | None:
        return self._first("WHERE id = ?", id)

    def latest(self, fingerprint: str) -> Job | None:
        """The last job that asked this."""
        return self._first("WHERE fingerprint = ? ORDER BY number DESC LIMIT 1", fingerprint)

    def active(self) -> list[Job]:
        """The running job, then the queue in its order."""
        return self._jobs("WHERE state IN ('queued', 'running') ORDER BY state DESC, number")

    def cancel(self, id: str) -> None:
        """Take a queued job out of the queue; ask the worker to stop a running one. Otherwise nothing."""

        def body(connection: sqlite3.Connection) -> None:
            asked = "UPDATE jobs SET cancel = coalesce(cancel, ?) WHERE id = ? RETURNING state"
            if [row["state"] for row in connection.execute(asked, (time.time(), id))] == ["queued"]:
                _finish(connection, id, "cancelled", str(Cancelled()))

        self._database.write(body)

    def events(self, id: str, after: int = 0) -> list[tuple[int, Event]]:
        """The job's events with their numbers (1, 2, …), those after number ``after``."""
        rows = self._database.rows("SELECT n, event FROM events WHERE job = ? AND n > ? ORDER BY n", id, after)
        events = []
        for row in rows:
            with suppress(KeyError, TypeError):  # written by another version of this app
                events.append((row["n"], from_json(plain(row["event"]))))
        return events

    def take(self, worker: str) -> Job | None:
        """The next job in line, which is now running in ``worker``."""
        if not self._first("WHERE state = 'queued' LIMIT 1"):
            return None  # most of the time: no need for the write lock
        first = "(SELECT min(number) FROM jobs WHERE state = 'queued')"
        start = f"UPDATE jobs SET state = 'running', started = ?, worker = ? WHERE number = {first} RETURNING id"
        taken = self._database.write(lambda connection: connection.execute(start, (time.time(), worker)).fetchall())
        return self.job(taken[0]["id"]) if taken else None

    def emit(self, id: str, event: Event) -> None:
        self._database.write(lambda connection: _emit(connection, id, event))

    def finish(self, id: str, state: State, sentence: str = "") -> None:
        """End an unfinished job (no other). One that was not done ends with a ``Failed`` event."""
        self._database.write(lambda connection: _finish(connection, id, state, sentence))

    def cancel_asked(self, id: str) -> bool:
        return bool(self._database.rows("SELECT 1 FROM jobs WHERE id = ? AND cancel IS NOT NULL", id))

    def overdue(self, worker: str, seconds: float) -> bool:
        """True if ``worker`` still runs a job that somebody cancelled ``seconds`` ago."""
        late = "SELECT 1 FROM jobs WHERE state = 'running' AND worker = ? AND cancel < ?"
        return bool(self._database.rows(late, worker, time.time() - seconds))

    def abandon(self, sentence: str = ABANDONED) -> None:
        """End the jobs of a worker that is gone. Only who holds the worker's lock may know that and call this."""

        def body(connection: sqlite3.Connection) -> None:
            for job in connection.execute("SELECT id, cancel FROM jobs WHERE state = 'running'").fetchall():
                end = ("failed", sentence) if job["cancel"] is None else ("cancelled", str(Cancelled()))
                _finish(connection, job["id"], *end)

        self._database.write(body)

    def _first(self, where: str, *values: Any) -> Job | None:
        return next(iter(self._jobs(where, *values)), None)

    def _jobs(self, where: str, *values: Any) -> list[Job]:
        rows = self._database.rows(JOB + where, *values)
        return [Job(**dict(row) | {"experiment": plain(row["experiment"])}) for row in rows]


def _emit(connection: sqlite3.Connection, id: str, event: Event) -> None:
    insert = "INSERT INTO events VALUES (?1, (SELECT coalesce(max(n), 0) + 1 FROM events WHERE job = ?1), ?2)"
    connection.execute(insert, (id, json.dumps(to_json(event))))


def _finish(connection: sqlite3.Connection, id: str, state: State, sentence: str) -> None:
    ended = "UPDATE jobs SET state = ?, sentence = ?, finished = ? WHERE id = ? AND state IN ('queued', 'running')"
    if connection.execute(ended, (state, sentence, time.time(), id)).rowcount and state != "done":
        _emit(connection, id, Failed(sentence))
