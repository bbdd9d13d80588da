"""The evaluator of language models: how probable the tokens are that a task asks for.

Logits over a vocabulary are the largest thing that such a model makes, so the output layer is run where a token is
asked for and nowhere else, in float32 whatever the precision, as are the softmax and all that comes of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod

import numpy as np
import torch
from transformers import PreTrainedModel

from mcore.errors import Cancelled
from mcore.evaluation.evaluate import autocast
from mcore.live.reuse import Reuse, asking
from mcore.tasks.batches import Batch
from mcore.tasks.passages import Passages

Stop = Callable[[], bool]


def token_losses(model: PreTrainedModel, passages: Passages, stop: Stop = lambda: False, reuse: Reuse | None = None) -> np.ndarray:
    """float64 [rows, 3]: nats in all, tokens counted, tokens predicted first. ``reuse`` as in ``evaluate.logits``. Raises ``Cancelled``."""
    return _totals(model, passages, stop, reuse)


def likelihoods(model: PreTrainedModel, passages: Passages, normalised: bool, stop: Stop = lambda: False, reuse: Reuse | None = None) -> np.ndarray:
    """float64 [rows, answers]: the log-likelihood of each answer, or its mean over the answer's tokens (``normalised``).

    -inf where a row has fewer answers than others, NaN where the model's outputs are no numbers. Raises ``Cancelled``.
    """
    nats, count, _ = _totals(model, passages, stop, reuse).T
    scores = np.full(nats.shape, -np.inf)
    there = count > 0
    scores[there] = -np.where(np.isfinite(nats), nats, np.nan)[there] / (count[there] if normalised else 1)
    return scores.reshape(passages.slots)


def _totals(model: PreTrainedModel, passages: Passages, stop: Stop, reuse: Reuse | None) -> np.ndarray:
    """float64 [slots, 3]: sums over the tokens that each slot asks for."""
    where = next(model.parameters()).device
    known = inspect.signature(model.forward).parameters
    fixed = {"use_cache": False} if "use_cache" in known else {}
    totals = np.zeros((prod(passages.slots), 3))
    asked = [batch for batch in passages.batches if any(passages.wanted[text] for text in batch.rows)]
    wanted = {id(batch): [(row, *one) for row, text in enumerate(batch.rows) for one in passages.wanted[text]] for batch in asked}

    def answer(batch: Batch) -> torch.Tensor:
        if stop():
            raise Cancelled
        rows, positions, *_ = torch.tensor(wanted[id(batch)], device=where).T
        places[:] = rows, positions
        inputs = {name: value.to(where) for name, value in batch.inputs.items() if name in known}
        return model(**inputs, **fixed).logits.float()  # [tokens asked for, vocabulary]

    with torch.inference_mode(), autocast(model, where), output_layer_only_at(model) as places, asking(reuse, model, asked, answer) as ask:
        for batch in asked:
            logits = ask(batch)
            _, _, tokens, slots = torch.tensor(wanted[id(batch)], device=where).T
            nats = torch.logsumexp(logits, 1) - logits.gather(1, tokens[:, None])[:, 0]
            told = torch.stack([nats.double(), torch.ones_like(nats), (logits.argmax(1) == tokens).double()], 1)
            np.add.at(totals, slots.cpu().numpy(), told.cpu().numpy())
    return totals


@contextmanager
def output_layer_only_at(model: PreTrainedModel) -> Iterator[list[torch.Tensor]]:
    """Until it is left, the output layer takes hidden states at the rows and positions that are put into what it gives."""
    places: list[torch.Tensor] = []
    layer = model.get_output_embeddings()
    whole = layer.forward

    def few(hidden: torch.Tensor) -> torch.Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            return whole(hidden[places[0], places[1]].float())

    layer.forward = few
    try:
        yield places
    finally:
        del layer.forward
