"""A study: several questions asked as one, with one progress and one cancel; what it asks and what it will cost.

A sweep over layers, a barrier for each step of pre-training, a finding with its seeds: each is a list of named questions whose
results are put together afterwards. A study computes nothing that its questions alone would not, and keeps nothing of its own.
No torch: pages ask through this, ``mcore.studies.studying`` carries it out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mcore.errors import McoreError, QuestionError
from mcore.estimate import cost
from mcore.layers import represented
from mcore.paths import curvefile
from mcore.progress import Progress
from mcore.question import Experiment, as_written, canonical, fingerprint, parse
from mcore.resolve import resolve
from mcore.resolved import Resolved
from mcore.store import Store

MOST = 500  # questions of one study


@dataclass(frozen=True)
class Study:
    """``questions``: a name that the study's author knows each by -> the question, in the order in which they are asked."""

    questions: Mapping[str, Experiment]

    @cached_property
    def fingerprint(self) -> str:
        """Stands for the study as it is asked; branches that it names may move."""
        return fingerprint({"study": {name: canonical(question) for name, question in self.questions.items()}})


def to_json(study: Study) -> dict:
    """Plain values, as a queue keeps them."""
    return {name: as_written(question) for name, question in study.questions.items()}


def from_json(data: Any) -> Study:
    """The study that ``to_json`` wrote. Raises ``QuestionError``."""
    if not isinstance(data, dict) or not 1 <= len(data) <= MOST:
        raise QuestionError("study", "it is no list of questions", f"give from 1 to {MOST} questions by name")
    return Study({str(name): parse(question) for name, question in data.items()})


def expected(study: Study, store: Store) -> dict[str, float]:
    """Name -> seconds that what is missing of each question will take here; a model that two of them train counts once.

    A question that cannot be resolved takes none: it will say so when it is asked.
    """
    seconds, counted = {}, set()
    for name, question in study.questions.items():
        try:
            seconds[name] = _missing(resolve(question), store, counted)
        except McoreError:
            seconds[name] = 0.0
    return seconds


def _missing(resolved: Resolved, store: Store, counted: set[str]) -> float:
    """Seconds; ``counted``: fingerprints of models and paths that an earlier question makes, and these of this one are added."""
    points = Counter(point.task for point in Progress(resolved, store).pending())
    ends = [end for end in (resolved.a, resolved.b) if end.recipe]
    trained = {end.side: end.fingerprint in counted or store.folder(end.fingerprint) is not None for end in ends}
    fitted = resolved.route.fingerprint in counted or not curvefile.missing(resolved, store)
    counted |= {end.fingerprint for end in ends} | {resolved.route.fingerprint}
    looks = len(represented.pending(represented.keys(resolved), store))
    if not points and not looks and all(trained.values()):
        return 0.0
    return cost(resolved, trained, points, fitted=fitted, looks=looks).seconds
