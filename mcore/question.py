"""The question as a frozen value: endpoints, tasks, path, points, probes and precision.

Nothing here reads a file or a model. ``parse`` turns anything a stranger sends into an
``Experiment`` or raises a ``QuestionError`` that names the field. The defaults belong to
version 1: a link leaves out what its author left out, so they must never change.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationError,
    model_serializer,
    model_validator,
)

from mcore.errors import QuestionError
from mcore.tasks import rowparts

PROBES = ("loss", "accuracy", "knowledge", "macro_f1", "calibration", "agreement", "ensemble", "readout", "cka")
LAYERWISE = ("readout", "cka")  # those that look at the hidden states of each layer
MOST_POINTS = 1001
MOST_BYTES = 256 * 1024  # of a question written as JSON: more is not a question
SCHEMES = ("hub:", "builtin:", "local:")


class Frozen(BaseModel):
    """A value that never changes. ``LATER`` fields are younger than version 1: left out while unset, so that old fingerprints hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)
    LATER: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _later_fields_only_where_set(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in written(self).items() if value is not None or name not in self.LATER}


def _scheme(value: Any) -> Any:
    if isinstance(value, str) and not (value.startswith(SCHEMES) and value.partition(":")[2].strip()):
        raise ValueError("should be hub:ORG/NAME@REVISION, builtin:NAME@STEP or local:PATH")
    return value


Address = Annotated[str, BeforeValidator(_scheme), Field(max_length=1000)]


def _part(value: Any) -> Any:
    if isinstance(value, str):
        rowparts.between(value)
    return value


RowsPart = Annotated[str | Annotated[float, Field(gt=0, le=1)], BeforeValidator(_part)]


def _unless(usual: str) -> Callable[[Any], Any]:
    """The value, or None for the ``usual`` one: what is left out and what is said are one question."""
    return lambda value: None if value == usual else value


class Task(Frozen):
    """Rows, labelled or not. What is left out is found from the data (columns) or has the stated default.

    ``read`` says how a model answers: with its ``head`` (a classifier), by the likelihood of ``answers`` (a language
    model, one answer for each label, after the text that ``template`` makes of a row's columns: "{premise} {hypothesis}"),
    by the loss of its ``tokens``, or with a ``fitted`` head. ``normalised`` divides an answer's log-likelihood by its tokens.
    A single answer names a column of lists, "{entities}": each row has its own to choose from, and its label says which are right.
    Answers that are left out are the labels' own names, where these are words.

    ``columns`` names those of a csv or tsv file whose first line is a row already. ``form`` says how the one text column is made of parts,
    "premise: {premise} [SEP] hypothesis: {hypothesis}": it is taken apart, and the parts are the texts and stand for columns in a template.
    """

    LATER = ("read", "template", "answers", "normalised", "columns", "form")

    task: Address
    split: str | None = Field(None, max_length=200)
    limit: int | None = Field(None, ge=1, le=10_000_000)
    sample_seed: int = Field(0, ge=0, le=2**31 - 1)
    max_length: int | None = Field(None, ge=4, le=8192)
    text: str | Annotated[list[str], Field(min_length=1, max_length=2)] | None = None
    label: str | None = None
    read: Literal["head", "answers", "tokens", "fitted"] | None = None
    template: str | None = Field(None, min_length=1, max_length=4000)
    answers: Annotated[list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(min_length=1, max_length=200)] | None = None
    normalised: bool | None = None
    columns: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(min_length=1, max_length=1000)] | None = None
    form: str | None = Field(None, min_length=1, max_length=4000)


OF_METHOD = {  # fields of a recipe -> the methods that they mean something for
    "rank": ("lora",), "alpha": ("lora",), "bottleneck": ("adapter",), "placement": ("adapter",), "activation": ("adapter",),
    "prefix_length": ("prefix",), "init_scale": ("adapter", "prefix"), "delta_seed": ("lora", "adapter", "prefix"),
    "train_norms": ("lora", "adapter", "prefix"), "layers": ("lora", "adapter", "prefix", "bitfit"),
}  # fmt: skip


