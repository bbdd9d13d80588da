"""What the store holds of a finding's questions, as its ``read`` wants it. No model, no torch."""

from __future__ import annotations

from collections.abc import Mapping

from mcore.errors import McoreError
from mcore.findings.finding import Along, Answer, Asked, Finding
from mcore.knowledge import grid as grids
from mcore.question import canonical
from mcore.resolve import resolve
from mcore.resolved import Resolved
from mcore.result import collect
from mcore.store import Store
from mcore.studies.study import Study
from mcore.tuning.followed import Joined, join


def answers(finding: Finding, store: Store) -> dict[str, Answer]:
    """Of the questions whose answer is whole, by name."""
    found = {}
    for one in finding.asked:
        try:
            resolved = resolve(one.question)
        except McoreError:  # it was told of when it was asked
            continue
        result = collect(resolved, store)
        if result["complete"]:
            found[one.name] = Answer(result, along(resolved, store) if finding.by_row else None)
    return found


def along(resolved: Resolved, store: Store) -> Along | None:
    """The rows of the first task at every t; of those that A's training followed alone, where it followed some."""
    grid = grids.read(resolved, 0, store)
    if grid is None:
        return None
    joined = join(resolved.a, resolved.tasks[0], store)
    right = grid.right.T
    if isinstance(joined, Joined):
        return Along(grid.ts, right[joined.places], joined.cartography)
    return Along(grid.ts, right, None)


def together(findings: Mapping[str, Finding]) -> tuple[Study, dict[str, list[tuple[str, Asked]]]]:
    """One study of all that these findings ask, each question once however many ask it; and for each of its names who asks it: ids and questions."""
    named: dict[str, str] = {}  # a question in canonical form -> its name in the study
    questions, askers = {}, {}
    for id, finding in findings.items():
        for one in finding.asked:
            name = named.setdefault(canonical(one.question), f"{id}: {one.name}")
            questions.setdefault(name, one.question)
            askers.setdefault(name, []).append((id, one))
    return Study(questions), askers
