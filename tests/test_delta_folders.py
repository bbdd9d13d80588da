"""Folders of delta-tuned models: what they hold, what opens them, and what is refused before anything runs."""

from __future__ import annotations

import json
import shutil

import pytest
import reference
import tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSequenceClassification

from mcore.cli import main
from mcore.errors import QuestionError
from mcore.export import export
from mcore.models import deltas
from mcore.question import parse, parse_recipe
from mcore.resolve import resolve, resolve_recipe
from mcore.result import collect
from mcore.run import run
from mcore.sources import look
from mcore.store import Store
from mcore.taking import Take
from mcore.tuning.finetune import finetune

INJECTED = {"adapter": {"bottleneck": 5, "init_scale": 0.3}, "prefix": {"prefix_length": 3, "init_scale": 1.0}}
MERGED = {"lora": {"rank": 3}, "bitfit": {}}
EVERY = INJECTED | MERGED


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("deltas"))


@pytest.fixture(scope="module")
def recipe(saved, rows):
    def make(method, family="bert", seed=1, base=5, **fields):
        return {"base": f"local:{saved(family, base, opener=AutoModel)}", "task": {"task": f"local:{rows}", "max_length": 16}, "method": method,
                "steps": 3, "batch_size": 8, "learning_rate": 0.05, "head_seed": seed, "data_seed": seed, **EVERY.get(method, {}), **fields}  # fmt: skip

    return make


def trained(asked, store):
    """The folder of the model in the store."""
    resolved = resolve_recipe(parse_recipe(asked))
    list(finetune(resolved, store, "recipe"))
    return store.folder(resolved.fingerprint)


def answered(question, store):
    asked = parse(question)
    list(run(asked, store))
    return collect(resolve(asked), store)["tasks"][0]


def handed_over(asked, store, out):
    file = tiny.write(out.parent / f"{out.name}.json", asked)
    assert main(["finetune", str(file), "--store", str(store.root), "--out", str(out)]) == 0
    return out


def test_a_folder_holds_what_was_tuned_and_no_more(recipe, shelf):
    sizes = {}
    for method in EVERY:
        folder = trained(recipe(method), shelf)
        assert not (folder / "model.safetensors").exists()
        told, kept = deltas.read(folder, "recipe"), load_file(folder / deltas.FILE)
        assert told.method == method and told.parameters == sum(tensor.numel() for tensor in kept.values())
        sizes[method] = (folder / deltas.FILE).stat().st_size
        assert "local:" not in told.base or "/" not in told.base  # no path of this machine
    whole = trained(recipe("full"), shelf) / "model.safetensors"
    assert max(sizes.values()) < whole.stat().st_size / 3


@pytest.mark.parametrize("method", MERGED)
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_the_command_line_hands_over_a_model_that_loads_with_transformers_alone(
    method, family, recipe, rows, shelf, tmp_path, capsys
):
    out = handed_over(recipe(method, family), shelf, tmp_path / "out")
    assert "app alone" not in capsys.readouterr().err and not (out / deltas.FILE).exists()
    end = answered(tiny.experiment(recipe(method, family), recipe(method, family), rows, points=2), shelf)
    assert "load with transformers alone" in (out / "README.md").read_text()
    task = resolve(parse(tiny.experiment(recipe(method, family), recipe(method, family), rows))).tasks[0]
    loss = reference.loss(
        reference.logits(reference.load(out), out, task.rows.texts, task.max_length), task.rows.labels
    )
    assert abs(loss - end["loss"][0]) < 1e-5


@pytest.mark.parametrize("method", INJECTED)
def test_what_transformers_cannot_open_is_handed_over_as_a_delta_that_this_app_opens(
    method, recipe, rows, shelf, tmp_path, capsys
):
    out = handed_over(recipe(method), shelf, tmp_path / "out")
    assert (
        f"local:{out}" in capsys.readouterr().err
        and "transformers alone does not open it" in (out / "README.md").read_text()
    )
    by_recipe = answered(tiny.experiment(recipe(method), recipe(method, seed=2), rows), shelf)
    by_folder = answered(tiny.experiment(out, recipe(method, seed=2), rows), shelf)
    assert by_folder["loss"] == by_recipe["loss"]


def test_a_delta_finds_its_base_beside_it_and_takes_no_other(recipe, rows, shelf, tmp_path):
    kept, base = trained(recipe("adapter"), shelf), look(recipe("adapter")["base"], "base")
    folder = shutil.copytree(kept, tmp_path / "mine")
    with pytest.raises(QuestionError, match="its base, the folder .* is not there; put that folder beside it"):
        look(f"local:{folder}", "a")
    beside = shutil.copytree(base.folder, tmp_path / base.folder.name)
    assert look(f"local:{folder}", "a").delta.bottleneck == 5
    weights = load_file(beside / "model.safetensors")
    save_file(
        {name: tensor + 1e-3 for name, tensor in weights.items()},
        beside / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(QuestionError, match="no longer what it was tuned on"):
        look(f"local:{folder}", "a")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"method": "full"}, "method"), ({"bottleneck": 10**9}, "bottleneck"), ({"bottleneck": None}, "lacks bottleneck"), ({"rank": "8"}, "rank"),
        ({"base": "https://x"}, "base"), ({"layers": "(a+)+$"}, "layers"), ({"activation": "os.system"}, "activation"), ({"more": 1}, "more"),
        ({"version": 2}, "version"),
    ],
)  # fmt: skip
def test_a_strangers_delta_json_says_nothing_else(told, said, recipe, shelf, tmp_path):
    folder = shutil.copytree(trained(recipe("adapter"), shelf), tmp_path / "mine")
    written = json.loads((folder / deltas.TOLD).read_text())
    tiny.write(folder / deltas.TOLD, written | told)
    with pytest.raises(QuestionError, match=said):
        look(f"local:{folder}", "a")