def _layers_tuned(name: Any) -> Any:
    if isinstance(name, str) and not re.fullmatch(r"all|last:[1-9]\d{0,2}", name):
        raise ValueError("should be all, or last:K, the last K layers")
    return name


class Recipe(Frozen):
    """How to fine-tune ``base`` on the training rows of ``task``: AdamW, warm-up, then linear decay to zero.

    A ``task`` that is read by "answers" tunes a language model; all others a classifier with a new head.
    ``rows`` names a part of the training split (``mcore.tasks.rowparts``). ``optimizer``: torch's AdamW (left out), Adam, or SGD with a momentum
    of 0.9, which both take ``weight_decay`` as a penalty in the gradient. ``decay``: "none" stays at the learning rate after the warm-up.
    ``warmup`` is a fraction of the steps. ``cartography`` counts the training rows that are followed.
    ``stop_at`` leaves the training at that step, its schedule being that of all ``steps``; ``continued`` goes on from
    there for so many steps more, each time with a new optimiser, warm-up and decay.

    ``method``: everything is tuned ("full"), or only what is added to a base that stands still, and the head: "lora" (two factors of
    ``rank`` beside each matrix of queries and values, times ``alpha`` / rank), "adapter" (two layers around a ``bottleneck`` after the
    attention and the feed-forward part of each block, "houlsby", or after the latter alone, "pfeiffer"), "prefix" (``prefix_length`` keys
    and values before those of each self-attention), "bitfit" (the biases). ``delta_seed`` makes what is added, normally distributed with
    the standard deviation ``init_scale`` in an adapter or prefix; ``layers`` says in which layers; ``train_norms`` tunes their norms too.
    What is left out has its default in ``mcore.models.methods``.
    """

    LATER = (*OF_METHOD, "stop_at", "continued", "optimizer", "decay")

    base: Address
    task: Task
    method: Literal["full", "lora", "prefix", "adapter", "bitfit"] = "full"
    steps: int = Field(200, ge=1, le=1_000_000)
    batch_size: int = Field(32, ge=1, le=4096)
    learning_rate: float = Field(5e-4, gt=0, le=10)
    head_seed: int = Field(1, ge=0, le=2**31 - 1)
    data_seed: int = Field(1, ge=0, le=2**31 - 1)
    rows: RowsPart = "all"
    weight_decay: float = Field(0.01, ge=0, le=10)
    warmup: float = Field(0.1, ge=0, le=1)
    clip: float = Field(1.0, gt=0, le=1e6)
    cartography: int = Field(1024, ge=0, le=1_000_000)
    stop_at: int | None = Field(None, ge=1)
    continued: Annotated[list[Annotated[int, Field(ge=1, le=1_000_000)]], Field(min_length=1, max_length=8)] | None = None
    rank: int | None = Field(None, ge=1, le=1024)
    alpha: float | None = Field(None, gt=0, le=1e4)
    bottleneck: int | None = Field(None, ge=1, le=4096)
    placement: Literal["houlsby", "pfeiffer"] | None = None
    activation: Literal["relu", "gelu", "silu", "tanh"] | None = None
    prefix_length: int | None = Field(None, ge=1, le=512)
    init_scale: float | None = Field(None, gt=0, le=10)
    delta_seed: int | None = Field(None, ge=0, le=2**31 - 1)
    layers: Annotated[str, BeforeValidator(_layers_tuned)] | None = None
    train_norms: bool | None = None
    optimizer: Annotated[Literal["adamw", "adam", "sgd"] | None, AfterValidator(_unless("adamw"))] = None
    decay: Annotated[Literal["linear", "none"] | None, AfterValidator(_unless("linear"))] = None

    @model_validator(mode="after")
    def _stops_on_its_way(self) -> Recipe:
        if self.stop_at is not None and self.stop_at > self.steps:
            raise ValueError(f"stop_at is {self.stop_at}, after the last of {self.steps} steps")
        return self

    @model_validator(mode="after")
    def _fields_of_its_method(self) -> Recipe:
        for name, methods in OF_METHOD.items():
            if getattr(self, name) is not None and self.method not in methods:
                raise ValueError(f"{name} belongs to the method {' or '.join(methods)}")
        return self

    @property
    def last_step(self) -> int:
        """How many steps are carried out in all."""
        return (self.stop_at or self.steps) + sum(self.continued or ())


