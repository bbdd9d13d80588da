"""Answers made without a model, for tests of pages: responses whose loss rises in the middle, curves, distances.

``play`` is a worker that carries out jobs this way, at a pace that a test can watch; the app's own
worker stands by as long as it holds the store's lock.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np

from mcore import plan
from mcore.database import held
from mcore.evaluation import probes
from mcore.events import Done, Event, PointReady, Trained, Training, Working
from mcore.events import Resolved as ResolvedEvent
from mcore.jobs.queue import Jobs
from mcore.jobs.worker import LOCK, READY
from mcore.paths.distances import distance_key, summed
from mcore.question import Experiment, fingerprint, parse
from mcore.resolve import resolve
from mcore.resolved import Endpoint, Resolved
from mcore.store import Store
from mcore.tuning.cartography import Cartography
from mcore.tuning.followed import followed

RECIPE = {
    "base": "builtin:austen@0",
    "task": {"task": "builtin:speech"},
    "steps": 20,
    "learning_rate": 0.001,
    "head_seed": 1,
    "data_seed": 1,
}
QUESTION = {
    "version": 1, "a": RECIPE, "b": RECIPE | {"head_seed": 2, "data_seed": 2}, "points": 7,
    "tasks": [{"task": "builtin:speech", "limit": 64}],
    "probes": ["loss", "accuracy", "knowledge", "macro_f1", "calibration", "agreement", "ensemble"],
}  # fmt: skip


def question(**changes: object) -> Experiment:
    """A small question, and variations of it."""
    return parse(QUESTION | changes)


def carry_out(experiment: Experiment, store: Store, points: int | None = None) -> Resolved:
    """Put an answer, or its first ``points`` points, into the store."""
    resolved = resolve(experiment)
    for event in events(experiment, store):
        if isinstance(event, PointReady) and event.done == points:
            break
    return resolved


def events(experiment: Experiment, store: Store) -> Iterator[Event]:
    """What ``run`` would tell."""
    resolved = resolve(experiment)
    points = plan.in_order(resolved)
    yield ResolvedEvent(resolved.fingerprint, len(points), 0)
    for end in (resolved.a, resolved.b):
        if end.recipe and store.folder(end.fingerprint) is None:
            yield Working(f"preparing to train {end.side.upper()}")
            yield from _train(end, store)
    for done, point in enumerate(points, 1):
        orders = plan.orders(resolved, point.task, store)
        scores, labels = _scores(resolved, point), resolved.tasks[point.task].rows.labels
        store.put(plan.key(resolved, point, orders), plan.pack(scores), "responses")
        loss = float(probes.cross_entropy(scores, labels).mean())
        yield PointReady(
            point.task,
            point.t,
            loss,
            float(probes.accuracy(scores, labels)),
            done,
            len(points),
            0.3 * (len(points) - done),
        )
    layers = {f"bert.encoder.layer.{i}.weight": _apart(i) for i in range(4)} | {"classifier.weight": _apart(6)}
    store.put(distance_key(resolved), json.dumps(summed(layers, frozenset({"classifier.weight"}))).encode(), "distance")
    store.put(fingerprint({"timing": resolved.fingerprint}), json.dumps({"seconds": 42.0}).encode(), "timing")
    yield Done(resolved.fingerprint)


def _train(end: Endpoint, store: Store) -> Iterator[Event]:
    recipe, curve = end.recipe, []
    for step in range(1, recipe.recipe.steps + 1):
        loss = 0.3 + 0.6 * float(np.exp(-step / 8)) + 0.03 * np.cos(step * (1 if end.side == "a" else 2))
        right = 0.55 + 0.35 * step / recipe.recipe.steps if step % 5 == 0 else None
        curve.append(
            {"step": step, "loss": loss, "validation_accuracy": right, "validation_loss": right and loss + 0.05}
        )
        yield Training(
            end.side, step, recipe.recipe.steps, loss, right, right and loss + 0.05, 0.3 * (recipe.recipe.steps - step)
        )
    work, rows = store.work(end.fingerprint), followed(recipe.training.rows, recipe.recipe)
    (work / "training.json").write_text(json.dumps({"curve": curve}))
    seen = np.random.default_rng(0).random((4, len(rows))).astype(np.float32)
    Cartography(rows.ids, seen, seen > 0.4).write(work)
    store.put_folder(end.fingerprint, work, "model", {"recipe": recipe.recipe.model_dump(mode="json")})
    yield Trained(end.side, end.fingerprint, recipe.recipe.steps)


def _scores(resolved: Resolved, point: plan.Point) -> np.ndarray:
    """[examples, classes]: right for most rows at both ends, for fewer in the middle."""
    task = resolved.tasks[point.task]
    random = np.random.default_rng(7)
    hard = (
        random.normal(1.6, 1.4, len(task.rows))
        - 4.5 * point.t * (1 - point.t)
        + 0.6 * (point.t - 0.5) * random.normal(0, 1, len(task.rows))
    )
    scores = np.zeros((len(task.rows), len(task.rows.names)), np.float32)
    scores[np.arange(len(task.rows)), task.rows.labels] = hard
    return scores


def _apart(factor: float) -> SimpleNamespace:
    return SimpleNamespace(squared=1.0 + factor, dot=90.0, norm_a=91.0 + factor, norm_b=92.0 + factor, count=16_384)


def play(root: str, pause: float) -> None:
    """Carry out the jobs of the store at ``root``, ``pause`` seconds for each event, until the process is ended."""
    store, jobs = Store(root), Jobs(root)
    with held(store.root / LOCK, wait=True), held(store.root / READY, wait=True):
        jobs.abandon()
        while True:
            if (job := jobs.take(str(os.getpid()))) is None:
                time.sleep(0.1)
                continue
            for event in events(parse(job.experiment), store):
                jobs.emit(job.id, event)
                time.sleep(pause)
                if jobs.cancel_asked(job.id):
                    jobs.finish(job.id, "cancelled", "Cancelled. Everything finished so far is kept.")
                    break
            else:
                jobs.finish(job.id, "done")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("--pause", type=float, default=0.2)
    options = parser.parse_args()
    play(options.root, options.pause)
