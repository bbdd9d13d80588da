"""The parts of a result file: what each may say, how much of it, and what must fit together within one task's entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from mcore.question import PathSpec, Pool, Task

MOST_ROWS, MOST_POINTS, MOST_LAYERS = 100_000, 10_001, 1_001
MOST_TEXT = 2_000  # characters of any one text
MOST_LOSS = 1e18  # of squared errors, which are in the square of whatever the scores are in

T = TypeVar("T")
Many = Annotated[tuple[T, ...], Field(fail_fast=True, max_length=MOST_ROWS)]
Points = Annotated[tuple[T, ...], Field(fail_fast=True, max_length=MOST_POINTS)]
ByLayer = Annotated[tuple[T, ...], Field(fail_fast=True, max_length=MOST_LAYERS)]
Text = Annotated[str, Field(max_length=MOST_TEXT)]
Key = Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")]
Side = Literal["a", "b"]
Loss = Annotated[float, Field(ge=-1e-6, le=MOST_LOSS)]  # a sum of rounded logarithms may lie just below zero
Share = Annotated[float, Field(ge=0, le=1)]
ReadOut = Annotated[float, Field(ge=-1e12, le=1)]  # an accuracy, or R², which has no lower end
Place = Annotated[float, Field(ge=-0.5, le=1.5)]  # t, beyond the ends too
Far = Annotated[float, Field(ge=-1e12, le=1e12)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Id = Annotated[int, Field(ge=-(2**63), le=2**63)] | Text


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, strict=True)


class Rise(Part):
    """A barrier with its interval."""

    value: float = Field(ge=-MOST_LOSS, le=MOST_LOSS)
    low: float = Field(ge=-MOST_LOSS, le=MOST_LOSS)
    high: float = Field(ge=-MOST_LOSS, le=MOST_LOSS)
    t: Share

    @field_validator("high")
    @classmethod
    def _holds_the_value(cls, high: float, info: ValidationInfo) -> float:
        told = info.data
        if {"value", "low"} <= told.keys() and not told["low"] <= told["value"] <= high:
            raise ValueError("the interval from low to high does not hold the value")
        return high


class Barriers(Part):
    loss_chord: Rise
    loss_mean: Rise
    accuracy_chord: Rise


class Means(Part):
    confidence: float
    variability: float
    correctness: float


class Followed(Part):
    """Data cartography of the groups of rows."""

    endpoint: Side
    known: Count
    all: Means | None
    forgotten: Points[Means | None]
    learned: Points[Means | None]


class Knowledge(Part):
    mastered: Points[Count]
    forgotten: Points[Many[Id]]
    learned: Points[Many[Id]]
    cartography: Followed | None = None

    @field_validator("forgotten", "learned")
    @classmethod
    def _between_neighbours(cls, groups: Sequence, info: ValidationInfo) -> Sequence:
        return _as_many(groups, max(0, len(info.data.get("mastered", ())) - 1), "pairs of neighbouring t")


class LabelOrder(Part):
    names: Many[Text | None]
    source: Literal["names", "data", "person"] = Field(alias="from")
    agreement: Share | None = None
    ambiguous: bool = False


class Orders(Part):
    a: LabelOrder | None = None
    b: LabelOrder | None = None


class Measure(Part):
    """What loss and accuracy are (``mcore.evaluation.measures``)."""

    loss: Literal["nats", "nats per token", "squared error"]
    accuracy: Literal["accuracy", "tokens predicted right", "within 0.5"]


class TaskResult(Part):
    """One task's entry; the lists hold a number for each t."""

    task: Task
    rows: Many[Id]
    measure: Measure = Measure(loss="nats", accuracy="accuracy")
    labels: Annotated[tuple[Text, ...], Field(fail_fast=True, max_length=1000)]
    constant_baseline: Share | None = None
    head: Literal["both", "a", "b", "fitted"] = "both"
    fitted_on: Annotated[int, Field(ge=0)] | None = None
    label_order: Orders = Orders()
    t: Points[Place]
    loss: Points[Loss]
    accuracy: Points[Share]
    barrier: Barriers | None = None
    way: PathSpec | None = None
    flow: Points[Far] | None = None
    macro_f1: Points[Share] | None = None
    confidence: Points[Share] | None = None
    calibration_error: Points[Share] | None = None
    agreement_a: Points[Share] | None = None
    agreement_b: Points[Share] | None = None
    ensemble_loss: Points[Loss] | None = None
    ensemble_accuracy: Points[Share] | None = None
    knowledge: Knowledge | None = None

    @field_validator("labels")
    @classmethod
    def _are_there(cls, labels: Sequence[str], info: ValidationInfo) -> Sequence[str]:
        if not labels and "measure" in info.data and info.data["measure"].accuracy == "accuracy":
            raise ValueError("there are none, and an accuracy needs some")
        return labels

    @field_validator("t")
    @classmethod
    def _rises(cls, t: Sequence[float]) -> Sequence[float]:
        return _rising(t)

    @field_validator(
        "loss", "accuracy", "flow", "macro_f1", "confidence", "calibration_error", "agreement_a", "agreement_b", "ensemble_loss",
        "ensemble_accuracy",
    )  # fmt: skip
    @classmethod
    def _one_for_each_t(cls, values: Sequence | None, info: ValidationInfo) -> Sequence | None:
        return values if values is None else _as_many(values, len(info.data.get("t", values)), "t")

    @field_validator("knowledge")
    @classmethod
    def _mastered_at_each_t(cls, told: Knowledge | None, info: ValidationInfo) -> Knowledge | None:
        if told is not None:
            _as_many(told.mastered, len(info.data.get("t", told.mastered)), "t")
        return told


