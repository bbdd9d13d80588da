"""The core knows no page, and what the page uses knows no model."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from graphlib import TopologicalSorter

from conftest import ROOT

LIGHT = (
    "question", "studies.sweep", "charts.sweep", "link", "resolve", "tasks.rows", "hub.data", "hub.rows", "hub.parquet", "hub.datacard",
    "tasks.prompts", "models.checkpoints", "tasks.labels", "plan", "layers.represented", "result", "paths.distances", "words", "names",
    "charts.overview", "knowledge.grid", "charts.knowledge", "charts.layers", "store", "jobs.queue", "jobs.keeper", "library.items", "library.notes",
    "library.resultfile", "charts.pair", "limits", "hub.search", "hub.presets", "models.joinable", "pin", "sources", "evaluation.measures",
    "estimate", "tasks.templates", "evaluation.bootstrap", "knowledge.segments", "knowledge.forgetting", "tuning.followed", "knowledge.held",
    "knowledge.forgetting_told", "knowledge.held_told", "charts.forgetting", "charts.held", "knowledge.questions", "studies.history",
    "studies.pretraining", "studies.bystep", "charts.steps", "studies.steps_told", "studies.shipped_steps",
)


def imported_by(modules: list[str]) -> set[str]:
    """What stands in sys.modules after these were imported in a new process."""
    code = f"import importlib, json, sys\nfor name in {modules!r}: importlib.import_module(name)\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def core() -> list[str]:
    """Every module of mcore but those of mcore/ui (and __main__, which would run the command line)."""
    files = [file.relative_to(ROOT) for file in sorted((ROOT / "mcore").rglob("*.py")) if file.name != "__main__.py"]
    names = [".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files if "ui" not in file.parts[:2]]
    assert "mcore.run" in names
    return names


def needed(name: str, known: set[str]) -> set[str]:
    """What of ``known`` a module names in an import, within its functions too."""
    folder = ROOT / name.replace(".", "/")
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    named = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
    return {one for node in named for one in (node.module, *(f"{node.module}.{part.name}" for part in node.names))} & known


def test_imports_go_one_way():
    """No module of the core needs, by whatever way, one that needs it."""
    known = set(core()) - {"mcore"}
    needs = {name: needed(name, known) for name in known}
    assert "mcore.models.rewrite" in needs["mcore.hub.remote"]
    assert list(TopologicalSorter(needs).static_order())  # raises where there is a circle


def test_folders_need_one_another_one_way():
    """The same for folders, but for that of the Hub, whose files and rows are read as any other's are."""
    inside = {name for name in core() if name.count(".") == 2 and not name.startswith("mcore.hub.")}
    needs: dict[str, set[str]] = {}
    for name in inside:
        folder = name.split(".")[1]
        needs.setdefault(folder, set()).update({other.split(".")[1] for other in needed(name, inside)} - {folder})
    assert "live" in needs["evaluation"]
    assert list(TopologicalSorter(needs).static_order())


def test_the_core_imports_no_streamlit():
    assert not {name for name in imported_by(core()) if name.partition(".")[0] == "streamlit"}


def test_what_the_page_uses_imports_neither_torch_nor_transformers():
    found = imported_by([f"mcore.{name}" for name in LIGHT])
    assert not found & {"torch", "transformers", "streamlit", "datasets", "pyarrow"}


def test_every_light_module_imports_alone():
    """No module needs another one of ours to have been imported first."""
    code = f"""
import importlib, sys
for name in {LIGHT!r}:
    for other in [other for other in sys.modules if other.partition(".")[0] == "mcore"]:
        del sys.modules[other]
    importlib.import_module("mcore." + name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_pickles_and_what_a_pickle_holds_is_tensors():
    for file in (ROOT / "mcore").rglob("*.py"):
        text = re.sub(r"torch\.load\([^()]*weights_only=True", "", file.read_text())
        assert "import pickle" not in text and "torch.save(" not in text and "torch.load(" not in text, file
        assert "trust_remote_code=True" not in text and "weights_only=False" not in text
