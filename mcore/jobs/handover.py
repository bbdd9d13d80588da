"""How visitors' tokens come from the app to its worker: lines of JSON through a pipe, in memory on both sides, in no file.

The app writes what a job needs before the job is in the queue, and the worker reads what there is before it
begins a job: so the token is always there first. A worker that takes the place of another is told all over.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from typing import IO

from mcore.hub import access


class Giver:
    """The app's side: the tokens of visitors who have a job waiting or running."""

    def __init__(self) -> None:
        self._tokens: dict[str, str] = {}
        self._pipe: IO[bytes] | None = None

    def to(self, pipe: IO[bytes]) -> None:
        """From now on this worker is told."""
        if self._pipe:
            self._pipe.close()
        os.set_blocking(pipe.fileno(), False)  # a page never waits for a worker that does not read
        self._pipe = pipe
        self._say({"pepper": access.pepper()})
        for visitor, token in self._tokens.items():
            self._say({"visitor": visitor, "token": token})

    def give(self, visitor: str, token: str | None) -> None:
        """The visitor's token; None: what there was is forgotten on both sides."""
        if self._tokens.get(visitor) == token:
            return
        if token:
            self._tokens[visitor] = token
        else:
            del self._tokens[visitor]
        self._say({"visitor": visitor, "token": token})

    def keep_only(self, visitors: set[str]) -> None:
        for visitor in self._tokens.keys() - visitors:
            self.give(visitor, None)

    def empty(self) -> bool:
        return not self._tokens

    def _say(self, what: dict) -> None:
        line = json.dumps(what).encode() + b"\n"  # short enough that a pipe takes all of it or nothing
        with suppress(OSError):  # it has gone, and the next one is told; or it is full, and the job says that its token is missing
            if self._pipe:
                os.write(self._pipe.fileno(), line)


class Taker:
    """The worker's side. Two threads read: what must be there when a job begins, and what comes while it runs."""

    def __init__(self, source: int | None):
        self._source, self._rest, self._tokens, self._guard = source, b"", {}, threading.Lock()
        if source is not None:
            os.set_blocking(source, False)

    def token(self, visitor: str) -> str | None:
        self.read()
        return self._tokens.get(visitor)

    def read(self) -> None:
        """Take in what was said so far, without waiting."""
        with self._guard, suppress(BlockingIOError):
            while self._source is not None:
                if not (told := os.read(self._source, 65_536)):
                    self._source = None  # the app has gone
                *lines, self._rest = (self._rest + told).split(b"\n")
                for line in lines:
                    self._take(json.loads(line))

    def _take(self, what: dict) -> None:
        if "pepper" in what:
            access.share(what["pepper"])
        elif what["token"]:
            self._tokens[what["visitor"]] = what["token"]
        else:
            self._tokens.pop(what["visitor"], None)
