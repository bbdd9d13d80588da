"""Tasks: labelled rows found, checked, sampled and identified. No tokens and no model here.

A row's id is its place in the split's file (built-in tasks) or in the whole file (local ones),
so that it can be looked up by hand.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from mcore.checkpoints import BUILTIN, file_digest
from mcore.columns import MOST_FILE_BYTES, ClassNames, Columns, blank, read
from mcore.errors import QuestionError
from mcore.question import Task

SPLITS = ("train", "validation", "test")
LABEL_NAMES = ("label", "labels", "class", "target", "category", "y")
MOST_LABELS = 200
NOT_TEXT = ("split", "id", "idx", "index", "row")


@dataclass(frozen=True)
class Table:
    """All rows that an address offers. ``splits`` is None where the data names none."""

    texts: list[str] | list[tuple[str, str]]
    labels: np.ndarray  # [rows], places in ``names``
    names: tuple[str, ...]
    ids: np.ndarray  # [rows]
    splits: np.ndarray | None  # [rows], names of splits
    text: list[str]
    label: str


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

    def take(self, places: np.ndarray) -> Rows:
        """The rows at these places, in the order of their ids."""
        places = np.sort(places)
        return _rows(self.ids[places], [self.texts[i] for i in places], self.labels[places], self.names)


@lru_cache(maxsize=1)
def declarations() -> dict[str, dict]:
    """The tasks that ship with the app: name -> description, labels, licence, parts, rows, constant_baseline."""
    return json.loads((BUILTIN / "tasks" / "tasks.json").read_text())


def open_task(task: Task, field: str, role: str) -> tuple[Task, Rows]:
    """The task with every name filled in, and its rows. ``role`` is "evaluate" or "train".

    The split left out means validation (or training) rows where the data has splits, and all rows
    where it has none; a split named of a file without splits is a fixed 80/10/10 division.
    Raises ``QuestionError`` below ``field``.
    """
    table = _open(task, field)
    split, chosen = _split(task, table, field, role)
    if not len(chosen):
        raise QuestionError(f"{field}.split", f"there are no rows in {split!r}", "name another split")
    places = sample(chosen, task.limit, task.sample_seed)
    rows = _rows(table.ids[places], [table.texts[i] for i in places], table.labels[places], table.names)
    named = task.model_copy(update={"split": split, "text": table.text, "label": table.label})
    return named, rows


def has_rows(task: Task, split: str, field: str) -> bool:
    """Whether the data of ``task`` has rows in this split."""
    table = _open(task, field)
    known = SPLITS if table.splits is None else set(table.splits)
    return split in known and len(_split(task.model_copy(update={"split": split}), table, field, "evaluate")[1]) > 0


def sample(places: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    """``limit`` of the places, chosen by the seed, rising. A smaller sample is part of a larger one of that seed."""
    if limit is None or limit >= len(places):
        return np.sort(places)
    return np.sort(np.random.default_rng([seed, 1]).permutation(places)[:limit])


def part(rows: Rows, name: str | float, field: str) -> Rows:
    """A named part of training rows: ``all``, two disjoint halves, or a fraction of them."""
    if name == "all":
        return rows
    order = np.random.default_rng([0, 2]).permutation(len(rows))
    half = len(rows) // 2
    chosen = {"half-1": order[:half], "half-2": order[half:]}.get(name)
    if chosen is None:
        chosen = order[: round(float(name) * len(rows))]
    if not len(chosen):
        raise QuestionError(field, f"{name} of {len(rows)} rows is none", "train on a larger part")
    return rows.take(chosen)


def constant_baseline(rows: Rows) -> float:
    """The accuracy of always naming the most frequent label of these rows."""
    return float(np.bincount(rows.labels).max() / len(rows))


def _open(task: Task, field: str) -> Table:
    scheme, _, rest = task.task.partition(":")
    if scheme == "builtin":
        if rest not in declarations():
            raise QuestionError(f"{field}.task", f"no task {rest!r} ships with the app", f"use one of: {', '.join(declarations())}")
        if task.text not in (None, "text", ["text"]) or task.label not in (None, "label"):
            raise QuestionError(f"{field}.text", "a built-in task has the columns text and label", "leave text and label out")
        return _builtin(rest)
    if scheme == "local":
        path = Path(rest).expanduser()
        if not path.is_file():
            raise QuestionError(f"{field}.task", f"there is no file {rest}", "give a csv, jsonl or parquet file")
        if path.stat().st_size > MOST_FILE_BYTES:
            raise QuestionError(f"{field}.task", f"{path.name} is larger than {MOST_FILE_BYTES >> 20} MiB", "give a smaller file")
        columns = (task.text,) if isinstance(task.text, str) else tuple(task.text or ())
        return _local(str(path), file_digest(path), columns, task.label, field)
    raise QuestionError(f"{field}.task", "this version does not open data sets on the Hub", "save it as a file and use local:FILE")


@lru_cache(maxsize=16)
def _builtin(name: str) -> Table:
    declared = declarations()[name]
    files = {split: [read(BUILTIN / "tasks" / part / f"{split}.parquet")[0] for part in declared["parts"]] for split in SPLITS}
    sizes = {split: sum(len(columns["text"]) for columns in of_split) for split, of_split in files.items()}
    whole = [columns for of_split in files.values() for columns in of_split]
    return Table(
        texts=[text for columns in whole for text in columns["text"]],
        labels=np.array([label for columns in whole for label in columns["label"]], np.int64),
        names=tuple(declared["labels"]),
        ids=np.concatenate([np.arange(size) for size in sizes.values()]),
        splits=np.concatenate([np.full(size, split, object) for split, size in sizes.items()]),
        text=["text"],
        label="label",
    )


@lru_cache(maxsize=8)
def _local(path: str, digest: str, asked: tuple[str, ...], label: str | None, field: str) -> Table:
    columns, given_names = _read(Path(path), field)
    rows = len(next(iter(columns.values()), ()))
    if not rows:
        raise QuestionError(f"{field}.task", f"{Path(path).name} holds no rows", "give a file with labelled texts")
    label = label or _label_column(columns, asked, field)
    text = list(asked) or _text_columns(columns, label, field)
    for key, name in [("label", label), *[("text", name) for name in text]]:
        if name not in columns:
            raise QuestionError(f"{field}.{key}", f"there is no column {name!r}", f"use one of: {', '.join(columns)}")
    for name in text:
        if (empty := _first_blank(columns[name])) is not None:
            raise QuestionError(f"{field}.text", f"row {empty} has no {name}", "fill it or leave the row out")
    names, labels = _classes(label, columns[label], given_names.get(label), f"{field}.label")
    texts = [list(map(str, columns[name])) for name in text]
    return Table(
        texts=texts[0] if len(texts) == 1 else list(zip(*texts, strict=True)),
        labels=labels,
        names=names,
        ids=np.arange(rows),
        splits=np.array(list(map(str, columns["split"])), object) if "split" in columns and "split" not in (label, *text) else None,
        text=text,
        label=label,
    )


def _read(path: Path, field: str) -> tuple[Columns, ClassNames]:
    try:
        return read(path)
    except (ValueError, OSError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise QuestionError(f"{field}.task", f"{path.name} cannot be read ({first})", "save it again as csv, jsonl or parquet") from None


def _label_column(columns: Columns, text: tuple[str, ...], field: str) -> str:
    lowered = {name.lower(): name for name in columns}
    found = [lowered[name] for name in LABEL_NAMES if name in lowered]
    if found:
        return found[0]
    others = {name: values for name, values in columns.items() if name not in text and name.lower() not in NOT_TEXT}
    few = [name for name, values in others.items() if len(set(map(str, values))) <= min(20, len(values) // 2)]
    if len(few) == 1:
        return few[0]
    raise QuestionError(f"{field}.label", "it is not clear which column is the label", f"name one of: {', '.join(columns)}")


def _text_columns(columns: Columns, label: str, field: str) -> list[str]:
    texts = [
        name
        for name, values in columns.items()
        if name != label and name.lower() not in NOT_TEXT and sum(isinstance(value, str) for value in values) > 0.5 * len(values)
    ]
    if 1 <= len(texts) <= 2:
        return texts
    raise QuestionError(f"{field}.text", f"{len(texts)} columns could be the text", f"name one or two of: {', '.join(columns)}")


def _classes(column: str, values: list, names: list[str] | None, field: str) -> tuple[tuple[str, ...], np.ndarray]:
    if (missing := _first_blank(values)) is not None:
        raise QuestionError(field, f"row {missing} has no label", "fill it or leave the row out")
    values = [str(value).strip() for value in values]
    numbers = [_number(value) for value in values]
    if None not in numbers:
        if any(number % 1 != 0 for number in numbers):
            raise QuestionError(field, f"the column {column!r} holds numbers that are no classes", "name a column with a few classes")
        values = list(map(int, numbers))
        if names and min(values) >= 0 and max(values) < len(names):
            return tuple(names), np.array(values, np.int64)
    known = sorted(set(values))
    if len(known) < 2:
        raise QuestionError(field, f"all rows have the label {str(known[0])!r}", "give data with at least two classes")
    if len(known) > MOST_LABELS:
        raise QuestionError(field, f"the column {column!r} has {len(known)} values", f"name a column with at most {MOST_LABELS} classes")
    places = {value: i for i, value in enumerate(known)}
    return tuple(map(str, known)), np.array([places[value] for value in values], np.int64)


def _first_blank(values: list) -> int | None:
    return next((i for i, value in enumerate(values) if blank(value)), None)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if number != number or "_" in text else number


def _split(task: Task, table: Table, field: str, role: str) -> tuple[str, np.ndarray]:
    """The name of the split and the places of its rows."""
    everything = np.arange(len(table.labels))
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


def _rows(ids: np.ndarray, texts: list, labels: np.ndarray, names: tuple[str, ...]) -> Rows:
    whole = json.dumps([ids.tolist(), texts, labels.tolist(), names], ensure_ascii=False, separators=(",", ":"))
    return Rows(ids, texts, labels, names, hashlib.sha256(whole.encode()).hexdigest()[:32])
