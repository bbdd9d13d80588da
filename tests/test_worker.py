"""The worker and its keeper: jobs are carried out, cancelled within two seconds, and survived."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mcore.events import Done, Failed, PointReady, Resolved
from mcore.jobs.keeper import Keeper
from mcore.jobs.queue import ABANDONED, Jobs
from mcore.question import fingerprint, parse
from mcore.store import Store

TESTS = Path(__file__).resolve().parent
PATIENCE = 60.0  # seconds until a test gives up on what must happen sooner or later


def question(behaviour: str, points: int = 5, seed: int = 0) -> dict:
    """An experiment for ``slow_runner``; another seed makes it another question."""
    task = {"task": f"builtin:{behaviour}", "sample_seed": seed}
    return {"version": 1, "a": "builtin:austen@0", "b": "builtin:austen@7000", "tasks": [task], "points": points}


def until(true: Callable[[], object], seconds: float = PATIENCE) -> float:
    """Wait until it is true. Seconds that it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "this did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - began


class House:
    """A store with a queue and what the tests ask of it."""

    def __init__(self, root: Path):
        self.root, self.store, self.jobs = root, Store(root), Jobs(root)

    def submit(self, behaviour: str, points: int = 5, seed: int = 0) -> str:
        asked = question(behaviour, points, seed)
        return self.jobs.submit(asked, fingerprint(parse(asked)))

    def state(self, id: str) -> str:
        return self.jobs.job(id).state

    def ended(self, id: str) -> str:
        until(lambda: self.state(id) not in ("queued", "running"))
        return self.state(id)

    def begun(self, id: str) -> int:
        """Wait for the job's first event. The process that works on it."""
        until(lambda: self.jobs.events(id))
        return int(self.jobs._database.rows("SELECT worker FROM jobs WHERE id = ?", id)[0]["worker"])

    def log(self) -> str:
        return (self.root / "worker.log").read_text()


def runs(pid: int) -> bool:
    """True if the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def spawn(root: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "mcore.jobs.worker", "--store", str(root), "--runner", "slow_runner:run", *more]
    return subprocess.Popen(command, cwd=TESTS.parent, stderr=subprocess.DEVNULL)


@pytest.fixture(autouse=True)
def the_runner_can_be_imported(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{TESTS}{os.pathsep}{TESTS.parent}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the machine is shared


@pytest.fixture
def house(tmp_path):
    return House(tmp_path / "store")


@pytest.fixture
def keeper(house):
    keeper = Keeper(house.root, runner="slow_runner:run")
    yield keeper
    keeper.stop()


def test_a_job_is_carried_out_and_told_event_by_event(house, keeper):
    id = house.submit("polite", points=4)
    assert house.ended(id) == "done"
    first, *points, last = [event for _, event in house.jobs.events(id)]
    assert isinstance(first, Resolved) and isinstance(last, Done)
    assert [(point.done, point.points) for point in points] == [(n, 4) for n in range(1, 5)]
    assert all(isinstance(point, PointReady) for point in points)
    (pid,) = {entry.about["pid"] for entry in house.store.entries("point")}
    assert pid != os.getpid(), "the page's process does no work"
    assert keeper.alive() and keeper.warm()


def test_a_refusal_and_a_surprise_end_in_sentences_and_the_next_job_runs(house, keeper):
    refused, told, broken, fine = (house.submit(name) for name in ("refuses", "tells", "breaks", "polite"))
    assert house.ended(fine) == "done"
    assert house.state(refused) == house.state(told) == house.state(broken) == "failed"
    assert house.jobs.job(refused).sentence == "This cannot be blended; choose another checkpoint."
    assert house.jobs.job(told).sentence == "It was not to be; try again."
    assert [event for _, event in house.jobs.events(told)][1:] == [Failed("It was not to be; try again.")]
    assert "(TypeError: a number is not a word). Finished points are kept" in house.jobs.job(broken).sentence
    assert "Traceback" not in house.jobs.job(broken).sentence
    assert "Traceback" in house.log(), "the log has what the page has not"


def test_a_question_that_cannot_be_read_fails_in_a_sentence(house, keeper):
    id = house.jobs.submit({"version": 7}, "f7")
    assert house.ended(id) == "failed"
    assert house.jobs.job(id).sentence.startswith("version: 7 is not possible")


def test_an_engine_that_cannot_be_imported_fails_the_job_not_the_worker(house):
    keeper = Keeper(house.root, runner="no_such_module:run")
    try:
        until(keeper.warm)
        id = house.submit("polite")
        assert house.ended(id) == "failed"
        assert "ModuleNotFoundError" in house.jobs.job(id).sentence
        assert keeper.alive()
    finally:
        keeper.stop()


@pytest.mark.parametrize("behaviour", ["polite", "heedless"])
def test_a_cancelled_job_stops_and_its_worker_lives_on(house, keeper, behaviour):
    id = house.submit(behaviour, points=1001)
    pid = house.begun(id)
    until(lambda: house.store.entries("point"))
    house.jobs.cancel(id)
    assert until(lambda: house.state(id) == "cancelled") < 5
    assert house.store.entries("point"), "what was finished is kept"
    again = house.submit("polite", seed=1)
    assert house.begun(again) == pid


@pytest.mark.parametrize("behaviour", ["deaf", "holds-everything"])
def test_cancelling_frees_the_cores_even_of_a_job_that_never_listens(house, keeper, behaviour):
    id = house.submit(behaviour)
    pid = house.begun(id)
    house.jobs.cancel(id)
    assert until(lambda: not runs(pid)) < 5
    assert house.ended(id) == "cancelled"
    after = house.submit("polite", seed=1)
    assert house.ended(after) == "done"
    assert house.begun(after) != pid


def test_a_killed_worker_is_replaced_and_the_same_question_runs_anew(house, keeper):
    id = house.submit("polite", points=60)
    pid = house.begun(id)
    until(lambda: house.store.entries("point"))
    os.kill(pid, signal.SIGKILL)
    assert house.ended(id) == "failed"
    assert house.jobs.job(id).sentence == ABANDONED
    again = house.submit("polite", points=60)
    assert again != id
    assert house.ended(again) == "done"


def test_a_job_that_ends_its_process_is_not_tried_again(house, keeper):
    fatal, fine = house.submit("dies"), house.submit("polite")
    assert house.ended(fine) == "done"
    assert house.state(fatal) == "failed"
    assert house.jobs.job(fatal).sentence == ABANDONED


@pytest.mark.parametrize("behaviour", ["polite", "deaf"])
def test_a_worker_told_to_leave_does_so_at_once_with_its_job_cancelled(house, behaviour):
    worker = spawn(house.root)
    id = house.submit(behaviour, points=1001)
    house.begun(id)
    worker.terminate()
    worker.wait(timeout=5)
    assert house.state(id) == "cancelled"


def test_stopping_the_keeper_stops_the_worker(house):
    keeper = Keeper(house.root, runner="slow_runner:run")
    id = house.submit("deaf")
    pid = house.begun(id)
    keeper.stop()
    assert not runs(pid)
    assert house.state(id) == "cancelled"
    assert not keeper.alive() and not keeper.warm()


def test_a_second_worker_stands_by_and_takes_over(house):
    first = spawn(house.root)
    id = house.submit("polite", points=1001)
    assert house.begun(id) == first.pid
    second = spawn(house.root)
    other = house.submit("polite", points=3)
    try:
        time.sleep(1.0)
        assert second.poll() is None
        assert house.state(other) == "queued"
        first.kill()
        first.wait()
        assert house.ended(other) == "done"
        assert house.begun(other) == second.pid
        assert (house.state(id), house.jobs.job(id).sentence) == ("failed", ABANDONED)
    finally:
        for worker in (first, second):
            worker.kill()
            worker.wait()


def test_a_worker_whose_app_has_gone_finishes_its_job_and_leaves(house):
    code = """
