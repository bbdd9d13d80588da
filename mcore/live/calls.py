"""A model's calls of its modules: which of them do not depend on what moves, what they give, and an answer without computing them.

Calls are counted rather than modules, because a module that is called twice may stand still but once. Outputs may be any tree
of tensors and plain values, as modules of transformers give them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch.utils import _pytree as trees

from mcore.live.trim import replaced
from mcore.tasks.batches import Batch

PLAIN = (torch.Tensor, int, float, str, bool, type(None))  # what an output may consist of

Model = torch.nn.Module
Answer = Callable[[Batch], torch.Tensor]


@dataclass(frozen=True)
class Call:
    """Call number ``number`` of a module in one answer, those within other still ones not counted. ``read``: by something that is computed."""

    module: Model
    number: int
    read: bool = field(default=True, compare=False)


def still_calls(model: Model, batch: Batch, answer: Answer, moving: Sequence[torch.Tensor]) -> tuple[Call, ...]:
    """The outermost calls of modules with weights whose outputs depend on none of the ``moving`` tensors, in their order."""
    root = here = _Node(model)
    above: list[_Node] = []

    def enter(module: Model, _) -> None:
        nonlocal here
        above.append(here)
        here.inner.append(_Node(module))
        here = here.inner[-1]

    def leave(module: Model, _, output: Any) -> None:
        nonlocal here
        here.still = _is_still(output)
        here = above.pop()

    floating = [tensor for tensor in moving if tensor.dtype.is_floating_point]
    before = [tensor.requires_grad for tensor in floating]
    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(module.register_forward_pre_hook(enter).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        try:
            for tensor in floating:
                tensor.requires_grad_(True)
            with _traced():
                answer(batch)
        finally:
            for tensor, needed in zip(floating, before, strict=True):
                tensor.requires_grad_(needed)
    numbers: Counter[Model] = Counter()
    return tuple(_outermost(root, numbers))


def read_calls(calls: Sequence[Call], outputs: Sequence[Any], batch: Batch, answer: Answer) -> tuple[Call, ...]:
    """The same calls, told which of them give something that the answer depends on where none of them computes anything."""
    with _traced():
        leaves = [[leaf.clone().requires_grad_() for leaf in trees.tree_leaves(one) if _is_floating(leaf)] for one in outputs]
        waiting = iter([leaf for one in leaves for leaf in one])
        given = [trees.tree_map(lambda leaf: next(waiting).clone() if _is_floating(leaf) else leaf, one) for one in outputs]
        reached = _reached(handed_out(calls, given, batch, answer))
    return tuple(replace(call, read=any(id(leaf) in reached for leaf in one)) for call, one in zip(calls, leaves, strict=True))


@contextmanager
def _traced() -> Iterator[None]:
    """Within it autograd notes what depends on what, and keeps nothing for a way back that nobody goes."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(lambda _: None, lambda _: None):
        yield


def _reached(answer: torch.Tensor) -> set[int]:
    """The ids of the leaves that an answer depends on."""
    found, seen, left = set(), set(), [answer.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        left += [following for following, _ in node.next_functions]
    return found


class _Node:
    """A call while it is tried, and those within it."""

    def __init__(self, module: Model):
        self.module, self.still, self.inner = module, False, []


def _outermost(node: _Node, numbers: Counter[Model]) -> Iterator[Call]:
    for inner in node.inner:
        number = numbers[inner.module]
        numbers[inner.module] += 1
        if inner.still and any(True for _ in inner.module.parameters()):
            yield Call(inner.module, number)
        else:
            yield from _outermost(inner, numbers)


def _is_still(output: Any) -> bool:
    leaves = trees.tree_leaves(output)
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    known = all(isinstance(leaf, PLAIN) for leaf in leaves)
    return known and any(one.is_floating_point() for one in tensors) and not any(one.requires_grad for one in tensors)


def recorded(calls: Sequence[Call], batch: Batch, answer: Answer) -> tuple[torch.Tensor, tuple[Any, ...] | None]:
    """The whole model's answer, and what each call gave, NaN for what nothing reads; None where the model has not made them all."""
    outputs: dict[Call, Any] = {}
    inside: list[Call] = []

    def record(call: Call | None, own: Callable) -> Any:
        if call is None or inside:
            return own()
        inside.append(call)
        given = own()
        inside.pop()
        outputs[call] = given if call.read else unread(given)
        return given

    found = _counted(calls, record, lambda: not inside, batch, answer)
    return found, tuple(outputs[call] for call in calls) if len(outputs) == len(calls) else None


def handed_out(calls: Sequence[Call], outputs: Sequence[Any], batch: Batch, answer: Answer) -> torch.Tensor:
    """The model's answer where the calls give these outputs and compute nothing."""
    known = dict(zip(calls, outputs, strict=True))

    def hand_out(call: Call | None, own: Callable) -> Any:
        return own() if call is None else trees.tree_map(lambda leaf: leaf, known[call])  # so that nobody puts anything into it

    return _counted(calls, hand_out, lambda: True, batch, answer)


def _counted(calls: Sequence[Call], do: Callable[[Call | None, Callable], Any], counts: Callable[[], bool], batch: Batch, answer: Answer) -> torch.Tensor:
    """The answer where ``do(the call or None, what it computes)`` stands for each call of the modules."""
    known = {(call.module, call.number): call for call in calls}
    numbers: Counter[Model] = Counter()

    def forward(module: Model, own: Callable, *args, **kwargs) -> Any:
        call = known.get((module, numbers[module])) if counts() else None
        numbers[module] += counts()
        return do(call, lambda: own(*args, **kwargs))

    with ExitStack() as stack:
        for module in dict.fromkeys(call.module for call in calls):
            stack.enter_context(replaced((module,), partial(forward, module)))
        return answer(batch)


def _is_floating(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.is_floating_point()


def unread(output: Any) -> Any:
    """The same with NaN for every number, which takes no memory."""

    def poison(leaf: Any) -> Any:
        return leaf.new_full((), torch.nan).expand(leaf.shape) if _is_floating(leaf) else leaf

    return trees.tree_map(poison, output)
