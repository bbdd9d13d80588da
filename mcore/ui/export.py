"""What can be taken away from a result: files, the question as a machine reads it, identities. No Streamlit here."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from mcore.link import link
from mcore.question import Experiment, as_written
from mcore.taking import Take

COMMAND = "python -m mcore run question.json --out result.json"
PACKAGES = ("torch", "transformers", "tokenizers", "numpy")


def csv_of(task: Mapping) -> bytes:
    """One line for each t with every probe, in full precision."""
    points = len(task["t"])
    columns = {
        key: values
        for key, values in task.items()
        if isinstance(values, list) and len(values) == points and _numeric(values)
    }
    columns = {"t": columns.pop("t"), **{key: values for key, values in columns.items() if key != "rows"}}
    if told := task.get("knowledge"):
        columns["mastered"] = told["mastered"]
        for kind in ("forgotten", "learned"):
            columns[f"newly_{kind}"] = ["", *map(len, told[kind])]
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return file.getvalue().encode()


def json_of(result: Mapping) -> bytes:
    return json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False).encode()


def question_json(question: Experiment) -> str:
    return json.dumps(as_written(question), indent=1, ensure_ascii=False)


def snippet(question: Experiment) -> str:
    """Python that answers the question with the same engine."""
    return f"""from mcore.link import unlink
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import run
from mcore.store import Store

question = unlink("{link(question)}")
store = Store()
for event in run(question, store):
    print(event)
result = collect(resolve(question), store)
"""


def export_command(take: Take) -> str:
    """What saves the same model without a page."""
    return f"python -m mcore export question.json --t {take.t:.12g} --dtype {take.dtype} --out MODEL_DIR"


def identities(result: Mapping) -> list[list[str]]:
    """Fingerprints of what the names stood for, and versions of what computes."""
    told = result["identities"]
    rows = [["question", result["fingerprint"]], ["weights of A", told["a"]], ["weights of B", told["b"]]]
    rows += [[f"rows of task {i + 1}", digest] for i, digest in enumerate(told["tasks"])]
    return [*rows, ["Python", platform.python_version()], *([name, _version(name)] for name in PACKAGES)]


def _numeric(values: list) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
