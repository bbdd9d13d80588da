"""What a question will cost, told before it is asked."""

from __future__ import annotations

from dataclasses import replace

from mcore.estimate import cost
from mcore.presets import first_question
from mcore.question import as_written, parse
from mcore.resolve import resolve

RATE = 100e9
NOTHING, BOTH = {"a": False, "b": False}, {"a": True, "b": True}


def asked(**changes):
    return resolve(parse(as_written(first_question()) | changes))


def test_what_is_there_costs_nothing():
    done = cost(asked(), BOTH, {}, RATE)
    assert done.seconds == 0


def test_points_cost_by_their_number_and_rows_and_trainings_by_their_steps():
    few, many = (cost(asked(), BOTH, {0: points}, RATE).evaluating for points in (5, 10))
    assert many == 2 * few
    small, large = (cost(asked(tasks=[{"task": "builtin:speech", "limit": limit}]), BOTH, {0: 5}, RATE).evaluating for limit in (100, 400))
    assert 3 < large / small < 5
    one, two = (cost(asked(), trained, {}, RATE).training for trained in ({"a": True, "b": False}, NOTHING))
    assert two == 2 * one > 0


def test_weights_whose_shapes_are_not_known_yet_cost_about_as_much():
    resolved = asked(a="builtin:austen@0", b="builtin:austen@7000", tasks=[{"task": "builtin:speech", "read": "fitted", "limit": 100}])
    closed = replace(resolved, **{side: replace(end, source=replace(end.source, tensors={})) for side, end in (("a", resolved.a), ("b", resolved.b))})
    known, unread = (cost(one, BOTH, {0: 5}, RATE).evaluating for one in (resolved, closed))
    assert known < unread < 2.5 * known


def test_one_recipe_at_both_ends_is_trained_once():
    written = as_written(first_question())
    assert cost(asked(b=written["a"]), NOTHING, {}, RATE).training == cost(asked(), {"a": True, "b": False}, {}, RATE).training


def test_a_faster_machine_takes_less_time_and_training_takes_more_memory():
    assert cost(asked(), BOTH, {0: 13}, 2 * RATE).seconds < cost(asked(), BOTH, {0: 13}, RATE).seconds
    assert cost(asked(), NOTHING, {}, RATE).memory > cost(asked(), BOTH, {0: 13}, RATE).memory > 400_000_000


def test_a_fit_costs_about_what_as_many_steps_of_training_do_and_nothing_once_it_is_there():
    curve = asked(path={"kind": "bezier", "steps": 150, "batch_size": 32})
    assert cost(curve, BOTH, {}, RATE).seconds == 0
    fit, line = cost(curve, BOTH, {}, RATE, fitted=False), cost(asked(), {"a": True, "b": False}, {}, RATE)
    assert 0.3 * line.training < fit.training < 1.5 * line.training and fit.memory > cost(curve, BOTH, {}, RATE).memory


def test_a_delta_costs_less_than_everything_in_time_and_in_memory():
    written = as_written(first_question())
    both = {side: written[side] | {"method": "adapter"} for side in "ab"}
    whole, delta, mixed = (cost(asked(**ends), NOTHING, {}, RATE) for ends in ({}, both, {"a": written["a"], "b": written["b"] | {"method": "bitfit"}}))
    assert 0.6 * whole.training < delta.training < mixed.training < whole.training
    assert delta.memory < mixed.memory == whole.memory
