"""How a page waits for the worker: how often it looks, and what it says while a question stands in the queue."""

from __future__ import annotations

from mcore.profile import profile

POLL, POLL_HOSTED = 0.5, 2.0  # seconds between two looks at a running job; a host has many who look


def pause() -> float:
    """How long a page waits between two looks."""
    return POLL_HOSTED if profile().hosted else POLL


def queued(place: int | None, warm: bool) -> str:
    if not warm:
        return "Starting the worker: this takes a few seconds the first time"
    if place in (None, 1):
        return "Next in the queue"
    return f"In the queue: {place - 1} {'question is' if place == 2 else 'questions are'} ahead of this one"
