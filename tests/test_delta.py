"""Delta-tuned ends: only what was tuned moves, and every point is what a plain computation with peft, hooks or sums gives."""

from __future__ import annotations

import shutil

import pytest
import reference
import tiny
import torch
from delta_reference import mixed, put, with_adapters, with_lora
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer
from transformers.cache_utils import DynamicCache
from transformers.pytorch_utils import Conv1D

from mcore.evaluation import evaluate
from mcore.evaluation.responses import place
from mcore.live.delta import add, plain_name, trained
from mcore.models import deltas
from mcore.models.added import tuned
from mcore.paths.laying import lay
from mcore.plan import Point
from mcore.progress import Progress
from mcore.question import parse, parse_recipe
from mcore.resolve import resolve, resolve_recipe
from mcore.result import collect
from mcore.run import joined, run
from mcore.store import Store

METHODS = ("lora", "adapter", "prefix", "bitfit")
KINDS = ("bert", "roberta", "distilbert", "electra", "gpt2", "t5")
SETTINGS = {
    "lora": {"rank": 3, "alpha": 5.0}, "adapter": {"bottleneck": 5, "init_scale": 0.3, "activation": "tanh"},
    "prefix": {"prefix_length": 3, "init_scale": 1.0}, "bitfit": {}, "full": {},
}  # fmt: skip
TS = (0.0, 0.35, 1.0)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("deltas"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.task(tmp_path_factory.mktemp("task") / "rows.csv")


@pytest.fixture(scope="module")
def recipe(saved, data):
    """recipe(method, family, seed, **fields): a few steps from one base, far enough that everything that is tuned has moved."""

    def make(method, family="bert", seed=1, **fields):
        return {"base": f"local:{saved(family, 5, opener=AutoModel)}", "task": {"task": f"local:{data}", "split": "train", "max_length": 24}, "method": method,
                "steps": 4, "batch_size": 8, "learning_rate": 0.05, "head_seed": seed, "data_seed": seed, **SETTINGS[method], **fields}  # fmt: skip

    return make


def answered(question, store):
    """The result, and the resolved question."""
    asked = parse(question)
    list(run(asked, store))
    resolved = resolve(asked)
    return collect(resolved, store), resolved


def pair(recipe, data, method, family="bert", **path):
    given = {"path": {"kind": "linear", **path}} if path else {}
    return tiny.experiment(recipe(method, family, 1), recipe(method, family, 2), data, points=list(TS), **given)


def kept(resolved, store):
    """What was tuned at either end."""
    return [load_file(store.folder(end.fingerprint) / deltas.FILE) for end in (resolved.a, resolved.b)]


def base_model(resolved, family):
    """The base with a head for the task, as transformers alone makes it: what the base lacks is left at random."""
    model = AutoModelForSequenceClassification.from_pretrained(
        resolved.a.looked_at.folder, num_labels=2, dtype=torch.float32
    ).eval()
    if family == "gpt2":
        model.config.pad_token_id = 0
    return model


def losses(model, resolved):
    """The reference's loss on the evaluated rows."""
    task = resolved.tasks[0]
    scores = reference.logits(model, resolved.a.looked_at.folder, task.rows.texts, task.max_length)
    return reference.loss(scores, task.rows.labels)


@pytest.mark.parametrize("family", KINDS)
def test_between_two_lora_ends_each_factor_moves(family, recipe, data, shelf):
    result, resolved = answered(pair(recipe, data, "lora", family), shelf)
    assert resolved.route.spec.lora == "factors"
    ends, turned = kept(resolved, shelf), family == "gpt2"
    for t, loss in zip(result["tasks"][0]["t"], result["tasks"][0]["loss"], strict=True):
        assert abs(losses(with_lora(base_model(resolved, family), mixed(*ends, t), turned), resolved) - loss) < 1e-5, t


@pytest.mark.parametrize("family", KINDS)
def test_between_two_lora_ends_the_merged_change_moves_where_that_is_asked(family, recipe, data, shelf):
    result, resolved = answered(pair(recipe, data, "lora", family, lora="merged"), shelf)
    a, b = kept(resolved, shelf)
    for t, loss in zip(result["tasks"][0]["t"], result["tasks"][0]["loss"], strict=True):
        model = base_model(resolved, family)
        plain = {name: tensor for name, tensor in mixed(a, b, t).items() if ".lora_" not in name}
        for name in [name for name in a if ".lora_A" in name]:
            module, other = name.partition(".lora_")[0], name.replace("lora_A", "lora_B")
            change = 5.0 / 3 * ((1 - t) * a[other] @ a[name] + t * b[other] @ b[name])
            weight = model.get_submodule(module).weight.data
            plain[f"{module}.weight"] = weight + (
                change.T if isinstance(model.get_submodule(module), Conv1D) else change
            )
        assert abs(losses(put(model, plain), resolved) - loss) < 1e-5, t
    factors, _ = answered(pair(recipe, data, "lora", family), shelf)
    ends, middle = (factors["tasks"][0]["loss"], result["tasks"][0]["loss"]), 1
    assert (
        all(abs(ends[0][i] - ends[1][i]) < 1e-5 for i in (0, 2)) and abs(ends[0][middle] - ends[1][middle]) > 1e-4
    )  # the ends agree, the ways differ


@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer"])
def test_between_two_ends_with_adapters_the_adapters_move(family, placement, recipe, data, shelf):
    ends = [recipe("adapter", family, seed, placement=placement) for seed in (1, 2)]
    result, resolved = answered(tiny.experiment(*ends, data, points=list(TS)), shelf)
    a, b = kept(resolved, shelf)
    blocks = {"t5": (2 * 2 + 3 * 2, 2 + 2)}.get(family, (4, 2))[placement == "pfeiffer"]
    assert len([name for name in a if name.endswith("adapter.down.weight")]) == blocks
    for t, loss in zip(result["tasks"][0]["t"], result["tasks"][0]["loss"], strict=True):
        assert abs(losses(with_adapters(base_model(resolved, family), mixed(a, b, t)), resolved) - loss) < 1e-5, t


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra", "gpt2"])
def test_between_two_ends_of_bitfit_the_biases_move(family, recipe, data, shelf):
    result, resolved = answered(pair(recipe, data, "bitfit", family), shelf)
    a, b = kept(resolved, shelf)
    model = base_model(resolved, family)
    own = {
        name
        for name, _ in model.named_parameters()
        if name.endswith(".bias") and name.startswith(f"{model.base_model_prefix}.")
    }
    assert own <= set(a) and not any(name.endswith(".weight") and ".layer." in name for name in a)
    for t, loss in zip(result["tasks"][0]["t"], result["tasks"][0]["loss"], strict=True):
        assert abs(losses(put(base_model(resolved, family), mixed(a, b, t)), resolved) - loss) < 1e-5, t


def test_t5_which_has_no_biases_is_given_some(recipe, data, shelf):
    result, resolved = answered(pair(recipe, data, "bitfit", "t5"), shelf)
    a, b = kept(resolved, shelf)
    names = [name for name in a if name.endswith(".bias") and ".block." in name]
    assert len(names) == 2 * (4 + 2) + 2 * (8 + 2)
    for t, loss in zip(result["tasks"][0]["t"], result["tasks"][0]["loss"], strict=True):
        model, tensors = base_model(resolved, "t5"), mixed(a, b, t)
        for name in names:
            model.get_submodule(name.removesuffix(".bias")).register_forward_hook(
                lambda module, taken, given, bias=tensors[name]: given + bias
            )
        assert (
            abs(
                losses(put(model, {name: tensor for name, tensor in tensors.items() if name not in names}), resolved)
                - loss
            )
            < 1e-5
        ), t


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_between_two_ends_with_a_prefix_it_is_the_prefix_that_moves(family, recipe, data, shelf):
    """The reference hands the keys and values over as a cache of past tokens, and tells the others their positions."""
    result, resolved = answered(pair(recipe, data, "prefix", family), shelf)
    a, b = kept(resolved, shelf)
    tokenizer, task = AutoTokenizer.from_pretrained(resolved.a.looked_at.folder), resolved.tasks[0]
    for t, loss in zip(result["tasks"][0]["t"], result["tasks"][0]["loss"], strict=True):
        tensors, model = mixed(a, b, t), base_model(resolved, family)
        put(model, {name: tensor for name, tensor in tensors.items() if ".prefix." not in name})
        keys = [name for name in tensors if name.endswith(".prefix.keys")]
        scores = []
        for text in task.rows.texts:
            given = tokenizer(text, truncation=True, max_length=task.max_length, return_tensors="pt")
            count = given["input_ids"].shape[1]
            cache = DynamicCache(config=model.config)
            for layer, name in enumerate(sorted(keys)):
                cache.update(tensors[name][None], tensors[name.replace("keys", "values")][None], layer)
            mask = torch.ones(1, 3 + count, dtype=torch.long)
            with torch.no_grad():
                told = model.base_model(
                    **{**given, "attention_mask": mask}, position_ids=torch.arange(count)[None], past_key_values=cache
                )
                scores.append(model.score(told[0])[0, -1] if family == "gpt2" else model.classifier(told[1])[0])
        assert abs(reference.loss(torch.stack(scores), task.rows.labels) - loss) < 1e-5, t


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "path",
    [
        {"kind": "linear", "extend": 0.5}, {"kind": "slerp"}, {"kind": "partial", "move": ["attention", "head"]},
        {"kind": "bezier", "steps": 3, "learning_rate": 0.05}, {"kind": "mix", "steps": 3, "per": "tensor"},
    ],
    ids=lambda path: path["kind"],
)  # fmt: skip
def test_on_every_path_between_two_deltas_the_backbone_keeps_its_bytes(method, path, recipe, data, shelf):
    """Read from the live model at each t, and from the base's file."""
    question = tiny.experiment(
        recipe(method, "bert", 1), recipe(method, "bert", 2), part(data, "validation"), points=[0.3, 0.7], path=path
    )
    asked = parse(question)
    list(run(asked, shelf))
    resolved = resolve(asked)
    progress = Progress(resolved, shelf)
    live = exhausted(joined(progress, shelf, lambda: False))
    laid = exhausted(lay(live, progress, shelf, lambda: False))
    base = load_file(resolved.a.looked_at.folder / "model.safetensors")
    tuned = {
        name for end in (resolved.a, resolved.b) for name in load_file(shelf.folder(end.fingerprint) / deltas.FILE)
    }
    for t in (0.0, 0.3, 0.7, 1.0):
        place(laid, resolved, Point(0, t), progress.orders(0))
        still = {plain_name(name): tensor for name, tensor in laid.tensors.items() if name not in tuned}
        assert len(still) > 20
        for name, tensor in still.items():
            assert torch.equal(tensor, base[name.removeprefix("bert.")]), (t, name)
    if path["kind"] == "bezier":
        bend = load_file(shelf.folder(resolved.route.fingerprint) / "bend-1.safetensors")
        assert set(bend) == tuned


