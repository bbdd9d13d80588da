"""Delta tuning inside a model: the modules that a method adds, what of the model is trained, and LoRA merged into plain weights.

A model with what was added has all its tensors under their own names, but for the matrices that peft wraps for LoRA (``plain_name``).
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Collection, Iterator

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from mcore.coefficients import part_of
from mcore.live import bottleneck, prefix
from mcore.live.blend import Place, WeightSet, header
from mcore.models.methods import ARCHITECTURES, Structure, numbers
from mcore.question import Recipe, fingerprint
from mcore.store import Store

FACTOR = ".lora_A.default.weight"  # how the name ends of the first factor beside a matrix
OTHER = ".lora_B.default.weight"
ADDED = re.compile(
    r"\.(adapter\.(down|up)\.(weight|bias)|prefix\.(keys|values)|lora_[AB]\.default\.weight|bias)$"
)  # behind the name of a module
BLOCK = re.compile(r"(.*?\.)(\d+)\.")  # of a repeated layer: the stack, its number
FILE = "model.safetensors"
VERSION = 1  # of what merged weights are


def add(model: PreTrainedModel, structure: Structure, seed: int = 0, scale: float = 0.0) -> list[str]:
    """Put in what the method adds, drawn from ``seed``; returns the names of its parameters. The random state stays what it was."""
    before = set(model.state_dict())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence([seed, 6]).generate_state(1)[0]))
        if structure.method == "lora":
            _factors(model, structure)
        elif structure.method == "bitfit":
            _biases(model, structure)
        else:
            made = bottleneck.put(model, structure) if structure.method == "adapter" else prefix.put(model, structure)
            for one in made:
                one.start(scale)
    return [name for name in model.state_dict() if plain_name(name) not in before]


def plain_name(name: str) -> str:
    """What a tensor is called without LoRA beside it."""
    return name.replace(".base_layer.", ".")


def trained(model: PreTrainedModel, recipe: Recipe, new: Collection[str], added: Collection[str]) -> list[str]:
    """The names of the parameters that a (filled) recipe tunes: what is ``new`` in the model (its head), what the method ``added``,
    and the biases or norms that it means."""
    parameters = [name for name, _ in model.named_parameters()]
    rest = _in_layers([name for name in parameters if name not in {*new, *added}], recipe.layers or "all")
    chosen = {*new, *added}
    if recipe.method == "bitfit":
        chosen.update(name for name in rest if name.endswith(".bias"))
    elif recipe.train_norms:
        chosen.update(name for name in rest if part_of(name) == "norms")
    return [name for name in parameters if name in chosen]


def merged(
    delta: WeightSet, structure: Structure, base: WeightSet, model: PreTrainedModel, digest: str, store: Store
) -> dict[str, Place]:
    """The matrices that LoRA has changed, with their changes, in float32 as files; kept in the store under the ``digest`` of the whole."""
    key = fingerprint({"merged": digest, "version": VERSION})
    while (folder := store.folder(key)) is None:
        with store.claim(key) as mine:
            if mine:
                work, tensors = store.work(key), {}
                for name, change in changes(delta, structure, model):
                    tensors[name] = (base.read(name).float() + change).contiguous()
                save_file(tensors, work / FILE, metadata={"format": "pt"})
                store.put_folder(key, work, "rewritten", {"merged": digest})
                continue
        time.sleep(0.1)  # another process is writing it
    return {name: Place(folder / FILE, name) for name in header(folder / FILE)}


def changes(delta: WeightSet, structure: Structure, model: PreTrainedModel) -> Iterator[tuple[str, torch.Tensor]]:
    """What LoRA adds to each matrix: its name and alpha / rank · B A in float32, in its shape.

    ``model``: any of that architecture, plain; it tells which matrices are [in, out].
    """
    for module in (name.removesuffix(FACTOR) for name in sorted(delta.names) if name.endswith(FACTOR)):
        change = (
            delta.read(module + OTHER).float()
            @ delta.read(module + FACTOR).float()
            * (structure.alpha / structure.rank)
        )
        yield f"{module}.weight", change.T if isinstance(model.get_submodule(module), Conv1D) else change


def merge(model: PreTrainedModel) -> None:
    """Put plain matrices, with what LoRA adds to them, in the place of those that have factors beside them; nothing where there are none."""
    wrapped = [
        (name, module)
        for name, module in model.named_modules()
        if hasattr(module, "lora_A") and hasattr(module, "get_base_layer")
    ]
    for name, module in wrapped:
        module.merge()
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, module.get_base_layer())


def placed(names: Collection[str], model: PreTrainedModel) -> dict[str, str]:
    """What was tuned, by the name that it has in a model of another kind: with or without the prefix of the body. Of the head nothing, but in its own kind."""
    prefix, modules = f"{model.base_model_prefix}.", {name for name, _ in model.named_modules()}
    tensors = {plain_name(name) for name in model.state_dict()}
    found = {}
    for name in names:
        for candidate in (name, name.removeprefix(prefix), prefix + name):
            host = ADDED.sub("", candidate)
            if candidate in tensors or (host != candidate and host in modules):
                found[name] = candidate
                break
    return found


def _factors(model: PreTrainedModel, structure: Structure) -> None:
    """peft's LoRA beside the matrices of queries and values; the second factor is zero, so that nothing is changed at first."""
    from peft import LoraConfig, inject_adapter_in_model  # seconds, which other methods do without

    targets = list(
        numbers(
            [name for name, _ in model.named_modules()],
            ARCHITECTURES[model.config.model_type].factored,
            structure.layers,
        )
    )
    turned = isinstance(model.get_submodule(targets[0]), Conv1D)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inject_adapter_in_model(
            LoraConfig(
                r=structure.rank,
                lora_alpha=structure.alpha,
                target_modules=targets,
                lora_dropout=0.0,
                bias="none",
                fan_in_fan_out=turned,
            ),
            model,
        )


def _biases(model: PreTrainedModel, structure: Structure) -> None:
    """Biases of zero for the linear layers of the blocks, where the architecture has none."""
    names = [
        name
        for name, module in model.named_modules()
        if type(module) is torch.nn.Linear and module.bias is None and BLOCK.match(name)
    ]
    for name in _in_layers(names, structure.layers):
        layer = model.get_submodule(name)
        layer.bias = torch.nn.Parameter(layer.weight.new_zeros(layer.out_features))


def _in_layers(names: Collection[str], layers: str) -> list[str]:
    """Those of the names that belong to the last layers; all where all are meant."""
    if layers == "all":
        return list(names)
    stacks: dict[str, int] = {}
    found = {name: told for name in names if (told := BLOCK.match(name))}
    for told in found.values():
        stacks[told[1]] = max(int(told[2]), stacks.get(told[1], 0))
    last = int(layers.removeprefix("last:"))
    return [name for name, told in found.items() if int(told[2]) > stacks[told[1]] - last]
