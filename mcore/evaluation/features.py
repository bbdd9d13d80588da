"""What a body makes of a text: one vector from its last hidden states, which a fitted head reads (``mcore.evaluation.fitted``).

Where a token sees those after it, as in encoders, that is the mean over the text's own tokens; where none does, the last
token's. A class token is not preferred: only a tuned head makes a body gather a text there, and the ends of a path that need
a fitted head have none for the task (on the built-in tasks the mean reads better at every step of pre-training).
"""

from __future__ import annotations

import inspect

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from mcore.errors import QuestionError
from mcore.evaluation.evaluate import autocast
from mcore.question import Pool


class Features(torch.nn.Module):
    """The body of ``model``, which answers with features [rows, hidden] in the place of logits. It shares the model's parameters.

    To be made when there are weights in them: whether tokens see ahead is tried.
    """

    def __init__(self, model: PreTrainedModel, field: str):
        super().__init__()
        self.body, self.config = body_of(model, field), model.config
        self._takes = inspect.signature(self.body.forward).parameters
        self.pool: Pool = "mean" if sees_ahead(self.body) else "last"

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, token_type_ids: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        given = {"attention_mask": attention_mask, "token_type_ids": token_type_ids, "use_cache": False}
        states = self.body(input_ids, **{name: value for name, value in given.items() if value is not None and name in self._takes})
        return SequenceClassifierOutput(logits=pooled(states.last_hidden_state, attention_mask, self.pool))


@torch.inference_mode()
def sees_ahead(body: torch.nn.Module) -> bool:
    """Whether what a body makes of the first position changes with the second token."""
    where = next(body.parameters()).device
    with autocast(body, where):
        first = [body(torch.tensor([[5, second]], device=where)).last_hidden_state[0, 0] for second in (6, 7)]
    return not torch.equal(*first)


def body_of(model: PreTrainedModel, field: str) -> torch.nn.Module:
    """Everything before the head; of an encoder and a decoder the encoder.

    Raises ``QuestionError`` where transformers keeps a model's body in no part of its own.
    """
    if model.config.is_encoder_decoder:
        return model.get_encoder()
    if model.base_model is model and hasattr(model, "get_output_embeddings") and model.get_output_embeddings() is not None:
        raise QuestionError(field, "its body cannot be parted from its head, so its hidden states cannot be read", "choose another checkpoint")
    return model.base_model


def pooled(states: torch.Tensor, mask: torch.Tensor | None, pool: Pool) -> torch.Tensor:
    """One vector for each text, [rows, hidden]. states: [rows, tokens, hidden], padded on the right; ``mask``: which tokens are a text's own."""
    if pool == "first":
        return states[:, 0]
    if mask is None:
        return states.mean(dim=1) if pool == "mean" else states[:, -1]
    if pool == "last":
        return states[torch.arange(len(states)), mask.sum(dim=1) - 1]
    own = mask.unsqueeze(-1).to(states.dtype)
    return (states * own).sum(dim=1) / own.sum(dim=1)