class Representation(Part):
    """What the layers hold (``mcore.layers.represented``): lists by t, and within them by layer."""

    task: Task
    rows: Many[Id]
    pool: Pool
    encoder: bool = False
    layers: Annotated[tuple[Text, ...], Field(fail_fast=True, max_length=MOST_LAYERS)]
    width: Count = 0
    t: Points[Place]
    cka_a: Points[ByLayer[Share | None]] | None = None
    cka_b: Points[ByLayer[Share | None]] | None = None
    measure: Literal["accuracy", "R²"] = "accuracy"
    readout: Points[ByLayer[ReadOut | None]] | None = None
    control: Points[ByLayer[ReadOut | None]] | None = None
    fitted_on: Count | None = None
    seed: Count | None = None
    constant_baseline: Share | None = None

    @field_validator("t")
    @classmethod
    def _rises(cls, t: Sequence[float]) -> Sequence[float]:
        return _rising(t)

    @field_validator("cka_a", "cka_b", "readout", "control")
    @classmethod
    def _one_for_each(cls, values: Sequence | None, info: ValidationInfo) -> Sequence | None:
        if values is not None:
            _as_many(values, len(info.data.get("t", values)), "t")
            for of_t in values:
                _as_many(of_t, len(info.data.get("layers", of_t)), "layers")
        return values

    @field_validator("readout", "control")
    @classmethod
    def _is_a_share(cls, values: Sequence | None, info: ValidationInfo) -> Sequence | None:
        if info.data.get("measure") == "accuracy" and any(one is not None and one < 0 for of_t in values or () for one in of_t):
            raise ValueError("an accuracy lies from 0 to 1")
        return values


class Layer(Part):
    layer: Text
    l2: float = Field(ge=0)
    cosine: float | None
    l2_per_sqrt_n: float | None
    parameters: Count


class Distance(Part):
    l2: float = Field(ge=0)
    cosine: float | None
    l2_per_sqrt_n: float | None
    parameters: Count
    layers: Annotated[tuple[Layer, ...], Field(fail_fast=True, max_length=5000)] = ()


class Alignment(Part):
    """What permuting B's units has changed: distances between the ends, groups of units and units."""

    method: Literal["weights", "activations"]
    l2_before: Far
    l2_after: Far
    matched: Count
    fixed: Count
    units: Count
    moved_units: Count


class Length(Part):
    """Of the path in weight space; ``arc`` has a place for each t that is asked for, ``mix`` the share of B in a group of tensors."""

    length: Far
    chord: Far
    arc: Points[Far]
    alignment: Alignment | None = None
    mix: Annotated[dict[Annotated[str, Field(max_length=200)], Share], Field(max_length=5000)] | None = None


class Step(Part):
    step: Count
    loss: float
    validation_loss: float | None = None
    validation_accuracy: Share | None = None


class Curve(Part):
    curve: Points[Step]
    accuracy: Share | None = None
    loss: float | None = None


class Curves(Part):
    a: Curve | None = None
    b: Curve | None = None


class Identities(Part):
    a: Key
    b: Key
    tasks: Annotated[tuple[Key, ...], Field(max_length=8)]


class Timing(Part):
    seconds: float | None = Field(None, ge=0, le=1e12)
    points: Count | None = None
    seconds_per_point: float | None = Field(None, ge=0, le=1e12)


def _rising(t: Sequence[float]) -> Sequence[float]:
    if any(later <= earlier for earlier, later in zip(t, t[1:], strict=False)):
        raise ValueError("it does not rise from each point to the next")
    return t


def _as_many(values: Sequence, count: int, of: str) -> Sequence:
    if len(values) != count:
        raise ValueError(f"it has {len(values):,} entries for {count:,} {of}")
    return values
