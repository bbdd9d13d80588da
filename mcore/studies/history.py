"""A model with a history: the same model at several steps of its pre-training, and where each of them stands.

How one is named (``base`` of a sweep, ``{step}`` stands for a number):

    builtin:NAME                   a family that ships with the app
    hub:ORG/NAME                   a repository whose branches or tags are named step1000, step_1000, 1000, checkpoint-1000 …
    hub:ORG/NAME@step{step}        the same, and how they are named
    hub:ORG/NAME-step_{step}k      a family of repositories (perhaps with @REVISION); k counts in thousands
    local:FOLDER                   a folder with folders of such names, as a training writes them
    local:PATH/step-{step}         the same, and how they are named

What a repository's branches and tags are is told by the Hub, as is which repositories a family has; neither is needed to
write the address of a step where the name has ``{step}``. No torch, no Streamlit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcore.errors import QuestionError
from mcore.hub import repositories as hub
from mcore.hub import search as hubsearch
from mcore.models.checkpoints import families
from mcore.question import SCHEMES

PLACE = "{step}"
FIELD = "base"
MOST = 2_000  # steps of a history that are known
LONGEST = 12  # digits of a step
THOUSANDS = {"": 1, "k": 1_000, "m": 1_000_000}
NAMED = re.compile(r"(?P<word>|global[_-]?step|steps?|checkpoint|ckpt|epoch|iter|iteration)[_-]?(?P<number>\d{1,12})(?P<unit>[km]?)(?:[_-]tokens?\w+)?", re.I)
HOW = "name a family that ships with the app, a repository with branches named by steps, or a name with {step} in it"


@dataclass(frozen=True)
class History:
    """``steps``: step -> address, rising; empty where only the name's pattern is known."""

    name: str
    steps: Mapping[int, str]

    def bases(self, chosen: Iterable[int]) -> dict[int, str]:
        """The addresses of these steps. Raises ``QuestionError`` for one that there is not."""
        return {step: self.address(step) for step in sorted(set(chosen))}

    def address(self, step: int) -> str:
        if step in self.steps:
            return self.steps[step]
        if PLACE not in self.name or self.name.startswith("local:") or self.steps:
            known = ", ".join(f"{one:,}" for one in list(self.steps)[:8])
            raise QuestionError("steps", f"{self.name} has no step {step:,}", f"use some of: {known}{' …' if len(self.steps) > 8 else ''}")
        return filled(self.name, step)


def history(name: str, stranded: bool = False) -> History:
    """Every step that a name stands for. Raises ``QuestionError``.

    ``stranded``: the Hub is not asked; what a pattern stands for is then known only by its form.
    """
    name = check(name)
    scheme, _, rest = name.partition(":")
    if scheme == "builtin":
        return History(name, _builtin(rest))
    if scheme == "local":
        return History(name, _local(rest))
    if stranded and PLACE in rest:
        return History(name, {})
    found = _of_family(name) if PLACE in rest.partition("@")[0] else _of_repository(name)
    return History(name, dict(sorted(found.items())[:MOST]))


def check(name: str) -> str:
    """The name as it may be asked for. Raises ``QuestionError``."""
    name = name.strip()
    if not name.startswith(SCHEMES) or len(name) > 500:
        raise QuestionError(FIELD, f"{name[:100]!r} is no history", HOW)
    if name.count(PLACE) > 1 or "{" in name.replace(PLACE, "") or "}" in name.replace(PLACE, ""):
        raise QuestionError(FIELD, f"{name[:100]!r} has braces other than one {{step}}", "write {step} once, where the number stands")
    if name.startswith("hub:"):
        hub.parse(name.removeprefix("hub:").replace(PLACE, "0"), FIELD)
    return name


def filled(pattern: str, step: int) -> str:
    """The address of a step: ``hub:O/N-step_{step}k`` and 20,000 give ``hub:O/N-step_20k``."""
    unit = _unit(pattern)
    return pattern.replace(PLACE, f"{step // unit if step % unit == 0 else step / unit:g}" if unit > 1 else str(step))


def step_of(name: str) -> tuple[str, int] | None:
    """What a branch, a tag or a folder counts in ("step", "epoch", "") and its number; None where it is not named by one."""
    found = NAMED.fullmatch(name)
    if not found:
        return None
    return found["word"].lower().rstrip("s"), int(found["number"]) * THOUSANDS[found["unit"].lower()]


