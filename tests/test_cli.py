"""The command line in processes of its own: what it prints where, how it ends, and one line for every wrong question."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import tiny
from conftest import ROOT
from safetensors.torch import load_file, save_file
from test_question import DESIGN, LEAST, changed
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from mcore import cli
from mcore.link import link
from mcore.question import parse

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def mcore(*arguments, **how):
    command = [sys.executable, "-m", "mcore", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, **how)


@pytest.fixture
def here(capfd):
    """The command in this process, which starts in no time: what it printed, and its exit status."""

    def call(*arguments):
        capfd.readouterr()
        status = cli.main([*map(str, arguments)])
        return subprocess.CompletedProcess(arguments, status, *capfd.readouterr())

    return call


def wrong(capfd, *arguments) -> str:
    """The one line that a question is refused with, in this process (which has the same main)."""
    assert cli.main([*map(str, arguments)]) == 2
    out, errors = capfd.readouterr()
    assert out == "" and errors.count("\n") == 1 and errors.endswith(".\n") and "Traceback" not in errors, (out, errors)
    return errors


def test_run_prints_the_result_and_says_how_it_goes_on_standard_error(here, saved, rows, tmp_path):
    file = tiny.write(tmp_path / "e.json", tiny.experiment(saved("bert", 0), saved("bert", 1), rows))
    done = here("run", file, "--store", tmp_path / "store")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["complete"] and result["tasks"][0]["t"] == [0, 0.5, 1]
    assert sum(line.startswith("[") for line in done.stderr.splitlines()) == 3
    again = here("run", file, "--store", tmp_path / "store", "--out", tmp_path / "result.json")
    assert again.returncode == 0 and again.stdout == "" and json.loads((tmp_path / "result.json").read_text()) == result


def test_a_question_may_come_on_standard_input(saved, rows, tmp_path):
    asked = json.dumps(tiny.experiment(saved("bert", 0), saved("bert", 1), rows, points=2))
    done = mcore("run", "-", "--store", tmp_path / "store", input=asked)
    assert done.returncode == 0 and json.loads(done.stdout)["complete"], done.stderr


def test_finetune_makes_a_folder_that_transformers_alone_opens(here, saved, tmp_path):
    base, task = saved("bert", 5, opener=AutoModel), tiny.learnable(tmp_path / "t.csv", rows=60)
    recipe = {"base": f"local:{base}", "task": {"task": f"local:{task}", "max_length": 16}, "steps": 3, "batch_size": 8}
    file = tiny.write(tmp_path / "r.json", recipe)
    done = here("finetune", file, "--store", tmp_path / "store", "--out", tmp_path / "model")
    assert done.returncode == 0 and done.stdout.strip() == str(tmp_path / "model"), done.stderr
    assert "step 3 of 3" in done.stderr
    AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(tmp_path / "model")
    taken = here("finetune", file, "--store", tmp_path / "store", "--out", tmp_path / "model")
    assert taken.returncode == 2 and taken.stderr.startswith("--out: ") and taken.stderr.count("\n") == 1
    question = tiny.write(tmp_path / "e.json", tiny.experiment(recipe, tmp_path / "model", task, points=2))
    both = here("run", question, "--store", tmp_path / "store")
    assert both.returncode == 0 and json.loads(both.stdout)["distance"]["l2"] == 0, both.stderr


def test_link_and_unlink_are_each_others_inverse(here, tmp_path):
    file = tiny.write(tmp_path / "e.json", DESIGN)
    done = here("link", file)
    assert done.returncode == 0 and done.stdout.count("\n") == 1 and len(done.stdout) < 1500 and done.stderr == ""
    back = here("unlink", done.stdout.strip())
    assert back.returncode == 0 and json.loads(back.stdout) == DESIGN


def test_the_store_tells_its_size_and_is_cleared(here, tmp_path, saved, rows):
    file = tiny.write(tmp_path / "e.json", tiny.experiment(saved("bert", 0), saved("bert", 1), rows, points=2))
    assert here("run", file, "--store", tmp_path / "store").returncode == 0
    told, cleared, empty = (here("store", "--store", tmp_path / "store", *more) for more in ([], ["--clear"], []))
    assert [done.returncode for done in (told, cleared, empty)] == [0, 0, 0]
    assert str(tmp_path / "store") in told.stdout and "0 entries" not in told.stdout
    assert "freed" in cleared.stdout and "in 0 entries" in empty.stdout


def test_an_interrupt_ends_with_130_and_one_line_and_keeps_what_is_finished(here, saved, rows, tmp_path):
    many = tiny.learnable(tmp_path / "many.csv", rows=2000)  # so that it does not end before it is told to
    asked = tiny.experiment(saved("bert", 0), saved("bert", 1), many, points=1001)
    file = tiny.write(tmp_path / "e.json", asked)
    command = [sys.executable, "-m", "mcore", "run", str(file), "--store", str(tmp_path / "store")]
    process = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("[5/"):
            process.send_signal(signal.SIGINT)
            break
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and out == "" and "Traceback" not in errors
    assert errors.splitlines()[-1] == "Cancelled. Everything finished so far is kept."
    few = tiny.write(tmp_path / "few.json", {**asked, "points": [0, 1]})
    assert "2 of them in the store" in here("run", few, "--store", tmp_path / "store").stderr


def test_a_wrong_question_ends_with_2_in_a_process_of_its_own(tmp_path):
    done = mcore("run", tiny.write(tmp_path / "e.json", changed("a.steps", 0)))
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("a.steps: 0 is not possible; ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("colour", 1, "colour"), ("version", 3, "version"), ("a.steps", "many", "a.steps"), ("a.method", "ia3", "a.method"), ("path.kind", "spiral", "path.kind"),
        ("points", 10_000_000, "points"), ("points", [0, 7], "points"), ("probes", ["x"], "probes.0"), ("precision", "int8", "precision"),
        ("a", "hub:bert-base-uncased", "a"), ("b.base", "hub:x/y@main", "b.base"), ("tasks.0.task", "hub:nyu-mll/glue/mnli", "tasks.0.task"),
        ("a", "builtin:bronte", "a"), ("a", "builtin:austen@3", "a"), ("a", "local:/nowhere", "a"), ("a", "s3://bucket", "a"), ("tasks.0.task", "builtin:speach", "tasks.0.task"),
        ("tasks.0.task", "local:/nowhere.csv", "tasks.0.task"), ("tasks.0.split", "dev", "tasks.0.split"), ("tasks.0.max_length", 4000, "tasks.0.max_length"),
        ("tasks.0.task", "builtin:novel", "tasks.0.task"), ("labels", {"a": ["one"]}, "labels.a"), ("a.rows", 1e-9, "a.rows"),
    ],
)  # fmt: skip
def test_every_wrong_field_is_one_line_that_names_it(field, value, named, tmp_path, capfd):
    file = tiny.write(tmp_path / "e.json", changed(field, value))
    assert wrong(capfd, "run", file, "--store", tmp_path / "store").startswith(f"{named}: ")
    assert not (tmp_path / "store").exists() or not any((tmp_path / "store" / "blobs").rglob("*/*"))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"version": 1, "points": NaN}', "[" * 50_000, json.dumps(changed("points", [0, float("nan")]))])
def test_what_is_no_question_is_one_line(text, tmp_path, capfd):
    wrong(capfd, "run", tiny.write(tmp_path / "e.json", text))
    wrong(capfd, "link", tmp_path / "e.json")
    wrong(capfd, "finetune", tmp_path / "e.json")


def test_a_file_that_cannot_be_read_is_one_line(tmp_path, capfd):
    assert wrong(capfd, "run", tmp_path / "none.json").startswith("experiment: ")
    assert wrong(capfd, "run", tmp_path).startswith("experiment: ")
    assert wrong(capfd, "finetune", tmp_path / "none.json").startswith("recipe: ")
    (tmp_path / "noise").write_bytes(b"\xff\xfe\x00\x80" * 10)
    assert wrong(capfd, "run", tmp_path / "noise").startswith("experiment: ")
    (tmp_path / "large").write_bytes(b" " * 3_000_000)
    assert wrong(capfd, "run", tmp_path / "large").startswith("experiment: ")


@pytest.mark.parametrize("query", ["", "v=1", "v=9&q=x", "v=1&q=%%%", link(parse(LEAST))[:-9], "v=1&q=" + "A" * 50_000])
def test_a_broken_link_is_one_line(query, capfd):
    assert wrong(capfd, "unlink", query).startswith("link: ")


@pytest.mark.parametrize("arguments", [[], ["fly"], ["run"], ["run", "a", "b"], ["run", "e.json", "--speed"], ["run", "e.json", "--store"], ["store", "x"]])
def test_a_wrong_command_line_is_one_line(arguments, capfd):
    wrong(capfd, *arguments)


def broken_header(folder):
    (folder / "model.safetensors").write_bytes(b"\xff" * 300)


def no_numbers(folder):
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def a_tensor_too_few(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["bert.encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def another_shape(folder):
    weights = load_file(folder / "model.safetensors")
    weights["bert.encoder.layer.1.output.dense.weight"] = weights["bert.encoder.layer.1.output.dense.weight"][:, :5].contiguous()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def other_words(folder):
    data = json.loads((folder / "tokenizer.json").read_text())
    data["model"]["vocab"] = {word[::-1] if place > 150 else word: place for word, place in data["model"]["vocab"].items()}
    tiny.write(folder / "tokenizer.json", data)


def unknown_kind(folder):
    config = json.loads((folder / "config.json").read_text())
    tiny.write(folder / "config.json", {**config, "model_type": "brontosaurus"})


DAMAGE = {
    "a damaged header": (broken_header, "damaged"),
    "a file cut short": (lambda f: os.truncate(f / "model.safetensors", 5000), "damaged"),
    "weights that are NaN": (no_numbers, "classifier.weight holds NaN"),
    "a missing tensor": (a_tensor_too_few, "bert.encoder.layer.1.output.dense.weight"),
    "a tensor of another shape": (another_shape, "bert.encoder.layer.1.output.dense.weight"),
    "another vocabulary": (other_words, "tokenizer or vocabulary"),
    "an unknown architecture": (unknown_kind, "brontosaurus"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors"),
    "no configuration": (lambda f: (f / "config.json").unlink(), "config.json"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer"),
}


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize(("damage", "says"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_checkpoint_is_one_line_at_either_end_and_as_a_base(damage, says, side, saved, rows, tmp_path, capfd):
    folder, whole = shutil.copytree(saved("bert", 0), tmp_path / "broken"), saved("bert", 1)
    damage(folder)
    ends = (folder, whole) if side == "a" else (whole, folder)
    told = wrong_after_progress(capfd, "run", tiny.write(tmp_path / "e.json", tiny.experiment(*ends, rows)), "--store", tmp_path / "store")
    assert says in told and told.startswith(("a: ", "b: ")), told


def wrong_after_progress(capfd, *arguments) -> str:
    """As ``wrong``, where something may have been told before: the line is the last one."""
    assert cli.main([*map(str, arguments)]) == 2
    out, errors = capfd.readouterr()
    assert out == "" and "Traceback" not in errors, errors
    refusals = [line for line in errors.splitlines() if not line.startswith(("experiment ", "reading ", "measuring ", "Note", "preparing", "["))]
    assert len(refusals) == 1, errors
    return refusals[0]


@pytest.mark.parametrize("damage", [no_numbers, a_tensor_too_few, another_shape, unknown_kind, broken_header])
def test_a_damaged_base_is_one_line(damage, saved, tmp_path, capfd):
    folder = shutil.copytree(saved("bert", 0), tmp_path / "broken")
    damage(folder)
    recipe = {"base": f"local:{folder}", "task": {"task": f"local:{tiny.learnable(tmp_path / 't.csv', rows=40)}", "max_length": 16}, "steps": 2}
    if damage is no_numbers:  # of the head, which a recipe makes anew unless the labels are the same
        assert "NaN" in wrong_after_progress(capfd, "finetune", tiny.write(tmp_path / "r.json", recipe), "--store", tmp_path / "store")
    else:
        told = wrong_after_progress(capfd, "finetune", tiny.write(tmp_path / "r.json", recipe), "--store", tmp_path / "store")
        assert "base" in told.partition(":")[0], told


@pytest.mark.parametrize(
    ("content", "says"),
    [("", "task"), ("text,label\n", "task"), ("text,label\na,x\nb,x\n", "label"), ("text,label\na,red\nb,green\nc,blue\n", "task"), ("a,b,c,d\n1,2,3,4\n", "label")],
)
def test_a_data_file_that_is_no_task_for_the_model_is_one_line(content, says, saved, tmp_path, capfd):
    file = tiny.write(tmp_path / "t.csv", content)
    told = wrong(capfd, "run", tiny.write(tmp_path / "e.json", tiny.experiment(saved("bert", 0), saved("bert", 1), file)), "--store", tmp_path / "store")
    assert told.startswith(f"tasks.0.{says}: ")


def test_a_result_that_cannot_be_written_is_one_line_and_is_kept(saved, rows, tmp_path, capfd):
    file = tiny.write(tmp_path / "e.json", tiny.experiment(saved("bert", 0), saved("bert", 1), rows, points=2))
    told = wrong_after_progress(capfd, "run", file, "--store", tmp_path / "store", "--out", tmp_path / "no" / "such" / "folder.json")
    assert told.startswith("--out: ")


def test_a_store_that_cannot_be_made_is_one_line(tmp_path, capfd):
    tiny.write(tmp_path / "file", "")
    wrong(capfd, "store", "--store", tmp_path / "file")
