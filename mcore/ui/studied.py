"""A study on a page: the button with what it will cost, its one progress and cancel, and what is there so far.

Pages give the study and a function that draws what its answers come to. Both stand in one fragment, which draws itself
again while the study runs, and once more, with the page, when it ends. See ``mcore.studies.study``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from mcore import events
from mcore.errors import McoreError
from mcore.jobs.queue import Job
from mcore.names import duration
from mcore.question import canonical
from mcore.studies import study
from mcore.studies.study import Study
from mcore.ui import engine, limits
from mcore.ui.guard import guarded
from mcore.ui.html import show, text
from mcore.ui.progress import progress
from mcore.ui.waiting import pause, queued


@dataclass(frozen=True)
class Studied:
    """How far a study is. ``standings``: name -> of a question that can be asked; ``refused``: name -> why the others cannot be."""

    study: Study
    standings: dict[str, engine.Standing]
    refused: dict[str, str]
    job: Job | None

    @property
    def active(self) -> bool:
        return self.job is not None and self.job.state in ("queued", "running")

    @property
    def done(self) -> int:
        """Questions whose answer is there."""
        return sum(one.complete and one.measured for one in self.standings.values())

    @property
    def complete(self) -> bool:
        return self.done == len(self.standings) > 0

    def result(self, name: str) -> dict | None:
        """The result of a question if all of it is there."""
        now = self.standings.get(name)
        return engine.result(now) if now and now.complete else None


def standing(asked: Study) -> Studied:
    """Looks at every question; those that were complete a moment ago are not looked at again."""
    found, refused = {}, {}
    known = _known()
    for name, question in asked.questions.items():
        key = canonical(question)
        now = known.get(key)
        try:
            found[name] = now or engine.standing(question)
        except McoreError as error:
            refused[name] = str(error)
            continue
        if found[name].complete and found[name].measured:
            known[key] = found[name]
    return Studied(asked, found, refused, engine.engine().jobs.latest(asked.fingerprint))


def studied(asked: Study, draw: Callable[[Studied], None], ask: str, key: str) -> None:
    """``draw`` is given what is there, also while nothing is; ``ask``: the words of the button, ``key`` tells studies of a page apart."""
    job = engine.engine().jobs.latest(asked.fingerprint)
    active = job is not None and job.state in ("queued", "running")
    st.fragment(_draw, run_every=pause() if active else None)(asked, active, draw, ask, key)


def _draw(asked: Study, was_active: bool, draw: Callable[[Studied], None], ask: str, key: str) -> None:
    with guarded():
        now = standing(asked)
        if now.active != was_active:
            st.rerun()
        with st.container(key=f"study-{key}"):
            if now.active:
                _running(now, key)
            else:
                _at_rest(now, ask, key)
        draw(now)


def _running(now: Studied, key: str) -> None:
    job, here, of = now.job, engine.engine(), len(now.study.questions)
    if job.state == "queued":
        kept = f" · {now.done} of {of} questions are answered" if now.done else ""
        st.progress(now.done / of, text=queued(job.place, here.keeper.warm()) + kept)
    else:
        st.progress(*_told(now))
    if engine.may_cancel(job):
        st.button("Cancel", key=f"study-cancel-{key}", type="primary", icon=":material/stop:", on_click=engine.cancel, args=(job,))
    else:
        st.button("Join", key=f"study-join-{key}", icon=":material/group_add:", on_click=engine.enqueue_study, args=(now.study,))


def _told(now: Studied) -> tuple[float, str]:
    """How much of it is done, and what is happening in which question."""
    jobs, of = engine.engine().jobs, len(now.study.questions)
    begun = jobs.last(now.job.id, events.Asked)
    if not begun:
        return now.done / of, "Looking at what is there"
    asked, *stream = [event for _, event in jobs.events(now.job.id, begun - 1)]
    name = asked.name
    one = now.standings.get(name)
    if one is None:
        return now.done / of, f"Question {asked.number} of {of}: {name}"
    seen = progress(one.resolved, stream, one.points, one.stored)
    within = 0.0 if one.complete else seen.fraction
    return min(1.0, (now.done + within) / of), f"Question {asked.number} of {of}, {name}. {seen.told()}"


def _at_rest(now: Studied, ask: str, key: str) -> None:
    """Why the last attempt ended early, the button where something is missing, and what cannot be asked."""
    if now.job and now.job.state in ("failed", "cancelled") and not now.complete:
        show(text(now.job.sentence, "note" if now.job.state == "cancelled" else "error"))
    if not now.complete and now.standings:
        missing = len(now.standings) - now.done
        seconds = sum(_expected(now.study, now.done).values())
        kept = f" {now.done} are in the store and are kept." if now.done else ""
        limits.limits()
        st.button(ask, key=f"study-run-{key}", type="primary", icon=":material/play_arrow:", on_click=engine.enqueue_study, args=(now.study,))
        took = duration(seconds)
        about = took if took.startswith("under") else f"about {took}"
        show(text(f"It asks {missing} {'question' if missing == 1 else 'questions'}: {about} here.{kept}", "quiet"))
    for sentence, names in _by_sentence(now.refused | _missed(now)).items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        show(text(f"{names[0]}{others}: {sentence}", "error"))


def _by_sentence(told: dict[str, str]) -> dict[str, list[str]]:
    """What is wrong with many questions for one reason is said once: sentence -> names."""
    found: dict[str, list[str]] = {}
    for name, sentence in told.items():
        found.setdefault(sentence, []).append(name)
    return found


def _missed(now: Studied) -> dict[str, str]:
    """Questions that the last job had to leave out, and why; not those that are answered by now."""
    if now.job is None or now.job.state == "failed" or now.complete:
        return {}
    told = [event for _, event in engine.engine().jobs.events(now.job.id) if isinstance(event, events.Missed)]
    return {one.name: one.sentence for one in told if (there := now.standings.get(one.name)) and not there.complete}


def _expected(asked: Study, done: int) -> dict[str, float]:
    return _cost(asked.fingerprint, done, asked)


@st.cache_data(show_spinner=False, max_entries=64, ttl=600)
def _cost(fingerprint: str, done: int, _asked: Study) -> dict[str, float]:
    return study.expected(_asked, engine.engine().store)


@st.cache_resource(show_spinner=False, ttl=600)
def _known() -> dict[str, engine.Standing]:
    """Questions that are complete, as they stood; forgotten after some minutes, since the store may drop what nobody reads."""
    return {}

