"""Partial paths with and without what stands still computed again: the same model, rows and t in one process, in turns.

    python -m benchmarks.reuse                 both models
    python -m benchmarks.reuse minilm          one of them

"whole" writes every tensor and runs every layer at each t, as a straight line needs it; "reuse" does what a run does. The
times are medians over the points after the second, by which what is reused has been found and proven; the first two stand
beside them, and the processors' time, on which other work tells less. Exit 1 where a logit differs in any bit.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from transformers.utils import logging as transformers_logging

from benchmarks.material import MAX_LENGTH, Material, make, sources
from mcore import coefficients as paths
from mcore.evaluation.evaluate import logits, prepare
from mcore.live.model import Live, open_live
from mcore.live.reuse import Reuse
from mcore.live.standing import Standing
from mcore.models.checkpoints import look_at
from mcore.question import PathSpec
from mcore.store import Store
from mcore.tasks.batches import make_batches

TS = (0.0, 1.0, 0.5, 0.25, 0.75, 0.125)
SETTLED = 2  # points after which nothing is tried any more


class Runner:
    """One way of computing a partial path; both have a model of their own."""

    def __init__(self, material: Material, move: Sequence[str], store: Store, reuse: bool):
        a, b = (look_at(folder, f"local:{folder}", side) for side, folder in (("a", material.a), ("b", material.b)))
        live = open_live(a, b, "a", store)
        spec = PathSpec(kind="partial", move=list(move), rest="a")
        self.live: Live = replace(live, path=paths.Path(spec, output_layer=live.output_layer))
        prepare(self.live.model, "float32", torch.device("cpu"))
        self.batches = make_batches(live.tokenizer, material.texts, MAX_LENGTH, live.model.config.pad_token_id)
        moving = frozenset(name for name in live.tensors if paths.moves(name, move, live.output_layer))
        self.reuse = Reuse.between(self.live, moving | live.output_layer) if reuse else None
        self.anew = not reuse

    def point(self, t: float) -> Point:
        live = replace(self.live, standing=Standing()) if self.anew else self.live
        began, used = time.perf_counter(), time.process_time()
        live.place_body(live.path.at(t))
        live.place_head(live.path.at(t), "both")
        placed = time.perf_counter()
        found = logits(live.model, self.batches, reuse=self.reuse)
        return Point(placed - began, time.perf_counter() - placed, time.process_time() - used, found)


@dataclass(frozen=True)
class Point:
    """Seconds to write the weights and to answer, seconds of processors for both, and the logits [rows, labels]."""

    writing: float
    answering: float
    processors: float
    logits: np.ndarray

    @property
    def seconds(self) -> float:
        return self.writing + self.answering


def compare(name: str, source: Path, folder: Path) -> bool:
    """Measures one model and prints its table; whether all logits agree."""
    material = make(name, source, folder)
    store, agree = Store(folder / "store"), True
    layers = look_at(material.a, f"local:{material.a}", "a").config["num_hidden_layers"]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"\n{name}: {len(material.texts)} rows, {layers} layers, {torch.get_num_threads()} threads, t = {', '.join(map(str, TS))}{load}")
    print(f"{'moves':14}{'':8}{'s/point':>9}{'ratio':>8}{'processors':>12}{'ratio':>8}{'writing':>9}{'first':>9}{'second':>9}{'remembered MB':>15}")
    last = max(1, round(layers / 3))
    for move in ([f"layers:{layers - last}-{layers - 1}"], ["head"]):
        runners = {"whole": Runner(material, move, store, False), "reuse": Runner(material, move, store, True)}
        found: dict[str, list[Point]] = {which: [] for which in runners}
        for t in TS:
            for which, runner in runners.items():
                found[which].append(runner.point(t))
        agree &= all(np.array_equal(one.logits, other.logits) for one, other in zip(*found.values(), strict=True))
        for which, points in found.items():
            seconds, used = (median(getattr(one, of) for one in points[SETTLED:]) for of in ("seconds", "processors"))
            whole = found["whole"][SETTLED:]
            ratios = [median(getattr(one, of) for one in whole) / own for of, own in (("seconds", seconds), ("processors", used))]
            kept = runners[which].reuse.bytes / 1e6 if runners[which].reuse else 0
            print(
                f"{move[0] if which == 'whole' else '':14}{which:8}{seconds:9.3f}{ratios[0]:8.2f}{used:12.3f}{ratios[1]:8.2f}"
                f"{median(one.writing for one in points[SETTLED:]):9.3f}{points[0].seconds:9.3f}{points[1].seconds:9.3f}{kept:15.1f}",
                flush=True,
            )
    return agree


def main(arguments: Sequence[str]) -> int:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    known = sources()
    if unknown := [name for name in arguments if name not in known]:
        print(f"No model is called {unknown[0]}; there are: {', '.join(known)}.", file=sys.stderr)
        return 2
    agree = True
    for name in arguments or known:
        with tempfile.TemporaryDirectory() as folder:
            agree &= compare(name, known[name], Path(folder))
    if not agree:
        print("The outputs disagree.", file=sys.stderr)
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
