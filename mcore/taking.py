"""What a person asks for who takes the model at t away: the point, the numbers' type, and where it goes; and what is known of it.

No torch: the page asks through this, and the worker and the command line carry it out (``export``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from mcore import plan
from mcore.errors import QuestionError
from mcore.evaluation.measures import Measured, measured
from mcore.hub import repositories as hub
from mcore.models.added import tuned
from mcore.paths.best import Best, best
from mcore.question import fingerprint
from mcore.resolved import Resolved
from mcore.store import Store

Dtype = Literal["float32", "float16", "bfloat16"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
BYTES: dict[Dtype, int] = {"float32": 4, "float16": 2, "bfloat16": 2}  # of a number
KIND = "exported"  # in the store
EXPORT_VERSION = 1  # of what is written: a change of the folder's content raises it


@dataclass(frozen=True)
class Take:
    """``push``: ORG/NAME on the Hub, a new repository (``private`` or public) or a pull request on one that is there."""

    t: float
    dtype: Dtype = "float32"
    push: str | None = None
    pull_request: bool = False
    private: bool = True


def check(resolved: Resolved, take: Take) -> None:
    """Raises ``QuestionError`` where there is no such model on the path, or no such name on the Hub."""
    beyond = resolved.route.spec.extend or 0.0
    if not -beyond <= take.t <= 1 + beyond:
        right = f"give a number from {-beyond if beyond else 0:g} to {1 + beyond:g}"
        raise QuestionError("t", f"{take.t:g} is not on this path", right if beyond else f"{right}, or extend the path beyond its ends")
    if take.dtype not in DTYPES:
        raise QuestionError("dtype", f"{take.dtype!r} is none that can be saved", f"give one of: {', '.join(DTYPES)}")
    if resolved.structure and resolved.structure.kind == "injected":
        bases = [end.source.base for end in (resolved.a, resolved.b)]
        if bases[0].digest != bases[1].digest:
            wrong = f"A and B have {resolved.structure} on two bases, and only what stands beside one and the same base can be saved"
            raise QuestionError("t", wrong, "take the model at an end, by its recipe")
        if take.push is not None and bases[0].address.startswith("local:"):
            raise QuestionError("push", "its base is a folder of this machine, which nobody else could put beside it", "save it in a folder")
    if take.push is not None and not hub.NAME.fullmatch(take.push):
        raise QuestionError("push", f"{take.push[:100]!r} is no repository", "write ORG/NAME")


def key(resolved: Resolved, take: Take) -> str:
    """Where the folder is kept."""
    return fingerprint({"exported": resolved.fingerprint, "t": float(take.t), "dtype": take.dtype, "version": EXPORT_VERSION})


def job_key(resolved: Resolved, take: Take, visitor: str) -> str:
    """Stands for the work: a folder is everybody's who asks the same, what goes to the Hub is one visitor's alone."""
    if take.push is None:
        return key(resolved, take)
    return fingerprint({"pushed": key(resolved, take), "to": take.push, "pull request": take.pull_request, "private": take.private, "visitor": visitor})


def measured_at(resolved: Resolved, task: int, ts: list[float], store: Store) -> dict[float, Measured]:
    """t -> what the store's responses to task number ``task`` come to there, for those that it has."""
    if (orders := plan.orders(resolved, task, store)) is None:
        return {}
    keys = {t: plan.key(resolved, plan.Point(task, t), orders) for t in ts}
    stored = store.get_many(keys.values())
    return {t: measured(resolved.tasks[task], plan.unpack(stored[key])) for t, key in keys.items() if key in stored}


def best_of(resolved: Resolved, store: Store, task: int = 0) -> Best:
    """The best of the points that are there. Raises ``McoreError`` where there are none, or too few rows."""
    return best(measured_at(resolved, task, resolved.experiment.ts(), store), resolved.tasks[task].rows.ids.tolist())


def size(resolved: Resolved, take: Take) -> int:
    """About how many bytes its weights will take."""
    if resolved.structure and resolved.structure.kind == "injected":
        return (tuned(resolved.structure, resolved.a.source.base, len(resolved.a.labels or ()) or None) or 0) * BYTES[take.dtype]
    return max(end.looked_at.parameters for end in (resolved.a, resolved.b)) * BYTES[take.dtype]
