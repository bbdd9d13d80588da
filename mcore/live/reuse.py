"""Computes once per batch what is the same at every point of a run, and runs the model from there on.

On a path that leaves lower layers where they are, what comes out of these is remembered at the first point and handed out
at all later ones. Which modules these are is found by trying, on any model: the outermost of those whose outputs depend on no
tensor that moves, as autograd tells. Of their outputs only those are kept that something else reads; the others are NaN
wherever they are handed out (``mcore.live.calls``).

Nothing is taken on trust: where a batch of a kind, with padding or without, does not give at another point what the whole
model gives, bit for bit, the run goes on without. What does not fit into ``ROOM`` is computed as before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as trees

from mcore.live.calls import Answer, Call, Model, handed_out, read_calls, recorded, still_calls, unread
from mcore.live.model import Live
from mcore.live.trim import UNFIT, last_block
from mcore.tasks.batches import Batch

ROOM = 256 << 20  # bytes that are remembered in one run, at the most
WORTH = 0.05  # of the numbers that a token is multiplied with; less is not worth remembering anything
LITTLE = 0.03  # of them: an output that spares no more is not kept beside one that spares all below it
log = logging.getLogger(__name__)

Kind = tuple[int, frozenset[str]]  # the model's id and the names of a batch's inputs, by which it may go other ways


@dataclass
class Way:
    """How one kind of batch is answered: the calls that stand still, in their order, and whether that was proven at a second point."""

    calls: tuple[Call, ...] = ()
    proven: bool = False


@dataclass(frozen=True)
class Kept:
    """What the still calls gave for one batch, which is held so that no other one gets its id."""

    batch: Batch
    outputs: tuple[Any, ...]
    bytes: int


class Reuse:
    """Of one run, whose points differ in the tensors called ``moving`` and in no others."""

    def __init__(self, live: Live, moving: frozenset[str], room: int = ROOM):
        self.live, self.room = live, room
        self._moving = [live.tensors[name] for name in moving]
        self._still = {name: tensor for name, tensor in live.tensors.items() if name not in moving}
        self._ways: dict[Kind, Way] = {}
        self._kept: dict[int, Kept] = {}
        self._stood: Mapping | None = None  # what the still tensors held when it was remembered

    @classmethod
    def between(cls, live: Live, moving: frozenset[str]) -> Reuse | None:
        """None where so much moves that nothing can be reused, or what autograd does not tell of."""
        if not all(live.tensors[name].dtype.is_floating_point for name in moving):
            return None
        still = {id(tensor) for name, tensor in live.tensors.items() if name not in moving}
        weights = _matrices(live.model.modules())
        return cls(live, moving) if sum(n for place, n in weights.items() if place in still) > WORTH * sum(weights.values()) else None

    @property
    def bytes(self) -> int:
        """That are remembered now."""
        return sum(kept.bytes for kept in self._kept.values())

    def spares(self, model: Model) -> bool:
        """Whether nothing is computed of the last block any more, from the second answer on."""
        block, ways = last_block(model), [way for (of, _), way in self._ways.items() if of == id(model)]
        return bool(ways) and all(any(block in call.module.modules() for call in way.calls) for way in ways)

    def remembered(self, model: Model) -> set[Model]:
        """The modules of which something is remembered: themselves, what is within them, or what they are around."""
        own = {call.module for (of, _), way in self._ways.items() if of == id(model) for call in way.calls}
        return {inner for module in own for inner in module.modules()} | {module for module in model.modules() if not own.isdisjoint(module.modules())}

    @contextmanager
    def asking(self, model: Model, batches: Sequence[Batch], answer: Answer) -> Iterator[Answer]:
        """Yields what gives the answer to each of the batches, computing no more than it must."""
        stands = self.live.standing.holds(self._still)
        if None in stands.values():  # not known
            yield answer
            return
        if stands != self._stood:
            self._kept, self._stood = {}, stands
        for kind, sample in _smallest(model, batches).items():
            if kind not in self._ways:
                self._ways[kind] = self._found(model, sample, answer)

        def ask(batch: Batch) -> torch.Tensor:
            way = self._ways[_kind(model, batch)]
            if not way.calls:
                return answer(batch)
            if (kept := self._kept.get(id(batch))) is None:
                return self._remember(way, batch, answer)
            return handed_out(way.calls, kept.outputs, batch, answer) if way.proven else self._prove(way, kept, answer)

        yield ask

    def _remember(self, way: Way, batch: Batch, answer: Answer) -> torch.Tensor:
        found, outputs = recorded(way.calls, batch, answer)
        if outputs is not None and self.bytes + (size := _bytes(outputs)) <= self.room:
            self._kept[id(batch)] = Kept(batch, outputs, size)
        return found

    def _prove(self, way: Way, kept: Kept, answer: Answer) -> torch.Tensor:
        """The whole model's answer; after this the way is trusted, or it is gone. Of a kind's batches the first is the largest."""
        before = [trees.tree_map(_copy, one) for call, one in zip(way.calls, kept.outputs, strict=True) if call.read]
        try:
            found = handed_out(way.calls, kept.outputs, kept.batch, answer)
        except UNFIT:
            found = None
        whole, outputs = recorded(way.calls, kept.batch, answer)
        same = found is not None and outputs is not None and torch.equal(found, whole)
        for seen in (kept.outputs, outputs) if same else ():  # nothing has written into what was handed out, and it is the same at this point
            same &= _equal([one for call, one in zip(way.calls, seen, strict=True) if call.read], before)
        if not same:
            log.info("Outputs of lower layers are not reused: %s does not give the same with them.", type(self.live.model).__name__)
            way.calls, self._kept = (), {}
        way.proven = same
        return whole

    def _found(self, model: Model, batch: Batch, answer: Answer) -> Way:
        """The calls that need not be repeated for batches of this one's kind; none where they do not give the same answer."""
        try:
            calls = still_calls(model, batch, answer, self._moving)
            if _numbers(calls) <= WORTH * sum(_matrices(model.modules()).values()):
                return Way()
            whole, outputs = recorded(calls, batch, answer)
            if outputs is None:
                return Way()
            given = dict(zip(calls, outputs, strict=True))
            calls = _worth_keeping(calls, given, LITTLE * sum(_matrices(model.modules()).values()), batch, answer)
            outputs = [given[call] if call.read else unread(given[call]) for call in calls]
            if torch.equal(handed_out(calls, outputs, batch, answer), whole):
                return Way(calls)
        except UNFIT as error:
            log.info("Outputs of lower layers are not reused: %s", error)
        return Way()


