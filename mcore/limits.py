"""Whether a host carries out a question: it is held against the limits of the host's profile.

``check`` looks at the question alone: nothing on the disk is touched, so that a link cannot ask what files this machine
has. ``check_size`` looks at what the names stood for.
"""

from __future__ import annotations

from collections.abc import Iterator

from mcore.errors import QuestionError
from mcore.models.added import tuned
from mcore.models.checkpoints import Checkpoint
from mcore.profile import Profile, at_home
from mcore.question import Experiment, Recipe
from mcore.resolve import watched
from mcore.resolved import Resolved
from mcore.studies.study import Study

NAMES = ("labels", "label", "text", "template", "answers", "columns", "form")  # fields that hold anybody's words


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
    if question.representation and (task := question.representation.task):
        _most("representation.task.max_length", task.max_length or 0, "tokens", limits.max_length)


def check_study(study: Study, limits: Profile) -> None:
    """Raises a ``QuestionError`` where there are too many questions in it, or one of them is refused."""
    _most("study", len(study.questions), "questions", limits.questions)
    for question in study.questions.values():
        check(question, limits)


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
        if end.recipe and end.delta:
            added = tuned(end.delta, end.recipe.base, len(end.labels or ()), bool(end.recipe.recipe.train_norms)) or 0
            _most(f"{end.side}.method", end.looked_at.parameters + added, "parameters, with those that are added,", limits.parameters)
        if end.recipe and end.recipe.kind != "classifier":
            seen = max(watched(end.recipe).values(), default=0)
            _most(f"{end.side}.task.answers", seen, "answers to all rows that it is watched on", limits.answers)
    if resolved.route.base is not None:
        check_model(resolved.route.base, limits, "path.base")
    for i, task in enumerate(resolved.tasks):
        _most(f"tasks.{i}.limit", len(task.rows), "rows", limits.rows)
        _most(f"tasks.{i}.answers", task.rows.answered, "answers to all rows together", limits.answers)
    if resolved.representation is not None:
        _most("representation.task.limit", len(resolved.representation.rows), "rows", limits.rows)


def check_model(model: Checkpoint, limits: Profile, field: str) -> None:
    """The size of a checkpoint, which an adapter's base is a part of."""
    _most(field, model.parameters, "parameters", limits.parameters)
    _most(field, model.bytes, "bytes of weights", limits.bytes)


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
