"""The core knows no page, and what the page uses knows no model."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from graphlib import TopologicalSorter

from conftest import ROOT

LIGHT = ("question", "sweep", "charts_sweep", "link", "resolve", "tasks", "hubdata", "hubrows", "hubparquet", "datacard", "prompts", "checkpoints", "labels", "plan", "represented", "result", "distances", "words", "names", "charts", "grid", "charts_knowledge", "charts_layers", "store", "jobs", "keeper", "library", "notes", "resultfile", "charts_pair", "limits", "hubsearch", "hubpresets", "joinable", "pin", "sources", "measures", "estimate", "templates", "bootstrap", "segments", "forgetting", "followed", "held", "forgetting_told", "held_told", "charts_forgetting", "charts_held", "knowledge_questions", "history", "pretraining", "bystep", "charts_steps", "steps_told", "shipped_steps")  # fmt: skip


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


def test_imports_go_one_way():
    """No module of the core needs, by whatever way, one that needs it: imports within functions count."""
    known, needs = set(core()), {}
    for name in known - {"mcore"}:
        folder = ROOT / name.replace(".", "/")
        file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
        named = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
        found = {one for node in named for one in (node.module, *(f"{node.module}.{part.name}" for part in node.names))}
        needs[name] = (found & known) - {"mcore"}
    assert "mcore.rewrite" in needs["mcore.remote"]
    assert list(TopologicalSorter(needs).static_order())  # raises where there is a circle


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
