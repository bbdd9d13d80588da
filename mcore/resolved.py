"""What a question has come to: ends, tasks and recipes with every name resolved, as frozen values. ``mcore.resolve`` makes them."""

from __future__ import annotations

from dataclasses import dataclass, field

from mcore.evaluation import fitted
from mcore.layers.representation import Representation
from mcore.models.checkpoints import Checkpoint
from mcore.models.methods import Structure, structure_of
from mcore.paths.route import Route
from mcore.question import Experiment, PathSpec, Recipe, Task, fingerprint
from mcore.tasks import reading
from mcore.tasks.reading import Kind, Read
from mcore.tasks.rows import Rows

EVALUATION_VERSION = 1  # of what responses mean: a change that changes them raises it


@dataclass(frozen=True)
class ResolvedTask:
    """A task with its rows; ``max_length`` in tokens, as it is used; ``read``: what is asked of the model (``mcore.tasks.reading``).

    ``fitting``: the training rows that a fitted head is fitted on, at each t.
    """

    task: Task
    rows: Rows
    max_length: int
    read: Read = "head"
    fitting: Rows | None = None

    @property
    def identity(self) -> dict:
        told = {"rows": self.rows.digest, "max_length": self.max_length}
        if self.fitting is not None:
            told |= {"fitting": self.fitting.digest, "fitted": fitted.FITTED_VERSION}
        return told if self.read == "head" else told | {"read": self.read, "normalised": bool(self.task.normalised)}

    @property
    def computed(self) -> int:
        """The texts that the model runs on at each t: once for every row, or with every answer."""
        if self.read == "answers":
            return self.rows.answered
        return len(self.rows) + (len(self.fitting) if self.fitting is not None else 0)


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe with its base looked at and its training rows chosen. ``fingerprint`` is that of the model to be.

    ``schedule`` is the fingerprint of the same training without a stop on its way: both pass through the same states.
    ``first`` is what a continued training goes on from. ``kind``: of the model to be.
    """

    recipe: Recipe
    base: Checkpoint
    training: ResolvedTask
    validation: ResolvedTask | None
    fingerprint: str
    schedule: str
    first: ResolvedRecipe | None
    kind: Kind = "classifier"

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Of its outputs; None where it has none, being a language model."""
        return self.training.rows.names if self.kind == "classifier" else None

    @property
    def delta(self) -> Structure | None:
        """What its method leaves in the base; None where everything is tuned."""
        return structure_of(self.recipe, self.base.config)


@dataclass(frozen=True)
class Endpoint:
    """One end of a path: a checkpoint that is there, or a recipe for one. ``looked_at`` is it, or its base."""

    side: str
    source: Checkpoint | ResolvedRecipe
    labels: tuple[str, ...] | None  # of its outputs, a person's words for them first; None: no head

    @property
    def recipe(self) -> ResolvedRecipe | None:
        return self.source if isinstance(self.source, ResolvedRecipe) else None

    @property
    def looked_at(self) -> Checkpoint:
        return self.source.base if isinstance(self.source, ResolvedRecipe) else self.source

    @property
    def heads(self) -> frozenset[Kind]:
        if self.recipe is not None:
            return frozenset({self.recipe.kind})
        return frozenset({"classifier"}) if self.labels is not None else reading.language_heads(self.looked_at.config)

    @property
    def fingerprint(self) -> str:
        """Stands for the weights."""
        return self.source.fingerprint if isinstance(self.source, ResolvedRecipe) else self.source.digest

    @property
    def delta(self) -> Structure | None:
        """What its tuning method has left in a base; None for a model that is whole."""
        return self.source.delta


@dataclass(frozen=True)
class Resolved:
    """The experiment with every default and name written out, and what its names stand for."""

    experiment: Experiment
    a: Endpoint
    b: Endpoint
    tasks: list[ResolvedTask]
    heads: list[str]  # per task: "both", "a" or "b" gives the output layer, or it is "fitted"
    fingerprint: str
    notices: list[str]
    kind: Kind = "classifier"  # of the live model
    route: Route = field(default_factory=lambda: Route(PathSpec()))
    structure: Structure | None = None  # what stands in the live model beside the weights that transformers knows
    representation: Representation | None = None  # of the probes that look at hidden states; None where none is asked for

    def endpoint(self, side: str) -> Endpoint:
        return self.a if side == "a" else self.b

    def stands_for(self, end: Endpoint) -> str:
        """The weights of an end as they are computed with: LoRA that is merged rounds otherwise than LoRA that stands beside its matrices."""
        lora = end.delta is not None and end.delta.kind == "mergeable"
        return fingerprint({"merged": end.fingerprint}) if lora and self.route.spec.lora == "merged" else end.fingerprint
