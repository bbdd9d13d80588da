"""The Pre-training page in every state, without a browser and without a model."""

from __future__ import annotations

import json

import pytest
import tiny
from app_in_apptest import HOME, charts, words
from browser_fixtures import carry_out
from hub_server import Hub
from streamlit.testing.v1 import AppTest
from transformers import AutoModel

from mcore.errors import McoreError
from mcore.events import Asked, Missed, Training
from mcore.hub import search as hubsearch
from mcore.jobs.queue import Jobs
from mcore.store import Store
from mcore.studies.history import history
from mcore.studies.pretraining import MOST_CHOSEN, Sweep
from mcore.studies.shipped_steps import shipped_steps
from mcore.ui.pretraining import view as sweep_view
from mcore.ui.pretraining.view import View, chosen, read, written

PAGE = "pages/4_Pre-training.py"
SMALL = {"steps": "0,100", "seeds": "2", "rows": "40", "points": "3", "train": "5"}
LARGER = SMALL | {"other": "builtin:order-mail", "rows": "300"}  # enough that made-up ends count as having learned


@pytest.fixture
def store(app_store: Store) -> Store:
    return app_store


@pytest.fixture
def jobs(app_jobs: Jobs) -> Jobs:
    return app_jobs


def opened(**query: str) -> AppTest:
    app = AppTest.from_file(str(HOME / "app.py"), default_timeout=60)
    app.switch_page(PAGE)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def asked_by(**query: str) -> Sweep:
    view, wrong = read(query)
    assert not wrong
    return sweep_view.sweep(view, history(view.base))


def address_of(app: AppTest) -> dict[str, str]:
    return {name: value if isinstance(value, str) else value[0] for name, value in app.query_params.items()}


def specs(app: AppTest) -> list[dict]:
    return [json.loads(one.proto.spec) for one in app.get("vega_lite_chart")]


def test_it_opens_with_a_question_ready_to_run_its_cost_and_a_real_answer(store: Store) -> None:
    app = opened()
    said = words(app)
    assert "It asks 30 questions: about" in said and app.button(key="study-run-pretraining").label == "Tune and measure"
    kept = shipped_steps()
    assert kept.mark in said and charts(app) == 1
    assert kept.sweep == asked_by()  # what ships answers what the page begins with
    assert "What this means" in said and "shipped result" in said


def test_the_address_holds_the_whole_question_from_the_start(store: Store) -> None:
    app = opened()
    assert address_of(app) == {
        "v": "1", "base": "builtin:austen", "steps": ",".join(map(str, asked_by().bases)), "task": "builtin:speech", "seeds": "4", "train": "100",
        "batch": "32", "rate": "0.001", "rows": "512", "points": "9",
    }  # fmt: skip
    assert read(address_of(app))[0].steps == tuple(asked_by().bases)


def test_a_changed_input_changes_the_address_and_the_question(store: Store) -> None:
    app = opened(**SMALL)
    app.selectbox(key="sweep-other").set_value("builtin:novel").run()
    assert address_of(app)["other"] == "builtin:novel" and "It asks 6 questions" in words(app)  # a pair and two seeds' tasks at both steps
    app.selectbox(key="sweep-seeds").set_value(3).run()
    assert address_of(app)["seeds"] == "3" and "It asks 12 questions" in words(app)
    app.selectbox(key="sweep-other").set_value("none").run()
    assert not address_of(app)["other"] and "It asks 6 questions" in words(app)
    app.text_input(key="sweep-rate").set_value("2e-3").run()
    app.text_input(key="sweep-longest").set_value("32").run()
    assert (address_of(app)["rate"], address_of(app)["longest"]) == ("0.002", "32")
    app.text_input(key="sweep-longest").set_value("").run()
    assert not address_of(app)["longest"] and read(address_of(app))[0].longest is None
    assert not app.exception


def test_another_history_begins_with_its_own_steps(store: Store, tmp_path) -> None:
    for step in (3, 5):
        tiny.save(tmp_path / "mine" / f"step-{step}", "bert", step, opener=AutoModel)
    small = {name: value for name, value in SMALL.items() if name != "steps"}
    app = opened(**small, base=f"local:{tmp_path}/mine")
    assert address_of(app)["steps"] == "3,5" and "It asks 2 questions" in words(app)
    app.selectbox(key="sweep-base").set_value("builtin:austen").run()
    assert address_of(app)["steps"] == ",".join(map(str, asked_by().bases)) and "It asks 5 questions" in words(app)


