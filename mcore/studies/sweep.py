"""A sweep over the parts of a model: one partial path for each layer, or each kind of part, and which of them carries the barrier.

Each question lets one part go from A to B and leaves the rest at one end. Put together, in the order of depth: the barrier that a
part meets alone, and what it costs to have taken it over. Pure functions of a question and of results; a ``Study`` asks them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from mcore.models.checkpoints import Checkpoint
from mcore.names import finite, nats, unit
from mcore.paths.distances import layer_of
from mcore.question import PARTS, Experiment, as_written, parse
from mcore.resolved import Resolved
from mcore.studies.study import Study
from mcore.tasks.reading import LANGUAGE
from mcore.words import is_connected, joins_minima

BY = {"layer": "each layer", "part": "each kind of part"}
POINTS = (5, 9, 17)  # on each path; each has all points of the one before, so that nothing is computed twice
KEPT = ("version", "a", "b", "precision", "labels")  # of the question that a sweep begins with
LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")  # in a configuration, where no tensor tells
DEPTH = ("embeddings", "attention", "feed-forward", "norms", "head")
FIELDS = ("part", "barrier", "low", "high", "t", "loss_rest", "loss_moved", "change", "accuracy_rest", "accuracy_moved")


@dataclass(frozen=True)
class Sweep:
    """``moves``: what is asked, by name and in order of depth -> as a path's ``move`` names it. ``rest``: where all else stays, "a" or "b"."""

    question: Experiment
    moves: Mapping[str, str]
    rest: str = "a"
    points: int = POINTS[0]

    @cached_property
    def questions(self) -> dict[str, Experiment]:
        """One for each part: the first task of the question, the same rows and precision."""
        written = as_written(self.question)
        common = {name: written[name] for name in KEPT if name in written} | {"tasks": written["tasks"][:1], "points": self.points}
        kept = {name: value for name in ("align", "lora") if (value := written.get("path", {}).get(name)) not in (None, "none")}
        rest = {} if self.rest == "a" else {"rest": self.rest}
        return {name: parse({**common, "path": {"kind": "partial", "move": [move], **rest, **kept}}) for name, move in self.moves.items()}

    @property
    def study(self) -> Study:
        return Study(self.questions)


def sweep(question: Experiment, resolved: Resolved, by: str = "layer", rest: str = "a", points: int = POINTS[0]) -> Sweep:
    """Of the pair and the first task of a question, ``resolved``."""
    return Sweep(question, moves(resolved, by), rest, points)


def moves(resolved: Resolved, by: str) -> dict[str, str]:
    """Name -> what moves, from the embeddings to the head; without the head where only one end has it."""
    both = resolved.heads[0] == "both" and _has_head(resolved)
    if by == "part":
        return {part: part for part in DEPTH if part != "head" or both}
    layers = {f"layer {number}": f"layers:{number}-{number}" for number in layers_of(resolved.a.looked_at)}
    return {"embeddings": "embeddings", **layers, **({"head": "head"} if both else {})}


def layers_of(checkpoint: Checkpoint) -> list[int]:
    """The numbers of its layers, rising; as its configuration tells where its tensors are not known before they are read."""
    told = {layer_of(name, frozenset()) for name in checkpoint.tensors}
    found = sorted(int(layer.removeprefix("layer ")) for layer in told if layer.startswith("layer "))
    return found or list(range(next((int(checkpoint.config[name]) for name in LAYERS if isinstance(checkpoint.config.get(name), int)), 0)))


def asked_by_a_sweep(question: Experiment) -> bool:
    """Whether it looks like one question of a sweep, which has a chart of its own."""
    path, move = question.path, question.path.move or []
    alone = len(move) == 1 and (move[0] in PARTS or len(set(move[0].removeprefix("layers:").split("-"))) == 1)
    return path.kind == "partial" and alone and path.extend is None and len(question.tasks) == 1 and question.points in POINTS


def rows(asked: Sweep, results: Mapping[str, Mapping | None]) -> list[dict]:
    """A row for each part with ``FIELDS``; None for what is not known. ``results``: name -> the question's result, if all of it is there.

    ``rest`` is the end that all parts have in common, ``moved`` the model with this one part of the other end; ``change`` is
    the loss of the second over that of the first.
    """
    return [{**dict.fromkeys(FIELDS), "part": name, **_row(results.get(name), asked.rest)} for name in asked.moves]


