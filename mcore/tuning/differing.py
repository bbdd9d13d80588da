"""What differs between two endpoints, in one line, and whether that is more than one thing.

Every field of a recipe has its words here; what makes no other model of it (which rows are followed, another name for the same
steps) is told and not counted. No data are read: what two parts of the rows have in common is told by their names, and exactly where
both are resolved.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mcore.models.methods import filled
from mcore.names import (
    address_name,
    by_method,
    endpoint_name,
    in_words,
    method_name,
    parts_of,
    steps_text,
    task_name,
    value_text,
)
from mcore.question import OF_METHOD, Endpoint, Recipe, Task
from mcore.tasks.rowparts import alike, shared
from mcore.tuning.schedule import on_one_way

if TYPE_CHECKING:  # of whose rows ``common`` tells
    from mcore.resolved import Resolved

FIELDS = {  # of a recipe, in the order in which they are told; what is not here has words of its own below
    "head_seed": "head seed", "data_seed": "data seed", "batch_size": "batch size", "learning_rate": "learning rate", "optimizer": "optimiser",
    "decay": "decay", "weight_decay": "weight decay", "warmup": "warm-up", "clip": "gradient clip", "cartography": "rows followed",
}  # fmt: skip
OTHERWISE = ("base", "task", "steps", "stop_at", "continued", "rows", "method", *OF_METHOD)
USUAL = {"optimizer": "AdamW", "decay": "linear"}  # what is meant where such a field is left out
SAID = {"adam": "Adam", "sgd": "SGD"}
ADDED = {
    "rank": "rank", "alpha": "alpha", "bottleneck": "bottleneck", "placement": "placement", "activation": "activation",
    "prefix_length": "prefix length", "init_scale": "initial scale", "delta_seed": "seed", "layers": "layers", "train_norms": "norms tuned",
}  # fmt: skip
OWNER = {"lora": "LoRA", "adapter": "adapter", "prefix": "prefix", "bitfit": "BitFit"}
SAMPLED = ("split", "limit", "sample_seed")  # fields of a task that choose its rows
LONGEST = 40  # characters of a value
COUNTS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


@dataclass(frozen=True)
class Difference:
    """One thing that differs. ``counts``: whether it makes another model."""

    told: str
    counts: bool = True


@dataclass(frozen=True)
class Common:
    """How many rows A and B are trained on, and how many of them both are."""

    a: int
    b: int
    both: int

    def __str__(self) -> str:
        if not self.both:
            return "none in common"
        return f"{self.both:,} of {self.a:,} in common" if self.a == self.b else f"{self.both:,} in common, of {self.a:,} and {self.b:,}"


def differences(a: Endpoint, b: Endpoint, rows: Common | None = None) -> str:
    """One line on what differs: ``head seed 1 → 2; everything else the same``. ``rows``: where it is known."""
    if isinstance(a, Recipe) and isinstance(b, Recipe):
        found = [one.told for one in between(a, b, rows)]
        return "; ".join([", ".join(found), "everything else the same"]) if found else "the same recipe: nothing differs"
    for recipe, base, told in ((b, a, "B is A"), (a, b, "A is B")):
        if isinstance(recipe, Recipe) and recipe.base == base:
            return f"{told} tuned on {task_name(recipe.task)}{in_words(recipe)}{by_method(recipe)} for {steps_text(recipe)}"
    if isinstance(a, Recipe) or isinstance(b, Recipe):
        kinds = ["a recipe" if isinstance(one, Recipe) else "a checkpoint" for one in (a, b)]
        return f"A is {kinds[0]}, B {kinds[1]}: {endpoint_name(a)} → {endpoint_name(b)}"
    return ", ".join(one.told for one in _bases(a, b)) or "the same checkpoint: nothing differs"


def warning(a: Endpoint, b: Endpoint) -> str:
    """A sentence where more than one thing differs between two recipes, else nothing."""
    if not (isinstance(a, Recipe) and isinstance(b, Recipe)):
        return ""
    count = sum(one.counts for one in between(a, b))
    if count < 2:
        return ""
    return f"{COUNTS[count] if count < len(COUNTS) else count} things differ: what you see cannot be put down to one of them."


def between(a: Recipe, b: Recipe, rows: Common | None = None) -> list[Difference]:
    """Everything that differs between two recipes."""
    return [*_bases(a.base, b.base), *_tasks(a.task, b.task, rows), *_rows(a, b, rows), *_steps(a, b), *_fields(a, b), *_methods(a, b)]


def common(resolved: Resolved) -> Common | None:
    """The rows that both recipes are trained on; None where they are of different data, or one end is no recipe."""
    a, b = resolved.a.recipe, resolved.b.recipe
    if a is None or b is None or (a.training.task.task, a.training.task.split) != (b.training.task.task, b.training.task.split):
        return None
    one, other = a.training.rows.ids, b.training.rows.ids
    return Common(len(one), len(other), len(np.intersect1d(one, other, assume_unique=True)))


def _fields(a: Recipe, b: Recipe) -> list[Difference]:
    found = []
    for field, label in FIELDS.items():
        old, new = (getattr(one, field) for one in (a, b))
        if old == new:
            continue
        unused = field == "head_seed" and "answers" == a.task.read == b.task.read
        told = f"{label} {_said(old, field)} → {_said(new, field)}" + (" (nothing in a language model starts from it)" if unused else "")
        found.append(Difference(told, field != "cartography" and not unused))
    return found


def _said(value: object, field: str) -> str:
    if value is None:
        return USUAL[field]
    return SAID.get(str(value), value_text(value))


def _methods(a: Recipe, b: Recipe) -> list[Difference]:
    """What differs in the tuning method, with what is left out as it will be: another head seed starts an adapter elsewhere too."""
    if a.method != b.method:
        return [Difference(f"method {method_name(a)} → {method_name(b)}")]
    old, new = filled(a), filled(b)
    return [
        Difference(f"{OWNER[a.method]} {label} {value_text(was)} → {value_text(now)}")
        for field, label in ADDED.items()
        if (was := getattr(old, field)) != (now := getattr(new, field))
    ]


def _bases(a: str, b: str) -> list[Difference]:
    if a == b:
        return []
    (name, old), (other, new) = parts_of(a), parts_of(b)
    if name != other or a.startswith("local:"):
        return [Difference(f"{'base' if a.startswith('builtin:') else 'checkpoint'} {address_name(a)} → {address_name(b)}")]
    steps = all(re.fullmatch(r"(step)?\d+", one) for one in (old, new))
    return [Difference(f"{'pre-training step' if steps else 'revision'} {old or 'main'} → {new or 'main'}")]


def _tasks(a: Task, b: Task, rows: Common | None) -> list[Difference]:
    found = []
    if (words := ["with a head" if one.read in (None, "head") else "in words" for one in (a, b)])[0] != words[1]:
        found.append(Difference(f"answers {words[0]} → {words[1]}"))
    if a.task != b.task:  # its columns, prompts and samples belong to it
        return [Difference(f"task {task_name(a)} → {task_name(b)}"), *found]
    for field in Task.model_fields:
        old, new = getattr(a, field), getattr(b, field)
        if field != "read" and old != new:
            same = f" ({rows})" if rows and field in SAMPLED else ""
            found.append(Difference(f"task's {field.replace('_', ' ')} {_short(old)} → {_short(new)}{same}"))
    return found


def _rows(a: Recipe, b: Recipe, rows: Common | None) -> list[Difference]:
    if a.rows == b.rows:
        return []
    told = f"training rows {value_text(a.rows)} → {value_text(b.rows)}"
    if alike(a.rows) == alike(b.rows):
        return [Difference(f"{told} (the same part)", False)]
    if rows:
        return [Difference(f"{told} ({rows})", not rows.a == rows.b == rows.both)]
    part = shared(a.rows, b.rows)
    return [Difference(told + (f" ({f'{100 * part:.3g} %' if part else 'none'} in common)" if a.task == b.task else ""))]


def _steps(a: Recipe, b: Recipe) -> list[Difference]:
    """Checkpoints of one training, or trainings of their own, each with its rates."""
    if (a.steps, a.stop_at, a.continued) == (b.steps, b.stop_at, b.continued):
        return []
    old, new = (steps_text(one).removesuffix(" steps").removesuffix(" step") for one in (a, b))
    rates = {name: getattr(a, name) for name in ("learning_rate", "warmup", "decay")}
    if not on_one_way(a, b.model_copy(update=rates)):
        return [Difference(f"training steps {old} → {new}, each on a schedule of its own")]
    if a.last_step == b.last_step:
        return [Difference(f"training steps {old} → {new} (the same steps)", False)]
    alike = {name: getattr(a, name) for name in ("steps", "stop_at", "continued", "cartography")}
    return [Difference(f"step {a.last_step:,} → {b.last_step:,} {'of one training' if b.model_copy(update=alike) == a else 'on one schedule'}")]


def _short(value: object) -> str:
    told = ", ".join(map(str, value)) if isinstance(value, list) else value_text(value)
    return told if len(told) <= LONGEST else f"{told[: LONGEST - 1]}…"