import sys, time
from mcore.jobs.keeper import Keeper
keeper = Keeper(sys.argv[1], runner="slow_runner:run")
time.sleep(600)
"""
    app = subprocess.Popen([sys.executable, "-c", code, str(house.root)], cwd=TESTS.parent)
    running, waiting = house.submit("polite", points=40), house.submit("polite", points=41)
    pid = house.begun(running)
    app.kill()
    app.wait()
    assert house.ended(running) == "done"
    until(lambda: not runs(pid))
    assert house.state(waiting) == "queued", "it waits for the next app"


def test_a_worker_that_dies_at_once_is_not_started_over_and_over(house, monkeypatch):
    starts = []

    def spawn_one_that_dies(_):
        starts.append(time.monotonic())
        return subprocess.Popen([sys.executable, "-S", "-c", "raise SystemExit(1)"])

    monkeypatch.setattr(Keeper, "_spawn", spawn_one_that_dies)
    left = house.submit("polite")
    house.jobs.take("one that is gone")
    keeper = Keeper(house.root)
    until(lambda: len(starts) == 3)
    assert house.state(left) == "failed", "nobody waits for a worker that cannot live"
    keeper.stop()
    assert starts[1] - starts[0] > 0.4
    assert starts[2] - starts[1] > 0.9


def test_the_app_process_stays_light():
    code = "import sys, mcore.jobs.keeper; print([m for m in ('torch', 'transformers', 'streamlit') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], cwd=TESTS.parent, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_a_worker_that_holds_too_much_after_a_job_makes_room_for_the_next_one(house, monkeypatch):
    monkeypatch.setenv("MCORE_MOST_MEMORY", "1000")
    keeper = Keeper(house.root, runner="slow_runner:run")
    try:
        ids = [house.submit("polite", points=2, seed=n) for n in range(4)]
        assert [house.ended(id) for id in ids] == ["done"] * 4
        assert len({entry.about["pid"] for entry in house.store.entries("point")}) == 4, "each job had a process of its own"
    finally:
        keeper.stop()
