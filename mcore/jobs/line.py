"""Whose turn it is: round robin between visitors, as a pure function of who waits for what and who was served when."""

from __future__ import annotations

from collections.abc import Mapping, Set
from heapq import heapify, heappop, heappush


def in_turn(waiting: Mapping[int, Set[str]], served: Mapping[str, int]) -> list[int]:
    """The numbers of the waiting jobs in the order in which they are served.

    ``waiting``: number -> the visitors who asked for it, one at least; ``served``: visitor -> their last turn,
    counted from 1. Next is a job of the visitor who was served longest ago (never comes first), of those the lowest
    number; it serves everyone who asked for it.
    """
    last, turn, order = dict(served), max(served.values(), default=0), []
    line = [(min(last.get(visitor, 0) for visitor in who), number) for number, who in waiting.items()]
    heapify(line)
    while line:
        before, number = heappop(line)
        now = min(last.get(visitor, 0) for visitor in waiting[number])
        if now > before:  # served since it was put in line
            heappush(line, (now, number))
            continue
        turn += 1
        last |= dict.fromkeys(waiting[number], turn)
        order.append(number)
    return order
