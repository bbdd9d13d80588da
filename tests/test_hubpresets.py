"""Presets are questions that can be asked; the one whose outputs have no names comes out right by names and by data."""

from __future__ import annotations

import io
import random

import datasets
import pytest
import tiny
import torch
from safetensors.torch import load_file

from mcore.errors import QuestionError
from mcore.hub import presets as hubpresets
from mcore.link import link, unlink
from mcore.question import as_written, parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import run
from mcore.tasks.labels import by_names

NLI = ("entailment", "neutral", "contradiction")  # GLUE's order
TELLING = {"entailment": "merry", "neutral": "letter", "contradiction": "sad"}  # the word of a hypothesis that tells its label
PRESETS = [preset for group in hubpresets.groups() for preset in group.presets]
datasets.disable_progress_bars()


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: f"{preset.name}: {preset.repositories[0]}")
def test_a_preset_is_a_question_about_the_hub_that_a_link_can_hold(preset):
    assert unlink(link(preset.question)) == preset.question and preset.told
    assert all(end.startswith("hub:") for end in (preset.question.a, preset.question.b))
    for task in preset.question.tasks:
        assert task.task.startswith("hub:") and task.limit and (task.read != "answers" or (task.template and task.answers))


def test_no_two_presets_ask_the_same():
    assert len({preset.question.model_dump_json() for preset in PRESETS}) == len(PRESETS) > 12


def premises(rows, seed):
    draw = random.Random(seed)
    labels = [draw.randrange(3) for _ in range(rows)]
    hypotheses = [f"{tiny.sentence(seed + i, 3)} {TELLING[NLI[label]]}" for i, label in enumerate(labels)]
    plain = [" ".join(word for word in text.split()[:-1] if word not in TELLING.values()) + " " + text.split()[-1] for text in hypotheses]
    return {"premise": [tiny.sentence(seed + 9000 + i, 4) for i in range(rows)], "hypothesis": plain, "label": labels, "idx": list(range(rows))}


def parquet(made):
    file = io.BytesIO()
    features = datasets.Dataset.from_dict(made).features.copy()
    features["label"] = datasets.ClassLabel(names=list(NLI))
    datasets.Dataset.from_dict(made, features=features).to_parquet(file)
    return file.getvalue()


def trained(folder, seed):
    """A small BERT that tells the three apart, its outputs in the order of the feather BERTs and without names."""
    outputs = [NLI.index(name) for name in hubpresets.MEANT]
    model, tokenizer = tiny.model("bert", 7, ("LABEL_0", "LABEL_1", "LABEL_2")), tiny.wordpiece()
    rows = premises(240, 100 + seed)
    inputs = tokenizer(rows["premise"], rows["hypothesis"], padding=True, return_tensors="pt")
    labels = torch.tensor([outputs.index(label) for label in rows["label"]])
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    torch.manual_seed(seed)
    for _ in range(60):
        optimiser.zero_grad()
        model(**inputs, labels=labels).loss.backward()
        optimiser.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def feathers(server, tmp_path):
    """The preset's repositories as they are: pickles on main, a conversion that waits at refs/pr/1; and GLUE MNLI."""
    for number in (25, 63):
        folder, name = trained(tmp_path / f"feather-{number}", number), f"connectivity/feather_berts_{number}"
        files = {file.name: file.read_bytes() for file in folder.iterdir()}
        pickle = io.BytesIO()
        torch.save(load_file(folder / "model.safetensors"), pickle)
        server.put(name, files | {"pytorch_model.bin": pickle.getvalue()}, revision="refs/pr/1")
        del files["model.safetensors"]
        server.put(name, files | {"pytorch_model.bin": pickle.getvalue()})
    server.put("nyu-mll/glue", {
        "README.md": b'---\n{"configs": [{"config_name": "mnli", "data_files": [{"split": "validation_matched", "path": "mnli/validation_matched-*"}]}]}\n---\n',
        "mnli/validation_matched-00000-of-00001.parquet": parquet(premises(90, 5000)),
    }, kind="datasets")  # fmt: skip


@pytest.mark.parametrize("by", ["names", "data"])
def test_the_feather_berts_are_read_in_their_own_order_by_names_and_by_data(feathers, server, store, by):
    preset = next(one for one in PRESETS if one.repositories == ("connectivity/feather_berts_25", "connectivity/feather_berts_63"))
    asked = preset.asked | {"points": 3}
    if by == "data":
        del asked["labels"]
    question = parse(asked)
    list(run(question, store))
    task = collect(resolve(question), store)["tasks"][0]
    for side in "ab":
        order = task["label_order"][side]
        assert order["names"] == hubpresets.MEANT and not order["ambiguous"]
        assert (order["from"] == "data") == (by == "data")
        assert by_names(tuple(order["names"]), NLI).columns == (1, 2, 0)
    assert min(task["accuracy"][0], task["accuracy"][-1]) > 0.9
    assert not any(asked.path.endswith(".bin") and asked.method == "GET" for asked in server.asked)  # the conversion was found


def test_a_preset_whose_repositories_have_gone_is_answered_in_a_sentence(server):
    for preset in PRESETS:
        with pytest.raises(QuestionError, match=r"^a: there is no repository ") as told:
            resolve(parse(as_written(preset.question)))
        assert "\n" not in str(told.value)
