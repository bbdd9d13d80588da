"""The designs of F5 to F7: barriers along pre-training, two tasks along it, and what is forgotten in which order."""

from __future__ import annotations

import numpy as np

from mcore.findings.finding import Answer, Asked, Finding, Panel, Part, Values
from mcore.findings.material import ANOTHER, FAMILY, POINTS, ROWS, TASK, TRAINING, barrier, question, recipe
from mcore.glossary import SMALL
from mcore.knowledge.forgetting import lost_at, order
from mcore.knowledge.held import parted
from mcore.studies.pretraining import Sweep

EARLY, MIDDLE, LATE = (0, 300), (1000,), (2000, 7000)  # steps of pre-training
OTHER = {"task": "builtin:spam-2", "max_length": 48}  # the second task; an e-mail's beginning says enough
HISTORY = {step: f"{FAMILY}@{step}" for step in (*EARLY, *MIDDLE, *LATE)}
STEEPEST, FEW = 0.2, 0.01  # of the path: over which forgetting is steepest; of the rows: what counts as some knowledge


def _sweep(seed: int) -> Sweep:
    """Two seeds of a pair; sweeps of other seeds share no model with it."""
    return Sweep(
        HISTORY, {"task": f"builtin:{TASK}"}, OTHER, seeds=(seed, seed + ANOTHER), training=TRAINING, limit=ROWS, points=POINTS
    )


def _step(step: int) -> str:
    return f"step {step:,}"


def f5() -> Finding:
    """The barrier by step of pre-training."""
    asked = [
        Asked(f"{_step(one.step)}, seed {seed}", seed, _step(one.step), one.question)
        for seed in range(1, 7) for one in _sweep(seed).asked if one.kind == "seeds"
    ]  # fmt: skip
    return Finding(
        id="F5",
        short="More pre-training, better connected",
        claim="The longer the base was pre-trained, the better the minima reached from it are linearly connected.",
        tested="From each of five steps of pre-training, two models tuned on “speech” with other seeds, and the [barrier] between them.",
        sizes="Steps 0 and 300 against 2,000 and 7,000, with 1,000 between; 100 steps of tuning, which reach 91 % even before pre-training, so that a "
              "low barrier is not that of models which have learned nothing. Six seeds, twelve models for each step, no model in two pairs.",
        tried="With one seed: 0.082 nats at step 0, 0.027 at step 7,000. A run with three seeds left it open: +0.016 nats (−0.014 to 0.046).",
        asked=tuple(asked),
        panels=(Panel("barrier", "Barrier (nats)", tuple(map(_step, HISTORY)), tuple(map(_step, EARLY)), bound=SMALL, bound_name="connected up to here"),),
        parts=(Part("barrier from the two early steps (0 and 300) beyond that from the two late ones (2,000 and 7,000)", "nats", lambda v: _mean(v, "barrier", EARLY) - _mean(v, "barrier", LATE)),),
        read=lambda asked, answer: {("barrier", asked.group): barrier(answer)},
    )  # fmt: skip


def f6() -> Finding:
    """How well two tasks are kept between a model of each, by step of pre-training."""
    asked = [
        Asked(f"{_step(one.step)}, two tasks, seed {seed}", seed, _step(one.step), one.question)
        for seed in range(1, 4) for one in _sweep(seed).asked if one.kind == "tasks" and one.seeds[0] == seed
    ]  # fmt: skip
    return Finding(
        id="F6",
        short="Pre-training pulls the regions of different tasks closer",
        claim="Pre-training pulls the regions of different tasks closer: along the path between two tasks both are kept better.",
        tested="From each of five steps of pre-training a model tuned on “speech” and one on “spam-2” with the same seed, and how well the models between "
               "them do both. Kept is the largest over t of the smaller of two shares; a share is (accuracy − that of always one label) over the "
               "same of the end which was tuned on the task. A plain trade of one for the other keeps a half.",
        sizes="Both tasks can be learned in 100 steps even before pre-training. The first 48 tokens of an e-mail say enough. Three seeds.",
        tried="“novel” as the second task: before pre-training 100 steps leave it at 18 % (always one label: 17 %), so that there is nothing to keep.",
        asked=tuple(asked),
        panels=(Panel("kept", "Kept of both tasks at the best t", tuple(map(_step, HISTORY)), tuple(map(_step, LATE)), percent=True),),
        parts=(Part("kept from the two late steps (2,000 and 7,000) beyond that from the two early ones (0 and 300)", "1", lambda v: _mean(v, "kept", LATE) - _mean(v, "kept", EARLY), percent=True),),
        read=lambda asked, answer: {("kept", asked.group): kept(answer)},
    )  # fmt: skip