def _row(result: Mapping | None, rest: str) -> dict:
    if result is None:
        return {}
    task = result["tasks"][0]
    chord = (task.get("barrier") or {}).get("loss_chord") or {}
    told = {"barrier": chord.get("value"), **{name: chord.get(name) for name in ("low", "high", "t")}}
    if {0.0, 1.0} <= set(task["t"]):
        stays, moved = (task["t"].index(t) for t in ((0.0, 1.0) if rest == "a" else (1.0, 0.0)))
        told |= {"loss_rest": task["loss"][stays], "loss_moved": task["loss"][moved], "change": task["loss"][moved] - task["loss"][stays]}
        told |= {"accuracy_rest": task["accuracy"][stays], "accuracy_moved": task["accuracy"][moved]}
    return told


def csv_of(table: Sequence[Mapping]) -> bytes:
    """One line for each part, from the embeddings to the head."""
    written = io.StringIO()
    writer = csv.DictWriter(written, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if row[name] is None else row[name] for name in FIELDS} for row in table)
    return written.getvalue().encode()


def verdict(table: Sequence[Mapping], entry: Mapping) -> str:
    """Which part carries the barrier, in one or two sentences. ``entry``: one task's entry of a result, which tells what its losses are."""
    known = [row for row in table if finite(row["barrier"])]
    if not known:
        return ""
    so_far = f"{len(known)} of {len(table)} parts so far: " if len(known) < len(table) else ""
    highest, *others = sorted(known, key=lambda row: -row["barrier"])
    if joins_minima(entry) and all(is_connected(row) for row in known):
        most = f"the highest is that of {_the(highest['part'])} with {_told(highest, entry)}"
        return _capital(f"{so_far}moved alone, no part meets a barrier; {most}.") + (
            "" if so_far else " Where the whole line has one, it takes more than one part at once."
        )
    if highest["low"] <= 0:
        return _capital(f"{so_far}moved alone, no part's loss rises above the chord by more than these rows could tell from nothing.")
    close = [row for row in others if row["high"] >= highest["low"]]
    carries = "carry" if highest["part"] in ("embeddings", "norms") else "carries"
    first = f"{_the(highest['part'])} {carries} the highest barrier, {_told(highest, entry)}"
    if close:
        return _capital(f"{so_far}{first}; on these rows it cannot be told from {_listed([_the(row['part']) for row in close])}.")
    second = f", before {_the(others[0]['part'])} with {nats(others[0]['barrier'], (others[0]['low'], others[0]['high']))}" if others else ""
    return _capital(f"{so_far}{first}{second}.")


def costliest(table: Sequence[Mapping], entry: Mapping, rest: str) -> str:
    """What it costs most to have taken over from the other end; nothing as long as little is known."""
    known = [row for row in table if finite(row["change"])]
    if len(known) < 2:
        return ""
    most, (stays, other) = max(known, key=lambda row: row["change"]), "AB" if rest == "a" else "BA"
    if most["change"] <= 0:
        return f"No part of {other} in the place of {stays}'s raises the loss."
    return f"At the end of its path it costs most to have {other}'s {most['part']} in {stays}: {nats(most['change'])} {unit(entry)} more loss."


def _told(row: Mapping, entry: Mapping) -> str:
    interval = (row["low"], row["high"])
    value, low, high = (nats(number, interval) for number in (row["barrier"], *interval))
    return f"{value} {unit(entry)} (95 % interval {low} to {high})"


def _the(part: str) -> str:
    return part if part.startswith("layer ") else f"the {part}"


def _listed(words: Sequence[str], most: int = 3) -> str:
    words = [*words[:most], *([f"{len(words) - most} more"] if len(words) > most else [])]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _has_head(resolved: Resolved) -> bool:
    if resolved.kind in LANGUAGE:
        return any(layer_of(name, frozenset()) == "head" for name in resolved.a.looked_at.tensors)
    return resolved.kind == "classifier"
