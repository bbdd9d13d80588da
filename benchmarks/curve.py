"""What fitting a curve costs, and what it removes.

    python -m benchmarks.curve                   both
    python -m benchmarks.curve cost              a step of fitting over a step of fine-tuning, in turns in one process
    python -m benchmarks.curve barrier 1 2 3     the barrier between two fine-tunings on a line and on a curve with one bend, by seed

The barrier is that of the family before any pre-training, tuned from two seeds each for as many steps as the curve is fitted
for. Beside it the loss at the bend against that of an end which was trained for as many steps more: a bend may simply be a model
that was trained for longer. Exit 1 where an aim is missed. Other work on the machine shows in the costs; let it rest.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.material import MAX_LENGTH, make, sources
from mcore.checkpoints import look_at
from mcore.events import Fitting, Training
from mcore.finetune import batch_of
from mcore.fitter import Fitter
from mcore.live import open_live
from mcore.paths import Path as Way
from mcore.question import PathSpec, Task, parse, parse_recipe
from mcore.resolve import resolve, resolve_recipe
from mcore.result import collect
from mcore.run import run
from mcore.store import Store
from mcore.tasks import open_task
from mcore.trainer import Trainer

TURNS, BATCH = 12, 32
STEPS, RATE = 300, 1e-3
from mcore.objectives import LabelObjective
TASKS = ("novel", "speech")
MOST_COST, LEAST_REMOVED = 1.25, 0.8


def cost(name: str, source: Path, folder: Path) -> bool:
    """One line: seconds of a step each, medians over turns; whether the aim is met."""
    made, store, task = make(name, source, folder), Store(folder / "store"), Task(task="builtin:speech", split="train")
    recipe = {"base": f"local:{made.a}", "task": {"task": task.task, "max_length": MAX_LENGTH}, "batch_size": BATCH, "cartography": 0}
    trainer = Trainer(resolve_recipe(parse_recipe(recipe)), store, "a")
    live = open_live(*(look_at(end, f"local:{end}", side) for side, end in (("a", made.a), ("b", made.b))), "a", store)
    way = Way(PathSpec(kind="bezier", bends=1, seed=0, learning_rate=RATE), output_layer=live.output_layer)
    _, rows = open_task(task, "task", "train")
    fitter = Fitter(live, way, "both", LabelObjective(live.model, live.tokenizer, (0, 1), rows, MAX_LENGTH), store.work("0" * 32))
    seconds: dict[str, list[float]] = {"tuning": [], "fitting": [], "blending": []}
    for turn in range(TURNS + 1):  # the first is not counted
        places = batch_of(turn, len(rows), BATCH, 0)
        for what, step in (
            ("tuning", lambda: trainer.step(places, RATE)),  # noqa: B023 (called at once)
            ("fitting", lambda: fitter.step(places, 0.4, RATE)),  # noqa: B023
            ("blending", lambda: fitter.way.place(0.4)),
        ):
            began = time.perf_counter()
            step()
            seconds[what] += [time.perf_counter() - began] if turn else []
    tuning, fitting, blending = (median(seconds[what]) for what in ("tuning", "fitting", "blending"))
    size = sum(tensor.numel() for tensor in fitter.way.numbers) * 12 / 1e6
    print(f"{name}: fine-tuning {tuning:.3f} s a step, fitting {fitting:.3f} s ({fitting / tuning:.2f} ×, of it blending {blending:.3f} s); "
          f"the bend and Adam's moments {size:.0f} MB", flush=True)  # fmt: skip
    return fitting / tuning <= MOST_COST


def barrier(task: str, seed: int, store: Store) -> float | None:
    """One line; the share of the barrier that a bend removes, None where there is none to speak of."""
    rows = {"task": f"builtin:{task}"}
    recipe = {"base": "builtin:austen@0", "task": rows, "steps": STEPS, "batch_size": BATCH, "learning_rate": RATE, "cartography": 0}
    a, b = ({**recipe, "head_seed": one, "data_seed": one} for one in (2 * seed, 2 * seed + 1))
    told = {**rows, "split": "validation", "limit": 1000}
    fit = {"kind": "bezier", "bends": 1, "steps": STEPS, "batch_size": BATCH, "learning_rate": RATE, "seed": seed}
    line = _answer({"version": 1, "a": a, "b": b, "tasks": [told], "points": 11}, store)
    curve = _answer({"version": 1, "a": a, "b": b, "tasks": [told], "points": 11, "path": fit}, store)
    longer = _answer({"version": 1, "a": {**a, "continued": [STEPS]}, "b": b, "tasks": [told], "points": [0.0]}, store)
    was, left = (one["barrier"]["loss_chord"]["value"] for one in (line, curve))
    removed = 1 - max(0.0, left) / was if was > 0.02 else None
    print(f"{task}, seed {seed}: barrier {was:.3f} nats on the line, {left:.3f} on the curve"
          f"{f', {removed:.0%} removed' if removed is not None else ''}; loss {line['loss'][0]:.3f} at A, {line['loss'][-1]:.3f} at B, "
          f"{curve['loss'][5]:.3f} in the middle of the curve, {longer['loss'][0]:.3f} at A after {STEPS} steps more", flush=True)  # fmt: skip
    return removed


def _answer(question: dict, store: Store) -> dict:
    for event in run(parse(question), store):
        if isinstance(event, Training | Fitting) and event.step % 100 == 0:
            print(f"  {type(event).__name__.lower()}: step {event.step} of {event.steps}, loss {event.loss:.3f}", file=sys.stderr, flush=True)
    return collect(resolve(parse(question)), store)["tasks"][0]


def main(arguments: list[str]) -> int:
    asked = arguments or ["cost", "barrier"]
    met = []
    with tempfile.TemporaryDirectory() as folder:
        if "cost" in asked:
            met += [cost(name, source, Path(folder) / name) for name, source in sources().items()]
        if "barrier" in asked:
            seeds = [int(one) for one in asked if one.isdecimal()] or [1, 2, 3]
            removed = [barrier(task, seed, Store(Path(folder) / "store")) for task in TASKS for seed in seeds]
            met += [share >= LEAST_REMOVED for share in removed if share is not None]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
