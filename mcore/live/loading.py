"""Checkpoints opened by transformers alone, in float32 and with none of their code: models, tokenizers, and what a model is made of."""

from __future__ import annotations

import copy
import warnings

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from mcore.errors import McoreError, QuestionError, first_line
from mcore.live.blend import Place, WeightSet
from mcore.models.bounds import check_built
from mcore.models.checkpoints import Checkpoint
from mcore.tasks.reading import Kind

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

OPENERS: dict[Kind, type] = {
    "classifier": AutoModelForSequenceClassification, "causal": AutoModelForCausalLM, "masked": AutoModelForMaskedLM,
    "seq2seq": AutoModelForSeq2SeqLM, "body": AutoModel,
}  # fmt: skip
TOLD: dict[Kind, str] = {"classifier": "a sequence classifier", "causal": "a causal language model", "masked": "a masked language model",
                         "seq2seq": "a text-to-text model", "body": "a model"}  # fmt: skip


def load(checkpoint: Checkpoint, field: str, kind: Kind = "classifier") -> tuple[PreTrainedModel, set[str]]:
    """The checkpoint as transformers alone loads it, in float32 and for evaluation, and the names it has no weights for."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False)
            check_built(checkpoint, config, OPENERS[kind], field)
            model, told = OPENERS[kind].from_pretrained(
                checkpoint.folder, dtype=torch.float32, use_safetensors=True, local_files_only=True,
                trust_remote_code=False, output_loading_info=True,
            )  # fmt: skip
    except QuestionError:
        raise
    except Exception as error:  # whatever a stranger's configuration leads to
        raise QuestionError(
            field, f"transformers cannot open it as {TOLD[kind]} ({first_line(error)})", "choose another checkpoint"
        ) from None
    return model.eval(), set(told["missing_keys"])


def tokenizer_of(checkpoint: Checkpoint):
    """The checkpoint's tokenizer as transformers alone opens it."""
    try:
        return AutoTokenizer.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever a stranger's files lead to
        raise McoreError(f"The tokenizer in {checkpoint.folder} cannot be opened ({first_line(error)}).") from None


def check_finite(checkpoint: Checkpoint, field: str) -> None:
    """Raise a ``QuestionError`` that names the first tensor with a number that is none."""
    weights = WeightSet({name: Place(stored.file, name) for name, stored in checkpoint.tensors.items()})
    if broken := weights.first_not_finite():
        raise QuestionError(field, f"the tensor {broken} holds NaN or infinity", "use a checkpoint that was saved whole")


def tensors_of(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Live name -> parameter or persistent buffer; tensors that share memory appear once."""
    seen: set[int] = set()
    unique = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            unique[name] = tensor
    return unique


def head_of(model: PreTrainedModel) -> frozenset[str]:
    """The names of the tensors outside the body, which transformers keeps under one prefix."""
    if not hasattr(model, model.base_model_prefix):
        return frozenset()
    return frozenset(name for name in tensors_of(model) if not name.startswith(f"{model.base_model_prefix}."))


def output_layer(model: PreTrainedModel) -> frozenset[str]:
    """The names of the tensors whose rows are the labels: those that grow when there is one label more."""
    config = copy.deepcopy(model.config)
    config.num_labels = model.config.num_labels + 1
    with torch.device("meta"):
        larger = AutoModelForSequenceClassification.from_config(config).state_dict()
    return frozenset(name for name, tensor in model.state_dict().items() if name in larger and larger[name].shape != tensor.shape)


def built(checkpoint: Checkpoint, field: str, kind: Kind = "classifier") -> PreTrainedModel:
    """A model as the checkpoint's configuration describes it, for evaluation, in float32 and without its weights."""
    try:
        config = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False)
        check_built(checkpoint, config, OPENERS[kind], field)
        return OPENERS[kind].from_config(config, dtype=torch.float32).eval()
    except QuestionError:
        raise
    except Exception as error:  # whatever a stranger's configuration leads to
        raise QuestionError(field, f"transformers cannot build it as {TOLD[kind]} ({first_line(error)})", "choose another checkpoint") from None
