"""Folders of delta-tuned models: what they hold, what opens them, and what is refused before anything runs."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace

import plain_training
import pytest
import reference
import tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from mcore import deltas
from mcore.cli import main
from mcore.errors import Cancelled, QuestionError
from mcore.export import export
from mcore.finetune import finetune
from mcore.limits import check_size
from mcore.profile import profile
from mcore.question import parse, parse_recipe
from mcore.resolve import resolve, resolve_recipe
from mcore.result import collect
from mcore.run import run
from mcore.sources import look
from mcore.store import Store
from mcore.taking import Take

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
def test_the_command_line_hands_over_a_model_that_loads_with_transformers_alone(method, family, recipe, rows, shelf, tmp_path, capsys):
    out = handed_over(recipe(method, family), shelf, tmp_path / "out")
    assert "app alone" not in capsys.readouterr().err and not (out / deltas.FILE).exists()
    end = answered(tiny.experiment(recipe(method, family), recipe(method, family), rows, points=2), shelf)
    assert "load with transformers alone" in (out / "README.md").read_text()
    task = resolve(parse(tiny.experiment(recipe(method, family), recipe(method, family), rows))).tasks[0]
    loss = reference.loss(reference.logits(reference.load(out), out, task.rows.texts, task.max_length), task.rows.labels)
    assert abs(loss - end["loss"][0]) < 1e-5


@pytest.mark.parametrize("method", INJECTED)
def test_what_transformers_cannot_open_is_handed_over_as_a_delta_that_this_app_opens(method, recipe, rows, shelf, tmp_path, capsys):
    out = handed_over(recipe(method), shelf, tmp_path / "out")
    assert f"local:{out}" in capsys.readouterr().err and "transformers alone does not open it" in (out / "README.md").read_text()
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
    save_file({name: tensor + 1e-3 for name, tensor in weights.items()}, beside / "model.safetensors", metadata={"format": "pt"})
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


@pytest.mark.parametrize(
    ("a", "b", "path", "field", "said"),
    [
        (("adapter", {}), ("adapter", {"bottleneck": 4}), {}, "b", "adapters of 5 units, gelu and B Houlsby adapters of 4 units"),
        (("adapter", {}), ("adapter", {"placement": "pfeiffer"}), {}, "b", "Pfeiffer"),
        (("adapter", {}), ("adapter", {"layers": "last:1"}), {}, "b", "in the last 1 layers"),
        (("adapter", {}), ("full", {}), {}, "b", "B plain weights"),
        (("adapter", {}), ("lora", {}), {}, "b", "LoRA"),
        (("prefix", {}), ("prefix", {"prefix_length": 4}), {}, "b", "a prefix of 4"),
        (("lora", {}), ("lora", {"rank": 4}), {"lora": "factors"}, "path.lora", "rank 4"),
        (("lora", {}), ("full", {}), {"lora": "factors"}, "path.lora", "plain weights"),
        (("full", {}), ("bitfit", {}), {"lora": "merged"}, "path.lora", "neither A nor B"),
        (("lora", {}), ("lora", {}), {"lora": "factors", "align": "weights"}, "path.align", '"lora": "merged"'),
        (("adapter", {}), ("adapter", {}), {"align": "weights"}, "path.align", "not described"),
        (("adapter", {}), ("adapter", {}), {"kind": "task-vector", "base": "BASE"}, "path.kind", "nothing to take"),
        (("adapter", {"layers": "last:3"}), ("adapter", {}), {}, "a.layers", "has 2 layers"),
    ],
)
def test_ends_that_cannot_be_joined_are_refused_with_what_each_has(a, b, path, field, said, recipe, rows):
    ends = [recipe(method, seed=seed, **more) for seed, (method, more) in enumerate((a, b), 1)]
    path = {"kind": "linear", **{name: ends[0]["base"] if value == "BASE" else value for name, value in path.items()}}
    with pytest.raises(QuestionError) as told:
        resolve(parse(tiny.experiment(*ends, rows, path=path)))
    assert told.value.field == field and said in str(told.value)


@pytest.mark.parametrize("family", ["albert", "modernbert"])
def test_an_architecture_that_is_not_described_is_refused(family, recipe):
    with pytest.raises(QuestionError, match=rf"in a {family} model is not described; use \"full\""):
        resolve_recipe(parse_recipe(recipe("adapter", family)))


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
def test_a_training_that_was_stopped_goes_on_to_the_same_bytes_and_so_does_one_that_is_continued(method, recipe, tmp_path):
    asked, whole = recipe(method, steps=6, cartography=8), Store(tmp_path / "whole")
    resolved = resolve_recipe(parse_recipe(asked))
    expected = (trained(asked, whole) / deltas.FILE).read_bytes()
    store, count = Store(tmp_path / "stopped"), iter(range(1000))
    with pytest.raises(Cancelled):
        list(finetune(resolved, store, "recipe", stop=lambda: next(count) >= 5))
    state = load_file(store.work(resolved.schedule) / "state.safetensors")
    assert {name.removeprefix("model.") for name in state if name.startswith("model.")} == set(load_file(whole.folder(resolved.fingerprint) / deltas.FILE))
    folder = trained(asked, store)
    assert (folder / deltas.FILE).read_bytes() == expected and (folder / "cartography.safetensors").exists()
    further = trained(asked | {"continued": [2]}, store)
    moved = [load_file(one / deltas.FILE) for one in (folder, further)]
    assert moved[0].keys() == moved[1].keys() and any(not torch.equal(moved[0][name], moved[1][name]) for name in moved[0])
    assert json.loads((further / "training.json").read_text())["curve"][-1]["step"] == 8


@pytest.mark.parametrize("method", ["adapter", "prefix", "lora"])
def test_the_seed_of_what_is_added_acts_apart_from_that_of_the_head(method, recipe, shelf):
    still = {"steps": 1, "learning_rate": 1e-12}
    one, other, head = (
        load_file(trained(recipe(method, **still, delta_seed=delta, **more), shelf) / deltas.FILE) for delta, more in ((1, {}), (2, {}), (1, {"seed": 2}))
    )
    first = next(name for name in one if "adapter.down.weight" in name or "prefix.keys" in name or "lora_A" in name)
    near = {"atol": 1e-9}
    assert torch.allclose(one["classifier.weight"], other["classifier.weight"], **near) and not torch.allclose(one[first], other[first], atol=1e-3)
    assert torch.allclose(one[first], head[first], **near) and not torch.allclose(one["classifier.weight"], head["classifier.weight"], atol=1e-3)
    left_out = resolve_recipe(parse_recipe(recipe(method, seed=7)))
    assert left_out.recipe.delta_seed == 7


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
        assert (out / deltas.FILE).exists() and abs(answered(tiny.experiment(out, out, rows, points=2), shelf)["loss"][0] - at) < 1e-5
        return
    task = resolve(parse(question)).tasks[0]
    assert not (out / deltas.FILE).exists()
    scores = reference.logits(AutoModelForSequenceClassification.from_pretrained(out, dtype=torch.float32).eval(), out, task.rows.texts, task.max_length)
    assert abs(reference.loss(scores, task.rows.labels) - at) < 1e-5


def test_of_two_bases_with_adapters_no_model_at_t_can_be_saved(recipe, rows, shelf, tmp_path):
    question = parse(tiny.experiment(recipe("adapter"), recipe("adapter", seed=2, base=6), rows))
    with pytest.raises(QuestionError, match="on two bases"):
        list(export(question, Take(0.4), shelf, out=tmp_path / "out"))


def test_a_recipe_begins_with_a_whole_model(recipe, shelf, tmp_path):
    out = handed_over(recipe("adapter"), shelf, tmp_path / "out")
    with pytest.raises(QuestionError, match="a recipe begins with a whole model"):
        resolve_recipe(parse_recipe(recipe("full") | {"base": f"local:{out}"}))


def test_adapters_do_without_peft(recipe, shelf):
    before = {name for name in sys.modules if name.partition(".")[0] == "peft"}
    trained(recipe("adapter", seed=9), shelf)
    assert {name for name in sys.modules if name.partition(".")[0] == "peft"} == before


def test_a_host_counts_what_is_added(recipe, rows):
    question = parse(tiny.experiment(recipe("adapter", bottleneck=4000), recipe("adapter", seed=2, bottleneck=4000), rows))
    resolved = resolve(question)
    room = replace(profile(), parameters=resolved.a.looked_at.parameters + 1000)
    with pytest.raises(QuestionError, match="with those that are added"):
        check_size(resolved, room)
    check_size(resolve(parse(tiny.experiment(recipe("full"), recipe("full", seed=2), rows))), room)


def test_a_delta_on_the_hub_is_fetched_with_its_base(server, recipe, rows, saved, tmp_path, store):
    """Tuned from a base on the Hub, sent there, and joined with another one that is trained here."""
    server.put("org/base", saved("bert", 5, opener=AutoModel))
    asked = [recipe("adapter", seed=seed) | {"base": "hub:org/base"} for seed in (1, 2)]
    out = handed_over(asked[0], store, tmp_path / "out")
    server.put("org/delta", out)
    expected = answered(tiny.experiment(*asked, rows), store)
    found = look("hub:org/delta", "a")
    assert found.delta.bottleneck == 5 and found.base.address.startswith("hub:org/base@") and found.labels == ("no", "yes")
    result = answered(tiny.experiment("hub:org/delta", asked[1], rows), Store(tmp_path / "other"))
    assert result["loss"] == expected["loss"]


@pytest.mark.parametrize(("base", "said"), [("local:mine@123", "folder of somebody's machine"), ("hub:org/delta", "delta of another model")])
def test_a_delta_on_the_hub_names_a_base_that_everybody_has(base, said, server, recipe, shelf, tmp_path):
    folder = shutil.copytree(trained(recipe("adapter"), shelf), tmp_path / "mine")
    tiny.write(folder / deltas.TOLD, json.loads((folder / deltas.TOLD).read_text()) | {"base": base})
    server.put("org/delta", folder)
    with pytest.raises(QuestionError, match=said):
        look("hub:org/delta", "a")


def test_a_training_is_that_of_a_plain_loop_in_which_nothing_else_has_gradients(recipe, rows, saved, store):
    """With modules of its own: adapters that are put in by hand begin as the recipe's do, and end where they end."""
    asked = parse_recipe(recipe("adapter", steps=5, learning_rate=0.01, cartography=0))
    resolved = resolve_recipe(asked)
    model = plain_training.classifier(saved("bert", 5, opener=AutoModel), ("no", "yes"), 1)
    tokenizer = AutoTokenizer.from_pretrained(resolved.base.folder)
    begun = load_file(trained(recipe("adapter", steps=1, learning_rate=1e-12, cartography=0), store) / deltas.FILE)
    model.requires_grad_(False)
    model.classifier.requires_grad_(True)
    for name in [name.removesuffix(".adapter.down.weight") for name in begun if name.endswith("adapter.down.weight")]:
        put_beside(model.get_submodule(name), {part: begun[f"{name}.adapter.{part}"] for part in ("down.weight", "down.bias", "up.weight", "up.bias")})
    chosen = resolved.training.rows
    loss = plain_training.classification(model, tokenizer, chosen.texts, chosen.labels.tolist(), resolved.training.max_length)
    plain_training.train(model, loss, len(chosen), 5, 8, 0.01, 1)
    ended = load_file(trained(asked.model_dump(mode="json", exclude_none=True), store) / deltas.FILE)
    own = dict(model.named_parameters())
    assert {name for name, tensor in own.items() if tensor.requires_grad} == set(ended)
    for name, tensor in ended.items():
        assert torch.allclose(tensor, own[name], atol=1e-6) and not torch.equal(tensor, begun[name]), name


def put_beside(layer, tensors):
    """An adapter behind the layer, whose parameters are called as those of the app's are."""
    layer.adapter = torch.nn.ModuleDict({part: torch.nn.Linear(*tensors[f"{part}.weight"].shape[::-1]) for part in ("down", "up")})
    with torch.no_grad():
        for name, tensor in tensors.items():
            layer.adapter.get_parameter(name).copy_(tensor)
    layer.register_forward_hook(lambda layer, taken, x: x + layer.adapter["up"](torch.nn.functional.gelu(layer.adapter["down"](x))))
