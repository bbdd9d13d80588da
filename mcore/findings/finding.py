"""What a finding is: a claim, the questions that test it, what is read from each answer, and the effect over seeds with its verdict.

The rule for all: an effect is what the claim says is above 0, a number for each seed, with Student's 95 % interval over the
seeds (``mcore.evaluation.intervals``). It is *shown* if the whole interval lies above 0, *opposite* if all of it lies below, else *not
shown*. A finding of several parts is shown if each of them is, opposite if none is shown and one is opposite, else not shown.
Pure functions of answers; no store, no model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from mcore.evaluation.intervals import FEWEST, Interval, student
from mcore.question import Experiment
from mcore.studies.study import Study
from mcore.tuning.cartography import Cartography

Verdict = Literal["shown", "not shown", "opposite"]
Place = tuple[str, str | float]  # a panel of the figure and where on its axis: a group's name, or a number
Values = Mapping[Place, float]
RULE = (
    "Shown: the whole 95 % interval of the effect over seeds lies on the side that the claim says. Opposite: all of it lies on the "
    "other side. Else not shown. A claim of several parts is shown if each of them is."
)


@dataclass(frozen=True)
class Asked:
    """One question of a finding. ``seed`` counts its repetitions from 1: what is drawn anew; ``group``: what is varied."""

    name: str
    seed: int
    group: str
    question: Experiment


@dataclass(frozen=True)
class Panel:
    """A part of the figure. ``name``: as in ``Place``; ``title``: what is measured, with its unit.

    ``groups`` stand on the axis in this order, ``strong`` of them are those that the claim puts above the others; without
    groups the axis is a number (t) and each seed is a line. ``percent``: the values are fractions.
    """

    name: str
    title: str
    groups: tuple[str, ...] = ()
    strong: tuple[str, ...] = ()
    percent: bool = False
    bound: float | None = None  # a value with a meaning of its own, which the figure marks
    bound_name: str = ""


@dataclass(frozen=True)
class Part:
    """One effect of a claim. ``of``: the values of one seed -> the effect there, positive as claimed; None where it has none.

    It is not called for a seed of which a value is missing that it asks for (``KeyError``).
    """

    says: str
    unit: str
    of: Callable[[Values], float | None]
    percent: bool = False


@dataclass(frozen=True)
class Finding:
    """``id``: F1 to F7. ``claim`` in a sentence, ``short`` in a few words; ``tested``, ``sizes``, ``tried``: paragraphs.

    ``sizes`` says why the sizes were chosen, ``tried`` what was tried before that. ``read``: the values that one answer gives.
    """

    id: str
    short: str
    claim: str
    tested: str
    sizes: str
    tried: str
    asked: tuple[Asked, ...]
    panels: tuple[Panel, ...]
    parts: tuple[Part, ...]
    read: Callable[[Asked, Answer], Values]
    by_row: bool = False  # it needs what each row was in training, not only the result

    @cached_property
    def study(self) -> Study:
        return Study({one.name: one.question for one in self.asked})

    @property
    def seeds(self) -> int:
        return len({one.seed for one in self.asked})


@dataclass(frozen=True)
class Along:
    """Rows of a question's first task at every t: ``right`` is bool ``[rows, ts]``.

    Where A's training followed rows they are those alone, and ``cartography`` has them in this order; else all, and it is None.
    """

    t: Sequence[float]
    right: np.ndarray
    cartography: Cartography | None


@dataclass(frozen=True)
class Answer:
    """``result``: the document of ``mcore.result``; ``along``: of a finding that goes by rows."""

    result: Mapping
    along: Along | None = None


@dataclass(frozen=True)
class Row:
    """A value in the figure: of which panel, where on its axis, of which seed, and from which question."""

    panel: str
    x: str | float
    seed: int
    value: float
    question: str


@dataclass(frozen=True)
class Effect:
    """``interval`` is None as long as fewer than two seeds are there."""

    says: str
    unit: str
    percent: bool
    interval: Interval | None

    @property
    def verdict(self) -> Verdict | None:
        return None if self.interval is None else verdict(self.interval.low, self.interval.high)


@dataclass(frozen=True)
class Outcome:
    """What the answers come to. ``answered`` of ``of`` questions are there."""

    effects: tuple[Effect, ...]
    rows: tuple[Row, ...]
    answered: int
    of: int

    @property
    def verdict(self) -> Verdict | None:
        """None as long as an effect has none."""
        return together([one.verdict for one in self.effects])


def verdict(low: float, high: float) -> Verdict:
    """Of an effect with this interval."""
    return "shown" if low > 0 else "opposite" if high < 0 else "not shown"


def together(parts: Sequence[Verdict | None]) -> Verdict | None:
    """Of a claim with these parts; None where one of them has none yet."""
    if not parts or None in parts:
        return None
    if all(one == "shown" for one in parts):
        return "shown"
    return "opposite" if "opposite" in parts and "shown" not in parts else "not shown"


def outcome(finding: Finding, answers: Mapping[str, Answer]) -> Outcome:
    """The effects over those seeds whose answers are there. ``answers``: by the names in ``finding.asked``."""
    rows = []
    by_seed: dict[int, dict[Place, float]] = {}
    for one in finding.asked:
        if one.name not in answers:
            continue
        for place, value in finding.read(one, answers[one.name]).items():
            by_seed.setdefault(one.seed, {})[place] = value
            rows.append(Row(*place, one.seed, value, one.name))
    effects = tuple(_effect(part, by_seed) for part in finding.parts)
    return Outcome(effects, tuple(rows), sum(one.name in answers for one in finding.asked), len(finding.asked))


def _effect(part: Part, by_seed: Mapping[int, Values]) -> Effect:
    found = []
    for values in by_seed.values():
        try:
            one = part.of(values)
        except KeyError:  # of this seed an answer is missing
            continue
        if one is not None:
            found.append(one)
    return Effect(part.says, part.unit, part.percent, student(found) if len(found) >= FEWEST else None)
