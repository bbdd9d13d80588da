"""The paper's questions on the Knowledge page, without a browser and without a model: every choice, every state."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import tiny
from app_in_apptest import charts, words
from browser_fixtures import RECIPE, carry_out, events, question
from streamlit.testing.v1 import AppTest
from test_page_knowledge import choice, in_address, listed, opened

from mcore import plan
from mcore.jobs.queue import Jobs
from mcore.knowledge import grid as grids
from mcore.knowledge.forgetting_told import Told, dots, rows_csv, segments_csv, table, tell, verdict, written
from mcore.knowledge.held import held
from mcore.knowledge.held_told import rows_csv as held_csv
from mcore.link import unpack
from mcore.question import Experiment, as_written, parse
from mcore.resolve import resolve
from mcore.store import Store
from mcore.tuning.cartography import MEASURES
from mcore.tuning.followed import join

TRAIN = {"task": "builtin:speech", "split": "train", "limit": 120}
ASKED = question(points=6, tasks=[TRAIN])
ACROSS = question(points=6, b=RECIPE | {"task": {"task": "builtin:novel"}, "head_seed": 2}, tasks=[TRAIN])


def answered(asked: Experiment, store: Store) -> Told:
    resolved = carry_out(asked, store)
    return tell(grids.read(resolved, 0, store), join(resolved.a, resolved.tasks[0], store))


def in_question(app: AppTest) -> Experiment:
    """The question in the address."""
    return unpack(in_address(app, "q"))


@pytest.fixture
def told(app_store: Store) -> Told:
    return answered(ASKED, app_store)


def test_forgetting_shows_segments_the_map_the_order_and_the_rows(told: Told) -> None:
    app = opened(ASKED, tab="forgetting")
    assert charts(app) == 3
    changed = told.mask("forgotten", None) | told.mask("learned", None)
    assert set(listed(app)) == set(told.grid.ids[changed].tolist())
    assert verdict(told) in words(app) and "120 rows were followed while A was trained, and looked at 4 times" in words(app)
    for kind in ("forgotten", "learned"):
        assert written(told.group(kind, None).means["flips"]) in words(app)
    assert written(told.correlation("variability").rho) in words(app)


def test_a_chosen_segment_lists_its_rows_and_marks_them_on_the_map(told: Told) -> None:
    app = opened(ASKED, tab="forgetting", segment="0,0.2")
    part = told.parts[0]
    assert set(listed(app)) == set(told.grid.ids[part.forgotten | part.learned].tolist())
    drawn = dots(told, 0, None)
    for kind in ("forgotten", "learned"):
        assert {row["id"] for row in drawn if row["kind"] == kind} == set(told.grid.ids[getattr(part, kind)].tolist())
    spec = json.loads(app.get("vega_lite_chart")[1].proto.spec)
    assert spec["description"].startswith(f"Data map of 120 rows, variability against confidence in training; {int(part.forgotten.sum())} forgotten")
    assert f"{int(part.forgotten.sum())} rows are newly forgotten and" in words(app)
    assert f"In confidence, what is forgotten lies {written(told.group('forgotten', 0).apart['confidence'], signed=True)} from the mean" in words(app)


def test_the_slider_walks_the_segments_and_stands_in_the_address(told: Told) -> None:
    app = opened(ASKED, tab="forgetting")
    app.select_slider(key="forgetting-segment").set_value(2).run()
    assert in_address(app, "segment") == "0.4,0.6"
    app.select_slider(key="forgetting-segment").set_value(-1).run()
    assert in_address(app, "segment") is None and not app.exception


def test_a_segment_that_does_not_exist_is_the_whole_path(told: Told) -> None:
    whole = listed(opened(ASKED, tab="forgetting"))
    for segment in ("0.1,0.3", "5,9", "x", "0.4,0.2"):
        assert listed(opened(ASKED, tab="forgetting", segment=segment)) == whole


def test_the_measure_and_whose_training_stand_in_the_address(told: Told, app_store: Store) -> None:
    app = opened(ASKED, tab="forgetting")
    choice(app, "knowledge-measure").set_value("flips").run()
    assert in_address(app, "measure") == "flips" and "In flips, what is forgotten lies" in words(app)
    choice(app, "knowledge-of").set_value("b").run()
    assert in_address(app, "of") == "b" and "followed while B was trained" in words(app) and not app.exception


def test_a_row_that_is_forgotten_can_be_read(told: Told) -> None:
    place = int(told.mask("forgotten", None).nonzero()[0][0])
    app = opened(ASKED, tab="forgetting", row=str(told.grid.ids[place]))
    assert charts(app) == 4 and f"Row {told.grid.ids[place]} · true label" in words(app) and "Forgotten at t = " in words(app)
    assert sum(one.get("open", False) for one in dots(told, None, place)) == 1
    app.button(key="knowledge-next").click().run()
    assert in_address(app, "row") != str(told.grid.ids[place])


def test_from_one_task_to_another_the_sources_rows_are_told_of_by_the_sources_training(app_store: Store) -> None:
    carry_out(ACROSS, app_store)
    app = opened(ACROSS, tab="forgetting")
    assert "Only A has a" in words(app) and "everything but the head goes from A to B" in words(app)
    assert "followed while A was trained" in words(app) and not [one for one in app.get("button_group") if one.key == "knowledge-of"]


def test_held_out_rows_say_why_nothing_is_known_and_lead_to_the_training_rows(app_store: Store) -> None:
    asked = question(points=6)
    carry_out(asked, app_store)
    app = opened(asked, tab="forgetting", row="3", rows="2-4")
    assert "These are rows of the split validation; A was trained on train" in words(app) and charts(app) == 1
    assert "are lost somewhere on the way" in words(app)
    app.button(key="forgetting-training-rows").click().run()
    assert not app.exception
    now = in_question(app)
    assert now.tasks[0].split == "train" and now.tasks[0].limit == 1024 and now.a == asked.a and now.points == 6
    assert in_address(app, "row") is None and in_address(app, "rows") is None and in_address(app, "tab") == "forgetting"


def test_a_training_that_followed_nothing_says_so(app_store: Store) -> None:
    asked = question(points=4, a=RECIPE | {"cartography": 0}, b=RECIPE | {"cartography": 0, "head_seed": 2}, tasks=[TRAIN])
    carry_out(asked, app_store)
    app = opened(asked, tab="forgetting")
    assert "No rows were followed while A was trained" in words(app) and "has the field “Rows followed”" in words(app)
    assert charts(app) == 1 and not [one for one in app.button if one.key == "forgetting-training-rows"]


def test_checkpoints_say_that_they_were_trained_elsewhere(app_store: Store, saved, rows) -> None:
    asked = parse(tiny.experiment(saved("bert", 1), saved("bert", 2), rows, points=4))
    carry_out(asked, app_store)
    app = opened(asked, tab="forgetting")
    assert "A was trained elsewhere" in words(app) and "A and B are not both tuned here" in words(app)
    assert charts(app) == 1 and not [one for one in app.get("button_group") if one.key in ("pose-rows", "knowledge-measure")]


def test_nothing_forgotten_says_so(app_store: Store) -> None:
    """Every model is right on every row."""
    resolved = carry_out(ASKED, app_store)
    labels = resolved.tasks[0].rows.labels
    sure = np.zeros((len(labels), 2), np.float32)
    sure[np.arange(len(labels)), labels] = 3
    for t in plan.wanted(resolved):
        key = plan.key(resolved, plan.Point(0, t), plan.orders(resolved, 0, app_store))
        app_store.drop(key)
        app_store.put(key, plan.pack(sure), "responses")
    app = opened(ASKED, tab="forgetting")
    assert "Nothing of the 120 rows that A masters is lost anywhere on the way." in words(app)
    assert "Nothing is forgotten or learned here." in words(app) and "No row that was followed and that A masters is lost" in words(app)
    assert "0 rows are newly forgotten somewhere and 0 newly learned." in words(app)
    app = opened(ASKED, tab="held")
    assert "A and B master the same rows." in words(app) and "There is no such row." in words(app)


def test_while_it_runs_the_segments_are_as_wide_as_the_gaps(app_store: Store, app_jobs: Jobs) -> None:
    resolved = carry_out(ASKED, app_store, points=3)
    app_jobs.submit(as_written(ASKED), resolved.fingerprint)
    job = app_jobs.take("me")
    for _, event in zip(range(6), events(ASKED, app_store), strict=False):
        app_jobs.emit(job.id, event)
    resolved = resolve(ASKED)
    for t in (0.2, 0.6, 0.8):
        app_store.drop(plan.key(resolved, plan.Point(0, t), plan.orders(resolved, 0, app_store)))
    app = opened(ASKED, tab="forgetting")
    assert "So far 3 points are there: a segment is as wide as the gap between two of them." in words(app) and charts(app) == 3


def test_without_its_ends_an_answer_tells_what_it_can(app_store: Store) -> None:
    resolved = carry_out(ASKED, app_store)
    for t in (0.0, 1.0):
        app_store.drop(plan.key(resolved, plan.Point(0, t), plan.orders(resolved, 0, app_store)))
    app = opened(ASKED, tab="forgetting")
    assert "What A masters is not known yet" in words(app) and "The order is told from A" in words(app)
    assert "Both ends must be there to tell who knows what" in words(opened(ASKED, tab="held"))


def test_points_beyond_the_ends_are_left_out(app_store: Store) -> None:
    asked = question(points=6, tasks=[TRAIN], path={"kind": "linear", "extend": 0.4})
    carry_out(asked, app_store)
    app = opened(asked, tab="held")
    assert not app.exception and "Both ends must" not in words(app)
    found = answered(asked, app_store)
    assert found.ts == (0, 0.2, 0.4, 0.6, 0.8, 1) and len(found.grid.ts) == 10


def test_who_knows_what_lists_each_group(told: Told) -> None:
    app = opened(ASKED, tab="held")
    masks = held(told.ts, told.right)
    assert charts(app) == 1 and set(listed(app)) == set(told.grid.ids[masks["only_a"].mask].tolist())
    choice(app, "knowledge-held").set_value("regained").run()
    assert in_address(app, "held") == "regained" and set(listed(app)) == set(told.grid.ids[masks["regained"].mask].tolist())
    assert "A masters" in words(app) and "confidence in A&#x27;s training" in words(app) and "confidence in B&#x27;s training" in words(app)


def test_the_strip_poses_one_task_to_another(told: Told) -> None:
    app = opened(ASKED, tab="held", row="39")
    choice(app, "pose-question").set_value("tasks").run()
    now = in_question(app)
    assert (now.a.task.task, now.tasks[0].task, now.tasks[0].split) == ("builtin:speech", "builtin:speech", "train") and now.b.task.task != "builtin:speech"
    assert in_address(app, "row") is None and not app.exception
    assert "spam-2" in app.selectbox(key="pose-target").options
    app.selectbox(key="pose-target").set_value("builtin:spam").run()
    assert in_question(app).b.task.task == "builtin:spam"
    app.selectbox(key="pose-source").set_value("builtin:spam").run()  # they change places
    now = in_question(app)
    assert (now.a.task.task, now.b.task.task, now.tasks[0].task) == ("builtin:spam", "builtin:speech", "builtin:spam")
    choice(app, "pose-question").set_value("minima").run()
    assert in_question(app).b.task.task == "builtin:spam" and "Run fine-tunes A and B" in words(app)


def test_rows_and_points_can_be_chosen_and_finer_points_keep_what_is_read(told: Told) -> None:
    app = opened(ASKED, tab="forgetting", row="39")
    choice(app, "pose-points").set_value(11).run()
    assert in_question(app).points == 11 and in_address(app, "row") == "39"
    choice(app, "pose-rows").set_value("validation").run()
    now = in_question(app)
    assert now.tasks[0].split == "validation" and in_address(app, "row") is None
    choice(app, "pose-rows").set_value("training").run()
    assert in_question(app).tasks[0].split == "train" and in_question(app).tasks[0].limit == 1024


def test_other_splits_and_points_are_shown_as_they_are(app_store: Store) -> None:
    asked = question(points=7, tasks=[{"task": "builtin:speech", "split": "test", "limit": 20}])
    app = opened(asked)
    assert choice(app, "pose-rows").value == "test" and choice(app, "pose-points").value == 7
    assert choice(opened(question(points=[0.0, 0.5, 1.0])), "pose-points").value is None


def test_the_file_of_rows_holds_every_row_and_agrees_with_the_answer(told: Told) -> None:
    lines = list(csv.DictReader(io.StringIO(rows_csv(told, range(len(told.grid))).decode())))
    assert [int(line["row"]) for line in lines] == told.grid.ids.tolist()
    for place, line in enumerate(lines):
        assert [line[f"right_t{t:.6g}"] == "1" for t in told.ts] == told.right[place].tolist()
        assert float(line["confidence"]) == pytest.approx(told.values["confidence"][place], abs=1e-5)
        assert (line["lost_at"] == "") == (not np.isfinite(told.lost_at[place])) and line["text"] == told.grid.texts[place]
    bare = replace(told, joined=None)
    assert "confidence" not in rows_csv(bare, [0]).decode().splitlines()[0] and len(segments_csv(bare).decode().splitlines()) == 1 + 2 * 5


def test_the_file_and_the_table_of_segments_agree(told: Told) -> None:
    lines = list(csv.DictReader(io.StringIO(segments_csv(told).decode())))
    assert lines[0]["rows"] == "all followed" and len(lines) == 1 + 2 * len(told.parts)
    heads, body = table(told)
    assert heads[4:] == list(MEASURES) and len(body) == 1 + 2 * (len(told.parts) + 1)
    for line, shown in zip(lines[1:], body[3:], strict=True):
        i = [f"{part.low:.6g}" for part in told.parts].index(line["from_t"])
        mask = getattr(told.parts[i], line["rows"])
        assert int(line["count"]) == mask.sum() == int(shown[2])
        if mask.any():
            assert float(line["variability"]) == pytest.approx(np.mean(told.values["variability"][mask]), abs=1e-5)


def test_the_file_of_who_knows_what_names_one_holder_for_each_row(told: Told, app_store: Store) -> None:
    resolved = resolve(ASKED)
    joins = [join(end, resolved.tasks[0], app_store) for end in (resolved.a, resolved.b)]
    lines = list(csv.DictReader(io.StringIO(held_csv(told.grid, told.ts, told.right, held(told.ts, told.right), joins).decode())))
    for place, line in enumerate(lines):
        a, b = told.right[place, 0], told.right[place, -1]
        assert line["held_by"] == {(True, False): "only_a", (False, True): "only_b", (True, True): "both", (False, False): "neither"}[bool(a), bool(b)]
    assert {"confidence_a", "flips_b"} <= set(lines[0])