def test_what_cannot_be_read_of_the_address_is_said_and_the_address_is_left_as_it_is(store: Store) -> None:
    app = opened(**SMALL | {"train": "many", "steps": "a,b", "rate": "0", "v": "9"})
    said = words(app)
    for sentence in (
        "train: 'many' is not possible; give from 1 to 1,000,000 training steps.", f"steps: 'a,b' is no choice of steps; give up to {MOST_CHOSEN} numbers",
        "rate: '0' is no learning rate", "v: the link's version is '9'",
    ):  # fmt: skip
        assert sentence.replace("'", "&#x27;") in said
    assert address_of(app)["train"] == "many"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"base": "builtin:nobody"}, "base: nothing called 'nobody' ships with the app"), ({"base": "anything"}, "base: 'anything' is no history"),
        ({"steps": "0,1"}, "steps: builtin:austen has no step 1; use some of: 0, 100"), ({"task": "speech"}, "a.task.task: "),
        ({"other": "builtin:speech"}, "other: both tasks are the same"),
    ],
)  # fmt: skip
def test_a_question_that_cannot_be_asked_says_why_and_shows_what_came_of_the_first(query, told, store: Store) -> None:
    app = opened(**SMALL | query)
    said = words(app)
    assert told.replace("'", "&#x27;") in said and shipped_steps().mark in said
    assert not [one for one in app.button if one.key == "study-run-pretraining"]
    assert app.selectbox(key="sweep-base")  # where it is put right


def test_what_is_wrong_with_every_pair_for_one_reason_is_said_once(store: Store) -> None:
    said = words(opened(**SMALL | {"task": "local:/nowhere.csv", "seeds": "3"}))
    assert said.count("there is no file /nowhere.csv") == 1 and "step 0, seeds 1 and 2 and 5 more: " in said


def test_the_button_puts_all_of_it_into_the_queue_as_one_job(store: Store, jobs: Jobs) -> None:
    app = opened(**SMALL)
    app.button(key="study-run-pretraining").click().run()
    (job,) = jobs.active()
    study = asked_by(**SMALL).study
    assert job.fingerprint == study.fingerprint and list(job.study) == list(study.questions) == ["step 0, seeds 1 and 2", "step 100, seeds 1 and 2"]
    assert app.button(key="study-cancel-pretraining") and "Next in the queue" in words(app)
    assert charts(app) == 1 and "live" in words(app) and "No pair is measured yet" in words(app)  # empty axes, not another question's answer
    app.button(key="study-cancel-pretraining").click().run()
    assert jobs.job(job.id).state == "cancelled" and "Cancelled" in words(app) and app.button(key="study-run-pretraining")


def test_while_it_runs_what_is_there_is_drawn_and_what_happens_is_said(store: Store, jobs: Jobs) -> None:
    sweep = asked_by(**SMALL)
    first, second = sweep.asked
    opened(**SMALL).button(key="study-run-pretraining").click().run()
    job = jobs.take("w")
    carry_out(first.question, store)
    jobs.emit(job.id, Asked(second.name, 2, 2, 30.0))
    jobs.emit(job.id, Training("a", 2, 5, 0.61, None, None, 20.0))
    app = opened(**SMALL)
    said = words(app)
    assert "Question 2 of 2, step 100, seeds 1 and 2. Training A, step 2 of 5" in said and "about 20 s left" in said
    assert "At step 0 the barrier between two seeds is" in said and "at step 100 it is" not in said
    assert charts(app) == 1 and "step 0 " in specs(app)[0]["description"] and "step 100" not in specs(app)[0]["description"]


def test_an_answer_in_the_store_is_drawn_without_a_button(store: Store) -> None:
    for one in asked_by(**LARGER).asked:
        carry_out(one.question, store)
    app = opened(**LARGER)
    said = words(app)
    assert "from the store" in said and not [one for one in app.button if one.key == "study-run-pretraining"]
    assert charts(app) == 4  # barriers, what is kept, and a panel for each step
    assert said.count('href="Compare?v=1&amp;q=') == 6 and "Two tasks" in said
    assert "two seeds make one pair" in said  # what the interval is over
    over_steps, kept, *panels = [spec["description"] for spec in specs(app)]
    assert "Barrier between two seeds" in over_steps and "keeps of both tasks by pre-training step" in kept
    assert [f"along the line from step {step}: the best single model keeps" in told for step, told in zip((0, 100), panels, strict=True)] == [True, True]
    app = opened(**LARGER | {"steps-tab": "Numbers"})
    assert "Means by step" in words(app)
    downloads = [one.proto.label for one in app.get("download_button")]
    assert downloads == ["Pairs, CSV", "Figure, SVG", "Figure, PNG", "Both tasks by step, SVG", "Both tasks along t, SVG"]
    app = opened(**LARGER | {"steps-tab": "Reproduce"})
    assert "bystep.answer(sweep" in "".join(one.value for one in app.code)


