"""Adapters that peft saved: merged into their bases, they are read like the whole models that peft makes of them."""

from __future__ import annotations

import json
import shutil

import peft
import pytest
import tiny
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from test_weights import Opened, asked, contents, fetched, losses

from mcore.errors import QuestionError
from mcore.hub import repositories as hub_client
from mcore.hub.remote import at_hand, fetch, to_fetch
from mcore.models.adapters import base_on_the_hub
from mcore.resolve import resolve
from mcore.run import run
from mcore.sources import look
from mcore.store import Store

KINDS = {
    "lora": (peft.LoraConfig, {"r": 4, "lora_alpha": 12}), "rslora": (peft.LoraConfig, {"r": 4, "use_rslora": True}),
    "dora": (peft.LoraConfig, {"r": 4, "use_dora": True}), "biases": (peft.LoraConfig, {"r": 4, "bias": "all"}),
    "patterns": (peft.LoraConfig, {"r": 4, "rank_pattern": {"value": 2}, "alpha_pattern": {"layer.1.attention.self.query": 64}}),
    "ia3": (peft.IA3Config, {"feedforward_modules": []}), "loha": (peft.LoHaConfig, {"r": 4}), "lokr": (peft.LoKrConfig, {"r": 4}),
    "oft": (peft.OFTConfig, {"oft_block_size": 8, "r": 0}),
}  # fmt: skip
TARGETS = {"bert": ["query", "value"], "gpt2": ["c_attn"], "roberta": ["query", "dense"], "distilbert": ["q_lin"]}


def base(folder, family="bert", seed=1, opener=hf.AutoModelForMaskedLM):
    return tiny.save(folder, family, seed, opener=opener)


def adapter(folder, on, name, seed, kind="lora", family="bert", labels=2, task="SEQ_CLS", tokenizer=False, **more):
    """A random adapter of the base in ``on``, saved as peft saves it; the whole model as peft itself merges it."""
    made, given = KINDS[kind]
    opener = {"SEQ_CLS": hf.AutoModelForSequenceClassification, "CAUSAL_LM": hf.AutoModelForCausalLM, "SEQ_2_SEQ_LM": hf.AutoModelForSeq2SeqLM}[task]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = opener.from_pretrained(on, **({"num_labels": labels} if task == "SEQ_CLS" else {}))
        adapted = peft.get_peft_model(model, made(task_type=task, target_modules=more.pop("target_modules", TARGETS.get(family)), **given | more))
        with torch.no_grad():
            for one in adapted.parameters():
                if one.requires_grad:
                    one.add_(0.1 * torch.randn_like(one))
    adapted.save_pretrained(folder)
    set_config(folder, base_model_name_or_path=name)
    whole = folder.parent / f"{folder.name}-whole"
    adapted.merge_and_unload().save_pretrained(whole)
    shutil.copyfile(on / "tokenizer.json", whole / "tokenizer.json")
    shutil.copyfile(on / "tokenizer_config.json", whole / "tokenizer_config.json")
    if tokenizer:
        shutil.copyfile(on / "tokenizer.json", folder / "tokenizer.json")
    return folder, whole


def set_config(folder, **changes):
    config = json.loads((folder / "adapter_config.json").read_text())
    tiny.write(folder / "adapter_config.json", config | changes)


@pytest.fixture
def bert(tmp_path):
    return base(tmp_path / "base")


@pytest.fixture
def on_bert(bert, tmp_path):
    """Two adapters of one base without a head and a pooler, in local folders, with the models that they make."""
    made = [adapter(tmp_path / side, bert, str(bert), seed, modules_to_save=["classifier", "pooler.dense"]) for side, seed in (("a", 1), ("b", 2))]
    return [folder for folder, _ in made], [whole for _, whole in made]


def test_two_adapters_of_one_base_give_what_peft_makes_of_them(on_bert, rows, store, tmp_path):
    (a, b), whole = on_bert
    question = asked(f"local:{a}", f"local:{b}", rows)
    assert losses(question, store) == pytest.approx(losses(asked(*(f"local:{one}" for one in whole), rows), Store(tmp_path / "other")), abs=1e-6)
    resolved = resolve(question)
    assert resolved.a.labels == ("LABEL_0", "LABEL_1") and resolved.fingerprint == resolve(resolved.experiment).fingerprint
    assert any("is an adapter; it is merged into its base" in notice for notice in resolved.notices)
    assert len(store.entries("rewritten")) == 2


