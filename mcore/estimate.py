"""What a question will cost, told before it is asked: seconds and memory, to within a factor of two or so.

The work is counted in products (2 x parameters without embeddings x tokens; a training step is three of them) and
divided by what a core or a GPU does of them; no model is run. No torch here: the page tells it as one types.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from mcore.models.checkpoints import Checkpoint
from mcore.resolve import watched
from mcore.resolved import Resolved, ResolvedTask

CORE_RATE, GPU_RATE = 60e9, 10e12  # operations a second in evaluation, with all that is not products
BATCH_COST = 0.003  # seconds that a batch or a layer's share of one takes however small the model
TRAINING = 3.0  # a step's work over that of a forward pass
SLOWER = 2.4  # what training loses to optimiser, padding and dropout
CHARACTERS = 4.3  # of a token of English
DELTA = 0.75  # of a step's work where the base stands still: no gradients of its weights, and none of their moments (measured: 0.68 to 0.79)
LIBRARIES = 400_000_000  # bytes that torch and transformers take
TRAINING_COPIES, RUN_COPIES = 5.0, 1.2  # of the model's float32 size: gradients, two moments, activations
LAYERS = 1.4  # what looking at the layers takes over an evaluation of the same rows, of which less is left out
LOOKS = 5  # evaluations of the validation and followed rows during a training


@dataclass(frozen=True)
class Cost:
    """``training`` and ``evaluating`` in seconds, ``memory`` in bytes at the most."""

    training: float
    evaluating: float
    memory: float

    @property
    def seconds(self) -> float:
        return self.training + self.evaluating


def cost(
    resolved: Resolved, trained: dict[str, bool], points: dict[int, int], rate: float | None = None, fitted: bool = True, looks: int = 0
) -> Cost:
    """Of what is missing. ``trained``: side -> its model is there; ``points``: task's number -> points to compute; ``fitted``: the path is.

    ``rate``: operations a second, by default those of this machine; ``looks``: t at which the layers have to be looked at.
    """
    rate = rate or machine_rate()
    training, missing, size = 0.0, {}, 0.0
    for end in (resolved.a, resolved.b):
        size = max(size, 4.0 * end.looked_at.parameters)
        if end.recipe and not trained.get(end.side):
            missing[end.fingerprint] = end.recipe
    for recipe in missing.values():
        asked, body = recipe.recipe, _body(recipe.base)
        seen = asked.last_step * asked.batch_size * _tokens(recipe.training)
        looked_at = LOOKS * sum(watched(recipe).values()) * _tokens(recipe.training)
        share = DELTA if recipe.delta else 1.0
        training += 2 * body * (share * TRAINING * SLOWER * seen + looked_at) / rate + TRAINING * BATCH_COST * asked.last_step
    body = max(_body(resolved.a.looked_at), _body(resolved.b.looked_at))
    way = resolved.route
    fits = way.fitting is not None and not fitted
    if fits:
        seen = way.spec.steps * way.spec.batch_size * _tokens(ResolvedTask(way.spec.task, way.fitting, way.max_length))
        training += 2 * body * TRAINING * SLOWER * seen / rate + TRAINING * BATCH_COST * way.spec.steps
    asked = [(task, points.get(i, 0)) for i, task in enumerate(resolved.tasks)]
    if looks and (layers := resolved.representation):
        asked.append((ResolvedTask(layers.spec.task, layers.rows, layers.max_length, "head", layers.fitting), looks * LAYERS))
    evaluating = sum(
        count * (2 * (body + _vocabulary(resolved, task)) * task.computed * _tokens(task) / rate + BATCH_COST * (1 + task.computed * _tokens(task) / 768))
        for task, count in asked
        if count
    )
    whole = any(recipe.delta is None for recipe in missing.values())  # of a delta's base there are no gradients and no moments
    copies = max(TRAINING_COPIES if whole or fits else 1 + RUN_COPIES, fits * (TRAINING_COPIES + 3 * ((way.spec.bends or 1) - 1)))
    return Cost(training, evaluating, LIBRARIES + copies * size)


def machine_rate() -> float:
    """Operations a second that this machine is likely to reach."""
    return GPU_RATE if shutil.which("nvidia-smi") else CORE_RATE * (os.cpu_count() or 1)


def _body(checkpoint: Checkpoint) -> float:
    """Parameters that every token is multiplied with; all there are where it is not told yet which of them are embeddings."""
    if checkpoint.unread:
        return float(checkpoint.parameters)
    counted = 0
    for name, stored in checkpoint.tensors.items():
        if "embed" not in name and "wte" not in name and "wpe" not in name and not name.startswith(("cls.", "lm_head")):
            size = 1
            for length in stored.shape:
                size *= length
            counted += size
    return float(counted)


def _vocabulary(resolved: Resolved, task: ResolvedTask) -> float:
    """Parameters that every token is multiplied with to predict it; a masked model is asked for one in seven."""
    config = resolved.a.looked_at.config
    if task.read != "tokens":
        return 0.0
    hidden = next((config[name] for name in ("hidden_size", "n_embd", "d_model", "dim") if config.get(name)), 0)
    return float(config.get("vocab_size", 0) * hidden) * (0.15 if resolved.kind == "masked" else 1.0)


def _tokens(task: ResolvedTask) -> float:
    """Of a row, on average; by the length of some of its texts."""
    texts = task.rows.texts[:200]
    letters = sum(len(text) if isinstance(text, str) else sum(map(len, text)) for text in texts) / max(1, len(texts))
    return min(float(task.max_length), 3 + letters / CHARACTERS)
