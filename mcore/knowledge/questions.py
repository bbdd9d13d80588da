"""The paper's questions about knowledge, posed: one task to another, two minima of one task; on which rows, at how many points.

Pure functions from one question to another. What a person has chosen of the rest (base, steps, learning rate) stays.
"""

from __future__ import annotations

from typing import Literal

from mcore.presets import first_question
from mcore.question import Experiment, Recipe, as_written, parse
from mcore.resolved import Resolved
from mcore.tasks.rows import declarations
from mcore.tuning.pairs import OWN

Kind = Literal["tasks", "minima"]
KINDS: dict[Kind, str] = {"minima": "Two minima of one task", "tasks": "From one task to another"}
POINTS = (6, 11, 26, 51)  # the paper's six t, and finer ones, each of which has the six among them
ROWS = 512  # that are evaluated where nobody has said
SAMPLE = ("split", "limit", "sample_seed", "max_length")  # fields of a task that say which of its rows, and how much of each
TARGETS = ("builtin:spam", "builtin:speech")  # where nobody has named one: what a short tuning learns well
MOST_ROWS = 4000  # of a training split of which only a part was trained on


def kind(question: Experiment) -> Kind | None:
    """Which of the two it asks; None where an end is no recipe."""
    if not (isinstance(question.a, Recipe) and isinstance(question.b, Recipe)):
        return None
    return "minima" if question.a.task.task == question.b.task.task else "tasks"


def offered(*tasks: str) -> list[str]:
    """Addresses of tasks to choose from: those that ship, and these."""
    return list(dict.fromkeys([*(f"builtin:{name}" for name in declarations()), *tasks]))


def pose(question: Experiment, asked: Kind, source: str, target: str | None = None) -> Experiment:
    """The question ``asked`` with A tuned on ``source`` and B on ``target`` (or, with other seeds, on ``source`` too).

    The rows of ``source`` are evaluated, of the split that was evaluated before. Raises ``QuestionError`` where that cannot be asked.
    """
    written = as_written(question)
    like = next((end for side in "ab" if isinstance(end := written[side], dict)), as_written(first_question())["a"])
    like = {name: value for name, value in like.items() if name not in OWN}
    tasks = {end["task"]["task"]: end["task"] for side in "ba" if isinstance(end := written[side], dict)}
    a = like | {"task": tasks.get(source, {"task": source})}
    seeds = {name: _other(a, written["b"], name) for name in ("head_seed", "data_seed")}
    b = a | seeds
    if asked == "tasks":
        target = target if target not in (None, source) else next(one for one in TARGETS if one != source)
        b |= {"task": tasks.get(target, {"task": target})}
    before = written["tasks"][0]
    same_splits = before["task"] == source or all(one.startswith("builtin:") for one in (before["task"], source))
    rows = {name: value for name, value in a["task"].items() if name not in SAMPLE}
    rows |= {name: before[name] for name in SAMPLE if name in before and (name != "split" or same_splits)}
    written |= {"a": a, "b": b, "tasks": [{"limit": ROWS} | rows]}
    for name in ("labels", "path"):  # names of other models' outputs; a fit on other rows
        if name == "labels" or (written.get(name) or {}).get("task"):
            written.pop(name, None)
    return parse(written)


def on_points(question: Experiment, points: int) -> Experiment:
    """The same at so many evenly spaced t."""
    return parse(as_written(question) | {"points": points})


def trained_side(resolved: Resolved, number: int) -> str | None:
    """The endpoint that was, or will be, trained on the data of task ``number``, A first; None where neither was."""
    data = resolved.tasks[number].task.task
    return next((end.side for end in (resolved.a, resolved.b) if end.recipe and end.recipe.training.task.task == data), None)


def splits(resolved: Resolved, number: int) -> dict[str, str]:
    """``training`` and ``validation``: the names of the splits where they can be told; nothing where neither end was trained on the data."""
    side = trained_side(resolved, number)
    if side is None:
        return {}
    recipe = resolved.endpoint(side).recipe
    found = {"training": recipe.training.task.split}
    return found | ({"validation": recipe.validation.task.split} if recipe.validation else {})


def on_training_rows(question: Experiment, resolved: Resolved, number: int, most: int | None = None) -> Experiment:
    """The same about rows that the trained endpoint was followed on, at most ``most`` of them; for ``trained_side``.

    Where it was trained on the whole split, exactly those that were followed; where on a part of it, rows of the whole split, among
    which they are.
    """
    side = trained_side(resolved, number)
    recipe = resolved.endpoint(side).recipe
    task = {name: value for name, value in as_written(question)[side]["task"].items() if value is not None}
    asked = recipe.recipe
    if asked.rows == "all" and asked.task.limit is None:  # one sample: a smaller one is part of a larger one
        task |= {"limit": _least(asked.cartography or ROWS, most), "sample_seed": 0}
    elif asked.task.limit is None:
        task |= {"limit": _least(MOST_ROWS, most), "sample_seed": 0}
    elif most is not None:
        task["limit"] = _least(asked.task.limit, most)
    return _with_rows(question, number, task | {"split": recipe.training.task.split})


def on_validation_rows(question: Experiment, resolved: Resolved, number: int) -> Experiment:
    """The same about rows that were held out from the training."""
    side = trained_side(resolved, number)
    task = {name: value for name, value in as_written(question)[side]["task"].items() if name not in SAMPLE}
    held_out = resolved.endpoint(side).recipe.validation
    return _with_rows(question, number, task | {"split": held_out.task.split, "limit": ROWS})


def _with_rows(question: Experiment, number: int, task: dict) -> Experiment:
    """How a row is cut and read stays as it was asked for."""
    written = as_written(question)
    kept = {name: value for name, value in written["tasks"][number].items() if name in ("max_length", "read", "template", "answers", "normalised")}
    tasks = list(written["tasks"])
    tasks[number] = {name: value for name, value in task.items() if name != "max_length"} | kept
    return parse(written | {"tasks": tasks})


def _other(a: dict, b: object, name: str) -> int:
    """A seed that is not A's: B's own, or the next one."""
    given = a.get(name, Recipe.model_fields[name].default)
    own = b.get(name, Recipe.model_fields[name].default) if isinstance(b, dict) else given
    return own if own != given else given + 1


def _least(count: int, most: int | None) -> int:
    return count if most is None else min(count, most)
