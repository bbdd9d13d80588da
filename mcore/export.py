"""The model at t as a transformers folder: the way to it is that of ``run``, and in the place of an evaluation it is saved.

What is saved is what the chart shows: loaded with transformers alone it has the loss of the point. Float32 and the other
types differ by nothing but the rounding of each weight; the blend is always made in float32.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from mcore import portable, taking
from mcore.database import told
from mcore.errors import Cancelled, McoreError, QuestionError
from mcore.evaluation import responses
from mcore.evaluation.evaluate import prepare
from mcore.events import Done, Event, Pushed, Working
from mcore.exportcard import write_card
from mcore.hub.push import check_token, push
from mcore.limits import check_size
from mcore.live.delta import merge, plain_name
from mcore.live.loading import tensors_of
from mcore.live.model import Live
from mcore.models import deltas
from mcore.paths.laying import lay
from mcore.plan import Orders, Point
from mcore.profile import profile
from mcore.progress import Progress
from mcore.question import Experiment, as_written
from mcore.resolve import resolve
from mcore.resolved import Resolved
from mcore.run import joined
from mcore.store import Store
from mcore.taking import Take
from mcore.tuning.beginning import alone

MOST_SHARD = "5GB"  # of one file of weights: the Hub and most disks take it whole
Stop = Callable[[], bool]


def export(experiment: Experiment, take: Take, store: Store, stop: Stop = lambda: False, out: Path | None = None) -> Iterator[Event]:
    """Save the model at ``take.t`` in the folder ``out``, else in the store under ``taking.key``; then send it to the Hub where that is asked.

    The folder appears whole or not at all. Raises ``QuestionError`` before anything expensive, ``Cancelled`` soon after ``stop`` turns true.
    """
    resolved = resolve(experiment)
    taking.check(resolved, take)
    check_size(resolved, profile())
    if take.push:
        check_token("push")
    if out is not None:
        check_free(out)
        yield from _into(out, experiment, resolved, take, store, stop)
        folder = out
    else:
        yield from _kept(experiment, resolved, take, store, stop)
        folder = store.folder(taking.key(resolved, take))
        if folder is None:
            raise McoreError("The model is no longer in the store; make the store's limit larger (MCORE_STORE_LIMIT) and take it again.")
    if take.push:
        yield Working(f"sending the model to {take.push}")
        yield Pushed(push(folder, take, _title(resolved, take)))
    yield Done(taking.key(resolved, take))


def check_free(out: Path) -> None:
    """Raises ``QuestionError`` unless the folder is new or empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise QuestionError("--out", f"{out} is there already", "name a folder that is new or empty")


def _into(out: Path, experiment: Experiment, resolved: Resolved, take: Take, store: Store, stop: Stop) -> Iterator[Event]:
    part = out.absolute().parent / f".{out.absolute().name}-{uuid.uuid4().hex}"
    try:
        with told(out):
            part.mkdir(parents=True)
        yield from _write(part, experiment, resolved, take, store, stop, here=take.push is None)
        with told(out):
            os.replace(part, out)  # onto nothing, or an empty folder
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _kept(experiment: Experiment, resolved: Resolved, take: Take, store: Store, stop: Stop) -> Iterator[Event]:
    """In the store; who comes while another process writes the same waits for it."""
    key, waited = taking.key(resolved, take), False
    while store.folder(key) is None:
        with store.claim(key) as mine:
            if mine and store.folder(key) is None:
                store.drop_work(key)
                work = store.work(key)
                try:
                    yield from _write(work, experiment, resolved, take, store, stop)
                    about = {"question": as_written(experiment), "t": take.t, "dtype": take.dtype}
                    store.put_folder(key, work, taking.KIND, about)
                finally:
                    store.drop_work(key)
                return
        if not waited:
            yield Working("another run is saving this model; waiting for it")
            waited = True
        time.sleep(0.3)
        if stop():
            raise Cancelled


