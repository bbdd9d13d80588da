"""Permutation alignment: B with its hidden units in the places of those of A that they match, which changes nothing that B computes.

The permuted tensors are kept in the store once for two ends and a method, and read like any others. Before that they are
tried: the outputs must be those of the untouched B. Groups of units whose readers only one end has (a head, a pooler) stay as
they are, because the other end is read by them too. What the output layer says of labels takes no part in the matching.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers.pytorch_utils import Conv1D

from mcore.errors import Cancelled, McoreError
from mcore.events import Event, Working
from mcore.live.blend import Place, WeightSet, header
from mcore.live.model import Live
from mcore.paths.matching import Moments, Permutations, assigned, by_weights, located, permuted
from mcore.paths.units import RESIDUAL, Group, groups
from mcore.resolved import Resolved
from mcore.store import Store
from mcore.tasks.batches import TOKENS, encode, make_batches

TRIED = 4  # rows that the permuted model is tried on
COMPARED = 4096  # tokens that activations are compared on, at the most, so that long texts take no longer than short ones
HELD = 256_000_000  # bytes of activations that are held at once, so that neither end is placed anew for each batch
SOLVERS = 2  # groups that are assigned at once, in 150 MB each at 3,072 units
TOLERANCE = 1e-5  # of the largest output, by which the permuted model may differ: sums are added up in another order
FILE, TOLD = "model.safetensors", "alignment.json"
Stop = Callable[[], bool]
Inputs = dict[str, torch.Tensor]


def align(live: Live, resolved: Resolved, store: Store, stop: Stop) -> Iterator[Event]:
    """Returns the live model with the permuted B as "b"; yields what it is doing. Raises ``McoreError``, ``Cancelled``."""
    key, waited = resolved.route.aligned, False
    while (folder := store.folder(key)) is None:
        with store.claim(key) as mine:
            if mine and store.folder(key) is None:
                folder = yield from _aligned(live, resolved, store, stop)
                break
        if not waited:
            yield Working("another run is aligning B with A; waiting for it")
            waited = True
        time.sleep(0.2)
        if stop():
            raise Cancelled
    return _with(live, folder)


def _aligned(live: Live, resolved: Resolved, store: Store, stop: Stop) -> Iterator[Event]:
    """Match, permute, try, keep; returns the folder in the store."""
    key, method = resolved.route.aligned, resolved.route.spec.align
    every = groups(live.model.config.model_type, live.model.config, {name: tuple(tensor.shape) for name, tensor in live.tensors.items()})
    free = [group for group in every if not _one_sided(live, resolved) & {axis.tensor for axis in group.axes}]
    if method == "weights":
        orders = yield from _by_weights(live, free, stop)
    else:
        orders = yield from _by_activations(live, resolved, free, stop)
    yield Working("permuting B")
    before = _apart(live)
    folder = _written(live, free, orders, store, key)
    after = _apart(_with(live, folder))
    if method == "weights" and after >= before and orders:  # of tensors that no single assignment decides
        orders, after = {}, before
        folder = _written(live, free, orders, store, key)
    if orders:
        yield Working("trying the permuted B")
        _try(live, _with(live, folder), resolved, orders)
    told = {
        "method": method, "l2_before": before, "l2_after": after, "matched": len(free), "fixed": len(every) - len(free),
        "units": sum(group.units for group in free),
        "moved_units": sum(int((order != torch.arange(len(order))).sum()) for order in orders.values()),
    }  # fmt: skip
    (folder / TOLD).write_text(json.dumps(told))
    if stop():
        raise Cancelled
    return store.put_folder(key, folder, "aligned", {"method": method})


def _by_weights(live: Live, free: list[Group], stop: Stop) -> Iterator[Event]:
    a, b = live.weights["a"], live.weights["b"]
    orders: Permutations = {}
    last = 0
    for number, orders in by_weights(a, b, free, lambda name: name not in live.output_layer):  # noqa: B007
        if stop():
            raise Cancelled
        if number > last:
            yield Working(f"matching B's hidden units with those of A: round {number}")
        last = number
    return orders


def _by_activations(live: Live, resolved: Resolved, free: list[Group], stop: Stop) -> Iterator[Event]:
    """Both ends read the same rows; units are compared where they are read: at the inputs of linear layers."""
    readers = {name: group for group in free for name in _readers(live, group)}
    moments = {name: Moments(group.units) for name, group in readers.items()}
    widths = [live.model.get_submodule(name).weight.shape[_taken_in(live, name)] for name in readers]
    parts = list(_parts(list(_inputs(live, _texts(live, resolved), resolved.route.max_length)), most=HELD // (2 * 4 * max(1, sum(widths)))))
    for number, part in enumerate(parts, 1):
        yield Working(f"matching B's hidden units with those of A: part {number:,} of {len(parts):,} of the text")
        seen: dict[str, dict[str, list[torch.Tensor]]] = {"a": defaultdict(list), "b": defaultdict(list)}
        for side, of_side in seen.items():
            _place(live, side)
            for inputs in part:
                _run(live, inputs, readers, lambda name, taken, of_side=of_side: of_side[name].append(taken))
                if stop():
                    raise Cancelled
        for name in readers:
            moments[name].add(*(torch.cat(of_side.pop(name)) for of_side in seen.values()))

    def order_of(group: Group) -> torch.Tensor | None:
        common = sum(moments.pop(name).correlation() for name, reader in readers.items() if reader is group)
        if not common.isfinite().all():
            raise McoreError("What A and B compute of the text is not finite, so their units cannot be compared by it; align by weights.")
        return assigned(common, None)

    matched = [group for group in free if group in readers.values()]
    orders: Permutations = {}
    pool = ThreadPoolExecutor(min(SOLVERS, os.cpu_count() or 1))
    try:
        found = [pool.submit(order_of, group) for group in matched]
        for number, (group, order) in enumerate(zip(matched, found, strict=True), 1):
            yield Working(f"matching B's hidden units with those of A: group {number:,} of {len(matched):,}")
            if stop():
                raise Cancelled
            if order.result() is not None:
                orders[group.name] = order.result()
    finally:
        pool.shutdown(cancel_futures=True)
    return orders


def _texts(live: Live, resolved: Resolved) -> list:
    """Of the sample, the first rows that have at most ``COMPARED`` tokens together; one at the least."""
    way = resolved.route
    lengths = [len(row["input_ids"]) for row in encode(live.tokenizer, way.sample.texts, way.max_length)]
    return list(way.sample.texts)[: max(1, sum(total <= COMPARED for total in accumulate(lengths)))]


def _parts(batches: list[Inputs], most: int) -> Iterator[list[Inputs]]:
    """Batches in a row of at most ``most`` tokens together; one at the least."""
    part, size = [], 0
    for inputs in batches:
        tokens = inputs["input_ids"].numel()
        if part and size + tokens > most:
            yield part
            part, size = [], 0
        part.append(inputs)
        size += tokens
    if part:
        yield part


def _readers(live: Live, group: Group) -> list[str]:
    """The names of linear layers that take the group's units in; of several beside each other, which take in the same, one."""
    found: dict[str, str] = {}
    for axis in group.axes:
        name = axis.tensor.rpartition(".")[0]
        module = live.model.get_submodule(name)
        if isinstance(module, Conv1D | torch.nn.Linear) and axis.axis == _taken_in(live, name) and axis.tensor.endswith(".weight"):
            found.setdefault(name.rpartition(".")[0], name)
    return list(found.values())


