"""Prefix tuning: learned keys and values that stand before those of every self-attention (Li and Liang 2021).

They are put in where transformers lets a function compute attention, so that all architectures are served alike and the tokens keep their
positions. (peft hands a prefix over as a cache of past tokens: that moves the positions of the others, and its classifiers of T5 and
DistilBERT do not take one.) Every token sees the whole prefix, in a causal model too.
"""

from __future__ import annotations

import torch
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from mcore.models.methods import ARCHITECTURES, Structure, numbers

ATTENTION = "mcore_prefixed"  # what the function is registered as
NAME = "prefix"  # of the module below the attention that it belongs to


class Prefix(torch.nn.Module):
    """``keys`` and ``values``: [heads, prefix, values of a head], the heads being those of keys."""

    def __init__(self, heads: int, length: int, size: int):
        super().__init__()
        self.keys, self.values = (torch.nn.Parameter(torch.zeros(heads, length, size)) for _ in range(2))

    @torch.no_grad()
    def start(self, scale: float) -> None:
        """Normal with the standard deviation ``scale``."""
        self.keys.normal_(std=scale)
        self.values.normal_(std=scale)


def put(model: PreTrainedModel, structure: Structure) -> list[Prefix]:
    """A prefix in each self-attention, in the order of the model's modules."""
    modules, config = dict(model.named_modules()), model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = (
        getattr(config, "head_dim", None)
        or getattr(config, "d_kv", None)
        or config.hidden_size // config.num_attention_heads
    )
    made = []
    for name in numbers(list(modules), ARCHITECTURES[config.model_type].attention, structure.layers):
        prefix = Prefix(heads, structure.prefix_length, size)
        modules[name].add_module(NAME, prefix)
        made.append(prefix)
    model.set_attn_implementation(ATTENTION)
    return made


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **how,
):
    """As transformers computes it, over the prefix of ``module`` and what is given; ``key``, ``value``: [rows, heads, tokens, values of a head]."""
    prefix = getattr(module, NAME, None)
    if prefix is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **how)
    length, rows, tokens = prefix.keys.shape[1], len(key), query.shape[2]
    causal = how.pop("is_causal", None)
    if (getattr(module, "is_causal", True) if causal is None else causal) and attention_mask is None and tokens > 1:
        attention_mask = torch.ones(tokens, key.shape[2], dtype=torch.bool, device=key.device).tril()[None, None]
    key, value = (
        torch.cat([own.to(given.dtype).expand(rows, -1, -1, -1), given], dim=2)
        for own, given in ((prefix.keys, key), (prefix.values, value))
    )
    if attention_mask is not None:
        attention_mask = torch.nn.functional.pad(attention_mask, (length, 0), value=attention_mask.dtype is torch.bool)
    if how.get("position_bias") is not None:
        how["position_bias"] = torch.nn.functional.pad(how["position_bias"], (length, 0))
    return sdpa_attention_forward(module, query, key, value, attention_mask, is_causal=False, **how)


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
