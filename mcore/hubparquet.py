"""Some rows and columns of parquet files on the Hub, by ranged reads of the row groups that hold them.

What a file says of itself is a stranger's word: it is checked before memory is taken for it. Texts are read as places in
a dictionary, so that a value repeated a million times is held once until it is known how long all chosen ones are.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from mcore import hub
from mcore.columns import ClassNames, Columns, class_names
from mcore.errors import QuestionError
from mcore.hubcache import Listing

MOST_HELD = 256 * 2**20  # bytes: of a row group, and of all texts that are taken
MOST_FOOTER = 16 * 2**20
MOST_ROWS = 10_000_000  # of a split: a sample is drawn from all of them
MOST_COLUMNS, MOST_GROUPS = 2_000, 100_000  # of a file
MOST_FILES = 100  # of a split, where each has to be asked how many rows it has
FOOTER = 64 * 1024  # bytes that the library reads of a file's end at first
PIECE, GAP = 8 * 2**20, 2**18  # bytes asked for at once; bytes between two wanted parts that are read along


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
    """One file of a split with its footer read. ``groups``: the number of rows and the chunks of each group."""

    name: str
    footer: object  # pyarrow.parquet.FileMetaData
    schema: object  # pyarrow.Schema
    groups: list[tuple[int, list[Chunk]]]

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.groups)


class Ranged(io.RawIOBase):
    """A file on the Hub as one that can be read anywhere; ``plan`` are the ranges that will be wanted, rising."""

    def __init__(self, found: Listing, name: str, field: str, told: Callable[[int], None] = lambda count: None):
        self.found, self.name, self.field, self.told = found, name, field, told
        self.size, self.place = found.files[name].size, 0
        self.plan: list[tuple[int, int]] = []
        self.held: list[tuple[int, bytes]] = []  # where a piece begins, and it

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.place = offset + (0, self.place, self.size)[whence]
        return self.place

    def tell(self) -> int:
        return self.place

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        begin, end = self.place, self.size if count < 0 else min(self.size, self.place + count)
        self.place = max(begin, end)
        return self.between(begin, end) if end > begin else b""

    def between(self, begin: int, end: int) -> bytes:
        for start, data in self.held:
            if start <= begin and end <= start + len(data):
                return data[begin - start : end - start]
        first, last = next(((first, last) for first, last in self.plan if first <= begin and end <= last), (begin, end))
        data = hub.ranged(self.found, self.name, first, last, self.field)
        if len(data) != last - first:
            raise QuestionError(self.field, f"{self.name} of {self.found.repo} ends before its time", "try again, or choose another revision")
        self.told(len(data))
        self.held = [*self.held[-3:], (first, data)]
        return data[begin - first : end - first]


def footers(found: Listing, names: tuple[str, ...], field: str) -> list[Part]:
    """What the files say of themselves, checked. Raises ``QuestionError``."""
    if len(names) > MOST_FILES:
        right = "choose a smaller configuration, or save some of its rows as a file"
        raise QuestionError(field, f"the split has {len(names):,} files, more than {MOST_FILES} that are looked at", right)
    parts = [_footer(found, name, field) for name in names]
    if any(part.schema.names != parts[0].schema.names for part in parts):
        raise QuestionError(field, f"the files of the split in {found.repo} have different columns", "choose another configuration")
    if (rows := rows_of(parts)) > MOST_ROWS:
        raise QuestionError(field, f"the split has {rows:,} rows, more than {MOST_ROWS:,} that a sample is drawn from", "choose a smaller data set")
    return parts


def _footer(found: Listing, name: str, field: str) -> Part:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = Ranged(found, name, field)
    end = file.between(max(0, file.size - FOOTER), file.size)
    length = int.from_bytes(end[-8:-4], "little")
    damaged = QuestionError(field, f"{name} of {found.repo} is no parquet file", "choose another revision")
    if end[-4:] != b"PAR1" or length + 12 > file.size:
        raise damaged
    if length > MOST_FOOTER:
        raise QuestionError(field, f"{name} of {found.repo} describes itself in {length:,} bytes, more than {MOST_FOOTER:,}", "choose another data set")
    file.plan = [(file.size - length - 8, file.size)]
    try:
        footer = pq.read_metadata(file)
        if footer.num_columns > MOST_COLUMNS or footer.num_row_groups > MOST_GROUPS:
            what = f"{footer.num_columns:,} columns in {footer.num_row_groups:,} groups of rows"
            raise QuestionError(field, f"{name} of {found.repo} has {what}", f"choose one with at most {MOST_COLUMNS:,} columns")
        schema = footer.schema.to_arrow_schema()
        groups = [_group(footer.row_group(i)) for i in range(footer.num_row_groups)]
    except (pa.ArrowException, OSError, ValueError, RecursionError):
        raise damaged from None
    chunks = [chunk for _, inside in groups for chunk in inside]
    plausible = all(0 <= chunk.begin <= chunk.end <= file.size and chunk.unpacked >= 0 for chunk in chunks) and all(rows >= 0 for rows, _ in groups)
    if not plausible or sum(rows for rows, _ in groups) != footer.num_rows or len(set(schema.names)) != len(schema.names):
        raise damaged
    return Part(name, footer, schema, groups)


def _group(told) -> tuple[int, list[Chunk]]:
    """Rows and chunks of a group as its footer tells them."""
    chunks = []
    for one in (told.column(i) for i in range(told.num_columns)):
        begin = min(one.data_page_offset, one.dictionary_page_offset or one.data_page_offset)
        name = one.path_in_schema.split(".")[0]
        chunks.append(Chunk(name, begin, begin + one.total_compressed_size, one.total_uncompressed_size, one.num_values))
    return told.num_rows, chunks


def shape(parts: list[Part]) -> tuple[Columns, ClassNames]:
    """A value for each column that shows whether it holds texts, and the names of classes, as the files' schema has them."""
    import pyarrow as pa

    def text(kind: pa.DataType) -> bool:
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)

    schema = parts[0].schema
    return {one.name: ["text" if text(one.type) else 0] for one in schema if not one.name.startswith("__index_level_")}, class_names(schema.metadata)


