"""How torch's threads wait for one another, and who goes first; to be settled before torch is imported."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

NICE = 10  # of threads that draw pages
SPINS = "1000"  # turns of the waiting loop (libgomp) before a thread gives its core away


def share_the_cores() -> None:
    """Use every core, but do not hold one by waiting on it.

    By default a thread that waits for another one spins. Beside a browser, or anything else that wants a core, the one
    it waits for may then not run: with one busy process on two cores a training step took 0.33 s, and takes 0.18 s so
    (alone: 0.087 s and 0.090 s). What a person has set in the environment holds.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))  # torch's own guess may be lower
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    os.environ.setdefault("MKL_DISABLE_FAST_MM", "1")  # its own pool would keep 40 MB and makes nothing faster here


def give_way(nice: int = NICE) -> None:
    """Let other work go before what the calling thread does, where the system knows priorities of single threads.

    Threads and processes that it starts from then on inherit that.
    """
    if sys.platform == "linux" and os.getpriority(os.PRIO_PROCESS, mine := threading.get_native_id()) < nice:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, mine, nice)