def _taken_in(live: Live, name: str) -> int:
    """The axis of a linear layer's weight along which it takes in."""
    return 0 if isinstance(live.model.get_submodule(name), Conv1D) else 1


@torch.inference_mode()
def _run(live: Live, inputs: Inputs, layers: Collection[str] = (), told: Callable[[str, torch.Tensor], None] | None = None) -> torch.Tensor:
    """What the model answers: logits, or the last hidden states of a body. ``told`` is given what each of the ``layers`` takes in, [tokens, size]."""
    with ExitStack() as stack:
        for name in layers:
            hook = live.model.get_submodule(name).register_forward_pre_hook(lambda _, given, name=name: told(name, given[0].flatten(0, -2)))
            stack.callback(hook.remove)
        answer = live.model(**inputs)
    return answer.logits if "logits" in answer else answer.last_hidden_state


def _inputs(live: Live, texts: list, max_length: int, alone: bool = False) -> Iterator[Inputs]:
    """The texts as the model takes them, without padding: those of one length together, or each ``alone``."""
    config = live.model.config
    single = alone or config.get_text_config().pad_token_id is None  # such a classifier takes one row at a time
    for batch in make_batches(live.tokenizer, texts, max_length, None, 1 if single else TOKENS):
        inputs = dict(batch.inputs)
        if config.is_encoder_decoder and not live.output_layer:
            ids = inputs["input_ids"]
            start = config.decoder_start_token_id or config.pad_token_id or 0
            inputs["decoder_input_ids"] = torch.cat([torch.full_like(ids[:, :1], start), ids[:, :-1]], dim=1)
        yield inputs