def _write(
    folder: Path, experiment: Experiment, resolved: Resolved, take: Take, store: Store, stop: Stop, here: bool = False
) -> Iterator[Event]:
    """``here``: the folder stays on this machine, where what it names is found."""
    progress = Progress(resolved, store, "export")
    live = yield from joined(progress, store, stop)
    live = yield from lay(live, progress, store, stop)
    orders = progress.orders(0)
    if orders is None:
        yield Working("asking the data what each output means")
        prepare(live.model, resolved.experiment.precision)
        responses.find_orders(live, resolved, 0, responses.prepared(live, resolved, 0), store, stop)
        live.model.float()
        orders = progress.orders(0)
    if stop():
        raise Cancelled
    yield Working(f"saving the model at t = {take.t:.12g}")
    responses.place(live, resolved, Point(0, take.t), orders)
    names = labels(resolved, orders)
    bare = resolved.heads[0] == "fitted"
    with told(folder):
        if resolved.structure and not alone(resolved.structure):
            save_delta(live, folder, resolved, take, names, here)
        else:
            save(live, folder, take.dtype, names, bare)
        write_card(folder, experiment, resolved, take, names, store)


def save(live: Live, folder: Path, dtype: taking.Dtype, names: list[str] | None, bare: bool = False) -> None:
    """The live model as it stands, and its tokenizer. ``names``: of its outputs; ``bare``: without a classification head.

    Raises ``McoreError`` where a weight is too large for ``dtype``.
    """
    merge(live.model)
    absent = set(tensors_of(live.model)) - {plain_name(name) for name in live.tensors}  # what neither end has
    model: PreTrainedModel = live.model.base_model if bare else live.model
    if names is not None and not bare:
        model.config.id2label = dict(enumerate(names))
        model.config.label2id = {name: i for i, name in enumerate(names)}
    model.to(getattr(torch, dtype))
    if broken := [name for name, tensor in model.named_parameters() if name not in absent and not tensor.isfinite().all()]:
        raise McoreError(f"{broken[0]} has a weight that is too large for {dtype}; take the model in float32 or bfloat16.")
    weights = {name: tensor for name, tensor in model.state_dict().items() if name not in absent}
    model.save_pretrained(folder, state_dict=weights, max_shard_size=MOST_SHARD)
    live.tokenizer.save_pretrained(folder)


def save_delta(live: Live, folder: Path, resolved: Resolved, take: Take, names: list[str] | None, here: bool) -> None:
    """What was tuned of the live model, which transformers alone does not have, beside the address of its base; and its tokenizer.

    Raises ``McoreError`` where a weight is too large for ``take.dtype``.
    """
    a, b = live.weights["a"], live.weights["b"]
    own = [name for name in live.tensors if name in live.output_layer or a.source(name) != b.source(name)]
    kept = {name: live.tensors[name].detach().to(getattr(torch, take.dtype)).cpu().contiguous() for name in own}
    if broken := [name for name, tensor in kept.items() if not tensor.isfinite().all()]:
        raise McoreError(f"{broken[0]} has a weight that is too large for {take.dtype}; take the model in float32 or bfloat16.")
    save_file(kept, folder / deltas.FILE, metadata={"format": "pt"})
    base, config = resolved.a.source.base, live.model.config
    address = base.address if here else portable.folder(base.address, base.digest)
    deltas.write(folder, resolved.structure, address, base.digest, sum(tensor.numel() for tensor in kept.values()))
    if names is not None:
        config.id2label, config.label2id = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
    config.architectures = [type(live.model).__name__]
    config.save_pretrained(folder)
    live.tokenizer.save_pretrained(folder)


def labels(resolved: Resolved, orders: Orders) -> list[str] | None:
    """What each output of the saved head means, in the words of the first task; an output that it does not read keeps its own name."""
    if resolved.tasks[0].read != "head":
        return None
    side = "b" if resolved.heads[0] == "b" else "a"
    names, rows = list(resolved.endpoint(side).labels), resolved.tasks[0].rows
    if rows.kind == "classes":
        for label, column in enumerate(orders[side].columns):
            names[column] = rows.names[label]
    return names


def _title(resolved: Resolved, take: Take) -> str:
    return f"The model at t = {take.t:.12g} of {resolved.fingerprint}"