def test_a_pair_that_could_not_be_answered_is_told_of_after_the_run(store: Store, jobs: Jobs) -> None:
    sweep = asked_by(**SMALL)
    carry_out(sweep.asked[0].question, store)
    opened(**SMALL).button(key="study-run-pretraining").click().run()
    job = jobs.take("w")
    jobs.emit(job.id, Missed(sweep.asked[1].name, "a.base: the disk is full; free some space."))
    jobs.finish(job.id, "done")
    app = opened(**SMALL)
    assert "step 100, seeds 1 and 2: a.base: the disk is full; free some space." in words(app)
    assert app.button(key="study-run-pretraining") and "It asks 1 question" in words(app)


def test_a_failure_is_told_and_what_is_there_stays(store: Store, jobs: Jobs) -> None:
    sweep = asked_by(**SMALL)
    carry_out(sweep.asked[0].question, store)
    opened(**SMALL).button(key="study-run-pretraining").click().run()
    jobs.finish(jobs.take("w").id, "failed", "The worker ended before the question was answered.")
    said = words(opened(**SMALL))
    assert "The worker ended before" in said and "1 of 2 pairs, from the store" in said and "1 are in the store and are kept" in said


def test_a_host_refuses_folders_before_it_looks_and_more_than_its_limits(store: Store, host, tmp_path) -> None:
    host(MCORE_MOST_QUESTIONS="4")
    for base in (f"local:{tmp_path}", "local:/nowhere"):
        said = words(opened(**SMALL | {"base": base}))
        assert "base: this host opens no files of its own" in said and "there is no folder" not in said
    assert "study: 6 questions are more than this host carries out" in words(opened(**SMALL | {"seeds": "3"}))
    assert "a.steps: 5,000 training steps are more than this host carries out" in words(opened(**SMALL | {"train": "5000"}))


@pytest.fixture
def steps_on_the_hub(server: Hub, monkeypatch: pytest.MonkeyPatch, saved) -> Hub:
    for name in ("_seen", "_looking"):  # whether the Hub answers, as it was found before
        monkeypatch.setattr(hubsearch, name, None)
    for step in (1, 20):
        server.put("org/model", saved("bert", step, opener=AutoModel), f"step{step}")
        server.put(f"org/family-{step}k", saved("bert", step, opener=AutoModel))
    server.put("org/model", saved("bert", 20, opener=AutoModel))
    return server


def test_a_repository_and_a_family_on_the_hub_offer_their_steps(store: Store, steps_on_the_hub: Hub) -> None:
    small = {name: value for name, value in SMALL.items() if name != "steps"}
    app = opened(**small, base="hub:org/model")
    assert address_of(app)["steps"] == "1,20" and "It asks 2 questions" in words(app)
    app = opened(**small, base="hub:org/family-{step}k")
    assert address_of(app)["steps"] == "1000,20000" and "It asks 2 questions" in words(app)


def test_without_an_answer_of_the_hub_a_repository_is_refused_and_a_pattern_lets_steps_be_typed(store: Store) -> None:
    """The tests' machine is told to stay offline."""
    said = words(opened(**SMALL | {"base": "hub:org/model"}))
    assert "base: the Hub did not answer for hub:org/model: there is no network" in said
    app = opened(**SMALL | {"base": "hub:org/family-{step}k", "steps": "0,20000"})
    assert "0k and 0 more" not in words(app) and "the Hub did not answer for org/family-20k" in words(app)
    assert address_of(app)["steps"] == "0,20000"


def test_a_view_is_the_same_after_a_journey_through_the_address() -> None:
    for view in (View(), View(steps=(0, 7)), View("hub:o/n-{step}k", (5,), "hub:nyu-mll/glue/sst2", "local:/a b.csv", 5, 7, 8, 1e-05, 9, 13, 64)):
        assert read(written(view)) == (view, [])
    assert chosen(View(), history("builtin:austen"))[0] == 0 and len(chosen(View(), history("builtin:austen"))) == sweep_view.FIRST_STEPS


@pytest.mark.parametrize(
    ("query", "name"),
    [({"seeds": "1"}, "seeds"), ({"points": "2"}, "points"), ({"rows": "-5"}, "rows"), ({"rate": "nan"}, "rate"), ({"rate": "1e9"}, "rate"),
     ({"steps": ","}, "steps"),
     ({"steps": ",".join(map(str, range(MOST_CHOSEN + 1)))}, "steps"), ({"train": "٣"}, "train"), ({"longest": "1e3"}, "longest")],
)  # fmt: skip
def test_what_makes_no_sense_has_its_default_and_a_sentence(query, name) -> None:
    view, (wrong,) = read(query)
    assert view == View() and wrong.startswith(f"{name}: ")


def test_a_study_that_the_queue_does_not_take_says_why(store: Store, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> str:
        raise McoreError("3 questions of yours wait in the queue already.")

    app = opened(**SMALL)
    monkeypatch.setattr(Jobs, "submit", full)
    app.button(key="study-run-pretraining").click().run()
    assert "3 questions of yours wait" in words(app)
