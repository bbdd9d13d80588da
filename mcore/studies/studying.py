"""Carries out a study: its questions one after the other, told as one stream of events. See ``mcore.studies.study``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from mcore.errors import Cancelled, McoreError
from mcore.events import Asked, Done, Event, Missed
from mcore.run import run
from mcore.store import Store
from mcore.studies.study import Study, expected

Stop = Callable[[], bool]


def run_study(study: Study, store: Store, stop: Stop = lambda: False) -> Iterator[Event]:
    """Every event of every question, with the time that the whole study has left; ``Asked`` before and ``Done`` after each.

    Of a question whose answer is in the store ``Done`` alone is told. A question that cannot be answered is told of (``Missed``) and left out; where none can, its sentence is raised
    (``McoreError``). Raises ``Cancelled`` soon after ``stop`` turns true; what is finished is kept.
    """
    seconds, pace, missed = expected(study, store), 1.0, []
    told, took = 0.0, 0.0  # of the questions that were computed: seconds expected, seconds measured
    later, count = sum(seconds.values()), len(study.questions)
    for number, (name, question) in enumerate(study.questions.items(), 1):
        if stop():
            raise Cancelled
        if seconds[name]:
            yield Asked(name, number, count, pace * later)
        later, began = later - seconds[name], time.monotonic()
        try:
            for event in run(question, store, stop):
                if seconds[name] or isinstance(event, Done):
                    yield _of_the_whole(event, pace * later)
        except Cancelled:
            raise
        except McoreError as error:
            missed.append(str(error))
            yield Missed(name, str(error))
            continue
        if seconds[name]:
            told, took = told + seconds[name], took + time.monotonic() - began
            pace = took / told
    if len(missed) == count:
        raise McoreError(missed[0])
    yield Done(study.fingerprint)


def _of_the_whole(event: Event, later: float) -> Event:
    """The event with the time that all has left, not its question alone; ``later``: of the questions after this one, in seconds."""
    if getattr(event, "seconds_left", None) is None:
        return event
    return replace(event, seconds_left=event.seconds_left + later)
