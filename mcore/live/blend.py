"""Weight sets on disk, and the one ``blend`` that writes a point in weight space into a live model.

A weight set is names and places, not numbers: tensors are read from safetensors files one piece at a time,
each piece into a buffer that the next one uses again, so that a blend costs no memory to speak of however large
the files are. The files are read, not mapped, because mapped pages count as resident memory until they are let go.
What the coefficients mean (a line, a curve, a plane) is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import mul
from pathlib import Path

import numpy as np
import torch

from mcore.errors import McoreError

PIECE = 1 << 18  # elements read at once: small enough for the cache, large enough that starting threads costs nothing
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a tensor is kept: a safetensors file and the tensor's name in it."""

    file: Path
    name: str


@dataclass(frozen=True)
class Stored:
    """What a file's header says of one tensor; ``offset`` is in bytes from the start of the file."""

    file: Path
    offset: int
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        return reduce(mul, self.shape, 1)


def header(file: Path) -> dict[str, Stored]:
    """The tensors of a safetensors file, by name. Raises ``McoreError`` for a file that is missing or damaged."""
    try:
        with open(file, "rb") as handle:
            size = handle.seek(0, 2)
            handle.seek(0)
            start = 8 + int.from_bytes(handle.read(8), "little")
            if not 8 < start <= size:
                raise ValueError("the header's length does not fit the file")
            entries = json.loads(handle.read(start - 8))
        entries.pop("__metadata__", None)
        found = {}
        for name, entry in entries.items():
            begin, end = entry["data_offsets"]
            stored = Stored(Path(file), start + begin, DTYPES[entry["dtype"]], tuple(entry["shape"]))
            if end - begin != stored.count * stored.dtype.itemsize or start + end > size or begin < 0:
                raise ValueError(f"{name} does not lie within the file")
            found[name] = stored
        return found
    except OSError as error:
        raise McoreError(f"{file} cannot be read ({error.strerror}); check that it is there and readable.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise McoreError(f"{file} is damaged or not a safetensors file ({error}); fetch or save it again.") from error


class WeightSet:
    """Named tensors on disk, read a piece at a time and never held. ``where`` maps a live model's names to places."""

    def __init__(self, where: Mapping[str, Place], rows: Mapping[str, tuple[int, ...]] | None = None):
        headers = {file: header(file) for file in {place.file for place in where.values()}}
        lost = sorted(place.name for place in where.values() if place.name not in headers[place.file])
        if lost:
            raise McoreError(f"The weights lack {_some(lost)}; give a checkpoint that has every tensor of the model.")
        self.where = dict(where)
        self.stored = {name: headers[place.file][place.name] for name, place in where.items()}
        self.names = frozenset(self.where)
        self._rows = dict(rows or {})

    def source(self, name: str) -> tuple[Path, str, tuple[int, ...] | None]:
        """What stands for the tensor's numbers: file, name in it, and the rows that are taken where not all are in order."""
        return self.where[name].file, self.where[name].name, self._rows.get(name)

    def read(self, name: str) -> torch.Tensor:
        """The whole tensor, as stored."""
        stored = self.stored[name]
        tensor = torch.empty(stored.shape, dtype=stored.dtype)
        self.fill(name, 0, tensor.view(-1))
        rows = self._rows.get(name)
        return tensor if rows is None else tensor[list(rows)]

    def with_rows(self, names: Collection[str], order: Sequence[int]) -> WeightSet:
        """This set with row ``order[i]`` of these tensors as row ``i``: an output layer in another label order."""
        for name in names:
            shape = self.stored[name].shape
            if not shape or sorted(order) != list(range(shape[0])):
                raise McoreError(f"{name} has shape {list(shape)}, which rows {list(order)} do not put in a new order.")
        rows = {name: tuple(self._rows[name][i] for i in order) if name in self._rows else tuple(order) for name in names}
        return WeightSet(self.where, {**self._rows, **rows})

    def first_not_finite(self) -> str | None:
        """The name of a tensor that holds NaN or infinity, None where all numbers are finite."""
        for name in sorted(self.names):
            if self.stored[name].dtype.is_floating_point:
                for piece in self.pieces(name):
                    if not torch.isfinite(piece.sum()) and not torch.isfinite(piece).all():
                        return name
        return None

    def pieces(self, name: str, buffers: Buffers | None = None) -> Iterator[torch.Tensor]:
        """A floating tensor from front to back in float32, [elements of a piece]; each lives until the next is asked for."""
        stored = self.stored[name]
        buffers = buffers or Buffers()
        if name in self._rows:
            flat = self.read(name).float().view(-1)
            yield from flat.split(PIECE)
            return
        for start in range(0, stored.count, PIECE):
            raw = buffers.raw(min(PIECE, stored.count - start), stored.dtype)
            self.fill(name, start, raw)
            yield raw if stored.dtype is torch.float32 else buffers.wide(raw)

    def copy(self, name: str, live: torch.Tensor, buffers: Buffers) -> None:
        """Writes the tensor into ``live``, exactly as stored or, in another floating dtype, as it converts to."""
        stored = self.stored[name]
        direct = live.device.type == "cpu" and live.dtype is stored.dtype and live.is_contiguous()
        if direct and name not in self._rows:
            self.fill(name, 0, live.view(-1))
        elif live.is_contiguous() and live.dtype.is_floating_point:
            flat, start = live.view(-1), 0
            for piece in self.pieces(name, buffers):
                flat[start : start + piece.numel()].copy_(piece)
                start += piece.numel()
        else:
            live.copy_(self.read(name))

    def fill(self, name: str, start: int, into: torch.Tensor) -> None:
        """Reads elements, as they stand in the file, from ``start`` on into a flat tensor of the stored dtype, as many as it has."""
        stored = self.stored[name]
        if not into.numel():
            return
        view = memoryview(into.detach().view(torch.uint8).numpy())
        try:
            with open(stored.file, "rb", buffering=0) as handle:
                handle.seek(stored.offset + start * stored.dtype.itemsize)
                while len(view):
                    read = handle.readinto(view)
                    if not read:
                        raise McoreError(f"{stored.file} ends before {name}; fetch or save it again.")
                    view = view[read:]
        except OSError as error:
            raise McoreError(f"{stored.file} cannot be read ({error.strerror}); check that it is there.") from error


class Buffers:
    """Room for one piece as stored and one in float32, used again and again during one blend."""

    def __init__(self) -> None:
        self._bytes = torch.empty(PIECE * 8, dtype=torch.uint8)
        self._wide = torch.empty(0)
        self._sum = torch.empty(0)

    def raw(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        return self._bytes[: count * dtype.itemsize].view(dtype)

    def wide(self, raw: torch.Tensor) -> torch.Tensor:
        if not self._wide.numel():
            self._wide = torch.empty(PIECE)
        return self._wide[: raw.numel()].copy_(raw)

    def sum(self, count: int) -> torch.Tensor:
        if not self._sum.numel():
            self._sum = torch.empty(PIECE)
        return self._sum[:count]


Terms = list[tuple[float, "WeightSet"]]
Coefficients = Sequence[float] | Callable[[str], Sequence[float]]


@torch.no_grad()
def blend(tensors: Mapping[str, torch.Tensor], sets: Sequence[WeightSet], coefficients: Coefficients) -> None:
    """Writes Σ cᵢ Wᵢ into the live ``tensors`` (a model's parameters and buffers), in float32 arithmetic.

    ``coefficients`` has one number per set, or is a function from a tensor's name to those numbers. A set whose
    coefficient is 0 is not read; a lone coefficient of 1 copies bit for bit. Integer tensors are never blended: they
    come from the first set with a coefficient other than 0. Raises ``McoreError`` where names or shapes do not match.
    """
    given = coefficients if callable(coefficients) else lambda name: coefficients
    terms = {
        name: [(float(c), weights) for c, weights in zip(given(name), sets, strict=True) if c != 0] for name in tensors
    }
    _check(tensors, terms)
    buffers = Buffers()
    for name, live in tensors.items():
        whole = not live.dtype.is_floating_point
        if whole or (len(terms[name]) == 1 and terms[name][0][0] == 1):
            terms[name][0][1].copy(name, live, buffers)
        else:
            _mix(name, live, terms[name], buffers)


def _mix(name: str, live: torch.Tensor, terms: Terms, buffers: Buffers) -> None:
    """Writes the weighted sum of ``terms`` into one floating tensor, piece by piece."""
    if not live.is_contiguous():
        mixed = torch.empty(live.shape)
        _mix(name, mixed, terms, buffers)
        live.copy_(mixed)
        return
    flat = live.view(-1)
    direct = live.dtype is torch.float32 and live.device.type == "cpu"
    streams = [(c, weights.pieces(name, buffers)) for c, weights in terms]
    for start in range(0, flat.numel(), PIECE):
        target = flat[start : start + PIECE]
        total = target if direct else buffers.sum(target.numel())
        total.zero_() if not streams else torch.mul(next(streams[0][1]), streams[0][0], out=total)
        for c, stream in streams[1:]:
            total.add_(next(stream), alpha=c)
        if not direct:
            target.copy_(total)


@dataclass(frozen=True)
class Apart:
    """How two tensors stand to each other; sums over elements in float64, so that layers can be summed up."""

    squared: float  # |a - b|²
    dot: float
    norm_a: float  # |a|²
    norm_b: float  # |b|²
    count: int


def distance(a: WeightSet, b: WeightSet, names: Collection[str]) -> dict[str, Apart]:
    """Per tensor the squared distance, the dot product and the squared norms, read a piece at a time."""
    apart = {}
    for name in names:
        if a.stored[name].shape != b.stored[name].shape:
            raise McoreError(f"{name} has shape {list(a.stored[name].shape)} in A and {list(b.stored[name].shape)} in B.")
        sums = torch.zeros(4, dtype=torch.float64)
        for left, right in zip(a.pieces(name), b.pieces(name), strict=True):
            for narrow_left, narrow_right in zip(left.split(PIECE // 4), right.split(PIECE // 4), strict=True):
                x, y = narrow_left.double(), narrow_right.double()
                gap = x - y
                sums += torch.stack([gap @ gap, x @ y, x @ x, y @ y])
        apart[name] = Apart(*sums.tolist(), count=a.stored[name].count)
    return apart


def gram(sets: Sequence[WeightSet], names: Collection[str]) -> dict[str, np.ndarray]:
    """Per tensor the inner products, float64 [sets, sets], of the first set's tensor and of the others' differences from it.

    Differences, because sets that lie close together would lose their digits. One that a set lacks counts as no difference.
    """
    found = {}
    for name in names:
        streams = [one.pieces(name) if name in one.names else None for one in sets]
        total = torch.zeros(len(sets), len(sets), dtype=torch.float64)
        for piece in streams[0]:
            first = piece.double()
            rows = [first, *(next(stream).double() - first if stream else torch.zeros_like(first) for stream in streams[1:])]
            stacked = torch.stack(rows)
            total += stacked @ stacked.T
        found[name] = total.numpy()
    return found


def _check(tensors: Mapping[str, torch.Tensor], terms: Mapping[str, Terms]) -> None:
    """Raises before anything is written: every set that will be read has the tensor, in the live model's shape."""
    if empty := sorted(name for name, live in tensors.items() if not live.dtype.is_floating_point and not terms[name]):
        raise McoreError(f"{_some(empty)} holds whole numbers and every coefficient is 0; give one that is not.")
    if lost := sorted(name for name in tensors if any(name not in weights.names for _, weights in terms[name])):
        raise McoreError(f"The weights lack {_some(lost)}; give a checkpoint that has every tensor of the model.")
    for name, live in tensors.items():
        for _, weights in terms[name]:
            if weights.stored[name].shape != tuple(live.shape):
                shapes = f"{list(weights.stored[name].shape)} on disk and {list(live.shape)} in the model"
                raise McoreError(f"{name} has shape {shapes}; both ends need the same architecture.")


def _some(names: Sequence[str]) -> str:
    """A few names and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
