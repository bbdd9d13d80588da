"""What each layer of a body makes of a text: its hidden states, one vector from those of a text's own tokens.

The layers are those that transformers gives as ``hidden_states``: what goes into the first block ("embeddings"), and what comes
out of each block, of the last one behind the final norm where a body has one. Of an encoder and a decoder they are the encoder's.
Every position of every layer is computed: nothing is left out here as ``mcore.live.trim`` does for logits.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from mcore.errors import Cancelled, McoreError
from mcore.evaluation.evaluate import autocast
from mcore.evaluation.features import body_of, pooled, sees_ahead
from mcore.layers.representation import layer_names, no_layer, unseen
from mcore.question import Pool
from mcore.tasks.batches import Batches


class States:
    """The body of ``model``, whose parameters it shares; ``layers`` are the names of those that are looked at.

    To be made when there are weights in them: how many layers there are, and whether tokens see ahead, is tried. Raises ``QuestionError``
    below "representation" where a layer is not there, or where a first token is asked for that knows nothing of its text.
    """

    def __init__(self, model: PreTrainedModel, layers: str | Sequence[str | int], pool: Pool):
        self.body, self.pool = body_of(model, "a"), pool
        self._takes = inspect.signature(self.body.forward).parameters
        where = next(self.body.parameters()).device
        with torch.inference_mode(), autocast(self.body, where):
            every = self._states({"input_ids": torch.tensor([[5, 6]], device=where)})
        names = layer_names(len(every) - 1)
        asked = names if layers == "all" else [one if one == "embeddings" else f"layer {one}" for one in layers]
        if missing := [name for name in asked if name not in names]:
            raise no_layer(missing[0], len(every) - 1)
        if pool == "first" and not sees_ahead(self.body):
            raise unseen()
        self.layers = tuple(asked)
        self._places = [names.index(name) for name in asked]

    def __call__(self, batches: Batches, stop: Callable[[], bool] = lambda: False) -> list[np.ndarray]:
        """Of each layer float32 [rows, hidden], in the rows' own order. Raises ``Cancelled`` when ``stop()`` is true between batches."""
        where, found = next(self.body.parameters()).device, None
        with torch.inference_mode(), autocast(self.body, where):
            for batch in batches:
                if stop():
                    raise Cancelled
                inputs = {name: value.to(where) for name, value in batch.inputs.items()}
                states = self._states(inputs)
                vectors = [pooled(states[i].float(), inputs.get("attention_mask"), self.pool).cpu().numpy() for i in self._places]
                found = found or [np.empty((batches.rows, vector.shape[1]), np.float32) for vector in vectors]
                for whole, vector in zip(found, vectors, strict=True):
                    whole[list(batch.rows)] = vector
        if not all(np.isfinite(whole).all() for whole in found or ()):
            raise McoreError("The hidden states of a layer are no numbers; try precision float32 or another endpoint.")
        return found or []

    def _states(self, inputs: dict[str, torch.Tensor]) -> Sequence[torch.Tensor]:
        """[rows, tokens, hidden] of the embeddings and of each layer."""
        given = {"use_cache": False, **inputs, "output_hidden_states": True}
        taken = {name: value for name, value in given.items() if name in self._takes or name == "output_hidden_states"}
        return self.body(**taken).hidden_states
