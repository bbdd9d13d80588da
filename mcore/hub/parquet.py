"""Some rows and columns of parquet files on the Hub: the bytes that hold them by ranged reads, read by a process of its own.

What is missing of a file on this disk stands in a sparse copy of it while it is read. What a file says of itself is a
stranger's word: it is checked before anything is fetched or memory is taken for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcore.errors import QuestionError
from mcore.hub import repositories as hub
from mcore.hub.cache import Listing
from mcore.tasks.columns import ClassNames, Columns

HOME = Path(__file__).resolve().parent.parent.parent  # where ``mcore`` is imported from
MOST_HELD = 256 * 2**20  # bytes: of a row group, and of all texts that are taken
MOST_FOOTER = 16 * 2**20
MOST_ROWS = 10_000_000  # of a split: a sample is drawn from all of them
MOST_COLUMNS, MOST_GROUPS = 2_000, 100_000  # of a file
MOST_FILES = 100  # of a split, where each has to be asked how many rows it has
FOOTER = 64 * 1024  # bytes that are read of a file's end at first
AT_ONCE = 4  # requests
PIECE, GAP = 8 * 2**20, 2**18  # bytes asked for at once; bytes between two wanted parts that are read along
SURROUNDINGS = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")  # all that the process hears of this one's


@dataclass(frozen=True)
class Chunk:
    """A column of a group of rows: where its bytes begin and end, what they take unpacked, how many values they are."""

    column: str
    begin: int
    end: int
    unpacked: int
    values: int


@dataclass(frozen=True)
class Part:
    """One file of a split as its footer tells. ``columns``: whether each holds texts; ``groups``: their rows and chunks."""

    name: str
    path: Path
    columns: dict[str, bool]
    classes: ClassNames
    groups: list[tuple[int, list[Chunk]]]

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.groups)


class Reader:
    """Reads files of one commit; to be closed by ``with``. ``told`` hears of bytes as they come from the Hub."""

    def __init__(self, found: Listing, field: str):
        self.found, self.field = found, field
        self.told: Callable[[int], None] = lambda count: None

    def __enter__(self) -> Reader:
        self._folder = tempfile.TemporaryDirectory(prefix="mcore-rows-")
        self._child: subprocess.Popen | None = None
        return self

    def __exit__(self, *_: object) -> None:
        if self._child:
            self._child.kill()
            self._child.communicate()
        self._folder.cleanup()

    def footers(self, names: tuple[str, ...]) -> list[Part]:
        """What the files say of themselves, checked. Raises ``QuestionError``."""
        if len(names) > MOST_FILES:
            right = "choose a smaller configuration, or save some of its rows as a file"
            raise QuestionError(self.field, f"the split has {len(names):,} files, more than {MOST_FILES} that are looked at", right)
        parts = [self._footer(name, i) for i, name in enumerate(names)]
        if any(part.columns != parts[0].columns for part in parts):
            raise QuestionError(self.field, f"the files of the split in {self.found.repo} have different columns", "choose another configuration")
        if (rows := rows_of(parts)) > MOST_ROWS:
            raise QuestionError(self.field, f"the split has {rows:,} rows, more than {MOST_ROWS:,} that a sample is drawn from", "choose a smaller data set")
        return parts

    def read(self, parts: list[Part], columns: tuple[str, ...], ids: np.ndarray | None) -> Columns:
        """These columns of the rows with these ids (rising places within the split; None: all). Raises ``QuestionError``."""
        files, wanted = [], []
        for part, groups in _touched(parts, ids):
            self._check_groups(part, columns, groups)
            if part.path != self.found.folder / part.name:
                wanted += [(part, begin, end) for begin, end in _ranges(part, columns, groups)]
            files.append([str(part.path), [[group, None if places is None else places.tolist()] for group, places in groups.items()]])
        with ThreadPoolExecutor(AT_ONCE) as pool:  # each asks as whoever asks here
            for done in as_completed([pool.submit(copy_context().run, self._fill, *piece) for piece in wanted]):
                self.told(done.result())
        told = self._ask(parts[0].name if len(parts) == 1 else "a file of the split", do="rows", files=files, columns=list(columns), most=MOST_HELD)
        if "bytes" in told:
            raise QuestionError(self.field, f"the texts take more than {MOST_HELD >> 20} MiB of memory", "give a smaller limit")
        return told["taken"]

    def _footer(self, name: str, number: int) -> Part:
        size, here = self.found.files[name].size, self.found.folder / name
        path = here if here.is_file() else Path(self._folder.name) / str(number)
        blank = Part(name, path, {}, {}, [])
        damaged = QuestionError(self.field, f"{name} of {self.found.repo} is no parquet file", "choose another revision")
        end = hub.ranged(self.found, name, max(0, size - FOOTER), size, self.field) if size else b""
        length = int.from_bytes(end[-8:-4], "little")
        if end[-4:] != b"PAR1" or length + 12 > size:
            raise damaged
        if length > MOST_FOOTER:
            raise QuestionError(self.field, f"{name} of {self.found.repo} describes itself in {length:,} bytes, more than {MOST_FOOTER:,}", "choose another data set")
        if path != here:
            with open(path, "wb") as file:
                file.truncate(size)
                file.seek(size - len(end))
                file.write(end)
            if length + 8 > len(end):
                self._fill(blank, size - length - 8, size - len(end))
        told = self._ask(name, do="footer", file=str(path), most_columns=MOST_COLUMNS, most_groups=MOST_GROUPS)
        if "shape" in told:
            what = "{:,} columns in {:,} groups of rows".format(*told["shape"])
            raise QuestionError(self.field, f"{name} of {self.found.repo} has {what}", f"choose one with at most {MOST_COLUMNS:,} columns")
        groups = [(rows, [Chunk(*chunk) for chunk in chunks]) for rows, chunks in told["groups"]]
        plausible = all(0 <= one.begin <= one.end <= size and one.unpacked >= 0 for _, chunks in groups for one in chunks)
        if not plausible or any(rows < 0 for rows, _ in groups) or len({name for name, _ in told["columns"]}) != len(told["columns"]):
            raise damaged
        if sum(rows for rows, _ in groups) != told["rows"]:
            raise damaged
        return Part(name, path, dict(told["columns"]), told["classes"], groups)

    def _fill(self, part: Part, begin: int, end: int) -> int:
        """Bring these bytes of a file into its sparse copy; how many there are."""
        data = hub.ranged(self.found, part.name, begin, end, self.field)
        if len(data) != end - begin:
            raise QuestionError(self.field, f"{part.name} of {self.found.repo} ends before its time", "try again, or choose another revision")
        with open(part.path, "r+b") as file:
            file.seek(begin)
            file.write(data)
        return len(data)

    def _check_groups(self, part: Part, columns: tuple[str, ...], groups: Iterable[int]) -> None:
        """A group is held whole while its rows are taken."""
        for group in groups:
            chunks = _chunks(part, columns, group)
            size = max(sum(chunk.unpacked for chunk in chunks), sum(chunk.end - chunk.begin for chunk in chunks))
            if size > MOST_HELD or any(chunk.values > MOST_ROWS for chunk in chunks):
                told = f"{part.name} of {self.found.repo} has a group of rows of {size:,} bytes, more than {MOST_HELD:,} that are held at once"
                raise QuestionError(self.field, told, "choose a smaller data set, or save some of its rows as a file")

    def _ask(self, name: str, **asked: object) -> dict:
        """What the process answers. Raises ``QuestionError``."""
        if self._child is None:
            around = {key: os.environ[key] for key in SURROUNDINGS if key in os.environ}
            self._child = subprocess.Popen(
                [sys.executable, "-m", "mcore.hub.parquetchild"], cwd=HOME, env=around | {"ARROW_DEFAULT_MEMORY_POOL": "system", "PYTHONIOENCODING": "utf-8"},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
            )  # fmt: skip
        try:
            self._child.stdin.write(json.dumps(asked) + "\n")
            self._child.stdin.flush()
            told = json.loads(self._child.stdout.readline() or '{"error": "reading it ended the process"}')
        except OSError as error:
            told = {"error": str(error)}
        if "error" in told:
            raise QuestionError(self.field, f"{name} of {self.found.repo} is damaged ({told['error']})", "choose another revision")
        return told


def rows_of(parts: list[Part]) -> int:
    return sum(part.rows for part in parts)


def to_read(parts: list[Part], columns: tuple[str, ...], ids: np.ndarray | None) -> int:
    """Bytes of the files that hold these columns of these rows."""
    return sum(end - begin for part, groups in _touched(parts, ids) for begin, end in _ranges(part, columns, groups))


def _touched(parts: list[Part], ids: np.ndarray | None) -> list[tuple[Part, dict[int, np.ndarray | None]]]:
    """Files with their row groups that hold some of these rows: the group's number -> the rows' places within it (None: all)."""
    if ids is None:
        return [(part, dict.fromkeys(range(len(part.groups)))) for part in parts]
    found, begin = [], 0
    for part in parts:
        groups = {}
        for i, (rows, _) in enumerate(part.groups):
            first, last = np.searchsorted(ids, [begin, begin + rows])
            if first < last:
                groups[i] = None if last - first == rows else ids[first:last] - begin
            begin += rows
        if groups:
            found.append((part, groups))
    return found


def _chunks(part: Part, columns: tuple[str, ...], group: int) -> list[Chunk]:
    return [chunk for chunk in part.groups[group][1] if chunk.column in columns]


def _ranges(part: Part, columns: tuple[str, ...], groups: Iterable[int]) -> list[tuple[int, int]]:
    """The bytes that hold these columns of these groups, near ones joined."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted((chunk.begin, chunk.end) for group in groups for chunk in _chunks(part, columns, group)):
        if joined and begin - joined[-1][1] <= GAP and end - joined[-1][0] <= PIECE:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined
