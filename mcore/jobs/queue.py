"""The queue between pages and the worker: jobs and their events.

``Jobs`` knows nothing of what a job does. A page submits, reads events and cancels; the one worker
of a store takes, emits and finishes. Whose turn it is ``line`` says.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mcore.database import Database, plain
from mcore.errors import Cancelled, McoreError
from mcore.events import Event, Failed, from_json, to_json
from mcore.jobs.line import in_turn
from mcore.plan import Part
from mcore.taking import Take

JOBS_KEPT = 200
TURNS_KEPT = 1000  # after so many turns a visitor counts as one who never had any
ABANDONED = (
    "The worker process stopped while this was running (it may have run out of memory). "
    "Run it again: finished points are kept."
)
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, fingerprint TEXT,
    experiment TEXT, part TEXT CHECK (part IN ('all', 'training')), state TEXT CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')), created REAL,
    started REAL, finished REAL, cancel REAL, sentence TEXT, visitor TEXT, worker TEXT) STRICT;
CREATE INDEX IF NOT EXISTS by_fingerprint ON jobs (fingerprint);
CREATE INDEX IF NOT EXISTS by_state ON jobs (state);
CREATE TABLE IF NOT EXISTS events (job TEXT, n INTEGER, event TEXT, PRIMARY KEY (job, n)) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS prune AFTER DELETE ON jobs BEGIN DELETE FROM events WHERE job = OLD.id; END;
CREATE TABLE IF NOT EXISTS joined (job TEXT, visitor TEXT, PRIMARY KEY (job, visitor)) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS prune_joined AFTER DELETE ON jobs BEGIN DELETE FROM joined WHERE job = OLD.id; END;
CREATE TABLE IF NOT EXISTS keyed (job TEXT, visitor TEXT, PRIMARY KEY (job, visitor)) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS prune_keyed AFTER DELETE ON jobs BEGIN DELETE FROM keyed WHERE job = OLD.id; END;
CREATE TABLE IF NOT EXISTS served (visitor TEXT PRIMARY KEY, turn INTEGER) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS one_runs ON jobs (visitor) WHERE state = 'running' AND visitor <> '';
CREATE TABLE IF NOT EXISTS taken (job TEXT PRIMARY KEY, take TEXT) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS prune_taken AFTER DELETE ON jobs BEGIN DELETE FROM taken WHERE job = OLD.id; END;
CREATE TABLE IF NOT EXISTS studies (job TEXT PRIMARY KEY, study TEXT) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS prune_studies AFTER DELETE ON jobs BEGIN DELETE FROM studies WHERE job = OLD.id; END;
"""  # joined: visitors who asked for a job that another one had asked for; served: who had which turn, the last one only
# taken: what a job saves that evaluates nothing (``mcore.taking.Take`` as JSON); its ``part`` stands as 'all', which queues of before know
# studies: the questions of a job that asks several (``mcore.studies.study.to_json``); its ``experiment`` is the first of them
# keyed: visitors who gave the worker a token of the Hub for a job; the token itself never stands in a file
JOB = "SELECT number, id, fingerprint, experiment, part, state, created, started, finished, sentence, visitor, take, study FROM jobs "
JOB += "LEFT JOIN taken ON taken.job = id LEFT JOIN studies ON studies.job = id "
ASKERS = """SELECT number, jobs.visitor FROM jobs WHERE state = ?1
    UNION SELECT number, joined.visitor FROM jobs JOIN joined ON joined.job = jobs.id WHERE state = ?1"""
State = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class Job:
    """One question in the queue; ``place`` is 1 for the next in line, None unless queued. Times: seconds since 1970.

    ``visitor`` asked for it first, of those who still want it; "" is nobody in particular. ``take``: of the part "export";
    ``study``: the questions of a study by name, as they are written.
    """

    id: str
    fingerprint: str
    experiment: dict
    part: Part
    state: State
    place: int | None
    created: float
    started: float | None
    finished: float | None
    sentence: str
    visitor: str
    take: Take | None = None
    study: dict | None = None