def _endpoint_tag(value: Any) -> str:
    return "checkpoint" if isinstance(value, str) else "recipe"


Endpoint = Annotated[
    Annotated[Address, Tag("checkpoint")] | Annotated[Recipe, Tag("recipe")], Discriminator(_endpoint_tag)
]


FITTED = ("bezier", "chain", "mix")  # kinds of path that are fitted on training rows
PARTS = ("attention", "feed-forward", "embeddings", "norms", "head")
BELONGS = {  # fields of a path -> the kinds that they mean something for
    "bends": ("bezier", "chain"), "train": ("bezier", "chain"), "weight_decay": ("bezier", "chain"), "per": ("mix",), "move": ("partial",),
    "rest": ("partial",), "base": ("task-vector",), "scale": ("task-vector",), "extend": ("linear", "slerp", "task-vector", "partial"),
    **dict.fromkeys(("steps", "batch_size", "learning_rate", "seed", "task", "rows"), FITTED),
}  # fmt: skip


def _moving(name: str) -> str:
    layers = re.fullmatch(r"layers:(\d{1,4})-(\d{1,4})", name)
    if name not in PARTS and not (layers and int(layers[1]) <= int(layers[2])):
        raise ValueError(f"should be one of {', '.join(PARTS)}, or layers:K-M")
    return name


def _bending(name: Any) -> Any:
    if isinstance(name, str) and not re.fullmatch(r"all|head|no-embeddings|last:[1-9]\d{0,2}", name):
        raise ValueError("should be all, head, no-embeddings, or last:K, the last K layers and the head")
    return name


class PathSpec(Frozen):
    """The way from A (t = 0) to B (t = 1). What is left out has its default where its kind needs it.

    ``bezier`` and ``chain`` have ``bends`` that are fitted, ``mix`` one coefficient ``per`` tensor, layer or block: fitted for ``steps``
    on ``rows`` of the training split of ``task`` (the first task's where it is left out); ``train`` says which tensors may bend ("all",
    "last:K" layers, "head", "no-embeddings"). ``partial`` lets only the parts in ``move`` go from A to B, the others ``rest`` at "a" or "b".
    ``task-vector`` goes from ``base`` + (A − base) over ``base`` + ``scale`` · ((A − base) + (B − base)) to ``base`` + (B − base).
    ``extend`` goes on for so much beyond either end. ``align`` permutes B's hidden units first, which changes nothing that B computes.
    ``lora``, between two ends that were tuned by LoRA: their "factors" move, (1 − t) A₀ + t A₁ and so with B, or the "merged" changes of
    the weights, (1 − t) ΔW₀ + t ΔW₁ with ΔW = alpha / rank · B A, which is the straight line between the two whole models.
    """

    LATER = (*BELONGS, "lora")

    kind: Literal["linear", "bezier", "chain", "mix", "partial", "slerp", "task-vector"] = "linear"
    align: Literal["none", "weights", "activations"] = "none"
    bends: int | None = Field(None, ge=1, le=4)
    steps: int | None = Field(None, ge=1, le=1_000_000)
    batch_size: int | None = Field(None, ge=1, le=4096)
    learning_rate: float | None = Field(None, gt=0, le=10)
    weight_decay: float | None = Field(None, ge=0, le=10)
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    task: Task | None = None
    rows: RowsPart | None = None
    train: Annotated[str, BeforeValidator(_bending)] | None = None
    per: Literal["tensor", "layer", "block"] | None = None
    move: Annotated[list[Annotated[str, BeforeValidator(_moving)]], Field(min_length=1, max_length=16)] | None = None
    rest: Literal["a", "b"] | None = None
    base: Address | None = None
    scale: float | None = Field(None, ge=-2, le=2)
    extend: float | None = Field(None, ge=0, le=0.5)
    lora: Literal["factors", "merged"] | None = None

    @model_validator(mode="after")
    def _fields_of_its_kind(self) -> PathSpec:
        for name, kinds in BELONGS.items():
            if getattr(self, name) is not None and self.kind not in kinds:
                raise ValueError(f"{name} belongs to a path of the kind {' or '.join(kinds)}")
        if self.kind == "partial" and not self.move:
            raise ValueError(f"a partial path needs move, a list of: {', '.join(PARTS)}, layers:K-M")
        if self.kind == "task-vector" and not self.base:
            raise ValueError("a task-vector path needs base, the address of what A and B were tuned from")
        return self


