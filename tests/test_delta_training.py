"""The training of a delta: what has gradients, seeds, interruptions; and pairs that are refused before anything is trained."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import plain_training
import pytest
import tiny
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from mcore.errors import Cancelled, QuestionError
from mcore.limits import check_size
from mcore.models import deltas
from mcore.profile import profile
from mcore.question import parse, parse_recipe
from mcore.resolve import resolve, resolve_recipe
from mcore.store import Store
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


@pytest.mark.parametrize(
    ("a", "b", "path", "field", "said"),
    [
        (
            ("adapter", {}),
            ("adapter", {"bottleneck": 4}),
            {},
            "b",
            "adapters of 5 units, gelu and B Houlsby adapters of 4 units",
        ),
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


@pytest.mark.parametrize("method", EVERY)
def test_a_training_that_was_stopped_goes_on_to_the_same_bytes_and_so_does_one_that_is_continued(
    method, recipe, tmp_path
):
    asked, whole = recipe(method, steps=6, cartography=8), Store(tmp_path / "whole")
    resolved = resolve_recipe(parse_recipe(asked))
    expected = (trained(asked, whole) / deltas.FILE).read_bytes()
    store, count = Store(tmp_path / "stopped"), iter(range(1000))
    with pytest.raises(Cancelled):
        list(finetune(resolved, store, "recipe", stop=lambda: next(count) >= 5))
    state = load_file(store.work(resolved.schedule) / "state.safetensors")
    assert {name.removeprefix("model.") for name in state if name.startswith("model.")} == set(
        load_file(whole.folder(resolved.fingerprint) / deltas.FILE)
    )
    folder = trained(asked, store)
    assert (folder / deltas.FILE).read_bytes() == expected and (folder / "cartography.safetensors").exists()
    further = trained(asked | {"continued": [2]}, store)
    moved = [load_file(one / deltas.FILE) for one in (folder, further)]
    assert moved[0].keys() == moved[1].keys() and any(
        not torch.equal(moved[0][name], moved[1][name]) for name in moved[0]
    )
    assert json.loads((further / "training.json").read_text())["curve"][-1]["step"] == 8


@pytest.mark.parametrize("method", ["adapter", "prefix", "lora"])
def test_the_seed_of_what_is_added_acts_apart_from_that_of_the_head(method, recipe, shelf):
    still = {"steps": 1, "learning_rate": 1e-12}
    one, other, head = (
        load_file(trained(recipe(method, **still, delta_seed=delta, **more), shelf) / deltas.FILE)
        for delta, more in ((1, {}), (2, {}), (1, {"seed": 2}))
    )
    first = next(name for name in one if "adapter.down.weight" in name or "prefix.keys" in name or "lora_A" in name)
    near = {"atol": 1e-9}
    assert torch.allclose(one["classifier.weight"], other["classifier.weight"], **near) and not torch.allclose(
        one[first], other[first], atol=1e-3
    )
    assert torch.allclose(one[first], head[first], **near) and not torch.allclose(
        one["classifier.weight"], head["classifier.weight"], atol=1e-3
    )
    left_out = resolve_recipe(parse_recipe(recipe(method, seed=7)))
    assert left_out.recipe.delta_seed == 7


def test_adapters_do_without_peft(recipe, shelf, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    trained(recipe("adapter", seed=9), shelf)
    with pytest.raises(ImportError):
        trained(recipe("lora", seed=9), shelf)


def test_a_host_counts_what_is_added(recipe, rows):
    question = parse(
        tiny.experiment(recipe("adapter", bottleneck=4000), recipe("adapter", seed=2, bottleneck=4000), rows)
    )
    resolved = resolve(question)
    room = replace(profile(), parameters=resolved.a.looked_at.parameters + 1000)
    with pytest.raises(QuestionError, match="with those that are added"):
        check_size(resolved, room)
    check_size(resolve(parse(tiny.experiment(recipe("full"), recipe("full", seed=2), rows))), room)


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
        put_beside(
            model.get_submodule(name),
            {part: begun[f"{name}.adapter.{part}"] for part in ("down.weight", "down.bias", "up.weight", "up.bias")},
        )
    chosen = resolved.training.rows
    loss = plain_training.classification(
        model, tokenizer, chosen.texts, chosen.labels.tolist(), resolved.training.max_length
    )
    plain_training.train(model, loss, len(chosen), 5, 8, 0.01, 1)
    ended = load_file(trained(asked.model_dump(mode="json", exclude_none=True), store) / deltas.FILE)
    own = dict(model.named_parameters())
    assert {name for name, tensor in own.items() if tensor.requires_grad} == set(ended)
    for name, tensor in ended.items():
        assert torch.allclose(tensor, own[name], atol=1e-6) and not torch.equal(tensor, begun[name]), name


def put_beside(layer, tensors):
    """An adapter behind the layer, whose parameters are called as those of the app's are."""
    layer.adapter = torch.nn.ModuleDict(
        {part: torch.nn.Linear(*tensors[f"{part}.weight"].shape[::-1]) for part in ("down", "up")}
    )
    with torch.no_grad():
        for name, tensor in tensors.items():
            layer.adapter.get_parameter(name).copy_(tensor)
    layer.register_forward_hook(
        lambda layer, taken, x: x + layer.adapter["up"](torch.nn.functional.gelu(layer.adapter["down"](x)))
    )
