"""The store, the queue and the worker's keeper, one of each for the whole app; and what they know of a question."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from mcore import plan
from mcore.errors import McoreError
from mcore.hub import access
from mcore.hub import cache as hubcache
from mcore.hub.search import check_network
from mcore.jobs.keeper import Keeper
from mcore.jobs.queue import Job, Jobs
from mcore.layers import represented
from mcore.limits import check, check_size, check_study
from mcore.paths.distances import distance_key
from mcore.profile import profile
from mcore.question import Experiment, Recipe, as_written, canonical, parse
from mcore.resolve import resolve
from mcore.resolved import Resolved
from mcore.result import collect
from mcore.store import Store
from mcore.studies.study import Study, to_json
from mcore.taking import Take
from mcore.threads import give_way
from mcore.ui import visitor
from mcore.ui.waiting import patiently

REFUSED = "mc.refused"  # in the session: why the queue did not take the last question


@dataclass(frozen=True)
class Engine:
    """What the pages work with."""

    store: Store
    jobs: Jobs
    keeper: Keeper


def engine() -> Engine:
    """Made once in the app's process; the worker is on its way from then on.

    From here on the thread that draws a page gives way to the worker, which needs every core at once.
    """
    made = _made()
    give_way()
    return made


@st.cache_resource(show_spinner=False)
def _made() -> Engine:
    if profile().hosted:
        hubcache.claim()
    store = Store(limit_bytes=profile().store)
    return Engine(store, Jobs(store.root), Keeper(store.root))


@dataclass(frozen=True)
class Standing:
    """How far the answer to a question is. ``points`` and ``stored`` count (t, task) pairs."""

    question: Experiment
    resolved: Resolved
    points: int
    stored: int
    measured: bool  # the distance is there, which comes last
    trained: dict[str, bool]  # side -> its model is there, for recipes
    job: Job | None
    looks: int = 0  # t at which the layers are looked at
    looked: int = 0  # of them in the store

    @property
    def complete(self) -> bool:
        return (self.stored, self.looked) == (self.points, self.looks)

    @property
    def active(self) -> bool:
        return self.job is not None and self.job.state in ("queued", "running")


@visitor.asking()
def standing(question: Experiment) -> Standing:
    """Raises ``QuestionError`` where the question cannot be answered. Computes nothing."""
    check(question, profile())  # before anything that the question names is looked for
    resolved, here = _resolved_soon(question), engine()
    check_size(resolved, profile())
    keys = []
    for i in range(len(resolved.tasks)):
        orders = plan.orders(resolved, i, here.store)
        keys += [] if orders is None else [plan.key(resolved, plan.Point(i, t), orders) for t in plan.wanted(resolved)]
    recipes = {end.side: end.fingerprint for end in (resolved.a, resolved.b) if end.recipe}
    layers = [set(of_t.values()) for of_t in represented.keys(resolved).values()]
    there = here.store.has([*keys, distance_key(resolved), *recipes.values(), *(key for of_t in layers for key in of_t)])
    if not visitor.has_asked(resolved.fingerprint):
        here.store.touch([*there, resolved.fingerprint, plan.timing_key(resolved.fingerprint)])
    visitor.remember(resolved.fingerprint, resolved.a.fingerprint, resolved.b.fingerprint)
    return Standing(
        question=question,
        resolved=resolved,
        points=len(plan.wanted(resolved)) * len(resolved.tasks),
        stored=sum(key in there for key in keys),
        measured=distance_key(resolved) in there,
        trained={side: key in there for side, key in recipes.items()},
        job=here.jobs.latest(resolved.fingerprint),
        looks=len(layers),
        looked=sum(of_t <= there for of_t in layers),
    )


@visitor.asking()
def result(now: Standing) -> dict:
    """The result as far as it is there; read once for each state that the store was in."""
    done = now.job.finished if now.job else None
    asked = (canonical(now.question), _stamp(now.question), access.private_part())
    return _collected(*asked, now.stored, now.looked, now.measured, str(sorted(now.trained.items())), done)


@visitor.asking()
def resolved(question: Experiment) -> Resolved:
    """The question with its names resolved, remembered like those that are asked. Raises ``QuestionError``."""
    check(question, profile())
    return _resolved_soon(question)


def submit(now: Standing) -> None:
    """Put the question in the queue; if it is there, that one is it. ``limits`` shows why it was not taken."""
    enqueue(now, now.resolved.fingerprint, "all")


def enqueue(now: Standing, fingerprint: str, part: plan.Part, take: Take | None = None) -> None:
    """Put a part of the answer in the queue as a job of this name; ``take``: what an export saves."""
    try:
        check(now.question, profile())
        name, token = visitor.name(), visitor.token()
        with engine().keeper.lent(name, token):  # the worker has it before the job
            engine().jobs.submit(as_written(now.question), fingerprint, name, profile().queued, part, token is not None, take)
    except McoreError as error:
        st.session_state[REFUSED] = str(error)


def enqueue_study(study: Study) -> None:
    """Put all its questions in the queue as one job."""
    try:
        check_study(study, profile())
        name, token, questions = visitor.name(), visitor.token(), to_json(study)
        with engine().keeper.lent(name, token):
            engine().jobs.submit(
                next(iter(questions.values())), study.fingerprint, name, profile().queued, keyed=token is not None, study=questions
            )
    except McoreError as error:
        st.session_state[REFUSED] = str(error)


def cancel(job: Job) -> None:
    """Stop it; on a host only for this visitor."""
    engine().jobs.cancel(job.id, visitor.name() if profile().hosted else None)


def may_cancel(job: Job) -> bool:
    return not profile().hosted or engine().jobs.asked_by(job.id, visitor.name())


@st.cache_resource(show_spinner=False, max_entries=600, ttl=600)
def _resolved(question: str, stamp: str, part: str | None) -> Resolved:
    """Shared by the sessions that may read the same: ``part`` stands for the token that some of it may have been read with."""
    asked = parse(question)
    for side in ("a", "b"):
        end = getattr(asked, side)
        check_network(end.base if isinstance(end, Recipe) else end, side)
    for i, task in enumerate(asked.tasks):
        check_network(task.task, f"tasks.{i}.task", "dataset")
    if asked.representation and asked.representation.task:
        check_network(asked.representation.task.task, "representation.task.task", "dataset")
    return resolve(asked)


@st.cache_data(show_spinner=False, max_entries=600)
def _collected(question: str, stamp: str, part: str | None, stored: int, looked: int, measured: bool, trained: str, done: float | None) -> dict:
    return collect(_resolved(question, stamp, part), engine().store)


def _resolved_soon(question: Experiment) -> Resolved:
    """At once where nothing of it stands on the Hub; else the page says what is looked for there."""
    asked = canonical(question), _stamp(question), access.private_part()
    told = _on_the_hub(question)
    return patiently(lambda: _resolved(*asked), f"On the Hub: {told} …") if told else _resolved(*asked)


def _on_the_hub(question: Experiment) -> str:
    """What of it stands there; nothing where nothing does."""
    ends = (question.a, question.b)
    bases = [end.base if isinstance(end, Recipe) else end for end in ends]
    data = [end.task.task for end in ends if isinstance(end, Recipe)] + [task.task for task in question.tasks]
    data += [question.representation.task.task] if question.representation and question.representation.task else []
    models, rows = (list(dict.fromkeys(one[4:] for one in named if one.startswith("hub:") and one != "hub:?")) for named in (bases, data))
    told = [f"looking at {' and '.join(models)}"] if models else []
    return ", ".join(told + ([f"reading rows of {' and '.join(rows)}"] if rows else []))


def _stamp(question: Experiment) -> str:
    """Changes when a file that the question names changes."""
    named = [task.task for task in question.tasks]
    for end in (question.a, question.b):
        named += [end.base, end.task.task] if isinstance(end, Recipe) else [end]
    named += [question.representation.task.task] if question.representation and question.representation.task else []
    named += [question.path.base or "", question.path.task.task if question.path.task else ""]
    seen = []
    for address in sorted({one.removeprefix("local:") for one in named if one.startswith("local:")}):
        path = Path(address).expanduser()
        try:
            files = [path, *sorted(path.iterdir())] if path.is_dir() else [path]
            seen.append([(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files])
        except OSError:
            seen.append(address)
    return str(seen)