def test_an_adapter_is_another_model_when_anything_of_its_base_is(bert, on_bert, tmp_path):
    a = on_bert[0][0]
    before = look(f"local:{a}", "a")
    config = json.loads((bert / "config.json").read_text())
    tiny.write(bert / "config.json", config | {"layer_norm_eps": 1e-3})
    assert look(f"local:{a}", "a").digest != before.digest
    tiny.write(bert / "config.json", config)
    shutil.copyfile(base(tmp_path / "other", seed=5) / "model.safetensors", bert / "model.safetensors")
    assert look(f"local:{a}", "a").digest != before.digest


def test_an_adapter_and_a_whole_model_are_joined(on_bert, rows, store):
    (a, _), (_, whole) = on_bert
    assert len(losses(asked(f"local:{a}", f"local:{whole}", rows), store)) == 3


def test_an_adapter_on_the_hub_is_fetched_with_its_base_and_nothing_is_asked_twice(server, bert, on_bert, rows, store, tmp_path):
    (a, b), whole = on_bert
    base_commit = server.put("org/base", bert)
    for side, folder in (("a", a), ("b", b)):
        set_config(folder, base_model_name_or_path="org/base", revision=None)
        server.put(f"org/{side}", folder)
    question = asked("hub:org/a", "hub:org/b", rows)
    looked = look("hub:org/a", "a")
    assert sum(one.sent for one in server.asked) < 1_000_000 and looked.base.address == f"hub:org/base@{base_commit}"
    assert to_fetch(looked) >= (bert / "model.safetensors").stat().st_size + (a / "adapter_model.safetensors").stat().st_size == looked.bytes
    expected = losses(asked(*(f"local:{one}" for one in whole), rows), Store(tmp_path / "other"))
    assert losses(question, store) == pytest.approx(expected, abs=1e-6)
    assert len([path for path in fetched(server, ".safetensors") if "/base/" in path]) == 2  # its header, and once the whole
    pinned = resolve(question)
    server.asked.clear()
    server.put("org/base", contents(bert) | {"more.txt": b"x"})
    hub_client._newest.clear()  # as after a minute: the base stays what it was
    assert resolve(pinned.experiment).fingerprint == pinned.fingerprint
    assert losses(pinned.experiment, store) == pytest.approx(expected, abs=1e-6) and not server.asked
    assert f"org/a@{pinned.experiment.a.partition('@')[2]} is an adapter; it is merged into its base hub:org/base@{base_commit}." in pinned.notices


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_that_is_merged_is_merged_as_peft_merges_it(bert, tmp_path, store, kind):
    folder, whole = adapter(tmp_path / "a", bert, str(bert), 3, kind, labels=3, modules_to_save=["classifier", "pooler.dense"])
    looked = look(f"local:{folder}", "a")
    here = at_hand(looked, "a", store)
    ours, theirs = load_file(here.folder / "model.safetensors"), load_file(whole / "model.safetensors")
    assert ours.keys() == theirs.keys() and looked.labels == ("LABEL_0", "LABEL_1", "LABEL_2") == here.labels
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, atol=1e-6, rtol=1e-5)
    plain = {name: tensor for name, tensor in load_file(bert / "model.safetensors").items() if name in theirs}
    assert any(not torch.equal(plain[name], theirs[name]) for name in plain)  # the adapter does something
    assert here.parameters == pytest.approx(looked.parameters, rel=0.1) and here.digest == looked.digest


@pytest.mark.parametrize("family", ["gpt2", "roberta"])
def test_other_architectures_are_merged_too(tmp_path, store, family):
    opener = {"gpt2": hf.AutoModelForCausalLM, "roberta": hf.AutoModelForMaskedLM}[family]
    on = base(tmp_path / "base", family, opener=opener)
    folder, whole = adapter(tmp_path / "a", on, str(on), 3, family=family, fan_in_fan_out=family == "gpt2")
    here = at_hand(look(f"local:{folder}", "a"), "a", store)
    assert here.labels == ("LABEL_0", "LABEL_1")
    for name, tensor in load_file(whole / "model.safetensors").items():
        torch.testing.assert_close(load_file(here.folder / "model.safetensors")[name], tensor, atol=1e-6, rtol=1e-5)


