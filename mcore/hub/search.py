"""Names on the Hub that fit some words, soon or not at all: a page waits for them.

What is public is searched, with nobody's token. What was found is kept for a minute; whoever asks has one request under
way at the most. Whether the Hub answers at all is known within moments and remembered, so that a page without a network
is as quick as one with it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from mcore.errors import QuestionError
from mcore.hub.cache import Kind
from mcore.hub.refusals import NoAnswer
from mcore.hub.repositories import NAME, known, stood_in

LEAST = 3  # characters that are searched for
MOST = 12  # names that are found
TIMEOUT = 3.0  # seconds that a search may take
KEPT, MOST_KEPT = 60.0, 256  # seconds that an answer is kept; answers
PATIENCE = 1.5  # seconds in which the Hub is known to be there or not
REMEMBERED = 30.0  # seconds that this is remembered
FORGOTTEN = 60.0  # seconds after which a request that never ended is given up
FIELD = "search"
MOST_OF_A_FAMILY = 1_000  # repositories of one family
PATIENCE_FOR_A_FAMILY = 10.0  # seconds
T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """A repository that fits. ``parameters`` where the Hub has counted them; ``gated``: it wants its licence accepted."""

    repo: str
    downloads: int = 0
    gated: bool = False
    parameters: int | None = None


class _Call(Generic[T]):
    """A function that is under way in a thread of its own; one may wait for it, or not."""

    def __init__(self, call: Callable[[], T]) -> None:
        self.began, self.value, self.error = time.monotonic(), None, None
        self._ended = threading.Event()
        threading.Thread(target=self._run, args=(call,), daemon=True).start()

    def _run(self, call: Callable[[], T]) -> None:
        try:
            self.value = call()
        except Exception as error:  # told to who waits
            self.error = error
        finally:
            self._ended.set()

    def wait(self, seconds: float) -> bool:
        return self._ended.wait(seconds)


_kept: OrderedDict[tuple[str, str], tuple[float, list[Found]]] = OrderedDict()
_under_way: dict[str, _Call] = {}
_seen: tuple[float, bool] | None = None  # when the Hub was looked for, and whether it was there
_looking: _Call[bool] | None = None
_guard = threading.Lock()


def search(words: str, kind: Kind, who: str = "") -> list[Found]:
    """Repositories that fit the words, the most downloaded first; nothing for fewer than three characters.

    ``who`` asks: one request at a time is under way for each. Raises ``NoAnswer`` where none came in time.
    """
    words = " ".join(words.split()).lower()[:100]
    if len(words) < LEAST:
        return []
    key, deadline = (kind, words), time.monotonic() + TIMEOUT
    with _guard:
        asked, found = _kept.get(key, (-KEPT, []))
        if time.monotonic() - asked < KEPT:
            return found
        before = _under_way.get(who)
    if before and not before.wait(TIMEOUT) and time.monotonic() - before.began < FORGOTTEN:
        raise _silent()
    with _guard:
        _under_way[who] = call = _Call(lambda: _ask(words, kind))
    if not call.wait(max(0.5, deadline - time.monotonic())) or call.error:
        raise _silent() from call.error
    with _guard:
        _under_way.pop(who, None)
        _kept[key] = time.monotonic(), call.value
        while len(_kept) > MOST_KEPT:
            _kept.popitem(last=False)
    return call.value


def family(beginning: str, field: str) -> list[str]:
    """Public models of one organisation whose names begin so (ORG/NAME…); none of anybody's own. Raises ``QuestionError``."""
    from huggingface_hub import HfApi

    org, _, name = beginning.partition("/")
    words = name.strip("-_. ")
    if not org or len(words) < LEAST:
        raise QuestionError(field, f"{beginning!r} is too short to look for", f"write {LEAST} characters or more of the name before {{step}}")

    def ask() -> list[str]:
        hub = HfApi(os.environ.get("HF_ENDPOINT") or None, token=False)
        return [one.id for one in hub.list_models(author=org, search=words, limit=MOST_OF_A_FAMILY, expand=["downloads"])]

    call = _Call(ask)
    if not call.wait(PATIENCE_FOR_A_FAMILY) or call.error:
        raise NoAnswer(field, f"the Hub did not answer for the family {beginning}", "write the steps yourself, or try again") from call.error
    return sorted(name for name in call.value if NAME.fullmatch(str(name)) and name.startswith(beginning))


def reachable() -> bool:
    """Whether the Hub answers. Takes a moment at most, and for half a minute none at all."""
    global _seen, _looking
    with _guard:
        if _seen and time.monotonic() - _seen[0] < REMEMBERED:
            return _seen[1]
        if _looking is None or time.monotonic() - _looking.began > REMEMBERED:
            _looking = _Call(_answers)
        looking = _looking
    there = looking.wait(PATIENCE) and bool(looking.value)
    with _guard:
        _seen, _looking = (time.monotonic(), there), None
    return there


def check_network(address: str, field: str, kind: Kind = "model") -> None:
    """Raise ``NoAnswer`` where a name has to be asked for at a Hub that does not answer: what is on this disk needs none."""
    if not address.startswith("hub:") or address == "hub:?":
        return
    name, _, revision = address.removeprefix("hub:").partition("@")
    repo = "/".join(name.split("/")[:2])
    if not known(repo, revision or None, kind) and not reachable() and not stood_in(repo, revision or None, kind):
        right = "choose what is on this machine, or try again in half a minute"
        raise NoAnswer(field, f"the Hub did not answer for {repo[:100]}: there is no network", right)


def _ask(words: str, kind: Kind) -> list[Found]:
    from huggingface_hub import HfApi

    hub = HfApi(os.environ.get("HF_ENDPOINT") or None, token=False)
    if kind == "dataset":
        told = hub.list_datasets(search=words, sort="downloads", limit=MOST, expand=["downloads", "gated"])
    else:
        told = hub.list_models(search=words, filter="transformers", sort="downloads", limit=MOST, expand=["downloads", "gated", "safetensors"])
    return [
        Found(one.id, int(one.downloads or 0), bool(one.gated), _parameters(one))
        for one in told if NAME.fullmatch(str(one.id))
    ]  # fmt: skip


def _parameters(one: object) -> int | None:
    told = getattr(one, "safetensors", None)
    return told.total if told and isinstance(told.total, int) else None


def _answers() -> bool:
    import httpx2
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        httpx2.head(os.environ.get("HF_ENDPOINT") or constants.ENDPOINT, timeout=PATIENCE)
    except httpx2.HTTPError:
        return False
    return True


def _silent() -> NoAnswer:
    return NoAnswer(FIELD, "the Hub did not answer in time", "go on typing, or write the whole name")
