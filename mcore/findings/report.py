"""One run of the findings as a file: what came out, from which questions, when and on what machine; read strictly.

What ships with the app (``mcore/builtin/findings.json``) and what ``python -m mcore findings`` writes are files of one kind. A
file's verdicts are not believed: they must follow from the intervals that stand beside them.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, ValidationError, model_validator

from mcore.errors import McoreError, QuestionError
from mcore.findings.finding import Effect, Finding, Outcome, together, verdict
from mcore.models.checkpoints import BUILTIN
from mcore.question import Experiment, as_written, parse

SHIPPED = BUILTIN / "findings.json"
MOST_BYTES = 1_000_000
VERSIONS = ("torch", "transformers", "tokenizers", "safetensors", "numpy")
DIGITS = 6  # significant ones, of what is written

Words = Annotated[str, Field(min_length=1, max_length=300)]
Number = Annotated[float, Field(ge=-1e9, le=1e9)]
Said = Literal["shown", "not shown", "opposite"]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class ToldEffect(Part):
    """An effect over ``n`` seeds, positive as claimed."""

    says: Words
    unit: Words
    percent: bool = False
    mean: Number
    low: Number
    high: Number
    n: Annotated[int, Field(ge=2, le=1000)]
    verdict: Said

    @model_validator(mode="after")
    def _verdict_follows(self) -> ToldEffect:
        if not self.low <= self.mean <= self.high:
            raise ValueError("the interval from low to high does not hold the mean")
        if self.verdict != verdict(self.low, self.high):
            raise ValueError(f"an effect from {self.low:g} to {self.high:g} is not {self.verdict!r}")
        return self


class ToldRow(Part):
    """A value in the figure (``finding.Row``)."""

    panel: Words
    x: Words | Number
    seed: Annotated[int, Field(ge=1, le=1000)]
    value: Number
    question: Words


def _asked(value: object) -> Experiment:
    """Checked like any question."""
    try:
        return parse(value)
    except QuestionError as error:
        raise ValueError(str(error)) from None


class Told(Part):
    """What one finding came to. ``missed``: the questions that could not be answered, and why. ``seconds`` are those of its questions
    that no finding before it had asked."""

    verdict: Said
    effects: Annotated[tuple[ToldEffect, ...], Field(min_length=1, max_length=20)]
    rows: Annotated[tuple[ToldRow, ...], Field(max_length=5000)]
    questions: Annotated[
        dict[Words, Annotated[Experiment, PlainValidator(_asked), PlainSerializer(as_written)]], Field(min_length=1, max_length=500)
    ]
    missed: Annotated[dict[Words, Annotated[str, Field(max_length=2000)]], Field(max_length=500)] = {}
    seconds: Annotated[float, Field(ge=0, le=1e9)]

    @model_validator(mode="after")
    def _is_of_one_piece(self) -> Told:
        if self.verdict != together([one.verdict for one in self.effects]):
            raise ValueError(f"its parts do not make it {self.verdict!r}")
        if strange := ({row.question for row in self.rows} | set(self.missed)) - set(self.questions):
            raise ValueError(f"{min(strange)!r} is none of its questions")
        return self


class Machine(Part):
    """``load``: how many processes wanted a core while it ran, on average, its own included."""

    cores: Annotated[int, Field(ge=1, le=100_000)]
    processor: Annotated[str, Field(max_length=200)]
    load: Annotated[float, Field(ge=0, le=1e6)] | None = None


class Report(Part):
    """The whole file."""

    version: Literal[1]
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    machine: Machine
    versions: Annotated[dict[Words, Words], Field(max_length=50)]
    seconds: Annotated[float, Field(ge=0, le=1e9)]
    kept: Annotated[int, Field(ge=0, le=10_000)] = 0  # questions that had been answered before, in another sitting
    findings: Annotated[dict[Annotated[str, Field(pattern=r"^F[1-9]$")], Told], Field(min_length=1, max_length=9)]


def read(data: bytes) -> Report:
    """The content of a file. Raises ``QuestionError``."""
    if len(data) > MOST_BYTES:
        raise QuestionError("findings", f"the file is {len(data):,} bytes large", f"it has at most {MOST_BYTES:,} bytes")
    try:
        return Report.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "findings"
        raise QuestionError(field, first["msg"].removeprefix("Value error, "), "use a file as `python -m mcore findings` writes it") from None


def written(report: Report) -> str:
    """The file's text: one line for each finding's part, so that two runs can be compared line by line."""
    told = report.model_dump(mode="json", exclude_defaults=True)
    told |= {"version": report.version}
    lines = [json.dumps(name) + ": " + _finding(one) for name, one in told.pop("findings").items()]
    head = [json.dumps(name) + ": " + _line(value) for name, value in told.items()]
    return "{\n" + ",\n".join([*head, '"findings": {\n' + ",\n".join(lines) + "\n}"]) + "\n}\n"


def _finding(told: Mapping) -> str:
    parts = []
    for name, value in told.items():
        if isinstance(value, list):
            text = "[\n" + ",\n".join(map(_line, value)) + "\n]" if value else "[]"
        elif name == "questions":
            text = "{\n" + ",\n".join(f"{_line(key)}: {_line(one)}" for key, one in value.items()) + "\n}"
        else:
            text = _line(value)
        parts.append(f"{json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}"


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@lru_cache(maxsize=1)
def shipped() -> Report | None:
    """The run that ships with the app; None where there is none that can be read."""
    try:
        return read(SHIPPED.read_bytes())
    except (OSError, McoreError):
        return None


def told(finding: Finding, found: Outcome, missed: Mapping[str, str], seconds: float) -> Told:
    """A finding's entry. Raises ``McoreError`` where too few seeds are there for an effect."""
    for one in found.effects:
        if one.interval is None:
            raise McoreError(f"{finding.id}: fewer than two seeds are there for “{one.says}”; ask again for what is missing.")
    return Told(
        verdict=found.verdict,
        effects=tuple(map(_told_effect, found.effects)),
        rows=tuple(ToldRow(panel=row.panel, x=row.x if isinstance(row.x, str) else _rounded(row.x), seed=row.seed, value=_rounded(row.value),
                           question=row.question) for row in found.rows),
        questions=dict(finding.study.questions),
        missed={name: sentence for name, sentence in missed.items() if name in finding.study.questions},
        seconds=round(seconds, 1),
    )  # fmt: skip


def _told_effect(one: Effect) -> ToldEffect:
    mean, low, high = (_rounded(number) for number in (one.interval.mean, one.interval.low, one.interval.high))
    return ToldEffect(
        says=one.says, unit=one.unit, percent=one.percent, mean=mean, low=min(low, mean), high=max(high, mean), n=one.interval.n,
        verdict=verdict(min(low, mean), max(high, mean)),
    )  # fmt: skip


def report(findings: Mapping[str, Told], load: float | None, kept: int) -> Report:
    """Of a run that has just ended here."""
    return Report(
        version=1, date=datetime.now(UTC).date().isoformat(), machine=Machine(cores=_cores(), processor=_processor(), load=load),
        versions={"python": platform.python_version(), **{name: version(name) for name in VERSIONS}},
        seconds=round(sum(one.seconds for one in findings.values()), 1), kept=kept, findings=dict(findings),
    )  # fmt: skip


def _rounded(value: float) -> float:
    """To so many significant digits; more say nothing and make two runs differ."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else value


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """The name that the processor gives itself; of the machine nothing else is told."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())[:200]
    except OSError:
        pass
    return (platform.processor() or platform.machine())[:200]
