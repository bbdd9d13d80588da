"""Leaves out what no output depends on: a classifier that reads its first token needs most of the last block for that one alone.

Which modules these are is found by trying, not by name. Everything after the first position goes into a module as NaN
and comes out of it as NaN; where the logits stay finite, the module takes the first position by itself and nothing reads
what it makes of the others. NaN survives sums and products, so that no weight, not even a zero, hides what is read.
Then whole batches must give the untouched model's logits bit for bit, or nothing is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from weakref import WeakKeyDictionary

import torch

SAMPLE = 3  # rows for the trials
FEWEST = 16  # rows of a product for each thread: below 4 to 6 the library takes a kernel that rounds the last bit otherwise
UNFIT = (RuntimeError, TypeError, ValueError, IndexError, AttributeError)  # what comes of shapes that a module cannot take

Inputs = Mapping[str, torch.Tensor]
Answer = Callable[[Inputs], torch.Tensor]
Modules = tuple[torch.nn.Module, ...]
_known: WeakKeyDictionary[torch.nn.Module, dict[object, tuple[str, ...]]] = WeakKeyDictionary()  # names, so as to keep no model alive


@contextmanager
def trimmed(
    model: torch.nn.Module, batches: Sequence[Inputs], answer: Answer, whole: Collection[torch.nn.Module] = ()
) -> Iterator[Modules]:
    """Within it the model computes hardly more than its logits need. ``answer`` gives a batch's logits by the model.

    ``whole``: modules that take all positions all the same, because what they give is remembered.
    Yields the modules that compute first positions only; they are looked for once for each way a model is computed.
    """
    known = _known.setdefault(model, {})
    way = (frozenset((weight.dtype, weight.device) for weight in model.parameters()), torch.get_num_threads())
    longer = [batch for batch in batches if batch["input_ids"].shape[1] > 2]  # of a row of two tokens little can be left out
    if way not in known and longer:
        found = _found(model, _largest(longer), answer)
        known[way] = tuple(name for name, module in model.named_modules() if module in found)
    modules = tuple(module for name in known.get(way, ()) if (module := model.get_submodule(name)) not in whole)
    with replaced(modules, _first):
        yield modules


def _largest(batches: Sequence[Inputs]) -> list[Inputs]:
    """The batch of most rows with padding and that without, for which a model may go other ways."""
    kinds = [[batch for batch in batches if ("attention_mask" in batch) == padded] for padded in (True, False)]
    return [max(kind, key=lambda batch: len(batch["input_ids"])) for kind in kinds if kind]


def last_block(model: torch.nn.Module) -> torch.nn.Module | None:
    """The last of what a model repeats: of the longest list of modules, where there are several of the last of these."""
    lists = [blocks for blocks in model.modules() if isinstance(blocks, torch.nn.ModuleList) and len(blocks)]
    return max(reversed(lists), key=len)[-1] if lists else None


def _found(model: torch.nn.Module, batches: Sequence[Inputs], answer: Answer) -> Modules:
    """The outermost modules of the last block that are needed for the first position alone."""
    samples = [{name: value[:SAMPLE] for name, value in batch.items()} for batch in batches]

    def answers(inputs: Sequence[Inputs], modules: Modules = (), forward: Callable = _first) -> list[torch.Tensor]:
        try:
            with replaced(modules, forward):
                return [answer(batch) for batch in inputs]
        except UNFIT:
            return []

    def look(module: torch.nn.Module, found: Modules) -> Modules:
        if not any(True for _ in module.parameters()):
            return found  # nothing to gain
        logits = [] if isinstance(module, torch.nn.ModuleList) else answers(samples, (*found, module), _poisoned)
        if logits and all(one.isfinite().all() for one in logits):
            return (*found, module)
        for inner in module.children():
            found = look(inner, found)
        return found

    found = look(block, ()) if (block := last_block(model)) is not None else ()
    pairs = list(zip(answers(batches, found), answers(batches), strict=False)) if found else []
    return found if pairs and all(torch.equal(*pair) for pair in pairs) else ()


@contextmanager
def replaced(modules: Modules, forward: Callable) -> Iterator[None]:
    """Lets ``forward(the module's own, *its arguments)`` stand for what each module computes."""
    before = [module.__dict__.get("forward") for module in modules]
    for module in modules:
        module.forward = partial(forward, module.forward)
    try:
        yield
    finally:
        for module, own in zip(modules, before, strict=True):
            del module.forward
            if own is not None:
                module.forward = own


def _is_sequence(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() == 3 and value.is_floating_point()  # [rows, positions, values]


def _poisoned(forward: Callable, *args, **kwargs) -> torch.Tensor:
    """What a module makes where all that goes in and comes out after the first position is NaN."""

    def poison(value):
        return torch.cat([value[:, :1], torch.full_like(value[:, 1:], torch.nan)], 1) if _is_sequence(value) else value

    return poison(forward(*map(poison, args), **{name: poison(value) for name, value in kwargs.items()}))


def _first(forward: Callable, *args, **kwargs) -> torch.Tensor:
    """What a module makes of the first positions, as many as a product should have, and zeros for the others."""
    rows, positions = next((value.shape[:2] for value in (*args, *kwargs.values()) if _is_sequence(value)), (1, 0))
    kept = -(-FEWEST * torch.get_num_threads() // rows)
    if kept >= positions:
        return forward(*args, **kwargs)

    def cut(value):
        return value[:, :kept].contiguous() if _is_sequence(value) and value.shape[1] == positions else value

    few = forward(*map(cut, args), **{name: cut(value) for name, value in kwargs.items()})
    whole = few.new_zeros(rows, positions, *few.shape[2:])
    whole[:, :kept] = few
    return whole
