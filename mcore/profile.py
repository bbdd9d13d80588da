"""How this app is deployed: on a person's own machine, where nothing is limited, or hosted for strangers.

    python -m mcore.profile     prints what holds here; exit 2 with a sentence if a variable is wrong

Hosted is what ``MCORE_PROFILE=hosted`` or a Space's ``SPACE_ID`` says. Every limit has an environment variable,
which holds in either profile. ``check`` looks at the question alone: nothing on the disk is touched, so that
a link cannot ask what files this machine has. ``check_size`` looks at what the names stood for.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING

from mcore.errors import McoreError, QuestionError
from mcore.question import Experiment, Recipe
from mcore.store import LIMIT_BYTES

if TYPE_CHECKING:  # the worker asks for its limits before anything heavy is there
    from mcore.checkpoints import Checkpoint
    from mcore.resolve import Resolved

PROFILES = ("local", "hosted")
NAMES = ("labels", "label", "text")  # fields that hold anybody's words


@dataclass(frozen=True)
class Profile:
    """The limits that hold; None: none.

    ``store``, ``downloads`` (files from the Hub) and ``memory`` (of the worker, between two jobs) are in bytes.
    """

    hosted: bool = False
    steps: int | None = None
    batch_size: int | None = None
    rows: int | None = None  # evaluated, for each task
    max_length: int | None = None  # tokens
    points: int | None = None
    tasks: int | None = None
    parameters: int | None = None  # of one model
    bytes: int | None = None  # of its weights
    queued: int | None = None  # jobs of one visitor that wait
    store: int = LIMIT_BYTES
    memory: int | None = None
    downloads: int | None = None
    allow_bin: tuple[str, ...] = ()  # repositories whose pickles a host opens


LIMITS = tuple(field.name for field in fields(Profile) if field.name not in ("hosted", "allow_bin"))
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HOSTED = Profile(
    hosted=True, steps=1_000, batch_size=64, rows=2_000, max_length=256, points=101, tasks=3,
    parameters=150_000_000, bytes=1_000_000_000, queued=3, store=10_000_000_000, memory=6_000_000_000, downloads=10_000_000_000,
)  # fmt: skip (two cores and 16 GB, shared by everybody who comes)


@cache
def profile() -> Profile:
    """The profile of this process. Raises ``McoreError`` if a variable is wrong."""
    return read(os.environ)


def variable(limit: str) -> str:
    """The environment variable that sets a limit."""
    return "MCORE_STORE_LIMIT" if limit == "store" else f"MCORE_MOST_{limit.upper()}"


def read(environment: Mapping[str, str]) -> Profile:
    """The profile that these variables describe. Raises ``McoreError``."""
    named = environment.get("MCORE_PROFILE") or ("hosted" if environment.get("SPACE_ID") else "local")
    if named not in PROFILES:
        raise McoreError(f"MCORE_PROFILE is {named!r}; give one of: {', '.join(PROFILES)}.")
    standard = HOSTED if named == "hosted" else Profile()
    limits = {name: _limit(name, getattr(standard, name), environment) for name in LIMITS}
    return Profile(standard.hosted, **limits, allow_bin=_repositories(environment.get("MCORE_ALLOW_BIN", "")))


def check(question: Experiment, limits: Profile) -> None:
    """Raises a ``QuestionError`` that names the first field which this host refuses, and its limit."""
    _check_addresses(question, limits)
    for side in ("a", "b"):
        if isinstance(end := getattr(question, side), Recipe):
            check_recipe(end, limits, side)
    _most("tasks", len(question.tasks), "tasks", limits.tasks)
    _most("points", len(question.ts()), "points", limits.points)
    _most("path.steps", question.path.steps or 0, "training steps", limits.steps)
    _most("path.batch_size", question.path.batch_size or 0, "rows in a batch", limits.batch_size)
    for i, task in enumerate(question.tasks):
        _most(f"tasks.{i}.limit", task.limit or 0, "rows", limits.rows)
        _most(f"tasks.{i}.max_length", task.max_length or 0, "tokens", limits.max_length)


def check_recipe(recipe: Recipe, limits: Profile, field: str = "recipe") -> None:
    """The same for a recipe, below ``field``."""
    _check_addresses(recipe, limits, field)
    _most(f"{field}.steps", recipe.last_step, "training steps", limits.steps)
    _most(f"{field}.batch_size", recipe.batch_size, "rows in a batch", limits.batch_size)
    _most(f"{field}.task.max_length", recipe.task.max_length or 0, "tokens", limits.max_length)
    _most(f"{field}.cartography", recipe.cartography, "rows followed", limits.rows)


def check_size(resolved: Resolved, limits: Profile) -> None:
    """What can only be told when the names are resolved: rows and parameters. Raises ``QuestionError``."""
    for end in (resolved.a, resolved.b):
        check_model(end.looked_at, limits, f"{end.side}.base" if end.recipe else end.side)
    for i, task in enumerate(resolved.tasks):
        _most(f"tasks.{i}.limit", len(task.rows), "rows", limits.rows)


def check_model(model: Checkpoint, limits: Profile, field: str) -> None:
    """The size of a checkpoint, which an adapter's base is a part of."""
    _most(field, model.parameters, "parameters", limits.parameters)
    _most(field, model.bytes, "bytes of weights", limits.bytes)


