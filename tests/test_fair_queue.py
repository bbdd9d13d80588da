"""Round robin between visitors: nobody is served twice while another waits, and the place that is told is kept."""

from __future__ import annotations

import tempfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcore.errors import McoreError
from mcore.jobs.line import in_turn
from mcore.jobs.queue import Jobs

VISITORS = st.sampled_from(["anna", "ben", "cleo", "dora"])
LINES = st.lists(VISITORS, max_size=12).map(lambda line: {n: {who} for n, who in enumerate(line, start=1)})
SHARED = st.lists(st.sets(VISITORS, min_size=1), max_size=12).map(lambda line: dict(enumerate(line, start=1)))
SERVED = st.permutations(["anna", "ben", "cleo", "dora"]).flatmap(
    lambda order: st.integers(0, 4).map(lambda n: {who: turn for turn, who in enumerate(order[:n], start=1)})
)
# What happens to a queue: a visitor asks (for one of few questions, so that they may ask the same), or the worker takes.
STEPS = st.lists(st.one_of(st.tuples(VISITORS, st.integers(0, 5)), st.just("take")), max_size=25)


@pytest.fixture
def jobs(tmp_path):
    return Jobs(tmp_path)


def ask(jobs: Jobs, *visitors: str) -> list[str]:
    """Each asks a question of their own."""
    first = len(jobs.active())
    return [jobs.submit({}, f"{visitor}-{first + n}", visitor) for n, visitor in enumerate(visitors)]


def serve(jobs: Jobs) -> str | None:
    """Whose job is taken next; it is done at once."""
    job = jobs.take("w")
    if job is None:
        return None
    jobs.finish(job.id, "done")
    return job.visitor


def test_a_visitor_with_one_question_does_not_wait_for_another_ones_ten(jobs):
    ask(jobs, *["anna"] * 10, "ben")
    assert [serve(jobs) for _ in range(4)] == ["anna", "ben", "anna", "anna"]


def test_visitors_take_turns(jobs):
    ask(jobs, "anna", "anna", "anna", "ben", "ben", "cleo")
    assert [serve(jobs) for _ in range(7)] == ["anna", "ben", "cleo", "anna", "ben", "anna", None]


def test_who_was_served_longest_ago_is_next_however_late_they_ask(jobs):
    ask(jobs, "anna", "ben")
    assert [serve(jobs), serve(jobs)] == ["anna", "ben"]
    ask(jobs, "ben", "anna", "cleo")
    assert [serve(jobs) for _ in range(3)] == ["cleo", "anna", "ben"]


def test_the_turns_of_a_visitor_outlive_their_jobs(jobs):
    ask(jobs, "anna")
    serve(jobs)
    jobs._database.write(lambda connection: connection.execute("DELETE FROM jobs"))  # as old jobs are forgotten
    ask(jobs, "anna", "ben")
    assert serve(jobs) == "ben"


def test_one_job_of_a_visitor_runs_at_a_time(jobs):
    ask(jobs, "anna", "anna", "ben")
    assert [jobs.take("w").visitor, jobs.take("w").visitor] == ["anna", "ben"]
    assert jobs.take("w") is None
    assert [job.state for job in jobs.active()] == ["running", "running", "queued"]


def test_the_database_itself_refuses_a_second_running_job_of_a_visitor(jobs):
    first, second = ask(jobs, "anna", "anna")
    jobs.take("w")
    with pytest.raises(McoreError, match="UNIQUE"):
        jobs._database.write(lambda db: db.execute("UPDATE jobs SET state = 'running' WHERE id = ?", (second,)))


def test_a_visitor_has_so_many_questions_in_the_queue_and_is_told(jobs):
    for n in range(3):
        jobs.submit({}, f"f{n}", "anna", most=3)
    with pytest.raises(McoreError, match="3 questions of yours wait in the queue already"):
        jobs.submit({}, "f3", "anna", most=3)
    assert jobs.submit({}, "f1", "anna", most=3) == jobs.latest("f1").id, "one of the three is no fourth"
    jobs.submit({}, "f3", "ben", most=3)
    jobs.take("w")
    jobs.submit({}, "f4", "anna", most=3)


