"""A sweep over pre-training: what it asks, and what its stored answers come to, on a made-up history of tiny models."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections import Counter

import numpy as np
import pytest
import tiny
from scipy.stats import permutation_test, spearmanr
from transformers import AutoModel

from mcore import events
from mcore.errors import QuestionError
from mcore.question import parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.store import Store
from mcore.studies import bystep, steps_told
from mcore.studies.bystep import Along, Reading, Sampled, answer, mean_of, read, trend
from mcore.studies.history import history
from mcore.studies.pretraining import MOST_CHOSEN, Asked, Sweep
from mcore.studies.studying import run_study

SPEECH, NOVEL = {"task": "builtin:speech"}, {"task": "builtin:novel"}
AUSTEN = history("builtin:austen").steps


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """A history of three random models in folders by step, and two tasks that they can learn."""
    above = tmp_path_factory.mktemp("history")
    for step in (0, 10, 200):
        tiny.save(above / f"step-{step}", "bert", step + 5, opener=AutoModel)
    tasks = [{"task": f"local:{tiny.learnable(above / f'{name}.csv', rows=60, seed=seed)}", "max_length": 16} for seed, name in enumerate(("one", "two"))]
    return history(f"local:{above}"), tasks


@pytest.fixture(scope="module")
def sweep(made_up):
    known, (one, two) = made_up
    return Sweep(known.bases([0, 200]), one, two, (1, 2, 3), {"steps": 30, "batch_size": 16, "learning_rate": 0.01}, limit=40, points=5)


@pytest.fixture(scope="module")
def answered(sweep, tmp_path_factory):
    """The sweep carried out, and what its job told."""
    store = Store(tmp_path_factory.mktemp("answered"))
    return store, list(run_study(sweep.study, store))


def readings(sweep, store):
    found = {one.name: read(one, resolve(one.question), store) for one in sweep.asked}
    return {name: one for name, one in found.items() if one}


def test_each_step_has_a_pair_for_every_two_seeds_and_for_each_seed_of_two_tasks():
    sweep = Sweep({0: AUSTEN[0], 100: AUSTEN[100]}, SPEECH, NOVEL, (1, 2, 3))
    assert Counter((one.step, one.kind) for one in sweep.asked) == {(step, kind): 3 for step in (0, 100) for kind in ("seeds", "tasks")}
    assert [one.seeds for one in sweep.asked if one.step == 0] == [(1, 2), (1, 3), (2, 3), (1, 1), (2, 2), (3, 3)]
    assert len(sweep.study.questions) == 12
    for one in sweep.asked:
        a, b = one.question.a, one.question.b
        assert a.base == b.base == AUSTEN[one.step] and (a.head_seed, b.head_seed) == (a.data_seed, b.data_seed) == one.seeds
        assert (b.task.task, len(one.question.tasks)) == (("builtin:novel", 2) if one.kind == "tasks" else ("builtin:speech", 1))


def test_what_a_sweep_says_of_training_and_rows_is_in_every_question():
    sweep = Sweep({0: AUSTEN[0]}, SPEECH | {"max_length": 32}, None, (4, 7), {"steps": 9, "learning_rate": 0.01}, limit=20, points=7)
    (one,) = sweep.asked
    assert one.name == "step 0, seeds 4 and 7" and one.question.points == 7
    assert (one.question.tasks[0].limit, one.question.tasks[0].max_length, one.question.a.task.max_length) == (20, 32, 32)
    assert (one.question.a.steps, one.question.a.learning_rate, one.question.a.batch_size) == (9, 0.01, 32)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"bases": {}}, "steps"), ({"bases": dict.fromkeys(range(MOST_CHOSEN + 1), AUSTEN[0])}, "steps"), ({"seeds": (1,)}, "seeds"), ({"seeds": (1, 1)}, "seeds"),
        ({"other": SPEECH}, "other"), ({"points": 2}, "points"), ({"training": {"steps": 0}}, "a.steps"), ({"task": {"task": "speech"}}, "a.task.task"),
    ],
)  # fmt: skip
def test_what_is_no_sweep_is_refused_by_name(changes, field):
    with pytest.raises(QuestionError) as wrong:
        made = Sweep(**{"bases": {0: AUSTEN[0]}, "task": SPEECH, **changes})
        assert made.asked
    assert wrong.value.field == field


def test_each_model_is_trained_once_however_many_pairs_it_is_in(sweep, answered):
    _, told = answered
    trained = [event for event in told if isinstance(event, events.Trained) and event.steps]
    assert len(trained) == 2 * 3 * 2  # steps, seeds, tasks
    assert [event.name for event in told if isinstance(event, events.Asked)] == [one.name for one in sweep.asked]


def test_a_barrier_is_that_of_the_result_and_its_ends_are_those_of_the_line(sweep, answered):
    store, _ = answered
    found = readings(sweep, store)
    for one in (one for one in sweep.asked if one.kind == "seeds"):
        told = collect(resolve(one.question), store)["tasks"][0]
        for name in bystep.BARRIERS:
            assert found[one.name].barriers[name].value == pytest.approx(told["barrier"][name]["value"], abs=1e-9)
            assert found[one.name].barriers[name].t == told["barrier"][name]["t"]
        a, b = found[one.name].tasks
        assert (a.at_its_end, b.at_its_end) == (told["accuracy"][0], told["accuracy"][-1])


def test_what_is_kept_of_two_tasks_is_by_hand_the_share_above_always_one_label(sweep, answered):
    store, _ = answered
    checked = 0
    for one in (one for one in sweep.asked if one.kind == "tasks"):
        found = read(one, resolve(one.question), store)
        first, second = collect(resolve(one.question), store)["tasks"]
        if not found.learned:
            assert found.kept is None and found.best is None
            continue
        kept = [
            [(right - task["constant_baseline"]) / (task["accuracy"][own] - task["constant_baseline"]) for right in task["accuracy"]]
            for task, own in ((first, 0), (second, -1))
        ]
        assert np.allclose(found.kept, kept) and found.kept[0, 0] == found.kept[1, -1] == 1
        assert found.best.value == pytest.approx(max(min(pair) for pair in zip(*kept, strict=True)))
        assert found.average.value == pytest.approx(np.trapezoid(np.mean(kept, axis=0), found.tasks[0].t))
        low, high = found.best.interval
        assert low <= found.best.value <= high
        checked += 1
    assert checked  # the tiny models do learn these tasks from one base or the other


def test_what_is_missing_is_not_read_and_the_answer_is_partial(sweep, answered, store):
    whole, _ = answered
    first = sweep.asked[0]
    assert read(first, resolve(first.question), store) is None
    list(run_study(type(sweep.study)({first.name: first.question}), store))
    found = readings(sweep, store)
    assert list(found) == [first.name]
    told = answer(sweep, found)
    assert len(told["seeds"]["pairs"]) == 1 and told["tasks"]["pairs"] == [] and told["asked"] == 12
    (mean,) = told["seeds"]["measures"]["loss_chord"]["means"]
    assert mean["low"] is None and mean["over"] is None and mean["value"] == readings(sweep, whole)[first.name].barriers["loss_chord"].value


def test_the_answer_is_plain_values_with_every_pair_and_mean(sweep, answered):
    store, _ = answered
    told = json.loads(json.dumps(answer(sweep, readings(sweep, store)), allow_nan=False))
    assert told["steps"] == [0, 200] and len(told["seeds"]["pairs"]) == len(told["tasks"]["pairs"]) == 6
    for name in bystep.BARRIERS:
        means = told["seeds"]["measures"][name]["means"]
        assert [one["step"] for one in means] == [0, 200] and all(one["over"] == "seeds and examples" and one["pairs"] == 3 for one in means)
        for one in means:
            values = [pair[name]["value"] for pair in told["seeds"]["pairs"] if pair["step"] == one["step"]]
            assert one["value"] == pytest.approx(np.mean(values)) and 0 <= one["low"] <= one["value"] <= one["high"]
    assert told["seeds"]["measures"]["loss_chord"]["trend"] is None  # of two steps there is none


def test_the_files_hold_every_pair_and_the_questions_can_be_asked_again(sweep, answered):
    store, _ = answered
    told = answer(sweep, readings(sweep, store))
    rows = list(csv.DictReader(io.StringIO(steps_told.csv_of(told).decode())))
    assert len(rows) == 12 and [float(row["loss_chord"]) for row in rows[:6]] == [one["loss_chord"]["value"] for one in told["seeds"]["pairs"]]
    asked = [parse(line) for line in steps_told.questions_jsonl(sweep).splitlines()]
    assert asked == [one.question for one in sweep.asked]
    names: dict = {}
    exec(steps_told.snippet(sweep).partition("store = Store()")[0], names)  # what it defines is this sweep
    assert names["sweep"] == sweep


def sampled(value, drawn=None):
    return Sampled(value, 0.5, np.full(50, value) if drawn is None else drawn)


def reading(value, seeds, step=0, kind="seeds", drawn=None, right=0.9):
    asked = Asked(f"{step} {seeds}", kind, step, seeds, parse(tiny.experiment("builtin:austen@0", "builtin:austen@0", SPEECH)))
    ends = tuple(Along((0.0, 1.0), (0.1, 0.1), (right, right), 0.5, 400, own) for own in (0.0, 1.0))
    return Reading(asked, ends, {"loss_chord": sampled(value, drawn)})


def mean(values, pairs, kind="seeds", drawn=None):
    made = [reading(value, pair, kind=kind, drawn=drawn) for value, pair in zip(values, pairs, strict=True)]
    return mean_of(0, made, [one.barriers["loss_chord"] for one in made], len(values))


def test_the_interval_of_a_mean_holds_seeds_and_the_examples_that_all_pairs_share():
    pairs = [(1, 2), (1, 3), (2, 3)]
    plain = mean((0.1, 0.4, 0.25), pairs)
    noisy = mean((0.1, 0.4, 0.25), pairs, drawn=0.25 + 0.1 * np.random.default_rng(0).normal(size=2000))
    assert plain.over == noisy.over == "seeds and examples" and plain.value == noisy.value == pytest.approx(0.25)
    assert noisy.high > plain.high and noisy.low == plain.low == 0.0  # a barrier is never below zero
    same = mean((0.25, 0.25, 0.25), pairs, drawn=0.25 + 0.1 * np.random.default_rng(0).normal(size=20_000))
    assert same.high - 0.25 == pytest.approx(1.96 * 0.1, rel=0.03)  # the same rows in all pairs: no three times as many


def test_one_pair_has_the_interval_over_examples_alone():
    found = mean((0.2,), [(1, 2)], drawn=np.linspace(0.1, 0.3, 1001))
    assert found.over == "examples" and (found.low, found.high) == pytest.approx((0.105, 0.295))


def test_a_trend_is_spearmans_with_the_exact_p_of_all_orders():
    steps, means = [0, 100, 300, 1000, 7000], [0.5, 0.2, 0.3, 0.1, 0.05]
    found = trend(steps, means)
    by_scipy = permutation_test((steps,), lambda one: spearmanr(one, means).statistic, permutation_type="pairings", n_resamples=math.inf)
    assert found.rho == pytest.approx(-0.9) and found.p == pytest.approx(by_scipy.pvalue)
    assert trend(steps, [5, 4, 3, 2, 1]).p == pytest.approx(2 / 120)
    assert trend(steps[:2], means[:2]) is None and trend(steps, [0.1] * 5) is None
    assert trend(list(range(12)), list(range(12))).rho == 1


def test_steps_whose_models_have_learned_nothing_are_left_out_of_the_trend_and_said():
    steps = {0: 0.0, 10: 0.5, 20: 0.4, 30: 0.3}
    sweep = Sweep(dict.fromkeys(steps, AUSTEN[0]), SPEECH, None, (1, 2, 3))
    pairs = {}
    for step, value in steps.items():
        for one, seeds in zip((one for one in sweep.asked if one.step == step), itertools.combinations((1, 2, 3), 2), strict=True):
            made = reading(value, seeds, step, right=0.52 if step == 0 else 0.9)
            pairs[one.name] = Reading(one, made.tasks, dict.fromkeys(bystep.BARRIERS, made.barriers["loss_chord"]))
    told = answer(sweep, pairs)
    assert [one["learned"] for one in told["seeds"]["pairs"]] == [False] * 3 + [True] * 9
    assert told["seeds"]["measures"]["loss_chord"]["trend"] == {"rho": -1.0, "p": pytest.approx(1 / 3), "steps": 3}
    said = " ".join(steps_told.barrier_told(told, "loss_chord"))
    assert "From step 0 a tuned model is hardly better than always one label (accuracy from 52.0 %)" in said
    assert "3 steps are too few to tell a trend from chance" in said


def told_of(means, kind="seeds", measure="loss_chord"):
    """An answer with these means (step, value) and nothing else."""
    rows = [{"step": step, "value": value, "low": value / 2, "high": value * 2, "over": "seeds and examples", "pairs": 3} for step, value in means]
    found = trend([step for step, _ in means], [value for _, value in means])
    names = {name: {"means": rows, "trend": found and vars(found)} for name in (*bystep.BARRIERS, *bystep.KEPT)}
    return {"steps": [step for step, _ in means], "asked": 0, **{of: {"pairs": [], "measures": names} for of in ("seeds", "tasks")}}


def test_what_it_says_follows_the_numbers():
    falls = told_of([(0, 0.5), (100, 0.4), (300, 0.3), (1000, 0.2), (7000, 0.1)])
    assert steps_told.barrier_told(falls, "loss_chord") == [
        "At step 0 the barrier between two seeds is 0.50 nats (95 % interval 0.25 to 1.00); at step 7,000 it is 0.10 nats (95 % interval 0.05 to 0.20).",
        "The barrier falls as pre-training goes on (Spearman's ρ −1.00 over 5 steps, p = 0.017).",
    ]
    rises = told_of([(0, 0.1), (100, 0.2), (300, 0.3), (1000, 0.4), (7000, 0.5)])
    assert "The barrier rises" in steps_told.barrier_told(rises, "loss_mean")[1] and "More is lost" in steps_told.barrier_told(rises, "accuracy_chord")[1]
    assert steps_told.kept_told(rises)[1].startswith("More is kept") and "keeps of both tasks is 10.0 % (95 % interval 5.0 to 20.0)" in steps_told.kept_told(rises)[0]
    assert steps_told.kept_told(falls, "average")[1].startswith("Less is kept")
    mixed = told_of([(0, 0.3), (100, 0.4), (300, 0.2), (1000, 0.5), (7000, 0.1)])
    assert steps_told.barrier_told(mixed, "loss_chord")[1].startswith("No trend stands out from chance")
    assert steps_told.barrier_told(told_of([]), "loss_chord") == ["Three steps or more whose models have learned the task are needed to speak of a trend."]
