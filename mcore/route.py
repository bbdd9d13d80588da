"""The way from A to B of a resolved question: its kind with every default written out, and the things that it is made of.

A line needs nothing more. A task-vector path has a base; a curve or a mix has rows that it is fitted on, which are never
those that are evaluated. ``fingerprint`` stands for the weights at every t.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcore import tasks
from mcore.checkpoints import Checkpoint
from mcore.errors import QuestionError
from mcore.joinable import check_joinable
from mcore.question import FITTED, PathSpec, Task, fingerprint
from mcore.sources import look
from mcore.tasks import Rows

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
    """``base``: of a task-vector path. ``fitting``: rows of the first task's labels, at most ``max_length`` tokens long. Empty fingerprint: a straight line."""

    spec: PathSpec
    fingerprint: str = ""
    base: Checkpoint | None = None
    fitting: Rows | None = None
    max_length: int = 0

    @property
    def whole(self) -> bool:
        """Whether it leads all of A to all of B."""
        return self.spec.kind != "partial"


def route(spec: PathSpec, ends: tuple[Checkpoint, Checkpoint], weights: tuple[str, str], first: Task, rows: Rows, max_length: int, read: str) -> Route:
    """The path between ``ends`` (or their bases), whose ``weights`` have these fingerprints. Raises ``QuestionError`` below "path".

    ``first``, ``rows``, ``max_length`` and ``read`` are those of the first task, which a fit takes its labels from.
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
        if read != "head":
            raise QuestionError("path.kind", f"a {spec.kind} is fitted through a classification head, and the first task is read by its {read}", "choose a straight path")
        named, fitting = _fitting(spec, first, rows)
        spec = spec.model_copy(update={"task": named})
    plain = {**spec.model_dump(mode="json"), "extend": None, "task": None, "base": None}
    if spec.kind == "linear" and spec.align == "none":
        return Route(spec)
    identity = {
        "path": plain, "weights": weights, "base": base.digest if base else None, "fitting": fitting.digest if fitting else None,
        "max_length": max_length if fitting else None, "version": ROUTE_VERSION,
    }  # fmt: skip
    return Route(spec, fingerprint(identity), base, fitting, max_length)


def _fitting(spec: PathSpec, first: Task, evaluated: Rows) -> tuple[Task, Rows]:
    """The task that is fitted on, and its rows."""
    asked = spec.task or first.model_copy(update={"split": None, "limit": None})
    named, rows = tasks.open_task(asked, "path.task", "train")
    if rows.kind != "classes" or set(rows.names) != set(evaluated.names):
        raise QuestionError("path.task", "its labels are not those of the first task", "fit the path on the task that is evaluated first")
    rows = tasks.part(rows, spec.rows, "path.rows")
    if shared := len(set(rows.texts) & set(evaluated.texts)):
        raise QuestionError(
            "path.task", f"{shared:,} of its {len(rows):,} rows are evaluated too, so the path would be fitted to what it is judged by",
            "fit on the training split and evaluate on validation",
        )  # fmt: skip
    return named, rows
