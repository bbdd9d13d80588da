"""What the app shows before anybody has asked anything: the first question, and its result as it was computed before.

Both are files that ship with the app (``builtin/first.json``, ``builtin/first-result.json``).
"""

from __future__ import annotations

import json
from functools import lru_cache

from mcore.models.checkpoints import BUILTIN
from mcore.question import Experiment, parse

QUESTION, RESULT = BUILTIN / "first.json", BUILTIN / "first-result.json"


@lru_cache(maxsize=1)
def first_question() -> Experiment:
    """The experiment that the home page offers, and the one that Compare begins with."""
    return parse(QUESTION.read_bytes())


@lru_cache(maxsize=1)
def shipped_result() -> dict | None:
    """The first question's result as it ships, None if there is none; ``shipped`` in it tells ``date`` and ``cores``."""
    try:
        result = json.loads(RESULT.read_bytes())
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and result.get("tasks") else None
