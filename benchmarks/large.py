"""A pair of the size of BERT-base (110M parameters, 440 MB each) from a Hub on this machine: the numbers that are asked for.

    python -m benchmarks.large [--precision bfloat16]

look      Bytes that the Hub sends until both ends are known well enough to say whether they can be joined.
first     From putting the question in the queue to its first point on the event stream, the way a page sees it. The files
          are in the clients' cache; the worker is warm, and a new one each time, so that it has not read them before.
          Beside it the processor time that the worker used for it, on which other work tells less.
peak      The most memory that the worker has had resident (VmHWM), after the first point and after the last of 13.

The weights are random, from fixed seeds; the rows are those of the built-in task, 29 tokens in the median. Everything is
kept in a temporary folder of 2 GB that is removed. Other work on the machine shows in the figures; let it rest.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hub_server import hub

from benchmarks.load import is_held, processor, wait_for
from benchmarks.peak import peak
from mcore.events import Done, Event, Failed, PointReady
from mcore.jobs.queue import Jobs
from mcore.jobs.worker import READY
from mcore.question import Experiment, as_written, parse
from mcore.resolve import resolve
from mcore.sources import look

HOME = Path(__file__).resolve().parent.parent
ASKED = {"look": 1e6, "first": 6.0, "peak": 1.6e9}
ROWS, POINTS = (128, 512), 13
PAIR = {"bench/bert-a": 1, "bench/bert-b": 2}  # name on the Hub -> seed


@dataclass(frozen=True)
class Heard:
    """An event, and when it was there, in seconds since its question was put in the queue."""

    at: float
    event: Event


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__.splitlines()[0])
    parser.add_argument("--precision", default="float32")
    precision = parser.parse_args().precision
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Ended."))  # the folder goes then, too
    with tempfile.TemporaryDirectory() as made, hub() as server:
        folder = Path(made)
        # Read when the clients are imported, which nothing above does.
        os.environ |= {"HF_ENDPOINT": server.address, "HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "0"}
        from benchmarks.material import random_bert

        pair = []
        for name, seed in PAIR.items():
            random_bert(folder / name, seed)
            server.put(name, folder / name)
            pair.append(look(f"hub:{name}", "a").address)
            told(f"look: bytes sent for {name}", sum(one.sent for one in server.asked if name in one.path), ASKED["look"])
        store = folder / "store"
        with worker(store):
            list(answered(store, question(pair, 8, 2, precision)))
        told("the pair was fetched once: bytes", sum(one.sent for one in server.asked))
        for rows in ROWS:
            asked = len(server.asked)
            with worker(store) as process:
                first = measured(store, process, question(pair, rows, POINTS if rows == ROWS[0] else 2, precision))
                told(f"first: {rows} rows, to the first point", first, ASKED["first"], "s")
            if new := server.asked[asked:]:
                sys.exit(f"A warm run asked the Hub: {new[0]}")


def measured(store: Path, process: subprocess.Popen, asked: Experiment) -> float:
    """Seconds to the first point; tells of the stages before it and of the memory taken."""
    first, used = None, processor(process.pid)
    for heard in answered(store, asked):
        if first is None:
            work = processor(process.pid) - used
            print(f"    {heard.at:6.2f} s, {work:6.2f} s of processors: {type(heard.event).__name__} {getattr(heard.event, 'what', '')}", flush=True)
        if isinstance(heard.event, PointReady) and heard.event.done in (1, POINTS):
            told(f"peak: {heard.event.done} of {heard.event.points} points, bytes", peak(process.pid), ASKED["peak"])
            first = heard.at if first is None else first
    return first


def answered(store: Path, asked: Experiment) -> Iterator[Heard]:
    """The events of a question from now on, each as soon as it is there."""
    jobs, fingerprint = Jobs(store), resolve(asked).fingerprint
    began, last = time.monotonic(), 0
    job = jobs.submit(as_written(asked), fingerprint)
    while True:
        for number, event in jobs.events(job, last):
            last = number
            yield Heard(time.monotonic() - began, event)
            if isinstance(event, Failed):
                sys.exit(event.sentence)
            if isinstance(event, Done):
                return
        time.sleep(0.01)


@contextmanager
def worker(store: Path) -> Iterator[subprocess.Popen]:
    """A worker that has the engine in memory and nothing else."""
    process = subprocess.Popen([sys.executable, "-m", "mcore.jobs.worker", "--store", str(store), "--warm"], cwd=HOME)
    try:
        wait_for(lambda: is_held(store / READY))
        yield process
    finally:
        process.terminate()
        process.wait(timeout=20)


def question(pair: Sequence[str], rows: int, points: int, precision: str) -> Experiment:
    names = ["narrated", "spoken"]
    return parse({
        "version": 1, "a": pair[0], "b": pair[1], "tasks": [{"task": "builtin:speech", "limit": rows}],
        "points": points, "precision": precision, "labels": {"a": names, "b": names},
    })  # fmt: skip


def told(what: str, found: float, asked: float | None = None, unit: str = "") -> None:
    figure = f"{found:,.2f} {unit}" if unit else f"{found:,.0f}"
    limit = f"   asked: under {asked:,.0f} {unit}" if asked else ""
    print(f"{what:<44}{figure:>16}{limit}", flush=True)


if __name__ == "__main__":
    main()
