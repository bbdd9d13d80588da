"""The result of an experiment as JSON values, made from what the store holds; partial as long as points are missing.

Everything here is a pure function of stored responses and of the question: no model, no torch.
"""

from __future__ import annotations

import itertools
import json

import numpy as np

from mcore import plan
from mcore.evaluation import measures, probes
from mcore.evaluation.barrier import barriers
from mcore.evaluation.measures import Measured, measured
from mcore.knowledge.mastered import knowledge
from mcore.layers import represented
from mcore.paths import curvefile, lengths
from mcore.paths.distances import distance_key
from mcore.plan import Point
from mcore.resolved import Endpoint, Resolved, ResolvedTask
from mcore.store import Store
from mcore.tasks.rows import constant_baseline
from mcore.tuning.followed import Joined, join


def collect(resolved: Resolved, store: Store) -> dict:
    """The result document (``DESIGN``: Result). ``complete`` tells whether every point is there.

    In each task ``t`` lists the points that are there of those asked for; ``barrier`` is null until
    both ends and one more are.
    """
    told = [_task(resolved, i, store) for i in range(len(resolved.tasks))]
    kept_distance, layers = store.get(distance_key(resolved)), represented.collected(resolved, store)
    return {
        "fingerprint": resolved.fingerprint,
        "experiment": resolved.experiment.model_dump(mode="json"),
        "identities": {"a": resolved.a.fingerprint, "b": resolved.b.fingerprint, "tasks": [t.rows.digest for t in resolved.tasks]},
        "complete": all(len(part["t"]) == len(resolved.experiment.ts()) for part in (*told, *([layers] if layers else []))),
        "tasks": told,
        **({"representation": layers} if layers else {}),
        "distance": json.loads(kept_distance) if kept_distance else None,
        "path": _path(resolved, kept_distance, store),
        "training": {end.side: curve for end in (resolved.a, resolved.b) if (curve := training(end, store))},
        "notices": resolved.notices,
        "timing": json.loads(store.get(plan.timing_key(resolved.fingerprint)) or "{}"),
    }


def training(end: Endpoint, store: Store) -> dict | None:
    """The curve of a trained endpoint, and what it reached on its validation rows; None for others."""
    folder = store.folder(end.fingerprint) if end.recipe else None
    if folder is None:
        return None
    curve = json.loads((folder / "training.json").read_text())["curve"]
    return {"curve": curve, "accuracy": curve[-1]["validation_accuracy"], "loss": curve[-1]["validation_loss"]}


def _path(resolved: Resolved, kept_distance: bytes | None, store: Store) -> dict | None:
    """How long the path is and where each t that is asked for lies on it; None until it is measured."""
    if resolved.route.fingerprint:
        kept = store.get(lengths.length_key(resolved))
        return json.loads(kept) | _alignment(resolved, store) | _mix(resolved, store) if kept else None
    return lengths.of_line(json.loads(kept_distance), resolved.experiment.ts()) if kept_distance else None


def _alignment(resolved: Resolved, store: Store) -> dict:
    """What permuting B's units has changed, where it was asked for."""
    folder = store.folder(resolved.route.aligned) if resolved.route.aligned else None
    return {"alignment": json.loads((folder / "alignment.json").read_text())} if folder else {}


def _mix(resolved: Resolved, store: Store) -> dict:
    """The share of B in each group of a learned mix's tensors."""
    told = curvefile.history(resolved, store) if resolved.route.spec.kind == "mix" else None
    return {"mix": told["mix"]} if told else {}


