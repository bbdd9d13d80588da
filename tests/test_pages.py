"""Every page in every state, without a browser and without a model: answers come from ``browser_fixtures``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from app_in_apptest import COMPARE, HOME, charts, page, words
from browser_fixtures import RECIPE, carry_out, events, question
from streamlit.testing.v1 import AppTest

from mcore import presets
from mcore import words as words_module
from mcore.jobs.queue import ABANDONED, Jobs
from mcore.link import pack
from mcore.question import Experiment, as_written
from mcore.resolve import resolve
from mcore.store import Store
from mcore.ui import addresses
from mcore.ui.compare import suggestions


@pytest.fixture
def store(app_store: Store) -> Store:
    return app_store


@pytest.fixture
def jobs(app_jobs: Jobs) -> Jobs:
    return app_jobs


def test_home_offers_the_first_experiment(store: Store) -> None:
    app = page(file="app.py")
    assert app.button(key="run").label == "Run it now"
    assert "mode connected" in words(app) and "mc-term" in words(app)


def test_home_shows_the_shipped_result_as_such(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = question()
    carry_out(asked, store)
    from mcore.result import collect

    made = collect(resolve(asked), store) | {"shipped": {"date": "2026-01-31", "cores": 2}}
    store.clear()
    monkeypatch.setattr(presets, "shipped_result", lambda: made)
    app = page(file="app.py")
    assert "shipped result, computed on 2 cores on 2026-01-31" in words(app) and charts(app) == 1
    assert "shipped result" in words(page(question(points=5)))


def test_a_click_on_home_puts_the_first_experiment_in_the_queue(store: Store, jobs: Jobs) -> None:
    app = page(file="app.py")
    app.button(key="run").click().run()
    assert not app.exception
    assert [job.state for job in jobs.active()] == ["queued"]
    assert app.button(key="cancel")
    assert jobs.latest(resolve(presets.first_question()).fingerprint)


def test_home_tells_what_is_kept_and_leads_to_the_library(store: Store) -> None:
    carry_out(question(), store)
    app = page(file="app.py")
    assert "of at most" in words(app)
    assert any(link.proto.label == "See it in the Library" for link in app.get("page_link"))


def test_compare_opens_with_the_first_question_and_writes_it_into_the_address(store: Store) -> None:
    app = page()
    assert app.query_params["q"] in (pack(presets.first_question()), [pack(presets.first_question())])
    assert app.button(key="run").label == "Run"
    assert "fine-tunes A and B" in words(app)


def test_a_link_computes_nothing_before_a_click(store: Store, jobs: Jobs) -> None:
    app = page(question())
    assert not jobs.active() and charts(app) == (1 if presets.shipped_result() else 0)
    app.button(key="run").click().run()
    assert len(jobs.active()) == 1 and "Next in the queue" in words(app)


def test_what_is_typed_just_before_the_click_is_part_of_the_question(store: Store, jobs: Jobs) -> None:
    app = page(question())
    app.text_input(key="in.points").set_value("11")
    app.button(key="run").click().run()
    assert [job.experiment["points"] for job in jobs.active()] == [11]


def test_two_visitors_that_ask_the_same_share_a_job(store: Store, jobs: Jobs) -> None:
    for _ in range(2):
        app = page(question())
        if not jobs.active():
            app.button(key="run").click().run()
    assert len(jobs.active()) == 1 and app.button(key="cancel")


def test_the_place_in_the_queue_is_told(store: Store, jobs: Jobs) -> None:
    for points in (5, 6):
        jobs.submit(as_written(question(points=points)), resolve(question(points=points)).fingerprint)
    assert "1 question is ahead of this one" in words(page(question(points=6)))


def test_training_is_shown_while_the_ends_are_trained(store: Store, jobs: Jobs) -> None:
    app = page(running(question(), store, jobs, "Training", 8))
    assert "Training A, step" in words(app) and charts(app) == 1
    assert "Both ends are fine-tuned first" in words(app)


def test_the_path_grows_while_points_arrive(store: Store, jobs: Jobs) -> None:
    app = page(running(question(), store, jobs, "PointReady", 4))
    assert "4 of 7 points" in words(app) and "points so far" in words(app) and charts(app) == 1


def test_a_finished_question_is_shown_at_once(store: Store, jobs: Jobs) -> None:
    carry_out(question(), store)
    app = page(question())
    assert "from the store, computed in 42 s" in words(app)
    assert "linearly connected on this task" in words(app) and charts(app) == 2
    assert app.button(key="run").disabled and not jobs.active()


def test_every_tab_is_drawn(store: Store) -> None:
    carry_out(question(), store)
    app = page(question())
    for name, said in (
        ("Weights", "cosine"),
        ("Training", "validation loss"),
        ("Numbers", "Barriers"),
        ("Reproduce", "Command line"),
    ):
        app.session_state["tab"] = name
        app.run()
        assert not app.exception and said in words(app), name
    assert any(pack(question()) in code.value for code in app.code)


def test_cancelling_keeps_what_is_there(store: Store, jobs: Jobs) -> None:
    app = page(running(question(), store, jobs, "PointReady", 3))
    job = jobs.active()[0]
    app.button(key="cancel").click().run()
    assert jobs.cancel_asked(job.id)
    jobs.finish(job.id, "cancelled", "Cancelled. Everything finished so far is kept.")
    app = page(question())
    assert "Cancelled. Everything finished so far is kept." in words(app)
    assert "3 of 7 points are in the store" in words(app) and app.button(key="run").label == "Run" and charts(app) == 2


def test_a_worker_that_died_is_told_in_a_sentence(store: Store, jobs: Jobs) -> None:
    running(question(), store, jobs, "Training", 5)
    jobs.abandon()
    app = page(question())
    assert ABANDONED in words(app) and not app.button(key="run").disabled


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"b": "hub:google-bert/bert-base-uncased"}, "b: the Hub did not answer for google-bert/bert-base-uncased"),
        ({"a": "local:/no/such/folder"}, "a: there is no folder /no/such/folder"),
        ({"a": RECIPE | {"base": "builtin:austen@5"}}, "a.base: austen has no step"),
        ({"a": "builtin:austen@0", "b": "builtin:austen@1000", "tasks": [{"task": "builtin:novel"}]}, "it is not said how it names a label"),
        ({"tasks": [{"task": "local:/no/file.csv"}]}, "tasks.0.task: there is no file /no/file.csv"),
        (
            {"tasks": [{"task": "builtin:speech", "split": "<b>none</b>"}]},
            "there is no split &#x27;&lt;b&gt;none&lt;/b&gt;&#x27;",
        ),
    ],
)
def test_what_cannot_be_answered_is_said_where_its_cause_stands(
    store: Store, jobs: Jobs, changes: dict, said: str
) -> None:
    app = page(question(**changes))
    assert "mc-error" in words(app) and said in words(app)
    assert app.button(key="run").disabled and not jobs.active()


@pytest.mark.parametrize(
    "packed", ["", "x", "eJw", "%00%00", "A" * 40_000, "<script>alert(1)</script>", pack(question())[:-9], "🦆" * 50]
)
def test_a_hostile_link_gets_one_sentence_and_the_first_question(store: Store, jobs: Jobs, packed: str) -> None:
    app = page(packed)
    assert "link: " in words(app) and "The first question stands below instead." in words(app)
    assert "<script>" not in words(app)
    assert not app.button(key="run").disabled and not jobs.active()


def test_an_unknown_version_of_a_link_is_told(store: Store) -> None:
    app = AppTest.from_file(str(HOME / "app.py"), default_timeout=60).switch_page(COMPARE)
    app.query_params["v"], app.query_params["q"] = "99", pack(question())
    app.run()
    assert not app.exception and "this explorer reads version 1" in words(app)


def test_a_change_goes_into_the_address_and_back(store: Store) -> None:
    app = page(question())
    app.text_input(key="in.points").set_value("11").run()
    assert pack(question(points=11)) in str(app.query_params["q"])
    app.query_params["q"] = pack(question())
    app.run()
    assert app.text_input(key="in.points").value == "7"


@pytest.mark.parametrize(
    ("key", "given", "said"),
    [
        ("in.points", "10000000", "points: 10000000 is not possible"),
        ("in.points", "many", "points: &quot;many&quot; is not possible"),
        ("in.a.learning_rate", "nan", "a.learning_rate:"),
        ("in.b.steps", "-3", "b.steps: -3 is not possible"),
        ("in.tasks.0.limit", "<i>x</i>", "tasks.0.limit:"),
    ],
)
def test_what_is_typed_wrong_is_said_and_can_be_mended(store: Store, key: str, given: str, said: str) -> None:
    app = page(question())
    before, right = app.query_params["q"], app.text_input(key=key).value
    app.text_input(key=key).set_value(given).run()
    assert not app.exception and said in words(app) and "<i>x" not in words(app)
    assert app.query_params["q"] == before and app.button(key="run").disabled
    app.text_input(key=key).set_value(right).run()
    assert "mc-error" not in words(app) and not app.button(key="run").disabled


def test_the_next_step_changes_the_question(store: Store, jobs: Jobs) -> None:
    carry_out(question(), store)
    app = page(question())
    app.button(key="next-step").click().run()
    assert not app.exception and not jobs.active()
    assert app.text_input(key="in.b.head_seed").value == "1"


def test_pages_load_no_torch() -> None:
    code = (
        "import sys, mcore.ui.home, mcore.ui.compare.page; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=HOME, env=os.environ, check=True
    )
    assert told.stdout.strip() == "[]"


def running(asked: Experiment, store: Store, jobs: Jobs, kind: str, count: int) -> Experiment:
    """Put a job in the queue and carry it out up to the ``count``-th event of a kind."""
    job = jobs.submit(as_written(asked), resolve(asked).fingerprint)
    jobs.take("a test")
    for event in events(asked, store):
        jobs.emit(job, event)
        count -= type(event).__name__ == kind
        if not count:
            break
    return asked


def test_every_next_step_that_changes_the_question_is_one_that_words_can_say() -> None:
    said = Path(words_module.__file__).read_text()
    assert [phrase for phrase in suggestions.CHANGES if phrase not in said] == []


@pytest.mark.parametrize(
    ("pasted", "understood"),
    [
        (
            "https://huggingface.co/connectivity/feather_berts_0/tree/refs%2Fpr%2F1",
            "hub:connectivity/feather_berts_0@refs/pr/1",
        ),
        ("huggingface.co/google-bert/bert-base-uncased", "hub:google-bert/bert-base-uncased"),
        ("google-bert/bert-base-uncased@main", "hub:google-bert/bert-base-uncased@main"),
        ("austen@1000", "builtin:austen@1000"),
        (" /models/mine ", "local:/models/mine"),
        ("local:~/mine", "local:~/mine"),
    ],
)
def test_what_is_pasted_into_a_name_field_is_understood(pasted: str, understood: str) -> None:
    assert addresses.checkpoint(pasted) == understood
