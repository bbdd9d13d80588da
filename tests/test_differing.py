"""What differs between A and B: every field has words, one line says all of it, and more than one thing is warned of."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from mcore.names import endpoint_name
from mcore.question import OF_METHOD, Recipe, parse, parse_recipe
from mcore.resolve import resolve
from mcore.tuning.differing import ADDED, FIELDS, OTHERWISE, Common, between, common, differences, warning
from mcore.tuning.schedule import on_one_way, rate_at


def recipe(**fields):
    return parse_recipe({"base": "builtin:austen@7000", "task": {"task": "builtin:speech"}, "steps": 150, **fields})


def test_every_field_of_a_recipe_has_words():
    """Whoever adds a field says here how its difference is told."""
    assert {*FIELDS, *OTHERWISE} == set(Recipe.model_fields) and set(ADDED) == set(OF_METHOD)


OTHER = {
    "base": "builtin:austen@0", "task": {"task": "builtin:novel"}, "method": "bitfit", "steps": 151, "batch_size": 31, "learning_rate": 1e-3,
    "head_seed": 2, "data_seed": 2, "rows": 0.5, "weight_decay": 0.0, "warmup": 0.2, "clip": 2.0, "cartography": 3, "stop_at": 20, "continued": [5],
    "optimizer": "sgd", "decay": "none",
}  # fmt: skip
OF_A_METHOD = {
    "rank": ("lora", 3), "alpha": ("lora", 3.0), "bottleneck": ("adapter", 3), "placement": ("adapter", "pfeiffer"), "activation": ("adapter", "relu"),
    "prefix_length": ("prefix", 3), "init_scale": ("prefix", 0.5), "delta_seed": ("lora", 9), "layers": ("bitfit", "last:1"), "train_norms": ("lora", True),
}  # fmt: skip


@pytest.mark.parametrize("field", Recipe.model_fields)
def test_each_field_alone_is_one_thing_and_stands_in_the_line(field):
    if field in OF_A_METHOD:
        method, value = OF_A_METHOD[field]
        a, b = recipe(method=method), recipe(method=method, **{field: value})
    else:
        a, b = recipe(), recipe(**{field: OTHER[field]})
    found = between(a, b)
    assert len(found) == 1 and found[0].counts == (field != "cartography") and warning(a, b) == ""
    assert differences(a, b) == f"{found[0].told}; everything else the same" and "→" in found[0].told
    assert differences(a, a) == "the same recipe: nothing differs"


@pytest.mark.parametrize(("fields", "said"), [
    ({"head_seed": 2}, ""), ({"head_seed": 2, "cartography": 3}, ""), ({"head_seed": 2, "data_seed": 2}, "Two things differ: "),
    ({"head_seed": 2, "data_seed": 2, "rows": "half-1", "optimizer": "adam"}, "Four things differ: "),
    ({"task": {"task": "builtin:novel", "limit": 9, "max_length": 30}}, ""), ({"task": {"task": "builtin:speech", "limit": 9, "max_length": 30}}, "Two things differ: "),
])  # fmt: skip
def test_more_than_one_thing_is_warned_of(fields, said):
    told = warning(recipe(), recipe(**fields))
    assert told.startswith(said) and bool(told) == bool(said)


@pytest.mark.parametrize(("a", "b"), [("hub:a/b", "hub:a/c"), ("builtin:austen@7000", None), (None, "hub:a/b")])
def test_of_what_is_no_pair_of_recipes_nothing_is_counted(a, b):
    assert warning(a or recipe(head_seed=3), b or recipe(head_seed=3)) == ""


@pytest.mark.parametrize(("a", "b", "line"), [
    ({"rows": "half-1"}, {"rows": "half-2"}, "training rows half-1 → half-2 (none in common)"),
    ({"rows": "0-0.5"}, {"rows": "0.25-0.75"}, "training rows 0-0.5 → 0.25-0.75 (50 % in common)"),
    ({"rows": 0.25}, {}, "training rows 0.25 → all (25 % in common)"),
    ({"rows": "half-1"}, {"rows": "0-0.5"}, "training rows half-1 → 0-0.5 (the same part)"),
    ({"optimizer": "sgd"}, {"optimizer": "adam"}, "optimiser SGD → Adam"),
    ({}, {"optimizer": "sgd"}, "optimiser AdamW → SGD"),
    ({}, {"decay": "none"}, "decay linear → none"),
    ({"stop_at": 50}, {}, "step 50 → 150 of one training"),
    ({"stop_at": 50}, {"stop_at": 100}, "step 50 → 100 of one training"),
    ({"stop_at": 50, "data_seed": 2}, {}, "step 50 → 150 on one schedule, data seed 2 → 1"),
    ({"stop_at": 50}, {"steps": 50}, "training steps 50 of 150 → 50, each on a schedule of its own"),
    ({}, {"steps": 50}, "training steps 150 → 50, each on a schedule of its own"),
    ({"decay": "none", "warmup": 0.0, "stop_at": 50}, {"decay": "none", "warmup": 0.0, "steps": 50}, "training steps 50 of 150 → 50 (the same steps)"),
    ({"decay": "none", "warmup": 0.0}, {"decay": "none", "warmup": 0.0, "steps": 50}, "step 150 → 50 of one training"),
    ({}, {"continued": [30]}, "step 150 → 180 of one training"),
    ({"continued": [30]}, {"steps": 180}, "training steps 150 + 30 → 180, each on a schedule of its own"),
    ({}, {"task": {"task": "builtin:speech", "read": "answers"}}, "answers with a head → in words"),
    ({"task": {"task": "builtin:speech", "read": "answers"}}, {"task": {"task": "builtin:speech", "read": "answers"}, "head_seed": 2},
     "head seed 1 → 2 (nothing in a language model starts from it)"),
    ({"task": {"task": "local:a.csv", "read": "answers", "template": "x {text} " * 20}}, {"task": {"task": "local:a.csv", "read": "answers", "template": "{text}"}},
     "task's template x {text} x {text} x {text} x {text} x {… → {text}"),
])  # fmt: skip
def test_what_differs_is_said_as_it_is_meant(a, b, line):
    assert differences(recipe(**a), recipe(**b)) == f"{line}; everything else the same"


def test_rows_in_common_are_counted_where_they_are_known(saved, rows):
    """By the rows themselves: two parts of one file, two samples, other data."""
    from transformers import AutoModel

    def asked(a, b, **of_b):
        base = {"base": f"local:{saved('bert', 5, opener=AutoModel)}", "task": {"task": f"local:{rows}", "max_length": 16}, "steps": 2}
        return resolve(parse(tiny.experiment(base | a, base | b | ({"task": base["task"] | of_b} if of_b else {}), {"task": f"local:{rows}", "split": "all"})))

    known = common(asked({"rows": "0-0.5"}, {"rows": "0.25-0.75"}))
    assert known == Common(12, 12, 6) and str(known) == "6 of 12 in common"
    resolved = asked({"rows": "half-1"}, {"rows": "half-2"})
    a, b = (end.recipe.training.rows.ids for end in (resolved.a, resolved.b))
    assert str(common(resolved)) == "none in common" and not np.intersect1d(a, b).size
    assert str(common(asked({}, {"rows": 0.25}))) == "6 in common, of 24 and 6"
    assert common(asked({}, {}, split="train")) is None
    question = asked({"rows": "half-1"}, {}, limit=20)
    told = differences(question.experiment.a, question.experiment.b, common(question))
    assert f"({common(question)})" in told and "training rows half-1 → all" in told


def test_a_checkpoint_on_the_way_is_named_as_one():
    assert endpoint_name(recipe(steps=300, stop_at=100)) == "austen@7000 tuned on speech @ step 100 of 300"
    assert endpoint_name(recipe(steps=100)) == "austen@7000 tuned on speech, 100 steps"
    assert endpoint_name(recipe(steps=300, stop_at=300)) == "austen@7000 tuned on speech, 300 of 300 steps"
    assert endpoint_name(recipe(steps=300, stop_at=100, continued=[50])) == "austen@7000 tuned on speech, 100 of 300 + 50 steps"
    assert endpoint_name(recipe(task={"task": "builtin:speech", "read": "answers"})) == "austen@7000 tuned on speech in words, 150 steps"


SOME = st.builds(
    lambda steps, part, warmup, decay, more: {"steps": steps, "stop_at": max(1, round(part * steps)), "warmup": warmup, "decay": decay, "continued": more},
    st.integers(1, 40), st.floats(0.01, 1), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.sampled_from(["linear", "none"]), st.sampled_from([None, [3], [1, 7]]),
)  # fmt: skip


@given(SOME, SOME)
def test_one_way_is_told_from_few_steps_as_from_all(a, b):
    one, other = recipe(**a), recipe(**b)
    fewer = min(one.last_step, other.last_step)
    same = all(abs(rate_at(one, step) - rate_at(other, step)) < 1e-15 for step in range(fewer))
    if on_one_way(one, other):
        assert same
    elif same:  # told apart by where a continuation begins
        begins = [[sum([r["stop_at"], *(r["continued"] or [])[:i]]) for i in range(len(r["continued"] or []))] for r in (a, b)]
        assert [step for step in begins[0] if step < fewer] != [step for step in begins[1] if step < fewer]
