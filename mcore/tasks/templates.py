"""Prompt templates that ship with the app: how a language model is asked for the label of a known data set.

``builtin/templates.json`` declares them as plain data: the columns and labels of a set, and for each kind of model a
template over these columns and one answer for each label, in the set's own order. ``t5`` holds the prefixes that T5 was
trained with; a person chooses it, and ``seq2seq`` is for models that follow an instruction. In the template of a masked
model ``{mask}`` stands for the answer. Answers may name columns too: then each row has its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache

from mcore.errors import QuestionError
from mcore.models.checkpoints import BUILTIN
from mcore.question import Task

KINDS = ("causal", "masked", "seq2seq", "t5")
ONLY_CONFIG = ("default", "plain_text")  # what a data set's one configuration is called


@dataclass(frozen=True)
class Template:
    """``answers``: one for each label, or the name of a column of lists, with the ``label`` column of the right ones.

    ``normalised``: an answer's log-likelihood is divided by its tokens; None: it is not.
    """

    template: str
    answers: tuple[str, ...]
    normalised: bool | None = None
    label: str | None = None


@dataclass(frozen=True)
class Declared:
    """What is declared of one data set. ``labels``: none where each row has its own choices. ``templates``: kind -> template."""

    task: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    templates: dict[str, Template]


def shipped() -> tuple[Declared, ...]:
    """Every data set that templates ship for, in the order in which a person would look for them."""
    return tuple(_declared().values())


def declared(task: str) -> Declared | None:
    """What is declared of the data at this address, whatever its revision."""
    name = task.partition("@")[0]
    if name.rpartition("/")[2] in ONLY_CONFIG:
        name = name.rpartition("/")[0]
    return _declared().get(name)


def template_for(task: str, kind: str) -> Template | None:
    """The template for a kind of model ("causal", "masked", "seq2seq" or, by choice, "t5"); None where none ships."""
    found = declared(task)
    return found.templates.get(kind) if found else None


def check_labels(task: Task, names: tuple[str, ...], field: str) -> None:
    """Raise a ``QuestionError`` where the answers that ship would stand for other labels than the data have."""
    found = declared(task.task)
    if found is None or not found.labels or task.template not in {one.template for one in found.templates.values()}:
        return
    if names not in (found.labels, tuple(map(str, range(len(found.labels))))):  # their numbers, where the data give no names
        told = f"the template that ships is for the labels {', '.join(found.labels)}, and these are {', '.join(names[:6])}"
        raise QuestionError(f"{field}.template", told, "write a template and answers")


@lru_cache(maxsize=1)
def _declared() -> dict[str, Declared]:
    told = json.loads((BUILTIN / "templates.json").read_text())
    return {
        task: Declared(
            task,
            tuple(fields["columns"]),
            tuple(fields["labels"]),
            {kind: Template(one["template"], tuple(one["answers"]), one.get("normalised"), fields.get("label")) for kind, one in fields.items() if kind in KINDS},
        )
        for task, fields in told.items()
    }
