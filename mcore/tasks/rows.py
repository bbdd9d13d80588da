"""Tasks: rows found, checked, sampled and identified. No tokens and no model here.

A row's id is its place in the split's file (built-in tasks, data sets on the Hub) or in the whole file (local
ones), so that it can be looked up by hand.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from mcore.errors import QuestionError, first_line
from mcore.hub import data as hubdata
from mcore.models.checkpoints import BUILTIN, file_digest
from mcore.models.checkpoints import named as say_something
from mcore.question import Task
from mcore.tasks import rowparts
from mcore.tasks.columns import MOST_FILE_BYTES, ClassNames, Columns, read
from mcore.tasks.forms import taken_apart
from mcore.tasks.prompts import MOST_TOGETHER, as_words, columns_in, render
from mcore.tasks.tables import Asked, Table, asked, of_columns, sample

SPLITS = ("train", "validation", "test")
Values = list | dict[int, str]  # of a column, or of a part of one at the places that are taken


@dataclass(frozen=True)
class Rows:
    """The rows of one resolved task in the order of their ids. ``digest`` stands for all of them.

    ``labels``: [rows], places in ``names`` (int64), or scores (float64, ``names`` empty), or None where there are none.
    ``answers``: what a language model may say to each text, a text for each label; one tuple for all rows, or one each.
    """

    ids: np.ndarray
    texts: list[str] | list[tuple[str, str]]
    labels: np.ndarray | None
    names: tuple[str, ...]
    digest: str
    answers: tuple[str, ...] | list[tuple[str, ...]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def kind(self) -> Literal["classes", "scores", "texts"]:
        """What there is to get right: one of some classes, a number, or nothing but the texts themselves."""
        if self.labels is None:
            return "texts"
        return "classes" if self.names else "scores"

    @property
    def answered(self) -> int:
        """Answers to all rows together, each of which a language model may have to read with its row."""
        return sum(map(len, self.answers)) if isinstance(self.answers, list) else len(self) * len(self.answers or ())

    def take(self, places: np.ndarray) -> Rows:
        """The rows at these places, in the order of their ids."""
        places = np.sort(places)
        labels = None if self.labels is None else self.labels[places]
        answers = [self.answers[i] for i in places] if isinstance(self.answers, list) else self.answers
        return _rows(self.ids[places], [self.texts[i] for i in places], labels, self.names, answers)


@lru_cache(maxsize=1)
def declarations() -> dict[str, dict]:
    """The tasks that ship with the app: name -> description, labels, licence, parts, rows, constant_baseline."""
    return json.loads((BUILTIN / "tasks" / "tasks.json").read_text())


def open_task(task: Task, field: str, role: str) -> tuple[Task, Rows]:
    """The task with every name filled in, and its rows. ``role`` is "evaluate", "train" or "watch" (a training).

    The split left out means validation (or training) rows where the data has splits, and all rows
    where it has none; a split named of a file without splits is a fixed 80/10/10 division.
    Raises ``QuestionError`` below ``field``.
    """
    if task.task.startswith("builtin:"):
        return _shipped(task.model_dump_json(exclude_unset=True), field, role)
    return _opened(task, field, role)


@lru_cache(maxsize=32)
def _shipped(written: str, field: str, role: str) -> tuple[Task, Rows]:
    """Of a task that ships with the app and never changes: a page resolves many questions about the same rows."""
    return _opened(Task.model_validate_json(written), field, role)


def _opened(task: Task, field: str, role: str) -> tuple[Task, Rows]:
    wanted = asked(task, field)
    if task.task.startswith("hub:"):
        named, table = hubdata.open_table(task, wanted, field, role)
        named = _named(named, table)
        return named, _taken(named, table, np.arange(len(table.ids)), field)
    table = _open(task, wanted, field)
    split, chosen = _split(task, table, field, role)
    if not len(chosen):
        raise QuestionError(f"{field}.split", f"there are no rows in {split!r}", "name another split")
    places = sample(chosen, task.limit, task.sample_seed)
    named = _named(task.model_copy(update={"split": split}), table)
    return named, _taken(named, table, places, field)


def has_rows(task: Task, split: str, field: str) -> bool:
    """Whether the data of ``task`` has rows in this split."""
    if task.task.startswith("hub:"):
        return split in hubdata.splits(task, field)
    table = _open(task, asked(task, field), field)
    known = SPLITS if table.splits is None else set(table.splits)
    return split in known and len(_split(task.model_copy(update={"split": split}), table, field, "evaluate")[1]) > 0


def watched(task: Task, field: str) -> str | None:
    """The split that a training on the task's split is watched on; None where its data have none for that."""
    if task.task.startswith("hub:"):
        return hubdata.watched(task, field)
    return "validation" if task.split == "train" and has_rows(task, "validation", field) else None


