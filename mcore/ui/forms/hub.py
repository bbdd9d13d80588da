"""An endpoint on the Hub: a field that searches, what was used before, what is on this machine, what presets name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from mcore.hub import cache as hubcache
from mcore.hub import presets as hubpresets
from mcore.hub import repositories as hub
from mcore.profile import profile
from mcore.question import Experiment, Recipe
from mcore.tasks import rows as tasks
from mcore.ui import addresses, draft
from mcore.ui.forms import inputs
from mcore.ui.forms.search_field import Option, Options, search_field
from mcore.ui.library import shelf
from mcore.ui.limits import at_home

USED = "mc.repositories"  # in the session: models and data sets that a question could be answered with, the newest first
MOST_USED, MOST_HERE = 8, 20
HELP = "ORG/NAME, or ORG/NAME@REVISION for a branch, a tag, refs/pr/N or a commit; or paste its address."


def hub_form(side: str) -> None:
    """The field of one end."""
    end = draft.get((side,))
    value = "" if end == "hub:?" else str(end).removeprefix("hub:")
    search_field("Repository", f"in.{side}.hub", (side,), value, "model", _models, _address(addresses.checkpoint), HELP)


def base_form(side: str) -> None:
    """The field of what a recipe starts from: a step of the family that ships with the app, or a model on the Hub or in a folder."""
    given = str(draft.get((side, "base")) or "")
    value = "" if given in ("hub:?", "local:?") else given.removeprefix("hub:").removeprefix("builtin:")
    told = f"A pre-training step, or a model on the Hub: type to search, or paste its address{at_home('; or local:PATH')}."
    search_field("Base", inputs.key_of((side, "base")), (side, "base"), value, "model", _bases, _base, told, "a step, or ORG/NAME")


def data_set_form(path: draft.Path) -> None:
    """The field of a data set."""
    given = str(draft.get(path) or "")
    value = given.removeprefix("hub:") if given.startswith("hub:") else ""
    told = "ORG/NAME or ORG/NAME/CONFIG, and @REVISION where it matters; or paste its address."
    search_field(
        "Data set on the Hub", "in." + ".".join(map(str, path)) + ".hub", path, value, "dataset", _data_sets, _address(addresses.data), told,
        "ORG/NAME/CONFIG",
    )  # fmt: skip


def remember(question: Experiment) -> None:
    """These names could be read: they are offered from now on in this session."""
    used = st.session_state.setdefault(USED, [])
    for name in _named(question):
        if name in used:
            used.remove(name)
        used.insert(0, name)
    del used[2 * MOST_USED :]


def _address(read: Callable[[str], str]) -> Callable[[str], str | None]:
    """A name without a scheme is one on the Hub here, even where a folder has that name."""

    def understood(words: str) -> str:
        found = read(words)
        return f"hub:{words.strip() or '?'}" if found.startswith("local:") and not words.strip().startswith("local:") else found

    return understood


def _base(words: str) -> str:
    """As everywhere, but ORG/NAME is on the Hub even where a folder has that name, as what the search finds is written so."""
    words = words.strip()
    return f"hub:{words}" if hub.NAME.fullmatch(words.partition("@")[0]) else addresses.checkpoint(words) if words else "hub:?"


def _bases(there: bool) -> Sequence[Options]:
    """The family's steps, the latest first; then what has been used or is on this machine."""
    own = [address.removeprefix("builtin:") for address in reversed(inputs.family_steps())]
    steps = Options("Ships with the app", [Option(name, name, f"pre-training step {name.partition('@')[2]}") for name in own])
    return [steps, *(group for group in _models(there) if group.name in ("Used before", "On this machine"))]


def _models(there: bool) -> Sequence[Options]:
    """Without a network only what is on this machine, each at the commit that is here."""
    here = [] if profile().hosted else hubcache.here("model")[:MOST_HERE]
    if not there:
        return [Options("On this machine", [Option(f"{repo}@{commit}", repo, f"commit {commit[:7]}") for repo, commit in here])]
    seen = _used("model")
    return [
        Options("Used before", [Option(name, name) for name in seen]),
        Options("On this machine", [Option(repo, repo) for repo, _ in here if repo not in seen]),
        *(Options(group.name, [Option(name, name) for name in dict.fromkeys(name for preset in group.presets for name in preset.repositories)])
          for group in hubpresets.groups()),
    ]  # fmt: skip


def _data_sets(there: bool) -> Sequence[Options]:
    here = [] if profile().hosted else hubcache.here("dataset")[:MOST_HERE]
    return [
        Options("Used before", [Option(name, name) for name in _used("dataset")]),
        Options("On this machine", [Option(repo, repo) for repo, _ in here]),
        *([Options("Known", [Option(name.removeprefix("hub:"), name.removeprefix("hub:"), told["description"].partition(":")[0]) for name, told in tasks.known().items()])]
          if there else []),
    ]  # fmt: skip


def _used(kind: hubcache.Kind) -> list[str]:
    """Names of the session, then of what the store answered, without repeats."""
    marked = [*st.session_state.get(USED, []), *(name for item in shelf.items() if item.question for name in _named(item.question))]
    return list(dict.fromkeys(name for of, name in marked if of == kind))[:MOST_USED]


def _named(question: Experiment) -> list[tuple[str, str]]:
    ends = [end.base if isinstance(end, Recipe) else end for end in (question.a, question.b)]
    named = [("model", end) for end in ends] + [("dataset", task.task) for task in question.tasks]
    return [(kind, name.removeprefix("hub:")) for kind, name in named if name.startswith("hub:") and name != "hub:?"]
