"""Names become contents: what a question's identity holds, what it does not, and what is noticed on the way."""

from __future__ import annotations

import shutil

import pytest
import tiny
from test_question import DESIGN, changed
from transformers import AutoModel

from mcore import plan
from mcore.errors import QuestionError
from mcore.question import parse, parse_recipe
from mcore.resolve import resolve, resolve_recipe


def of(question):
    return resolve(parse(question))


def test_the_same_question_about_copied_folders_is_the_same_question(saved, rows, tmp_path):
    a, b = saved("bert", 0), saved("bert", 1)
    asked = of(tiny.experiment(a, b, rows))
    copied = of(tiny.experiment(shutil.copytree(a, tmp_path / "a"), b, shutil.copy(rows, tmp_path / "other.csv") and tmp_path / "other.csv"))
    assert asked.fingerprint == copied.fingerprint


def test_everything_that_can_change_the_answer_changes_the_fingerprint():
    seen = {of(DESIGN).fingerprint}
    for field, value in [
        ("a.base", "builtin:austen@0"), ("a.task.task", "builtin:spam"), ("a.steps", 201), ("a.batch_size", 16), ("a.learning_rate", 1e-3),
        ("a.head_seed", 3), ("a.data_seed", 3), ("a.rows", "half-1"), ("a.rows", 0.5), ("a.warmup", 0.2), ("a.clip", 2.0), ("a.weight_decay", 0.1),
        ("a.task.limit", 100), ("a.task.max_length", 40), ("tasks.0.limit", 100), ("tasks.0.sample_seed", 1), ("tasks.0.max_length", 40),
        ("tasks.0.split", "test"), ("points", 11), ("precision", "bfloat16"), ("probes", ["loss"]), ("labels", {"a": ["spoken", "narrated"]}),
    ]:  # fmt: skip
        fingerprint = of(changed(field, value)).fingerprint
        assert fingerprint not in seen, field
        seen.add(fingerprint)
    turned = {**DESIGN, "a": DESIGN["b"], "b": DESIGN["a"]}
    assert of(turned).fingerprint not in seen


def test_what_changes_nothing_changes_no_fingerprint():
    asked = of(DESIGN).fingerprint
    for field, value in [("probes", ["knowledge", "accuracy", "loss"]), ("tasks.0.split", "validation"), ("tasks.0.max_length", 128),
                         ("points", [i / 25 for i in range(26)]), ("a.cartography", 1024), ("a.task.split", "train")]:  # fmt: skip
        assert of(changed(field, value)).fingerprint == asked, field


def test_every_name_and_default_is_written_out_in_the_resolved_experiment(saved, rows):
    experiment = of(tiny.experiment("builtin:austen", "builtin:austen@0", {"task": "builtin:speech"}) | {"a": {**DESIGN["a"], "base": "builtin:austen"}}).experiment
    assert (experiment.a.base, experiment.a.task.split, experiment.a.task.max_length) == ("builtin:austen@7000", "train", 128)
    assert (experiment.tasks[0].split, experiment.tasks[0].text, experiment.tasks[0].label) == ("validation", ["text"], "label")
    assert resolve(experiment).fingerprint == resolve(resolve(experiment).experiment).fingerprint


def test_training_on_the_rows_that_are_evaluated_is_noticed():
    assert of(DESIGN).notices == []
    notices = of(changed("tasks.0", {"task": "builtin:speech", "split": "train", "limit": 64})).notices
    assert [notice.partition(" ")[0] for notice in notices] == ["A", "B"] and "64 of the 64 rows" in notices[0]


