"""Bottleneck adapters, put into a transformers model by hooks, so that every tensor of the model keeps its name.

An adapter reads what a block's last linear layer has made and adds to it, before the residual sum: x + up(f(down(x))).
Houlsby et al. (2019) place one after the attention and one after the feed-forward part of each block; Pfeiffer et al. (2021) only the latter.
"""

from __future__ import annotations

import torch
from transformers.pytorch_utils import Conv1D

from mcore.models.methods import ARCHITECTURES, Structure, numbers

ACTIVATIONS = {
    "relu": torch.nn.functional.relu, "gelu": torch.nn.functional.gelu, "silu": torch.nn.functional.silu, "tanh": torch.tanh,
}  # fmt: skip
NAME = "adapter"  # of the module below the linear layer that it follows


class Bottleneck(torch.nn.Module):
    """x + up(f(down(x))), from ``size`` to ``bottleneck`` values and back."""

    def __init__(self, size: int, bottleneck: int, activation: str):
        super().__init__()
        self.down, self.up = torch.nn.Linear(size, bottleneck), torch.nn.Linear(bottleneck, size)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.up(self.activation(self.down(x)))

    @torch.no_grad()
    def start(self, scale: float) -> None:
        """Near the identity: weights normal with the standard deviation ``scale``, cut off at two of them, and no biases (Houlsby et al. 2019)."""
        for layer in (self.down, self.up):
            torch.nn.init.trunc_normal_(layer.weight, a=-2, b=2).mul_(scale)
            layer.bias.zero_()


def put(model: torch.nn.Module, structure: Structure) -> list[Bottleneck]:
    """Adapters behind the linear layers that the placement means, in the order of the model's modules."""
    layout = ARCHITECTURES[model.config.model_type]
    patterns = [layout.feed_forward_out] + ([layout.attention_out] if structure.placement == "houlsby" else [])
    modules = dict(model.named_modules())
    meant = {name for pattern in patterns for name in numbers(list(modules), pattern, structure.layers)}
    made = []
    for name in (name for name in modules if name in meant):
        layer = modules[name]
        size = layer.nf if isinstance(layer, Conv1D) else layer.out_features
        adapter = Bottleneck(size, structure.bottleneck, structure.activation)
        layer.add_module(NAME, adapter)
        layer.register_forward_hook(lambda layer, taken, given: layer.adapter(given))
        made.append(adapter)
    return made
