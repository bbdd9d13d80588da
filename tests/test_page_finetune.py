"""The Fine-tune page in every state, without a browser and without a model."""

from __future__ import annotations

import pytest
from app_in_apptest import charts, page, words
from browser_fixtures import RECIPE, carry_out, events, question

from mcore import plan
from mcore.events import Training
from mcore.jobs.queue import Jobs
from mcore.paths.distances import base_key
from mcore.presets import first_question
from mcore.question import as_written, parse
from mcore.resolve import resolve
from mcore.store import Store
from mcore.tuning import pairs

FINETUNE = "pages/2_Fine-tune.py"


@pytest.fixture
def store(app_store: Store) -> Store:
    return app_store


@pytest.fixture
def jobs(app_jobs: Jobs) -> Jobs:
    return app_jobs


def opened(asked=None):
    return page(asked, FINETUNE)


def in_line(jobs: Jobs):
    return [(job.part, job.state) for job in jobs.active()]


def test_it_says_what_differs_what_it_costs_and_shows_a_real_training(store: Store) -> None:
    app = opened()
    said = words(app)
    assert "head seed 1 → 2, data seed 1 → 2; everything else the same" in said
    assert "A 150 steps and B 150 steps: about" in said and "of memory" in said
    assert "shipped result" in said and charts(app) == 1


def test_what_differs_is_marked_on_both_sides(store: Store) -> None:
    asked = question(b=RECIPE | {"head_seed": 2})
    style = "".join(one.proto.body for one in opened(asked).get("html") if one.proto.body.startswith(("<style>", "<div")))
    assert ".st-key-in-a-head_seed" in style and ".st-key-in-b-head_seed" in style
    assert ".st-key-in-a-data_seed" not in style


@pytest.mark.parametrize("pair", pairs.pairs(), ids=lambda pair: pair.name)
def test_each_question_fills_both_recipes_in_and_marks_itself(pair: pairs.Pair, store: Store) -> None:
    app = opened()
    pills = app.get("button_group")[0] if app.get("button_group") else app.pills(key="pair")
    pills.set_value(pair.name).run()
    assert not app.exception and pair.asks in words(app)
    written = as_written(first_question())["a"]
    a, b = pairs.pose(pair, written)
    held = app.session_state["mc.draft"]
    assert (held["a"], held["b"]) == (a, b)
    resolved = resolve(parse(held))
    assert resolved.a.fingerprint != resolved.b.fingerprint


def test_a_question_after_another_one_leaves_nothing_of_it(store: Store) -> None:
    written = as_written(first_question())["a"]
    known = {pair.name: pair for pair in pairs.pairs()}
    halves, _ = pairs.pose(known["Disjoint halves of the data"], written)
    apart, _ = pairs.pose(next(pair for pair in known.values() if "base" in pair.both), written)
    for before in (halves, apart):
        a, b = pairs.pose(known["Only the head differs"], before | {"stop_at": 5})
        assert "rows" not in a and "stop_at" not in a and a["base"] == b["base"] == first_question().a.base


def test_train_puts_the_two_trainings_and_no_point_in_the_queue(store: Store, jobs: Jobs) -> None:
    asked = question()
    app = opened(asked)
    app.button(key="run").click().run()
    assert in_line(jobs) == [("training", "queued")]
    assert jobs.active()[0].fingerprint == plan.training_key(resolve(asked))
    assert app.button(key="cancel") and "Next in the queue" in words(app)


def test_a_running_training_shows_both_curves_and_can_be_kept_as_it_is(store: Store, jobs: Jobs) -> None:
    asked = question()
    resolved = resolve(asked)
    job = jobs.submit(as_written(asked), plan.training_key(resolved), part="training")
    jobs.take("1")
    for event in events(asked, Store(store.root / "other")):
        jobs.emit(job, event)
        if isinstance(event, Training) and event.endpoint == "b" and event.step == 8:
            break
    app = opened(asked)
    assert "Training B, step 8 of 20" in words(app) and "points" not in words(app).partition("Training B")[2][:60]
    assert charts(app) == 1
    app.button(key="stop-here").click().run()
    assert jobs.cancel_asked(job)
    jobs.finish(job, "cancelled", "Cancelled.")
    app.run()
    assert app.session_state["mc.draft"]["b"]["stop_at"] == 8 and "stop_at" not in app.session_state["mc.draft"]["a"]
    assert in_line(jobs) == [("training", "queued")]
    assert "step 20 → 8 on one schedule" in words(app)


