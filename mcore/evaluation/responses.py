"""What the live model answers at a point of the path, by the way in which a task is read.

The model is placed at the point, asked, and its answers are put in the task's own order: logits of labels [rows, labels],
log-likelihoods of answers [rows, answers], or [rows, 3] nats, tokens and tokens predicted right (``measures``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from mcore import plan
from mcore.errors import McoreError
from mcore.evaluation.evaluate import logits
from mcore.evaluation.features import Features
from mcore.evaluation.fitted import fit
from mcore.evaluation.scoring import likelihoods, token_losses
from mcore.live.model import Live, orders_joined
from mcore.live.reuse import Reuse
from mcore.plan import Orders, Point
from mcore.resolved import Resolved
from mcore.store import Store
from mcore.tasks.batches import Batches, make_batches
from mcore.tasks.labels import by_data
from mcore.tasks.passages import Passages, passages

Stop = Callable[[], bool]


@dataclass(frozen=True)
class Fitting:
    """What a fitted head needs: the body that gives features, the rows to fit on and those to evaluate."""

    features: Features
    rows: Batches
    evaluated: Batches


Inputs = Batches | Passages | Fitting


def prepared(live: Live, resolved: Resolved, task: int) -> Inputs:
    """The rows of task number ``task`` as the model takes them, once for every point. Raises ``QuestionError``."""
    asked, config = resolved.tasks[task], live.model.config
    if asked.read in ("tokens", "answers"):
        return passages(asked, resolved.kind, live.tokenizer, config, f"tasks.{task}")
    pad = config.get_text_config().pad_token_id
    evaluated = make_batches(live.tokenizer, asked.rows.texts, asked.max_length, pad)
    if asked.fitting is None:
        return evaluated
    live.place_body((1.0, 0.0))
    fitting = make_batches(live.tokenizer, asked.fitting.texts, asked.max_length, pad)
    return Fitting(Features(live.model, "a"), fitting, evaluated)


def place(live: Live, resolved: Resolved, point: Point, orders: Orders) -> None:
    """Write the weights of a point into the live model, with the output layer that its task is read with."""
    coefficients, head = live.path.at(point.t), resolved.heads[point.task]
    live = _read_at(live, resolved, point.t)
    live.place_body(coefficients)
    if resolved.tasks[point.task].read == "head":
        live.place_head(coefficients, head, rows_of_b(orders, head, live))


def moving(live: Live, resolved: Resolved, ts: Collection[float]) -> frozenset[str]:
    """The names of the tensors that are not the same at all of these t; those of the output layer always count among them."""
    still, before = set(live.tensors) - live.output_layer, None
    for t in ts:
        now = _read_at(live, resolved, t).contents(live.path.at(t), still)
        still = {name for name in still if before is None or now[name] == before[name]}
        before = now
    return frozenset(set(live.tensors) - still)


def _read_at(live: Live, resolved: Resolved, t: float) -> Live:
    """At its end a path leads to B as it was read."""
    return live.at_b() if t == 1.0 and resolved.route.whole else live


def at(live: Live, resolved: Resolved, point: Point, orders: Orders, inputs: Inputs, stop: Stop, reuse: Reuse | None = None) -> np.ndarray:
    """The responses at a point; what does not change up to the next one is computed once with ``reuse``. Raises ``McoreError`` where they are no numbers."""
    task, head = resolved.tasks[point.task], resolved.heads[point.task]
    place(live, resolved, point, orders)
    if task.read == "head":
        columns = orders["b" if head == "b" else "a"].columns
        found = logits(live.model, inputs, stop, reuse=reuse)[:, list(columns)]
        numbers = found
    elif task.read == "tokens":
        found = numbers = token_losses(live.model, inputs, stop, reuse)
    elif task.read == "answers":
        found = likelihoods(live.model, inputs, bool(task.task.normalised), stop, reuse)
        numbers = found[~np.isneginf(found)]
    else:
        read_out = fit(logits(inputs.features, inputs.rows, stop, reuse=reuse), task.fitting)
        found = numbers = read_out(logits(inputs.features, inputs.evaluated, stop, reuse=reuse))
    if not np.isfinite(numbers).all():
        raise McoreError(f"The model's outputs at t = {point.t:.2f} are no numbers; try precision float32 or another endpoint.")
    return np.ascontiguousarray(found)


def find_orders(live: Live, resolved: Resolved, task: int, inputs: Inputs, store: Store, stop: Stop) -> None:
    """Ask the data for the label orders that names do not tell."""
    rows = resolved.tasks[task].rows
    for end in plan.heads(resolved, task):
        if plan.order_by_names(resolved, end, resolved.tasks[task]) is None:
            ends = (1.0, 0.0) if end.side == "a" else (0.0, 1.0)
            own = live if end.side == "a" else live.at_b()
            own.place_body(ends)
            own.place_head(ends, end.side)
            order = by_data(logits(live.model, inputs, stop), rows.labels, len(rows.names))
            plan.keep_order(end, resolved.tasks[task], order, store)


def rows_of_b(orders: Orders, head: str, live: Live) -> list[int] | None:
    """Where both heads are blended: how the rows of B's must be ordered to mean the labels of A's."""
    return orders_joined(orders["a"], orders["b"], live.model.config.num_labels) if head == "both" else None
