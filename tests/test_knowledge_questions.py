"""Questions about knowledge posed from whatever stands there; each can be asked, and says what it means to."""

from __future__ import annotations

import pytest
import tiny
from browser_fixtures import RECIPE, question

from mcore.knowledge import questions
from mcore.knowledge.questions import POINTS, pose
from mcore.link import pack, unpack
from mcore.presets import first_question
from mcore.question import parse
from mcore.resolve import resolve
from mcore.tuning.followed import followed


def test_from_one_task_to_another_only_the_sources_head_reads_the_source() -> None:
    asked = pose(first_question(), "tasks", "builtin:speech", "builtin:novel")
    assert questions.kind(asked) == "tasks" and questions.kind(first_question()) == "minima"
    assert (asked.a.task.task, asked.b.task.task, [task.task for task in asked.tasks]) == ("builtin:speech", "builtin:novel", ["builtin:speech"])
    assert asked.a.base == asked.b.base == first_question().a.base and asked.a.steps == first_question().a.steps
    resolved = resolve(asked)
    assert resolved.heads == ["a"] and resolved.tasks[0].task.split == "validation"
    assert unpack(pack(asked)) == asked


def test_two_minima_of_one_task_differ_in_their_seeds_alone() -> None:
    across = pose(first_question(), "tasks", "builtin:novel", "builtin:speech")
    asked = pose(across, "minima", "builtin:novel")
    told = {name for name in type(asked.a).model_fields if getattr(asked.a, name) != getattr(asked.b, name)}
    assert told == {"head_seed", "data_seed"} and asked.a.task == asked.b.task and asked.tasks[0].task == "builtin:novel"


def test_a_target_that_is_the_source_is_another_task() -> None:
    asked = pose(question(), "tasks", "builtin:speech", "builtin:speech")
    assert asked.b.task.task != "builtin:speech" and resolve(asked)


def test_checkpoints_are_replaced_by_recipes_and_what_belonged_to_them_goes(saved, rows) -> None:
    checkpoints = parse(tiny.experiment(saved("bert", 1), saved("bert", 2), rows, labels={"a": ["no", "yes"]}))
    assert questions.kind(checkpoints) is None
    asked = pose(checkpoints, "minima", "builtin:speech")
    assert questions.kind(asked) == "minima" and asked.labels.a is None and resolve(asked)
    assert asked.tasks[0].split is None and asked.tasks[0].limit == 512


def test_what_was_asked_of_the_rows_stays_and_a_stop_on_the_way_does_not() -> None:
    stopped = question(a=RECIPE | {"stop_at": 5}, tasks=[{"task": "builtin:speech", "split": "test", "limit": 40, "sample_seed": 3}])
    asked = pose(stopped, "tasks", "builtin:order-mail", "builtin:novel")
    assert (asked.tasks[0].split, asked.tasks[0].limit, asked.tasks[0].sample_seed) == ("test", 40, 3)
    assert asked.a.stop_at is None and asked.points == stopped.points and asked.probes == stopped.probes


def test_a_path_that_was_fitted_on_other_rows_begins_anew() -> None:
    fitted = question(path={"kind": "bezier", "task": {"task": "builtin:speech", "split": "train"}})
    assert pose(fitted, "minima", "builtin:novel").path.kind == "linear"
    assert pose(question(path={"kind": "slerp"}), "minima", "builtin:novel").path.kind == "slerp"


def test_the_six_points_are_among_the_finer_ones() -> None:
    six = questions.on_points(question(), 6).ts()
    assert six == [0, 0.2, 0.4, 0.6, 0.8, 1]
    for points in POINTS:
        assert set(six) <= set(questions.on_points(question(), points).ts())


def test_the_training_rows_that_are_asked_for_are_those_that_were_followed() -> None:
    recipe = RECIPE | {"cartography": 300}
    resolved = resolve(question(a=recipe, b=recipe | {"head_seed": 2}))
    asked = resolve(questions.on_training_rows(resolved.experiment, resolved, 0))
    seen = followed(asked.a.recipe.training.rows, asked.a.recipe.recipe)
    assert asked.tasks[0].rows.ids.tolist() == seen.ids.tolist() and asked.tasks[0].rows.texts == seen.texts
    few = resolve(questions.on_training_rows(resolved.experiment, resolved, 0, most=50))
    assert len(few.tasks[0].rows) == 50 and set(few.tasks[0].rows.ids.tolist()) <= set(seen.ids.tolist())


@pytest.mark.parametrize("changes", [{"rows": "half-1"}, {"task": {"task": "builtin:speech", "limit": 700, "sample_seed": 9}}])
def test_of_a_part_of_the_training_rows_enough_are_among_those_asked_for(changes: dict) -> None:
    recipe = RECIPE | changes
    resolved = resolve(question(a=recipe, b=recipe | {"head_seed": 2}))
    asked = resolve(questions.on_training_rows(resolved.experiment, resolved, 0))
    seen = set(followed(asked.a.recipe.training.rows, asked.a.recipe.recipe).ids.tolist())
    assert len(seen & set(asked.tasks[0].rows.ids.tolist())) >= 400
    assert asked.tasks[0].task.split == "train"


def test_held_out_rows_come_back_and_how_they_are_cut_stays() -> None:
    start = question(tasks=[{"task": "builtin:speech", "limit": 64, "max_length": 32}])
    resolved = resolve(start)
    training = questions.on_training_rows(start, resolved, 0)
    assert training.tasks[0].max_length == 32
    back = questions.on_validation_rows(training, resolve(training), 0)
    assert (back.tasks[0].split, back.tasks[0].max_length) == ("validation", 32)
    assert questions.splits(resolved, 0) == {"training": "train", "validation": "validation"}


def test_rows_of_a_task_that_no_end_was_tuned_on_have_no_training_rows(saved, rows) -> None:
    fixed = resolve(parse(tiny.experiment(saved("bert", 1), saved("bert", 2), rows)))
    assert questions.splits(fixed, 0) == {} and questions.trained_side(fixed, 0) is None
    both = resolve(question(b=RECIPE | {"task": {"task": "builtin:novel"}}, tasks=[{"task": "builtin:novel"}, {"task": "builtin:speech"}]))
    assert [questions.trained_side(both, number) for number in (0, 1)] == ["b", "a"]
