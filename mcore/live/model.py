"""The live model: one transformers model whose parameters take the weights of any point of a path.

Opening finds, by name and shape, where on disk each of its tensors comes from at either end.
Where transformers renames or reshapes what a file holds, the checkpoint is loaded by
transformers once and written again in the live model's own names, so that every architecture is
read in the same plain way and none is listed here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from mcore.coefficients import Path
from mcore.errors import QuestionError, first_line
from mcore.live.blend import Coefficients, Place, WeightSet, blend
from mcore.live.delta import add, merged, placed, plain_name
from mcore.live.loading import built, check_finite, head_of, load, output_layer, tensors_of, tokenizer_of
from mcore.live.standing import Content, Standing, content
from mcore.models import deltas
from mcore.models.bounds import check_built
from mcore.models.checkpoints import Checkpoint
from mcore.models.methods import Structure
from mcore.question import PathSpec, fingerprint
from mcore.store import Store
from mcore.tasks.labels import Order
from mcore.tasks.reading import LANGUAGE, Kind

STRAIGHT = Path(PathSpec())


@dataclass(frozen=True)
class Live:
    """One model, the sets of weights that its tensors are blended from, and the path between them.

    ``tensors``: live name -> parameter or floating buffer, tied ones once. ``output_layer``: the names
    whose rows are the labels, none but in a classifier. ``only``: live name -> the side that alone has it (a pooler
    beside a base), or whose it is at every t (the backbone of two deltas). What neither has (the pooler of two bases) is left out: nothing that is read depends on it.
    """

    model: PreTrainedModel
    tokenizer: object
    tensors: dict[str, torch.Tensor]
    output_layer: frozenset[str]
    weights: dict[str, WeightSet]
    only: dict[str, str]
    path: Path = STRAIGHT
    untouched: WeightSet | None = None  # what "b" was before its units were permuted
    standing: Standing = field(default_factory=Standing)  # what of all that is in ``tensors`` already

    def at_b(self) -> Live:
        """For the end of the path: B as it was read, whose outputs a permutation would change in their last digits."""
        return self if self.untouched is None else replace(self, weights=self.weights | {"b": self.untouched})

    def place_body(self, coefficients: Coefficients) -> None:
        """Write the blend of everything but the output layer; ``coefficients``: of A, of B and of what else the path has.

        What only one side has is that side's at every t.
        """
        self.standing.write(self._body(), list(self.weights.values()), self._given(coefficients, self.only.get))

    def contents(self, coefficients: Coefficients, names: Collection[str]) -> dict[str, Content]:
        """What ``place_body`` would write into tensors of the body: equal at two points where one stands still between them."""
        sets, given = list(self.weights.values()), self._given(coefficients, self.only.get)
        return {name: content(name, sets, self.standing.settled(name, self.tensors[name], sets, given(name))) for name in names}

    def place_head(self, coefficients: Coefficients, head: str, rows_of_b: Sequence[int] | None = None) -> None:
        """Write the output layer: blended, or that of one side; ``rows_of_b`` brings B's labels into A's order, which all others have."""
        b = self.weights["b"] if rows_of_b is None else self.weights["b"].with_rows(self.output_layer, rows_of_b)
        given = self._given(coefficients, lambda name: None if head == "both" else head)
        layer = {name: self.tensors[name] for name in self.output_layer}
        source = self.weights["b"] if head == "b" else self.weights["a"]
        for name, tensor in layer.items():
            shape = source.read(name).shape
            if tensor.shape != shape:  # the tasks' label counts differ
                tensor.data = tensor.data.new_empty(shape)
        self.standing.write(layer, list((self.weights | {"b": b}).values()), given)

    def _body(self) -> dict[str, torch.Tensor]:
        return {name: tensor for name, tensor in self.tensors.items() if name not in self.output_layer}

    def _given(self, coefficients: Coefficients, side: Callable[[str], str | None]) -> Callable[[str], tuple[float, ...]]:
        """The coefficients of all sets for each tensor: those that are asked for, or all of one ``side`` where it alone is meant."""
        places = {name: i for i, name in enumerate(self.weights)}
        alone = {one: tuple(float(i == place) for i in range(len(places))) for one, place in places.items()}

        def given(name: str) -> tuple[float, ...]:
            if one := side(name):
                return alone[one]
            numbers = coefficients(name) if callable(coefficients) else coefficients
            return (*numbers, *[0.0] * (len(places) - len(numbers)))

        return given


def open_live(
    a: Checkpoint, b: Checkpoint, owner: str, store: Store, kind: Kind = "classifier", structure: Structure | None = None, still: bool = False
) -> Live:
    """One live model for the path from ``a`` to ``b``; ``owner`` names the side whose head it is built with.

    ``structure``: what both ends have beside the weights that transformers knows; where there is none, LoRA is merged. ``still``: what two
    deltas take from the same place of their base is A's at every t, and no curve bends it. Raises ``QuestionError`` that names the tensors where the two cannot be joined.
    """
    if kind in LANGUAGE:
        _check_tied(a, b)
    if a.delta and b.delta and a.base.digest == b.base.digest:
        b = replace(b, base=a.base)  # one backbone, wherever either found it
    owned = b if owner == "b" else a
    model = built(owned, owner, kind) if owned.delta else load(owned, owner, kind)[0]
    layer = output_layer(model) if kind == "classifier" else frozenset()
    sides = {"a": a, "b": b}
    weights = {side: weights_of(checkpoint, model, store, side, kind, structure is None) for side, checkpoint in sides.items()}
    if structure:
        add(model, structure)
        weights = {side: _beside(model, one) for side, one in weights.items()}
    tensors = tensors_of(model)
    for tensor in tensors.values():  # every one is written before it is read; as loaded they hold on to the file's pages
        tensor.data = torch.empty_like(tensor)
    absent = {side: {name for name in tensors if name not in weights[side].names} for side in sides}
    neither = sorted(absent["a"] & absent["b"])
    if kind == "body":
        for name in neither:
            tensors.pop(name).data.zero_()
    elif neither:
        raise QuestionError("b", f"neither A nor B has the weights {', '.join(neither[:3])}", "tune one of them on the task first")
    only = {name: "b" if name in absent["a"] else "a" for name in (absent["a"] ^ absent["b"]) - layer}
    if still and a.delta and b.delta:
        there = weights["a"].names & weights["b"].names - layer
        only |= {name: "a" for name in there & tensors.keys() if weights["a"].source(name) == weights["b"].source(name)}
    return Live(model, tokenizer_of(a), tensors, layer, weights, only)


def weights_of(
    checkpoint: Checkpoint, model: PreTrainedModel, store: Store, field: str, kind: Kind = "classifier", whole: bool = True
) -> WeightSet:
    """Where the tensors of ``model`` (a plain one) stand in the checkpoint's files; names that it lacks are left out.

    A delta lies over the weights of its base: merged with them where it is to be ``whole``, else under the names of what it has added.
    """
    if checkpoint.delta:
        base = weights_of(checkpoint.base, model, store, field, kind)
        own = WeightSet({name: Place(one.file, name) for name, one in checkpoint.tensors.items() if one.file.name == deltas.FILE})
        tuned = {live: own.where[name] for name, live in placed(own.names, model).items()}
        over = tuned | (merged(own, checkpoint.delta, base, model, checkpoint.digest, store) if whole and checkpoint.delta.method == "lora" else {})
        return WeightSet({name: place for name, place in (base.where | over).items() if not whole or name in tensors_of(model)})
    tensors, layer = tensors_of(model), output_layer(model) if kind == "classifier" else frozenset()
    places = _places(checkpoint, tensors, model)
    absent = [name for name in tensors if name not in places]
    if absent:
        loaded, lacking = load(checkpoint, field, kind)
        _check_whole(checkpoint, model, lacking, field, kind)
        if set(absent) - lacking:
            return _rewritten(checkpoint, loaded, lacking, store, kind)
    for name, place in places.items():
        shape = checkpoint.tensors[place.name].shape
        if name not in layer and shape != tuple(tensors[name].shape):
            raise QuestionError(field, f"{name} is {shape} where {tuple(tensors[name].shape)} is needed", "choose two checkpoints of one size")
    return WeightSet(places)


def orders_joined(a: Order, b: Order, outputs: int) -> list[int] | None:
    """For each output of A the output of B that means the same label; None where the orders agree."""
    rows = dict(zip(a.columns, b.columns, strict=True))
    left_over = iter(sorted(set(range(outputs)) - set(b.columns)))
    joined = [rows[i] if i in rows else next(left_over) for i in range(outputs)]
    return None if joined == list(range(outputs)) else joined


def new_model(base: Checkpoint, labels: Sequence[str], seed: int, store: Store, field: str) -> tuple[PreTrainedModel, object]:
    """A model to tune: the base's body, and a head that comes from ``seed`` (kept where the base was tuned for these labels).

    Returns the model in float32 and its tokenizer, which has a padding token.
    """
    try:
        config = AutoConfig.from_pretrained(base.folder, local_files_only=True, trust_remote_code=False)
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
        check_built(base, config, AutoModelForSequenceClassification, f"{field}.base")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    except QuestionError:
        raise
    except Exception as error:  # whatever a stranger's configuration leads to
        raise QuestionError(f"{field}.base", f"transformers has no sequence classifier for it ({first_line(error)})", "choose another base") from None
    check_finite(base, f"{field}.base")
    tensors = tensors_of(model)
    weights = weights_of(base, model, store, f"{field}.base")
    fresh = output_layer(model) if base.labels != tuple(labels) else frozenset()
    with torch.no_grad():
        blend({name: t for name, t in tensors.items() if name in weights.names and name not in fresh}, [weights], [1.0])
    tokenizer = tokenizer_of(base)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def _beside(model: PreTrainedModel, plain: WeightSet) -> WeightSet:
    """The same weights under the names that they have in a model to which something was added."""
    places = {name: plain.where.get(name) or plain.where.get(plain_name(name)) for name in tensors_of(model)}
    return WeightSet({name: place for name, place in places.items() if place})


def _places(checkpoint: Checkpoint, tensors: dict[str, torch.Tensor], model: PreTrainedModel) -> dict[str, Place]:
    """By the same name, or one that has or lacks the prefix that transformers gives to the body; tied names count."""
    prefix = f"{model.base_model_prefix}."
    tied: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        tied.setdefault(id(tensor), []).append(name)
    found = {}
    for name, tensor in tensors.items():
        for alias in tied[id(tensor)]:
            for candidate in (alias, alias.removeprefix(prefix), prefix + alias):
                if candidate in checkpoint.tensors and name not in found:
                    found[name] = Place(checkpoint.tensors[candidate].file, candidate)
    return found


def _check_tied(a: Checkpoint, b: Checkpoint) -> None:
    """Raise a ``QuestionError`` where one has an output layer of its own and the other that of its embeddings."""
    tied = set()
    for checkpoint, side in ((a, "a"), (b, "b")):
        try:
            config = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # whatever a stranger's configuration leads to
            raise QuestionError(side, f"transformers cannot read its config.json ({first_line(error)})", "choose another checkpoint") from None
        tied.add(getattr(config.get_text_config(), "tie_word_embeddings", None))
    if len(tied) > 1:
        raise QuestionError("b", "the output layer is tied to the embeddings in one of A and B, and not in the other", "choose two of one kind")


def _check_whole(checkpoint: Checkpoint, model: PreTrainedModel, lacking: set[str], field: str, kind: Kind) -> None:
    """A model with its head lacks nothing; a base may lack its head and whole parts of its body (a pooler), no piece of one."""
    head, prefix = head_of(model), f"{model.base_model_prefix}."

    def part(name: str) -> str:
        return name.removeprefix(prefix).partition(".")[0]

    there = {part(name) for name in tensors_of(model) if name not in lacking | head}
    whole = checkpoint.labels is not None or kind in LANGUAGE
    torn = sorted(n for n in lacking if whole or (n not in head and part(n) in there))
    if torn:
        raise QuestionError(field, f"the tensor {torn[0]} is missing", "use a checkpoint that was saved whole")


def _rewritten(checkpoint: Checkpoint, loaded: PreTrainedModel, lacking: set[str], store: Store, kind: Kind) -> WeightSet:
    """The checkpoint in the live model's names, as transformers loaded it; kept in the store under its digest."""
    key = fingerprint({"rewritten": checkpoint.digest} | ({} if kind == "classifier" else {"kind": kind}))
    folder = store.folder(key)
    if folder is None:
        tensors = {n: t.detach().contiguous() for n, t in tensors_of(loaded).items() if n not in lacking}
        work = store.work(key)
        save_file(tensors, work / "model.safetensors")
        folder = store.put_folder(key, work, "rewritten", {"address": checkpoint.address})
    file = folder / "model.safetensors"
    with safe_open(file, framework="pt") as opened:
        return WeightSet({name: Place(file, name) for name in opened.keys()})  # noqa: SIM118 (not a mapping)
