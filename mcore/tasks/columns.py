"""The columns of a data file: csv, tsv, json, jsonl or parquet, by name and as they stand in it.

Read by the standard library where it can: pandas alone would take 50 MB of the memory that a path has.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

Columns = dict[str, list]  # each of one length; None where a row has no such value
ClassNames = dict[str, list[str]]

MOST_FILE_BYTES = 512 * 2**20
ENDINGS = {".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json", ".json": "json", ".parquet": "parquet"}

csv.field_size_limit(MOST_FILE_BYTES)  # the library's own limit is shorter than a long e-mail


def read(path: Path, header: Sequence[str] = ()) -> tuple[Columns, ClassNames]:
    """The columns, and the class names that a parquet file written by `datasets` carries.

    ``header``: the names of the columns of a csv or tsv file whose first line is a row. Raises ``ValueError`` or ``OSError`` that
    says what is wrong with the file.
    """
    kind = ENDINGS.get(path.suffix)
    if kind == "csv":
        return _csv(path, "\t" if path.suffix == ".tsv" else ",", header), {}
    if header:
        raise ValueError("its columns have names of their own; only a csv or tsv file may have none")
    if kind == "json":
        return _json(path, lines=path.suffix != ".json"), {}
    if kind == "parquet":
        return _parquet(path)
    raise ValueError("it is no csv, jsonl or parquet file")


def blank(value: object) -> bool:
    """Nothing is there: None, NaN or white space."""
    return value is None or value != value or not str(value).strip()


def _csv(path: Path, separator: str, header: Sequence[str]) -> Columns:
    with open(path, encoding="utf-8-sig", newline="") as file:
        try:
            names, *rows = ([list(header)] if header else []) + [row for row in csv.reader(file, delimiter=separator, strict=True) if row] or [[]]
        except csv.Error as error:
            raise ValueError(str(error)) from None
    if len(set(names)) != len(names):
        raise ValueError("two columns have one name")
    if (longer := next((i for i, row in enumerate(rows) if len(row) > len(names)), None)) is not None:
        raise ValueError(f"row {longer} has {len(rows[longer])} fields, and there are names for {len(names)}")
    return {name: [row[i] if i < len(row) else None for row in rows] for i, name in enumerate(names)}


def _json(path: Path, lines: bool) -> Columns:
    text = path.read_text(encoding="utf-8-sig")
    try:
        rows = [json.loads(line) for line in text.split("\n") if line.strip()] if lines else json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("its rows are no objects")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _parquet(path: Path) -> tuple[Columns, ClassNames]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
        columns = {name: table[name].to_pylist() for name in table.column_names if not name.startswith("__index_level_")}
    except pa.ArrowException as error:
        raise ValueError(str(error)) from None
    return columns, class_names(table.schema.metadata)


def class_names(metadata: Mapping[bytes, bytes] | None) -> ClassNames:
    """Column -> names of its classes, as `datasets` writes them beside an Arrow schema."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {key: list(map(str, f["names"])) for key, f in features.items() if isinstance(f, dict) and "names" in f}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
