"""Fits a path: the bends of a Bézier curve or a polygonal chain (Garipov et al. 2018), or the shares of a learned mix.

Each step draws one t from U(0, 1) and one batch, both from the seed and the step's number alone, so that a fit that was
interrupted goes on as if it had not been. What was fitted is kept in the store under the path's fingerprint, and fitted once.
What one step does stands in ``mcore.paths.fitter``. It is fitted in float32 whatever the precision of the evaluation.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path as File

import numpy as np

from mcore.coefficients import Path
from mcore.errors import Cancelled, QuestionError
from mcore.evaluation import responses
from mcore.evaluation.evaluate import device
from mcore.events import Event, Fitting, Working
from mcore.live.blend import Place, WeightSet, header
from mcore.live.model import Live
from mcore.paths.fitter import Fitter, rate_at, relabelled
from mcore.progress import Progress
from mcore.resolved import ResolvedTask
from mcore.store import Store
from mcore.tuning.finetune import SAVES, batch_of
from mcore.tuning.objectives import AnswerObjective, LabelObjective

Stop = Callable[[], bool]
TOLD = 400  # steps that are told of, at the most; curve.json has them all


def fit(live: Live, path: Path, progress: Progress, store: Store, stop: Stop) -> Iterator[Event]:
    """Returns the live model with the fitted ``path``, fitting it unless the store has it.

    A second process that wants the same path waits for the first. Raises ``Cancelled`` when ``stop`` turns true (what was
    fitted so far is kept), ``QuestionError`` when the loss stops being a number.
    """
    key, waited = progress.resolved.route.fingerprint, False
    while (folder := store.folder(key)) is None:
        with store.claim(key) as mine:
            if mine and store.folder(key) is None:
                yield from _fitted(live, path, progress, store, stop)
                continue
        if not waited:
            yield Working("another run is fitting this path; waiting for it")
            waited = True
        time.sleep(0.3)
        if stop():
            raise Cancelled
    return laid(live, path, folder)


def laid(live: Live, path: Path, folder: File) -> Live:
    """The live model with what was fitted into ``folder``."""
    told = json.loads((folder / "curve.json").read_text())
    if path.spec.kind == "mix":
        return replace(live, path=replace(path, given={**dict.fromkeys(live.tensors, 0.5), **told["given"]}))
    files = {control: folder / f"{control}.safetensors" for control in path.controls[2:]}
    bends = {control: WeightSet({name: Place(file, name) for name in header(file)}) for control, file in files.items()}
    return replace(live, path=path, weights=live.weights | bends)


def t_of(step: int, seed: int) -> float:
    """The t of step number ``step``, from U(0, 1)."""
    return float(np.random.default_rng([seed, 5, step]).random())


def _fitted(live: Live, path: Path, progress: Progress, store: Store, stop: Stop) -> Iterator[Event]:
    resolved, spec, key = progress.resolved, path.spec, progress.resolved.route.fingerprint
    head = resolved.heads[0]
    live.model.eval().to(device())
    if progress.orders(0) is None:  # B's head takes the order of A's labels
        yield Working("asking the data what each output means")
        responses.find_orders(live, resolved, 0, responses.prepared(live, resolved, 0), store, stop)
    yield Working("preparing to fit the path")
    live, objective = _objective(live, progress, head)
    fitter = Fitter(live, path, head, objective, store.work(key))
    try:
        yield from _steps(fitter, path, len(resolved.route.fitting), progress, stop)
        fitter.write({"path": spec.model_dump(mode="json", exclude_none=True)})
    finally:
        fitter.leave()
    about = {"path": spec.model_dump(mode="json", exclude_none=True), "a": resolved.a.fingerprint, "b": resolved.b.fingerprint}
    store.put_folder(key, fitter.work, "path", about)


def _objective(live: Live, progress: Progress, head: str) -> tuple[Live, LabelObjective | AnswerObjective]:
    """What the path is fitted to lower, and the live model with B's labels in the order of A's."""
    resolved, way, asked = progress.resolved, progress.resolved.route, progress.resolved.tasks[0]
    if asked.read == "answers":
        told = ResolvedTask(way.spec.task, way.fitting, way.max_length, "answers")
        return live, AnswerObjective(live.model, live.tokenizer, told, resolved.kind, "path.task")
    orders = progress.orders(0)
    if rows_of_b := responses.rows_of_b(orders, head, live):
        live = replace(live, weights=live.weights | {"b": live.weights["b"].with_rows(live.output_layer, rows_of_b)})
    columns = orders["b" if head == "b" else "a"].columns
    return live, LabelObjective(live.model, live.tokenizer, columns, relabelled(way.fitting, asked.rows.names), way.max_length)


def _steps(fitter: Fitter, path: Path, rows: int, progress: Progress, stop: Stop) -> Iterator[Event]:
    """Every step that is not done."""
    spec, steps, first, began = path.spec, path.spec.steps, fitter.done, time.monotonic()
    tell_every, save_every = math.ceil(steps / TOLD), math.ceil(steps / SAVES)
    for step in range(first, steps):
        if stop():
            fitter.save()
            raise Cancelled
        t = t_of(step, spec.seed)
        loss = fitter.step(batch_of(step, rows, spec.batch_size, spec.seed), t, rate_at(step, steps, spec.learning_rate))
        if not math.isfinite(loss):
            fitter.forget()
            raise QuestionError("path.learning_rate", f"the loss was no number any more at step {step + 1}", f"try {spec.learning_rate / 10:g}")
        if fitter.done % tell_every == 0 or step in (first, steps - 1):
            left = (time.monotonic() - began) / (fitter.done - first) * (steps - fitter.done)
            yield progress.of_the_fit(Fitting(fitter.done, steps, loss, None if spec.kind == "mix" else t, left))
        if fitter.done % save_every == 0 and fitter.done < steps:
            fitter.save()