def known() -> dict[str, dict]:
    """Data sets of the Hub that need nothing but their name: address -> description and labels (none where they are scored)."""
    told = hubdata.declarations().items()
    return {f"hub:{name}": {"description": one["description"], "labels": one.get("labels", [])} for name, one in told}


def part(rows: Rows, name: str | float, field: str) -> Rows:
    """A part of training rows by its name (``mcore.tasks.rowparts``)."""
    if name == "all":
        return rows
    chosen = np.random.default_rng([0, 2]).permutation(len(rows))[rowparts.places(name, len(rows))]
    if not len(chosen):
        raise QuestionError(field, f"{name} of {len(rows)} rows is none", "train on a larger part")
    return rows.take(chosen)


def constant_baseline(rows: Rows) -> float:
    """The accuracy of always naming the most frequent label of these rows."""
    return float(np.bincount(rows.labels).max() / len(rows))


def _open(task: Task, wanted: Asked, field: str) -> Table:
    scheme, _, rest = task.task.partition(":")
    if scheme == "builtin":
        if rest not in declarations():
            raise QuestionError(f"{field}.task", f"no task {rest!r} ships with the app", f"use one of: {', '.join(declarations())}")
        if wanted.header or task.text not in (None, "text", ["text"]) or task.label not in (None, "label") or set(wanted.used) - {"text"}:
            raise QuestionError(f"{field}.text", "a built-in task has the columns text and label", "leave text and label out")
        if wanted.choices:
            raise QuestionError(f"{field}.answers", "a built-in task has no column of lists", "give one answer for each label")
        table = _builtin(rest)
        return table if wanted.labelled else replace(table, labels=None, names=(), label=None)
    path = Path(rest).expanduser()
    if not path.is_file():
        raise QuestionError(f"{field}.task", f"there is no file {rest}", "give a csv, jsonl or parquet file")
    if path.stat().st_size > MOST_FILE_BYTES:
        raise QuestionError(f"{field}.task", f"{path.name} is larger than {MOST_FILE_BYTES >> 20} MiB", "give a smaller file")
    return _local(str(path), file_digest(path), wanted, field)


@lru_cache(maxsize=16)
def _builtin(name: str) -> Table:
    declared = declarations()[name]
    files = {split: [read(BUILTIN / "tasks" / part / f"{split}.parquet")[0] for part in declared["parts"]] for split in SPLITS}
    sizes = {split: sum(len(columns["text"]) for columns in of_split) for split, of_split in files.items()}
    whole = [columns for of_split in files.values() for columns in of_split]
    texts = [text for columns in whole for text in columns["text"]]
    return Table(
        texts=texts,
        labels=np.array([label for columns in whole for label in columns["label"]], np.int64),
        names=tuple(declared["labels"]),
        ids=np.concatenate([np.arange(size) for size in sizes.values()]),
        splits=np.concatenate([np.full(size, split, object) for split, size in sizes.items()]),
        text=["text"],
        label="label",
        columns={"text": texts},
    )


@lru_cache(maxsize=8)
def _local(path: str, digest: str, wanted: Asked, field: str) -> Table:
    columns, given_names = _read(Path(path), wanted.header, field)
    if not len(next(iter(columns.values()), ())):
        raise QuestionError(f"{field}.task", f"{Path(path).name} holds no rows", "give a file with labelled texts")
    return of_columns(columns, given_names, wanted, field)


def _read(path: Path, header: tuple[str, ...], field: str) -> tuple[Columns, ClassNames]:
    try:
        return read(path, header)
    except (ValueError, OSError) as error:
        raise QuestionError(f"{field}.task", f"{path.name} cannot be read ({first_line(error)})", "save it again as csv, jsonl or parquet") from None


