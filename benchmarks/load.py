"""Thirty visitors while a job runs: how long pages take, and how much the job slows.

    python -m benchmarks.load [--visitors 30] [--reading 15] [--turns 2]

The app is started by ``./start`` with a fresh store. The same job, with other seeds each time, is carried out by the
real engine alone and beside the visitors, in turns. Each visitor is a session of its own that opens Home, Compare and
Knowledge one after the other and reads each for a while; a page that watches the running job polls as it does in a
browser. Half of the links ask the question that runs, half one whose answer is there. Visitors come from a process on
the same machine, whose work counts against the app; other work on the machine shows in the figures too: let it rest.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median

from benchmarks.visitor import Visitor, visit
from mcore.database import held
from mcore.jobs.queue import Job, Jobs
from mcore.jobs.worker import READY
from mcore.link import link
from mcore.question import Experiment, as_written, parse
from mcore.resolve import resolve

HOME = Path(__file__).resolve().parent.parent
PAGES = ("", "Compare", "Knowledge")
TICK = os.sysconf("SC_CLK_TCK")
SEEDS = count(1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__.splitlines()[0])
    parser.add_argument("--visitors", type=int, default=30)
    parser.add_argument("--reading", type=float, default=15.0, help="seconds that a visitor stays on a page")
    parser.add_argument("--turns", type=int, default=2, help="jobs alone, and jobs beside visitors")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, started(Path(folder)) as (port, pid, jobs):
        finished = question()
        carried_out(jobs, submitted(jobs, finished))
        alone, beside, opened, looks, work = [], [], [], [], []
        for turn in range(1, options.turns + 1):
            alone.append(seconds(carried_out(jobs, submitted(jobs, question()))))
            told = asyncio.run(beside_visitors(options, port, jobs, finished, pid))
            beside.append(told["job"])
            opened += told["opened"]
            looks += told["looks"]
            work.append(told["cores"])
            print(f"turn {turn}: the job took {alone[-1]:.1f} s alone, {beside[-1]:.1f} s beside visitors", flush=True)
    print(f"\n{options.visitors} visitors, {len(opened)} pages opened, {len(looks)} looks at the running job\n")
    for name, took in [
        *((f"opening {page or 'Home'}", [each for at, each in opened if at == page]) for page in PAGES),
        ("opening any page", [each for _, each in opened]),
        ("a look at the running job", looks),
    ]:
        print(f"{name:<28} median {percentile(took, 50):6.2f} s   95th percentile {percentile(took, 95):6.2f} s")
    slower = [by / without - 1 for by, without in zip(beside, alone, strict=True)]
    print(f"{'the job':<28} median {median(slower):+.0%} time ({', '.join(f'{each:+.0%}' for each in slower)}), {median(alone):.1f} s alone")
    print(f"{'cores in use':<28} app {median(app for app, _ in work):.2f}, visitors {median(own for _, own in work):.2f}")


def question() -> Experiment:
    """A question that nobody has asked: two trainings and a path."""
    seed = next(SEEDS)
    recipe = {"base": "builtin:austen@7000", "task": {"task": "builtin:speech"}, "steps": 30, "head_seed": seed}
    return parse({
        "version": 1, "a": recipe | {"data_seed": 2 * seed}, "b": recipe | {"data_seed": 2 * seed + 1},
        "tasks": [{"task": "builtin:speech", "limit": 256}], "points": 21,
    })  # fmt: skip


async def beside_visitors(
    options: argparse.Namespace, port: int, jobs: Jobs, finished: Experiment, pid: int
) -> dict[str, object]:
    """A job and the visitors who come while it runs."""
    running = question()
    job, began, used, own = submitted(jobs, running), time.monotonic(), processor(pid), time.process_time()
    over, opened, looks = asyncio.Event(), [], []
    visitors = [
        asyncio.create_task(one_visitor(n, options, port, link((running, finished)[n % 2]), over, opened, looks))
        for n in range(options.visitors)
    ]
    while jobs.job(job).state in ("queued", "running"):
        await asyncio.sleep(0.25)
    lasted = time.monotonic() - began
    cores = ((processor(pid) - used) / lasted, (time.process_time() - own) / lasted)
    over.set()
    await asyncio.gather(*visitors)
    return {"job": seconds(jobs.job(job)), "opened": opened, "looks": looks, "cores": cores}


async def one_visitor(
    number: int, options: argparse.Namespace, port: int, query: str, over: asyncio.Event, opened: list, looks: list
) -> None:
    """Comes at some moment of the first reading time, and reads until the job is over."""
    chance = random.Random(number)
    await asyncio.sleep(chance.uniform(0, options.reading))
    async with visit(port) as stream:
        visitor, pages = Visitor(stream), list(PAGES)
        chance.shuffle(pages)
        while not over.is_set():
            page = pages[len(opened) % len(pages)] if not visitor.page else pages[(pages.index(visitor.page) + 1) % 3]
            opened.append((page, await visitor.open(page, query if page else "")))
            until = time.monotonic() + chance.uniform(0.5, 1.5) * options.reading
            while not over.is_set() and (left := until - time.monotonic()) > 0:
                looks += await visitor.stay(min(2.0, left))


@contextmanager
def started(folder: Path) -> Iterator[tuple[int, int, Jobs]]:
    """The app on a free port with a worker that is warm: port, process, queue."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = folder / "store"
    environment = os.environ | {"MCORE_STORE": str(store), "PORT": str(port)}
    with open(folder / "app.log", "wb") as log:
        app = subprocess.Popen(["./start"], cwd=HOME, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).close() is None)
        asyncio.run(first_page(port))  # starts the worker
        wait_for(lambda: is_held(store / READY))
        yield port, app.pid, Jobs(store)
    finally:
        app.terminate()
        app.wait(timeout=20)


async def first_page(port: int) -> None:
    async with visit(port) as stream:
        await Visitor(stream).open("")


def is_held(lock: Path) -> bool:
    if not lock.exists():
        return False
    with held(lock) as nobody:
        return not nobody


def wait_for(true: object, patience: float = 60.0) -> None:
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            if true():
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit("The app did not start.")


def submitted(jobs: Jobs, asked: Experiment) -> str:
    return jobs.submit(as_written(asked), resolve(asked).fingerprint)


def carried_out(jobs: Jobs, id: str) -> Job:
    while (job := jobs.job(id)).state in ("queued", "running"):
        time.sleep(0.2)
    if job.state != "done":
        sys.exit(f"The job is {job.state}. {job.sentence}")
    return job


def seconds(job: Job) -> float:
    return job.finished - job.started


def processor(pid: int) -> float:
    """Seconds of processor time that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def percentile(took: list[float], percent: int) -> float:
    ordered = sorted(took)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else float("nan")


if __name__ == "__main__":
    main()
