"""Tuning methods by what they leave in a model: the settings of each, where it adds something in which architecture, and who can be joined.

A method adds modules ("injected": adapters, a prefix, biases where an architecture has none) or factors that can be merged into
plain weights ("mergeable": LoRA), or changes some of the weights that are there ("plain": all of them, or the biases). No torch here, so
that a page can resolve as one types; ``mcore.live.delta`` makes the modules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mcore.errors import QuestionError
from mcore.question import OF_METHOD, PathSpec, Recipe

DEFAULTS: dict[
    str, dict[str, Any]
] = {  # of what a recipe's author leaves out, by method; ``delta_seed`` is that of the head
    "full": {},
    "lora": {"rank": 8, "alpha": 16.0, "layers": "all", "train_norms": False},
    "adapter": {
        "bottleneck": 24,
        "placement": "houlsby",
        "activation": "gelu",
        "init_scale": 0.01,
        "layers": "all",
        "train_norms": False,
    },
    "prefix": {"prefix_length": 16, "init_scale": 0.3, "layers": "all", "train_norms": False},
    "bitfit": {"layers": "all"},
}
RATES = {
    "prefix": 1e-2,
    "bitfit": 2e-3,
}  # learning rates at which these learn in as few steps as the others at a usual one (tried on a built-in task)
SEEDED = ("lora", "adapter", "prefix")  # what they add begins at random
STRUCTURAL = (
    "layers",
    "rank",
    "alpha",
    "bottleneck",
    "placement",
    "activation",
    "prefix_length",
)  # settings that shape what is computed
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers")  # how a config may count them


@dataclass(frozen=True)
class Layout:
    """Modules of a block as patterns of their names, the block's number in a group. ``biases``: whether its linear layers have some."""

    attention: str  # the modules that compute self-attention: a prefix stands in them
    factored: str  # the matrices that LoRA changes: those of queries and values, as peft chooses them
    attention_out: str  # the last linear layer before a residual sum, of attention
    feed_forward_out: str  # the same of the feed-forward part
    biases: bool = True


_BERT = Layout(
    r"encoder\.layer\.(\d+)\.attention\.self", r"encoder\.layer\.(\d+)\.attention\.self\.(?:query|value)",
    r"encoder\.layer\.(\d+)\.attention\.output\.dense", r"encoder\.layer\.(\d+)\.output\.dense",
)  # fmt: skip
_LLAMA = Layout(
    r"layers\.(\d+)\.self_attn",
    r"layers\.(\d+)\.self_attn\.[qv]_proj",
    r"layers\.(\d+)\.self_attn\.o_proj",
    r"layers\.(\d+)\.mlp\.down_proj",
    False,
)
_T5 = Layout(
    r"(?:encoder|decoder)\.block\.(\d+)\.layer\.0\.SelfAttention", r"(?:encoder|decoder)\.block\.(\d+)\.layer\.\d\.(?:SelfAttention|EncDecAttention)\.[qv]",
    r"(?:encoder|decoder)\.block\.(\d+)\.layer\.\d\.(?:SelfAttention|EncDecAttention)\.o", r"(?:encoder|decoder)\.block\.(\d+)\.layer\.\d\.DenseReluDense\.wo",
    False,
)  # fmt: skip
ARCHITECTURES: dict[str, Layout] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), _BERT),
    "distilbert": Layout(
        r"transformer\.layer\.(\d+)\.attention", r"transformer\.layer\.(\d+)\.attention\.[qv]_lin",
        r"transformer\.layer\.(\d+)\.attention\.out_lin", r"transformer\.layer\.(\d+)\.ffn\.lin2",
    ),
    "gpt2": Layout(r"h\.(\d+)\.attn", r"h\.(\d+)\.attn\.c_attn", r"h\.(\d+)\.attn\.c_proj", r"h\.(\d+)\.mlp\.c_proj"),
    "gpt_neox": Layout(
        r"layers\.(\d+)\.attention", r"layers\.(\d+)\.attention\.query_key_value", r"layers\.(\d+)\.attention\.dense", r"layers\.(\d+)\.mlp\.dense_4h_to_h",
    ),
    **dict.fromkeys(("llama", "mistral"), _LLAMA),
    **dict.fromkeys(("t5", "mt5"), _T5),
}  # fmt: skip


@dataclass(frozen=True)
class Structure:
    """What a tuning method leaves in a model, as far as it shapes what is computed: two ends of one structure can be blended as they are."""

    method: Literal["lora", "adapter", "prefix", "bitfit"]
    layers: str = "all"
    rank: int | None = None
    alpha: float | None = None
    bottleneck: int | None = None
    placement: str | None = None
    activation: str | None = None
    prefix_length: int | None = None
    biases: bool = True  # bitfit: whether the architecture has them; where not, they are added

    @property
    def kind(self) -> Literal["plain", "mergeable", "injected"]:
        """Whether transformers alone has every tensor of it, has them once they are merged, or never."""
        if self.method == "lora":
            return "mergeable"
        return "plain" if self.method == "bitfit" and self.biases else "injected"

    @property
    def settings(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name in STRUCTURAL and value is not None}

    def __str__(self) -> str:
        where = "" if self.layers == "all" else f" in the {self.layers.replace('last:', 'last ')} layers"
        return {
            "lora": f"LoRA of rank {self.rank}, alpha {self.alpha or 0:g}",
            "adapter": f"{(self.placement or '').capitalize()} adapters of {self.bottleneck} units, {self.activation}",
            "prefix": f"a prefix of {self.prefix_length}",
            "bitfit": "BitFit" if self.biases else "BitFit with added biases",
        }[self.method] + where  # fmt: skip