@contextmanager
def asking(reuse: Reuse | None, model: Model, batches: Sequence[Batch], answer: Answer) -> Iterator[Answer]:
    """``Reuse.asking``, or the plain answer where nothing is reused."""
    if reuse is None:
        yield answer
    else:
        with reuse.asking(model, batches, answer) as ask:
            yield ask


def _worth_keeping(calls: Sequence[Call], given: Mapping[Call, Any], little: float, batch: Batch, answer: Answer) -> tuple[Call, ...]:
    """The calls, told which are read, without those that are read but spare ``little`` and for which nothing else would have to be kept.

    A matrix of the first block that moves is one: its output takes as much room as all that stands still below.
    """

    def told(calls: Sequence[Call]) -> tuple[Call, ...]:
        return read_calls(calls, [given[call] for call in calls], batch, answer)

    calls = told(calls)
    for one in calls:
        if one.read and _numbers([one]) <= little:
            without = told([call for call in calls if call != one])
            if {call for call in without if call.read} <= {call for call in calls if call.read}:
                calls = without
    return calls


def _equal(some: Any, others: Any) -> bool:
    """Bit for bit."""
    pairs = zip(trees.tree_leaves(some), trees.tree_leaves(others), strict=True)
    return all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in pairs)


def _copy(leaf: Any) -> Any:
    return leaf.clone() if isinstance(leaf, torch.Tensor) else leaf


def _bytes(outputs: Any) -> int:
    stores = {leaf.untyped_storage().data_ptr(): leaf.untyped_storage().nbytes() for leaf in trees.tree_leaves(outputs) if isinstance(leaf, torch.Tensor)}
    return sum(stores.values())


def _numbers(calls: Iterable[Call]) -> int:
    """How many numbers a token is multiplied with in these calls."""
    return sum(sum(_matrices(call.module.modules()).values()) for call in calls)


def _matrices(modules: Iterator[Model]) -> dict[int, int]:
    """id -> size of the tensors that a token is multiplied with: those of two axes that are not looked up."""
    found = [own for module in modules if not isinstance(module, torch.nn.Embedding) for own in module.parameters(recurse=False)]
    return {id(tensor): tensor.numel() for tensor in found if tensor.dim() > 1}


def _kind(model: Model, batch: Batch) -> Kind:
    return id(model), frozenset(batch.inputs)


def _smallest(model: Model, batches: Sequence[Batch]) -> dict[Kind, Batch]:
    """Of each kind the batch of fewest tokens, for the trials."""
    found: dict[Kind, Batch] = {}
    for batch in sorted(batches, key=lambda batch: batch.size):
        found.setdefault(_kind(model, batch), batch)
    return found
