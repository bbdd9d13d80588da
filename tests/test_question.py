"""The question: what it accepts, what it answers to everything else, and what it is equal to."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from mcore.errors import QuestionError
from mcore.question import MOST_BYTES, MOST_POINTS, Experiment, as_written, canonical, fingerprint, parse, parse_recipe

RECIPE = {"base": "builtin:austen@7000", "task": {"task": "builtin:speech"}, "method": "full", "steps": 200,
          "batch_size": 32, "learning_rate": 0.0005, "head_seed": 1, "data_seed": 1}  # fmt: skip
DESIGN = {
    "version": 1,
    "a": RECIPE,
    "b": {**RECIPE, "head_seed": 2, "data_seed": 2},
    "tasks": [{"task": "builtin:speech", "limit": 512, "sample_seed": 0}],
    "path": {"kind": "linear"},
    "points": 26,
    "probes": ["loss", "accuracy", "knowledge"],
    "precision": "float32",
}
LEAST = {"version": 1, "a": "builtin:austen", "b": "builtin:austen@0", "tasks": [{"task": "builtin:speech"}]}
NOTHING = object()


def changed(path: str, value: object, of: dict = DESIGN) -> dict:
    """A copy with the value at a dotted path set, or taken away."""
    copy = json.loads(json.dumps(of))
    *above, last = path.split(".")
    at = copy
    for part in above:
        at = at[int(part)] if isinstance(at, list) else at[part]
    if value is NOTHING:
        del at[last]
    else:
        at[int(last) if isinstance(at, list) else last] = value
    return copy


def test_the_example_of_the_contract_is_a_question():
    experiment = parse(DESIGN)
    assert len(experiment.ts()) == 26 and experiment.a.head_seed == 1


def test_everything_but_version_ends_and_tasks_has_a_default():
    experiment = parse(LEAST)
    assert (experiment.points, experiment.precision, experiment.path.kind) == (26, "float32", "linear")
    assert list(experiment.probes) == ["loss", "accuracy", "knowledge"]
    for field in LEAST:
        with pytest.raises(QuestionError, match=rf"^{field}: it is missing"):
            parse(changed(field, NOTHING, LEAST))


def test_text_bytes_and_values_are_read_alike():
    text = json.dumps(DESIGN)
    assert parse(text) == parse(text.encode()) == parse(DESIGN) == parse(parse(DESIGN))


def test_a_question_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        parse(DESIGN).points = 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2), ("version", "1"), ("version", None),
        ("a", 5), ("a", None), ("a", "austen"), ("a", "builtin:"), ("a", "local: "), ("a", "ftp:x"), ("a", []), ("a", "local:" + "x" * 2000),
        ("a.base", "austen"), ("a.task", "builtin:speech"), ("a.task", NOTHING), ("a.base", NOTHING), ("a.method", "ia3"), ("a.rank", 4),
        ("a.steps", 0), ("a.steps", 1.5), ("a.steps", "many"), ("a.steps", 10**9), ("a.batch_size", 0), ("a.learning_rate", 0),
        ("a.learning_rate", -1), ("a.learning_rate", math.nan), ("a.learning_rate", math.inf), ("a.head_seed", -1), ("a.data_seed", 2**40),
        ("a.rows", "half-3"), ("a.rows", 0), ("a.rows", 1.5), ("a.warmup", 2), ("a.clip", 0), ("a.seed", 1), ("b.task.task", "speech"),
        ("tasks", []), ("tasks", {}), ("tasks", [LEAST["tasks"][0]] * 9), ("tasks.0", "builtin:speech"), ("tasks.0.task", NOTHING),
        ("tasks.0.limit", 0), ("tasks.0.limit", 10**9), ("tasks.0.limit", 1.5), ("tasks.0.sample_seed", -1), ("tasks.0.max_length", 1),
        ("tasks.0.text", ["a", "b", "c"]), ("tasks.0.text", []), ("tasks.0.colour", "red"),
        ("path", "linear"), ("path.kind", "spiral"), ("path.align", "magic"), ("path.bends", 2),
        ("points", 10_000_000), ("points", 1), ("points", -3), ("points", 2.5), ("points", "26"), ("points", True), ("points", []),
        ("points", [0, 2]), ("points", [0, math.nan]), ("points", [0, "1"]), ("points", [0.5] * (MOST_POINTS + 1)), ("points", None), ("points", {}),
        ("probes", ["beauty"]), ("probes", "loss"), ("probes", None), ("precision", "float16"), ("labels", {"c": ["x"]}), ("labels", {"a": "x"}),
        ("colour", "red"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_in_one_sentence(field, value):
    with pytest.raises(QuestionError) as told:
        parse(changed(field, value))
    sentence = str(told.value)
    assert sentence.startswith(field.split(".")[0]) and told.value.field.startswith(field.partition(".0")[0].split(".")[0])
    assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 400
    assert "Input" not in sentence and "pydantic" not in sentence and "function-" not in sentence


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [("a.steps", 0, "a.steps"), ("tasks.0.limit", 0, "tasks.0.limit"), ("b.task.task", "speech", "b.task.task"), ("a.rows", "half-3", "a.rows"),
     ("tasks.0.text", ["a", "b", "c"], "tasks.0.text"), ("path.kind", "spiral", "path.kind"), ("a.seed", 1, "a.seed"), ("probes", ["beauty"], "probes.0"),
     ("tasks.0.colour", "red", "tasks.0.colour"), ("points", [0, 2], "points")],
)  # fmt: skip
def test_the_field_is_named_as_its_author_wrote_it(field, value, named):
    with pytest.raises(QuestionError) as told:
        parse(changed(field, value))
    assert told.value.field == named


def test_an_unknown_field_is_answered_with_those_that_are_known():
    with pytest.raises(QuestionError, match="head_seed"):
        parse(changed("a.seed", 1))
    with pytest.raises(QuestionError, match="sample_seed"):
        parse(changed("tasks.0.seed", 1))
    with pytest.raises(QuestionError, match="max_length"):
        parse(changed("a.task.seed", 1))
    with pytest.raises(QuestionError, match="precision"):
        parse(changed("colour", 1))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "3", '"x"', '{"version": NaN}', "[" * 100_000, '{"a":' * 100_000, b"\xff\xfe", " " * (MOST_BYTES + 1),
     json.dumps(DESIGN)[:-1], json.dumps(changed("points", math.nan)), '{"version": 1e999}', "\ud800"],
)  # fmt: skip
def test_what_is_no_json_object_is_no_question(text):
    with pytest.raises(QuestionError) as told:
        parse(text)
    assert "\n" not in str(told.value) and len(str(told.value)) < 400


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["builtin:austen", "linear", "loss", "all"]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from([*Experiment.model_fields, *RECIPE, "text", "kind"]), inside, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.sampled_from([*DESIGN, "a.steps", "a.base", "a.task", "a.rows", "tasks.0", "tasks.0.text", "tasks.0.task", "path.kind", "labels"]), values)
def test_whatever_stands_in_a_field_it_is_a_question_or_a_question_error(field, value):
    try:
        experiment = parse(changed(field, value))
    except QuestionError as error:
        assert "\n" not in str(error)
    else:
        assert parse(canonical(experiment)) == experiment


@given(st.integers(2, MOST_POINTS))
def test_a_count_of_points_is_evenly_spaced_with_both_ends(count):
    ts = parse(changed("points", count)).ts()
    assert len(ts) == count and ts[0] == 0.0 and ts[-1] == 1.0
    assert all(later - earlier == pytest.approx(1 / (count - 1)) for earlier, later in pairwise(ts))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_a_list_of_points_is_taken_rising_and_once(points):
    ts = parse(changed("points", points)).ts()
    assert ts == sorted(set(points)) and len(set(ts)) == len(ts)


def test_equal_questions_have_equal_canonical_forms_however_they_were_written():
    backwards = {key: DESIGN[key] for key in reversed(DESIGN)}
    explicit = {**LEAST, "points": 26, "precision": "float32", "path": {"kind": "linear"}}
    assert canonical(parse(backwards)) == canonical(parse(DESIGN))
    assert fingerprint(parse(explicit)) == fingerprint(parse(LEAST))
    assert fingerprint(parse(DESIGN)) != fingerprint(parse(changed("a.head_seed", 3)))
    assert len(fingerprint(parse(DESIGN))) == 32


def test_the_defaults_of_version_1_never_change():
    """A link leaves out what its author left out: a changed default would change what old links mean."""
    assert fingerprint(parse({**LEAST, "a": {"base": "builtin:austen@0", "task": {"task": "builtin:speech"}}})) == "4e8141bca02682f645e18786e9fa92b6"


def test_what_was_written_is_given_back_without_defaults():
    assert as_written(parse(DESIGN)) == DESIGN
    assert as_written(parse(LEAST)) == LEAST


def test_a_recipe_is_checked_like_a_question():
    assert parse_recipe(RECIPE).steps == 200
    with pytest.raises(QuestionError, match=r"^steps: "):
        parse_recipe({**RECIPE, "steps": 0})
    with pytest.raises(QuestionError, match=r"^seed: .*head_seed"):
        parse_recipe({**RECIPE, "seed": 0})
    with pytest.raises(QuestionError, match=r"^recipe: "):
        parse_recipe("[]")


def test_errors_of_an_experiment_made_by_the_tests_helper_are_none():
    assert parse(tiny.experiment("builtin:austen", "builtin:austen@0", {"task": "builtin:speech"}))
