"""Carries out findings here, and writes what they come to: the command ``python -m mcore findings``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import mean

from mcore.errors import McoreError, QuestionError
from mcore.events import Asked, Event, Missed
from mcore.findings.answers import answers, together
from mcore.findings.finding import Asked as AskedOf
from mcore.findings.finding import Finding, outcome
from mcore.findings.report import Report, report, told, written
from mcore.store import Store
from mcore.studies import study
from mcore.studies.studying import run_study

FILE = "findings.json"


class Carried:
    """One run. Iterating it carries it out and yields its events; ``report`` is there afterwards.

    What a question took that was answered before is what it took then.
    """

    def __init__(self, findings: Mapping[str, Finding], store: Store, stop: Callable[[], bool] = lambda: False):
        self.findings, self.store, self.stop = findings, store, stop
        self.report: Report | None = None

    def __iter__(self) -> Iterator[Event]:
        asked, askers = together(self.findings)
        expected = study.expected(asked, self.store)
        missed, loads = {}, []
        seconds: dict[str, float] = dict.fromkeys(self.findings, 0.0)
        name, since = None, time.monotonic()
        for event in run_study(asked, self.store, self.stop):
            if isinstance(event, Asked):
                _count(seconds, askers, name, since)
                name, since = event.name, time.monotonic()
                loads += [os.getloadavg()[0]] if hasattr(os, "getloadavg") else []
            if isinstance(event, Missed):
                missed |= {(id, one.name): event.sentence for id, one in askers[event.name]}
            yield event
        _count(seconds, askers, name, since)
        entries, kept = {}, 0
        for id, finding in self.findings.items():
            there = answers(finding, self.store)
            before = [one.name for one in finding.asked if (name := _first(askers, id, one)) and not expected[name] and one.name in there]
            spent = seconds[id] + sum(there[name].result["timing"].get("seconds", 0.0) for name in before)
            entries[id] = told(finding, outcome(finding, there), {one: why for (of, one), why in missed.items() if of == id}, spent)
            kept += len(before)
        self.report = report(entries, round(mean(loads), 1) if loads else None, kept)


def _first(askers: Mapping[str, list[tuple[str, AskedOf]]], id: str, one: AskedOf) -> str | None:
    """The study's name of a question of this finding that no finding before it asks."""
    return next((name for name, asking in askers.items() if asking[0] == (id, one)), None)


def _count(seconds: dict[str, float], askers: Mapping, name: str | None, since: float) -> None:
    """Charge a question's time to the first finding that asks it."""
    if name is not None:
        seconds[askers[name][0][0]] += time.monotonic() - since


def chosen(every: Mapping[str, Finding], only: str | None) -> dict[str, Finding]:
    """Those that ``only`` names, "F1,F3", in their order; all where it is None. Raises ``QuestionError``."""
    if only is None:
        return dict(every)
    wanted = [name.strip().upper() for name in only.split(",") if name.strip()]
    strange = [name for name in wanted if name not in every]
    if strange or not wanted:
        wrong = f"there is no finding {strange[0][:40]!r}" if strange else "no finding is named"
        raise QuestionError("--only", wrong, f"use some of: {','.join(every)}")
    return {name: finding for name, finding in every.items() if name in wanted}


def check_free(out: Path) -> None:
    """Raises ``QuestionError`` where the folder may hold something."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise QuestionError("--out", f"{out} is there already", "name a folder that is new or empty")


def write(found: Report, findings: Mapping[str, Finding], out: Path) -> list[Path]:
    """``findings.json`` and a figure for each panel of each finding, as SVG. Raises ``McoreError`` where it cannot be written."""
    from mcore.charts.findings import figure
    from mcore.charts.theme import to_svg

    made = {FILE: written(found).encode()}
    for id, entry in found.findings.items():
        panels = findings[id].panels
        for number, panel in enumerate(panels, 1):
            name = f"{id}.svg" if len(panels) == 1 else f"{id}-{number}.svg"
            made[name] = to_svg(figure(asdict(panel), [row.model_dump() for row in entry.rows]))
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, data in made.items():
            (out / name).write_bytes(data)
    except OSError as error:
        raise McoreError(f"--out: {out} cannot be written ({error.strerror}); what was computed is kept in the store.") from None
    return [out / name for name in made]

