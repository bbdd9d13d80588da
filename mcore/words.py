"""Sentences from numbers: what a result means, and one sentence for each word of the field.

Pure functions of result dicts; how a number or an endpoint is written stands in ``names``. A
sentence says how sure it is, and never more than the numbers carry; what to try next is always
something that can be done here and now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mcore.glossary import SMALL, glossary
from mcore.knowledge.mastered import exchanged
from mcore.names import (
    duration,
    endpoint_name,
    finite,
    nats,
    percent,
    plain,
    reader,
    same_t,
    share,
    size,
    t_text,
    task_name,
    unit,
)
from mcore.paths.ways import between, conclusion, endpoints, ends, subject, way
from mcore.question import Endpoint, Experiment, Recipe
from mcore.tuning.differing import differences

__all__ = [
    "Meaning", "differences", "duration", "endpoint_name", "glossary", "is_connected", "meaning", "nats", "percent",
    "plain", "size", "t_text", "task_name",
]  # fmt: skip

SMALL_DROP = 0.02  # of accuracy below its chord: more deserves a warning even where the loss is low
WEAK = 0.05  # of accuracy above the constant predictor: an end with less has learned next to nothing
FEW = 5  # points between the ends: with fewer a narrow barrier can hide


@dataclass(frozen=True)
class Meaning:
    """``summary`` is one or two sentences, ``next_step`` one thing to try, ``more`` further sentences."""

    summary: str
    next_step: str
    more: tuple[str, ...] = ()


def meaning(
    result: Mapping, experiment: Experiment | None = None, asked_t: Iterable[float] | None = None
) -> Meaning:
    """What one task's entry of a result says. ``asked_t`` (else the experiment's) tells a partial from a whole one."""
    there = same_t(result.get("t", ()))
    asked = there | same_t(asked_t if asked_t is not None else experiment.ts() if experiment else ())
    missing = len(asked) - len(there)
    so_far = f"{len(there)} of {len(asked)} points so far: " if missing else ""
    weak = [(name, t) for name, t in zip(ends(way(result)), (0.0, 1.0), strict=True) if _is_weak(result, t)]
    barrier = result.get("barrier")
    if not barrier:
        return Meaning(_capital(so_far + _beginning(result)), _rest(missing) if missing else _no_barrier_next(result))
    accuracy = _accuracy_sentence(result, barrier["accuracy_chord"])
    second, extra = (_weak_sentence(result, weak), (accuracy,)) if weak else (accuracy, ())
    summary = _capital(so_far + _verdict(barrier["loss_chord"], bool(missing), result)) + " " + second
    inside = between(result)
    more = (*_fitted_sentences(result), *extra, *_knowledge_sentences(inside), *_ensemble_sentences(inside))
    return Meaning(summary, _rest(missing, barrier if joins_minima(result) else None) if missing else _next(result, experiment, weak), more)


def is_connected(loss_chord: Mapping) -> bool | None:
    """True or False where the whole interval says so, None where it spans ``SMALL``."""
    if loss_chord["high"] <= SMALL:
        return True
    return False if loss_chord["low"] > SMALL else None


def joins_minima(result: Mapping) -> bool:
    """Whether a barrier says if two minima are connected: of labels read by heads that were trained, or by answers.

    ``SMALL`` is of nats of a label; what a token or a score may cost has no such bound, and a fitted head is new at each t.
    """
    return unit(result) == "nats" and result.get("head") != "fitted"


def _verdict(chord: Mapping, partial: bool, result: Mapping) -> str:
    if not joins_minima(result):
        return _rise(chord, result)
    spec, measure = way(result), "nats"
    interval = (chord["low"], chord["high"])
    value, low, high = (nats(chord[key], interval) for key in ("value", "low", "high"))
    connected, at = is_connected(chord), f"at t = {t_text(chord['t'])}"
    if connected:
        rise = "never rises" if value.strip("0.") == "" else f"never rises more than {value} {measure}"
        return f"{subject(spec)} {rise} above the chord (95 % interval {low} to {high}): {conclusion(spec, True, partial)}"
    rise = f"{subject(spec)} rises {value} {measure}"
    if connected is False:
        return f"{rise} (95 % interval {low} to {high}) above the chord {at}: {conclusion(spec, False, partial)}"
    return (
        f"{rise} above the chord {at}, but the 95 % interval ({low} to {high}) spans the {SMALL} {measure} up to which "
        "we call two minima connected: these rows do not decide it."
    )


def _rise(chord: Mapping, result: Mapping) -> str:
    """How far the loss rises, with no verdict on minima."""
    interval, measured = (chord["low"], chord["high"]), unit(result)
    value, low, high = (nats(chord[key], interval) for key in ("value", "low", "high"))
    if value.strip("0.") == "":
        rise = f"never rises above the chord (95 % interval {low} to {high} {measured})"
    else:
        in_unit = "in squared error" if measured == "squared error" else measured
        rise = f"rises {value} {in_unit} (95 % interval {low} to {high}) above the chord at t = {t_text(chord['t'])}"
    if result.get("head") != "fitted":
        return f"{subject(way(result))} {rise}."
    rise = f"read with a head that is fitted anew at each t, {subject(way(result))} {rise}"
    told = {
        True: ": what the bodies hold for this task is there all along.",
        False: ": part of what the bodies hold for this task is lost between them.",
        None: ": these rows do not decide whether the bodies lose anything between them.",
    }
    return rise + (told[is_connected(chord)] if measured == "nats" else ".")


def _beginning(result: Mapping) -> str:
    bad = [t for t, loss in zip(result.get("t", ()), result.get("loss", ()), strict=False) if not finite(loss)]
    if bad:
        return f"the loss is not a finite number at t = {t_text(bad[0])}, so there is no barrier to tell."
    there = [
        f"{name} has a {_loss_told(result, end['loss'])} and {_right_told(result, end['accuracy'])}"
        for name, t in zip(ends(way(result)), (0.0, 1.0), strict=True)
        if (end := _at(result, t))
    ]
    if not there:
        return "a barrier needs both ends and a point between them." if result.get("t") else "nothing is computed yet."
    return "; ".join(there) + ("; the way between them is still open." if len(there) == 2 else ".")


def _loss_told(result: Mapping, loss: float) -> str:
    return f"squared error of {nats(loss)}" if unit(result) == "squared error" else f"loss of {nats(loss)} {unit(result)}"


def _right_told(result: Mapping, fraction: float) -> str:
    return {
        "accuracy": f"is right on {percent(fraction)} of the rows",
        "tokens predicted right": f"predicts {percent(fraction)} of the tokens",
        "within 0.5": f"comes within 0.5 of the score on {percent(fraction)} of the rows",
    }[share(result)]


def _at(result: Mapping, t: float) -> dict[str, float] | None:
    if t not in result.get("t", ()):
        return None
    place = list(result["t"]).index(t)
    return {name: result[name][place] for name in ("loss", "accuracy")}


def _is_weak(result: Mapping, t: float) -> bool:
    end, baseline = _at(result, t), result.get("constant_baseline")
    return end is not None and baseline is not None and end["accuracy"] < baseline + WEAK


def _weak_sentence(result: Mapping, weak: Sequence[tuple[str, float]]) -> str:
    told = " and ".join(f"{name} is right on {percent(_at(result, t)['accuracy'])}" for name, t in weak)
    return (
        f"But {told} of the rows, near the {percent(result['constant_baseline'])} of always giving the same label: "
        "a barrier between models that learned nothing says little."
    )


def _accuracy_sentence(result: Mapping, drop: Mapping) -> str:
    name = {"accuracy": "Accuracy", "tokens predicted right": "The share of tokens predicted right", "within 0.5": "The share within 0.5 of the score"}[share(result)]
    value, low, high = (plain(100 * drop[key], 1) for key in ("value", "low", "high"))
    if drop["high"] <= SMALL_DROP:
        return f"{name} falls no more than {value} points below its own chord."
    return f"{name} falls {value} points ({low} to {high}) below its own chord at t = {t_text(drop['t'])}."


def _fitted_sentences(result: Mapping) -> tuple[str, ...]:
    if result.get("head") != "fitted":
        return ()
    rows = f"{result['fitted_on']:,} training rows" if result.get("fitted_on") else "training rows"
    return (
        f"A fitted head reads it: a new linear read-out at each t, fitted on {rows}, none of them evaluated. "
        "It tells what the body holds for the task, not whether two models that were tuned for it would be connected.",
    )


def _knowledge_sentences(result: Mapping) -> tuple[str, ...]:
    told = result.get("knowledge")
    if not told or len(told["mastered"]) < 3 or not {0.0, 1.0} <= set(result["t"]):
        return ()
    counts, (first, last) = exchanged(told), ends(way(result))
    sentence = (
        f"Of the {told['mastered'][0]:,} rows that {first} masters, {counts['only_a']:,} are lost for good on the way to {last}; "
        f"{counts['regained']:,} that both master are lost midway and regained; {last} masters {counts['only_b']:,} "
        f"that {first} does not."
    )
    return (sentence,)


def _ensemble_sentences(result: Mapping) -> tuple[str, ...]:
    losses = result.get("ensemble_loss") or ()
    inside = [i for i, t in enumerate(result["t"]) if 0 < t < 1 and i < len(losses) and finite(losses[i])]
    if not inside:
        return ()
    place = min(inside, key=lambda i: abs(result["t"][i] - 0.5))
    gain = result["loss"][place] - losses[place]
    name = "weight average" if way(result).kind == "linear" else "model on the path"
    better = "the ensemble" if gain > 0 else f"the {name}"
    verdict = "they do equally well" if abs(gain) <= 0.01 else f"{better} does better"
    of = "A and B" if len(endpoints(way(result))) == 2 else "both ends"
    sentence = (
        f"At t = {t_text(result['t'][place])} the {name} has a {_loss_told(result, result['loss'][place])}, the "
        f"ensemble of {of} {nats(losses[place])}: {verdict}."
    )
    return (sentence,)


def _rest(missing: int, barrier: Mapping | None = None) -> str:
    if barrier and is_connected(barrier["loss_chord"]) is False:
        return f"{missing:,} more {'point' if missing == 1 else 'points'} can only raise the barrier: let the run finish."
    if not barrier:
        return f"{missing:,} more {'point is' if missing == 1 else 'points are'} to come: let the run finish."
    return f"{missing:,} more {'point decides' if missing == 1 else 'points decide'} it: let the run finish."


def _no_barrier_next(result: Mapping) -> str:
    if any(not finite(loss) for loss in result.get("loss", ())):
        return "Try a lower learning rate, or float32 if you chose another precision."
    return "Ask for more points: at least one between the ends."


def _next(result: Mapping, experiment: Experiment | None, weak: Sequence[tuple[str, float]]) -> str:
    a, b = (experiment.a, experiment.b) if experiment else (None, None)
    recipes = isinstance(a, Recipe) and isinstance(b, Recipe)
    if weak:
        return _weak_next(result, weak, a, b)
    if experiment and a == b:
        return "A and B are the same: give B another head seed." if isinstance(a, Recipe) else "A and B are the same: change B."
    connected, inside = is_connected(result["barrier"]["loss_chord"]), sum(0 < t < 1 for t in result["t"])
    if connected is None and unit(result) == "nats":
        return f"Evaluate more rows: {len(result['rows']):,} leave the interval too wide."
    if not joins_minima(result):
        if inside < FEW:
            return f"Ask for more points: between {inside} of them a narrow barrier could hide."
        return "Read another pair on the same rows, and lay both results on one chart in the Library: which of them rises higher?"
    if connected and inside < FEW:
        return f"Ask for more points: between {inside} of them a narrow barrier could hide."
    if way(result).kind != "linear":
        return _next_way(way(result).kind, connected)
    if connected:
        if recipes and a.head_seed == b.head_seed:
            return "Give B another head seed: where the head starts is what parts two minima most often."
        if recipes:
            return "Start both from an earlier pre-training step, to see since when they are connected."
        return "Try a pair of other seeds: some fall into separate basins."
    if recipes and a.base != b.base:
        return "Start both from the same pre-training step: then they share where they come from."
    if recipes and a.task.task != b.task.task:
        return "Start both from a later pre-training step, if there is one: it brings the regions of two tasks closer."
    if recipes and a.head_seed != b.head_seed:
        return "Give both the same head seed: where the head starts is what parts two minima most often."
    if recipes and a.rows != b.rows:
        return "Train both on the same rows: the more they share, the better they connect."
    if _is_fittable(result):
        return "A curve with one bend may connect them: fit it."
    if recipes:
        return "Train both for fewer steps, to see when they part, or start from a later pre-training step."
    return "Try a pair of other seeds: some share a basin."


def _is_fittable(result: Mapping) -> bool:
    """Whether a curve can be fitted on this task: through a head that was trained, which only classes have."""
    return result.get("head") in ("both", "a", "b") and share(result) == "accuracy" and not (result.get("task") or {}).get("read")


def _next_way(kind: str, connected: bool) -> str:
    """Of a path that is not the straight one."""
    if kind in ("bezier", "chain") and not connected:
        return "Give the path one more bend, or fit it for more steps."
    return "See the straight line beside it."


def _weak_next(result: Mapping, weak: Sequence[tuple[str, float]], a: Endpoint | None, b: Endpoint | None) -> str:
    (name, t), read = weak[0], result.get("task", {}).get("read")
    if read == "fitted":
        return f"Read another task: what a linear read-out finds in {'both' if len(weak) == 2 else name} for this one is next to nothing."
    if _at(result, t)["accuracy"] < result["constant_baseline"] - WEAK:
        if read == "answers":
            return f"Try another prompt or other answers: {name} is right less often than always giving one label."
        return f"Check which label each output of {name} means: it is right less often than always giving one label."
    if isinstance({"A": a, "B": b}.get(name), Recipe):
        return f"Train {'both' if len(weak) == 2 else name} for more steps first."
    if read == "answers":
        return "Try another prompt or other answers, or a task that both know."
    return f"Read a task that {'both were' if len(weak) == 2 else name + ' was'} tuned on."


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def alternative(result: Mapping) -> str:
    """The path chart in words, for those who cannot see it."""
    pairs = [
        (t, loss, right)
        for t, loss, right in sorted(zip(result.get("t", ()), result.get("loss", ()), result.get("accuracy", ()), strict=False))
        if finite(loss)
    ]
    first, last = ends(way(result))
    along = f"Loss and accuracy along the path from {first} (t = 0) to {last} (t = 1)"
    if not pairs:
        return f"{along}: no point is computed yet."
    peak = max(pairs, key=lambda pair: pair[1])
    marks = {0.0: f"at {first}", 1.0: f"at {last}"}
    shown = sorted({pairs[0], peak, pairs[-1], *(pair for pair in pairs if pair[0] in marks)})
    told = "; ".join(
        f"{marks.get(t, f'at t = {t_text(t)}')} {_loss_told(result, loss).replace(' of ', ' ')}, {share(result)} {percent(right)}" for t, loss, right in shown
    )
    barrier = (result.get("barrier") or {}).get("loss_chord")
    counted = "1 point" if len(pairs) == 1 else f"{len(pairs)} points"
    told = f"{along}, {counted}, {len(result['rows']):,} rows{reader(result)}: {told}."
    return f"{told} {_capital(_verdict(barrier, False, result))}" if barrier else told