def at_home() -> str:
    """How the same is done without a host's limits: the commands."""
    space = os.environ.get("SPACE_ID", "")
    copy = f"git clone https://huggingface.co/spaces/{space} && cd {space.partition('/')[2]}" if REPOSITORY.fullmatch(space) else "in a copy of this app"
    return f"run it on your own machine: {copy}{' && ' if REPOSITORY.fullmatch(space) else ': '}make run (or: .venv/bin/python -m mcore run EXPERIMENT.json)"


def told(limits: Profile) -> str:
    """One line on what may be asked here; empty where everything may."""
    parts = [
        (limits.steps, "{:,} training steps"), (limits.batch_size, "{:,} rows in a batch"), (limits.points, "{:,} points"),
        (limits.tasks, "{:,} tasks"), (limits.rows, "{:,} rows of each"), (limits.queued, "{:,} questions of yours in the queue"),
    ]  # fmt: skip
    return ", ".join(form.format(most) for most, form in parts if most is not None)


def _check_addresses(question: Experiment | Recipe, limits: Profile, field: str = "") -> None:
    """No file of this host is named, in whatever field an address stands."""
    for path, address in _addresses(question.model_dump(mode="json"), field) if limits.hosted else ():
        if address.startswith("local:"):
            raise QuestionError(path, "this host opens no files of its own", f"use what ships with the app or stands on the Hub, or {at_home()}")


def _addresses(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Every text of the question that is no name of a label or a column, and where it stands."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list):
        for name, inside in value.items() if isinstance(value, dict) else enumerate(value):
            if name not in NAMES:
                yield from _addresses(inside, f"{path}.{name}".lstrip("."))


def _most(field: str, asked: int, what: str, limit: int | None) -> None:
    if limit is not None and asked > limit:
        raise QuestionError(field, f"{asked:,} {what} are more than this host carries out", f"give at most {limit:,}, or {at_home()}")


def _limit(name: str, standard: int | None, environment: Mapping[str, str]) -> int | None:
    text = environment.get(variable(name), "").strip()
    if not text:
        return standard
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise McoreError(f"{variable(name)} is {text!r}; give a whole number above 0, such as {getattr(HOSTED, name)}.")
    return int(text)


def _repositories(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if wrong := [name for name in names if not REPOSITORY.fullmatch(name)]:
        raise McoreError(f"MCORE_ALLOW_BIN names {wrong[0]!r}; give repositories as ORG/NAME, with commas between them.")
    return names


def _lines(limits: Profile) -> Iterator[str]:
    yield f"profile: {PROFILES[limits.hosted]}"
    for name in LIMITS:
        most = getattr(limits, name)
        yield f"{variable(name)}: {'no limit' if most is None else f'{most:,}'}"
    yield f"MCORE_ALLOW_BIN: {', '.join(limits.allow_bin) or ('no repository' if limits.hosted else 'every repository')}"


if __name__ == "__main__":
    try:
        print("\n".join(_lines(profile())))
    except McoreError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
