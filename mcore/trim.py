"""Leaves out what no output depends on: a classifier that reads its first token needs the last block for that one alone.

Which modules these are is found by trying, not by name: everything after the first position goes into a module, and
comes out of it, as NaN; where the logits stay finite the module takes the positions one by one and nothing reads the
others. NaN survives every sum and product, so that no weight, not even a zero, can hide what is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from weakref import WeakKeyDictionary

import torch

ROWS = 3  # of a batch, for the trials
FEWEST = 32  # rows of a product: with fewer the library may take another kernel, whose last bit differs
WRONG_SHAPE = (RuntimeError, TypeError, ValueError, IndexError, AttributeError)  # what a model raises at shapes it cannot take

Inputs = Mapping[str, torch.Tensor]
_known: WeakKeyDictionary[torch.nn.Module, tuple[torch.nn.Module, ...]] = WeakKeyDictionary()


@contextmanager
def trimmed(model: torch.nn.Module, batches: Sequence[Inputs], answer: Callable[[Inputs], torch.Tensor]) -> Iterator[None]:
    """Within it the modules compute first positions only. ``answer``: a batch's logits, by ``model``; tried on ``batches``."""
    if model not in _known:
        _known[model] = _found(model, [few for batch in batches if (few := _few(batch))], answer)
    with _replaced(_known[model], _first):
        yield


def _few(batch: Inputs) -> dict[str, torch.Tensor] | None:
    """Some rows of a batch, for a quick trial; None where they have hardly any tokens."""
    return {name: value[:ROWS] for name, value in batch.items()} if batch["input_ids"].shape[1] > 2 else None


def _found(model: torch.nn.Module, trials: Sequence[Inputs], answer: Callable[[Inputs], torch.Tensor]) -> tuple[torch.nn.Module, ...]:
    """The outermost modules of the last block that are needed for first positions alone."""
    lists = [blocks for blocks in model.modules() if isinstance(blocks, torch.nn.ModuleList) and len(blocks)]
    if not lists or not trials:
        return ()
    plain = [answer(trial) for trial in trials]
    found: list[torch.nn.Module] = []

    def holds(modules: Sequence[torch.nn.Module], forward: Callable, close: bool) -> bool:
        try:
            with _replaced(modules, forward):
                answers = [answer(trial) for trial in trials]
        except WRONG_SHAPE:
            return False
        return all(
            torch.allclose(x, y, rtol=1e-2, atol=1e-2) if close else bool(x.isfinite().all()) for x, y in zip(answers, plain, strict=True)
        )

    def look(module: torch.nn.Module) -> None:
        if any(True for _ in module.parameters()):
            if holds([*found, module], _poisoned, close=False):
                found.append(module)
            else:
                for inner in module.children():
                    look(inner)

    for inner in max(lists, key=len)[-1].children():
        look(inner)
    return tuple(found) if holds(found, _first, close=True) else ()