def by_step(names: Iterable[str]) -> dict[int, str]:
    """Step -> name, of those names that count in what most of them count in; of two names of one step the first."""
    told: dict[str, dict[int, str]] = {}
    for name in names:
        if found := step_of(name):
            told.setdefault(found[0], {}).setdefault(found[1], name)
    return dict(sorted(max(told.values(), key=len, default={}).items()))


def spread(steps: Sequence[int], count: int) -> list[int]:
    """So many of the steps, the first and the last among them, as evenly apart as may be where each decade has its share."""
    steps = sorted(steps)
    if len(steps) <= count:
        return steps
    places = [math.asinh(step / max(1, next(one for one in steps if one))) for step in steps]  # a logarithm that 0 has, too
    chosen = {0, len(steps) - 1}
    while len(chosen) < count:  # the one that is farthest from all that are chosen
        chosen.add(max(set(range(len(steps))) - chosen, key=lambda i: min(abs(places[i] - places[j]) for j in chosen)))
    return [steps[i] for i in sorted(chosen)]


def _builtin(rest: str) -> dict[int, str]:
    name = rest.partition("@")[0]
    known = families()
    if name not in known:
        raise QuestionError(FIELD, f"nothing called {name!r} ships with the app", f"use one of: {', '.join(f'builtin:{one}' for one in known)}")
    return {step: f"builtin:{name}@{step}" for step in known[name]}


def _local(rest: str) -> dict[int, str]:
    path = Path(rest).expanduser()
    pattern = path.name if PLACE in path.name else None
    above = path.parent if pattern else path
    if PLACE in str(above):
        raise QuestionError(FIELD, "{step} stands in the name of a folder that holds others", "write it in the last part of the path")
    if not above.is_dir():
        raise QuestionError(FIELD, f"there is no folder {above}", HOW)
    names = sorted(one.name for one in above.iterdir() if one.is_dir())
    found = _matching(pattern, names) if pattern else by_step(names)
    if not found:
        raise QuestionError(FIELD, f"no folder in {above} is named by a step", "give a folder with folders such as step-1000 or checkpoint-1000")
    return {step: f"local:{above / name}" for step, name in sorted(found.items())[:MOST]}


def _of_repository(name: str) -> dict[int, str]:
    """Of a repository: its branches and tags."""
    repo, revision = hub.parse(name.removeprefix("hub:").replace(PLACE, "0"), FIELD)
    pattern = name.partition("@")[2] if PLACE in name else None
    if revision and not pattern:
        raise QuestionError(FIELD, f"{revision!r} is one revision, not a history", f"leave it out, or write how the steps are named: hub:{repo}@step{{step}}")
    names = hub.revisions(repo, FIELD)
    found = _matching(pattern, names) if pattern else by_step(names)
    if not found:
        has = f"it has {', '.join(names[:4])}{' …' if len(names) > 4 else ''}" if names else "it has none"
        raise QuestionError(FIELD, f"no branch or tag of {repo} is named by a step: {has}", f"{HOW}, as in hub:ORG/NAME-step_{{step}}k")
    return {step: f"hub:{repo}@{one}" for step, one in found.items()}


def _of_family(name: str) -> dict[int, str]:
    """Of a family of repositories: those of its organisation that have such a name."""
    pattern, _, revision = name.removeprefix("hub:").partition("@")
    found = _matching(pattern, hubsearch.family(pattern.partition(PLACE)[0], FIELD))
    if not found:
        raise QuestionError(FIELD, f"no public repository is named {pattern}", HOW)
    return {step: f"hub:{repo}" + (f"@{revision}" if revision else "") for step, repo in found.items()}


def _matching(pattern: str, names: Iterable[str]) -> dict[int, str]:
    """Step -> name of those that have the pattern's form."""
    before, after = map(re.escape, pattern.split(PLACE))
    form = re.compile(rf"{before}(\d{{1,{LONGEST}}}){after}")
    found = ((int(match[1]) * _unit(pattern), name) for name in names if (match := form.fullmatch(name)))
    return dict(sorted(found))


def _unit(pattern: str) -> int:
    """What the number counts in: the k of ``step_{step}k`` makes it thousands."""
    found = re.search(r"\{step\}([kKmM])(?![A-Za-z0-9])", pattern)
    return THOUSANDS[found[1].lower()] if found else 1
