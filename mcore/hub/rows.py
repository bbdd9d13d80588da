"""The chosen rows of one split of a data set on the Hub: fetched, read, and what there is to get right about them.

A split of up to ``WHOLE`` bytes is fetched as it stands; of a larger one, where it is parquet, the row groups that hold the
chosen rows. They are kept as a small file beside the Hub's cache, so that a second run neither asks nor reads parquet again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mcore.errors import QuestionError, first_line
from mcore.hub import copies as hubcopies
from mcore.hub import repositories as hub
from mcore.hub.cache import Listing
from mcore.hub.datacard import CONVERTED, Config
from mcore.hub.parquet import Reader, rows_of, to_read
from mcore.profile import profile
from mcore.question import Task
from mcore.tasks import columns
from mcore.tasks.columns import ClassNames, Columns
from mcore.tasks.tables import Asked, Table, among, classes, named, sample, scores, texts

WHOLE = 20_000_000  # bytes of a split that is fetched as it stands
MOST_TEXT_FILES, MOST_TEXT_FILES_HOSTED = 64 * 2**20, 16 * 2**20  # bytes of csv or json, which take up to sixty times as much memory
MOST_FETCHED, MOST_FETCHED_HOSTED = 2**30, 256 * 2**20  # bytes of a split
MOST_LABELLED = 2_000_000  # rows whose labels are read to know which classes there are

Telling = Callable[[str, int, int], None]  # repository, bytes that are here, of so many
_telling: ContextVar[Telling] = ContextVar("telling", default=lambda repo, done, of: None)


@contextmanager
def telling(told: Telling) -> Iterator[None]:
    """Within it ``told`` hears of every download of rows."""
    before = _telling.set(told)
    try:
        yield
    finally:
        _telling.reset(before)


@dataclass(frozen=True)
class Found:
    """A configuration at a commit. ``known``: what the app's own declaration says of it, where it has one."""

    listing: Listing
    name: str
    config: Config
    known: dict

    @property
    def address(self) -> str:
        return f"hub:{self.listing.repo}/{self.name}@{self.listing.commit}"


def chosen(found: Found, split: str, wanted: Asked, task: Task, field: str, role: str) -> Table:
    """The rows that the task takes of this split."""
    files, listing = found.config.splits[split], found.listing
    where = f"{field}.task"
    size = sum(listing.files[name].size for name in files)
    if wanted.header and columns.ENDINGS[Path(files[0]).suffix] != "csv":
        raise QuestionError(f"{field}.columns", f"the files of {listing.repo} name their columns themselves", "leave it out")

    def copy(text: tuple[str, ...], label: str | None) -> Path:
        return hubcopies.place(listing, [found.name, split, text, label, wanted.used, wanted.labelled, task.limit, task.sample_seed, *filter(None, [wanted.choices])])

    if (kept := hubcopies.read(copy(wanted.text, wanted.label))) is not None:
        return kept
    if columns.ENDINGS[Path(files[0]).suffix] != "parquet":
        if size > (most := MOST_TEXT_FILES_HOSTED if profile().hosted else MOST_TEXT_FILES):
            right = f"name the revision {CONVERTED} where it has one, or save some of its rows as a file"
            raise QuestionError(where, f"{split} of {listing.repo} is {size:,} bytes, more than {most:,} that are read of such files", right)
        _fetch(listing, files, where)
        return _of_text_files(found, split, wanted, task, field, role)
    if size <= WHOLE:
        _fetch(listing, files, where)
    table = _of_parquet(found, split, wanted, task, field, role)
    as_asked, written_out = copy(wanted.text, wanted.label), copy(tuple(table.text), table.label)
    hubcopies.write([as_asked] if as_asked == written_out else [as_asked, written_out], table)
    return table


def _of_text_files(found: Found, split: str, wanted: Asked, task: Task, field: str, role: str) -> Table:
    """Of csv or json files, which are on this disk."""
    whole: Columns = {}
    rows = 0
    for name in found.config.splits[split]:
        try:
            read, _ = columns.read(found.listing.folder / name, wanted.header)
        except (ValueError, OSError) as error:
            raise QuestionError(f"{field}.task", f"{name} of {found.listing.repo} cannot be read ({first_line(error)})", "choose another data set") from None
        here = len(next(iter(read.values()), ()))
        whole = {key: whole.get(key, [None] * rows) + read.get(key, [None] * here) for key in dict.fromkeys((*whole, *read))}
        rows += here
    ids = _sampled(rows, split, task, field, role)
    wanted = named(whole, wanted, field)
    chosen = {name: [whole[name][i] for i in ids] for name in wanted.columns}
    return _table(found, split, wanted, ids, chosen, found.config.classes, lambda: whole[wanted.label], field)


