"""A result file that somebody sent: checked from its size to its last number, then a frozen value.

The file is text that is parsed as JSON and nothing else. What it says must fit together: as many numbers
as there are t, t that rise and that the question asks for, tasks that are the question's. Fields that
nobody knows are dropped. What is wrong is told as a ``QuestionError`` that names the field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, ValidationError, model_validator

from mcore.errors import QuestionError
from mcore.library.resultparts import (
    Curves,
    Distance,
    Identities,
    Key,
    Length,
    Part,
    Representation,
    TaskResult,
    Text,
    Timing,
)
from mcore.names import same_t
from mcore.question import Experiment, canonical, fingerprint, parse

MOST_BYTES = 20 * 1024 * 1024
MOST_VALUES = 2_000_000  # commas in the file: each value and each word costs memory before it is looked at
MOST_LISTS = 200_000  # lists and objects


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
    representation: Representation | None = None
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
        parts = {f"tasks.{i}": task for i, task in enumerate(self.tasks)} | ({"representation": self.representation} if self.representation else {})
        for name, part in parts.items():
            strange = sorted(same_t(part.t) - asked)
            _require(not strange, f"{name}.t", f"the question does not ask for {strange[:1]}", "send the file as it was downloaded")
        _require(self.path is None or len(self.path.arc) == len(asked), "path.arc", "there is not one place for each t", "send the file as it was downloaded")
        whole = all(len(part.t) == len(asked) for part in parts.values())
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
