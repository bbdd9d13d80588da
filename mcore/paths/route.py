"""The way from A to B of a resolved question: its kind with every default written out, and the things that it is made of.

A line needs nothing more. A task-vector path has a base; a curve or a mix has rows that it is fitted on, which are never
those that are evaluated. ``fingerprint`` stands for the weights at every t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mcore.errors import QuestionError
from mcore.models.checkpoints import Checkpoint
from mcore.models.joinable import check_joinable
from mcore.paths.units import ARCHITECTURES
from mcore.question import FITTED, PathSpec, Task, fingerprint
from mcore.sources import look
from mcore.tasks import reading
from mcore.tasks import rows as tasks
from mcore.tasks.reading import Kind
from mcore.tasks.rows import Rows

ALIGNMENT_VERSION = 2  # of what a permuted B is
ALIGNED_ON = 128  # rows that activations are compared on, at the most
ROUTE_VERSION = 1  # of what a path means: a change in how one is fitted or aligned raises it
TRAINED = {"steps": 200, "batch_size": 32, "seed": 0, "rows": "all"}
DEFAULTS = {  # of what a path's author leaves out, by kind
    "bezier": {"bends": 1, "learning_rate": 5e-4, "weight_decay": 0.0, "train": "all", **TRAINED},
    "chain": {"bends": 1, "learning_rate": 5e-4, "weight_decay": 0.0, "train": "all", **TRAINED},
    "mix": {"per": "layer", "learning_rate": 0.05, **TRAINED},
    "partial": {"rest": "a"},
    "task-vector": {"scale": 1.0},
}


@dataclass(frozen=True)
class Route:
    """``base``: of a task-vector path. ``fitting``: rows of the first task's labels, at most ``max_length`` tokens long. Empty fingerprint: a straight line.

    ``sample``: rows of the first task's training split whose activations are compared, and ``aligned`` where the store keeps the permuted B.
    """

    spec: PathSpec
    fingerprint: str = ""
    base: Checkpoint | None = None
    fitting: Rows | None = None
    max_length: int = 0
    sample: Rows | None = None
    aligned: str = ""

    @property
    def whole(self) -> bool:
        """Whether it leads all of A to all of B."""
        return self.spec.kind != "partial"

    def meets_an_end(self, t: float) -> bool:
        """Whether the weights at t are all of A, or all of B, as these were read: a partial path has one end in common with all others."""
        if self.whole:
            return t in (0.0, 1.0)
        return t == 0.0 if self.spec.rest != "b" else t == 1.0 and not self.aligned


def route(
    spec: PathSpec, ends: tuple[Checkpoint, Checkpoint], weights: tuple[str, str], first: Task, evaluated: Sequence[Rows],
    max_length: int, read: str, outputs: dict, heads: frozenset[str], kind: Kind,
) -> Route:  # fmt: skip
    """The path between ``ends`` (or their bases), whose ``weights`` have these fingerprints. Raises ``QuestionError`` below "path".

    ``first``, ``max_length`` and ``read`` are those of the first task, which a fit takes its labels from; ``evaluated``: the rows
    of all tasks; ``outputs``: what says which output means which label; ``kind``: of the live model.
    """
    left_out = {name: value for name, value in DEFAULTS.get(spec.kind, {}).items() if getattr(spec, name) is None}
    spec = spec.model_copy(update=left_out)
    base = None
    if spec.base:
        base = look(spec.base, "path.base")
        check_joinable(ends[0], base, "path.base")
        spec = spec.model_copy(update={"base": base.address})
    fitting = None
    if spec.kind in FITTED:
        if read not in ("head", "answers"):
            wrong = f"a {spec.kind} is fitted through a classification head or on answers, and the first task is read by its {read}"
            raise QuestionError("path.kind", wrong, "choose a straight path")
        named, fitting = _fitting(spec, first, evaluated, read)
        if read == "answers":
            reading.check_answers(named, fitting, kind, "path.task")
        spec = spec.model_copy(update={"task": named})
    sample, aligned = _aligned(spec, ends, weights, first, max_length, heads) if spec.align != "none" else (None, "")
    plain = {**spec.model_dump(mode="json"), "extend": None, "task": None, "base": None}
    if spec.kind == "linear" and spec.align == "none" and spec.lora != "merged":
        return Route(spec)
    identity = {
        "path": plain, "weights": weights, "base": base.digest if base else None, "fitting": fitting.digest if fitting else None,
        "max_length": max_length if fitting else None, "version": ROUTE_VERSION,
    }  # fmt: skip
    if fitting:
        identity |= {"outputs": outputs, **({"read": read} if read != "head" else {})}
    if aligned:
        identity["aligned"] = aligned
    return Route(spec, fingerprint(identity), base, fitting, max_length, sample, aligned)


def _aligned(
    spec: PathSpec, ends: tuple[Checkpoint, Checkpoint], weights: tuple[str, str], first: Task, max_length: int, heads: frozenset[str]
) -> tuple[Rows | None, str]:
    """The rows that B is aligned by, and the key of what it becomes, which depends on which heads its path is read with."""
    kind = ends[1].config.get("model_type")
    if kind not in ARCHITECTURES:
        raise QuestionError("path.align", f"which hidden units of a {kind} model may change places is not described", f"align one of: {', '.join(ARCHITECTURES)}")
    sample = None
    if spec.align == "activations":  # their labels are not looked at
        split = "train" if first.split and tasks.has_rows(first, "train", "path.align") else None  # of one file: its rows, else those of its training part
        _, sample = tasks.open_task(first.model_copy(update={"split": split, "limit": ALIGNED_ON, "sample_seed": 0}), "path.align", "train")
    identity = {
        "aligned": weights, "method": spec.align, "both heads": heads == {"both"}, "sample": sample.digest if sample else None,
        "max_length": max_length if sample else None, "version": ALIGNMENT_VERSION,
    }  # fmt: skip
    return sample, fingerprint(identity)


def _fitting(spec: PathSpec, first: Task, evaluated: Sequence[Rows], read: str) -> tuple[Task, Rows]:
    """The task that is fitted on, and its rows: none that any task evaluates. It is asked as the first one is, where it does not say how."""
    asked = spec.task or first.model_copy(update={"split": first.split and "train", "limit": None})
    if read == "answers":
        told = {name: getattr(first, name) for name in ("template", "answers", "normalised") if getattr(asked, name) is None}
        asked = asked.model_copy(update={"read": "answers", **told})
    named, rows = tasks.open_task(asked, "path.task", "train")
    own = isinstance(rows.answers, list) and isinstance(evaluated[0].answers, list)  # a label is a place among answers of one row
    if rows.kind != "classes" or not (own or set(rows.names) == set(evaluated[0].names)):
        raise QuestionError("path.task", "its labels are not those of the first task", "fit the path on the task that is evaluated first")
    rows = tasks.part(rows, spec.rows, "path.rows")
    if shared := len(set(rows.texts) & {text for task in evaluated for text in task.texts}):
        raise QuestionError(
            "path.task", f"{shared:,} of its {len(rows):,} rows are evaluated too, so the path would be fitted to what it is judged by",
            "fit on the training split and evaluate on validation",
        )  # fmt: skip
    return named, rows
