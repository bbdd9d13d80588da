"""What fitting a curve costs, and what it removes.

    python -m benchmarks.curve                             both
    python -m benchmarks.curve cost                        a step of fitting over a step of fine-tuning, in turns in one process
    python -m benchmarks.curve barrier 1 2 3               the barrier between two fine-tunings on a line and on a curve with one bend, by seed
    python -m benchmarks.curve barrier 1 --task speech     of one task alone
    python -m benchmarks.curve barrier 1 --data DIR        of novels told by their names too, from the texts that tools/corpus.py names

Both ends of a barrier are the family before any pre-training, tuned from two seeds each for 300 steps; the curve is fitted for as
many. What the curve removes is told beside three things that it could be taken for. Its bend may simply be a model that was trained
for longer: the loss at the bend, which is a whole model, stands beside that of A after as many steps more. The ends may not be
minima yet: the same is told of ends that were trained for five times as many steps. And two ends with the same head, which
differ in the order of their rows alone, say what of the barrier is the head's. Exit 1 where an aim is missed.
Everything is kept in a temporary folder, or in that of --store, so that a run that was ended goes on where it was. Other work on the
machine shows in the costs; let it rest.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from mcore.threads import share_the_cores

share_the_cores()  # before torch is imported, as the worker does

import pandas as pd  # noqa: E402

from benchmarks.material import MAX_LENGTH, make, sources  # noqa: E402
from mcore.coefficients import Path as Way  # noqa: E402
from mcore.events import Fitting, Training  # noqa: E402
from mcore.live.model import open_live  # noqa: E402
from mcore.models.checkpoints import look_at  # noqa: E402
from mcore.paths.fitter import Fitter  # noqa: E402
from mcore.question import PathSpec, Task, parse, parse_recipe  # noqa: E402
from mcore.resolve import resolve, resolve_recipe  # noqa: E402
from mcore.resolved import Resolved  # noqa: E402
from mcore.result import collect  # noqa: E402
from mcore.run import run  # noqa: E402
from mcore.store import Store  # noqa: E402
from mcore.tasks.rows import open_task  # noqa: E402
from mcore.tuning.finetune import batch_of  # noqa: E402
from mcore.tuning.objectives import LabelObjective  # noqa: E402
from mcore.tuning.trainer import Trainer  # noqa: E402

TURNS, BATCH = 12, 32
STEPS, RATE, ROWS = 300, 1e-3, 1000
LONG = 5  # times as many steps: the training rows are then seen six to thirteen times
NONE = 0.02  # nats: a lower barrier is none to remove
TASKS = ("speech", "spam", "novel")
MOST_COST, LEAST_REMOVED = 1.25, 0.8


@dataclass(frozen=True)
class Case:
    """A task as recipes and fits take it, and as it is evaluated."""

    name: str
    train: dict
    evaluated: dict


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


def barrier(case: Case, seed: int, store: Store, folder: Path) -> list[float]:
    """Prints the lines of one seed; the shares of the barriers of other heads that a bend removes, without those where there is none."""
    recipe = {"base": "builtin:austen@0", "task": case.train, "steps": STEPS, "batch_size": BATCH, "learning_rate": RATE, "cartography": 0}
    one, other = 2 * seed, 2 * seed + 1
    a, b = ({**recipe, "head_seed": each, "data_seed": each} for each in (one, other))
    found = [
        _pair(f"{case.name}, seed {seed}, other heads and rows", case, a, b, seed, store, folder),
        _pair(f"{case.name}, seed {seed}, trained {LONG} times as long", case, *({**end, "steps": LONG * STEPS} for end in (a, b)), seed, store, folder),
    ]
    _pair(f"{case.name}, seed {seed}, the same head, other rows", case, a, {**b, "head_seed": one}, seed, store)
    return [share for share in found if share is not None]


def _pair(told: str, case: Case, a: dict, b: dict, seed: int, store: Store, folder: Path | None = None) -> float | None:
    """The share of the barrier between two recipes that a bend removes, None where there is none to speak of. ``folder``: the curve is fitted, and its bend tried."""
    asked = {"version": 1, "a": a, "b": b, "tasks": [case.evaluated], "points": 11}
    _, line = _answer(asked, store)
    was, ends = line["barrier"]["loss_chord"], (line["loss"][0], line["loss"][-1], line["accuracy"][0], line["accuracy"][-1])
    first = f"{told}: A {ends[0]:.3f}, B {ends[1]:.3f} nats ({ends[2]:.1%}, {ends[3]:.1%} right); straight line {_nats(was)}"
    if folder is None:
        print(first, flush=True)
        return None
    fit = {"kind": "bezier", "bends": 1, "steps": STEPS, "batch_size": BATCH, "learning_rate": RATE, "seed": seed, "task": case.train}
    resolved, curve = _answer({**asked, "path": fit}, store)
    left = curve["barrier"]["loss_chord"]
    removed = 1 - max(0.0, left["value"]) / was["value"] if was["value"] > NONE else None
    bend = _at(f"local:{_bend(resolved, store, folder)}", a, case, store)
    longer = _at({**a, "continued": [STEPS]}, a, case, store)
    print(f"{first}; curve {_nats(left)}{f', {removed:.0%} removed' if removed is not None else ', too little to remove'}; "
          f"middle of the curve {curve['loss'][5]:.3f}, its bend {bend:.3f}, A after {STEPS} steps more {longer:.3f} nats", flush=True)  # fmt: skip
    return removed


def _nats(barrier: dict) -> str:
    return f"{barrier['value']:.3f} ({barrier['low']:.3f} to {barrier['high']:.3f})"


def _at(end: dict | str, other: dict, case: Case, store: Store) -> float:
    """The loss of one model."""
    return _answer({"version": 1, "a": end, "b": other, "tasks": [case.evaluated], "points": [0.0]}, store)[1]["loss"][0]


def _bend(resolved: Resolved, store: Store, folder: Path) -> Path:
    """The bend as a model of its own, which it is: its weights stand in A's names and A's order of labels."""
    made = folder / resolved.route.fingerprint
    if not made.exists():
        shutil.copytree(store.folder(resolved.a.fingerprint), made)
        shutil.copyfile(store.folder(resolved.route.fingerprint) / "bend-1.safetensors", made / "model.safetensors")
    return made


def cases(folder: Path, data: Path | None) -> dict[str, Case]:
    """What barriers are looked for on; with the texts in ``data`` also on novels that keep their names, which do not ship."""
    found = {name: Case(name, {"task": f"builtin:{name}"}, {"task": f"builtin:{name}", "split": "validation", "limit": ROWS}) for name in TASKS}
    if data is None:
        return found
    sys.path.append(str(Path(__file__).resolve().parent.parent / "tools"))
    from corpus import novels
    from make_tasks import finish, novel

    books = novels(data)
    for split, rows in finish(novel(books, masked=False), balance=True).items():
        pd.DataFrame([(text, list(books)[label]) for text, label in rows], columns=["text", "label"]).to_parquet(folder / f"{split}.parquet")
    train, told = ({"task": f"local:{folder / f'{split}.parquet'}", "split": "all", "text": "text", "label": "label"} for split in ("train", "validation"))
    return found | {"names": Case("novels by their names", train, told | {"limit": ROWS})}


def _answer(question: dict, store: Store) -> tuple[Resolved, dict]:
    """The question with its names resolved, and what its first task's entry of the result says."""
    resolved = resolve(parse(question))
    for event in run(parse(question), store):
        if isinstance(event, Training | Fitting) and event.step % 100 == 0:
            print(f"  {type(event).__name__.lower()}: step {event.step} of {event.steps}, loss {event.loss:.3f}", file=sys.stderr, flush=True)
    return resolved, collect(resolved, store)["tasks"][0]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curve", description=__doc__.splitlines()[0])
    parser.add_argument("asked", nargs="*", help="cost, barrier; numbers are seeds")
    parser.add_argument("--task", action="append", help="of the barrier: one of these tasks; names, with --data")
    parser.add_argument("--data", type=Path, help="folder with austen.json.gz")
    parser.add_argument("--store", type=Path, help="folder to keep what was trained in")
    given = parser.parse_args(arguments)
    seeds = [int(one) for one in given.asked if one.isdecimal()] or [1, 2, 3]
    asked = {one for one in given.asked if not one.isdecimal()} or {"cost", "barrier"}
    if asked - {"cost", "barrier"}:
        parser.error(f"{', '.join(sorted(asked - {'cost', 'barrier'}))}: there are cost and barrier")
    met = []
    with tempfile.TemporaryDirectory() as made:
        folder = given.store or Path(made)
        if "cost" in asked:
            met += [cost(name, source, Path(made) / name) for name, source in sources().items()]
        if "barrier" in asked:
            folder.mkdir(parents=True, exist_ok=True)
            known = cases(folder, given.data)
            if unknown := set(given.task or ()) - set(known):
                parser.error(f"{', '.join(unknown)}: there are {', '.join(known)}")
            for case in (known[name] for name in given.task or known):
                removed = [share for seed in seeds for share in barrier(case, seed, Store(folder / "store"), folder)]
                met += [share >= LEAST_REMOVED for share in removed]
                if removed:
                    print(f"{case.name}: {sum(removed) / len(removed):.0%} removed on average of {len(removed)} barriers, {min(removed):.0%} at the least", flush=True)
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
