"""The engine beside the plain loop: the same model, rows and t in one process, in turns, and one table.

    python -m benchmarks.engine                 both models
    python -m benchmarks.engine austen          one of them

Times are medians; the rate of products is the best that was seen, so the best point is set against it too. A point's
work is counted as every layer's for every real token: what the engine leaves out counts as done, padding does not.
Exit 1 where the outputs disagree. Other work on the machine shows in the figures; let it rest.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import torch
from transformers.utils import logging as transformers_logging

from mcore.evaluation.evaluate import has_bfloat16, logits, prepare
from mcore.live.model import open_live
from mcore.models.checkpoints import look_at
from mcore.store import Store
from mcore.tasks.batches import make_batches

TS = (0.0, 0.35, 1.0)
TURNS = 2
MAX_LENGTH = 128
AGREE = {"float32": 1e-5, "bfloat16": 1e-3}  # nats, in the mean loss
MB = 1e6


class Engine:
    """A path between two folders in mcore's way; ``points`` yields logits [rows, labels] for one t after the other."""

    def __init__(self, a: Path, b: Path, texts: Sequence[str], precision: str, store: Store):
        self.live = open_live(look_at(a, f"local:{a}", "a"), look_at(b, f"local:{b}", "b"), "a", store)
        prepare(self.live.model, precision, torch.device("cpu"))
        self.batches = make_batches(self.live.tokenizer, texts, MAX_LENGTH, self.live.model.config.pad_token_id)

    def points(self, ts: Sequence[float]) -> Iterator[torch.Tensor]:
        for t in ts:
            self.live.place_body((1 - t, t))
            self.live.place_head((1 - t, t), "both")
            yield torch.from_numpy(logits(self.live.model, self.batches))


def measured(runner, labels: torch.Tensor) -> tuple[list[float], list[float]]:
    """Seconds and mean loss for each t."""
    seconds, losses = [], []
    points = runner.points(TS)
    for _ in TS:
        start = time.perf_counter()
        scores = next(points)
        seconds.append(time.perf_counter() - start)
        losses.append(torch.nn.functional.cross_entropy(scores, labels).item())
    return seconds, losses


def peak_of_run(material, folder: Path, precision: str) -> float:
    """The peak of the whole of ``python -m mcore run`` on the path, in a fresh process and a new store."""
    rows, question = folder / "rows.csv", folder / "question.json"
    with open(rows, "w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *zip(material.texts, material.labels, strict=True)])
    ends = {"a": f"local:{material.a}", "b": f"local:{material.b}"}
    asked = {"version": 1, **ends, "tasks": [{"task": f"local:{rows}"}], "points": list(TS), "precision": precision}
    question.write_text(json.dumps(asked))
    with tempfile.TemporaryDirectory() as store:
        command = [sys.executable, "-m", "benchmarks.peak", "run", str(question), "--store", store, "--out", str(folder / "result.json")]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def compare(name: str, source: Path, folder: Path) -> bool:
    """Measures one model and prints its table; whether the outputs agree."""
    from benchmarks.material import make
    from benchmarks.plain import Plain
    from benchmarks.rate import Products

    material = make(name, source, folder)
    store = Store(folder / "store")
    labels = torch.tensor(material.labels)
    runners = {"plain": Plain(material)}
    for precision in ("float32", "bfloat16") if has_bfloat16() else ("float32",):
        runners[precision] = Engine(material.a, material.b, material.texts, precision, store)
    products = Products(runners["plain"].model)
    for runner in runners.values():  # what is done once: kernels made, pages read
        next(runner.points(TS[1:2]))
    seconds: dict[str, list[float]] = {which: [] for which in runners}
    losses: dict[str, list[float]] = {}
    for _ in range(TURNS):
        for which, runner in runners.items():
            products.measure()
            took, losses[which] = measured(runner, labels)
            seconds[which] += took

    batches = runners["float32"].batches
    lengths = [len(ids) for ids in runners["plain"].tokenizer(list(material.texts), truncation=True, max_length=MAX_LENGTH).input_ids]
    weights = {n: p.numel() for n, p in runners["plain"].model.named_parameters()}
    size, body = 4 * sum(weights.values()), sum(count for n, count in weights.items() if "embedding" not in n)
    most = size + 1.2 * size + 400 * MB
    print(
        f"\n{name}: {len(lengths)} rows, median {median(lengths):.0f} tokens, {batches.tokens} in all, "
        f"{100 * batches.padding:.1f} % padding in {len(batches)} batches; {sum(weights.values()) / 1e6:.1f} million parameters "
        f"({body / 1e6:.1f} without embeddings), {torch.get_num_threads()} threads, t = {', '.join(map(str, TS))}, {TURNS} turns"
    )
    print(f"products of the model's shapes in float32: {products.rate / 1e9:.0f} GFLOP/s")
    print(f"{'':12}{'s/point':>9}{'ratio':>8}{'tokens/s':>10}{'of product rate':>17}{'at its best':>13}{'loss differs by':>17}{'peak MB':>9}{'allowed':>9}")
    agree = True
    for which in runners:
        point = median(seconds[which])
        speed = batches.tokens / point
        share, best = (f"{100 * 2 * body * batches.tokens / took / products.rate:.0f} %" for took in (point, min(seconds[which])))
        line = f"{which:12}{point:9.3f}{median(seconds['plain']) / point:8.2f}{speed:10.0f}{share:>17}{best:>13}"
        if which != "plain":
            apart = max(abs(x - y) for x, y in zip(losses[which], losses["plain"], strict=True))
            agree &= apart <= AGREE[which]
            used = peak_of_run(material, folder, which)
            line += f"{apart:17.1e}{used / MB:9.0f}{most / MB:9.0f}"
        print(line, flush=True)
    return agree


def main(arguments: Sequence[str]) -> int:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    from benchmarks.material import sources

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