def test_a_recipes_model_depends_on_the_recipe_alone():
    recipe = parse_recipe(DESIGN["a"])
    resolved = resolve_recipe(recipe)
    assert resolved.fingerprint == of(DESIGN).a.fingerprint == of(changed("points", 3)).a.fingerprint
    assert resolved.validation.task.split == "validation" and len(resolved.validation.rows) == 512
    assert not set(resolved.training.rows.texts) & set(resolved.validation.rows.texts)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("a.base", "builtin:austen@5", "a.base"), ("a.base", "local:/nowhere", "a.base"), ("b.base", "hub:x/y", "b.base"), ("b", "hub:x/y@main", "b"),
        ("a.task.task", "builtin:speach", "a.task.task"), ("a.task.split", "dev", "a.task.split"), ("a.rows", 1e-6, "a.rows"),
        ("tasks.0.task", "builtin:speach", "tasks.0.task"), ("tasks.0.task", "hub:x/y", "tasks.0.task"), ("tasks.0.split", "dev", "tasks.0.split"),
        ("tasks.0.max_length", 5000, "tasks.0.max_length"), ("a.task.max_length", 5000, "a.task.max_length"),
        ("a.task.read", "fitted", "a.task.read"), ("a.task.answers", ["x", "y"], "a.task.answers"), ("b.task.normalised", True, "b.task.normalised"),
        ("tasks.0.task", "builtin:novel", "tasks.0.task"),
        ("labels", {"a": ["spoken"]}, "labels.a"), ("labels", {"b": ["x", "x"]}, "labels.b"), ("labels", {"b": ["joy", "grief"]}, "tasks.0.task|labels.b"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_said_at_once_and_names_the_field(field, value, named):
    question = changed(field, value)
    if named == "tasks.0.task|labels.b":
        question["labels"]["a"] = ["joy", "grief"]
    with pytest.raises(QuestionError) as told:
        of(question)
    assert told.value.field in named.split("|")


def test_two_bases_are_asked_for_labels_with_the_prompt_that_ships_for_the_data():
    resolved = of({**DESIGN, "a": "builtin:austen@0", "b": "builtin:austen@7000"})
    assert resolved.kind == "masked" and resolved.tasks[0].read == "answers" and "{mask}" in resolved.experiment.tasks[0].template


def test_two_bases_without_a_prompt_are_told_how_they_can_be_read(rows):
    with pytest.raises(QuestionError, match=r"^tasks\.0\.read: A and B have a masked .* name answers, one for each label, or read \"tokens\""):
        of({**DESIGN, "a": "builtin:austen@0", "b": "builtin:austen@7000", "tasks": [{"task": f"local:{rows}"}]})


def test_which_end_gives_the_head(saved, rows):
    tuned, base, other = saved("bert", 0), saved("bert", 1, opener=AutoModel), saved("bert", 1, labels=("x", "y", "z"))
    assert of(tiny.experiment(tuned, saved("bert", 1), rows)).heads == ["both"]
    assert of(tiny.experiment(tuned, base, rows)).heads == ["a"] and of(tiny.experiment(other, tuned, rows)).heads == ["b"]
    with pytest.raises(QuestionError, match=r"^labels\.b: .*no classification head"):
        of(tiny.experiment(tuned, base, rows, labels={"b": ["no", "yes"]}))


@pytest.mark.parametrize("points", [2, 3, 5, 13, 26, [0.5], [0.1, 0.9], [0, 1]])
def test_points_come_ends_first_then_the_middle_then_ever_finer(points):
    resolved = of({**DESIGN, "points": points, "tasks": DESIGN["tasks"] + [{"task": "builtin:speech", "split": "test", "limit": 9}]})
    order = plan.in_order(resolved)
    ts = [point.t for point in order[::2]]
    assert ts == [point.t for point in order[1::2]] and [point.task for point in order[:2]] == [0, 1]
    assert ts[:2] == [0.0, 1.0] and sorted(ts) == plan.wanted(resolved) and len(set(ts)) == len(ts)
    if isinstance(points, int) and points > 2:
        assert abs(ts[2] - 0.5) <= 0.5 / (points - 1) + 1e-9
    for count in range(2, len(ts)):
        largest_gap = max(b - a for a, b in zip(sorted(ts[:count]), sorted(ts[:count])[1:], strict=False))
        assert largest_gap <= 4 / count + 1 / (len(ts) - 1)
