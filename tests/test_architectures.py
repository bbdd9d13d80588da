"""The engine agrees with the plain reference on every family of models, on every way of saving them, and on every head."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import reference
import tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from mcore import plan
from mcore.errors import QuestionError
from mcore.evaluation.evaluate import has_bfloat16
from mcore.question import parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import run
from mcore.tasks.batches import make_batches

POINTS = [0, 0.25, 0.5, 1]


def answer(question, store):
    """The result, and the stored responses: (task, t) -> [examples, classes]."""
    experiment = parse(question)
    list(run(experiment, store))
    resolved = resolve(experiment)
    responses = {}
    for number in range(len(resolved.tasks)):
        orders = plan.orders(resolved, number, store)
        for t in plan.wanted(resolved):
            responses[number, t] = plan.unpack(store.get(plan.key(resolved, plan.Point(number, t), orders)))
    return collect(resolved, store), responses, resolved


def agree(result, expected, task=0):
    assert result["tasks"][task]["t"] == POINTS
    assert result["tasks"][task]["loss"] == pytest.approx(expected, abs=1e-5)


def untouched(folder, resolved, task=0):
    """The logits of the checkpoint as transformers alone loads it, on the batches that the engine makes."""
    model, rows = reference.load(folder), resolved.tasks[task]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batches = make_batches(tokenizer, rows.rows.texts, rows.max_length, model.config.pad_token_id)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = -1  # or it refuses several rows at once, which are of one length here
    found = np.zeros((len(rows.rows), model.config.num_labels), np.float32)
    with torch.inference_mode():
        for batch in batches:
            found[list(batch.rows)] = model(**batch.inputs).logits.numpy()
    return found


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_engine_agrees_with_the_plain_reference_and_the_ends_are_the_checkpoints_bit_for_bit(family, saved, rows, store):
    a, b = saved(family, 0), saved(family, 1)
    result, responses, resolved = answer(tiny.experiment(a, b, rows, points=POINTS), store)
    data = resolved.tasks[0].rows
    expected = reference.curve(a, b, data.texts, data.labels, POINTS, max_length=16)
    assert max(expected) - min(expected) > 1e-3, "the curve is flat, so that agreement would say nothing"
    agree(result, expected)
    # Everything else is interpolated, what leads to the output layer too (the paper's way).
    assert np.array_equal(responses[0, 0.0], untouched(a, resolved))
    assert np.array_equal(responses[0, 1.0], untouched(b, resolved))


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
def test_pairs_of_texts_are_read_as_pairs(family, saved, store, tmp_path):
    a, b = saved(family, 0), saved(family, 1)
    pairs = tiny.task(tmp_path / "pairs.csv", pairs=True)
    result, _, resolved = answer(tiny.experiment(a, b, pairs, points=POINTS), store)
    data = resolved.tasks[0].rows
    assert isinstance(data.texts[0], tuple)
    agree(result, reference.curve(a, b, data.texts, data.labels, POINTS, max_length=16))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_are_blended_in_float32(dtype, saved, rows, store, tmp_path):
    ends = []
    for seed in (0, 1):
        ends.append(tmp_path / str(seed))
        tiny.model("bert", seed).to(dtype).save_pretrained(ends[-1])
        tiny.FAMILIES["bert"].tokenizer().save_pretrained(ends[-1])
    result, responses, resolved = answer(tiny.experiment(*ends, rows, points=POINTS), store)
    data = resolved.tasks[0].rows
    agree(result, reference.curve(*ends, data.texts, data.labels, POINTS, max_length=16))
    assert np.array_equal(responses[0, 1.0], untouched(ends[1], resolved))


def test_a_sharded_checkpoint_is_the_same_checkpoint(saved, rows, store, tmp_path):
    a, b = saved("bert", 0), tiny.save(tmp_path / "b", "bert", 1, max_shard_size="20KB")
    assert len(list(b.glob("model-*.safetensors"))) > 1
    sharded, *_ = answer(tiny.experiment(a, b, rows, points=POINTS), store)
    whole, *_ = answer(tiny.experiment(a, saved("bert", 1), rows, points=POINTS), store)
    assert sharded["tasks"][0]["loss"] == whole["tasks"][0]["loss"]


def test_whole_number_buffers_in_a_file_are_never_blended(saved, rows, store, tmp_path):
    """Older files of BERT hold position_ids, which the model of today makes itself."""
    ends = []
    for seed in (0, 1):
        ends.append(shutil.copytree(saved("bert", seed), tmp_path / str(seed)))
        file = ends[-1] / "model.safetensors"
        save_file({**load_file(file), "bert.embeddings.position_ids": torch.arange(64)[None] * (seed + 1)}, file, metadata={"format": "pt"})
    result, *_ = answer(tiny.experiment(*ends, rows, points=POINTS), store)
    plain, *_ = answer(tiny.experiment(saved("bert", 0), saved("bert", 1), rows, points=POINTS), store)
    assert result["tasks"][0]["loss"] == plain["tasks"][0]["loss"]


@pytest.mark.parametrize(
    ("family", "opener", "alone"),
    [
        ("minilm", AutoModel, ("classifier.",)),  # its names lack the prefix
        ("bert", AutoModelForMaskedLM, ("classifier.", "bert.pooler.")),
        ("electra", AutoModelForMaskedLM, ("classifier.",)),
        ("roberta", AutoModelForMaskedLM, ("classifier.",)),
        ("albert", AutoModelForMaskedLM, ("classifier.", "albert.pooler.")),
        ("distilbert", AutoModel, ("classifier.", "pre_classifier.")),
        ("gpt2", AutoModel, ("score.",)),
        ("deberta-v2", AutoModelForMaskedLM, ("classifier.", "pooler.")),
    ],
)
def test_a_base_without_a_head_is_read_with_the_others(family, opener, alone, saved, rows, store):
    a, base = saved(family, 0), saved(family, 1, opener=opener)
    result, _, resolved = answer(tiny.experiment(a, base, rows, points=POINTS), store)
    data = resolved.tasks[0].rows
    assert result["tasks"][0]["head"] == "a"
    agree(result, reference.curve(a, base, data.texts, data.labels, POINTS, max_length=16, only_a=alone))
    turned, *_ = answer(tiny.experiment(base, a, rows, points=POINTS), store)
    assert turned["tasks"][0]["head"] == "b"
    expected = reference.curve(a, base, data.texts, data.labels, [1 - t for t in POINTS], max_length=16, only_a=alone)
    agree(turned, expected)


def test_modernbert_without_a_head_is_read_with_the_others(saved, rows, store):
    a, base = saved("modernbert", 0), saved("modernbert", 1, opener=AutoModel)
    result, _, resolved = answer(tiny.experiment(a, base, rows, points=POINTS), store)
    data = resolved.tasks[0].rows
    agree(result, reference.curve(a, base, data.texts, data.labels, POINTS, max_length=16, only_a=("classifier.", "head.")))


@pytest.mark.parametrize(("family", "layer"), [("bert", "classifier."), ("roberta", "classifier.out_proj."), ("gpt2", "score.")])
def test_ends_tuned_on_different_tasks_are_each_read_with_their_own_output_layer(family, layer, saved, rows, store, tmp_path):
    colours = ("blue", "green", "red")
    a, b = saved(family, 0), saved(family, 1, labels=colours)
    other = tiny.task(tmp_path / "colours.csv", labels=colours, seed=1)
    result, responses, resolved = answer(tiny.experiment(a, b, rows, other, points=POINTS), store)
    first, second = (task.rows for task in resolved.tasks)
    assert [task["head"] for task in result["tasks"]] == ["a", "b"]
    agree(result, reference.curve(a, b, first.texts, first.labels, POINTS, 16, only_a=(layer,)), task=0)
    agree(result, reference.curve(b, a, second.texts, second.labels, [1 - t for t in POINTS], 16, only_a=(layer,)), task=1)
    # Everything else is interpolated, what leads to the output layer too (the paper's way).
    assert np.array_equal(responses[0, 0.0], untouched(a, resolved, 0))
    assert np.array_equal(responses[1, 1.0], untouched(b, resolved, 1))


def relabelled(source, folder, names, order):
    """The same function with its outputs in another order: output i of the new one is output ``order[i]`` of the old."""
    shutil.copytree(source, folder)
    weights = load_file(folder / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = weights[name][list(order)].contiguous()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = tiny.json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(i): name for i, name in enumerate(names)}
    config["label2id"] = {name: i for i, name in enumerate(names)}
    tiny.write(folder / "config.json", config)
    return folder


COLOURS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def coloured(saved, tmp_path_factory):
    """A, B, and a task whose labels are what B says of its rows, so that the data tell B's order."""
    a, b = saved("bert", 0, labels=COLOURS), saved("bert", 1, labels=COLOURS)
    file = tmp_path_factory.mktemp("coloured") / "rows.csv"
    model, texts = reference.load(b), [tiny.sentence(i) for i in range(300)]
    scores = reference.logits(model, b, texts, 16).log_softmax(-1)
    said = (scores - scores.mean(0)).argmax(-1).tolist()
    shift = scores.mean(0)  # so that every label is said of a third of the rows
    for end in (a, b):
        assert end.is_dir()
    lines = [f"{text},{COLOURS[label]}" for text, label in zip(texts, said, strict=True)]
    file.write_text("\n".join(["text,label", *lines[:150]]) + "\n")
    balanced = shutil.copytree(b, file.parent / "b")
    weights = load_file(balanced / "model.safetensors")
    weights["classifier.bias"] -= shift
    save_file(weights, balanced / "model.safetensors", metadata={"format": "pt"})
    return a, balanced, file


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 0, 2), (1, 2, 0)])
@pytest.mark.parametrize("how", ["names", "data", "person"])
def test_an_endpoint_with_its_labels_in_another_order_gives_the_same_curve(how, order, coloured, store, tmp_path):
    a, b, file = coloured
    right, _, _ = answer(tiny.experiment(a, b, file, points=POINTS), store)
    names = [COLOURS[i] for i in order]
    written = [name.upper() for name in names] if how == "names" else ["LABEL_0", "LABEL_1", "LABEL_2"]
    other = relabelled(b, tmp_path / "other", written, order)
    more = {"labels": {"b": names}} if how == "person" else {}
    result, responses, resolved = answer(tiny.experiment(a, other, file, points=POINTS, **more), store)
    agree(result, right["tasks"][0]["loss"])
    told = result["tasks"][0]["label_order"]["b"]
    assert (told["from"], told["names"]) == (how, names)
    assert (told["agreement"] is not None) == (how == "data")
    if how == "data":
        assert told["agreement"] > 0.9 and not told["ambiguous"]
    assert np.array_equal(responses[0, 1.0], untouched(other, resolved)[:, [names.index(name) for name in COLOURS]])
    backwards, *_ = answer(tiny.experiment(other, a, file, points=POINTS, **({"labels": {"a": names}} if more else {})), store)
    assert backwards["tasks"][0]["loss"][::3] == pytest.approx(result["tasks"][0]["loss"][::-3], abs=1e-5)


