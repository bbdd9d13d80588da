"""The worker process: takes jobs of one store, one at a time, and carries them out.

    python -m mcore.jobs.worker --store DIR [--warm] [--parent PID] [--runner MODULE:FUNCTION] [--tokens]

One worker works per store: another one stands by and takes over when the first is gone. ``--warm``
imports the engine before the first job comes. With ``--parent`` the worker leaves when that process
has gone and the running job is done. ``--runner`` names a function like ``mcore.run.run``. With ``--tokens``
it takes visitors' tokens from standard input (see ``handover``): a job is carried out with that of who asked for it.

A job that does not stop soon after it was cancelled is ended with the whole process: the cores are
free within two seconds, and the ``Keeper`` starts the next worker. Where the profile has a budget
for memory, a worker that holds more after a job leaves too: not all that is freed goes back.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mcore.database import held
from mcore.errors import Cancelled, McoreError
from mcore.events import Asked, Event, Failed
from mcore.hub import access
from mcore.hub.refusals import Refused
from mcore.jobs.handover import Taker
from mcore.jobs.queue import Job, Jobs, State
from mcore.plan import Part
from mcore.profile import profile
from mcore.question import Experiment, parse
from mcore.store import Store
from mcore.studies.study import from_json
from mcore.threads import share_the_cores

Runner = Callable[[Experiment, Store, Callable[[], bool], Part], Iterator[Event]]
RUNNER = "mcore.run:run"
LOCK, READY, LOG = "worker.lock", "worker.ready", "worker.log"  # in the store; who holds READY takes jobs
GAVE_UP = 75  # the exit code after a job that did not stop
GREW = 76  # the exit code of a worker that holds more memory than it may between two jobs
GLANCE = 0.2  # seconds between two looks at the queue and at a cancellation
GRACE = 1.2  # seconds that a cancelled job has to stop by itself
LOST = (
    "The token that was typed for this is not with the worker that took it: the app was started again, or another "
    "copy of it works on this store. Type the token again and run it once more; if that does not help, close the other copy."
)
log = logging.getLogger("mcore.jobs.worker")


@dataclass
class Running:
    """The job at hand; ``asked`` is when it was told to stop (monotonic seconds)."""

    job: Job
    stop: threading.Event = field(default_factory=threading.Event)
    asked: float | None = None


class Worker:
    """One process's life: wait for the store's worker lock, then take jobs until told to leave."""

    def __init__(
        self,
        store: Store,
        runner: str = RUNNER,
        warm: bool = False,
        parent: int | None = None,
        memory: int | None = None,
        tokens: int | None = None,
    ):
        self.store, self.jobs, self._memory = store, Jobs(store.root), memory
        self._runner, self._warm, self._parent = runner, warm, parent
        self._tokens = Taker(tokens)
        self._running: Running | None = None
        self._ending = threading.Lock()  # a job is ended once, by the main thread or by the watchdog
        self._told_to_leave: float | None = None

    def live(self) -> int:
        """Returns the exit code."""
        self._listen()
        while not self._may_leave():
            with held(self.store.root / LOCK) as mine:
                if mine:
                    return self._work()
            time.sleep(GLANCE)
        return 0

    def _may_leave(self) -> bool:
        return self._told_to_leave is not None or (self._parent is not None and os.getppid() != self._parent)

    def _work(self) -> int:
        self.jobs.abandon()  # we hold the lock, so whoever ran them is gone
        if self._warm:
            try:
                self._engine()
            except Exception:
                log.exception("The engine cannot be imported.")  # each job will say so
        with held(self.store.root / READY, wait=True):
            while not self._may_leave():
                job = self.jobs.take(str(os.getpid()))
                if job is None:
                    time.sleep(GLANCE)
                    continue
                self._carry_out(job)
                if self._memory is not None and (resident := resident_bytes()) > self._memory:
                    log.info("The worker holds %s bytes after this job: the next one takes its place.", f"{resident:,}")
                    return GREW
        return 0

    def _engine(self) -> Runner:
        module, _, function = self._runner.partition(":")
        return getattr(importlib.import_module(module), function)

    def _stream(self, job: Job, stop: threading.Event) -> Iterator[Event]:
        if job.take is not None:
            from mcore.export import export  # torch, which the engine brings in its time

            return export(parse(job.experiment), job.take, self.store, stop.is_set)
        if job.study is not None:
            from mcore.studies.studying import run_study

            return run_study(from_json(job.study), self.store, stop.is_set)
        return self._engine()(parse(job.experiment), self.store, stop.is_set, job.part)

    def _carry_out(self, job: Job) -> None:
        log.info("Job %s begins.", job.id)
        self._running = Running(job)
        state, sentence = self._outcome(job, self._running.stop)
        log.info("Job %s is %s. %s", job.id, state, sentence)
        with self._ending:
            if state != "queued":
                self.jobs.finish(job.id, state, sentence)
            self._running = None

    def _outcome(self, job: Job, stop: threading.Event) -> tuple[State, str]:
        """The state in which the job ends, and the sentence that tells why; "queued" where a study lets others go first."""
        token, asked = self._tokens.token(job.visitor), 0  # questions of a study that were begun in this turn
        try:
            with access.using(token):
                for event in self._stream(job, stop):
                    if isinstance(event, Failed):  # ``finish`` emits it
                        return "failed", event.sentence
                    if isinstance(event, Asked):
                        if asked and self.jobs.give_way(job.id):
                            return "queued", ""
                        asked += 1
                    self.jobs.emit(job.id, event)
                    if stop.is_set():
                        raise Cancelled
        except Refused as error:
            return "failed", LOST if token is None and self.jobs.keyed(job.id) else str(error)
        except Cancelled as error:
            return "cancelled", str(error)
        except McoreError as error:
            return "failed", str(error)
        except Exception as error:
            log.exception("Job %s met something unexpected.", job.id)
            what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".rstrip(": ")
            return "failed", (
                f"Something unexpected went wrong ({what}). Finished points are kept; "
                f"run it again, and if it happens again read {LOG} in the store."
            )
        return "done", ""

    def _listen(self) -> None:
        """Start the watchdog. It hears of signals through a pipe: the main thread may be deep in a computation."""
        ear, mouth = os.pipe()
        os.set_blocking(mouth, False)
        signal.set_wakeup_fd(mouth)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        threading.Thread(target=self._watch, args=(ear,), name="watchdog", daemon=True).start()

    def _watch(self, ear: int) -> None:
        while True:
            heard, _, _ = select.select([ear], [], [], GLANCE)
            if heard and os.read(ear, 64) and self._told_to_leave is None:
                self._told_to_leave = time.monotonic()
            try:
                self._tokens.read()
                self._glance()
            except Exception:
                log.exception("The watchdog could not look at the queue.")  # it looks again

    def _glance(self) -> None:
        running, since = self._running, self._told_to_leave
        if running:
            if running.asked is None and (since or self.jobs.cancel_asked(running.job.id)):
                running.asked = time.monotonic()
                running.stop.set()
            since = running.asked
        if since and time.monotonic() - since > GRACE:
            self._give_up(running)

    def _give_up(self, running: Running | None) -> None:
        mine = self._ending.acquire(timeout=GLANCE)  # the main thread may hang while it ends the job
        if mine and running is not self._running:
            self._ending.release()  # the job ended just now
            return
        try:
            if running:
                log.warning("Job %s did not stop by itself: the process leaves with it.", running.job.id)
                self.jobs.finish(running.job.id, "cancelled", str(Cancelled()))
        finally:
            os._exit(GAVE_UP)


def resident_bytes() -> int:
    """The memory that this process holds; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mcore.jobs.worker", description="Carry out the jobs of a store.")
    parser.add_argument("--store", type=Path, help="the store's folder (default: as everywhere)")
    parser.add_argument("--warm", action="store_true", help="import the engine before the first job comes")
    parser.add_argument("--parent", type=int, metavar="PID", help="leave when this process, our parent, has gone")
    parser.add_argument("--runner", default=RUNNER, metavar="MODULE:FUNCTION", help=f"default: {RUNNER}")
    parser.add_argument("--tokens", action="store_true", help="take visitors' tokens from standard input")
    options = parser.parse_args(arguments)
    share_the_cores()
    try:
        store = Store(options.store, profile().store)
        logging.basicConfig(
            filename=store.root / LOG, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        tokens = sys.stdin.fileno() if options.tokens else None
        return Worker(store, options.runner, options.warm, options.parent, profile().memory, tokens).live()
    except McoreError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
