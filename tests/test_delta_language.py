"""Delta-tuned language models: what was tuned moves, and the likelihood of each answer is that of a plain model with it."""

from __future__ import annotations

import pytest
import reference
import tiny
import torch
from delta_reference import mixed, put, with_adapters, with_lora
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, AutoTokenizer

from mcore.cli import main
from mcore.models import deltas
from mcore.question import parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import run
from mcore.store import Store

OPENERS = {
    "t5": AutoModelForSeq2SeqLM, "gpt2": AutoModelForCausalLM, "gpt-neox": AutoModelForCausalLM, "llama": AutoModelForCausalLM, "bert": AutoModelForMaskedLM,
}  # fmt: skip
PROMPTS = {
    "t5": "was she: {text}",
    **dict.fromkeys(("gpt2", "gpt-neox", "llama"), "{text}. she was"),
    "bert": "she was {mask} and {text}",
}
WORDS = ["sad", "merry"]
SETTINGS = {
    "lora": {"rank": 3, "alpha": 5.0},
    "adapter": {"bottleneck": 5, "init_scale": 0.3, "activation": "tanh"},
    "bitfit": {},
    "prefix": {"init_scale": 1.0},
}
TS = [0.0, 0.4, 1.0]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("deltas"))


@pytest.fixture(scope="module")
def recipe(saved, rows):
    def make(method, family, seed):
        task = {
            "task": f"local:{rows}",
            "max_length": 200 if family == "t5" else 60,
            "read": "answers",
            "template": PROMPTS[family],
            "answers": WORDS,
        }
        return {"base": f"local:{saved(family, 5, opener=OPENERS[family])}", "task": task, "method": method, "steps": 3, "batch_size": 8,
                "learning_rate": 0.05, "data_seed": seed, "delta_seed": seed, **SETTINGS[method]}  # fmt: skip

    def without(method, family, seed):
        asked = make(method, family, seed)
        return {name: value for name, value in asked.items() if not (name == "delta_seed" and method == "bitfit")}

    return without


def answered(recipe, method, family, store, **more):
    ends = [recipe(method, family, seed) for seed in (1, 2)]
    question = parse(tiny.experiment(*ends, ends[0]["task"], points=TS, **more))
    list(run(question, store))
    resolved = resolve(question)
    return collect(resolved, store)["tasks"][0], resolved


def nats(model, tokenizer, rows):
    """The mean loss of the right answer among all."""
    found = []
    for text, label in zip(rows.texts, rows.labels, strict=True):
        likely = [-reference.answer_nats(model, tokenizer, text, word)[0] for word in WORDS]
        found.append(torch.logsumexp(torch.tensor(likely), 0).item() - likely[label])
    return sum(found) / len(found)


@pytest.mark.parametrize("family", OPENERS)
@pytest.mark.parametrize("method", ["lora", "adapter", "bitfit"])
def test_along_the_path_answers_are_as_likely_as_to_a_plain_model_with_the_mixed_delta(method, family, recipe, shelf):
    result, resolved = answered(recipe, method, family, shelf)
    a, b = (load_file(shelf.folder(end.fingerprint) / deltas.FILE) for end in (resolved.a, resolved.b))
    base, task = resolved.a.looked_at.folder, resolved.tasks[0]
    tokenizer = AutoTokenizer.from_pretrained(base)
    for t, loss in zip(result["t"], result["loss"], strict=True):
        model, tensors = OPENERS[family].from_pretrained(base, dtype=torch.float32).eval(), mixed(a, b, t)
        if method == "lora":
            model = with_lora(model, tensors, family == "gpt2").base_model.model
        elif method == "adapter":
            model = with_adapters(model, tensors)
        else:
            added = [name for name in tensors if name not in model.state_dict()]
            assert bool(added) == (family in ("t5", "llama"))
            for name in added:
                model.get_submodule(name.removesuffix(".bias")).register_forward_hook(
                    lambda module, taken, given, bias=tensors[name]: given + bias
                )
            put(model, {name: tensor for name, tensor in tensors.items() if name not in added})
        assert abs(nats(model, tokenizer, task.rows) - loss) < 2e-5, t


@pytest.mark.parametrize("family", OPENERS)
def test_a_language_model_with_a_prefix_has_no_head_of_its_own_and_moves_the_prefix_alone(family, recipe, shelf):
    result, resolved = answered(recipe, "prefix", family, shelf)
    kept = load_file(shelf.folder(resolved.a.fingerprint) / deltas.FILE)
    assert kept and all(".prefix." in name for name in kept)
    assert result["loss"][0] != result["loss"][1] != result["loss"][2]


@pytest.mark.parametrize("family", ["t5", "gpt2"])
def test_lora_is_handed_over_as_a_whole_language_model(family, recipe, shelf, tmp_path):
    file, out = tiny.write(tmp_path / "recipe.json", recipe("lora", family, 1)), tmp_path / "out"
    assert main(["finetune", str(file), "--store", str(shelf.root), "--out", str(out)]) == 0
    result, resolved = answered(recipe, "lora", family, shelf)
    model, tokenizer, task = reference.load(out, OPENERS[family]), AutoTokenizer.from_pretrained(out), resolved.tasks[0]
    assert abs(nats(model, tokenizer, task.rows) - result["loss"][0]) < 2e-5


@pytest.mark.parametrize("family", ["t5", "gpt2"])
def test_a_folder_with_adapters_is_a_language_model_to_this_app(family, recipe, shelf, tmp_path):
    asked, out = recipe("adapter", family, 1), tmp_path / "out"
    assert (
        main(
            [
                "finetune",
                str(tiny.write(tmp_path / "recipe.json", asked)),
                "--store",
                str(shelf.root),
                "--out",
                str(out),
            ]
        )
        == 0
    )
    question = parse(tiny.experiment(out, recipe("adapter", family, 2), asked["task"], points=TS))
    list(run(question, shelf))
    assert (
        collect(resolve(question), shelf)["tasks"][0]["loss"] == answered(recipe, "adapter", family, shelf)[0]["loss"]
    )
