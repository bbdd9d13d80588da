"""A runner for the worker's tests. The name of the first task says how it behaves, ``points`` how long it goes on."""

import os
import time
from collections.abc import Callable, Iterator

import numpy as np

from mcore.errors import Cancelled, McoreError
from mcore.events import Done, Event, Failed, PointReady, Resolved
from mcore.question import Experiment, fingerprint
from mcore.store import Store


def run(experiment: Experiment, store: Store, stop: Callable[[], bool], part: str) -> Iterator[Event]:
    behaviour = experiment.tasks[0].task.removeprefix("builtin:")
    name, points = fingerprint(experiment), experiment.ts()
    yield Resolved(name, len(points), 0)
    if behaviour == "refuses":
        raise McoreError("This cannot be blended; choose another checkpoint.")
    if behaviour == "tells":
        yield Failed("It was not to be; try again.")
        return
    if behaviour == "breaks":
        raise TypeError("a number\nis not a word")
    if behaviour == "dies":
        os._exit(9)
    matrix = np.ones((400, 400))
    while behaviour == "deaf":
        matrix @ matrix
    while behaviour == "holds-everything":  # one call into C that never lets another thread run
        sum(range(10**12))
    for done, t in enumerate(points, start=1):
        for _ in range(3):
            matrix @ matrix
        time.sleep(0.01)
        if behaviour == "polite" and stop():
            raise Cancelled
        store.put(f"{name[:16]}{done:08x}", matrix[0].tobytes(), "point", {"pid": os.getpid()})
        yield PointReady(0, t, 0.5, 0.75, done, len(points))
    yield Done(name)