def test_a_curve_through_a_delta_trains_what_was_tuned(recipe, data, shelf):
    asked = parse(
        tiny.experiment(
            recipe("adapter"),
            recipe("adapter", seed=2),
            part(data, "validation"),
            path={"kind": "bezier", "steps": 3, "learning_rate": 0.05},
        )
    )
    list(run(asked, shelf))
    resolved = resolve(asked)
    bend = load_file(shelf.folder(resolved.route.fingerprint) / "bend-1.safetensors")
    middle = mixed(*kept(resolved, shelf), 0.5)
    assert all(not torch.allclose(bend[name], middle[name]) for name in bend if name.endswith("adapter.up.weight"))


def test_a_base_that_is_named_in_two_ways_is_one_backbone(recipe, data, shelf, tmp_path):
    other = shutil.copytree(recipe("adapter")["base"].removeprefix("local:"), tmp_path / "copy")
    ends = [recipe("adapter"), recipe("adapter", seed=2, base=f"local:{other}")]
    asked = parse(tiny.experiment(*ends, part(data, "validation"), path={"kind": "bezier", "steps": 2}))
    list(run(asked, shelf))
    resolved = resolve(asked)
    bend = load_file(shelf.folder(resolved.route.fingerprint) / "bend-1.safetensors")
    assert set(bend) == set(kept(resolved, shelf)[0])


