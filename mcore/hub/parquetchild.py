"""The process that reads a stranger's parquet files: the library ends its own process on some damaged ones, or fills the memory.

    python -m mcore.hub.parquetchild     answers each line of JSON with one

It has neither the network nor a token, a bounded memory and time, and is started for one data set. Texts are read as places in
a dictionary, so that a value repeated a million times is held once until it is known how long all chosen ones are.
"""

from __future__ import annotations

import json
import resource
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mcore.errors import first_line
from mcore.tasks.columns import class_names

MEMORY = 3 * 2**30  # bytes of addresses, of which the libraries take one
SECONDS = 300  # of a processor


def footer(file: str, most_columns: int, most_groups: int) -> dict:
    """What a file says of itself: columns and whether they hold texts, names of classes, groups of rows."""
    told = pq.read_metadata(file)
    if told.num_columns > most_columns or told.num_row_groups > most_groups:
        return {"shape": [told.num_columns, told.num_row_groups]}
    schema = told.schema.to_arrow_schema()
    columns = [[one.name, _is_text(one.type)] for one in schema]
    groups = [_group(told.row_group(i)) for i in range(told.num_row_groups)]
    return {"rows": told.num_rows, "columns": columns, "classes": class_names(schema.metadata), "groups": groups}


def rows(files: list[list], columns: list[str], most: int) -> dict:
    """The columns of some rows; ``files``: each with its groups, and the places within a group (None: all of them)."""
    taken: dict[str, list] = {name: [] for name in columns}
    size = 0
    for file, groups in files:
        told = pq.read_metadata(file)
        texts = [one.name for one in told.schema.to_arrow_schema() if one.name in columns and not pa.types.is_dictionary(one.type) and _is_text(one.type)]
        opened = pq.ParquetFile(file, metadata=told, read_dictionary=texts, pre_buffer=False)
        for group, places in groups:
            table = opened.read_row_group(group, columns=columns, use_threads=False)
            if table.num_rows != told.row_group(group).num_rows:
                raise ValueError("a group holds another number of rows than it says")
            table = table if places is None else table.take(pa.array(places, pa.int64()))
            if (size := size + sum(map(_bytes, table.columns))) > most:
                return {"bytes": size}
            for name in columns:
                taken[name] += table[name].to_pylist()
    return {"taken": taken}


def _group(told: pq.RowGroupMetaData) -> list:
    """The number of rows, and for each column its name, where it begins and ends, its bytes unpacked, its values."""
    chunks = []
    for one in (told.column(i) for i in range(told.num_columns)):
        begin = min(one.data_page_offset, one.dictionary_page_offset or one.data_page_offset)
        name = one.path_in_schema.split(".")[0]
        chunks.append([name, begin, begin + one.total_compressed_size, one.total_uncompressed_size, one.num_values])
    return [told.num_rows, chunks]


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _bytes(column: pa.ChunkedArray) -> int:
    """What its values take written out."""
    size = 0
    for chunk in column.chunks:
        if pa.types.is_dictionary(chunk.type) and _is_text(chunk.type):
            lengths = pc.binary_length(chunk.dictionary).fill_null(0).to_numpy(zero_copy_only=False)
            size += int(lengths[chunk.indices.drop_null().to_numpy()].sum()) if len(lengths) else 0
        else:
            size += chunk.nbytes
    return size


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            told = {"footer": footer, "rows": rows}[asked.pop("do")](**asked)
        except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, RecursionError, MemoryError) as error:
            told = {"error": first_line(error)}
        print(json.dumps(told, default=str, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
