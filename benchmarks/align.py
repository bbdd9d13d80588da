"""How long two models of the size of BERT-base (110M parameters each) take to be aligned, by weights and by activations.

    python -m benchmarks.align                   both
    python -m benchmarks.align activations       one of them

For each the seconds and the processor seconds of all parts of it, of which other work on the machine tells less in the second,
and the most memory that the process has had. The weights are random, from fixed seeds: no unit has a partner that stands out, which
is the longest that an assignment takes. Reading the models is not counted. Exit 1 where the aim is missed. Kept in a temporary folder of 2 GB.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from mcore.threads import share_the_cores

share_the_cores()

from benchmarks.material import random_bert  # noqa: E402
from benchmarks.peak import peak  # noqa: E402
from mcore.paths.align import align  # noqa: E402
from mcore.progress import Progress  # noqa: E402
from mcore.question import parse  # noqa: E402
from mcore.resolve import resolve  # noqa: E402
from mcore.run import joined  # noqa: E402
from mcore.store import Store  # noqa: E402

MOST_SECONDS = 60
METHODS = ("weights", "activations")


def measured(method: str, folder: Path) -> float:
    """Seconds that an alignment takes; prints what they went into."""
    names = ["narrated", "spoken"]
    resolved = resolve(parse({
        "version": 1, "a": f"local:{folder / 'a'}", "b": f"local:{folder / 'b'}", "tasks": [{"task": "builtin:speech", "limit": 16}],
        "points": 3, "path": {"kind": "linear", "align": method}, "labels": {"a": names, "b": names},
    }))  # fmt: skip
    store = Store(folder / f"store-{method}")
    live = returned(joined(Progress(resolved, store, "all"), store, lambda: False))
    parts: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    what, began = "before the first event", (time.perf_counter(), time.process_time())
    last = began

    def until_now(told: str | None) -> None:
        nonlocal what, last
        now = time.perf_counter(), time.process_time()
        for i in range(2):
            parts[what][i] += now[i] - last[i]
        what, last = told or what, now

    for event in align(live, resolved, store, lambda: False):
        until_now(re.sub(r"\d[\d,]* of \d[\d,]*|\d+$", "…", event.what))
    until_now(None)
    print(
        f"by {method}: {last[0] - began[0]:.1f} s, {last[1] - began[1]:.1f} s of processors; most memory {peak(os.getpid()) / 1e9:.2f} GB",
        flush=True,
    )
    for told, (seconds, work) in parts.items():
        if seconds >= 0.05:
            print(f"    {seconds:6.1f} s {work:6.1f} s of processors: {told}", flush=True)
    return last[0] - began[0]


def returned(events):
    """What a generator returns at its end."""
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


def main(arguments: list[str]) -> int:
    print(f"{os.cpu_count()} cores; load {os.getloadavg()[0]:.1f}; asked: under {MOST_SECONDS} s", flush=True)
    with tempfile.TemporaryDirectory() as made:
        for seed, name in enumerate(("a", "b"), 1):
            random_bert(Path(made) / name, seed)
        taken = [measured(method, Path(made)) for method in METHODS if method in (arguments or METHODS)]
    return 0 if taken and max(taken) < MOST_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
