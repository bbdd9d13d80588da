"""Compute what the Pre-training page shows before anything was run: ``python tools/make_steps.py [STORE]``.

The question that the page begins with, in a store of its own, so that it is really computed, or in the one that is named, where
an earlier run of this tool may have left a part of it. Marked with the date and the number of cores.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from mcore import events
from mcore.resolve import resolve
from mcore.store import Store
from mcore.studies import bystep
from mcore.studies.history import history
from mcore.studies.shipped_steps import RESULT
from mcore.studies.studying import run_study
from mcore.ui.pretraining.view import View, sweep


def main() -> None:
    asked = sweep(View(), history(View().base))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(sys.argv[1] if len(sys.argv) > 1 else folder)
        for event in run_study(asked.study, store):
            if isinstance(event, events.Asked | events.Missed):
                print(event, flush=True)
        found = bystep.answer(asked, {one.name: bystep.read(one, resolve(one.question), store) for one in asked.asked})
    told = {"date": datetime.date.today().isoformat(), "cores": os.cpu_count(), "sweep": asdict(asked), "answer": _rounded(found)}
    RESULT.write_text(json.dumps(told, separators=(",", ":")) + "\n")


def _rounded(value: object) -> object:
    """To six digits, which is more than any chart shows."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
