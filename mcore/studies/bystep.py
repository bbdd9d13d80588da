"""What the answers of a sweep come to, step by step of pre-training: barriers with their intervals, and how well two tasks are kept.

Everything is a function of stored responses (``read``) and of what was asked (``mcore.studies.pretraining``). Losses in nats, accuracies
and shares from 0 to 1, R resamples of the evaluated rows. No torch, no Streamlit.

The interval of a step's mean is 95 % of Student's t over its seeds and over examples (``intervals.of_pairs``): every two of n seeds
make a pair, so pairs share models, and their variance is that of leaving out one seed after the other. Added to it is the variance
over R resamples of the rows, the same rows drawn for all pairs, since all are evaluated on the same. One pair alone has the
interval over examples, and says so (``over``).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from mcore import plan
from mcore.evaluation import measures
from mcore.evaluation.barrier import chord, resampled_means
from mcore.evaluation.intervals import of_pairs
from mcore.evaluation.measures import measured
from mcore.resolved import Resolved
from mcore.store import Store
from mcore.studies.pretraining import Asked, Sweep
from mcore.tasks.rows import constant_baseline

BARRIERS = ("loss_chord", "loss_mean", "accuracy_chord")
KEPT = ("best", "average")
RESAMPLES = 500
LEARNED = 2.0  # standard errors that a tuned model must be better than always one label
MOST_EXACT = 8  # steps whose orders are all gone through for a p value


@dataclass(frozen=True)
class Sampled:
    """A number of one pair with its values over resamples of the rows [R]; ``t``: where on the line it stands."""

    value: float
    t: float
    drawn: np.ndarray

    @property
    def interval(self) -> tuple[float, float]:
        """95 % over examples; widened to the value, since a maximum leans upwards under resampling."""
        low, high = np.percentile(self.drawn, [2.5, 97.5])
        return min(float(low), self.value), max(float(high), self.value)


@dataclass(frozen=True)
class Along:
    """One task along a pair's line: means at each t; ``baseline``: the accuracy of always one label; ``own``: the t of its own end."""

    t: tuple[float, ...]
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    baseline: float
    rows: int
    own: float

    @property
    def at_its_end(self) -> float:
        return self.accuracy[self.t.index(self.own)]

    @property
    def learned(self) -> bool:
        """Whether the model that was tuned on it knows more than a constant label does."""
        right = self.at_its_end
        return right - self.baseline > LEARNED * math.sqrt(max(right * (1 - right), 1e-9) / self.rows)


@dataclass(frozen=True)
class Reading:
    """What the responses of one pair say. ``barriers``: by definition, of one task between two seeds; ``kept``: of two tasks.

    ``kept`` has at each t for either task its share (accuracy − baseline) / (accuracy of the tuned end − baseline), [2, points]:
    1 is as good as the tuned end, 0 no better than always one label. ``best``: the largest over t of the smaller of both, what
    the best single model on the line keeps of either task; ``average``: the mean over t of both shares. A plain trade of
    one for the other has 0.5 in both. None where an end has not learned its task.
    """

    asked: Asked
    tasks: tuple[Along, ...]
    barriers: Mapping[str, Sampled]
    kept: np.ndarray | None = None
    best: Sampled | None = None
    average: Sampled | None = None

    @property
    def learned(self) -> bool:
        return all(one.learned for one in self.tasks)

    def number(self, name: str) -> Sampled | None:
        """One of ``BARRIERS`` or ``KEPT``."""
        return {"best": self.best, "average": self.average}.get(name) or self.barriers.get(name)


@dataclass(frozen=True)
class Mean:
    """Of the pairs of one step. ``over``: what the interval is over, "seeds and examples" or "examples"; None while pairs are missing."""

    step: int
    value: float
    low: float | None
    high: float | None
    over: str | None
    pairs: int


@dataclass(frozen=True)
class Trend:
    """Spearman's ρ between the steps and their means; ``p``: two-sided, over all orders of so many ``steps``."""

    rho: float
    p: float
    steps: int


