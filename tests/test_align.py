"""Aligning B's hidden units with A's changes nothing that B computes, and finds the permutation that parts two models."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import reference
import tiny
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from mcore import plan
from mcore.errors import Cancelled, McoreError, QuestionError
from mcore.paths.matching import Moments, assigned, located, permuted
from mcore.paths.units import ARCHITECTURES, groups
from mcore.question import parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import run
from mcore.store import Store

CLASSIFIER, MASKED, CAUSAL, TO_TEXT = (
    hf.AutoModelForSequenceClassification, hf.AutoModelForMaskedLM, hf.AutoModelForCausalLM, hf.AutoModelForSeq2SeqLM
)  # fmt: skip
GROUPED = {**tiny.SHAPE, "num_attention_heads": 4, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
GATED = {**tiny.LANGUAGE["t5"].values, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "num_heads": 4, "d_kv": 8}
MORE = {
    "grouped llama": tiny.Family(hf.LlamaConfig, GROUPED, tiny.byte_pairs_with_a_beginning, "model."),
    "mistral": tiny.Family(hf.MistralConfig, GROUPED, tiny.byte_pairs_with_a_beginning, "model."),
    "qwen2": tiny.Family(hf.Qwen2Config, GROUPED, tiny.byte_pairs_with_a_beginning, "model."),
    "gated t5": tiny.Family(hf.T5Config, GATED, tiny.unigrams, ""),
    "camembert": tiny.Family(hf.CamembertConfig, tiny.ROBERTA, tiny.byte_pairs, "roberta."),
    "wide electra": tiny.Family(hf.ElectraConfig, {**tiny.SHAPE, "embedding_size": 32}, tiny.wordpiece, "electra."),
}  # fmt: skip
DESCRIBED = [
    *((family, CLASSIFIER) for family in ("bert", "minilm", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "wide electra", "gpt2", "t5")),
    *((family, MASKED) for family in ("bert", "roberta", "distilbert", "electra", "wide electra")),
    *((family, CAUSAL) for family in ("gpt2", "gpt-neox", "grouped llama", "mistral", "qwen2")),
    ("t5", TO_TEXT), ("gated t5", TO_TEXT),
]  # fmt: skip
every_architecture = pytest.mark.parametrize(("family", "opener"), DESCRIBED, ids=lambda value: getattr(value, "__name__", value))


@pytest.fixture(autouse=True)
def more_families(monkeypatch):
    monkeypatch.setattr(tiny, "EVERY", tiny.EVERY | MORE)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return tiny.task(tmp_path_factory.mktemp("pairs") / "pairs.csv", rows=8, pairs=True)


def shuffled(folder, to, opener, seed=0, spared=()):
    """The checkpoint with the units of every group in a random order; written without any of mcore's own saving."""
    shutil.copytree(folder, to)
    model, draw = opener.from_pretrained(folder), torch.Generator().manual_seed(seed)
    tensors = load_file(folder / "model.safetensors")
    found = groups(model.config.model_type, model.config, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    found = [group for group in found if group.kind not in spared]
    orders = {group.name: torch.randperm(group.units, generator=draw) for group in found}
    places = located(found)
    moved = {name: permuted(tensor, places.get(name, ()), orders).contiguous() for name, tensor in tensors.items()}
    save_file(moved, to / "model.safetensors", metadata={"format": "pt"})
    return to


def question(a, b, rows, opener, pairs=None, **more):
    asked = {"task": f"local:{rows}", "max_length": 16}
    if opener is not CLASSIFIER:
        asked |= {"read": "tokens"}
    if opener is TO_TEXT:
        asked |= {"task": f"local:{pairs}", "text": ["first", "second"]}
    return tiny.experiment(a, b, asked, points=[0, 0.5, 1], probes=["loss", "accuracy"], **more)


def ask(told, store):
    """The events of the run, the result, and the responses by t."""
    experiment = parse(told)
    events = list(run(experiment, store))
    resolved = resolve(experiment)
    orders = plan.orders(resolved, 0, store)
    found = {t: plan.unpack(store.get(plan.key(resolved, plan.Point(0, t), orders))) for t in (0.0, 0.5, 1.0)}
    return events, collect(resolved, store), found


def aligned(method="weights", **more):
    return {"path": {"kind": "linear", "align": method, **more}}


@every_architecture
def test_a_known_permutation_of_all_units_is_found_again_and_the_straight_path_is_flat(family, opener, saved, rows, pairs, store, tmp_path):
    a = saved(family, 0, opener=opener)
    b = shuffled(a, tmp_path / "b", opener)
    _, apart, plain = ask(question(a, b, rows, opener, pairs), store)
    for method in ("weights", "activations"):
        _, result, found = ask(question(a, b, rows, opener, pairs, **aligned(method)), store)
        told = result["path"]["alignment"]
        never_active = 0.2 if method == "activations" else 0  # units that no row of the sample brings above 0 are all alike
        assert told["l2_before"] > 1 and told["l2_after"] <= never_active * told["l2_before"], (method, told)
        assert told["method"] == method and told["fixed"] == 0 and 0 < told["moved_units"] <= told["units"]
        assert found[0.5] == pytest.approx(found[0.0], rel=1e-5, abs=1e-5)
        assert found[1.0] == pytest.approx(found[0.0], rel=1e-4, abs=1e-5), "what was shuffled computes something else"
        assert np.array_equal(found[1.0], plain[1.0])
        assert not np.allclose(plain[0.5], found[0.5], rtol=1e-3, atol=1e-3), "the unaligned path is flat too, which says nothing"
    assert apart["distance"]["l2"] == pytest.approx(result["distance"]["l2"])  # of the ends, not of what was made of them


@every_architecture
def test_two_models_that_have_nothing_to_do_with_each_other_come_nearer_and_b_stays_what_it_is(family, opener, saved, rows, pairs, store, tmp_path):
    a, b = saved(family, 0, opener=opener), saved(family, 1, opener=opener)
    _, _, plain = ask(question(a, b, rows, opener, pairs), Store(tmp_path / "plain"))  # or its ends would be those that are compared
    _, result, found = ask(question(a, b, rows, opener, pairs, **aligned()), store)
    told = result["path"]["alignment"]
    assert told["l2_after"] < told["l2_before"] and told["moved_units"] > told["units"] / 4
    assert np.array_equal(found[0.0], plain[0.0]) and np.array_equal(found[1.0], plain[1.0])
    assert not np.array_equal(found[0.5], plain[0.5])
    # Just before the end it is the permuted B that is blended, and it computes the same.
    whole = parse(question(a, b, rows, opener, pairs, path={"kind": "partial", "move": ["attention"], "rest": "b", "align": "weights"}))
    list(run(whole, store))
    resolved = resolve(whole)
    permuted_b = plan.unpack(store.get(plan.key(resolved, plan.Point(0, 1.0), plan.orders(resolved, 0, store))))
    assert permuted_b == pytest.approx(plain[1.0], abs=1e-5 * float(np.abs(plain[1.0]).max()))
    assert len(store.entries("aligned")) == 1, "another kind of path between the same ends has the same aligned B"


@pytest.mark.parametrize("method", ["weights", "activations"])
def test_the_ends_are_the_untouched_checkpoints_bit_for_bit_in_transformers_alone(method, saved, rows, store, tmp_path):
    from test_architectures import untouched

    a, b = saved("bert", 0), saved("bert", 1)
    told = question(a, b, rows, CLASSIFIER, **aligned(method))
    _, _, found = ask(told, store)
    resolved = resolve(parse(told))
    assert np.array_equal(found[0.0], untouched(a, resolved)) and np.array_equal(found[1.0], untouched(b, resolved))


def test_the_middle_is_that_of_plain_state_dictionaries(saved, rows, store, tmp_path):
    """Only the feed-forward units of one block differ: what must be blended is known without any matching."""
    a, other = saved("bert", 0), load_file(saved("bert", 0) / "model.safetensors")
    b = tmp_path / "b"
    shutil.copytree(a, b)
    order = torch.randperm(48, generator=torch.Generator().manual_seed(3))
    name = "bert.encoder.layer.1.{}"
    for part in ("intermediate.dense.weight", "intermediate.dense.bias"):
        other[name.format(part)] = other[name.format(part)][order]
    other[name.format("output.dense.weight")] = other[name.format("output.dense.weight")][:, order].contiguous()
    other["classifier.bias"] = other["classifier.bias"] + 1
    save_file(other, b / "model.safetensors", metadata={"format": "pt"})
    _, result, _ = ask(question(a, b, rows, CLASSIFIER, **aligned()), store)
    assert result["path"]["alignment"]["moved_units"] == int((order != torch.arange(48)).sum())
    middle = reference.load(a)
    with torch.no_grad():
        middle.classifier.bias += 0.5
    data = resolve(parse(question(a, b, rows, CLASSIFIER))).tasks[0].rows
    expected = reference.loss(reference.logits(middle, a, data.texts, 16), data.labels)
    assert result["tasks"][0]["loss"][1] == pytest.approx(expected, abs=1e-5)


def test_label_orders_and_alignment_go_together(saved, rows, store, tmp_path):
    """B is A with shuffled units and its outputs the other way round: both are found, and nothing is left between them."""
    a = saved("roberta", 0)
    b = shuffled(a, tmp_path / "b", CLASSIFIER)
    tensors = load_file(b / "model.safetensors")
    for part in ("weight", "bias"):
        tensors[f"classifier.out_proj.{part}"] = tensors[f"classifier.out_proj.{part}"].flip(0).contiguous()
    save_file(tensors, b / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((b / "config.json").read_text())
    config["id2label"], config["label2id"] = {"0": "yes", "1": "no"}, {"yes": 0, "no": 1}
    tiny.write(b / "config.json", config)
    _, result, found = ask(question(a, b, rows, CLASSIFIER, **aligned()), store)
    assert result["path"]["alignment"]["l2_after"] == 0.0
    assert found[0.5] == pytest.approx(found[0.0], abs=1e-5)


def test_units_that_the_other_ends_head_reads_stay_where_they_are(saved, rows, store, tmp_path):
    """B is a base without a head: what A's head and pooler read of it must be what they would read of the untouched one."""
    a, b = saved("roberta", 0), tmp_path / "base"
    tiny.save(b, "roberta", 1, opener=hf.AutoModel)
    _, _, plain = ask(question(a, b, rows, CLASSIFIER), store)
    _, result, found = ask(question(a, b, rows, CLASSIFIER, **aligned()), store)
    told = result["path"]["alignment"]
    assert told["fixed"] == 2 and told["matched"] == 4 and told["l2_after"] < told["l2_before"]  # the residual stream and the head
    assert np.array_equal(found[1.0], plain[1.0])
    spec = {"kind": "partial", "move": ["attention"], "rest": "b", "align": "weights"}
    _, _, moved = ask(question(a, b, rows, CLASSIFIER, path=spec), store)
    assert moved[1.0] == pytest.approx(plain[1.0], abs=1e-5), "the permuted body under A's head is another model"


def test_bodies_that_a_fitted_head_reads_are_aligned(rows, store, saved):
    bodies = [saved("distilbert", seed, opener=hf.AutoModel) for seed in (0, 1)]
    asked = {"task": f"local:{tiny.task(rows.parent / 'many.csv', rows=200)}", "max_length": 16, "read": "fitted", "split": "test"}
    told = tiny.experiment(*bodies, asked, points=[0, 0.5, 1], **aligned())
    _, result, _ = ask(told, store)
    alignment = result["path"]["alignment"]
    assert alignment["fixed"] == 0 and alignment["l2_after"] < alignment["l2_before"]


def test_two_tunings_of_one_base_are_left_as_they_are(saved, rows, store, tmp_path):
    a, b = saved("bert", 0), tmp_path / "b"
    shutil.copytree(a, b)
    noise = torch.Generator().manual_seed(0)
    tensors = {name: tensor + 0.01 * torch.randn(tensor.shape, generator=noise) for name, tensor in load_file(a / "model.safetensors").items()}
    save_file(tensors, b / "model.safetensors", metadata={"format": "pt"})
    _, result, found = ask(question(a, b, rows, CLASSIFIER, **aligned()), store)
    told = result["path"]["alignment"]
    assert told["moved_units"] == 0 and told["l2_after"] == told["l2_before"]
    _, _, plain = ask(question(a, b, rows, CLASSIFIER), store)
    assert np.array_equal(found[0.5], plain[0.5])


def test_half_precision_weights_are_permuted_as_they_are_stored(saved, rows, store, tmp_path):
    ends = []
    for seed in (0, 1):
        ends.append(tmp_path / str(seed))
        tiny.model("bert", seed).to(torch.bfloat16).save_pretrained(ends[-1])
        tiny.FAMILIES["bert"].tokenizer().save_pretrained(ends[-1])
    ask(question(*ends, rows, CLASSIFIER, **aligned()), store)
    kept = load_file(store.folder(store.entries("aligned")[0].key) / "model.safetensors")
    original = load_file(ends[1] / "model.safetensors")
    assert kept and {tensor.dtype for tensor in kept.values()} == {torch.bfloat16}
    assert all(torch.equal(kept[name].flatten().sort().values, original[name].flatten().sort().values) for name in kept)


def test_a_second_question_with_the_same_ends_aligns_nothing(saved, rows, store, tmp_path):
    a, b = saved("bert", 0), saved("bert", 1)
    first, *_ = ask(question(a, b, rows, CLASSIFIER, **aligned()), store)
    assert any("matching" in getattr(event, "what", "") for event in first)
    again, *_ = ask(question(a, b, rows, CLASSIFIER, path={"kind": "slerp", "align": "weights"}), store)
    assert not any("matching" in getattr(event, "what", "") for event in again)
    assert len(store.entries("aligned")) == 1
    ask(question(a, b, rows, CLASSIFIER, **aligned("activations")), store)
    assert len(store.entries("aligned")) == 2


@pytest.mark.parametrize("kind", ["bezier", "chain", "mix", "slerp", "task-vector"])
def test_every_kind_of_path_can_lead_to_the_aligned_b_and_ends_at_the_untouched_one(kind, saved, store, tmp_path):
    a = saved("bert", 0)
    b = shuffled(a, tmp_path / "b", CLASSIFIER)
    rows = tiny.learnable(tmp_path / "learnable.csv", rows=120)
    fitted = {"steps": 1, "batch_size": 4, "learning_rate": 1e-6}
    path = {"kind": kind, "align": "weights"} | {"bezier": fitted, "chain": fitted, "mix": fitted, "slerp": {}, "task-vector": {"base": f"local:{a}"}}[kind]
    told = question(a, b, rows, CLASSIFIER, path=path)
    told["tasks"][0]["split"] = "validation"
    _, _, found = ask(told, store)
    _, _, plain = ask(told | {"path": {"kind": "linear"}}, Store(tmp_path / "plain"))
    assert np.array_equal(found[0.0], plain[0.0]) and np.array_equal(found[1.0], plain[1.0])
    assert found[0.5] == pytest.approx(found[0.0], abs=1e-3), "along any way from A to B's units in A's places there is nothing but A"
    assert not np.allclose(plain[0.5], found[0.5], atol=1e-2)


def test_alignment_is_the_same_in_another_store(saved, rows, tmp_path):
    told = question(saved("bert", 0), saved("bert", 1), rows, CLASSIFIER, **aligned("activations"))
    results = [ask(told, Store(tmp_path / name)) for name in ("one", "two")]
    assert np.array_equal(results[0][2][0.5], results[1][2][0.5])
    assert results[0][1]["path"] == results[1][1]["path"]


def test_a_cancelled_alignment_leaves_nothing_behind_and_can_be_done_again(saved, rows, store):
    told, seen = question(saved("bert", 0), saved("bert", 1), rows, CLASSIFIER, **aligned()), []
    with pytest.raises(Cancelled):
        for event in run(parse(told), store, stop=lambda: any("matching" in getattr(event, "what", "") for event in seen)):
            seen.append(event)
    assert not store.entries("aligned")
    assert ask(told, store)[1]["complete"]


@pytest.mark.parametrize("family", ["albert", "deberta-v2", "mpnet", "bart"])
def test_an_architecture_that_is_not_described_is_refused_before_anything_runs(family, saved, rows):
    with pytest.raises(QuestionError) as told:
        resolve(parse(question(saved(family, 0), saved(family, 1), rows, CLASSIFIER, **aligned())))
    assert told.value.field == "path.align"
    assert all(name in str(told.value) for name in ("bert", "gpt2", "t5", "distilbert"))


def test_a_permuted_b_that_computes_something_else_is_never_used(saved, rows, store, monkeypatch):
    """A wrong description: position embeddings that do not follow the residual stream."""
    wrong = dict(ARCHITECTURES["bert"])
    wrong["residual"] = tuple(line for line in wrong["residual"] if "position" not in line[0])
    monkeypatch.setitem(ARCHITECTURES, "bert", wrong)
    with pytest.raises(McoreError, match="does not compute what B does"):
        ask(question(saved("bert", 0), saved("bert", 1), rows, CLASSIFIER, **aligned()), store)
    assert not store.entries("aligned")


def test_every_line_of_every_description_finds_a_tensor(saved):
    """What finds none is misspelt, or belongs to a model that no test has."""
    from mcore.paths.units import _compiled

    seen: dict[str, set[str]] = {name: set() for name in ARCHITECTURES}
    for family, opener in DESCRIBED:
        model = tiny.model(family, 0, opener=opener)
        seen[model.config.model_type] |= set(model.state_dict())
    names = set().union(*seen.values())
    unused = {line[0] for kinds in ARCHITECTURES.values() for lines in kinds.values() for line in lines if not any(_compiled(line[0]).search(n) for n in names)}
    assert unused <= {"generator_lm_head.weight", "vocab_projector.weight", "(?:cls.predictions|lm_head).decoder.weight"}  # of untied output layers


def test_correlation_is_that_of_numpy_and_ignores_what_never_changes():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(2, 500, 6)).astype(np.float32)
    x, y = x + 100, y * [1, 2, 3, 4, 5, 0] + 7
    moments = Moments(6)
    for part in np.array_split(np.arange(500), 4):
        moments.add(torch.from_numpy(x[part]), torch.from_numpy(y[part].astype(np.float32)))
    expected = np.corrcoef(x.T, y[:, :5].T)[:6, 6:]
    assert moments.correlation()[:, :5].numpy() == pytest.approx(expected, abs=1e-4)
    assert not moments.correlation()[:, 5].any()
    heads = Moments(3)  # of two elements each: the sum over a head's own elements
    heads.add(torch.from_numpy(x), torch.from_numpy(y.astype(np.float32)))
    assert heads.correlation()[0, 1].item() == pytest.approx(expected[0, 2] + expected[1, 3], abs=1e-4)


def test_what_is_as_good_stays():
    assert assigned(torch.ones(4, 4), None) is None
    assert assigned(torch.eye(4).flip(0), None).tolist() == [3, 2, 1, 0]
    assert assigned(torch.eye(4).flip(0), torch.tensor([3, 2, 1, 0])) is None