class LabelNames(Frozen):
    """A person's word for what each output of an endpoint means, in the order of the outputs."""

    a: list[str] | None = None
    b: list[str] | None = None


Pool = Literal["first", "last", "mean"]


def _layers(value: Any) -> Any:
    """A list of them without repeats, in their order, the embeddings first."""

    def known(one: Any) -> bool:
        return one == "embeddings" or (isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 10_000)

    if value == "all":
        return value
    if not (isinstance(value, list) and 0 < len(value) <= 1000 and all(map(known, value))):
        raise ValueError("should be all, or a list of numbers from 0 and embeddings")
    return sorted(set(value), key=lambda one: -1 if one == "embeddings" else one)


class Representation(Frozen):
    """Which features the probes "readout" and "cka" look at, and what is read out of them.

    ``layers``: all, or some of them: "embeddings" and numbers from 0. ``pool``: the state of a text's first token (a class token), its
    last one, or the mean over its tokens. ``task``: the rows, and the labels to read out; the first task's where it is left out.
    ``seed`` shuffles the labels of the control.
    """

    LATER = ("task",)

    layers: Annotated[Literal["all"] | list[Literal["embeddings"] | int], BeforeValidator(_layers)] = "all"
    pool: Pool = "mean"
    task: Task | None = None
    seed: int = Field(0, ge=0, le=2**31 - 1)


class Experiment(Frozen):
    """Two endpoints, the tasks to read along the path between them, and how finely. ``representation``: of the probes "readout" and "cka"."""

    LATER = ("representation",)

    version: Literal[1]
    a: Endpoint
    b: Endpoint
    tasks: Annotated[list[Task], Field(min_length=1, max_length=8)]
    path: PathSpec = PathSpec()
    points: Annotated[int, Field(ge=2, le=MOST_POINTS)] | Annotated[
        list[Annotated[float, Field(ge=-0.5, le=1.5)]], Field(min_length=1, max_length=MOST_POINTS)
    ] = 26
    probes: list[Literal["loss", "accuracy", "knowledge", "macro_f1", "calibration", "agreement", "ensemble", "readout", "cka"]] = Field(
        default=["loss", "accuracy", "knowledge"]
    )
    precision: Literal["float32", "bfloat16"] = "float32"
    labels: LabelNames = LabelNames()
    representation: Representation | None = None

    @model_validator(mode="before")
    @classmethod
    def _points_are_one_kind(cls, data: Any) -> Any:
        """Say what is wrong with ``points`` once, not once for each kind that they might have been."""
        points = data.get("points", 26) if isinstance(data, dict) else 26
        path = data.get("path") if isinstance(data, dict) else None
        beyond = path.get("extend") if isinstance(path, dict) else None
        beyond = beyond if isinstance(beyond, int | float) and 0 <= beyond <= 0.5 else 0
        if isinstance(points, list):
            fits = 1 <= len(points) <= MOST_POINTS and all(
                isinstance(t, int | float) and not isinstance(t, bool) and math.isfinite(t) and -beyond <= t <= 1 + beyond for t in points
            )
        else:
            fits = isinstance(points, int) and not isinstance(points, bool) and 2 <= points <= MOST_POINTS
        if not fits:
            raise QuestionError(
                "points", f"{_short(points)} is not possible",
                f"give a count from 2 to {MOST_POINTS} or a list of up to {MOST_POINTS} numbers from {-beyond:g} to {1 + beyond:g}",
            )  # fmt: skip
        return data

    def ts(self) -> list[float]:
        """The t that are asked for, rising, without repeats; a count is of those from end to end, and as many steps beyond as fit."""
        if isinstance(self.points, int):
            last = self.points - 1
            beyond = math.floor((self.path.extend or 0) * last + 1e-9)
            return [i / last for i in range(-beyond, last + beyond + 1)]
        return sorted(set(map(float, self.points)))


