"""Other paths between the same two models: the questions in the store whose ends and first rows are those of this one."""

from __future__ import annotations

from collections.abc import Callable

from mcore.errors import McoreError, QuestionError
from mcore.question import Endpoint, Experiment, Recipe, Task, parse
from mcore.resolve import resolve
from mcore.resolved import Resolved
from mcore.store import Store

MOST_RESOLVED = 40  # questions that are looked at closely, the last used first
MOST = 8  # paths on one chart


def siblings(
    resolved: Resolved, store: Store, may_see: Callable[[str], bool] = lambda key: True, resolver: Callable[[Experiment], Resolved] = resolve,
    leave_out: Callable[[Experiment], bool] = lambda question: False,
) -> list[Experiment]:  # fmt: skip
    """One question for each other path of the pair, that with the most points; the last used first.

    ``may_see``: which keys may be listed; ``leave_out``: which questions are not asked for.
    """
    keys = [entry.key for entry in store.entries("experiment") if entry.key != resolved.fingerprint and may_see(entry.key)]
    stored, found, looked = store.get_many(keys, touch=False), {}, 0
    for key in keys:
        question = _read(stored.get(key))
        if question is None or leave_out(question) or not _alike(question, resolved.experiment) or looked >= MOST_RESOLVED:
            continue
        looked += 1
        try:
            other = resolver(question)
        except (QuestionError, McoreError):  # a file that it names is gone
            continue
        before = found.get(other.route.fingerprint)
        if same_pair(resolved, other) and (before is None or len(question.ts()) > len(before.ts())):
            found[other.route.fingerprint] = question
    return list(found.values())[:MOST]


def same_pair(one: Resolved, other: Resolved) -> bool:
    """Whether both read the same rows of the same two models in one way, on different paths."""

    def read(of: Resolved) -> tuple:
        return of.a.fingerprint, of.b.fingerprint, of.tasks[0].identity, of.heads[0], of.kind, of.experiment.precision, of.experiment.labels

    return read(one) == read(other) and one.route.fingerprint != other.route.fingerprint


def _read(data: bytes | None) -> Experiment | None:
    try:
        return parse(data) if data is not None else None
    except QuestionError:
        return None


def _alike(question: Experiment, known: Experiment) -> bool:
    """Whether it may be the same pair, by names alone: cheap, because most questions are not."""
    pairs = ((question.a, known.a), (question.b, known.b))
    return all(_name(end) == _name(other) for end, other in pairs) and _name(question.tasks[0]) == _name(known.tasks[0])


def _name(of: Endpoint | Task) -> tuple:
    """An address without its revision; of a recipe what its author always writes or what has one default."""
    if isinstance(of, Recipe):
        return (_name(of.base), _name(of.task), of.steps, of.head_seed, of.data_seed, of.learning_rate)
    address = of.task if isinstance(of, Task) else of
    return (address.partition("@")[0] if address.startswith("hub:") else address,)