def test_a_language_model_stays_one(tmp_path, store):
    on = base(tmp_path / "base", "gpt2", opener=hf.AutoModelForCausalLM)
    folder, whole = adapter(tmp_path / "a", on, str(on), 3, family="gpt2", task="CAUSAL_LM", fan_in_fan_out=True)
    looked = look(f"local:{folder}", "a")
    here = at_hand(looked, "a", store)
    assert looked.labels is here.labels is None and here.config["architectures"] == ["GPT2LMHeadModel"] == looked.config["architectures"]
    ids = torch.arange(3, 12)[None]
    ours, theirs = (hf.AutoModelForCausalLM.from_pretrained(one).eval()(ids).logits for one in (here.folder, whole))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_labels_are_those_of_the_base_only_where_its_head_stays(tmp_path):
    on = base(tmp_path / "base", opener=hf.AutoModelForSequenceClassification)  # its labels are no and yes
    new, _ = adapter(tmp_path / "new", on, str(on), 3)
    assert look(f"local:{new}", "a").labels == ("LABEL_0", "LABEL_1")  # a head that was trained anew may mean anything
    kept = shutil.copytree(new, tmp_path / "kept")
    save_file({n: t for n, t in load_file(new / "adapter_model.safetensors").items() if "lora" in n}, kept / "adapter_model.safetensors")
    set_config(kept, modules_to_save=None)
    assert look(f"local:{kept}", "a").labels == ("no", "yes")


def test_a_head_that_neither_has_is_told(tmp_path, rows, store):
    on = base(tmp_path / "base", "distilbert")
    folder, _ = adapter(tmp_path / "a", on, str(on), 3, family="distilbert")
    saved = load_file(folder / "adapter_model.safetensors")
    save_file({name: t for name, t in saved.items() if "pre_classifier" not in name}, folder / "adapter_model.safetensors")  # as earlier versions of peft did
    with pytest.raises(QuestionError, match=r"^a: neither the adapter nor its base has the weights pre_classifier.bias, pre_classifier.weight; save it with modules_to_save"):
        list(run(asked(f"local:{folder}", f"local:{folder}", rows), store))


def test_the_adapters_own_tokenizer_comes_first(bert, tmp_path, store):
    folder, _ = adapter(tmp_path / "a", bert, str(bert), 3, modules_to_save=["classifier", "pooler.dense"], tokenizer=True)
    told = json.loads((folder / "tokenizer.json").read_text())
    tiny.write(folder / "tokenizer.json", told | {"normalizer": None})
    looked = look(f"local:{folder}", "a")
    assert looked.tokenizer != looked.base.tokenizer == look(f"local:{bert}", "a").tokenizer
    assert json.loads((at_hand(looked, "a", store).folder / "tokenizer.json").read_text())["normalizer"] is None


def test_an_adapter_in_a_pickle_follows_the_same_rule(server, bert, tmp_path, store, host):
    folder, whole = adapter(tmp_path / "a", bert, "org/base", 3, modules_to_save=["classifier", "pooler.dense"])
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    server.put("org/base", bert)
    server.put("org/a", folder)
    looked = look("hub:org/a", "a")
    assert any("read from a pickle (adapter_model.bin)" in notice for notice in looked.notices)
    list(fetch(looked, "a", lambda: False))
    here = at_hand(looked, "a", store)
    name = "bert.encoder.layer.0.attention.self.query.weight"
    torch.testing.assert_close(load_file(here.folder / "model.safetensors")[name], load_file(whole / "model.safetensors")[name])
    torch.save({"w": Opened(str(tmp_path / "ran"))}, folder / "adapter_model.bin")
    with pytest.raises(QuestionError, match="adapter_model.bin is damaged, or holds something other than tensors"):
        set_config(folder, base_model_name_or_path=str(bert))
        at_hand(look(f"local:{folder}", "a"), "a", store)
    assert not (tmp_path / "ran").exists()
    host()
    with pytest.raises(QuestionError, match="which this host does not open"):
        look("hub:org/a", "a")


def test_a_base_is_found_by_its_old_name_and_never_by_a_path(server, bert, tmp_path, host):
    assert base_on_the_hub({"base_model_name_or_path": "bert-base-uncased"}, "a") == "google-bert/bert-base-uncased"
    assert base_on_the_hub({"base_model_name_or_path": "gpt2", "revision": "main"}, "a") == "openai-community/gpt2@main"
    assert base_on_the_hub({"base_model_name_or_path": "roberta-base"}, "a") == "FacebookAI/roberta-base"
    folder, _ = adapter(tmp_path / "a", bert, str(bert), 3)
    for name in (str(bert), "../base", "/etc", "C:\\models\\base", "org/base/more", "", None, 7, "http://elsewhere/x/y", "org/base@x"):
        set_config(folder, base_model_name_or_path=name)
        server.put("org/a", folder)
        hub_client._newest.clear()
        with pytest.raises(QuestionError, match="^a: its adapter_config.json names the base .* which is no repository on the Hub|has no revision 'x'|no repository org/base"):
            look("hub:org/a", "a")
    host()
    with pytest.raises(QuestionError, match="run it on your own machine"):
        hub_client._newest.clear()
        set_config(folder, base_model_name_or_path=str(bert))
        server.put("org/a", folder)
        look("hub:org/a", "a")


