"""Partial paths with and without what stands still computed again: the same model, rows and t in one process, in turns.

    python -m benchmarks.reuse                 both models
    python -m benchmarks.reuse minilm          one of them

"whole" writes every tensor and runs every layer at each t, as a straight line needs it; "reuse" does what a run does. The
times are medians over the points after the second, by which what is reused has been found and proven; the first two stand
beside them. Exit 1 where a logit differs in any bit. Other work on the machine shows in the figures; let it rest.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from transformers.utils import logging as transformers_logging

from benchmarks.material import MAX_LENGTH, Material, make, sources
from mcore import paths
from mcore.batches import make_batches
from mcore.checkpoints import look_at
from mcore.evaluate import logits, prepare
from mcore.live import Live, open_live
from mcore.question import PathSpec
from mcore.reuse import Reuse
from mcore.standing import Standing
from mcore.store import Store

TS = (0.0, 1.0, 0.5, 0.25, 0.75, 0.125, 0.375, 0.625)
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

    def point(self, t: float) -> tuple[float, float, np.ndarray]:
        """Seconds to write the weights, seconds to answer, and the logits [rows, labels]."""
        live = replace(self.live, standing=Standing()) if self.anew else self.live
        began = time.perf_counter()
        live.place_body(live.path.at(t))
        live.place_head(live.path.at(t), "both")
        placed = time.perf_counter()
        found = logits(live.model, self.batches, reuse=self.reuse)
        return placed - began, time.perf_counter() - placed, found


def compare(name: str, source: Path, folder: Path) -> bool:
    """Measures one model and prints its table; whether all logits agree."""
    material = make(name, source, folder)
    store, agree = Store(folder / "store"), True
    layers = paths_of(material, store)
    print(f"\n{name}: {len(material.texts)} rows, {layers} layers, {torch.get_num_threads()} threads, t = {', '.join(map(str, TS))}")
    print(f"{'moves':16}{'':8}{'s/point':>9}{'ratio':>8}{'writing':>9}{'answering':>11}{'first':>9}{'second':>9}{'remembered MB':>15}")
    last = max(1, round(layers / 3))
    for move in ([f"layers:{layers - last}-{layers - 1}"], ["head"]):
        runners = {"whole": Runner(material, move, store, False), "reuse": Runner(material, move, store, True)}
        found = {which: [] for which in runners}
        for t in TS:
            for which, runner in runners.items():
                found[which].append(runner.point(t))
        agree &= all(np.array_equal(one[2], other[2]) for one, other in zip(*found.values(), strict=True))
        seconds = {which: [write + answer for write, answer, _ in points] for which, points in found.items()}
        for which, points in found.items():
            settled = points[SETTLED:]
            point = median(seconds[which][SETTLED:])
            kept = runners[which].reuse.bytes / 1e6 if runners[which].reuse else 0
            print(
                f"{move[0] if which == 'whole' else '':16}{which:8}{point:9.3f}{median(seconds['whole'][SETTLED:]) / point:8.2f}"
                f"{median(write for write, _, _ in settled):9.3f}{median(answer for _, answer, _ in settled):11.3f}"
                f"{seconds[which][0]:9.3f}{seconds[which][1]:9.3f}{kept:15.1f}",
                flush=True,
            )
    return agree


def paths_of(material: Material, store: Store) -> int:
    """How many layers the model has."""
    return look_at(material.a, f"local:{material.a}", "a").config["num_hidden_layers"]


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
