"""How this app is deployed: on a person's own machine, where nothing is limited, or hosted for strangers.

    python -m mcore.profile     prints what holds here; exit 2 with a sentence if a variable is wrong

Hosted is what ``MCORE_PROFILE=hosted`` or a Space's ``SPACE_ID`` says. Every limit has an environment variable,
which holds in either profile. ``mcore.limits`` holds questions against them.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache

from mcore.errors import McoreError
from mcore.store import LIMIT_BYTES

PROFILES = ("local", "hosted")


@dataclass(frozen=True)
class Profile:
    """The limits that hold; None: none.

    ``store``, ``downloads`` (files from the Hub) and ``memory`` (of the worker, between two jobs) are in bytes.
    """

    hosted: bool = False
    steps: int | None = None
    batch_size: int | None = None
    rows: int | None = None  # evaluated, for each task
    answers: int | None = None  # to all rows of a task together
    max_length: int | None = None  # tokens
    points: int | None = None
    tasks: int | None = None
    parameters: int | None = None  # of one model
    bytes: int | None = None  # of its weights
    queued: int | None = None  # jobs of one visitor that wait
    questions: int | None = None  # of one study
    store: int = LIMIT_BYTES
    memory: int | None = None
    downloads: int | None = None
    allow_bin: tuple[str, ...] = ()  # repositories whose pickles a host opens


LIMITS = tuple(field.name for field in fields(Profile) if field.name not in ("hosted", "allow_bin"))
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HOSTED = Profile(
    hosted=True, steps=1_000, batch_size=64, rows=2_000, answers=20_000, max_length=256, points=101, tasks=3,
    parameters=150_000_000, bytes=1_000_000_000, queued=3, questions=60, store=10_000_000_000, memory=6_000_000_000, downloads=10_000_000_000,
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
