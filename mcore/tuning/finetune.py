"""Fine-tuning by recipe: deterministic, watched, resumable, kept once per fingerprint.

AdamW (or the recipe's own) with warm-up, decay and gradient clipping, in float32. The seeds are apart:
``head_seed`` makes what is new in the model, ``data_seed`` the order of the rows and the dropout.
Both are functions of the step's number, so that a run that was interrupted goes on as if it had
not been. On the way some training rows are followed for data cartography. A recipe that stops on its way passes
through the states of the whole one, and takes up what an interrupted run of that has left.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from mcore.errors import Cancelled, QuestionError
from mcore.events import Trained, Training, Working
from mcore.hub.remote import at_hand, fetch
from mcore.resolved import ResolvedRecipe
from mcore.store import Store
from mcore.tuning.schedule import rate_at
from mcore.tuning.trainer import Trainer

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
        if resolved.first:
            yield from (event for event in finetune(resolved.first, store, side, stop) if not isinstance(event, Trained))
        with store.claim(resolved.schedule) as mine:
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


def batch_of(step: int, rows: int, size: int, seed: int) -> np.ndarray:
    """The places of the rows of step number ``step``: each epoch a new permutation from ``seed``, cut into batches."""
    size = min(size, rows)
    epoch, place = divmod(step, rows // size)
    return np.random.default_rng([seed, 3, epoch]).permutation(rows)[place * size : (place + 1) * size]


def _train(resolved: ResolvedRecipe, store: Store, side: str, stop: Callable[[], bool]) -> Iterator:
    recipe, steps = resolved.recipe, resolved.recipe.last_step
    begins = resolved.first.recipe.last_step if resolved.first else 0
    whole = recipe.continued[-1] if recipe.continued else recipe.steps
    yield from fetch(resolved.base, side, stop)
    resolved = replace(resolved, base=at_hand(resolved.base, f"{side}.base", store))
    yield Working(f"preparing to train {side.upper()}")
    trainer = Trainer(resolved, store, side)
    first, began = trainer.done, time.monotonic()
    looks = {begins + math.ceil(whole * (i + 1) / LOOKS) for i in range(LOOKS)} | {steps}
    tell_every, save_every = math.ceil(whole / TOLD), math.ceil(whole / SAVES)
    for step in range(first, steps):
        if stop():
            trainer.save()
            yield Training(side, trainer.done, steps, trainer.loss)  # where it stands, so that it may be kept as it is
            raise Cancelled
        places = batch_of(step, len(resolved.training.rows), recipe.batch_size, recipe.data_seed)
        loss = trainer.step(places, rate_at(recipe, step))
        if not math.isfinite(loss):
            trainer.forget()
            field = "learning_rate" if side == "recipe" else f"{side}.learning_rate"
            raise QuestionError(field, f"the loss was no number any more at step {step + 1}", f"try {recipe.learning_rate / 10:g}")
        seen = {"validation_accuracy": None, "validation_loss": None}
        noted = trainer.done in looks or trainer.done % tell_every == 0 or trainer.done == 1
        if noted:
            seen = trainer.look(thorough=trainer.done in looks, stop=stop)
        if noted or step == first:  # a training that goes on tells so at once, though its curve must not show it
            left = (time.monotonic() - began) / (trainer.done - first) * (steps - trainer.done)
            yield Training(side, trainer.done, steps, loss, seen["validation_accuracy"], seen["validation_loss"], left)
        if trainer.done % save_every == 0 and trainer.done < steps:
            trainer.save()
    if first == steps:  # what was left stood there already, and was not looked at
        trainer.look(thorough=True, stop=stop)
    trainer.finish()
    yield Trained(side, resolved.fingerprint, steps - first)