def test_an_adapter_of_an_adapter_and_of_itself_is_refused(server, bert, tmp_path):
    folder, _ = adapter(tmp_path / "a", bert, "org/self", 3)
    server.put("org/self", folder)
    with pytest.raises(QuestionError, match="^a: its base org/self is an adapter too"):
        look("hub:org/self", "a")
    set_config(folder, base_model_name_or_path=str(folder))
    with pytest.raises(QuestionError, match="^a: "):
        look(f"local:{folder}", "a")


@pytest.mark.parametrize(("changes", "said"), [
    ({"peft_type": "PREFIX_TUNING"}, "of the kind PREFIX_TUNING, which has no weights to merge"), ({"peft_type": ["x"]}, "of the kind"),
    ({"peft_type": "XLORA"}, "of the kind XLORA"), ({"megatron_config": {"x": 1}, "megatron_core": "antigravity"}, "sets megatron_config"),
    ({"layer_replication": [[0, 10**9]]}, "sets layer_replication"), ({"init_lora_weights": "pissa"}, "sets init_lora_weights"),
    ({"r": 10**9}, "the rank in its"), ({"r": "8"}, "the rank in its"), ({"rank_pattern": {"query": 10**9}}, "the rank in its"),
    ({"alpha_pattern": {"(a+)+$": 1}}, "alpha_pattern in its"), ({"modules_to_save": "classifier"}, "modules_to_save in its"),
    ({"task_type": "TOKEN_CLS"}, "for the task TOKEN_CLS|LABEL"),
])  # fmt: skip
def test_settings_that_are_no_data_are_refused(bert, tmp_path, changes, said):
    folder, _ = adapter(tmp_path / "a", bert, str(bert), 3)
    if changes.get("task_type"):
            save_file({n: t for n, t in load_file(folder / "adapter_model.safetensors").items() if "lora" in n}, folder / "adapter_model.safetensors")
    set_config(folder, **changes)
    with pytest.raises(QuestionError, match=f"^a: .*{said}"):
        look(f"local:{folder}", "a")


def test_patterns_and_modules_that_a_config_names_are_not_used(bert, tmp_path, store):
    folder, _ = adapter(tmp_path / "a", bert, str(bert), 3, modules_to_save=["classifier", "pooler.dense"])
    set_config(folder, target_modules="(a+)+$", exclude_modules="(a+)+$", auto_mapping={"parent_library": "antigravity", "base_model_class": "x"})
    assert at_hand(look(f"local:{folder}", "a"), "a", store).parameters


def test_an_adapter_that_does_not_fit_its_base_is_told(bert, tmp_path, rows, store):
    other = base(tmp_path / "other", "minilm")
    folder, _ = adapter(tmp_path / "a", other, str(bert), 3, modules_to_save=["classifier", "pooler.dense"])
    with pytest.raises(QuestionError, match="^a: peft cannot merge it into local:"):
        at_hand(look(f"local:{folder}", "a"), "a", store)


@pytest.mark.parametrize(("family", "opener", "task", "targets"), [
    ("gpt2", hf.AutoModelForCausalLM, "CAUSAL_LM", ["c_attn"]), ("t5", hf.AutoModelForSeq2SeqLM, "SEQ_2_SEQ_LM", ["q", "v"]),
])  # fmt: skip
def test_two_adapters_of_a_language_model_are_read_like_the_models_that_they_make(tmp_path, store, family, opener, task, targets):
    on, ends = base(tmp_path / "base", family, opener=opener), []
    for side, seed in (("a", 1), ("b", 2)):
        ends.append(adapter(tmp_path / side, on, str(on), seed, family=family, task=task, target_modules=targets, fan_in_fan_out=family == "gpt2"))
    file = tmp_path / "texts.csv"
    file.write_text("text,label\n" + "".join(f"{tiny.sentence(i)},{tiny.LABELS[i % 2]}\n" for i in range(12)))
    told = [{"task": f"local:{file}", "max_length": 16, "template": "{text}", "answers": ["she", "he"]}]
    ours, theirs = (losses(asked(f"local:{ends[0][i]}", f"local:{ends[1][i]}", file, tasks=told), Store(tmp_path / f"store{i}")) for i in (0, 1))
    assert len(ours) == 3 and ours == pytest.approx(theirs, abs=1e-5)
