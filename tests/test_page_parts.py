"""Which part carries the barrier, under the tab "Paths": asked, refused, running, cancelled, partly and wholly there, by every choice."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from app_in_apptest import page, words
from browser_fixtures import carry_out, question
from streamlit.testing.v1 import AppTest

from mcore.events import Asked
from mcore.jobs.queue import Jobs
from mcore.question import as_written
from mcore.resolve import resolve
from mcore.store import Store
from mcore.studies.study import to_json
from mcore.studies.sweep import Sweep, sweep

LAYERS = ["embeddings", "layer 0", "layer 1", "layer 2", "layer 3", "head"]
RUN, CANCEL = "study-run-parts", "study-cancel-parts"


@pytest.fixture
def store(app_store: Store) -> Store:
    carry_out(question(), app_store)
    return app_store


def asked(**how: object) -> Sweep:
    return sweep(question(), resolve(question()), **how)


def opened(**query: str) -> AppTest:
    app = page(question())
    app.query_params["tab"] = "Paths"
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def buttons(app: AppTest) -> dict[str, str]:
    return {one.key: one.label for one in app.button if one.key}


def bars(app: AppTest) -> dict | None:
    found = [json.loads(one.proto.spec) for one in app.get("vega_lite_chart") if "each part of the model" in one.proto.spec]
    assert len(found) <= 1
    return found[0] if found else None


def test_it_is_offered_with_its_cost_before_anything_is_computed(store: Store) -> None:
    app = opened()
    assert buttons(app)[RUN] == "Which part carries it? Ask each layer"
    assert "It asks 6 questions: " in words(app) and "Nothing of it is computed yet" in words(app) and bars(app) is None


@pytest.mark.parametrize(("query", "how"), [
    ({"parts-by": "each kind of part"}, {"by": "part"}), ({"parts-rest": "B"}, {"rest": "b"}), ({"parts-points": "17"}, {"points": 17}),
])  # fmt: skip
def test_what_is_chosen_is_what_is_asked(store: Store, app_jobs: Jobs, query: dict, how: dict) -> None:
    app = opened(**query)
    app.button(key=RUN).click().run()
    job = app_jobs.latest(asked(**how).study.fingerprint)
    assert job.state == "queued" and job.study == to_json(asked(**how).study)


def test_it_runs_as_one_job_with_its_progress_and_can_be_cancelled(store: Store, app_jobs: Jobs) -> None:
    app = opened()
    app.button(key=RUN).click().run()
    assert CANCEL in buttons(app) and RUN not in buttons(app)
    job = app_jobs.take("w")
    app_jobs.emit(job.id, Asked("layer 0", 2, 6, 30.0))
    carry_out(asked().questions["embeddings"], store)
    app.run()
    assert "Question 2 of 6, layer 0." in words(app) and "1 of 6 parts so far: " in words(app)
    spec = bars(app)
    assert "5 still to come" in spec["description"] and "embeddings" in spec["description"]
    app.button(key=CANCEL).click().run()
    app_jobs.finish(job.id, "cancelled", "Cancelled.")
    app.run()
    assert RUN in buttons(app) and "1 are in the store and are kept" in words(app) and bars(app) is not None


def test_all_of_it_stands_there_from_the_store_with_numbers_and_files(store: Store) -> None:
    for one in asked().questions.values():
        carry_out(one, store)
    app = opened()
    assert RUN not in buttons(app) and "What this means" in words(app)
    assert "highest barrier" in words(app) or "no part meets a barrier" in words(app)
    spec = bars(app)
    assert "still to come" not in spec["description"] and all(name in spec["description"] for name in LAYERS)
    assert [one.key for one in app.get("download_button") if one.key.startswith("parts-")] == ["parts-csv", "parts-svg", "parts-png"]
    assert all(f">{name}</td>" in words(app) for name in LAYERS)
    assert "2 paths" not in words(app) and "No other" in words(app), "its questions are no lines on the chart of paths"


def test_a_part_leads_to_its_curve_and_from_there_to_its_question(store: Store) -> None:
    for one in asked().questions.values():
        carry_out(one, store)
    app = opened()
    before = len(app.get("vega_lite_chart"))
    app.selectbox(key="parts-curve").select("layer 1").run()
    assert not app.exception and len(app.get("vega_lite_chart")) == before + 1
    assert "The path that moves only layer 1" in words(app)
    app.button(key="parts-open").click().run()
    assert not app.exception
    assert app.session_state["mc.draft"]["path"] == {"kind": "partial", "move": ["layers:1-1"]} and app.session_state["mc.draft"]["points"] == 5
    assert "from the store" in words(app)


def test_two_ends_that_are_one_model_have_no_parts_to_ask_for(app_store: Store) -> None:
    same = question(b=as_written(question())["a"])
    carry_out(same, app_store)
    app = page(same)
    app.query_params["tab"] = "Paths"
    app.run()
    assert not app.exception and "Which part carries it?" not in words(app) and RUN not in buttons(app)


def test_a_question_that_cannot_be_asked_says_so_and_the_others_stand(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from mcore.errors import QuestionError
    from mcore.ui import engine

    whole = engine.standing

    def refusing(one):
        if one.path.move == ["head"]:
            raise QuestionError("path.move", "there is no head", "move something else")
        return whole(one)

    monkeypatch.setattr("mcore.ui.engine.standing", refusing)
    carry_out(asked().questions["layer 0"], store)
    app = opened()
    assert "head: path.move: there is no head" in words(app) and bars(app) is not None
    assert replace(asked(), points=9).questions["layer 0"].points == 9
