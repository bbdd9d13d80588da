"""What the findings' designs share: recipes that differ in what is asked of them alone, questions, and what is read from an answer.

Equal recipes are equal here to the last field, so that a model which two findings need is trained once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mcore.findings.finding import Answer
from mcore.question import Experiment, parse

FAMILY, LAST = "builtin:austen", 7000  # the base and the last step of its pre-training
TASK = "speech"
TRAINING = {"steps": 100, "batch_size": 32, "learning_rate": 1e-3, "cartography": 0}
ANOTHER = 100  # what is added to a seed for the other end, where only that seed differs
ROWS, POINTS = 512, 9


def recipe(seed: int, task: str | Mapping = TASK, step: int = LAST, **changes: Any) -> dict:
    """A recipe as JSON: ``seed`` is that of the head and of the data order, ``changes`` what else it says."""
    named = {"base": f"{FAMILY}@{step}", "task": {"task": f"builtin:{task}"} if isinstance(task, str) else dict(task)}
    return {**named, **TRAINING, "head_seed": seed, "data_seed": seed, **changes}


def question(a: Mapping, b: Mapping, tasks: Sequence[str | Mapping] = (TASK,), points: int = POINTS, **rest: Any) -> Experiment:
    """Loss and accuracy from A to B, on ``ROWS`` validation rows of each task unless it says otherwise."""
    evaluated = [{"task": f"builtin:{one}", "limit": ROWS} if isinstance(one, str) else dict(one) for one in tasks]
    return parse({"version": 1, "a": dict(a), "b": dict(b), "tasks": evaluated, "points": points, "probes": ["loss", "accuracy"], **rest})


def barrier(answer: Answer, task: int = 0) -> float:
    """The highest rise of the loss above the chord, nats."""
    return answer.result["tasks"][task]["barrier"]["loss_chord"]["value"]
