"""A configuration held against the weights that come with it, before the model that it describes takes any memory."""

from __future__ import annotations

import torch
from transformers import PretrainedConfig

from mcore.errors import QuestionError
from mcore.models.checkpoints import Checkpoint

FRESH = 20_000_000  # parameters that a model may have beside its files: a head, a pooler
FACTOR = 1.5  # and as a part of them, where a layer's parts are made anew


def check_built(checkpoint: Checkpoint, config: PretrainedConfig, opener: type, field: str) -> None:
    """Raise a ``QuestionError`` where the model to be built is larger than its files. Builds it without its numbers.

    Raises what transformers raises for a configuration that it cannot build.
    """
    with torch.device("meta"):
        model = opener.from_config(config)
    count = sum(tensor.numel() for tensor in model.state_dict().values())
    if count > FACTOR * checkpoint.parameters + FRESH:
        wrong = f"its config describes a model of {count:,} parameters, and its files hold {checkpoint.parameters:,}"
        raise QuestionError(field, wrong, "use a checkpoint that was saved whole")
