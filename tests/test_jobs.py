"""The queue: who is next, who is cancelled, what is told, and what becomes of a job whose worker is gone."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mcore.database import Database, held
from mcore.errors import McoreError
from mcore.events import Done, Failed, PointReady, Resolved, Working
from mcore.jobs.queue import ABANDONED, JOBS_KEPT, Jobs

HOME = Path(__file__).resolve().parent.parent
QUESTION = {"version": 1, "a": "builtin:austen@0", "tasks": [{"task": "builtin:speech"}]}


@pytest.fixture
def jobs(tmp_path):
    return Jobs(tmp_path / "store")


def test_a_submitted_job_waits_with_its_question_and_its_place(jobs):
    first = jobs.submit(QUESTION, "f1", visitor="anna")
    second = jobs.submit({}, "f2")
    job = jobs.job(first)
    assert (job.id, job.fingerprint, job.experiment, job.visitor) == (first, "f1", QUESTION, "anna")
    assert (job.state, job.place, job.started, job.finished, job.sentence) == ("queued", 1, None, None, "")
    assert jobs.job(second).place == 2
    assert jobs.job("unknown") is None


def test_the_same_question_is_not_queued_twice_until_it_has_ended(jobs):
    first = jobs.submit(QUESTION, "f1")
    assert jobs.submit(QUESTION, "f1") == first
    jobs.take("w")
    assert jobs.submit(QUESTION, "f1") == first
    jobs.finish(first, "done")
    again = jobs.submit(QUESTION, "f1")
    assert again != first
    assert jobs.latest("f1").id == again
    assert jobs.latest("f2") is None


def test_a_question_whose_run_is_being_cancelled_may_be_asked_anew(jobs):
    first = jobs.submit(QUESTION, "f1")
    jobs.take("w")
    jobs.cancel(first)
    assert jobs.submit(QUESTION, "f1") != first


def test_jobs_are_taken_in_the_order_in_which_they_came(jobs):
    ids = [jobs.submit({}, f"f{n}") for n in range(3)]
    assert [job.place for job in jobs.active()] == [1, 2, 3]
    taken = jobs.take("w")
    assert (taken.id, taken.state, taken.place) == (ids[0], "running", None)
    assert taken.started >= taken.created
    assert [(job.id, job.place) for job in jobs.active()] == [(ids[0], None), (ids[1], 1), (ids[2], 2)]
    assert [jobs.take("w").id, jobs.take("w").id, jobs.take("w")] == [ids[1], ids[2], None]


def test_no_job_is_taken_twice(jobs, tmp_path):
    ids = {jobs.submit({}, f"f{n}") for n in range(30)}
    others = [jobs, Jobs(tmp_path / "store"), Jobs(tmp_path / "store")]

    def take_all(mine):
        return [job.id for job in iter(lambda: mine.take("w"), None)]

    with ThreadPoolExecutor(6) as pool:
        taken = [id for part in pool.map(take_all, others * 2) for id in part]
    assert sorted(taken) == sorted(ids)


def test_events_are_told_in_order_and_from_where_one_stopped_reading(jobs):
    id, other = jobs.submit({}, "f1"), jobs.submit({}, "f2")
    told = [
        Resolved("f1", 2, 0),
        PointReady(0, 0.5, 0.25, 0.75, 1, 2, 3.5),
        PointReady(0, 1.0, float("inf"), 0.0, 2, 2),
    ]
    for event in told:
        jobs.emit(id, event)
    jobs.emit(other, Working("reading the weights of A"))
    assert jobs.events(id) == [(1, told[0]), (2, told[1]), (3, told[2])]
    assert jobs.events(id, after=2) == [(3, told[2])]
    assert jobs.events(other) == [(1, Working("reading the weights of A"))]


def test_events_of_another_version_are_passed_over(jobs):
    id = jobs.submit({}, "f1")
    jobs.emit(id, Working("a"))
    for text in ('{"event": "Unheard"}', '{"event": "Working", "colour": 1}', "{", "3"):
        jobs._database.write(lambda db, text=text: db.execute("UPDATE events SET event = ? WHERE n = 1", (text,)))
        assert jobs.events(id) == []


def test_a_queued_job_is_cancelled_at_once(jobs):
    first, second = jobs.submit({}, "f1"), jobs.submit({}, "f2")
    jobs.cancel(first)
    assert jobs.job(first).state == "cancelled"
    assert jobs.job(first).finished is not None
    assert jobs.take("w").id == second


def test_a_running_job_is_asked_to_stop(jobs):
    id = jobs.submit({}, "f1")
    jobs.take("w")
    assert not jobs.cancel_asked(id)
    jobs.cancel(id)
    assert jobs.cancel_asked(id)
    assert jobs.job(id).state == "running"
    assert jobs.overdue("w", seconds=-1)
    assert not jobs.overdue("w", seconds=60)
    assert not jobs.overdue("another", seconds=-1)
    jobs.finish(id, "cancelled", "Cancelled.")
    assert not jobs.overdue("w", seconds=-1)


def test_a_job_ends_once_and_tells_why(jobs):
    id = jobs.submit({}, "f1")
    jobs.take("w")
    jobs.finish(id, "failed", "The disk is full.")
    jobs.finish(id, "done")
    jobs.cancel(id)
    job = jobs.job(id)
    assert (job.state, job.sentence) == ("failed", "The disk is full.")
    assert jobs.events(id) == [(1, Failed("The disk is full."))]


def test_a_done_job_ends_with_what_it_told_itself(jobs):
    id = jobs.submit({}, "f1")
    jobs.take("w")
    jobs.emit(id, Done("f1"))
    jobs.finish(id, "done")
    assert jobs.events(id) == [(1, Done("f1"))]


def test_the_jobs_of_a_worker_that_is_gone_have_failed_or_were_cancelled(jobs):
    crashed = jobs.submit({}, "f1")
    jobs.take("w")
    cancelled = jobs.submit({}, "f2")
    jobs.take("w")
    jobs.cancel(cancelled)
    waiting = jobs.submit({}, "f3")
    jobs.abandon()
    assert (jobs.job(crashed).state, jobs.job(crashed).sentence) == ("failed", ABANDONED)
    assert "out of memory" in ABANDONED and "finished points are kept" in ABANDONED
    assert jobs.job(cancelled).state == "cancelled"
    assert jobs.job(waiting).state == "queued"


def test_old_finished_jobs_are_forgotten_with_their_events_and_unfinished_ones_never(jobs):
    waiting = jobs.submit({}, "waiting")
    running = jobs.take("w").id
    assert running == waiting
    old = jobs.submit({}, "old")
    jobs.take("w")
    jobs.emit(old, Working("a"))
    jobs.emit(running, Working("a"))
    jobs.finish(old, "done")
    for n in range(JOBS_KEPT - 1):
        jobs.cancel(jobs.submit({}, f"f{n}"))
    assert jobs.job(old) is not None
    jobs.submit({}, "last")
    assert jobs.job(old) is None
    assert jobs.events(old) == []
    assert jobs.job(running).state == "running"
    assert jobs.events(running) == [(1, Working("a"))]


def test_processes_share_a_queue(jobs, tmp_path):
    code = """