def rows_of(parts: list[Part]) -> int:
    return sum(part.rows for part in parts)


def to_read(parts: list[Part], columns: tuple[str, ...], ids: np.ndarray) -> int:
    """Bytes of the files that ``read`` has to fetch for these rows."""
    return sum(end - begin for part, groups in _touched(parts, ids) for begin, end in _ranges(part, columns, groups))


def read(found: Listing, parts: list[Part], columns: tuple[str, ...], ids: np.ndarray, field: str, told: Callable[[int], None]) -> Columns:
    """These columns of the rows with these ids (rising places within the split). Raises ``QuestionError``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    taken: Columns = {name: [] for name in columns}
    held = 0
    for part, groups in _touched(parts, ids):
        file = Ranged(found, part.name, field, told)
        file.plan = _ranges(part, columns, groups)
        try:
            opened = pq.ParquetFile(file, metadata=part.footer, read_dictionary=_texts(part, columns), pre_buffer=False)
            for group, inside in groups.items():
                _check_group(found, part, columns, group, field)
                table = opened.read_row_group(group, columns=list(columns), use_threads=False)
                if table.num_rows != part.groups[group][0]:
                    raise ValueError("a group holds another number of rows than it says")
                table = table.take(pa.array(inside))
                if (held := held + _bytes(table)) > MOST_HELD:
                    raise QuestionError(field, f"the texts take more than {MOST_HELD >> 20} MiB of memory", "give a smaller limit")
                for name in columns:
                    taken[name] += table[name].to_pylist()
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            first_line = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
            raise QuestionError(field, f"{part.name} of {found.repo} is damaged ({first_line})", "choose another revision") from None
    return taken


def _touched(parts: list[Part], ids: np.ndarray) -> list[tuple[Part, dict[int, np.ndarray]]]:
    """Files with their row groups that hold some of these rows: the group's number -> the places of the rows within it."""
    found, begin = [], 0
    for part in parts:
        groups = {}
        for i, (rows, _) in enumerate(part.groups):
            first, last = np.searchsorted(ids, [begin, begin + rows])
            if first < last:
                groups[i] = ids[first:last] - begin
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


def _check_group(found: Listing, part: Part, columns: tuple[str, ...], group: int, field: str) -> None:
    """A group is held whole while its rows are taken."""
    chunks = _chunks(part, columns, group)
    size = max(sum(chunk.unpacked for chunk in chunks), sum(chunk.end - chunk.begin for chunk in chunks))
    if size > MOST_HELD or any(chunk.values > MOST_ROWS for chunk in chunks):
        told = f"{part.name} of {found.repo} has a group of rows of {size:,} bytes, more than {MOST_HELD:,} that are held at once"
        raise QuestionError(field, told, "choose a smaller data set, or save some of its rows as a file")


def _texts(part: Part, columns: tuple[str, ...]) -> list[str]:
    import pyarrow as pa

    return [one.name for one in part.schema if one.name in columns and (pa.types.is_string(one.type) or pa.types.is_large_string(one.type))]


def _bytes(table) -> int:
    """What the table's values take written out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    size = 0
    for column in table.columns:
        for chunk in column.chunks:
            if pa.types.is_dictionary(chunk.type):
                lengths = pc.binary_length(chunk.dictionary).to_numpy(zero_copy_only=False)
                size += int(lengths[chunk.indices.drop_null().to_numpy()].sum()) if len(lengths) else 0
            else:
                size += chunk.nbytes
    return size
