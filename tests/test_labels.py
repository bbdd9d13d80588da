"""The order of labels: told by names, or found as the assignment that agrees best with the data."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcore.tasks.labels import Order, by_data, by_names, may_fit

confusions = st.integers(2, 4).flatmap(
    lambda classes: st.tuples(st.just(classes), st.integers(classes, 5), st.integers(1, 60), st.integers(0, 10**6))
)


def test_equal_names_tell_the_order_whatever_their_case_and_spacing():
    assert by_names(("Not_Entailment", "ENTAILMENT"), ("entailment", "not entailment")) == Order((1, 0), "names")
    assert by_names(("contradiction", "neutral"), ("neutral", "positive")) is None
    assert by_names(("a", "a"), ("a", "b")) is None


@given(st.permutations(["red", "green", "blue", "grey"]))
def test_names_in_any_order_are_found(outputs):
    order = by_names(tuple(outputs), ("blue", "red"))
    assert [outputs[column] for column in order.columns] == ["blue", "red"]


@given(confusions)
def test_the_order_by_data_agrees_with_most_rows_of_all_orders_or_is_the_outputs_own(shape):
    classes, outputs, rows, seed = shape
    random = np.random.default_rng(seed)
    logits, labels = random.normal(size=(rows, outputs)).astype(np.float32), random.integers(0, classes, rows)
    order = by_data(logits, labels, classes)
    said = logits.argmax(axis=1)
    agreements = {columns: float((np.array(columns)[labels] == said).mean()) for columns in permutations(range(outputs), classes)}
    assert order.agreement == pytest.approx(agreements[order.columns])
    best, second = sorted(agreements.values())[:-3:-1]
    assert order.ambiguous == (best - second < max(0.05, 2 / rows**0.5) - 1e-12)
    assert order.columns == tuple(range(classes)) if order.ambiguous else order.agreement == pytest.approx(best)


def test_outputs_without_names_are_numbered_like_labels_that_are_numbers():
    assert by_names(("LABEL_0", "LABEL_1"), ("0", "1")) == Order((0, 1), "names")
    assert by_names(("LABEL_0", "LABEL_1"), ("1", "2")) is None


@given(st.permutations(range(4)), st.integers(0, 10**6))
def test_a_good_model_with_its_outputs_in_any_order_is_read_right(order, seed):
    random = np.random.default_rng(seed)
    labels = np.arange(200) % 4
    right = np.eye(4)[labels] * 3 + random.normal(size=(200, 4)) * 0.3
    found = by_data(right[:, order], labels, 4)
    assert [order[column] for column in found.columns] == [0, 1, 2, 3]
    assert found.source == "data" and not found.ambiguous and found.agreement > 0.95


def test_a_model_that_says_one_thing_leaves_the_order_open():
    assert by_data(np.tile([1.0, 0.0], (50, 1)), np.arange(50) % 2, 2).ambiguous


def test_a_head_fits_a_task_by_its_names_or_by_its_count_where_they_say_nothing():
    assert may_fit(("yes", "no", "maybe"), ("no", "yes"))
    assert may_fit(("LABEL_0", "LABEL_1"), ("ham", "spam")) and may_fit(("a", "b"), ("0", "1"))
    assert not may_fit(("ham", "spam"), ("spoken", "narrated"))
    assert not may_fit(("LABEL_0", "LABEL_1"), ("a", "b", "c")) and not may_fit(None, ("a", "b"))


def test_the_result_names_each_output_in_the_order_of_the_outputs():
    told = Order((2, 0), "data", 0.9, False).as_json(("ham", "spam"))
    assert told == {"names": ["spam", None, "ham"], "from": "data", "agreement": 0.9, "ambiguous": False}
