"""What a resolved question needs from the store: a key for every point, and what is there already.

The key of a response holds everything that can change it: the weights and their coefficients, the
head and the order of its labels, the rows, the tokenizer, the sequence length, the precision.
No torch: the page reads results through this.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Literal

from safetensors.numpy import load, save

from mcore.question import canonical, fingerprint
from mcore.resolved import EVALUATION_VERSION, Endpoint, Resolved, ResolvedTask
from mcore.store import Store
from mcore.tasks.labels import Order, by_names

Part = Literal["all", "training", "export"]  # of an answer: everything, the endpoints alone, or the model at one point, saved
Orders = dict[str, Order]  # side -> order, for the sides that give the head


@dataclass(frozen=True)
class Point:
    """One (task, t) of an experiment."""

    task: int
    t: float


def wanted(resolved: Resolved) -> list[float]:
    """Every t that is computed, rising: those asked for, and the two ends, which the chord needs."""
    return sorted({0.0, 1.0, *resolved.experiment.ts()})


def in_order(resolved: Resolved) -> list[Point]:
    """Ends first, then the middle, then ever finer, so that the curve has its shape early; all tasks at each t."""
    ts = wanted(resolved)
    ends = [0, len(ts) - 1]
    order = list(dict.fromkeys([ts.index(0.0), ts.index(1.0), *ends]))
    gaps = list(itertools.pairwise(sorted(order)))
    while gaps:
        low, high = gaps.pop(0)
        if high - low > 1:
            middle = (low + high) // 2
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    return [Point(task, ts[i]) for i in order for task in range(len(resolved.tasks))]


def key(resolved: Resolved, point: Point, orders: Orders) -> str:
    """The key of the responses at a point."""
    task, head = resolved.tasks[point.task], resolved.heads[point.task]
    weights = weights_at(resolved, point.t, alike=len({order.columns for order in orders.values()}) < 2)
    return fingerprint({
        "weights": weights,
        "head": resolved.endpoint(head).fingerprint if head in ("a", "b") else head,
        "lacking": [] if head == "both" else [resolved.a.fingerprint, resolved.b.fingerprint],
        "orders": {side: list(order.columns) for side, order in orders.items()},
        "task": task.identity,
        "tokenizer": resolved.a.looked_at.tokenizer,
        "precision": resolved.experiment.precision,
        "version": EVALUATION_VERSION,
        **({} if resolved.kind == "classifier" else {"kind": resolved.kind}),
    })  # fmt: skip


def weights_at(resolved: Resolved, t: float, alike: bool = True) -> list:
    """What stands for the weights at t. ``alike``: where A and B are one model they are read in one way, so that every t is the same."""
    way, ends = resolved.route, (resolved.a, resolved.b)
    if way.fingerprint and not way.meets_an_end(t):
        return [["path", way.fingerprint, t]]
    weights = [[resolved.stands_for(end), c] for end, c in zip(ends, (1.0 - t, t), strict=True)]
    if resolved.a.fingerprint != resolved.b.fingerprint:
        return [[one, c] for one, c in weights if c]
    return [[resolved.stands_for(resolved.a), 1.0]] if alike else weights


def orders(resolved: Resolved, task: int, store: Store) -> Orders | None:
    """The label orders of the heads that task number ``task`` is read with; None until the data have been asked."""
    found: Orders = {}
    for end in heads(resolved, task):
        order = order_by_names(resolved, end, resolved.tasks[task]) or _stored_order(end, resolved.tasks[task], store)
        if order is None:
            return None
        found[end.side] = order
    return found


def heads(resolved: Resolved, task: int) -> list[Endpoint]:
    """The endpoints whose output layers a task is read with, row by label; none where it is not read with a head."""
    if resolved.tasks[task].read != "head":
        return []
    return [end for end in (resolved.a, resolved.b) if resolved.heads[task] in ("both", end.side)]


def order_by_names(resolved: Resolved, end: Endpoint, task: ResolvedTask) -> Order | None:
    if task.rows.kind == "scores":
        return Order((0,), "names")
    told = getattr(resolved.experiment.labels, end.side) is not None
    return by_names(end.labels, task.rows.names, "person" if told else "names")


def order_key(end: Endpoint, task: ResolvedTask) -> str:
    return fingerprint({"order": end.fingerprint, "task": task.identity, "version": EVALUATION_VERSION})


def training_key(resolved: Resolved) -> str:
    """Stands for the two endpoints alone, as a job of their training."""
    return fingerprint({"training": [resolved.a.fingerprint, resolved.b.fingerprint]})


def timing_key(experiment: str) -> str:
    """Where the timing of the run that computed an experiment is kept."""
    return fingerprint({"timing": experiment})


def keep_order(end: Endpoint, task: ResolvedTask, order: Order, store: Store) -> None:
    fields = {"columns": order.columns, "source": order.source, "agreement": order.agreement, "ambiguous": order.ambiguous}
    store.put(order_key(end, task), canonical(fields).encode(), "label order")


def _stored_order(end: Endpoint, task: ResolvedTask, store: Store) -> Order | None:
    data = store.get(order_key(end, task))
    if data is None:
        return None
    fields = json.loads(data)
    return Order(**{**fields, "columns": tuple(fields["columns"])})


def pack(logits) -> bytes:
    """Responses as they are stored, [examples, …]: logits in the task's label order, or what ``measures`` says of others."""
    return save({"logits": logits})


def unpack(data: bytes):
    return load(data)["logits"]