def test_a_visitor_cancels_only_what_they_asked_for(jobs):
    (mine,) = ask(jobs, "anna")
    jobs.cancel(mine, "ben")
    assert jobs.job(mine).state == "queued"
    assert jobs.asked_by(mine, "anna") and not jobs.asked_by(mine, "ben")
    jobs.cancel(mine, "anna")
    assert jobs.job(mine).state == "cancelled"


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("first", ["anna", "ben"])
def test_what_two_want_is_cancelled_when_neither_wants_it(jobs, running: bool, first: str):
    second = {"anna": "ben", "ben": "anna"}[first]
    shared = jobs.submit({}, "same", "anna")
    assert jobs.submit({}, "same", "ben") == shared
    if running:
        jobs.take("w")
    jobs.cancel(shared, first)
    assert jobs.job(shared).state == ("running" if running else "queued")
    assert jobs.job(shared).visitor == second
    assert not jobs.cancel_asked(shared)
    assert not jobs.asked_by(shared, first)
    jobs.cancel(shared, second)
    assert jobs.cancel_asked(shared)
    assert jobs.job(shared).state == ("running" if running else "cancelled")


def test_a_shared_job_has_the_better_turn_of_those_who_asked(jobs):
    ask(jobs, "anna", "anna")
    shared = jobs.submit({}, "same", "anna")
    jobs.submit({}, "same", "ben")
    assert serve(jobs) == "anna"
    assert jobs.job(shared).place == 1
    assert jobs.take("w").id == shared


def test_forgotten_jobs_leave_no_trace_of_who_joined_them(jobs):
    jobs.submit({}, "same", "anna")
    jobs.submit({}, "same", "ben")
    jobs._database.write(lambda connection: connection.execute("DELETE FROM jobs"))
    assert jobs._database.rows("SELECT * FROM joined") == []


@given(SHARED, SERVED)
def test_everybody_who_waits_is_served_once(waiting, served):
    assert sorted(in_turn(waiting, served)) == sorted(waiting)


@given(LINES, SERVED)
@example({1: {"anna"}, 2: {"anna"}, 3: {"ben"}}, {})
def test_no_visitor_is_served_twice_while_another_waits(waiting, served):
    order = in_turn(waiting, served)
    for place, number in enumerate(order):
        since = order[:place]
        for other in order[place + 1 :]:
            waits = waiting[other] - {visitor for each in order[: place + 1] for visitor in waiting[each]}
            if waits:  # they have not been served yet, so nobody has been served twice
                assert not waiting[number] & {visitor for each in since for visitor in waiting[each]}


@given(SHARED, SERVED, VISITORS)
def test_a_newcomer_is_first_whatever_the_others_have_asked(waiting, served, who):
    served = {visitor: turn for visitor, turn in served.items() if visitor != who}
    others = {number: visitors - {who} for number, visitors in waiting.items() if visitors != {who}}
    veterans = served | {visitor: 9 for each in others.values() for visitor in each}
    assert in_turn(others | {99: {who}}, veterans)[0] == 99


@given(STEPS)
@settings(max_examples=40)
def test_places_are_kept_and_nobody_is_overtaken_in_a_real_queue(steps):
    """At each take the told places are 1 … n, the first is served, and every asker of it had waited in their turn."""
    with tempfile.TemporaryDirectory() as folder:
        jobs, last, turn = Jobs(folder), {}, 0
        for step in [*steps, *["take"] * 6]:
            if step != "take":
                jobs.submit({}, f"q{step[1]}", step[0])
                continue
            line = [job for job in jobs.active() if job.state == "queued"]
            assert [job.place for job in line] == list(range(1, len(line) + 1))
            who = {job.id: {v for v in ("anna", "ben", "cleo", "dora") if jobs.asked_by(job.id, v)} for job in line}
            taken = jobs.take("w")
            if taken is None:
                assert not line
                continue
            assert taken.id == line[0].id
            longest = min(last.get(visitor, 0) for visitors in who.values() for visitor in visitors)
            assert longest == min(last.get(visitor, 0) for visitor in who[taken.id])
            turn += 1
            last |= dict.fromkeys(who[taken.id], turn)
            jobs.finish(taken.id, "done")


@given(st.lists(VISITORS, max_size=10))
@settings(max_examples=30)
def test_the_order_that_is_told_is_the_order_that_is_served(visitors):
    with tempfile.TemporaryDirectory() as folder:
        jobs = Jobs(folder)
        ask(jobs, *visitors)
        told = [job.id for job in jobs.active()]
        served = []
        while job := jobs.take("w"):
            served.append(job.id)
            jobs.finish(job.id, "done")
        assert served == told
