"""What a recipe begins with and what it leaves: the whole model, or a base that stands still with what its method tunes of it.

Beside a tuned folder that transformers opens alone stands that of a delta (``mcore.models.deltas``), from which the whole model can be made again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from mcore import portable
from mcore.errors import QuestionError
from mcore.hub.remote import at_hand
from mcore.live.blend import Apart, blend, distance
from mcore.live.delta import add, changes, trained
from mcore.live.loading import built, check_finite, head_of, output_layer, tensors_of, tokenizer_of
from mcore.live.model import new_model, weights_of
from mcore.models import deltas
from mcore.models.checkpoints import Checkpoint, look_at
from mcore.models.methods import Structure
from mcore.resolved import ResolvedRecipe
from mcore.store import Store
from mcore.tasks.reading import Kind
from mcore.tuning.modelcard import write_card


def begin(
    resolved: ResolvedRecipe, first: Path | None, store: Store, field: str
) -> tuple[PreTrainedModel, object, list[str] | None]:
    """The model to tune, its tokenizer, and the names of what is tuned of it (None: everything), which alone have gradients.

    ``first``: the folder of the training that this one goes on from.
    """
    recipe, delta = resolved.recipe, resolved.delta
    if delta is None:
        base = look_at(first, f"local:{first}", field) if first else resolved.base
        return *made(base, resolved, store, field), None
    model, tokenizer = made(resolved.base, resolved, store, field)
    new: set[str] = set()  # in a language model there is nothing that its base does not have
    if resolved.kind == "classifier":
        new |= set(tensors_of(model)) - weights_of(resolved.base, model, store, f"{field}.base").names
        new |= head_of(model) | output_layer(model)
    names = trained(model, recipe, new, add(model, delta, recipe.delta_seed or 0, recipe.init_scale or 0.0))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
    if first:
        own, kept = dict(model.named_parameters()), load_file(first / deltas.FILE)
        with torch.no_grad():
            for name in names:
                own[name].copy_(kept[name])
    return model, tokenizer, names


def made(base: Checkpoint, resolved: ResolvedRecipe, store: Store, field: str) -> tuple[PreTrainedModel, object]:
    """The model that a recipe begins with, in float32, and its tokenizer: a classifier with a new head, or the language model that ``base`` is.

    Raises ``QuestionError`` below ``field``.
    """
    if resolved.kind == "classifier":
        return new_model(base, resolved.labels, resolved.recipe.head_seed, store, field)
    check_finite(base, f"{field}.base")
    model = built(base, f"{field}.base", resolved.kind)
    tensors, weights = tensors_of(model), weights_of(base, model, store, f"{field}.base", resolved.kind)
    if lacking := next((name for name in tensors if name not in weights.names), None):
        raise QuestionError(
            f"{field}.base", f"the tensor {lacking} is missing", "use a checkpoint that was saved whole"
        )
    with torch.no_grad():
        blend(tensors, [weights], [1.0])
    return model, tokenizer_of(base)


def leave(resolved: ResolvedRecipe, model: PreTrainedModel, names: list[str] | None, folder: Path) -> None:
    """Write the model into ``folder``, or of a delta what was tuned, and everything else that opens it."""
    if names is None:
        model.save_pretrained(folder)
        return
    own = dict(model.named_parameters())
    save_file(
        {name: own[name].detach().cpu().contiguous() for name in names}, folder / deltas.FILE, metadata={"format": "pt"}
    )
    tuned = sum(own[name].numel() for name in names)
    deltas.write(
        folder,
        resolved.delta,
        portable.folder(resolved.base.address, resolved.base.digest),
        resolved.base.digest,
        tuned,
    )
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)


def hand_over(resolved: ResolvedRecipe, folder: Path, out: Path, store: Store) -> None:
    """The trained model, which is kept in ``folder``, into ``out``: whole where transformers alone can open it, else as a delta of its base."""
    shutil.copytree(folder, out, dirs_exist_ok=True)
    if resolved.delta is None:
        return
    told = json.loads((folder / "training.json").read_text())
    write_card(out, resolved, told["curve"], whole=alone(resolved.delta))
    if not alone(resolved.delta):
        kept = deltas.read(out, "recipe")
        deltas.write(out, resolved.delta, resolved.base.address, resolved.base.digest, kept.parameters)
        return
    base = at_hand(resolved.base, "recipe.base", store)
    model, _ = made(base, resolved, store, "recipe")
    one = deltas.look_at(folder, f"local:{folder}", base, "recipe")
    tensors = tensors_of(model)
    blend(tensors, [weights_of(one, model, store, "recipe", resolved.kind)], [1.0])
    model.save_pretrained(out)
    for name in (deltas.FILE, deltas.TOLD):
        (out / name).unlink()


def moved(checkpoint: Checkpoint, field: str, store: Store, kind: Kind = "classifier") -> dict[str, Apart]:
    """How far a delta has moved what its base has too, its output layer left out: tensors that stand where they stood count as they are."""
    with torch.device("meta"):
        model = built(checkpoint, field, kind)
    base = weights_of(checkpoint.base, model, store, field, kind)
    tuned = weights_of(checkpoint, model, store, field, kind, whole=False)
    found = distance(
        base,
        tuned,
        sorted(
            base.names & tuned.names & set(tensors_of(model)) - (output_layer(model) if kind == "classifier" else set())
        ),
    )
    if checkpoint.delta.method == "lora":
        for name, change in changes(tuned, checkpoint.delta, model):
            before, by = base.read(name).double(), change.double()
            after = before + by
            found[name] = Apart(
                *(
                    (one * other).sum().item()
                    for one, other in ((by, by), (before, after), (before, before), (after, after))
                ),
                by.numel(),
            )
    return found


def alone(structure: Structure | None) -> bool:
    """Whether transformers alone can open such a model, whole or once it is merged."""
    return structure is None or structure.kind != "injected"