class Jobs:
    """The queue of the store at ``root``. Threads and processes may share it."""

    def __init__(self, root: Path | str):
        self._database = Database(Path(root) / "jobs.sqlite", SCHEMA)

    def submit(
        self, experiment: dict, fingerprint: str, visitor: str = "", most: int | None = None, part: Part = "all", keyed: bool = False,
        take: Take | None = None, study: dict | None = None,
    ) -> str:  # fmt: skip
        """The id of a new job, or of the unfinished one that asks the same and that nobody has cancelled. ``keyed``: with a token.

        ``take`` makes it an export, whatever ``part`` says; ``study`` has the questions of a study, of which ``experiment`` is the first.

        Raises ``McoreError`` if ``visitor`` has ``most`` jobs in the queue already.
        """

        def body(connection: sqlite3.Connection) -> str:
            same = "fingerprint = ? AND state IN ('queued', 'running') AND cancel IS NULL"
            if there := connection.execute(f"SELECT id, visitor FROM jobs WHERE {same}", (fingerprint,)).fetchone():
                if visitor != there["visitor"]:
                    connection.execute("INSERT OR IGNORE INTO joined VALUES (?, ?)", (there["id"], visitor))
                _key(connection, there["id"], visitor, keyed)
                return there["id"]
            waiting = "SELECT count(*) FROM jobs WHERE state = 'queued' AND visitor = ?"
            if most is not None and connection.execute(waiting, (visitor,)).fetchone()[0] >= most:
                yours = "One question of yours waits" if most == 1 else f"{most} questions of yours wait"
                raise McoreError(f"{yours} in the queue already, the most that one visitor may have; try again when one has begun.")
            job = secrets.token_hex(8)
            connection.execute(
                "INSERT INTO jobs (id, fingerprint, experiment, part, state, created, sentence, visitor) "
                "VALUES (?, ?, ?, ?, 'queued', ?, '', ?)",
                (job, fingerprint, json.dumps(experiment), part if take is None else "all", time.time(), visitor),
            )
            if take is not None:
                connection.execute("INSERT INTO taken VALUES (?, ?)", (job, json.dumps(asdict(take))))
            if study is not None:
                connection.execute("INSERT INTO studies VALUES (?, ?)", (job, json.dumps(study)))
            _key(connection, job, visitor, keyed)
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
        return sorted(self._jobs("WHERE state IN ('queued', 'running') ORDER BY number"), key=lambda job: job.place or 0)

    def asked_by(self, id: str, visitor: str) -> bool:
        """True if this visitor asked for the job and still wants it."""
        asked = "SELECT 1 FROM jobs WHERE id = ?1 AND visitor = ?2 UNION SELECT 1 FROM joined WHERE job = ?1 AND visitor = ?2"
        return bool(self._database.rows(asked, id, visitor))

    def askers(self) -> set[str]:
        """Who waits for a job or has one running."""
        return {row["visitor"] for state in ("queued", "running") for row in self._database.rows(ASKERS, state)}

    def keyed(self, id: str) -> bool:
        """Whether the visitor for whom the job is carried out has given a token for it."""
        return bool(self._database.rows("SELECT 1 FROM keyed JOIN jobs USING (visitor) WHERE job = ?1 AND id = ?1", id))

    def cancel(self, id: str, visitor: str | None = None) -> None:
        """Take a queued job out of the queue; ask the worker to stop a running one. Otherwise nothing.

        In the name of a ``visitor``: only what they asked for, and where others want it too it goes on for those.
        """

        def body(connection: sqlite3.Connection) -> None:
            if visitor is not None and not _leave(connection, id, visitor):
                return
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

    def last(self, id: str, kind: type[Event]) -> int:
        """The number of the job's last event of a kind; 0 where it has told of none."""
        begins = f'{{"event": "{kind.__name__}"%'
        return self._database.rows("SELECT coalesce(max(n), 0) AS n FROM events WHERE job = ? AND event LIKE ?", id, begins)[0]["n"]

    def take(self, worker: str) -> Job | None:
        """The job whose turn it is, which is now running in ``worker``."""
        if not self._database.rows("SELECT 1 FROM jobs WHERE state = 'queued' LIMIT 1"):
            return None  # most of the time: no need for the write lock

        def body(connection: sqlite3.Connection) -> int | None:
            waiting, served = _waiting(connection)
            busy = {row["visitor"] for row in connection.execute(ASKERS, ("running",))} - {""}
            number = next((each for each in in_turn(waiting, served) if not waiting[each] & busy), None)
            if number is not None:
                start = "UPDATE jobs SET state = 'running', started = ?, worker = ? WHERE number = ?"
                connection.execute(start, (time.time(), worker, number))
                turn = max(served.values(), default=0) + 1
                rows = [(visitor, turn) for visitor in waiting[number]]
                connection.executemany("INSERT OR REPLACE INTO served VALUES (?, ?)", rows)
                connection.execute("DELETE FROM served WHERE turn < ?", (turn - TURNS_KEPT,))
            return number

        number = self._database.write(body)
        return None if number is None else self._first("WHERE number = ?", number)

    def give_way(self, id: str) -> bool:
        """Put a running job back behind all others that wait, if any do; what it has told stays. True if it was put back."""

        def body(connection: sqlite3.Connection) -> bool:
            if not connection.execute("SELECT 1 FROM jobs WHERE state = 'queued' LIMIT 1").fetchone():
                return False
            back = """UPDATE jobs SET state = 'queued', started = NULL, number = (SELECT max(number) + 1 FROM jobs)
                WHERE id = ? AND state = 'running' AND cancel IS NULL"""
            return connection.execute(back, (id,)).rowcount > 0

        return self._database.write(body)

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
        rows, places = self._database.rows(JOB + where, *values), {}
        if any(row["state"] == "queued" for row in rows):
            line = in_turn(*self._database.read(_waiting))
            places = {number: place for place, number in enumerate(line, start=1)}
        return [_job(row, places) for row in rows]