def test_a_person_is_believed_over_the_names_in_the_configuration(coloured, store):
    a, b, file = coloured
    wrong = ["green", "blue", "red"]
    result, responses, resolved = answer(tiny.experiment(a, b, file, points=POINTS, labels={"b": wrong}), store)
    assert result["tasks"][0]["label_order"]["b"]["names"] == wrong
    assert np.array_equal(responses[0, 1.0], untouched(b, resolved)[:, [1, 0, 2]])


def test_a_model_with_more_outputs_than_the_task_has_labels_is_read_at_those(saved, rows, store):
    names = ("maybe", "yes", "no")
    a, b = saved("bert", 0, labels=names), saved("bert", 1, labels=names)
    result, responses, resolved = answer(tiny.experiment(a, b, rows, points=POINTS), store)
    # Everything else is interpolated, what leads to the output layer too (the paper's way).
    assert np.array_equal(responses[0, 0.0], untouched(a, resolved)[:, [2, 1]])
    assert result["tasks"][0]["label_order"]["a"]["names"] == [None, "yes", "no"]


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16 products")
def test_bfloat16_stays_close_to_float32(saved, rows, store):
    exact, *_ = answer(tiny.experiment(saved("bert", 0), saved("bert", 1), rows, points=POINTS), store)
    rough, *_ = answer(tiny.experiment(saved("bert", 0), saved("bert", 1), rows, points=POINTS, precision="bfloat16"), store)
    assert rough["fingerprint"] != exact["fingerprint"]
    assert rough["tasks"][0]["loss"] == pytest.approx(exact["tasks"][0]["loss"], abs=0.05)


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (("bert", 0), ("electra", 0), "architecture"),
        (("bert", 0), ("minilm", 0), "size"),
        (("roberta", 0), ("gpt2", 0), "architecture"),
    ],
)
def test_what_cannot_be_blended_is_refused_before_anything_is_computed(a, b, says, saved, rows, store):
    with pytest.raises(QuestionError, match=rf"^b: .*{says}"):
        list(run(parse(tiny.experiment(saved(*a), saved(*b), rows)), store))
    assert not store.entries()


def test_heads_with_other_numbers_of_outputs_are_refused(saved, rows, store):
    a, b = saved("bert", 0, labels=("no", "yes", "maybe")), saved("bert", 1)
    with pytest.raises(QuestionError, match=r"^b: its head has 2 outputs and that of A 3"):
        list(run(parse(tiny.experiment(a, b, rows)), store))


@pytest.mark.parametrize("name", ["encoder.layer.1.output.dense.weight", "embeddings.LayerNorm.bias"])
def test_a_base_that_lacks_a_piece_is_refused_not_mended_from_the_other_end(name, saved, rows, store, tmp_path):
    torn = shutil.copytree(saved("bert", 1, opener=AutoModel), tmp_path / "torn")
    weights = load_file(torn / "model.safetensors")
    del weights[name]
    save_file(weights, torn / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(QuestionError, match=rf"^b: the tensor bert\.{name} is missing"):
        list(run(parse(tiny.experiment(saved("bert", 0), torn, rows)), store))
