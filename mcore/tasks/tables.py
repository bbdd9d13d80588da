"""Tables: the columns of a data set read as texts and what there is to get right about them. No file is opened here.

Which column is what is found where it can be: by the names that are usual, by what the columns hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from mcore.errors import QuestionError
from mcore.question import Task
from mcore.tasks.columns import ClassNames, Columns, blank
from mcore.tasks.forms import names_in
from mcore.tasks.prompts import columns_in

LABEL_NAMES = ("label", "labels", "class", "target", "category", "y")
MOST_LABELS = 200
NOT_TEXT = ("split", "id", "idx", "index", "row")
Texts = list[str] | list[tuple[str, str]]


@dataclass(frozen=True)
class Asked:
    """What a task says of its columns: the text, the label (``labelled``: whether one is wanted), what its template and answers use.

    ``choices``: the column of lists that each row's answers come from. ``header``: the names of the columns of files that say none.
    """

    text: tuple[str, ...]
    label: str | None
    template: tuple[str, ...]
    answers: tuple[str, ...]
    labelled: bool
    choices: str | None = None
    header: tuple[str, ...] = ()

    @property
    def used(self) -> tuple[str, ...]:
        """The columns that templates use."""
        return tuple(dict.fromkeys((*self.template, *self.answers)))

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.text, *self.used, *((self.label,) if self.label else ()))))


@dataclass(frozen=True)
class Table:
    """Rows that an address offers. ``splits`` is None where the data names none; ``columns`` are those that templates use.

    ``labels``: [rows], places in ``names``; scores where there are no names; None where nothing is labelled.
    """

    texts: Texts
    labels: np.ndarray | None
    names: tuple[str, ...]
    ids: np.ndarray  # [rows]
    splits: np.ndarray | None  # [rows], names of splits
    text: list[str]
    label: str | None
    columns: Columns = field(default_factory=dict)


def asked(task: Task, where: str) -> Asked:
    """What the task says of its columns. Raises ``QuestionError``."""
    text = (task.text,) if isinstance(task.text, str) else tuple(task.text or ())
    inside = names_in(task.form, f"{where}.form")  # what a template says of these stands in no column
    template = columns_in([task.template] if task.template else [], f"{where}.template")
    answers = tuple(name for name in columns_in(task.answers or [], f"{where}.answers") if name not in inside)
    labelled = task.read != "tokens"
    if task.label and not labelled:
        raise QuestionError(f"{where}.label", "token losses are read without labels", "leave the label out")
    if task.template and not template:
        raise QuestionError(f"{where}.template", "it names no column", "write the name of a column between braces")
    if task.form and len(text) > 1:
        raise QuestionError(f"{where}.text", f"the form is that of one column, and there are {len(text)}", "name one of them")
    template = tuple(name for name in template if name not in inside)
    if task.template and not text and not task.form:  # what is read is what the template names; rows without splits are dealt by it
        text = template
    choices = None
    if labelled and task.answers and len(task.answers) == 1:
        if answers == () or task.answers[0] != f"{{{answers[0]}}}":
            right = "give one for each label, or the name of a column of lists between braces"
            raise QuestionError(f"{where}.answers", f"{task.answers[0][:60]!r} is one answer alone", right)
        choices = answers[0]
    return Asked(text, task.label, template, answers, labelled, choices, tuple(task.columns or ()))


def of_columns(columns: Columns, given_names: ClassNames, wanted: Asked, where: str) -> Table:
    """The table that whole columns make. Raises ``QuestionError``."""
    rows = len(next(iter(columns.values()), ()))
    wanted = named(columns, wanted, where)
    for name in wanted.text:
        if name not in wanted.used and (empty := first_blank(columns[name])) is not None:
            raise QuestionError(f"{where}.text", f"row {empty} has no {name}", "fill it or leave the row out")
    names, labels = (), None
    if wanted.choices:
        columns, names, labels = among(columns, wanted, where)
    elif wanted.label:
        names, labels = classes(wanted.label, columns[wanted.label], given_names.get(wanted.label), f"{where}.label")
    return Table(
        texts=texts(columns, wanted.text),
        labels=labels,
        names=names,
        ids=np.arange(rows),
        splits=np.array(list(map(str, columns["split"])), object) if "split" in columns and "split" not in wanted.columns else None,
        text=list(wanted.text),
        label=wanted.label,
        columns={name: columns[name] for name in wanted.used},
    )


def named(columns: Columns, wanted: Asked, where: str) -> Asked:
    """What was asked for with the columns of text and label found, and every column there. Raises ``QuestionError``."""
    label = wanted.label or (_label_column(columns, wanted, where) if wanted.labelled else None)
    text = wanted.text or tuple(_text_columns(columns, label or _usual_label(columns), where))
    for key, names in [("label", [label] if label else []), ("template", wanted.template), ("answers", wanted.answers), ("text", text)]:
        if name := next((name for name in names if name not in columns), None):
            raise QuestionError(f"{where}.{key}", f"there is no column {name!r}", f"use one of: {', '.join(columns)}")
    return replace(wanted, text=text, label=label)


def texts(columns: Columns, names: tuple[str, ...]) -> Texts:
    """The texts of these columns: one each, or tuples."""
    found = [["" if value is None else str(value) for value in columns[name]] for name in names]
    return found[0] if len(found) == 1 else list(zip(*found, strict=True))


def classes(column: str, values: list, names: list[str] | None, where: str) -> tuple[tuple[str, ...], np.ndarray]:
    """The labels' names and each row's place among them; no names and scores where the numbers are no classes."""
    if (missing := first_blank(values)) is not None:
        raise QuestionError(where, f"row {missing} has no label", "fill it or leave the row out")
    values = [str(value).strip() for value in values]
    numbers = [_number(value) for value in values]
    if None not in numbers:
        if any(number % 1 != 0 for number in numbers):
            return (), scores(column, values, where)
        values = list(map(int, numbers))
        if names and min(values) >= 0 and max(values) < len(names):
            return tuple(names), np.array(values, np.int64)
    known = sorted(set(values))
    if len(known) < 2:
        raise QuestionError(where, f"all rows have the label {str(known[0])!r}", "give data with at least two classes")
    if len(known) > MOST_LABELS:
        raise QuestionError(where, f"the column {column!r} has {len(known)} values", f"name a column with at most {MOST_LABELS} classes")
    places = {value: i for i, value in enumerate(known)}
    return tuple(map(str, known)), np.array([places[value] for value in values], np.int64)


def among(columns: Columns, wanted: Asked, where: str) -> tuple[Columns, tuple[str, ...], np.ndarray]:
    """Of rows that each have their own choices: the columns with what may be chosen, the names of the places, the right place.

    A row's label is the right choice, or a list of right ones, of which the first stays: it is told from the wrong ones.
    """
    lists, right, kept = columns[wanted.choices], columns[wanted.label], []
    places = np.zeros(len(lists), np.int64)
    for row, (items, good) in enumerate(zip(lists, right, strict=True)):
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise QuestionError(f"{where}.answers", f"row {row} of {wanted.choices!r} holds no list of texts", "name another column")
        good = set(map(str, good)) if isinstance(good, list) else {str(good)}
        items = [item for item in dict.fromkeys(items) if item.strip()]
        first = next((item for item in items if item in good), None)
        if first is None or not 2 <= len(items) <= MOST_LABELS:
            told = f"none of its {len(items)} choices is in {wanted.label!r}" if first is None else f"it has {len(items)} choices"
            raise QuestionError(f"{where}.label", f"row {row}: {told}", "name another split or column")
        kept.append([item for item in items if item == first or item not in good])
        places[row] = kept[-1].index(first)
    names = tuple(str(i + 1) for i in range(max(map(len, kept))))
    return columns | {wanted.choices: kept}, names, places


def scores(column: str, values: list, where: str) -> np.ndarray:
    """Numbers to come near to, [rows]."""
    numbers = [_number(str(value)) for value in values]
    if (wrong := next((i for i, number in enumerate(numbers) if number is None or not np.isfinite(number)), None)) is not None:
        raise QuestionError(where, f"row {wrong} of {column!r} holds no number", "fill it or name another column")
    return np.array(numbers, np.float64)


def sample(places: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    """``limit`` of the places, chosen by the seed, rising. A smaller sample is part of a larger one of that seed."""
    if limit is None or limit >= len(places):
        return np.sort(places)
    return np.sort(np.random.default_rng([seed, 1]).permutation(places)[:limit])


def first_blank(values: list) -> int | None:
    return next((i for i, value in enumerate(values) if blank(value)), None)


def _usual_label(columns: Columns) -> str | None:
    lowered = {name.lower(): name for name in columns}
    return next((lowered[name] for name in LABEL_NAMES if name in lowered), None)


def _label_column(columns: Columns, wanted: Asked, where: str) -> str | None:
    """None where the texts stand alone: nothing beside them could be a label."""
    if found := _usual_label(columns):
        return found
    others = {name: values for name, values in columns.items() if name not in wanted.text and name.lower() not in NOT_TEXT}
    if len(others) == (0 if wanted.text else 1) and not wanted.answers:
        return None
    few = [name for name, values in others.items() if len(set(map(str, values))) <= min(20, len(values) // 2)]
    if len(few) == 1:
        return few[0]
    right = f"name one of: {', '.join(others)}; or read the texts alone, by token losses"
    raise QuestionError(f"{where}.label", "it is not clear which column is the label", right)


def _text_columns(columns: Columns, label: str | None, where: str) -> list[str]:
    found = [
        name
        for name, values in columns.items()
        if name != label and name.lower() not in NOT_TEXT and sum(isinstance(value, str) for value in values) > 0.5 * len(values)
    ]
    if 1 <= len(found) <= 2:
        return found
    raise QuestionError(f"{where}.text", f"{len(found)} columns could be the text", f"name one or two of: {', '.join(columns)}")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if number != number or "_" in text else number
