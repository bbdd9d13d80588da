"""Charts over pre-training steps: what stands on them, in every state, and what a click tells."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mcore.charts.steps import (
    TITLES,
    boundary_chart,
    boundary_figure,
    boundary_told,
    steps_chart,
    steps_figure,
    steps_told,
)
from mcore.charts.theme import to_svg
from mcore.studies.bystep import BARRIERS, Along, Reading, Sampled, answer
from mcore.studies.pretraining import Sweep

STEPS = (0, 100, 1000)
TS = tuple(np.linspace(0, 1, 5).tolist())


def made(learned=True, there=None, other=True):
    """An answer whose barrier is 0.4, 0.2 and 0.1 and of which 40, 60 and 80 % is kept of both tasks in the middle."""
    sweep = Sweep({step: f"builtin:austen@{step}" for step in STEPS}, {"task": "builtin:speech"}, {"task": "builtin:novel"} if other else None, (1, 2, 3))
    drawn, readings = np.linspace(-0.01, 0.01, 101), {}
    for one in sweep.asked[:there]:
        i = STEPS.index(one.step)
        right = 0.9 if learned else 0.51
        ends = tuple(Along(TS, (0.3,) * 5, (right,) * 5, 0.5, 400, own) for own in (0.0, 1.0))
        if one.kind == "seeds":
            value = 0.4 / 2**i
            readings[one.name] = Reading(one, ends, dict.fromkeys(BARRIERS, Sampled(value, 0.5, value + drawn)))
        elif learned:
            middle = 0.4 + 0.2 * i
            kept = np.array([[1, 1, middle, 0, 0], [0, 0, middle, 1, 1]], float)
            readings[one.name] = Reading(one, ends, {}, kept, Sampled(middle, 0.5, middle + drawn), Sampled(0.5, 0.5, 0.5 + drawn))
        else:
            readings[one.name] = Reading(one, ends, {})
    return answer(sweep, readings)


def inside(spec):
    """Every dictionary of a specification."""
    if isinstance(spec, dict):
        yield spec
    for value in spec.values() if isinstance(spec, dict) else spec if isinstance(spec, list) else ():
        yield from inside(value)


def rows_of(spec):
    return [row for rows in spec.get("datasets", {}).values() for row in rows]


def test_the_axis_is_symlog_and_has_zero_and_every_step_that_is_asked():
    for told in (made(), made(there=0), made(there=4)):
        spec = steps_chart(told, "loss_chord").to_dict()
        scales = [one["scale"] for one in inside(spec) if isinstance(one.get("scale"), dict) and one["scale"].get("type") == "symlog"]
        assert scales and all(one["domain"] == [0, 1000] and one["constant"] == 100 for one in scales)
        assert any(one.get("values") == list(STEPS) for one in inside(spec))


def test_every_pair_is_a_dot_every_step_a_mean_with_its_interval():
    spec = steps_chart(made(), "loss_chord").to_dict()
    named = {row["name"]: row["y"] for row in rows_of(spec) if "learned" in row}
    assert named == {f"step {step:,}, seeds {a} and {b}": 0.4 / 2**i for i, step in enumerate(STEPS) for a, b in itertools.combinations((1, 2, 3), 2)}
    means = {row["step"]: row["y"] for row in rows_of(spec) if "pairs" in row and "y2" not in row}
    assert means == pytest.approx({0: 0.4, 100: 0.2, 1000: 0.1})
    bars = {row["step"]: (row["y"], row["y2"]) for row in rows_of(spec) if "y2" in row}
    assert bars.keys() == means.keys() and all(low < means[step] < high for step, (low, high) in bars.items())


LINKS = {f"step {step:,}, seeds 1 and 2": f"Compare?q={step}" for step in STEPS}


@pytest.mark.parametrize(("make", "of"), [(steps_chart, "loss_chord"), (steps_chart, "best"), (boundary_chart, 100)])
def test_a_click_follows_a_pairs_link_and_without_links_there_is_nothing_to_click(make, of):
    spec = make(made(), of, False, LINKS).to_dict()
    (layer,) = [one for one in inside(spec) if "href" in one.get("encoding", {})]
    (lookup,) = layer["transform"]
    assert lookup["lookup"] == "name" and lookup["from"]["fields"] == ["href"] and layer["mark"]["cursor"] == "pointer"
    assert all({"name": name, "href": href} in rows_of(spec) for name, href in LINKS.items())
    assert not [one for one in inside(make(made(), of).to_dict()) if "href" in one.get("encoding", {})]


def test_steps_that_are_still_to_come_have_ticks_and_a_partial_mean_no_interval():
    spec = steps_chart(made(there=1, other=False), "loss_chord").to_dict()
    assert [row for row in rows_of(spec) if row.keys() == {"step"}] == [{"step": step} for step in STEPS]
    assert "step 0 0.40 nats." in steps_told(made(there=1, other=False), "loss_chord")


def test_a_pair_that_has_learned_nothing_is_hollow_and_its_panel_says_so():
    told = made(learned=False)
    assert {row["learned"] for row in rows_of(steps_chart(told, "loss_chord").to_dict()) if "learned" in row} == {False}
    assert {"t": 0.5, "y": 0.5, "text": "not learned"} in rows_of(boundary_chart(told, 0).to_dict())
    assert {"t": 0.5, "y": 0.5, "text": "to come"} in rows_of(boundary_chart(made(there=0), 0).to_dict())
    assert "have not learned their tasks" in boundary_told(told, 0)


def test_a_panel_has_both_tasks_of_every_seed_and_rings_what_is_best_for_both():
    rows = rows_of(boundary_chart(made(), 1000).to_dict())
    lines = {row["line"] for row in rows if "line" in row}
    assert len(lines) == 6
    assert {"t": 0.5, "y": pytest.approx(0.8)} in [row for row in rows if row.keys() == {"t", "y"}]
    best = "the best single model keeps 80.0 % of either (95 % interval 78.9 to 81.1)."
    assert boundary_told(made(), 1000) == f"Both tasks along the line from step 1,000: {best}"


def test_in_words_it_tells_every_mean():
    assert steps_told(made(), "loss_chord").startswith("Barrier between two seeds (nats above the chord) by pre-training step, mean of the pairs: step 0 0.40")
    assert steps_told(made(there=0), "best") == "What one model on the line keeps of both tasks by pre-training step: no pair is computed yet."


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("measure", TITLES)
def test_every_measure_is_drawn_in_both_themes_and_for_print(measure, dark):
    told = made()
    assert b"<svg" in to_svg(steps_chart(told, measure, dark))
    paper = to_svg(steps_figure(told, measure)).decode()
    assert 'fill="white"' in paper and "pre-training step" in paper and "cursor" not in paper


def test_the_panels_make_one_figure():
    svg = to_svg(boundary_figure(made())).decode()
    assert all(f"step {step:,}" in svg for step in STEPS)
