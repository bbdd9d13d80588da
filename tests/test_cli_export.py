"""``python -m mcore export``: what it writes where, how it ends, and one line for what cannot be."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import tiny
from conftest import ROOT
from test_cli import ENVIRONMENT, here, mcore, wrong  # noqa: F401 (a fixture)
from test_export import T, charted, loss_alone

from mcore.question import parse
from mcore.resolve import resolve
from mcore.store import Store
from mcore.taking import best_of


@pytest.fixture
def file(saved, rows, tmp_path):
    return tiny.write(tmp_path / "e.json", tiny.experiment(saved("bert", 0), saved("bert", 1), rows, points=[0.0, 0.2, T, 0.8, 1.0]))


def test_a_fresh_process_writes_a_folder_that_has_the_charts_loss(file, store, tmp_path):
    done = mcore("export", file, "--t", T, "--dtype", "bfloat16", "--out", tmp_path / "out", "--store", store.root)
    assert done.returncode == 0 and done.stdout == f"{tmp_path / 'out'}\n", done.stderr
    assert "reading the weights" in done.stderr and "saving the model at t = 0.4" in done.stderr
    question = parse(file.read_text())
    assert loss_alone(tmp_path / "out", question) == pytest.approx(charted(question, store)[T], abs=1e-2)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"


def test_the_best_t_is_evaluated_told_and_taken(here, file, store, tmp_path):  # noqa: F811
    done = here("export", file, "--t", "best", "--out", tmp_path / "out", "--store", store.root)
    assert done.returncode == 0, done.stderr
    found = best_of(resolve(parse(file.read_text())), store)
    told = next(line for line in done.stderr.splitlines() if line.startswith("Best t"))
    assert re.match(rf"Best t = {found.t:g}: the lowest loss, [\d.]+ nats, on the 12 rows that chose it; on the 12 other rows", told)
    assert f"saving the model at t = {found.t:g}" in done.stderr and f"t = {found.t:g}" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(("arguments", "said"), [
    (("--t", "1.5", "--out", "OUT"), "t: 1.5 is not on this path; give a number from 0 to 1"),
    (("--t", "half", "--out", "OUT"), "--t: 'half' is no number; give a number, or best"),
    (("--t", "0.5"), "--out: it is missing, and so is --push"),
    (("--out", "OUT"), "command line: the following arguments are required: --t"),
    (("--t", "0.5", "--out", "OUT", "--dtype", "int8"), "command line: argument --dtype"),
    (("--t", "0.5", "--out", "OUT", "--pull-request"), "--push: it is missing"),
    (("--t", "0.5", "--push", "blend"), "push: 'blend' is no repository"),
    (("--t", "0.5", "--out", "FULL"), "--out: FULL is there already"),
])  # fmt: skip
def test_what_cannot_be_is_one_line_and_exit_status_2(arguments, said, file, tmp_path, capfd):
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").touch()
    named = {"OUT": tmp_path / "out", "FULL": full}
    told = wrong(capfd, "export", file, "--store", tmp_path / "store", *(named.get(one, one) for one in arguments))
    assert told.startswith(said.replace("FULL", str(full))) and not (tmp_path / "out").exists()


def test_an_interrupted_export_ends_with_130_and_leaves_no_folder(saved, rows, tmp_path):
    recipe = {"base": f"local:{saved('bert', 0)}", "task": {"task": f"local:{rows}", "max_length": 16}, "steps": 100_000, "batch_size": 8}
    file = tiny.write(tmp_path / "e.json", tiny.experiment(recipe, recipe | {"head_seed": 2}, rows))
    command = [sys.executable, "-m", "mcore", "export", str(file), "--t", "0.5", "--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]
    process = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("training A: step"):
            break
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert "Cancelled. Everything finished so far is kept." in process.stderr.read()
    assert not list(tmp_path.glob("*out*")) and not Store(tmp_path / "store").entries("exported")
