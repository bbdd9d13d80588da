"""A result file that somebody sent: checked from its size to its last number, then a frozen value.

The file is text that is parsed as JSON and nothing else. What it says must fit together: as many numbers
as there are t, t that rise and that the question asks for, tasks that are the question's. Fields that
nobody knows are dropped. What is wrong is told as a ``QuestionError`` that names the field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mcore.errors import QuestionError
from mcore.names import same_t
from mcore.question import Experiment, PathSpec, Task, canonical, fingerprint, parse

MOST_BYTES = 20 * 1024 * 1024
MOST_VALUES = 2_000_000  # commas in the file: each value and each word costs memory before it is looked at
MOST_LISTS = 200_000  # lists and objects
MOST_ROWS, MOST_POINTS = 100_000, 10_001
MOST_TEXT = 2_000  # characters of any one text

T = TypeVar("T")
Many = Annotated[tuple[T, ...], Field(fail_fast=True, max_length=MOST_ROWS)]
Points = Annotated[tuple[T, ...], Field(fail_fast=True, max_length=MOST_POINTS)]
Text = Annotated[str, Field(max_length=MOST_TEXT)]
Key = Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")]
Side = Literal["a", "b"]
Loss = Annotated[float, Field(ge=-1e-6, le=1e6)]  # nats; a sum of rounded logarithms may lie just below zero
Share = Annotated[float, Field(ge=0, le=1)]
Place = Annotated[float, Field(ge=-0.5, le=1.5)]  # t, beyond the ends too
Far = Annotated[float, Field(ge=-1e12, le=1e12)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Id = Annotated[int, Field(ge=-(2**63), le=2**63)] | Text


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, strict=True)


class Rise(Part):
    """A barrier with its interval."""

    value: float = Field(ge=-1e6, le=1e6)
    low: float = Field(ge=-1e6, le=1e6)
    high: float = Field(ge=-1e6, le=1e6)
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
    """What loss and accuracy are (``mcore.measures``)."""

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
        if any(later <= earlier for earlier, later in zip(t, t[1:], strict=False)):
            raise ValueError("it does not rise from each point to the next")
        return t

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


def _question(value: Any) -> Experiment:
    """Checked like any question; what is wrong in it is named as it stands in the file."""
    try:
        question = parse(value)
        parse(canonical(question).encode())  # no larger than one that arrives by itself
        return question
    except QuestionError as error:
        field = "experiment" if error.field == "experiment" else f"experiment.{error.field}"
        raise QuestionError(field, error.wrong, error.right) from None


def _as_given(question: Experiment) -> dict:
    return question.model_dump(mode="json", exclude_unset=True)


class ResultFile(Part):
    """The whole file. ``document`` gives the JSON values again that ``mcore.result.collect`` made."""

    fingerprint: Key
    experiment: Annotated[Experiment, PlainValidator(_question), PlainSerializer(_as_given)]
    identities: Identities
    complete: bool
    tasks: Annotated[tuple[TaskResult, ...], Field(fail_fast=True, min_length=1, max_length=8)]
    distance: Distance | None = None
    path: Length | None = None
    training: Curves = Curves()
    notices: Annotated[tuple[Text, ...], Field(fail_fast=True, max_length=100)] = ()
    timing: Timing = Timing()

    @model_validator(mode="after")
    def _is_of_one_piece(self) -> ResultFile:
        asked = same_t(self.experiment.ts())
        wanted = [task.task for task in self.tasks] == list(self.experiment.tasks)
        _require(wanted, "tasks", "they are not the tasks of the question", "send the file as it was downloaded")
        for i, task in enumerate(self.tasks):
            strange = sorted(same_t(task.t) - asked)
            _require(not strange, f"tasks.{i}.t", f"the question does not ask for {strange[:1]}", "send the file as it was downloaded")
        _require(self.path is None or len(self.path.arc) == len(asked), "path.arc", "there is not one place for each t", "send the file as it was downloaded")
        whole = all(len(task.t) == len(asked) for task in self.tasks)
        _require(whole or not self.complete, "complete", "points are missing", "it should be false")
        _require(len(self.identities.tasks) == len(self.tasks), "identities.tasks", "there is not one for each task", "give one for each")
        return self


def read(data: bytes) -> ResultFile:
    """The file's content. Raises ``QuestionError``: field ``file`` where it is no such file at all."""
    _require(len(data) <= MOST_BYTES, "file", f"it is {len(data):,} bytes large", f"a result file has at most {MOST_BYTES:,} bytes")
    _require(
        data.count(b",") <= MOST_VALUES and data.count(b"[") + data.count(b"{") <= MOST_LISTS,
        "file", "it holds too many values", f"a result file has at most {MOST_VALUES:,} in {MOST_LISTS:,} lists",
    )  # fmt: skip
    try:
        data.decode()
        return ResultFile.model_validate_json(data)
    except UnicodeDecodeError:
        raise QuestionError("file", "it is not UTF-8 text", "choose the JSON file that “JSON” under Numbers downloads") from None
    except ValidationError as error:
        raise _told(error) from None


def document(file: ResultFile) -> dict:
    """The JSON values, in the order in which ``collect`` gives them; what was not in the file is not there."""
    return file.model_dump(mode="json", by_alias=True, exclude_unset=True)


def key(file: ResultFile) -> str:
    """Where the store keeps it: made of all that it says, so that it can never stand for something computed here."""
    return fingerprint({"import": document(file)})


def _as_many(values: Sequence, count: int, of: str) -> Sequence:
    if len(values) != count:
        raise ValueError(f"it has {len(values):,} entries for {count:,} {of}")
    return values


def _require(holds: bool, field: str, wrong: str, right: str) -> None:
    if not holds:
        raise QuestionError(field, wrong, right)


def _told(error: ValidationError) -> QuestionError:
    """The first complaint as a sentence."""
    first = error.errors(include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        why = first["msg"].removeprefix("Invalid JSON: ")
        return QuestionError("file", f"it is not JSON, or it is cut short ({why})", "download the result anew and choose that file")
    field = ".".join(str(part) for part in first["loc"] if not _is_branch(part)) or "file"
    if first["type"] == "missing":
        return QuestionError(field, "it is missing", "choose a result file as this app writes it")
    if first["type"] == "value_error":
        return QuestionError(field, first["msg"].removeprefix("Value error, "), "choose the file as it was downloaded")
    message = first["msg"].replace("Input should", "it should").replace("Tuple should", "the list should")
    return QuestionError(field, f"{_short(first['input'])} is not possible", message[:1].lower() + message[1:])


def _is_branch(part: Any) -> bool:
    """True for the names that pydantic gives to the branches of a union, which stand in no file."""
    return isinstance(part, str) and (part in ("int", "str", "float") or part.startswith(("constrained-", "tuple[", "function-")))


def _short(value: Any) -> str:
    if isinstance(value, Mapping | list | tuple):
        return "a list" if not isinstance(value, Mapping) else "an object"
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
