"""A question whose names on the Hub stand for what they stand for now: branches become commits, nothing else changes."""

from __future__ import annotations

from mcore.question import Experiment, as_written, parse


def pinned(question: Experiment, resolved: Experiment) -> Experiment:
    """``question`` as its author wrote it, with the addresses that ``resolved``, the same with every name resolved, has for them."""
    written = as_written(question)
    for side in ("a", "b"):
        end = getattr(resolved, side)
        if isinstance(end, str):
            written[side] = _pinned(written[side], end)
        else:
            written[side] |= {"base": _pinned(written[side]["base"], end.base)}
            written[side]["task"] |= {"task": _pinned(written[side]["task"]["task"], end.task.task)}
    way, found_way = written.get("path", {}), resolved.path
    if way.get("base"):
        way["base"] = _pinned(way["base"], found_way.base)
    if way.get("task"):
        way["task"]["task"] = _pinned(way["task"]["task"], found_way.task.task)
    if (written.get("representation") or {}).get("task"):
        written["representation"]["task"]["task"] = _pinned(written["representation"]["task"]["task"], resolved.representation.task.task)
    for task, found in zip(written["tasks"], resolved.tasks, strict=True):
        task["task"] = _pinned(task["task"], found.task)
    return parse(written)


def _pinned(name: str, found: str) -> str:
    return found if name.startswith("hub:") else name