def _of_parquet(found: Found, split: str, wanted: Asked, task: Task, field: str, role: str) -> Table:
    """Of parquet files, on this disk or the Hub."""
    listing, files = found.listing, found.config.splits[split]
    with Reader(listing, f"{field}.task") as reader:
        parts = reader.footers(files)
        names = found.config.classes | parts[0].classes
        shape = {name: ["text" if text else 0] for name, text in parts[0].columns.items() if not name.startswith("__index_level_")}
        if wanted.labelled and wanted.label is None and len(of_classes := [name for name in shape if name in names]) == 1:
            wanted = replace(wanted, label=of_classes[0])
        wanted = named(shape, wanted, field)
        ids = _sampled(rows_of(parts), split, task, field, role)
        everywhere = (wanted.label,) if wanted.label and _names(found, wanted.label, names) is None else ()

        def check(need: int) -> None:
            if need > (most := _most_fetched()):
                told = f"the chosen rows of {split} of {listing.repo} lie in {need:,} bytes, more than {most:,} that are fetched"
                raise QuestionError(f"{field}.task", told, "choose a smaller split or data set, or save some of its rows as a file")

        def labels() -> list:
            check(to_read(parts, (wanted.label,), None))
            if (rows := rows_of(parts)) > MOST_LABELLED:
                told = f"which classes {wanted.label!r} has is not said, and {split} has {rows:,} rows, more than {MOST_LABELLED:,}"
                raise QuestionError(f"{field}.label", told, "choose a data set that names its classes, or save some of its rows as a file")
            return reader.read(parts, (wanted.label,), None)[wanted.label]

        check(need := to_read(parts, wanted.columns, ids) + to_read(parts, everywhere, None))
        reader.told = _counting(listing.repo, need)
        chosen = reader.read(parts, wanted.columns, ids)
        return _table(found, split, wanted, ids, chosen, names, labels, field)


def _sampled(rows: int, split: str, task: Task, field: str, role: str) -> np.ndarray:
    if not rows:
        raise QuestionError(f"{field}.split", f"there are no rows in {split!r}", "name another split")
    count, most = min(rows, task.limit or rows), profile().rows
    if role == "evaluate" and most is not None and count > most:
        raise QuestionError(f"{field}.limit", f"{count:,} rows are more than this host carries out", f"give at most {most:,}")
    return sample(np.arange(rows), task.limit, task.sample_seed)


def _table(
    found: Found, split: str, wanted: Asked, ids: np.ndarray, chosen: Columns, names: ClassNames, whole: Callable[[], list], field: str
) -> Table:
    """``chosen`` are the columns of the rows ``ids``; ``whole`` gives the label column of the whole split."""
    for name in wanted.text:
        if name not in wanted.used and None in chosen[name]:
            raise QuestionError(f"{field}.text", f"row {ids[chosen[name].index(None)]} of {split} has no {name}", "name another column")
    label_names, labels = (), None
    if wanted.choices:
        chosen, label_names, labels = among(chosen, wanted, field)
    elif wanted.label:
        label_names, labels = _labels(found, split, wanted.label, ids, chosen[wanted.label], names, whole, field)
    return Table(
        texts=texts(chosen, wanted.text), labels=labels, names=label_names, ids=ids, splits=None, text=list(wanted.text), label=wanted.label,
        columns={name: chosen[name] for name in wanted.used},
    )  # fmt: skip


def _labels(
    found: Found, split: str, label: str, ids: np.ndarray, values: list, names: ClassNames, whole: Callable[[], list], field: str
) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and places of the labels; scores with no names."""
    absent = next((i for i, value in zip(ids, values, strict=True) if value in (-1, "-1", None, "")), None)
    of_known = label == found.known.get("label")
    told = _names(found, label, names)
    if absent is not None and (told or of_known):
        raise QuestionError(f"{field}.split", f"row {absent} of {split!r} has no label", "name another split, or read the texts alone, by token losses")
    if of_known and "scores" in found.known:
        return (), scores(label, values, f"{field}.label")
    if told and all(_place(value, told) is not None for value in values):
        return tuple(told), np.array([_place(value, told) for value in values], np.int64)
    all_names, labels = classes(label, whole(), None, f"{field}.label")
    return all_names, labels[ids]


def _names(found: Found, label: str, names: ClassNames) -> list[str] | None:
    """The names of a column's classes, of its features or of the app's declaration."""
    return names.get(label) or (found.known.get("labels") if label == found.known.get("label") else None)


def _place(value: object, names: list[str]) -> int | None:
    """The class that a value means: its number or its name."""
    if isinstance(value, str) and value in names:
        return names.index(value)
    with suppress(ValueError, TypeError):
        if float(value) == int(float(value)) and 0 <= int(float(value)) < len(names):
            return int(float(value))
    return None


def _most_fetched() -> int:
    hosted = MOST_FETCHED_HOSTED if profile().hosted else MOST_FETCHED
    return min(hosted, profile().downloads or hosted)


def _fetch(listing: Listing, files: tuple[str, ...], field: str) -> None:
    missing = hub.missing(listing, files)
    need = sum(listing.files[name].size for name in missing)
    if need > (most := _most_fetched()):
        raise QuestionError(field, f"{listing.repo} needs {need:,} bytes, more than {most:,} that are fetched", "choose a smaller data set")
    if missing:
        hub.fetch(listing, missing, field, _counting(listing.repo, need), lambda: False)


def _counting(repo: str, of: int) -> Callable[[int], None]:
    done, told = 0, _telling.get()

    def count(more: int) -> None:
        nonlocal done
        done = min(done + more, of)
        told(repo, done, of)

    return count