def _job(row: sqlite3.Row, places: dict[int, int]) -> Job:
    told = dict(row) | {"experiment": plain(row["experiment"])}
    if told["take"]:
        told |= {"part": "export", "take": Take(**plain(told["take"]))}
    if told["study"]:
        told["study"] = plain(told["study"])
    return Job(place=places.get(told.pop("number")), **told)


def _waiting(connection: sqlite3.Connection) -> tuple[dict[int, set[str]], dict[str, int]]:
    """The queue as ``line`` wants it: number -> who asked, and who had which turn last."""
    waiting: dict[int, set[str]] = {}
    for row in connection.execute(ASKERS, ("queued",)):
        waiting.setdefault(row["number"], set()).add(row["visitor"])
    return waiting, dict(connection.execute("SELECT visitor, turn FROM served").fetchall())


def _key(connection: sqlite3.Connection, id: str, visitor: str, keyed: bool) -> None:
    if keyed:
        connection.execute("INSERT OR IGNORE INTO keyed VALUES (?, ?)", (id, visitor))


def _leave(connection: sqlite3.Connection, id: str, visitor: str) -> bool:
    """The visitor wants this job no more. True if they were the only one who did."""
    job = connection.execute("SELECT visitor FROM jobs WHERE id = ?", (id,)).fetchone()
    others = [row["visitor"] for row in connection.execute("SELECT visitor FROM joined WHERE job = ?", (id,))]
    if job is None or visitor not in (job["visitor"], *others):
        return False
    if job["visitor"] == visitor and others:
        connection.execute("UPDATE jobs SET visitor = ? WHERE id = ?", (others[0], id))
        visitor = others[0]
    elif job["visitor"] == visitor:
        return True
    connection.execute("DELETE FROM joined WHERE job = ? AND visitor = ?", (id, visitor))
    return False


def _emit(connection: sqlite3.Connection, id: str, event: Event) -> None:
    insert = "INSERT INTO events VALUES (?1, (SELECT coalesce(max(n), 0) + 1 FROM events WHERE job = ?1), ?2)"
    connection.execute(insert, (id, json.dumps(to_json(event))))


def _finish(connection: sqlite3.Connection, id: str, state: State, sentence: str) -> None:
    ended = "UPDATE jobs SET state = ?, sentence = ?, finished = ? WHERE id = ? AND state IN ('queued', 'running')"
    if connection.execute(ended, (state, sentence, time.time(), id)).rowcount and state != "done":
        _emit(connection, id, Failed(sentence))
