"""Connectivity along pre-training: from each of some steps pairs of models are tuned, and the line between them is evaluated.

A ``Sweep`` is the question: which bases (``mcore.studies.history``), one task or two, how many seeds. For each step every two seeds of
the first task are a pair, whose barrier is measured; with a second task, so are the two models of each seed, A tuned on the
first task and B on the second, of which it is measured how well both tasks are kept on the way. A seed is that of the head
and of the data order. ``study`` asks all of it as one job; the numbers are in ``mcore.alongside``. No torch, no Streamlit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any, Literal

from mcore.errors import QuestionError
from mcore.question import Experiment, parse
from mcore.studies.study import Study

Kind = Literal["seeds", "tasks"]
MOST_SEEDS, MOST_CHOSEN = 8, 24  # of one sweep
TRAINING = {"steps": 100, "batch_size": 32, "learning_rate": 1e-3, "cartography": 0}  # what a recipe has unless a sweep says otherwise


@dataclass(frozen=True)
class Asked:
    """One question of a sweep. ``kind``: the pair differs in its seeds, or in its tasks; ``seeds``: of A and of B."""

    name: str
    kind: Kind
    step: int
    seeds: tuple[int, int]
    question: Experiment


@dataclass(frozen=True)
class Sweep:
    """``bases``: pre-training step -> address of the model there; ``task``, ``other``: as in a question's JSON.

    ``training``: fields of the recipes other than base, task and seeds. ``limit``: rows of each task that are evaluated,
    at ``points`` evenly spaced t. Raises ``QuestionError`` where it is no sweep.
    """

    bases: Mapping[int, str]
    task: Mapping[str, Any]
    other: Mapping[str, Any] | None = None
    seeds: tuple[int, ...] = (1, 2, 3, 4)
    training: Mapping[str, Any] = field(default_factory=dict)
    limit: int = 512
    points: int = 9

    def __post_init__(self) -> None:
        if not 1 <= len(self.bases) <= MOST_CHOSEN:
            raise QuestionError("steps", f"{len(self.bases)} steps are chosen", f"choose from 1 to {MOST_CHOSEN}")
        if not 2 <= len(set(self.seeds)) == len(self.seeds) <= MOST_SEEDS:
            raise QuestionError("seeds", f"{len(self.seeds)} seeds make no pairs", f"give from 2 to {MOST_SEEDS} different ones")
        if self.other is not None and dict(self.other) == dict(self.task):
            raise QuestionError("other", "both tasks are the same", "choose another second task, or none")
        if not isinstance(self.points, int) or self.points < 3:
            raise QuestionError("points", f"{self.points} points have none between the ends", "give 3 or more")

    @cached_property
    def asked(self) -> list[Asked]:
        """The questions, step after step, so that a chart grows from the left."""
        told = []
        for step in sorted(self.bases):
            told += [self._between_seeds(step, one, another) for one, another in combinations(self.seeds, 2)]
            told += [self._between_tasks(step, seed) for seed in self.seeds] if self.other is not None else []
        return told

    @property
    def study(self) -> Study:
        """All of it as one job, by the names in ``asked``."""
        return Study({one.name: one.question for one in self.asked})

    def _between_seeds(self, step: int, one: int, another: int) -> Asked:
        name = f"step {step:,}, seeds {one} and {another}"
        question = self._question(step, (self.task, one), (self.task, another), [self.task])
        return Asked(name, "seeds", step, (one, another), question)

    def _between_tasks(self, step: int, seed: int) -> Asked:
        question = self._question(step, (self.task, seed), (self.other, seed), [self.task, self.other])
        return Asked(f"step {step:,}, two tasks, seed {seed}", "tasks", step, (seed, seed), question)

    def _question(self, step: int, a: tuple[Mapping, int], b: tuple[Mapping, int], tasks: list[Mapping]) -> Experiment:
        ends = [
            {**TRAINING, **self.training, "base": self.bases[step], "task": dict(task), "head_seed": seed, "data_seed": seed} for task, seed in (a, b)
        ]
        evaluated = [{"limit": self.limit, **task} for task in tasks]
        return parse({"version": 1, "a": ends[0], "b": ends[1], "tasks": evaluated, "points": self.points})
