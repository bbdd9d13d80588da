"""A study asks several questions as one job: one stream, one cancel, nothing twice, and it lets others go first."""

from __future__ import annotations

import pytest
import tiny
from transformers import AutoModel

from mcore import events
from mcore.errors import Cancelled, McoreError, QuestionError
from mcore.jobs.queue import Jobs
from mcore.jobs.worker import Worker
from mcore.question import parse
from mcore.run import run
from mcore.studies.study import Study, expected, from_json, to_json
from mcore.studies.studying import run_study


@pytest.fixture(scope="module")
def study(saved, tmp_path_factory):
    """Two heads on one base and data order, against one and the same other end: three trainings in all."""
    file = tiny.learnable(tmp_path_factory.mktemp("task") / "rows.csv", rows=40)
    recipe = {"base": f"local:{saved('bert', 5, opener=AutoModel)}", "task": {"task": f"local:{file}"}, "steps": 2, "batch_size": 8}
    asked = [{**recipe, "head_seed": seed} for seed in (1, 2)]
    return Study({
        f"seed {n}": parse(tiny.experiment(one, {**recipe, "head_seed": 3}, {"task": f"local:{file}", "max_length": 16}, points=2))
        for n, one in enumerate(asked, 1)
    })  # fmt: skip


def of(kind, told):
    return [event for event in told if isinstance(event, kind)]


def test_every_question_is_answered_and_a_shared_model_is_trained_once(study, store):
    told = list(run_study(study, store))
    assert [(one.name, one.number, one.of) for one in of(events.Asked, told)] == [("seed 1", 1, 2), ("seed 2", 2, 2)]
    assert [one.steps for one in of(events.Trained, told)] == [2, 2, 2, 0]
    assert told[-1] == events.Done(study.fingerprint) and len(of(events.Done, told)) == 3
    again = list(run_study(study, store))
    assert {type(event) for event in again} == {events.Done}


def test_what_it_will_cost_counts_a_shared_model_once_and_what_is_there_not_at_all(study, store):
    before = expected(study, store)
    assert before["seed 1"] > before["seed 2"] > 0
    list(run(study.questions["seed 2"], store))
    after = expected(study, store)
    assert after["seed 2"] == 0 and 0 < after["seed 1"] < before["seed 1"]


def test_layers_that_are_looked_at_cost_too(study, store):
    question = study.questions["seed 1"]
    looked = Study({"layers": question.model_copy(update={"probes": [*question.probes, "cka"]})})
    assert expected(looked, store)["layers"] > expected(study, store)["seed 1"]
    list(run(question, store))
    assert expected(study, store)["seed 1"] == 0 < expected(looked, store)["layers"]
    list(run(looked.questions["layers"], store))
    assert expected(looked, store)["layers"] == 0


def test_the_time_left_is_that_of_all_questions(study, store):
    before = expected(study, store)
    told = list(run_study(study, store))
    first, second = [i for i, event in enumerate(told) if isinstance(event, events.Asked)]
    assert told[first].seconds_left == pytest.approx(sum(before.values())) and told[second].seconds_left > 0
    left = [event.seconds_left for event in told[first + 1 : second] if getattr(event, "seconds_left", None) is not None]
    assert left and min(left) >= before["seed 2"]


def test_a_question_that_cannot_be_answered_is_left_out_and_told_of(study, store):
    broken = study.questions["seed 1"].model_copy(update={"b": "local:/nowhere"})
    told = list(run_study(Study({"broken": broken, "fine": study.questions["seed 1"]}), store))
    (missed,) = of(events.Missed, told)
    assert missed.name == "broken" and missed.sentence.startswith("b: ")
    assert isinstance(told[-1], events.Done)
    with pytest.raises(McoreError, match="^b: "):
        list(run_study(Study({"broken": broken}), store))


def test_cancelling_stops_it_and_keeps_what_is_finished(study, store):
    asked = []

    def stop():
        return len(asked) > 1

    with pytest.raises(Cancelled):
        for event in run_study(study, store, stop):
            asked += [event] if isinstance(event, events.Asked) else []
    assert expected(study, store)["seed 1"] == 0


def test_a_study_is_the_same_after_a_journey_as_json(study):
    assert from_json(to_json(study)).fingerprint == study.fingerprint
    for wrong in ({}, [], {"a": 1}, {str(i): to_json(study)["seed 1"] for i in range(501)}):
        with pytest.raises(QuestionError):
            from_json(wrong)


def test_between_two_of_its_questions_a_study_lets_others_go_first(study, store):
    worker, jobs = Worker(store), Jobs(store.root)
    questions = to_json(study)
    one = jobs.submit(questions["seed 1"], study.fingerprint, study=questions)
    other = jobs.submit(questions["seed 2"], "another")
    worker._carry_out(jobs.take("w"))
    assert (jobs.job(one).state, jobs.job(one).place, jobs.job(other).place) == ("queued", 2, 1)
    worker._carry_out(jobs.take("w"))
    assert jobs.job(other).state == "done"
    worker._carry_out(jobs.take("w"))
    assert jobs.job(one).state == "done" and expected(study, store) == {"seed 1": 0, "seed 2": 0}


def test_a_study_alone_goes_on_and_one_that_is_cancelled_while_it_waits_ends(study, store):
    jobs = Jobs(store.root)
    questions = to_json(study)
    one = jobs.submit(questions["seed 1"], study.fingerprint, study=questions)
    job = jobs.take("w")
    assert job.study == questions and not jobs.give_way(one)
    jobs.submit(questions["seed 2"], "another")
    assert jobs.give_way(one) and jobs.job(one).state == "queued"
    jobs.cancel(one)
    assert jobs.job(one).state == "cancelled" and jobs.take("w").fingerprint == "another"
