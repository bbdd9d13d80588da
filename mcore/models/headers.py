"""The header of a safetensors file, which says where its tensors lie: believed only where it fits the file's size."""

from __future__ import annotations

import json
from itertools import pairwise
from math import prod

MOST_TENSORS = 100_000  # of a model
MOST_DIMENSIONS, LONGEST_NAME = 16, 500
BITS = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip


def entries(text: bytes, room: int) -> dict[str, dict]:
    """Name -> dtype, shape and data_offsets, as the header ``text`` of a file with ``room`` bytes of data tells them.

    Raises ``ValueError`` where tensors overlap, leave gaps, lie outside or have another size than their shape.
    """
    try:
        told = json.loads(text)
        told.pop("__metadata__", None)
        spans = [(0, 0)]
        for name, entry in told.items():
            (begin, end), shape = entry["data_offsets"], entry["shape"]
            if len(name) > LONGEST_NAME or len(shape) > MOST_DIMENSIONS or not all(type(n) is int and 0 <= n <= room for n in (begin, end, *shape)):
                raise ValueError(f"{name[:100]} is no tensor")
            if prod(shape) * BITS[entry["dtype"]] != 8 * (end - begin):
                raise ValueError(f"{name} has another size than its shape")
            spans.append((begin, end))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no header ({error})") from None
    spans = [*sorted(spans), (room, room)]
    if any(before[1] != after[0] for before, after in pairwise(spans)):
        raise ValueError("its tensors do not lie one after the other")
    return told
