"""How far the fine-tuning of a question's two ends is: what is trained, what runs, what was measured of the models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from mcore import events, plan
from mcore.jobs.queue import Job
from mcore.paths.distances import base_key, distance_key
from mcore.resolved import Endpoint
from mcore.result import training
from mcore.ui import draft
from mcore.ui.engine import Standing, cancel, engine, enqueue

RUN, KEEP = "mc.train", "mc.keep"  # in the session: a click wants the trainings carried out; a side kept as it is


@dataclass(frozen=True)
class Trainings:
    """``models``: side -> what its finished model reached and how far it has come (None: not finished)."""

    now: Standing
    job: Job | None
    models: Mapping[str, dict | None]
    apart: dict | None  # how far A and B are from each other

    @property
    def active(self) -> bool:
        return self.job is not None and self.job.state in ("queued", "running")

    @property
    def finished(self) -> bool:
        return all(self.models.values())

    @property
    def measured(self) -> bool:
        return all(model and model["from_base"] for model in self.models.values())


def trainings(now: Standing) -> Trainings:
    """The job is the one that trains both ends, or the one that answers the whole question where that runs."""
    here, resolved = engine(), now.resolved
    alone = here.jobs.latest(plan.training_key(resolved))
    job = now.job if now.active and not (alone and alone.state in ("queued", "running")) else alone
    models = {end.side: _model(end) if now.trained[end.side] else None for end in (resolved.a, resolved.b) if end.recipe}
    return Trainings(now, job, models, _kept(distance_key(resolved)))


def stream(job: Job) -> list[events.Event]:
    return [event for _, event in engine().jobs.events(job.id)]


def stoppable(standing: Trainings) -> str | None:
    """The side that is being trained and could be left where it stands: not before its first step, nor in a continuation."""
    last = next((event for event in reversed(stream(standing.job)) if isinstance(event, events.Training)), None)
    if last is None or last.step >= last.steps:
        return None
    side = "a" if last.endpoint == "both" else last.endpoint
    recipe = standing.now.resolved.endpoint(side).recipe
    return side if recipe and not recipe.recipe.continued else None


def reached(job: Job, side: str) -> int | None:
    """The step at which a side's training stands, as far as the job has told; None before the first and after the last."""
    steps = [event for event in stream(job) if isinstance(event, events.Training) and event.endpoint in (side, "both")]
    return steps[-1].step if steps and steps[-1].step < steps[-1].steps else None


def _model(end: Endpoint) -> dict | None:
    told = training(end, engine().store)
    return told and {**told, "from_base": _kept(base_key(end))}


def _kept(key: str) -> dict | None:
    data = engine().store.get(key)
    return json.loads(data) if data else None


def submit(now: Standing) -> None:
    """Put the training of both ends in the queue."""
    enqueue(now, plan.training_key(now.resolved), "training")


def stop_here(standing: Trainings, side: str) -> None:
    """Ask the training of ``side`` to stop, and remember that the model is wanted as it is then."""
    st.session_state[KEEP] = side
    cancel(standing.job)


def keep_as_it_is(standing: Trainings) -> None:
    """Once it has stopped: the recipe becomes one that stops there, and is carried out, which takes no time."""
    side = st.session_state.pop(KEEP)
    step = standing.job and reached(standing.job, side)
    if step is None or standing.job.state != "cancelled":
        return
    both = standing.now.resolved.a.fingerprint == standing.now.resolved.b.fingerprint
    for end in "ab" if both else side:
        draft.put((end, "stop_at"), step)
    st.session_state[RUN] = True


def go_on(side: str, more: int) -> None:
    """The recipe becomes one that continues for more steps, and is carried out."""
    draft.put((side, "continued"), [*(draft.get((side, "continued")) or []), more])
    st.session_state[RUN] = True