def _place(live: Live, side: str) -> None:
    """The end as it is, read with its own head where it has one."""
    alone = tuple(float(name == side) for name in live.weights)
    live.place_body(alone)
    if live.output_layer:
        own = live.output_layer <= live.weights[side].names
        live.place_head(alone, side if own else {"a": "b", "b": "a"}[side])


def _try(live: Live, moved: Live, resolved: Resolved, orders: Permutations) -> None:
    """Raises ``McoreError`` where the permuted B does not give B's outputs."""
    task = resolved.tasks[0]
    inputs = list(_inputs(live, task.rows.texts[:TRIED], task.max_length, alone=True))
    answers = []
    for one in (live, moved):
        _place(one, "b")
        answers.append([_run(one, each) for each in inputs])
    order = orders.get(RESIDUAL) if resolved.kind == "body" else None
    worst, largest = 0.0, 0.0
    for expected, found in zip(*answers, strict=True):
        expected = expected if order is None else expected[..., order]
        worst, largest = max(worst, (found - expected).abs().max().item()), max(largest, expected.abs().max().item())
    if not worst <= TOLERANCE * largest:  # NaN too
        raise McoreError(f"B with its units permuted does not compute what B does (outputs differ by {worst:.2g} of {largest:.2g}); compare without alignment.")


def _one_sided(live: Live, resolved: Resolved) -> set[str]:
    """Tensors that are the same at both ends of the path, so that what they read must stay where it is."""
    return set(live.only) | (set(live.output_layer) if set(resolved.heads) != {"both"} else set())


def _apart(live: Live) -> float:
    """‖A − B‖ over what both have, the output layer left out: the order of its labels is another matter."""
    names = [name for name, tensor in live.tensors.items() if tensor.dtype.is_floating_point and name not in live.only and name not in live.output_layer]
    a, b = live.weights["a"], live.weights["b"]
    pieces = (zip(a.pieces(name), b.pieces(name), strict=True) for name in names)
    return math.sqrt(sum(torch.sub(x, y).square_().sum(dtype=torch.float64).item() for pair in pieces for x, y in pair))


def _written(live: Live, free: list[Group], orders: Permutations, store: Store, key: str) -> Path:
    """A scratch folder with those tensors of B that have moved, as exactly as they are stored."""
    store.drop_work(key)
    folder, b = store.work(key), live.weights["b"]
    places = {name: standing for name, standing in located(free).items() if any(group.name in orders for group, _ in standing)}
    save_file({name: permuted(b.read(name), standing, orders).contiguous() for name, standing in places.items()}, folder / FILE)
    return folder


def _with(live: Live, folder: Path) -> Live:
    """The live model whose B has the tensors in ``folder`` in the place of its own."""
    b = live.weights["b"]
    places = {name: Place(folder / FILE, name) for name in header(folder / FILE)}
    return replace(live, weights=live.weights | {"b": WeightSet(b.where | places)}, untouched=b)