def of_its_method(recipe: dict) -> dict:
    """A recipe as its author writes it, without the settings of another method."""
    method = recipe.get("method", "full")
    return {name: value for name, value in recipe.items() if method in OF_METHOD.get(name, (method,))}


def filled(recipe: Recipe) -> Recipe:
    """The recipe with every default of its method written out."""
    left_out = {name: value for name, value in DEFAULTS[recipe.method].items() if getattr(recipe, name) is None}
    if recipe.method in SEEDED and recipe.delta_seed is None:
        left_out["delta_seed"] = recipe.head_seed
    return recipe.model_copy(update=left_out)


def structure_of(recipe: Recipe, config: Mapping) -> Structure | None:
    """Of a recipe that is filled, on a base with this configuration; None where everything is tuned."""
    if recipe.method == "full":
        return None
    biases = recipe.method != "bitfit" or ARCHITECTURES[config["model_type"]].biases
    return Structure(
        recipe.method,
        biases=biases,
        **{name: getattr(recipe, name) for name in STRUCTURAL if name != "layers"},
        layers=recipe.layers or "all",
    )


def check_method(recipe: Recipe, config: Mapping, field: str) -> None:
    """Raises ``QuestionError`` below ``field`` where the method cannot be carried out on a base with this configuration."""
    if recipe.method == "full":
        return
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        wrong = f"where {recipe.method} has its place in a {kind} model is not described"
        raise QuestionError(
            f"{field}.method", wrong, f'use "full", or a base of one of these: {", ".join(ARCHITECTURES)}'
        )
    check_layers(recipe.layers or "all", config, f"{field}.layers")


def check_layers(layers: str, config: Mapping, field: str) -> None:
    """Raises ``QuestionError`` for more of the last layers than there are."""
    count = next((config[name] for name in LAYERS if config.get(name)), None)
    if layers.startswith("last:") and count is not None and int(layers.removeprefix("last:")) > count:
        raise QuestionError(field, f"the model has {count} layers", f"give at most last:{count}, or all")


def shared_structure(a: Structure | None, b: Structure | None, spec: PathSpec) -> tuple[PathSpec, Structure | None]:
    """The path with its way of LoRA written out, and the structure that both ends are blended in: None for plain (or merged) weights.

    Raises ``QuestionError`` where the two cannot be joined so.
    """
    lora = [one for one in (a, b) if one is not None and one.method == "lora"]
    injected = [one for one in (a, b) if one is not None and one.kind == "injected"]
    if spec.lora and not lora:
        raise QuestionError("path.lora", "neither A nor B is tuned by LoRA", "leave it out")
    if injected and a != b:
        told = f"A has {_told(a)} and B {_told(b)}, and what one has alone cannot be blended"
        raise QuestionError(
            "b", told, "tune both by one method, with the same settings but for seeds, initial scale and rows"
        )
    if injected:
        return _whole(spec, injected[0])
    if not lora:
        return spec, None
    if a != b and spec.lora == "factors":
        wrong = f"factors are blended where both ends have LoRA of one rank, alpha and place: A has {_told(a)} and B {_told(b)}"
        raise QuestionError("path.lora", wrong, 'say "merged", or tune both alike')
    usual = "factors" if a == b and spec.align == "none" and spec.kind != "task-vector" else "merged"
    spec = spec.model_copy(update={"lora": spec.lora or usual})
    return (spec, None) if spec.lora == "merged" else _whole(spec, lora[0])


def _whole(spec: PathSpec, one: Structure) -> tuple[PathSpec, Structure]:
    """Raises ``QuestionError`` for what is only done with whole weights."""
    right = 'say "lora": "merged"' if one.method == "lora" else "compare two models that are tuned as a whole"
    if spec.align != "none":
        raise QuestionError(
            "path.align", f"with {one} in it a model's hidden units are not described", f'say "none", or {right}'
        )
    if spec.kind == "task-vector":
        raise QuestionError(
            "path.kind", f"the base has nothing to take {one} away from", f"choose a straight path, or {right}"
        )
    return spec, one


def _told(one: Structure | None) -> str:
    return str(one) if one and one.kind != "plain" else "plain weights"


def numbers(names: list[str], pattern: str, layers: str) -> dict[str, int]:
    """Of the module ``names`` those that a pattern of a layout describes -> the block's number, in the ``layers`` that are meant.

    A model with an encoder and a decoder has the last layers of both.
    """
    compiled, found = re.compile(rf"(?:^|\.){pattern}$"), {}
    for name in names:
        if told := compiled.search(name):
            found[name] = (name[: told.start(1)], int(told[1]))
    if layers == "all":
        return {name: number for name, (_, number) in found.items()}
    stacks: dict[str, int] = {}
    for stack, number in found.values():
        stacks[stack] = max(number, stacks.get(stack, 0))
    last = int(layers.removeprefix("last:"))
    return {name: number for name, (stack, number) in found.items() if number > stacks[stack] - last}