import sys
from mcore.events import Working
from mcore.jobs.queue import Jobs
jobs = Jobs(sys.argv[1])
id = jobs.submit({}, "shared")
for n in range(40): jobs.emit(id, Working(str(n)))
print(id)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "store")]
    processes = [subprocess.Popen(command, cwd=HOME, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    (id,) = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert [n for n, _ in jobs.events(id)] == list(range(1, 81))


def test_a_damaged_queue_is_begun_anew(jobs, tmp_path):
    id = jobs.submit({}, "f1")
    jobs._database._connection.close()
    (tmp_path / "store" / "jobs.sqlite").write_bytes(os.urandom(9000))
    again = Jobs(tmp_path / "store")
    assert again.job(id) is None
    assert again.job(again.submit({}, "f1")).place == 1


def test_a_queue_that_cannot_be_written_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(McoreError, match="check the disk and who may write there"):
        Jobs(tmp_path / "file")


def test_a_transaction_that_fails_leaves_nothing_behind(tmp_path):
    database = Database(tmp_path / "some.sqlite", "CREATE TABLE IF NOT EXISTS numbers (n INTEGER);")

    def body(connection):
        connection.execute("INSERT INTO numbers VALUES (1)")
        raise KeyError

    with pytest.raises(KeyError):
        database.write(body)
    assert database.rows("SELECT * FROM numbers") == []


def test_a_lock_has_one_holder_and_the_next_one_in_line_gets_it(tmp_path):
    inside, most = [], []

    def enter():
        for _ in range(50):
            with held(tmp_path / "lock", wait=True) as mine:
                assert mine
                inside.append(1)
                time.sleep(0.001)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 200
    assert max(most) == 1
    assert not (tmp_path / "lock").exists()


def test_the_last_event_of_a_kind_is_found_by_its_number(jobs):
    job = jobs.submit({}, "f1")
    assert jobs.last(job, Working) == 0
    for event in (Working("a"), Done("f1"), Working("b"), Done("f2")):
        jobs.emit(job, event)
    assert (jobs.last(job, Working), jobs.last(job, Done)) == (3, 4)
    assert jobs.events(job, after=2)[0] == (3, Working("b"))
