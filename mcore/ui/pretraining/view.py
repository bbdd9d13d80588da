"""What the Pre-training page asks, as a frozen value that stands in the address, every part of it under its own name.

What comes from the address is a stranger's text: what makes no sense there is told, and has its default. No Streamlit here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mcore.studies.history import History, spread
from mcore.studies.pretraining import MOST_CHOSEN, MOST_SEEDS, TRAINING, Sweep

VERSION = "1"
FIRST_STEPS = 5  # that are chosen of a history as long as nobody chooses
NUMBERS = {  # parameter -> least, most, what it is
    "seeds": (2, MOST_SEEDS, "seeds"), "train": (1, 1_000_000, "training steps"), "batch": (1, 4096, "rows in a batch"), "rows": (8, 1_000_000, "rows"),
    "points": (3, 1001, "points"), "longest": (4, 8192, "tokens"),
}  # fmt: skip
MOST_CHARACTERS = 1000


@dataclass(frozen=True)
class View:
    """``steps``: None as long as nobody has chosen any; ``train``, ``batch``, ``rate``: of each training; ``longest`` text in tokens."""

    base: str = "builtin:austen"
    steps: tuple[int, ...] | None = None
    task: str = "builtin:speech"
    other: str | None = None
    seeds: int = 4
    train: int = TRAINING["steps"]
    batch: int = TRAINING["batch_size"]
    rate: float = TRAINING["learning_rate"]
    rows: int = 512
    points: int = 9
    longest: int | None = None


def read(query: Mapping[str, str]) -> tuple[View, list[str]]:
    """The view in the parameters of an address, and a sentence for each that makes no sense."""
    told, wrong, query = {}, [], {name: words.strip() for name, words in query.items() if words.strip()}
    if query.get("v", VERSION) != VERSION:
        wrong.append(f"v: the link's version is {query['v'][:20]!r}; this explorer reads version {VERSION}.")
    for name in ("base", "task", "other"):
        if len(words := query.get(name, "")) in range(1, MOST_CHARACTERS + 1):
            told[name] = words
    for name, (least, most, what) in NUMBERS.items():
        if name in query:
            words = query[name]
            if re.fullmatch(r"[0-9]{1,9}", words) and least <= int(words) <= most:
                told[name] = int(words)
            else:
                wrong.append(f"{name}: {words[:40]!r} is not possible; give from {least} to {most:,} {what}.")
    if "rate" in query:
        rate = number(query["rate"])
        if rate is not None and 0 < rate <= 10:
            told["rate"] = rate
        else:
            wrong.append(f"rate: {query['rate'][:40]!r} is no learning rate; give a number above 0 and up to 10.")
    if "steps" in query:
        words = query["steps"].split(",")
        if len(words) <= MOST_CHOSEN and all(re.fullmatch(r"[0-9]{1,12}", word) for word in words):
            told["steps"] = tuple(sorted({int(word) for word in words}))
        else:
            wrong.append(f"steps: {query['steps'][:40]!r} is no choice of steps; give up to {MOST_CHOSEN} numbers with commas.")
    return View(**told), wrong


def written(view: View) -> dict[str, str]:
    """Every parameter of the address; what is None is left out."""
    values = {name: value for name, value in vars(view).items() if value is not None}
    if view.steps is not None:
        values["steps"] = ",".join(map(str, view.steps))
    return {"v": VERSION, **{name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in values.items()}}


def chosen(view: View, known: History) -> tuple[int, ...]:
    """The steps that are asked for: those of the view, else a few of the history."""
    return view.steps if view.steps is not None else tuple(spread(list(known.steps), FIRST_STEPS))


def sweep(view: View, known: History) -> Sweep:
    """The question. Raises ``QuestionError``."""
    extra = {} if view.longest is None else {"max_length": view.longest}
    return Sweep(
        known.bases(chosen(view, known)),
        {"task": view.task, **extra},
        None if view.other is None else {"task": view.other, **extra},
        tuple(range(1, view.seeds + 1)),
        {"steps": view.train, "batch_size": view.batch, "learning_rate": view.rate},
        view.rows,
        view.points,
    )


def number(words: str) -> float | None:
    """A finite number in words, ``3e-4``; None where it is none."""
    try:
        value = float(words.strip().replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