def read(asked: Asked, resolved: Resolved, store: Store) -> Reading | None:
    """None as long as points are missing, or where a loss is no number."""
    found = [_scores(resolved, i, store) for i in range(len(resolved.tasks))]
    if any(one is None for one in found):
        return None
    ts = np.array(plan.wanted(resolved))
    told, drawn, barriers = [], [], {}
    for i, (losses, right) in enumerate(found):
        if not np.isfinite(losses).all():
            return None
        rows = resolved.tasks[i].rows
        own = 1.0 if asked.kind == "tasks" and i == 1 else 0.0
        told.append(Along(tuple(ts.tolist()), tuple(losses.mean(1).tolist()), tuple(right.mean(1).tolist()), constant_baseline(rows), len(rows), own))
        drawn.append(resampled_means(np.concatenate([losses, right]), None, RESAMPLES, seed=i))
    if asked.kind == "seeds":
        told.append(Along(**{**vars(told[0]), "own": 1.0}))  # the same task at B's end
        barriers = _barriers(ts, told[0], drawn[0])
        return Reading(asked, tuple(told), barriers)
    if not all(one.learned for one in told):
        return Reading(asked, tuple(told), {})
    shares = np.stack([_share(np.array(one.accuracy), one) for one in told])
    resampled = np.stack([_share(block[:, len(ts) :], one) for one, block in zip(told, drawn, strict=True)])  # [2, R, points]
    return Reading(asked, tuple(told), {}, shares, _best(ts, shares, resampled), _average(ts, shares, resampled))


def mean_of(step: int, readings: Sequence[Reading], numbers: Sequence[Sampled], asked: int, barrier: bool = True) -> Mean:
    """The mean of one step's pairs; ``asked``: how many there will be. A ``barrier`` is never below zero, nor is its interval."""
    values = np.array([one.value for one in numbers])
    value, pairs = float(values.mean()), len(values)
    if pairs < asked:
        return Mean(step, value, None, None, None, pairs)
    among_rows = float(np.mean([one.drawn for one in numbers], axis=0).var(ddof=1))
    if pairs == 1:
        low, high = numbers[0].interval
        return Mean(step, value, low, high, "examples", 1)
    found = of_pairs(values, [one.asked.seeds for one in readings], among_rows)
    return Mean(step, value, max(0.0, found.low) if barrier else found.low, found.high, "seeds and examples", pairs)


def trend(steps: Sequence[int], means: Sequence[float]) -> Trend | None:
    """None for fewer than three steps, or where all means are one number."""
    from scipy.stats import rankdata, spearmanr

    if len(steps) < 3 or len(set(means)) < 2:
        return None
    told = spearmanr(steps, means)
    if len(steps) > MOST_EXACT:
        return Trend(float(told.statistic), float(told.pvalue), len(steps))
    one, other = (rankdata(values) - (len(steps) + 1) / 2 for values in (steps, means))
    seen = abs(float(one @ other))
    every = np.array(list(itertools.permutations(other)))
    return Trend(float(told.statistic), float((np.abs(every @ one) >= seen - 1e-9).mean()), len(steps))


def _scores(resolved: Resolved, number: int, store: Store) -> tuple[np.ndarray, np.ndarray] | None:
    """Losses and whether each row is right, both [points, rows] in rising t; None until every point is there."""
    task, orders = resolved.tasks[number], plan.orders(resolved, number, store)
    if orders is None or not measures.by_label(task):
        return None
    keys = [plan.key(resolved, plan.Point(number, t), orders) for t in plan.wanted(resolved)]
    stored = store.get_many(keys)
    if len(stored) < len(set(keys)):
        return None
    found = [measured(task, plan.unpack(stored[key])) for key in keys]
    return np.stack([one.losses for one in found]).astype(float), np.stack([one.right for one in found]).astype(float)