def exhausted(stream):
    """What a generator returns."""
    while True:
        try:
            next(stream)
        except StopIteration as end:
            return end.value


def part(file, split):
    """A task on a part of the file, so that a path may be fitted on the other."""
    return {"task": f"local:{file}", "split": split, "max_length": 24}


@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layers", ["all", "last:1"])
def test_how_many_parameters_are_tuned_is_known_beforehand(family, method, layers, recipe):
    more = {} if method == "bitfit" else {"train_norms": True}
    resolved = resolve_recipe(parse_recipe(recipe(method, family, layers=layers, **more)))
    model = AutoModelForSequenceClassification.from_pretrained(resolved.base.folder, num_labels=2, dtype=torch.float32)
    new = {name for name, _ in model.named_parameters() if not name.startswith(f"{model.base_model_prefix}.")}
    names = trained(model, resolved.recipe, new, add(model, resolved.delta, 1, 0.1))
    count = sum(tensor.numel() for name, tensor in model.named_parameters() if name in names)
    assert tuned(resolved.delta, resolved.base, 2, bool(resolved.recipe.train_norms)) == count


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_in_bfloat16_too(method, family, recipe, data, shelf, monkeypatch):
    monkeypatch.setattr(evaluate, "has_bfloat16", lambda: True)  # slow without its products, and right
    exact, half = (
        answered(pair(recipe, data, method, family) | {"precision": precision}, shelf)[0]
        for precision in ("float32", "bfloat16")
    )
    losses = [result["tasks"][0]["loss"] for result in (exact, half)]
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], abs=0.03)
