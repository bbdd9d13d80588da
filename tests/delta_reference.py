"""Plain models with what a tuning method adds, for tests: peft's own LoRA, hooks that are the formula, state dictionaries.

Nothing of mcore is used here.
"""

from __future__ import annotations

import peft
import torch


def mixed(a, b, t):
    return {name: (1 - t) * a[name] + t * b[name] for name in a}


def put(model, tensors):
    """Every one of the tensors into the model, under its own name."""
    own = model.state_dict()
    assert set(tensors) <= set(own), sorted(set(tensors) - set(own))[:3]
    model.load_state_dict(own | tensors)
    return model


def with_lora(model, tensors, turned, alpha=5.0):
    """peft's own model, whose factors and head are these."""
    modules = sorted({name.partition(".lora_")[0] for name in tensors if ".lora_" in name})
    made = peft.get_peft_model(
        model, peft.LoraConfig(r=3, lora_alpha=alpha, target_modules=modules, fan_in_fan_out=turned)
    ).eval()
    put(made.base_model.model, tensors)
    return made


def with_adapters(model, tensors):
    """Hooks, each of them the formula."""
    modules = {name.partition(".adapter.")[0] for name in tensors if ".adapter." in name}
    for name in modules:
        down, up = (
            (tensors[f"{name}.adapter.{part}.weight"], tensors[f"{name}.adapter.{part}.bias"])
            for part in ("down", "up")
        )

        def hook(module, taken, x, down=down, up=up):
            return x + torch.tanh(x @ down[0].T + down[1]) @ up[0].T + up[1]

        model.get_submodule(name).register_forward_hook(hook)
    return put(model, {name: tensor for name, tensor in tensors.items() if ".adapter." not in name})
