"""Compute the result that the home page shows before anything was run: ``python tools/make_first.py``.

In a store of its own, so that it is really computed; marked with the date and the number of cores.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from mcore.presets import RESULT, first_question
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import run
from mcore.store import Store


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for event in run(first_question(), store):
            print(event)
        result = collect(resolve(first_question()), store)
    result["shipped"] = {"date": datetime.date.today().isoformat(), "cores": os.cpu_count()}
    RESULT.write_text(json.dumps(result, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
