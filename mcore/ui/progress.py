"""Where a job stands, told from its events: what is done, what is happening, what is left. No Streamlit here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mcore import events
from mcore.names import duration, nats, size
from mcore.progress import STEP_COST
from mcore.question import Recipe
from mcore.resolved import Resolved


@dataclass(frozen=True)
class Progress:
    """``fraction`` of the whole work that is done; ``curves``: "A", "B" -> rows for ``training_chart``."""

    fraction: float
    now: str
    done: int
    points: int
    seconds_left: float | None
    curves: dict[str, list[dict]] = field(default_factory=dict)
    fit: list[tuple] | None = None  # while the path is fitted: step, t and loss of each step that was told of

    def told(self) -> str:
        """One line for the bar."""
        about = "" if not self.seconds_left or self.seconds_left < 1 else "about "
        left = f" · {about}{duration(self.seconds_left)} left" if self.seconds_left else ""
        points = f" · {self.done} of {self.points} points" if self.points else ""
        return f"{self.now}{points}{left}"


def progress(resolved: Resolved, stream: Iterable[events.Event], points: int, stored: int) -> Progress:
    """From the events of a job so far. ``stored`` counts the points that the store has now."""
    now, left, steps, curves, fit = "Starting", None, {}, {}, []
    event = None
    for event in stream:
        left = getattr(event, "seconds_left", None)
        match event:
            case events.Fetching():
                now = f"Fetching {event.repo}, {size(event.done)} of {size(event.of)}"
            case events.Training():
                side = "A and B" if event.endpoint == "both" else event.endpoint.upper()
                now = f"Training {side}, step {event.step:,} of {event.steps:,}, loss {nats(event.loss)}"
                for name in "ab" if event.endpoint == "both" else event.endpoint:
                    steps[name] = event.step
                    curves.setdefault(name.upper(), []).append(_row(event))
            case events.Trained():
                for name in "ab" if event.endpoint == "both" else event.endpoint:
                    steps[name] = None  # all of them
                now = f"{'A and B are' if event.endpoint == 'both' else event.endpoint.upper() + ' is'} trained"
            case events.Fitting():
                now = f"Fitting the path, step {event.step:,} of {event.steps:,}, loss {nats(event.loss)}"
                steps["path"] = event.step
                fit.append((event.step, event.t, event.loss))
            case events.Working():
                now = event.what[:1].upper() + event.what[1:]
            case events.PointReady():
                now = f"Evaluating, last at t = {event.t:.2f}: loss {nats(event.loss)}"
            case events.LayersReady():
                now = f"Reading the layers, last at t = {event.t:.2f}: {event.done} of {event.of} t"
                steps["layers"] = event.done
    work, done = _work(resolved, steps, points, stored)
    return Progress(min(1.0, done / work) if work else 1.0, now, stored, points, left, curves, fit if isinstance(event, events.Fitting) else None)


def _row(event: events.Training) -> dict:
    return {
        "step": event.step, "loss": event.loss, "validation_accuracy": event.validation_accuracy,
        "validation_loss": event.validation_loss,
    }  # fmt: skip


def _work(resolved: Resolved, steps: dict[str, int | None], points: int, stored: int) -> tuple[float, float]:
    """All of the work and what is done of it, in evaluations of one row."""
    rows = sum(len(task.rows) for task in resolved.tasks) / len(resolved.tasks)
    work, done = points * rows, stored * rows
    counted = {}
    for end in (resolved.a, resolved.b):
        if end.recipe and end.fingerprint not in counted:
            counted[end.fingerprint] = end.side
            recipe: Recipe = end.recipe.recipe
            cost = STEP_COST * recipe.batch_size
            work += cost * recipe.last_step
            made = steps.get(end.side, 0)
            done += cost * (recipe.last_step if made is None or stored else made)
    spec = resolved.route.spec
    if resolved.route.fitting is not None:
        cost = STEP_COST * spec.batch_size
        work += cost * spec.steps
        between = stored > 2 * len(resolved.tasks)  # points that are not the ends: it is fitted
        done += cost * (spec.steps if between else steps.get("path", 0))
    if resolved.representation is not None:
        each = resolved.representation.computed
        work += each * points / len(resolved.tasks)
        done += each * steps.get("layers", 0)
    return work, done