def kept(answer: Answer) -> float:
    """The largest over t of the smaller of two shares: what the best model on the way keeps of either task.

    A share is (accuracy − constant baseline) / (accuracy of the tuned end − constant baseline), cut to 0 … 1.
    """
    shares = []
    for task, own in zip(answer.result["tasks"], (0, -1), strict=True):
        beyond = np.asarray(task["accuracy"]) - task["constant_baseline"]
        shares.append(np.clip(beyond / max(beyond[own], 1e-9), 0, 1) if beyond[own] > 0 else np.zeros(len(beyond)))
    return float(np.min(shares, axis=0).max())


def _mean(values: Values, panel: str, steps: tuple[int, ...]) -> float:
    return sum(values[panel, _step(step)] for step in steps) / len(steps)


def f7() -> Finding:
    """What of A's knowledge is lost where on the way to another task, and what each of two minima knows alone."""
    asked = []
    for seed in range(1, 4):
        a = recipe(seed, steps=200, cartography=1024)
        rows = {"task": f"builtin:{TASK}", "split": "train", "limit": 1024}
        asked.append(Asked(f"to another task, seed {seed}", seed, "to another task", question(a, recipe(seed, OTHER), (rows,), points=21)))
        asked.append(Asked(f"two minima, seed {seed}", seed, "two minima", question(recipe(seed), recipe(seed + ANOTHER))))
    return Finding(
        id="F7",
        short="Forgetting is gradual and begins with what was hard",
        claim="On the way to another task knowledge is forgotten gradually, first what was hard in training (low confidence, high variability); "
              "two minima of one task each hold some knowledge that the other lacks.",
        tested="A is tuned on “speech” while 1,024 of its training rows are followed, B on “spam-2”; on the way from A to B each of those rows is read "
               "with A's [head]. A row is lost where it is first predicted wrong; the rank correlation is that of this t with the row's "
               "[confidence] and [variability] in A's training. Gradual means that more than half of what is lost is lost outside the steepest "
               "fifth of the way. For the last part two models of “speech” with other seeds are compared on held-out rows; some knowledge is "
               "more than one row in a hundred.",
        sizes="A is tuned for 200 steps, so that five looks tell hard rows from easy ones; 21 points. Three seeds.",
        tried="The bounds (a half, a fifth, one in a hundred) were chosen before the run.",
        asked=tuple(asked),
        panels=(
            Panel("forgotten", "Forgotten of what A masters", percent=True),
            Panel("order", "Rank correlation with the t at which a row is lost", ("confidence", "variability"), ("confidence",)),
            Panel("alone", "Rows that one minimum alone masters", ("only A", "only B"), ("only A", "only B"), percent=True, bound=FEW, bound_name="some"),
        ),
        parts=(
            Part("what is lost outside the steepest fifth of the way beyond half of all that is lost", "1", lambda v: v["steepest", "share"], percent=True),
            Part("rank correlation of the t at which a row is lost with its confidence in training", "1", lambda v: v["order", "confidence"]),
            Part("the same with its variability, turned round", "1", lambda v: -v["order", "variability"]),
            Part("rows that the poorer of two minima alone masters, beyond one in a hundred", "1",
                 lambda v: min(v["alone", "only A"], v["alone", "only B"]) - FEW, percent=True),
        ),
        read=_forgetting,
        by_row=True,
    )  # fmt: skip


def _forgetting(asked: Asked, answer: Answer) -> Values:
    along = answer.along
    if asked.group == "two minima":
        masks = parted(along.right)
        return {("alone", "only A"): float(masks["only_a"].mean()), ("alone", "only B"): float(masks["only_b"].mean())}
    t, lost = np.asarray(along.t), lost_at(along.t, along.right)
    mastered = lost[~np.isnan(lost)]
    told: dict = {("forgotten", float(one)): float((mastered <= one).mean()) for one in t}
    told["steepest", "share"] = 0.5 - steepest(t, lost[np.isfinite(lost)])
    for measure in ("confidence", "variability"):
        found = order(along.t, along.right, along.cartography, measure, resamples=1)  # the interval is over seeds
        if found.rho is not None:
            told["order", measure] = found.rho.value
    return told


def steepest(t: np.ndarray, lost: np.ndarray, width: float = STEEPEST) -> float:
    """The largest share of what is lost that is lost within a stretch of the path of this width. ``lost``: the t of each loss."""
    return max(float(((lost > low + 1e-9) & (lost <= low + width + 1e-9)).mean()) for low in t) if len(lost) else 1.0
