"""What of a question's knowledge is looked at, as a frozen value that stands in the address beside the question.

What comes from the address is a stranger's text: what makes no sense there is its default. No Streamlit here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from mcore.knowledge.grid import GROUPS, ORDERS
from mcore.knowledge.held import HELD, WITHIN
from mcore.tuning.cartography import MEASURES

TABS = {"examples": "Every example", "forgetting": "Forgetting", "held": "Who knows what"}  # name in the address -> on the page
MOST_CHARACTERS = 200  # of words to search for

NAMED = {"tab": TABS, "sort": ORDERS, "group": GROUPS, "measure": MEASURES, "of": ("a", "b"), "held": (*HELD, *WITHIN)}  # what each may be


@dataclass(frozen=True)
class View:
    """``t`` and ``rows`` are the brushed ranges: of t, and of ranks in the grid as it is shown (from 0, ends included).

    ``segment``: the chosen stretch between two neighbouring points; ``of``: whose training is told of, "" for the first that was
    followed; ``held``: a name of ``held.HELD`` or ``held.WITHIN``.
    """

    tab: str = "examples"
    task: int = 0
    sort: str = "forgotten"
    group: str = "all"
    find: str = ""
    t: tuple[float, float] | None = None
    rows: tuple[int, int] | None = None
    row: str | None = None  # the id of the chosen example
    segment: tuple[float, float] | None = None
    measure: str = "confidence"
    of: str = ""
    held: str = "only_a"


def read(query: Mapping[str, str], tasks: int) -> View:
    """The view in the parameters of an address, for a question with so many tasks."""
    row = query.get("row", "")
    task = _number(query.get("task", ""), 1, tasks)
    return View(
        task=0 if task is None else task - 1,
        **{name: query[name] for name, known in NAMED.items() if query.get(name) in known},
        find=query.get("find", "")[:MOST_CHARACTERS].strip(),
        t=_t_range(query.get("t", "")),
        rows=_rank_range(query.get("rows", "")),
        row=row if re.fullmatch(r"[0-9]{1,18}", row) else None,
        segment=_t_range(query.get("segment", "")),
    )


def written(view: View) -> dict[str, str | None]:
    """Each parameter of the address, None where it is left out because it has its default."""
    told: dict[str, str | None] = {}
    for name in (field.name for field in fields(View)):
        value = getattr(view, name)
        told[name] = None if value == getattr(View, name) else str(value)
    if view.task:
        told["task"] = str(view.task + 1)
    for name in ("t", "segment"):
        if between := getattr(view, name):
            told[name] = ",".join(f"{t:.6g}" for t in between)
    if view.rows:
        told["rows"] = f"{view.rows[0] + 1}-{view.rows[1] + 1}"
    return told


def _t_range(words: str) -> tuple[float, float] | None:
    try:
        low, high = (float(word) for word in words[:60].split(","))
    except ValueError:
        return None
    return (low, high) if math.isfinite(low + high) and -0.5 <= low <= high <= 1.5 else None


def _rank_range(words: str) -> tuple[int, int] | None:
    first, _, last = words[:40].partition("-")
    low, high = (_number(word, 1, 10**9) for word in (first, last))
    return None if low is None or high is None or low > high else (low - 1, high - 1)


def _number(words: str, low: int, high: int) -> int | None:
    number = int(words) if re.fullmatch(r"[0-9]{1,10}", words) else None
    return number if number is not None and low <= number <= high else None
