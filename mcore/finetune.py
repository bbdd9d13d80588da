"""Fine-tuning by recipe: deterministic, watched, resumable, kept once per fingerprint.

AdamW with warm-up, linear decay to zero and gradient clipping, in float32. The seeds are apart:
``head_seed`` makes what is new in the model, ``data_seed`` the order of the rows and the dropout.
Both are functions of the step's number, so that a run that was interrupted goes on as if it had
not been. On the way some training rows are followed for data cartography.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import numpy as np

from mcore.errors import Cancelled, QuestionError
from mcore.events import Trained, Training, Working
from mcore.resolve import ResolvedRecipe
from mcore.store import Store
from mcore.trainer import Trainer

LOOKS = 5  # times that validation and followed rows are evaluated, the last step's included
SAVES = 8  # times that the state is saved, so that an interruption loses at most an eighth of the steps
TOLD = 40  # points of the training curve, at the most (looks apart)


def finetune(resolved: ResolvedRecipe, store: Store, side: str, stop: Callable[[], bool] = lambda: False) -> Iterator:
    """Carry out the recipe unless the store has its model; yields ``Training`` and, last, ``Trained``.

    A second process that wants the same model waits for the first. Raises ``Cancelled`` when ``stop``
    turns true (what was trained so far is kept), ``QuestionError`` when the loss stops being a number.
    """
    key, waited = resolved.fingerprint, False
    while store.folder(key) is None:
        with store.claim(key) as mine:
            if mine and store.folder(key) is None:
                yield from _train(resolved, store, side, stop)
                return
        if not waited:
            yield Working(f"another run is training {side.upper()}; waiting for its model")
            waited = True
        time.sleep(0.3)
        if stop():
            raise Cancelled
    yield Trained(side, key, 0)


def learning_rate(step: int, steps: int, warmup: float, peak: float) -> float:
    """The rate of step number ``step`` (from 0): linear up over ``warmup`` · steps, then linear down to zero."""
    rise = max(1, math.ceil(warmup * steps))
    if step < rise:
        return peak * (step + 1) / rise
    return peak * (steps - step) / (steps - rise + 1)


def batch_of(step: int, rows: int, size: int, seed: int) -> np.ndarray:
    """The places of the rows of step number ``step``: each epoch a new permutation from ``seed``, cut into batches."""
    size = min(size, rows)
    epoch, place = divmod(step, rows // size)
    return np.random.default_rng([seed, 3, epoch]).permutation(rows)[place * size : (place + 1) * size]


def _train(resolved: ResolvedRecipe, store: Store, side: str, stop: Callable[[], bool]) -> Iterator:
    recipe, steps = resolved.recipe, resolved.recipe.steps
    yield Working(f"preparing to train {side.upper()}")
    trainer = Trainer(resolved, store, side)
    first, began = trainer.done, time.monotonic()
    looks = {math.ceil(steps * (i + 1) / LOOKS) for i in range(LOOKS)}
    tell_every, save_every = math.ceil(steps / TOLD), math.ceil(steps / SAVES)
    for step in range(first, steps):
        if stop():
            trainer.save()
            raise Cancelled
        places = batch_of(step, len(resolved.training.rows), recipe.batch_size, recipe.data_seed)
        loss = trainer.step(places, learning_rate(step, steps, recipe.warmup, recipe.learning_rate))
        if not math.isfinite(loss):
            trainer.forget()
            field = "learning_rate" if side == "recipe" else f"{side}.learning_rate"
            raise QuestionError(field, f"the loss was no number any more at step {step + 1}", f"try {recipe.learning_rate / 10:g}")
        if trainer.done in looks or trainer.done % tell_every == 0 or step == first:
            seen = trainer.look(loss, thorough=trainer.done in looks, stop=stop)
            left = (time.monotonic() - began) / (trainer.done - first) * (steps - trainer.done)
            yield Training(side, trainer.done, steps, loss, seen["validation_accuracy"], seen["validation_loss"], left)
        if trainer.done % save_every == 0 and trainer.done < steps:
            trainer.save()
    trainer.finish()
    yield Trained(side, resolved.fingerprint, steps - first)