def _barriers(ts: np.ndarray, along: Along, drawn: np.ndarray) -> dict[str, Sampled]:
    loss, right = np.split(drawn, 2, axis=1)
    rises = {
        "loss_chord": (lambda one: one - chord(ts, one), along.loss, loss),
        "loss_mean": (lambda one: one - (one[..., :1] + one[..., -1:]) / 2, along.loss, loss),
        "accuracy_chord": (lambda one: chord(ts, one) - one, along.accuracy, right),
    }
    told = {}
    for name, (rise, means, resampled) in rises.items():
        found = rise(np.array(means))
        told[name] = Sampled(float(found.max()), float(ts[found.argmax()]), rise(resampled).max(axis=1))
    return told


def _share(accuracy: np.ndarray, along: Along) -> np.ndarray:
    """Of what the tuned end knows beyond the commonest label, [..., points]; its own end stands in the same array."""
    own = accuracy[..., [along.t.index(along.own)]]
    return (accuracy - along.baseline) / np.maximum(own - along.baseline, 1e-6)


def _best(ts: np.ndarray, shares: np.ndarray, resampled: np.ndarray) -> Sampled:
    both = shares.min(axis=0)
    return Sampled(float(both.max()), float(ts[both.argmax()]), resampled.min(axis=0).max(axis=1))


def _average(ts: np.ndarray, shares: np.ndarray, resampled: np.ndarray) -> Sampled:
    return Sampled(float(np.trapezoid(shares.mean(axis=0), ts)), 0.5, np.trapezoid(resampled.mean(axis=0), ts, axis=1))


def answer(sweep: Sweep, readings: Mapping[str, Reading]) -> dict:
    """All that charts, tables and files are made of, as JSON values; partial as long as pairs are missing.

    ``seeds``: of the first task, ``tasks``: of both; each has ``pairs`` (one row for each that is there) and ``measures``,
    name -> ``means`` (one for each step that has a pair) and ``trend`` (over the steps all of whose models have learned their tasks).
    """
    told = {"steps": sorted(sweep.bases), "task": dict(sweep.task), "other": sweep.other and dict(sweep.other), "asked": len(sweep.asked)}
    for kind, names in (("seeds", BARRIERS), ("tasks", KEPT)):
        of_kind = [one for one in sweep.asked if one.kind == kind]
        there = [readings[one.name] for one in of_kind if one.name in readings]
        told[kind] = {
            "pairs": [_pair(one) for one in there],
            "measures": {name: _measure(name, there, Counter(one.step for one in of_kind)) for name in names},
        }
    return told


def _pair(one: Reading) -> dict:
    a, b = one.tasks
    told = {
        "name": one.asked.name, "step": one.asked.step, "seeds": list(one.asked.seeds), "learned": one.learned, "t": list(a.t),
        "ends": [a.at_its_end, b.at_its_end], "baselines": [a.baseline, b.baseline], "rows": [a.rows, b.rows],
    }  # fmt: skip
    for name in (*BARRIERS, *KEPT):
        if (number := one.number(name)) is not None:
            low, high = number.interval
            told[name] = {"value": number.value, "low": low, "high": high, "t": number.t}
    if one.asked.kind == "tasks":
        told |= {"accuracy": [list(a.accuracy), list(b.accuracy)], "kept": None if one.kept is None else one.kept.tolist()}
    return told


def _measure(name: str, readings: Sequence[Reading], asked: Mapping[int, int]) -> dict:
    means, learned = [], []
    for step in sorted({one.asked.step for one in readings}):
        of_step = [one for one in readings if one.asked.step == step and one.number(name) is not None]
        if of_step:
            means.append(asdict(mean_of(step, of_step, [one.number(name) for one in of_step], asked[step], name in BARRIERS)))
            whole = len(of_step) == asked[step] and all(one.learned for one in of_step)
            learned += [means[-1]] if whole else []
    found = trend([one["step"] for one in learned], [one["value"] for one in learned])
    return {"means": means, "trend": asdict(found) if found else None}
