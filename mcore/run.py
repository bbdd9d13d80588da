"""``run``: from a question to stored responses, told as one stream of events.

The page's worker, the command line and the tests all consume this stream. What the store has is
not computed again; what another process is computing is waited for, not repeated.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from mcore import plan
from mcore.errors import Cancelled, McoreError
from mcore.evaluation import responses
from mcore.evaluation.evaluate import check_precision, prepare
from mcore.evaluation.responses import Inputs
from mcore.events import Done, Event, PointReady, Trained, Training, Working
from mcore.events import Resolved as ResolvedEvent
from mcore.hub.remote import at_hand, fetch
from mcore.layers import represented
from mcore.layers.representing import represent
from mcore.limits import check_size
from mcore.live.blend import WeightSet, distance, gram
from mcore.live.loading import check_finite
from mcore.live.model import Live, open_live, weights_of
from mcore.live.reuse import Reuse
from mcore.models import deltas
from mcore.models.checkpoints import Checkpoint, look_at
from mcore.models.joinable import check_joinable
from mcore.paths import lengths
from mcore.paths.distances import base_key, distance_key, summed
from mcore.paths.laying import lay
from mcore.plan import Orders, Part, Point
from mcore.profile import profile
from mcore.progress import Progress
from mcore.question import Experiment, as_written, canonical
from mcore.resolve import resolve
from mcore.resolved import Endpoint, Resolved
from mcore.store import Store
from mcore.tuning.beginning import moved
from mcore.tuning.finetune import finetune

Stop = Callable[[], bool]


def run(experiment: Experiment, store: Store, stop: Stop = lambda: False, part: Part = "all") -> Iterator[Event]:
    """Answer the question; every event tells of something that is in the store already.

    ``part`` "training" ends with the two endpoints and how far they have come, and evaluates no point.

    Raises ``QuestionError`` before anything expensive, ``Cancelled`` soon after ``stop`` turns true.
    """
    began = time.monotonic()
    resolved = resolve(experiment)
    check_size(resolved, profile())  # a branch may have moved since the question was put in the queue
    check_precision(experiment.precision)
    progress = Progress(resolved, store, part)
    yield ResolvedEvent(resolved.fingerprint, len(progress.points), len(progress.points) - len(progress.pending()))
    store.put(resolved.fingerprint, canonical(as_written(experiment)).encode(), "experiment")
    yield from progress.announce()
    # Asked again: reading what is there has dropped what was damaged.
    points = part == "all" and bool(progress.pending())
    layers = part == "all" and bool(represented.pending(represented.keys(resolved), store))
    if points or layers or not _measured(resolved, store, part):
        live = yield from joined(progress, store, stop)
        laid = live if part == "training" else (yield from lay(live, progress, store, stop))
        if points:
            yield from _evaluated(laid, progress, store, stop)
        yield Working("measuring how far apart the weights are")
        _measure(live, laid, progress, store)
        if layers:
            yield from represent(laid, resolved, store, stop)
        if part == "all":
            timing = {"seconds": round(time.monotonic() - began, 3), **progress.timing()}
            store.put(plan.timing_key(resolved.fingerprint), json.dumps(timing).encode(), "timing")
    yield Done(resolved.fingerprint)


def joined(progress: Progress, store: Store, stop: Stop) -> Iterator[Event]:
    """Fetch and train what is missing; returns the live model between the two ends, on a straight line as yet."""
    resolved = progress.resolved
    for end in (resolved.a, resolved.b):  # before anything is trained
        yield from fetch(end.looked_at, end.side, stop)
        if end.recipe is None:
            check_finite(at_hand(end.source, end.side, store), end.side)
    check_joinable(*(at_hand(end.looked_at, end.side, store) for end in (resolved.a, resolved.b)))
    checkpoints = {}
    for end in (resolved.a, resolved.b):
        yield from _trained(end, progress, store, stop)
        checkpoints[end.side] = _opened(end, store)
    yield Working("reading the weights")
    spec = resolved.route.spec
    still = spec.kind != "task-vector" and spec.align == "none"  # else the backbone may move too
    return open_live(checkpoints["a"], checkpoints["b"], "b" if resolved.heads[0] == "b" else "a", store, resolved.kind, resolved.structure, still)


def _trained(end: Endpoint, progress: Progress, store: Store, stop: Stop) -> Iterator[Event]:
    """Train the endpoint if it is a recipe whose model is not there."""
    if end.recipe is None:
        return
    for event in finetune(end.recipe, store, end.side, stop):
        if isinstance(event, Training):
            event = progress.of_the_whole(event, end)
        if isinstance(event, Trained | Training) and progress.same_recipe:
            event = replace(event, endpoint="both")
        yield event


def _opened(end: Endpoint, store: Store) -> Checkpoint:
    if end.recipe is None:
        return at_hand(end.source, end.side, store)
    folder = store.folder(end.fingerprint)
    if folder is None:
        raise McoreError(f"The model of {end.side.upper()} is no longer in the store; make the store's limit larger and run it again.")
    if end.delta:
        return deltas.look_at(folder, f"local:{folder}", at_hand(end.looked_at, end.side, store), end.side)
    return look_at(folder, f"local:{folder}", end.side)


def _evaluated(live: Live, progress: Progress, store: Store, stop: Stop) -> Iterator[Event]:
    """Compute every point that is missing."""
    resolved = progress.resolved
    prepare(live.model, resolved.experiment.precision)
    inputs = [responses.prepared(live, resolved, task) for task in range(len(resolved.tasks))]
    for task in range(len(resolved.tasks)):
        if progress.orders(task) is None:
            yield Working("asking the data what each output means")
            responses.find_orders(live, resolved, task, inputs[task], store, stop)
    yield from progress.announce()
    pending = progress.pending()
    reuse = Reuse.between(live, responses.moving(live, resolved, ts)) if len(ts := {point.t for point in pending}) > 1 else None
    while pending:
        elsewhere = []
        for point in pending:
            if stop():
                raise Cancelled
            key = progress.key(point)
            with store.claim(key) as mine:
                if not mine:
                    elsewhere.append(point)
                elif not store.has([key]):
                    yield _computed(live, progress, point, inputs[point.task], reuse, store, stop)
        yield from progress.announce()
        pending = elsewhere and progress.pending()
        if pending:
            time.sleep(0.2)  # another process is computing the rest


def _computed(live: Live, progress: Progress, point: Point, inputs: Inputs, reuse: Reuse | None, store: Store, stop: Stop) -> PointReady:
    began = time.monotonic()
    scores = responses.at(live, progress.resolved, point, progress.orders(point.task), inputs, stop, reuse)
    store.put(progress.key(point), plan.pack(scores), "responses", {"t": point.t})
    progress.seconds.append(time.monotonic() - began)
    return progress.ready(point, scores)


def _measured(resolved: Resolved, store: Store, part: Part) -> bool:
    """Whether the distances are there that a part of the answer needs (reading them drops what was damaged)."""
    if part == "all":
        wanted = [distance_key(resolved), *([lengths.length_key(resolved)] if resolved.route.fingerprint else [])]
        return all(store.get(key) is not None for key in wanted)
    trained = [end for end in (resolved.a, resolved.b) if end.recipe]
    return all(store.get(base_key(end)) is not None and store.folder(end.fingerprint) for end in trained)


def _measure(live: Live, laid: Live, progress: Progress, store: Store) -> None:
    """Keep the distances that are missing: of A from B, and of each trained one from its base; and the length of the path that was laid."""
    resolved, orders = progress.resolved, progress.orders(0)
    if orders is not None and not store.has([distance_key(resolved)]):
        store.put(distance_key(resolved), json.dumps(_distance(live, resolved, orders)).encode(), "distance")
    if progress.part == "all" and resolved.route.fingerprint and orders is not None and not store.has([lengths.length_key(resolved)]):
        store.put(lengths.length_key(resolved), json.dumps(_length(laid, resolved, orders)).encode(), "length")
    for end in (resolved.a, resolved.b):
        if end.recipe and not store.has([base_key(end)]):
            store.put(base_key(end), json.dumps(_from_base(end, live, store)).encode(), "distance")


def _from_base(end: Endpoint, live: Live, store: Store) -> dict:
    """Over what the base has too; LoRA counts as the change of the weights that it makes."""
    base = at_hand(end.recipe.base, end.side, store)
    if end.delta:
        return summed(moved(_opened(end, store), end.side, store, end.recipe.kind), live.output_layer)
    start, tuned = weights_of(base, live.model, store, end.side), live.weights[end.side]
    return summed(distance(start, tuned, sorted((start.names & tuned.names) - live.output_layer)), live.output_layer)


def _distance(live: Live, resolved: Resolved, orders: Orders) -> dict:
    names, b = _shared(live, resolved, orders)
    return summed(distance(live.weights["a"], b, sorted(names)), live.output_layer)


def _length(live: Live, resolved: Resolved, orders: Orders) -> dict:
    """Of the path as it is laid, over the same tensors as the distance."""
    names, b = _shared(live, resolved, orders)
    sets = list((live.weights | {"b": b}).values())
    floating = sorted(name for name in names if live.tensors[name].dtype.is_floating_point)
    return lengths.measured(gram(sets, floating), live.path.at, resolved.experiment.ts())


def _shared(live: Live, resolved: Resolved, orders: Orders) -> tuple[set[str], WeightSet]:
    """What both ends have, and B's weights: with their output layers where every task is read with both, row by label."""
    names, b = set(live.tensors) - set(live.only), live.weights["b"]
    if set(resolved.heads) != {"both"} or not orders:
        return names - live.output_layer, b
    rows = responses.rows_of_b(orders, "both", live)
    return names, b.with_rows(live.output_layer, rows) if rows else b
