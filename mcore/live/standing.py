"""What stands in the tensors of a live model, so that a blend writes only what changes from one point to the next.

A tensor stands still between two points that take the same files' numbers with the same coefficients: the rest of a partial
path, the backbone of two adapters on one base, what is not allowed to bend. Sets that hold the same bytes of a tensor count
as one, and where all that are blended do, its numbers are taken as they are: (1 − t)·w + t·w would only round them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from mcore.live.blend import PIECE, WeightSet, blend

SUMS = 1e-9  # how far from 1 the coefficients of one and the same tensor may sum to; they do but on a spherical path
SPOT = 64  # elements in the middle that are compared first: tensors that differ mostly differ there

Numbers = tuple[float, ...]  # a coefficient for each set
Content = tuple[tuple, ...]  # coefficient, file, name in it and rows of each set that is read


class Standing:
    """Of one live model; shared by all that write into it."""

    def __init__(self) -> None:
        self._written: dict[str, tuple[Content, tuple]] = {}
        self._same: dict[tuple, bool] = {}

    def write(self, tensors: Mapping[str, torch.Tensor], sets: Sequence[WeightSet], coefficients: Callable[[str], Numbers]) -> None:
        """``blend`` for those of the tensors that do not hold the result yet. Raises ``McoreError`` as it does."""
        settled = {name: self.settled(name, tensor, sets, coefficients(name)) for name, tensor in tensors.items()}
        contents = {name: content(name, sets, numbers) for name, numbers in settled.items()}
        changed = {name: tensor for name, tensor in tensors.items() if self._written.get(name) != (contents[name], _mark(tensor))}
        for name in changed:  # a blend that does not end leaves nothing that is known
            self._written.pop(name, None)
        blend(changed, sets, settled.__getitem__)
        for name, tensor in changed.items():
            self._written[name] = contents[name], _mark(tensor)

    def holds(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, Content | None]:
        """What is in each tensor; None where somebody else has written into it."""
        known = {name: self._written.get(name, (None, ())) for name in tensors}
        return {name: what if mark == _mark(tensors[name]) else None for name, (what, mark) in known.items()}

    def settled(self, name: str, tensor: torch.Tensor, sets: Sequence[WeightSet], numbers: Numbers) -> Numbers:
        """The same point, taken from the first of those sets that hold the same, and without a sum where all that are read do."""
        if not tensor.dtype.is_floating_point:  # never blended: it comes from the first
            numbers = _only(len(sets), next((i for i, c in enumerate(numbers) if c), None))
        read = [(i, c) for i, c in enumerate(numbers) if c]
        firsts = {i: self._first(name, i, sets) for i, _ in read}
        if len(read) > 1 and len(set(firsts.values())) == 1 and abs(sum(numbers) - 1) < SUMS:
            return _only(len(sets), firsts[read[0][0]])
        return _only(len(sets), firsts[read[0][0]], read[0][1]) if len(read) == 1 else tuple(numbers)

    def _first(self, name: str, i: int, sets: Sequence[WeightSet]) -> int:
        """The place of the first set that holds the same as number ``i`` under this name."""
        return next((j for j in range(i) if name in sets[j].names and name in sets[i].names and self._alike(name, sets[j], sets[i])), i)

    def _alike(self, name: str, one: WeightSet, other: WeightSet) -> bool:
        sources = (one.source(name), other.source(name))
        if sources not in self._same:
            self._same[sources] = same_bytes(name, one, other)
        return self._same[sources]


def content(name: str, sets: Sequence[WeightSet], numbers: Numbers) -> Content:
    """What stands for the weighted sum of a tensor."""
    return tuple((c, *weights.source(name)) for c, weights in zip(numbers, sets, strict=True) if c and name in weights.names)


def same_bytes(name: str, one: WeightSet, other: WeightSet) -> bool:
    """Whether two sets hold the same numbers of a tensor in the same form. Read a piece at a time, and no further than they agree."""
    sources, stored, second = (one.source(name), other.source(name)), one.stored[name], other.stored[name]
    if sources[0] == sources[1]:
        return True
    if (stored.dtype, stored.shape, sources[0][-1]) != (second.dtype, second.shape, sources[1][-1]):
        return False
    spans = [(max(0, (stored.count - SPOT) // 2), min(SPOT, stored.count))]
    spans += [(start, min(PIECE, stored.count - start)) for start in range(0, stored.count, PIECE)]
    room = torch.empty(2, min(PIECE, stored.count) * stored.dtype.itemsize, dtype=torch.uint8)
    for start, count in spans:
        left, right = (row[: count * stored.dtype.itemsize] for row in room)
        one.fill(name, start, left.view(stored.dtype))
        other.fill(name, start, right.view(stored.dtype))
        if not torch.equal(left, right):
            return False
    return True


def _only(count: int, place: int | None, number: float = 1.0) -> Numbers:
    """``number`` for the set at ``place``, nothing for the others."""
    return tuple(number if i == place else 0.0 for i in range(count))


def _mark(tensor: torch.Tensor) -> tuple:
    """Changes when anybody else writes into the tensor or gives it other memory."""
    return tensor.data_ptr(), tensor._version, tensor.dtype, tuple(tensor.shape)
