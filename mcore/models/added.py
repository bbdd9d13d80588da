"""How many parameters a tuning method tunes of a base, told from shapes alone, before anything is built. No torch here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod

from mcore.models.checkpoints import Checkpoint
from mcore.models.methods import ARCHITECTURES, Structure, numbers

WIDTHS = ("hidden_size", "n_embd", "d_model", "dim")  # how a config may call the width of its residual stream
PLAIN_HEADS = (
    "gpt2",
    "gpt_neox",
    "llama",
    "mistral",
)  # a classifier's head without a layer of its own and without biases
NORMS = re.compile(r"(layer_?norm|norm|ln_\w+)\.(weight|bias)$", re.IGNORECASE)
LANGUAGE = r"(^|\.)(cls|lm_head|predictions|generator_\w+|discriminator_predictions|vocab_\w+|embed_out)\."  # heads of a base that is more than a body


def tuned(structure: Structure, base: Checkpoint, outputs: int | None, norms: bool = False) -> int | None:
    """Of what is added, the norms or biases that are tuned too, and a classifier's new head with so many ``outputs`` (None: a language model).

    None where the base's shapes are not known yet.
    """
    if base.unread:
        return None
    beside = (
        rf"{LANGUAGE}|(^|\.)pooler\." if base.config["model_type"] != "bert" else LANGUAGE
    )  # elsewhere no classifier has the body's pooler
    shapes = {name: one.shape for name, one in base.tensors.items() if outputs is None or not re.search(beside, name)}
    found = added(structure, shapes, base.config)
    if norms:
        found += sum(prod(shapes[name]) for name in _meant(shapes, structure.layers) if NORMS.search(name))
    return found + (_head(base, outputs) if outputs else 0)


def added(structure: Structure, shapes: Mapping[str, tuple[int, ...]], config: Mapping) -> int:
    """Of what the method itself adds or, of biases, tunes."""
    kind, layers = config["model_type"], structure.layers
    layout, turned = ARCHITECTURES[kind], kind == "gpt2"  # its matrices are [in, out]
    modules = {
        name.removesuffix(".weight"): shape
        for name, shape in shapes.items()
        if name.endswith(".weight") and len(shape) == 2
    }
    if structure.method == "lora":
        return sum(structure.rank * sum(modules[name]) for name in numbers(list(modules), layout.factored, layers))
    if structure.method == "adapter":
        patterns = [layout.feed_forward_out] + ([layout.attention_out] if structure.placement == "houlsby" else [])
        sizes = [
            modules[name][1 if turned else 0]
            for pattern in patterns
            for name in numbers(list(modules), pattern, layers)
        ]
        return sum(2 * size * structure.bottleneck + size + structure.bottleneck for size in sizes)
    if structure.method == "prefix":
        parents = {name.rpartition(".")[0] for name in modules}
        heads = next(
            config[name] for name in ("num_attention_heads", "n_head", "n_heads", "num_heads") if config.get(name)
        )
        size = config.get("head_dim") or config.get("d_kv") or _width(config) // heads
        return (
            2
            * structure.prefix_length
            * (config.get("num_key_value_heads") or heads)
            * size
            * len(numbers(sorted(parents), layout.attention, layers))
        )
    if structure.biases:
        return sum(prod(shapes[name]) for name in _meant(shapes, layers) if name.endswith(".bias"))
    return sum(
        shapes[f"{name}.weight"][0]
        for name in _meant(modules, layers)
        if re.search(r"\.\d+\.", name) and not re.search("embed|bias|norm", name)
    )


def _meant(names: Mapping, layers: str) -> list[str]:
    """Those in the layers that are meant; where all are, what belongs to none too."""
    return (
        list(names) if layers == "all" else list(numbers(list(names), r"(?:layer|h|block|layers)\.(\d+)\..*", layers))
    )


def _head(base: Checkpoint, outputs: int) -> int:
    kind, width = base.config["model_type"], _width(base.config)
    if kind in PLAIN_HEADS:
        return outputs * width
    there = kind == "bert" and any(
        "pooler.dense" in name for name in base.tensors
    )  # it has the head's layer in its body
    return outputs * (width + 1) + (0 if there else width * (width + 1))


def _width(config: Mapping) -> int:
    return next(config[name] for name in WIDTHS if config.get(name))