def _task(resolved: Resolved, number: int, store: Store) -> dict:
    task = resolved.tasks[number]
    orders = plan.orders(resolved, number, store)
    keys = {} if orders is None else {t: plan.key(resolved, Point(number, t), orders) for t in plan.wanted(resolved)}
    stored = store.get_many(keys.values())
    scores = {t: plan.unpack(stored[key]) for t, key in keys.items() if key in stored}
    asked = [t for t in resolved.experiment.ts() if t in scores]
    found = {t: measured(task, one) for t, one in scores.items()}
    classes, names = task.rows.kind == "classes", task.rows.names
    told = {
        "task": task.task.model_dump(mode="json"),
        "rows": task.rows.ids.tolist(),
        "measure": measures.named(task),
        "labels": list(names),
        "constant_baseline": constant_baseline(task.rows) if measures.by_label(task) else None,
        "head": resolved.heads[number],
        **({"fitted_on": len(task.fitting)} if task.fitting is not None else {}),
        "label_order": {side: order.as_json(names) for side, order in (orders or {}).items() if classes},
        "t": asked,
        "loss": [found[t].loss for t in asked],
        "accuracy": [found[t].accuracy for t in asked],
        "barrier": _barrier(found),
        **_way(resolved),
        **_flow(task, scores, asked),
    }
    return told | _probes(resolved, task, scores, asked) | _knowledge(resolved, number, asked, found, store)


def _way(resolved: Resolved) -> dict:
    """The path that is drawn, where it is not just the straight line."""
    told = resolved.experiment.path.model_dump(mode="json")
    return {} if told == {"kind": "linear", "align": "none"} else {"way": told}


def _flow(task: ResolvedTask, scores: dict[float, np.ndarray], asked: list[float]) -> dict:
    """How far the outputs have changed on the way to each t (``probes.change``), where they are probabilities of labels."""
    if not measures.by_label(task) or not asked:
        return {}
    steps = [probes.change(scores[left], scores[right]) for left, right in itertools.pairwise(asked)]
    return {"flow": np.concatenate([[0.0], np.cumsum(steps)]).tolist()}


def _barrier(found: dict[float, Measured]) -> dict | None:
    ts = sorted(t for t in found if 0 <= t <= 1)
    if len(ts) < 3 or ts[0] != 0.0 or ts[-1] != 1.0:
        return None
    return barriers(ts, np.stack([found[t].losses for t in ts]), np.stack([found[t].right for t in ts]), weights=found[0.0].weights)


def _probes(resolved: Resolved, task: ResolvedTask, scores: dict[float, np.ndarray], asked: list[float]) -> dict:
    """What the probes say of labels. Tokens and scores have none; the ensemble of two scores is their mean."""
    chosen, told, labels = set(resolved.experiment.probes), {}, task.rows.labels
    if not measures.by_label(task):
        chosen &= {"ensemble"} if task.rows.kind == "scores" else set()
    if "macro_f1" in chosen:
        told["macro_f1"] = [probes.macro_f1(scores[t], labels) for t in asked]
    if "calibration" in chosen:
        told["confidence"] = [probes.confidence(scores[t]) for t in asked]
        told["calibration_error"] = [probes.calibration_error(scores[t], labels) for t in asked]
    for side, end in (("a", 0.0), ("b", 1.0)):
        if "agreement" in chosen and end in scores:
            told[f"agreement_{side}"] = [probes.agreement(scores[t], scores[end]) for t in asked]
    if "ensemble" in chosen and {0.0, 1.0} <= scores.keys():
        mixed = [probes.ensemble(scores[0.0], scores[1.0], t) for t in asked]
        told["ensemble_loss"] = [measured(task, mix).loss for mix in mixed]
        told["ensemble_accuracy"] = [measured(task, mix).accuracy for mix in mixed]
    return told


def _knowledge(resolved: Resolved, number: int, asked: list[float], found: dict[float, Measured], store: Store) -> dict:
    task = resolved.tasks[number]
    if "knowledge" not in resolved.experiment.probes or not asked or task.read == "tokens":  # a text's tokens are right in part
        return {}
    grid = np.stack([found[t].right for t in asked])
    return {"knowledge": knowledge(asked, grid, task.rows.ids.tolist(), _cartography(resolved, number, store))}


def _cartography(resolved: Resolved, number: int, store: Store) -> tuple[str, dict] | None:
    """The training dynamics of the evaluated rows, from the endpoint that was trained on them, A first."""
    ids = resolved.tasks[number].rows.ids
    for end in (resolved.a, resolved.b):
        found = join(end, resolved.tasks[number], store)
        if isinstance(found, Joined):
            rows, times = np.unique(ids, return_counts=True)  # where splits are read together an id may name two rows
            once = set(rows[times == 1].tolist())
            known = {row: told for row, told in found.cartography.by_row().items() if row in once}
            return (end.side, known) if known else None
    return None