def parse(data: Any) -> Experiment:
    """An ``Experiment`` from JSON text, bytes or plain values. Raises ``QuestionError``."""
    return _validated(Experiment, data, "experiment")


def parse_recipe(data: Any) -> Recipe:
    """A ``Recipe`` from JSON text, bytes or plain values. Raises ``QuestionError``."""
    return _validated(Recipe, data, "recipe")


def canonical(value: BaseModel | dict | list) -> str:
    """JSON that is equal for equal values: every default written out, keys sorted."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def as_written(value: BaseModel) -> dict:
    """Plain values with just what the author wrote, defaults left out."""
    return value.model_dump(mode="json", exclude_unset=True)


def fingerprint(value: BaseModel | dict | list) -> str:
    """32 hexadecimal digits that stand for the value (SHA-256 of its canonical JSON)."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:32]


def _validated(model: type[BaseModel], data: Any, name: str) -> Any:
    if isinstance(data, str | bytes):
        if len(data) > MOST_BYTES:
            raise QuestionError(name, f"it is {len(data):,} bytes long", f"give at most {MOST_BYTES:,} bytes of JSON")
        try:
            data = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise QuestionError(name, f"it is not JSON ({error})", "give one JSON object") from None
    if not isinstance(data, dict | BaseModel):
        raise QuestionError(name, f"it is {_short(data)}", "give one JSON object")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _told(error, model) from None
    except RecursionError:
        raise QuestionError(name, "it is nested too deeply", "give one JSON object of the documented shape") from None


def _told(error: ValidationError, model: type[BaseModel]) -> QuestionError:
    """The first complaint as a sentence with the field's name as the author wrote it."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"] if part not in ("checkpoint", "recipe") and not _is_branch(part))
    if first["type"] == "missing":
        return QuestionError(field, "it is missing", "add it")
    if first["type"] == "extra_forbidden":
        known = ", ".join(_fields_beside(first["loc"], model))
        return QuestionError(field, "there is no such field", f"use one of: {known}" if known else "leave it out")
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
    return QuestionError(field, f"{_short(first['input'])} is not possible", message[0].lower() + message[1:])


def _is_branch(part: int | str) -> bool:
    """True for the names pydantic gives to the branches of a union, which no author wrote."""
    return isinstance(part, str) and (part in ("str", "float", "int") or part.startswith(("list[", "constrained", "literal[", "function")))


def _fields_beside(loc: tuple, model: type[BaseModel]) -> list[str]:
    inside = {"task": Task, "tasks": Task, "path": PathSpec, "labels": LabelNames, "representation": Representation}
    above = [part for part in loc[:-1] if isinstance(part, str)]
    if not above:
        return list(model.model_fields)
    return list(inside.get(above[-1], Recipe).model_fields)


def _short(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
