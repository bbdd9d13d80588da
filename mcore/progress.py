"""How far a run is: which points are in the store, what the next ones are, and how long it will all take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mcore import plan
from mcore.evaluation.measures import measured
from mcore.events import Fitting, PointReady, Training
from mcore.layers import represented
from mcore.paths import curvefile
from mcore.plan import Part, Point
from mcore.resolved import Endpoint, Resolved
from mcore.store import Store

STEP_COST = 5  # what a training step takes over an evaluation of its rows: between 3 (large models) and 7 (small ones)


class Progress:
    """Of one run. ``seconds`` holds what each point took that was computed in it."""

    def __init__(self, resolved: Resolved, store: Store, part: Part = "all"):
        self.resolved, self.store, self.part = resolved, store, part
        self.points = plan.in_order(resolved)
        self.seconds: list[float] = []
        self._step: float | None = None  # seconds of a training step, as measured last
        self._orders: dict[int, plan.Orders] = {}
        self._keys: dict[Point, str] = {}
        self._told: set[Point] = set()
        looks = len(represented.pending(represented.keys(resolved), store))
        self._looks = looks * resolved.representation.computed if looks else 0  # rows that the layers are read on, after the points

    def orders(self, task: int) -> plan.Orders | None:
        """The label orders that a task is read with, None until they are found."""
        if task not in self._orders and (found := plan.orders(self.resolved, task, self.store)) is not None:
            self._orders[task] = found
        return self._orders.get(task)

    def key(self, point: Point) -> str | None:
        """The point's key in the store, None until the label orders of its task are found."""
        if point not in self._keys and (orders := self.orders(point.task)) is not None:
            self._keys[point] = plan.key(self.resolved, point, orders)
        return self._keys.get(point)

    def pending(self) -> list[Point]:
        """The points that the store does not have, in the order in which they are computed."""
        there = self.store.has([key for point in self.points if (key := self.key(point))])
        return [point for point in self.points if self.key(point) not in there]

    def announce(self) -> Iterator[PointReady]:
        """Tell of the points that are there and were not told of yet."""
        keys = {point: key for point in self.points if point not in self._told and (key := self.key(point))}
        found = self.store.get_many(keys.values())
        for point, key in keys.items():
            if key in found:
                yield self.ready(point, plan.unpack(found[key]))

    def ready(self, point: Point, scores: np.ndarray) -> PointReady:
        """Tell of a point; scores: its responses."""
        self._told.add(point)
        found = measured(self.resolved.tasks[point.task], scores)
        left = (len(self.points) - len(self._told)) + self._looks * len(self.points) / sum(self.resolved.tasks[point.task].computed for point in self.points)
        return PointReady(
            task=point.task,
            t=point.t,
            loss=found.loss,
            accuracy=found.accuracy,
            done=len(self._told),
            points=len(self.points),
            seconds_left=left * float(np.mean(self.seconds)) if self.seconds else None,
        )

    def of_the_whole(self, event: Training, end: Endpoint) -> Training:
        """The event with the time that the whole run has left: the other training, the fit of the path and the points come after.

        What is not measured yet is estimated from the time of a step, of which an evaluation of its rows is a part.
        """
        if event.seconds_left and event.step < event.steps:
            self._step = event.seconds_left / (event.steps - event.step)
        if self._step is None:
            return event
        step, left = self._step, event.seconds_left or 0.0
        other = self.resolved.b.recipe
        if end.side == "a" and other and self.store.folder(other.fingerprint) is None and not self.same_recipe:
            left += step * other.recipe.last_step
        size, spec = end.recipe.recipe.batch_size, self.resolved.route.spec
        if self.part == "all" and curvefile.missing(self.resolved, self.store):
            left += step * spec.steps * spec.batch_size / size
        return replace(event, seconds_left=left + step / STEP_COST * self._rows() / size)

    def of_the_fit(self, event: Fitting) -> Fitting:
        """The same for a fit, after which the points come."""
        if not event.seconds_left or event.step == event.steps:
            return event
        step = event.seconds_left / (event.steps - event.step)
        return replace(event, seconds_left=event.seconds_left + step / STEP_COST * self._rows() / self.resolved.route.spec.batch_size)

    def _rows(self) -> int:
        """That the points and the layers which are missing are computed on."""
        return (self._looks if self.part == "all" else 0) + sum(self.resolved.tasks[point.task].computed for point in (self.pending() if self.part == "all" else ()))

    @property
    def same_recipe(self) -> bool:
        """True where A and B are one model, which is trained once."""
        return self.resolved.a.fingerprint == self.resolved.b.fingerprint

    def timing(self) -> dict:
        """Points computed in this run and the mean of their seconds."""
        mean = round(float(np.mean(self.seconds)), 4) if self.seconds else None
        return {"points": len(self.seconds), "seconds_per_point": mean}