def _split(task: Task, table: Table, field: str, role: str) -> tuple[str, np.ndarray]:
    """The name of the split and the places of its rows."""
    everything = np.arange(len(table.ids))
    if table.splits is None:
        if task.split in (None, "all"):
            return "all", everything
        if task.split not in SPLITS:
            raise QuestionError(f"{field}.split", f"there is no split {task.split!r}", f"use one of: all, {', '.join(SPLITS)}")
        dealt = np.array([_deal(text) for text in table.texts])
        return task.split, everything[dealt == task.split]
    known = list(dict.fromkeys(table.splits))
    if task.split is None:
        wanted = ("train",) if role == "train" else ("validation", "dev", "test")
        task = task.model_copy(update={"split": next((name for name in wanted if name in known), known[0])})
    if task.split != "all" and task.split not in known:
        raise QuestionError(f"{field}.split", f"there is no split {task.split!r}", f"use one of: {', '.join(known)}")
    return task.split, everything if task.split == "all" else everything[table.splits == task.split]


def _deal(text: str | tuple[str, str]) -> str:
    """80 % train, 10 % validation, 10 % test, by the text alone."""
    place = int(hashlib.sha256(repr(text).encode()).hexdigest()[:8], 16) % 10
    return "train" if place < 8 else SPLITS[place - 7]


def _named(task: Task, table: Table) -> Task:
    """The task with its columns, and its answers where they are the names of its labels.

    The columns of a template for which a task has no room are found again from the template.
    """
    answers = task.answers
    if task.read == "answers" and answers is None and table.names and say_something(table.names):
        answers = [as_words(name) for name in table.names]
    return task.model_copy(update={"text": table.text if len(table.text) <= 2 else None, "label": table.label, "answers": answers})


def _taken(task: Task, table: Table, places: np.ndarray, field: str) -> Rows:
    """The rows at these places of the table, in the words of the task's template and with its answers."""
    texts = [table.texts[i] for i in places]
    columns: Mapping[str, Values] = table.columns
    if task.form:
        parts = _parts(task, table, texts, places, field)
        texts = [value[0] if len(value) == 1 else value for value in zip(*parts.values(), strict=True)]
        columns = columns | {name: dict(zip(places.tolist(), values, strict=True)) for name, values in parts.items()}
    if task.template:
        texts = render(task.template, columns, places.tolist(), f"{field}.template")
    labels = None if table.labels is None else table.labels[places]
    return _rows(table.ids[places], texts, labels, table.names, _answers(task, table, columns, places, field))


def _parts(task: Task, table: Table, texts: list, places: np.ndarray, field: str) -> dict[str, list[str]]:
    """What the form makes of the one column of text, by the name of each part."""
    if len(table.text) != 1:
        raise QuestionError(f"{field}.text", f"the form is that of one column, and there are {len(table.text)}", f"name one of: {', '.join(table.text)}")
    parts = taken_apart(task.form, texts, table.ids[places].tolist(), f"{field}.form")
    if len(parts) > 2 and not task.template:
        raise QuestionError(f"{field}.form", f"it has {len(parts)} parts, and a model reads one text or two", "write a template that names them")
    if twice := next((name for name in parts if name in (*table.text, *table.columns)), None):
        raise QuestionError(f"{field}.form", f"{twice!r} is a column already", "give the part another name")
    return parts


def _answers(task: Task, table: Table, columns: Mapping[str, Values], places: np.ndarray, field: str) -> tuple[str, ...] | list[tuple[str, ...]] | None:
    if task.answers is None:
        return None
    if not table.names:
        raise QuestionError(f"{field}.answers", "the rows have no classes to answer with", "leave the answers out, or name a label")
    if len(task.answers) == 1:
        return [tuple(table.columns[columns_in(task.answers, field)[0]][place]) for place in places]
    if len(task.answers) != len(table.names):
        right = f"give one for each of: {', '.join(table.names)}"
        raise QuestionError(f"{field}.answers", f"{len(task.answers)} answers for {len(table.names)} labels", right)
    if columns_in(task.answers, f"{field}.answers"):
        most = MOST_TOGETHER // len(task.answers)
        each = [render(answer, columns, places.tolist(), f"{field}.answers", most) for answer in task.answers]
        return list(zip(*each, strict=True))
    return tuple(render(answer, {}, [0], f"{field}.answers")[0] for answer in task.answers)


def _rows(
    ids: np.ndarray, texts: list, labels: np.ndarray | None, names: tuple[str, ...],
    answers: tuple[str, ...] | list[tuple[str, ...]] | None = None,
) -> Rows:  # fmt: skip
    parts = [ids.tolist(), texts, None if labels is None else labels.tolist(), names, *([] if answers is None else [answers])]
    whole = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return Rows(ids, texts, labels, names, hashlib.sha256(whole.encode()).hexdigest()[:32], answers)
