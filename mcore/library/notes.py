"""Notes and tags of what the store holds, and what the Library has read off it, in one SQLite file beside it.

Nothing that is computed depends on this file: without it the Library is slower and has no notes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mcore.database import Database, plain
from mcore.errors import QuestionError

MOST_TEXT, MOST_TAGS, LONGEST_TAG = 2_000, 8, 30  # characters, tags, characters
SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (key TEXT PRIMARY KEY NOT NULL, text TEXT NOT NULL, tags TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS seen (key TEXT PRIMARY KEY NOT NULL, told TEXT NOT NULL) STRICT;
"""


@dataclass(frozen=True)
class Note:
    """A person's words on a thing."""

    text: str = ""
    tags: tuple[str, ...] = ()


def note(text: str, tags: Iterable[str]) -> Note:
    """A note within its bounds; tags in lower case, each once. Raises ``QuestionError``."""
    text = text.strip()
    if len(text) > MOST_TEXT:
        raise QuestionError("note", f"it is {len(text):,} characters long", f"write at most {MOST_TEXT:,}")
    named = list(dict.fromkeys(filter(None, (re.sub(r"\s+", " ", tag).strip().lower() for tag in tags))))
    if len(named) > MOST_TAGS:
        raise QuestionError("tags", f"these are {len(named)}", f"keep at most {MOST_TAGS}")
    for tag in named:
        if len(tag) > LONGEST_TAG:
            raise QuestionError("tags", f"“{tag[:LONGEST_TAG]}…” is too long", f"a tag has at most {LONGEST_TAG} characters")
    return Note(text, tuple(named))


class Notes:
    """The file ``library.sqlite`` of the store at ``root``; raises ``McoreError`` where it cannot be used."""

    def __init__(self, root: Path):
        self._database = Database(root / "library.sqlite", SCHEMA)

    def every(self) -> dict[str, Note]:
        rows = self._database.rows("SELECT * FROM notes")
        return {row["key"]: Note(row["text"], _tags(row["tags"])) for row in rows}

    def write(self, key: str, note: Note) -> None:
        """Keep the note; an empty one is none."""
        if note == Note():
            return self._database.write(lambda db: db.execute("DELETE FROM notes WHERE key = ?", (key,)) and None)
        row = (key, note.text, json.dumps(note.tags))
        return self._database.write(lambda db: db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", row) and None)

    def seen(self, keys: Iterable[str]) -> dict[str, dict]:
        """What was read off these things before."""
        query = "SELECT * FROM seen WHERE key IN (SELECT value FROM json_each(?))"
        return {row["key"]: plain(row["told"]) for row in self._database.rows(query, json.dumps(list(keys)))}

    def remember(self, told: dict[str, dict]) -> None:
        rows = [(key, json.dumps(one)) for key, one in told.items()]
        self._database.write(lambda db: db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", rows) and None)

    def forget(self, keys: Iterable[str]) -> None:
        """Drop all that stands here of things that are deleted."""
        rows = [(key,) for key in keys]

        def body(db) -> None:
            for table in ("notes", "seen"):
                db.executemany(f"DELETE FROM {table} WHERE key = ?", rows)

        self._database.write(body)


def _tags(text: str) -> tuple[str, ...]:
    with suppress(ValueError):
        value = json.loads(text)
        return tuple(map(str, value)) if isinstance(value, list) else ()
    return ()
