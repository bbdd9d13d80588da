"""Keeps a worker alive from within the app's process: spawns it, looks after it, starts the next one.

The page's process does no work itself. It makes one ``Keeper`` and talks to ``Jobs``.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcore.database import held
from mcore.jobs.handover import Giver
from mcore.jobs.queue import Jobs
from mcore.jobs.worker import GAVE_UP, GREW, LOCK, LOG, READY, RUNNER

HOME = Path(__file__).resolve().parent.parent.parent  # where ``mcore`` is imported from
OVERDUE = 1.6  # seconds after a cancellation that even the worker's own watchdog did not carry out
STEADY = 30.0  # seconds: a worker that lived longer did not die at once
LONGEST_PAUSE = 60.0
LOG_BYTES = 4_000_000
log = logging.getLogger(__name__)


class Keeper:
    """A thread that keeps one worker process alive for the store at ``root``, until ``stop``."""

    def __init__(self, root: Path | str, runner: str = RUNNER):
        self._root, self._runner = Path(root).expanduser().absolute(), runner
        self._jobs = Jobs(self._root)
        self._process: subprocess.Popen | None = None
        self._giver, self._giving = Giver(), threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._thread.start()

    def alive(self) -> bool:
        """True if our worker process is there, be it at work or standing by for another app's worker."""
        return self._process is not None and self._process.poll() is None

    def warm(self) -> bool:
        """True if a worker of this store has the engine in memory and takes jobs."""
        ready = self._root / READY
        if not ready.exists():
            return False
        with held(ready) as nobody:
            return not nobody

    @contextmanager
    def lent(self, visitor: str, token: str | None) -> Iterator[None]:
        """What is put in the queue in here for the visitor is carried out with this token, which is forgotten when nothing of theirs is left."""
        with self._giving:
            self._giver.give(visitor, token)
            yield

    def stop(self) -> None:
        """End the worker, and a running job as cancelled."""
        self._stopping.set()
        self._thread.join()

    def _keep(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            began = time.monotonic()
            code = None
            try:
                code = self._life()
                with held(self._root / LOCK) as nobody_works:
                    if nobody_works:
                        self._jobs.abandon()
            except Exception:
                log.exception("The worker could not be kept alive.")  # a full disk, say: it may pass
            at_once = code not in (GAVE_UP, GREW) and time.monotonic() - began < STEADY
            pause = min(LONGEST_PAUSE, max(0.5, 2 * pause)) if at_once else 0.0

    def _life(self) -> int:
        """One worker from its start to its end. Its exit code."""
        self._process = process = self._spawn()
        try:
            while process.poll() is None and not self._stopping.wait(0.2):
                if self._jobs.overdue(str(process.pid), OVERDUE):
                    process.kill()
                self._forget()
        finally:
            process.terminate()
            try:
                process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                process.kill()
        return process.wait()

    def _forget(self) -> None:
        if not self._giver.empty():
            with self._giving:
                self._giver.keep_only(self._jobs.askers())

    def _spawn(self) -> subprocess.Popen:
        path = self._root / LOG
        if path.exists() and path.stat().st_size > LOG_BYTES:
            os.replace(path, f"{path}.1")
        paths = [str(HOME), *filter(None, [os.environ.get("PYTHONPATH")])]
        command = [sys.executable, "-m", "mcore.jobs.worker", "--store", str(self._root), "--warm"]
        with open(path, "ab") as sink:
            process = subprocess.Popen(
                [*command, "--parent", str(os.getpid()), "--runner", self._runner, "--tokens"],
                stdin=subprocess.PIPE,
                stdout=sink,
                stderr=sink,
                start_new_session=True,  # Ctrl-C in the app's terminal is not meant for a running job
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        with self._giving:
            self._giver.to(process.stdin)
        return process
