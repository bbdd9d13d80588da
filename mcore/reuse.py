"""Computes once per batch what is the same at every point of a run, and runs the model from there on.

On a path that leaves lower layers where they are, what comes out of these is remembered at the first point and handed out
at all later ones. Which modules these are is found by trying, on any model: the outermost of those whose outputs depend on no
tensor that moves, as autograd tells. Of their outputs only those are kept that something else reads; the others are NaN
wherever they are handed out (``mcore.calls``).

Nothing is taken on trust: where a batch of a kind, with padding or without, does not give at another point what the whole
model gives, bit for bit, the run goes on without. What does not fit into ``ROOM`` is computed as before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as trees

from mcore.batches import Batch
from mcore.calls import Answer, Call, Model, handed_out, recorded, still_calls, unread
from mcore.live import Live
from mcore.trim import UNFIT, last_block

ROOM = 256 << 20  # bytes that are remembered in one run, at the most
WORTH = 0.05  # of the numbers that a token is multiplied with; less is not worth remembering anything
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
        found = handed_out(way.calls, kept.outputs, kept.batch, answer)
        whole, outputs = recorded(way.calls, kept.batch, answer)
        same = outputs is not None and torch.equal(found, whole)
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
            if sum(_matrices(one for call in calls for one in call.module.modules()).values()) <= WORTH * sum(_matrices(model.modules()).values()):
                return Way()
            whole, outputs = recorded(calls, batch, answer)
            if outputs is None:
                return Way()
            read = [not _is_number(calls, [unread(one) if i == j else one for j, one in enumerate(outputs)], batch, answer) for i in range(len(calls))]
            calls = tuple(Call(call.module, call.number, one) for call, one in zip(calls, read, strict=True))
            outputs = tuple(one if call.read else unread(one) for call, one in zip(calls, outputs, strict=True))
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


def _is_number(calls: Sequence[Call], outputs: Sequence[Any], batch: Batch, answer: Answer) -> bool:
    """Whether there is an answer with these outputs, and it is finite."""
    try:
        return bool(handed_out(calls, outputs, batch, answer).isfinite().all())
    except UNFIT:
        return False


def _equal(some: Any, others: Any) -> bool:
    """Bit for bit."""
    pairs = zip(trees.tree_leaves(some), trees.tree_leaves(others), strict=True)
    return all(torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in pairs)


def _copy(leaf: Any) -> Any:
    return leaf.clone() if isinstance(leaf, torch.Tensor) else leaf


def _bytes(outputs: Any) -> int:
    stores = {leaf.untyped_storage().data_ptr(): leaf.untyped_storage().nbytes() for leaf in trees.tree_leaves(outputs) if isinstance(leaf, torch.Tensor)}
    return sum(stores.values())


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