def test_a_whole_run_of_the_question_is_shown_here_too(store: Store, jobs: Jobs) -> None:
    asked = question()
    jobs.submit(as_written(asked), resolve(asked).fingerprint)
    assert opened(asked).button(key="cancel")


def test_finished_models_have_figures_and_lead_on_to_compare(store: Store) -> None:
    asked = question()
    resolved = carry_out(asked, store)
    figures = b'{"l2": 1.25, "cosine": 0.5, "l2_per_sqrt_n": 0.1, "parameters": 10, "layers": []}'
    for end in (resolved.a, resolved.b):
        store.put(base_key(end), figures, "distance")
    app = opened(asked)
    said = words(app)
    assert "Both models are there." in said and "1.25" in said and "0.5000" in said and "90.0 %" in said
    assert app.button(key="run").disabled and charts(app) == 1


def test_a_model_goes_on_for_more_steps(store: Store, jobs: Jobs) -> None:
    asked = question()
    carry_out(asked, store)
    app = opened(asked)
    app.number_input(key="more-steps-b").set_value(7)
    app.button(key="continue-b").click().run()
    assert app.session_state["mc.draft"]["b"]["continued"] == [7]
    assert in_line(jobs) == [("training", "queued")] and "step 20 → 27 on one schedule" in words(app)
    assert jobs.active()[0].experiment["b"]["continued"] == [7]


def test_a_cancelled_and_a_failed_training_say_so_and_can_be_run_again(store: Store, jobs: Jobs) -> None:
    asked = question()
    for state, sentence in (("cancelled", "Cancelled. Everything finished so far is kept."), ("failed", "The disk is full; free some.")):
        job = jobs.submit(as_written(asked), plan.training_key(resolve(asked)), part="training")
        jobs.take("1")
        jobs.finish(job, state, sentence)
        app = opened(asked)
        assert sentence in words(app) and not app.button(key="run").disabled


def test_what_is_trained_on_is_what_will_be_evaluated(store: Store) -> None:
    app = opened(question(a=RECIPE | {"task": {"task": "builtin:novel"}}, b=RECIPE | {"task": {"task": "builtin:novel"}}))
    assert [task["task"] for task in app.session_state["mc.draft"]["tasks"]] == ["builtin:novel"]
    assert app.session_state["mc.draft"]["tasks"][0]["limit"] == 64
    assert "builtin:speech" not in words(app)


def test_a_model_as_it_is_can_be_turned_into_a_recipe(store: Store) -> None:
    app = opened(question(b="builtin:austen@100"))
    assert "there is nothing to train" in words(app)
    app.button(key="become-b").click().run()
    assert app.session_state["mc.draft"]["b"]["base"] == "builtin:austen@100"
    assert app.session_state["mc.draft"]["b"]["steps"] == RECIPE["steps"]


@pytest.mark.parametrize(("key", "typed", "said"), [
    ("in.b.steps", "many", "b.steps"), ("in.a.stop_at", "500", "stop_at"), ("in.b.continued", "100, x", "b.continued"),
])  # fmt: skip
def test_a_wrong_field_is_told_beside_its_recipe(store: Store, key: str, typed: str, said: str) -> None:
    app = opened(question())
    app.text_input(key=key).set_value(typed).run()
    assert not app.exception and said in words(app) and "mc-error" in words(app)


def test_a_broken_link_leaves_the_first_recipes_and_a_sentence(store: Store) -> None:
    app = opened("broken")
    assert "damaged or cut short" in words(app) and app.button(key="run")
