"""Checkpoints are looked at without being loaded, and what is wrong with one is said in a sentence."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from mcore.errors import QuestionError
from mcore.models.checkpoints import file_digest
from mcore.models.joinable import check_joinable
from mcore.sources import look


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved("bert", 0), tmp_path / "copy")


def at(folder):
    return look(f"local:{folder}", "a")


def set_config(folder, **fields):
    config = json.loads((folder / "config.json").read_text()) | fields
    tiny.write(folder / "config.json", {key: value for key, value in config.items() if value is not None})
    return folder


def test_a_checkpoint_is_what_its_files_hold_wherever_they_stand(saved, copy):
    here, there = at(saved("bert", 0)), at(copy)
    assert here.digest == there.digest != at(saved("bert", 1)).digest
    assert here.tokenizer == at(saved("bert", 1)).tokenizer
    model = tiny.model("bert", 0)
    assert here.parameters == sum(p.numel() for p in model.parameters())
    assert here.labels == tiny.LABELS and here.max_length == 64


def test_a_checkpoint_without_a_head_has_no_labels(saved):
    assert at(saved("bert", 1, opener=AutoModel)).labels is None


def test_positions_that_are_never_used_are_not_counted(saved):
    assert at(saved("roberta", 0)).max_length == 64  # of 66: positions count from the padding's id on


def test_every_file_that_matters_is_in_the_digest(copy):
    digests = {at(copy).digest}
    weights = load_file(copy / "model.safetensors")
    weights["classifier.bias"][0] += 1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    digests.add(at(copy).digest)
    set_config(copy, layer_norm_eps=1e-5)
    digests.add(at(copy).digest)
    data = json.loads((copy / "tokenizer.json").read_text())
    tiny.write(copy / "tokenizer.json", {**data, "normalizer": None})
    digests.add(at(copy).digest)
    assert len(digests) == 4


def test_padding_and_truncation_are_no_part_of_what_a_tokenizer_is(saved, copy):
    data = json.loads((copy / "tokenizer.json").read_text())
    tiny.write(copy / "tokenizer.json", {**data, "truncation": {"max_length": 9, "stride": 0, "strategy": "LongestFirst", "direction": "Right"}})
    check_joinable(at(saved("bert", 1)), at(copy))


def test_a_file_that_changed_has_another_digest(tmp_path):
    file = tiny.write(tmp_path / "x", "one")
    before = file_digest(file)
    tiny.write(file, "two")
    os.utime(file, ns=(1, 1))
    assert file_digest(file) != before


def damage_header(folder):
    (folder / "model.safetensors").write_bytes(b"\xff" * 1000)


def cut_short(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def only_a_shard(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    tiny.write(folder / "model.safetensors.index.json", {"weight_map": names})


def shards_elsewhere(folder):
    (folder / "model.safetensors").unlink()
    tiny.write(folder / "model.safetensors.index.json", {"weight_map": {"a": "../../../../etc/passwd"}})


BROKEN = {
    "no configuration": (lambda f: (f / "config.json").unlink(), "config.json"),
    "a configuration that is no json": (lambda f: tiny.write(f / "config.json", "{"), "JSON"),
    "a configuration that is a list": (lambda f: tiny.write(f / "config.json", "[]"), "JSON object"),
    "a configuration that is no text": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "JSON"),
    "a huge configuration": (lambda f: tiny.write(f / "config.json", " " * 9_000_000), "larger than"),
    "labels that are none": (lambda f: set_config(f, id2label={"x": "y"}), "id2label"),
    "labels that are a number": (lambda f: set_config(f, id2label=3), "id2label"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors"),
    "weights that are noise": (damage_header, "damaged"),
    "weights that end early": (cut_short, "damaged"),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), "damaged"),
    "no tensors": (lambda f: save_file({}, f / "model.safetensors"), "no tensors"),
    "a shard that is missing": (only_a_shard, "missing"),
    "shards in other folders": (shards_elsewhere, "names no files beside it"),
    "an index that is none": (lambda f: ((f / "model.safetensors").unlink(), tiny.write(f / "model.safetensors.index.json", {"weight_map": [1]})), "weight_map"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer"),
    "a tokenizer that is no json": (lambda f: tiny.write(f / "tokenizer.json", "{"), "JSON"),
    "a tokenizer that is a list": (lambda f: tiny.write(f / "tokenizer.json", "[]"), "JSON"),
}


@pytest.mark.parametrize(("damage", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_a_damaged_checkpoint_is_named_with_what_is_wrong(damage, says, copy):
    damage(copy)
    with pytest.raises(QuestionError, match=rf"^a: .*{says}") as told:
        at(copy)
    assert "\n" not in str(told.value) and len(str(told.value)) < 500


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("local:/nowhere/at/all", "no folder"), ("builtin:bronte", "austen"), ("builtin:austen@12", "1000"), ("builtin:../../x", "austen"),
        ("builtin:austen@../0", "1000"), ("hub:bert-base-uncased", "hub:ORG/NAME"), ("hub:org/name@main", "check the network"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_is_not_there_is_answered_with_what_is(address, says):
    with pytest.raises(QuestionError, match=rf"^b: .*{says}"):
        look(address, "b")


def test_two_seeds_and_two_label_sets_can_be_joined(saved):
    check_joinable(at(saved("bert", 0)), at(saved("bert", 1)))
    check_joinable(at(saved("bert", 0)), at(saved("bert", 1, labels=("x", "y", "z"))))


def test_another_architecture_size_or_vocabulary_cannot_be_joined(saved, tmp_path, copy):
    a = at(saved("bert", 0))
    with pytest.raises(QuestionError, match=r"^b: A is a bert model and B a electra model"):
        check_joinable(a, at(saved("electra", 0)))
    with pytest.raises(QuestionError, match=r"^b: .*size"):
        check_joinable(a, at(saved("minilm", 0)))
    weights = load_file(copy / "model.safetensors")
    name = "bert.embeddings.word_embeddings.weight"
    weights[name] = torch.cat([weights[name], weights[name][:7]])
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(QuestionError, match=rf"^b: its vocabulary has another size: {name} "):
        check_joinable(a, at(copy))


def test_other_words_in_a_vocabulary_of_one_size_cannot_be_joined(saved, copy):
    data = json.loads((copy / "tokenizer.json").read_text())
    vocabulary = data["model"]["vocab"]
    first, last = min(vocabulary, key=vocabulary.get), max(vocabulary, key=vocabulary.get)
    vocabulary[first], vocabulary[last] = vocabulary[last], vocabulary[first]
    tiny.write(copy / "tokenizer.json", data)
    with pytest.raises(QuestionError, match=r"^b: its tokenizer or vocabulary"):
        check_joinable(at(saved("bert", 0)), at(copy))