def test_a_delta_that_is_its_own_base_is_refused(recipe, shelf, tmp_path):
    folder = shutil.copytree(trained(recipe("adapter"), shelf), tmp_path / "mine")
    tiny.write(folder / deltas.TOLD, json.loads((folder / deltas.TOLD).read_text()) | {"base": f"local:{folder}"})
    with pytest.raises(QuestionError, match="is not there"):
        look(f"local:{folder}", "a")


@pytest.mark.parametrize(("a", "b"), [("lora", "full"), ("bitfit", "full"), ("lora", "bitfit")])
def test_weights_that_are_plain_once_merged_can_be_joined_with_any(a, b, recipe, rows, shelf, tmp_path):
    result = answered(tiny.experiment(recipe(a), recipe(b, seed=2), rows, points=[0.5]), shelf)
    folders = [handed_over(recipe(method, seed=seed), shelf, tmp_path / method) for seed, method in ((1, a), (2, b))]
    texts = resolve(parse(tiny.experiment(recipe(a), recipe(b, seed=2), rows))).tasks[0]
    for t, loss in zip(result["t"], result["loss"], strict=True):
        scores = reference.logits(reference.mixed(*folders, t), folders[0], texts.rows.texts, texts.max_length)
        assert abs(reference.loss(scores, texts.rows.labels) - loss) < 1e-5, t


@pytest.mark.parametrize("method", EVERY)
def test_two_bases_move_too(method, recipe, rows, shelf):
    """Of two deltas on two bases everything is blended."""
    result = answered(tiny.experiment(recipe(method), recipe(method, seed=2, base=6), rows), shelf)
    same = answered(tiny.experiment(recipe(method), recipe(method, seed=2), rows), shelf)
    assert result["loss"][0] == same["loss"][0] and result["loss"][1] != same["loss"][1]


@pytest.mark.parametrize("method", EVERY)
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_the_model_at_t_can_be_taken(method, family, recipe, rows, shelf, tmp_path):
    question = tiny.experiment(recipe(method, family), recipe(method, family, seed=2), rows, points=[0.4])
    along, out = answered(question, shelf), tmp_path / "out"
    list(export(parse(question), Take(0.4), shelf, out=out))
    at = along["loss"][along["t"].index(0.4)]
    card = (out / "README.md").read_text()
    assert ("transformers alone does not open it" in card) == ("library_name" not in card) == (method in INJECTED)
    if method in INJECTED:
        assert (out / deltas.FILE).exists() and abs(
            answered(tiny.experiment(out, out, rows, points=2), shelf)["loss"][0] - at
        ) < 1e-5
        return
    task = resolve(parse(question)).tasks[0]
    assert not (out / deltas.FILE).exists()
    scores = reference.logits(
        AutoModelForSequenceClassification.from_pretrained(out, dtype=torch.float32).eval(),
        out,
        task.rows.texts,
        task.max_length,
    )
    assert abs(reference.loss(scores, task.rows.labels) - at) < 1e-5


def test_of_two_bases_with_adapters_no_model_at_t_can_be_saved(recipe, rows, shelf, tmp_path):
    question = parse(tiny.experiment(recipe("adapter"), recipe("adapter", seed=2, base=6), rows))
    with pytest.raises(QuestionError, match="on two bases"):
        list(export(question, Take(0.4), shelf, out=tmp_path / "out"))


def test_a_recipe_begins_with_a_whole_model(recipe, shelf, tmp_path):
    out = handed_over(recipe("adapter"), shelf, tmp_path / "out")
    with pytest.raises(QuestionError, match="a recipe begins with a whole model"):
        resolve_recipe(parse_recipe(recipe("full") | {"base": f"local:{out}"}))


def test_a_delta_on_the_hub_is_fetched_with_its_base(server, recipe, rows, saved, tmp_path, store):
    """Tuned from a base on the Hub, sent there, and joined with another one that is trained here."""
    server.put("org/base", saved("bert", 5, opener=AutoModel))
    asked = [recipe("adapter", seed=seed) | {"base": "hub:org/base"} for seed in (1, 2)]
    out = handed_over(asked[0], store, tmp_path / "out")
    server.put("org/delta", out)
    expected = answered(tiny.experiment(*asked, rows), store)
    found = look("hub:org/delta", "a")
    assert (
        found.delta.bottleneck == 5 and found.base.address.startswith("hub:org/base@") and found.labels == ("no", "yes")
    )
    result = answered(tiny.experiment("hub:org/delta", asked[1], rows), Store(tmp_path / "other"))
    assert result["loss"] == expected["loss"]


@pytest.mark.parametrize(
    ("base", "said"), [("local:mine@123", "folder of somebody's machine"), ("hub:org/delta", "delta of another model")]
)
def test_a_delta_on_the_hub_names_a_base_that_everybody_has(base, said, server, recipe, shelf, tmp_path):
    folder = shutil.copytree(trained(recipe("adapter"), shelf), tmp_path / "mine")
    tiny.write(folder / deltas.TOLD, json.loads((folder / deltas.TOLD).read_text()) | {"base": base})
    server.put("org/delta", folder)
    with pytest.raises(QuestionError, match=said):
        look("hub:org/delta", "a")
