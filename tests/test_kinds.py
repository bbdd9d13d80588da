"""Language models are read by their own tokens and by the likelihood of answers, on every kind, as the plain reference reads them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import reference
import tiny
import torch
from conftest import ROOT
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
)

from mcore import plan
from mcore.errors import QuestionError
from mcore.evaluation.evaluate import has_bfloat16, prepare
from mcore.evaluation.responses import prepared
from mcore.evaluation.scoring import likelihoods, token_losses
from mcore.knowledge.grid import along
from mcore.knowledge.grid import read as read_grid
from mcore.live.model import open_live
from mcore.question import parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import run
from mcore.sources import look
from mcore.tasks.passages import hidden_places, passages
from mcore.tasks.reading import kind_of, language_heads

TS = [0.0, 0.25, 0.5, 1.0]
CAUSAL, MASKED, TO_TEXT = AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM
FAMILIES = {
    "gpt2": CAUSAL, "gpt-neox": CAUSAL, "llama": CAUSAL, "bert": MASKED, "roberta": MASKED, "distilbert": MASKED,
    "t5": TO_TEXT, "bart": TO_TEXT,
}  # fmt: skip
ALSO = dict.fromkeys(("electra", "albert", "deberta", "deberta-v2", "modernbert", "mpnet", "xlm-roberta"), MASKED)
OPENERS = FAMILIES | ALSO
ANSWERS = ["sad", "very merry morning"]
TEMPLATES = {CAUSAL: "{text}. Was it?", MASKED: "{text}. It was {mask} .", TO_TEXT: "{text}. Was it?"}
every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return tiny.task(tmp_path_factory.mktemp("pairs") / "pairs.csv", pairs=True)


@pytest.fixture
def ends(saved):
    """ends(family): A and B as language models."""
    return lambda family: [saved(family, seed, opener=OPENERS[family]) for seed in (0, 1)]


def answer(question, store):
    """The result's first task, the whole result, the question resolved."""
    experiment = parse(question)
    list(run(experiment, store))
    resolved = resolve(experiment)
    told = collect(resolved, store)
    assert told["complete"]
    return told["tasks"][0], told, resolved


def responses(resolved, store, t, task=0):
    return plan.unpack(store.get(plan.key(resolved, plan.Point(task, t), plan.orders(resolved, task, store))))


def models(family, a, b):
    """The reference's model at every t."""
    return [reference.mixed(a, b, t, opener=OPENERS[family]) for t in TS]


def task(file, **more):
    return {"task": f"local:{file}", "max_length": 32, **more}


def by_tokens(family, rows, pairs):
    return task(pairs, read="tokens", text=["first", "second"]) if OPENERS[family] is TO_TEXT else task(rows, read="tokens", text="text")


def token_sums(family, model, folder, texts):
    """[rows, 3] by the reference."""
    tokenizer, sums = AutoTokenizer.from_pretrained(folder), []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=32)["input_ids"] if isinstance(text, str) else None
        hidden = hidden_places(ids, set(tokenizer.all_special_ids)) if OPENERS[family] is MASKED else None
        sums.append(reference.token_nats(model, tokenizer, text, 32, hidden))
    return np.array(sums)


@pytest.mark.parametrize("family", OPENERS)
def test_the_loss_of_tokens_is_the_references_at_every_t(family, ends, rows, pairs, store):
    a, b = ends(family)
    told, _, resolved = answer(tiny.experiment(a, b, by_tokens(family, rows, pairs), points=TS), store)
    sums = [token_sums(family, model, a, resolved.tasks[0].rows.texts) for model in models(family, a, b)]
    expected = [one[:, 0].sum() / one[:, 1].sum() for one in sums]
    assert max(expected) - min(expected) > 1e-3, "the curve is flat, so that agreement would say nothing"
    assert told["loss"] == pytest.approx(expected, abs=1e-5)
    assert told["accuracy"] == pytest.approx([one[:, 2].sum() / one[:, 1].sum() for one in sums], abs=1e-9)
    for t, one in zip(TS, sums, strict=True):
        assert responses(resolved, store, t) == pytest.approx(one, abs=1e-3)
    assert told["measure"] == {"loss": "nats per token", "accuracy": "tokens predicted right"} and told["labels"] == []
    assert told["barrier"]["loss_chord"]["low"] <= told["barrier"]["loss_chord"]["high"] and "knowledge" not in told


@every_family
@pytest.mark.parametrize("normalised", [None, True])
def test_the_likelihood_of_answers_is_the_references_at_every_t(family, normalised, ends, rows, store):
    a, b = ends(family)
    how = {"template": TEMPLATES[OPENERS[family]], "answers": ANSWERS} | ({"normalised": True} if normalised else {})
    told, _, resolved = answer(tiny.experiment(a, b, task(rows, limit=10, max_length=200 if family == "t5" else 62, **how), points=TS), store)
    data, tokenizer = resolved.tasks[0].rows, AutoTokenizer.from_pretrained(a)
    losses = []
    for t, model in zip(TS, models(family, a, b), strict=True):
        found = [[reference.answer_nats(model, tokenizer, text, one) for one in ANSWERS] for text in data.texts]
        scores = np.array([[-nats / (count if normalised else 1) for nats, count in row] for row in found])
        assert len({count for row in found for _, count in row}) > 1, "the answers should differ in length"
        assert responses(resolved, store, t) == pytest.approx(scores, abs=1e-4)
        losses.append(reference.loss(torch.tensor(scores), data.labels))
    assert told["loss"] == pytest.approx(losses, abs=1e-5) and told["measure"]["loss"] == "nats"
    assert told["task"]["read"] == "answers" and told["labels"] == ["no", "yes"] and len(told["knowledge"]["mastered"]) == len(TS)


@pytest.mark.parametrize("family", ["gpt2", "bert", "t5", "bart", "llama"])
def test_the_weights_at_the_ends_are_the_checkpoints_and_tied_ones_stay_tied(family, ends, store):
    a, b = ends(family)
    kind = kind_of(*(language_heads(look(f"local:{end}", "a").config) for end in (a, b)))
    live = open_live(*(look(f"local:{end}", "a") for end in (a, b)), "a", store, kind)
    layer, embeddings = live.model.get_output_embeddings(), live.model.get_input_embeddings()
    tied = family != "llama"
    assert tied == ("lm_head.weight" not in load_file(a / "model.safetensors")), "the file should hold a tied tensor once"
    for t, folder in ((0.0, a), (1.0, b), (0.5, None)):
        live.place_body((1 - t, t))
        assert (layer.weight is embeddings.weight) == tied
        expected = reference.load(folder, OPENERS[family]) if folder else reference.mixed(a, b, t, opener=OPENERS[family])
        for name, tensor in expected.state_dict().items():
            found = live.model.state_dict()[name]
            assert torch.equal(found, tensor) if folder else torch.allclose(found, tensor, atol=1e-7), name


def test_the_mean_over_tokens_is_the_logarithm_of_the_perplexity(ends, rows, store):
    a, b = ends("gpt2")
    told, _, resolved = answer(tiny.experiment(a, b, task(rows, read="tokens", text="text")), store)
    model, tokenizer = reference.load(a, CAUSAL), AutoTokenizer.from_pretrained(a)
    likelihood, tokens = 1.0, 0
    for text in resolved.tasks[0].rows.texts:
        ids = torch.tensor([tokenizer(text, truncation=True, max_length=32)["input_ids"]])
        with torch.no_grad():
            chances = model(ids).logits.double().softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])
        likelihood, tokens = likelihood + chances.log().sum().item(), tokens + len(chances)
    perplexity = math.exp(-(likelihood - 1.0) / tokens)
    assert math.exp(told["loss"][0]) == pytest.approx(perplexity, rel=1e-5)
    rows_mean = np.mean([nats / max(count, 1) for nats, count, _ in responses(resolved, store, 0.0)])
    assert abs(rows_mean - told["loss"][0]) > 1e-3, "rows of all lengths would hide which mean it is"


def test_the_hidden_tokens_are_a_fixed_share_and_never_special_ones():
    ids = [2, *range(10, 50), 3]
    places = hidden_places(ids, {2, 3})
    assert len(places) == 6 and places == hidden_places(ids, {2, 3}) and not {0, 41} & set(places)
    assert hidden_places([2, 9, 3], {2, 3}) == [1] and hidden_places([2, 3], {2, 3}) == []
    assert hidden_places([2, *range(11, 51), 3], {2, 3}) != places


@every_family
def test_the_output_layer_runs_for_no_token_that_is_not_asked_for(family, ends, rows, store):
    a, b = ends(family)
    how = {"template": TEMPLATES[OPENERS[family]], "answers": ["sad", "merry"]}
    resolved = resolve(parse(tiny.experiment(a, b, task(rows, **how))))
    live = open_live(look(f"local:{a}", "a"), look(f"local:{b}", "b"), "a", store, resolved.kind)
    live.place_body((1.0, 0.0))
    prepare(live.model)
    asked, seen = prepared(live, resolved, 0), []
    with live.model.get_output_embeddings().register_forward_hook(lambda layer, given, made: seen.append(made.shape)):
        likelihoods(live.model, asked, False)
    assert all(len(shape) == 2 for shape in seen) and sum(shape[0] for shape in seen) == sum(map(len, asked.wanted))


def test_a_prompt_that_is_too_long_loses_its_beginning(ends, rows, store):
    for family in ("gpt2", "llama"):
        a, b = ends(family)
        asked = task(rows, template=TEMPLATES[CAUSAL], answers=ANSWERS, max_length=16)
        told, _, resolved = answer(tiny.experiment(a, b, asked, points=TS), store)
        model, tokenizer = reference.load(a, CAUSAL), AutoTokenizer.from_pretrained(a)
        texts = resolved.tasks[0].rows.texts
        assert max(len(tokenizer(text)["input_ids"]) for text in texts) > 16
        scores = [[-reference.answer_nats(model, tokenizer, text, one, 16)[0] for one in ANSWERS] for text in texts]
        assert responses(resolved, store, 0.0) == pytest.approx(np.array(scores), abs=1e-4)


def test_questions_that_differ_in_how_a_model_is_asked_share_no_response(ends, rows):
    prompt = {"template": TEMPLATES[CAUSAL], "answers": ANSWERS}
    ways = [prompt, prompt | {"normalised": True}, prompt | {"max_length": 16}, prompt | {"answers": ANSWERS[::-1]}, prompt | {"template": "{text}. So?"},
            {"read": "tokens", "text": "text"}, {"read": "tokens", "template": TEMPLATES[CAUSAL]}]  # fmt: skip
    asked = [resolve(parse(tiny.experiment(*ends("gpt2"), task(rows, **how)))) for how in ways]
    keys = [plan.key(one, point, {}) for one in asked for point in plan.in_order(one)]
    assert len(set(keys)) == len(keys) == 3 * len(ways)
    assert len({one.fingerprint for one in asked}) == len(ways)
    reads = [replace(asked[0].tasks[0], read=read).identity for read in ("head", "answers", "tokens")]
    assert all(one != other for i, one in enumerate(reads) for other in reads[:i])


@pytest.mark.parametrize("family", ["gpt2", "bert", "t5"])
def test_answers_are_asked_for_alike_however_many_at_once(family, ends, rows, monkeypatch):
    a, b = ends(family)
    resolved = resolve(parse(tiny.experiment(a, b, task(rows, template=TEMPLATES[OPENERS[family]], answers=ANSWERS, max_length=16))))
    given = resolved.tasks[0], resolved.kind, AutoTokenizer.from_pretrained(a), reference.load(a, OPENERS[family]).config, "tasks.0"
    whole = passages(*given)
    monkeypatch.setattr("mcore.tasks.batches.AT_ONCE", 100)
    some = passages(*given)
    assert (some.wanted, some.slots) == (whole.wanted, whole.slots)
    assert [one.inputs["input_ids"].tolist() for one in some.batches] == [one.inputs["input_ids"].tolist() for one in whole.batches]


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_an_answer_stays_where_a_long_prompt_is_cut(family, ends, rows, store):
    a, b = ends(family)
    asked = task(rows, template="{text} {mask} {text}" if family == "bert" else "{text} {text}", answers=["sad", "very merry"], max_length=12)
    told, _, resolved = answer(tiny.experiment(a, b, asked), store)
    inputs = passages(resolved.tasks[0], resolved.kind, AutoTokenizer.from_pretrained(a), reference.load(a, OPENERS[family]).config, "tasks.0")
    assert max(batch.inputs["input_ids"].shape[1] for batch in inputs.batches) == 12
    assert all(inputs.wanted) and np.isfinite(told["loss"]).all()


def test_every_row_may_have_answers_of_its_own(ends, store, tmp_path):
    file = tmp_path / "choices.csv"
    lines = [f"{tiny.sentence(i, 6)},{tiny.sentence(50 + i, 2)},{tiny.sentence(90 + i, 4)},{i % 2}" for i in range(12)]
    file.write_text("premise,first,second,label\n" + "\n".join(lines))
    a, b = ends("gpt2")
    told, _, resolved = answer(tiny.experiment(a, b, task(file, template="{premise}. So", answers=["{first}", "{second}"]), points=TS), store)
    data, tokenizer = resolved.tasks[0].rows, AutoTokenizer.from_pretrained(a)
    assert len(set(data.answers)) == 12
    for t, model in zip(TS, models("gpt2", a, b), strict=True):
        scores = [[-reference.answer_nats(model, tokenizer, text, one)[0] for one in own] for text, own in zip(data.texts, data.answers, strict=True)]
        assert responses(resolved, store, t) == pytest.approx(np.array(scores), abs=1e-4)


def test_a_row_with_fewer_answers_has_no_likelihood_for_the_others(ends, rows, store):
    a, b = ends("gpt2")
    resolved = resolve(parse(tiny.experiment(a, b, task(rows, template="{text}. Was it?", answers=["sad", "merry"]))))
    asked, model = resolved.tasks[0], reference.load(a, CAUSAL)
    three = [("sad", "merry", "old") if i % 2 else ("sad", "merry") for i in range(len(asked.rows))]
    both, more = (
        likelihoods(model, passages(replace(asked, rows=replace(asked.rows, answers=one)), "causal", AutoTokenizer.from_pretrained(a), model.config, ""), False)
        for one in (asked.rows.answers, three)
    )
    assert more.shape == (24, 3) and np.isneginf(more[::2, 2]).all() and np.isfinite(more[1::2]).all()
    assert more[:, :2] == pytest.approx(both, abs=1e-5)


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16 products")
@pytest.mark.parametrize("family", ["gpt2", "llama", "bert", "t5"])
@pytest.mark.parametrize("read", ["tokens", "answers"])
def test_bfloat16_is_near_float32(read, family, ends, rows, pairs, store):
    asked = by_tokens(family, rows, pairs)
    if read == "answers":
        asked = task(rows, template=TEMPLATES[OPENERS[family]], answers=ANSWERS, max_length=62)
    told, half = (answer(tiny.experiment(*ends(family), asked, precision=precision), store)[0] for precision in ("float32", "bfloat16"))
    assert half["loss"] == pytest.approx(told["loss"], rel=0.02) and half["loss"] != told["loss"]


def test_a_checkpoint_with_its_pre_trainings_heads_is_a_masked_language_model(ends, rows, store, tmp_path):
    a, b = ends("bert")
    both = tiny.save(tmp_path / "both", "bert", 3, opener=AutoModelForPreTraining)
    assert json.loads((both / "config.json").read_text())["architectures"] == ["BertForPreTraining"]
    told, _, resolved = answer(tiny.experiment(a, both, task(rows, read="tokens", text="text"), points=[0, 1]), store)
    sums = token_sums("bert", reference.load(both, MASKED), both, resolved.tasks[0].rows.texts)
    assert told["loss"][1] == pytest.approx(sums[:, 0].sum() / sums[:, 1].sum(), abs=1e-5)


def test_a_score_is_read_from_a_head_with_one_output(saved, store, tmp_path):
    file = tmp_path / "scores.csv"
    file.write_text("first,second,score\n" + "\n".join(f"{tiny.sentence(i)},{tiny.sentence(40 + i)},{i % 11 / 4}" for i in range(30)))
    a, b = (saved("bert", seed, labels=("LABEL_0",)) for seed in (0, 1))
    told, result, resolved = answer(tiny.experiment(a, b, task(file, label="score"), points=TS, probes=["loss", "accuracy", "knowledge", "macro_f1", "ensemble"]), store)
    data = resolved.tasks[0].rows
    assert data.kind == "scores"
    for i, t in enumerate(TS):
        scores = reference.logits(reference.mixed(a, b, t), a, data.texts, 32)[:, 0].numpy()
        assert told["loss"][i] == pytest.approx(float(((scores - data.labels) ** 2).mean()), abs=1e-5)
        assert told["accuracy"][i] == pytest.approx(float((abs(scores - data.labels) <= 0.5).mean()))
    assert told["measure"] == {"loss": "squared error", "accuracy": "within 0.5"} and told["label_order"] == {}
    assert len(told["ensemble_loss"]) == len(TS) and "macro_f1" not in told and len(told["knowledge"]["mastered"]) == len(TS)


def test_the_command_line_reads_a_language_model(ends, rows, store, tmp_path):
    a, b = ends("gpt-neox")
    file = tiny.write(tmp_path / "question.json", tiny.experiment(a, b, task(rows, read="tokens", text="text")))
    told = subprocess.run([sys.executable, "-m", "mcore", "run", file, "--store", tmp_path / "store"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stderr
    result, _, _ = answer(json.loads(file.read_text()), store)
    assert json.loads(told.stdout)["tasks"][0]["loss"] == result["loss"]


@pytest.mark.parametrize(
    ("families", "asked", "field", "said"),
    [
        (("gpt2", "gpt2"), {}, "tasks.0.read", "name answers, one for each label, or read"),
        (("gpt2", "gpt2"), {"read": "head"}, "tasks.0.read", "neither one for labels"),
        (("gpt2", "gpt2"), {"answers": ["a", "b", "c"]}, "tasks.0.answers", "3 answers for 2 labels"),
        (("gpt2", "gpt2"), {"read": "tokens", "text": "text", "normalised": True}, "tasks.0.normalised", "means nothing"),
        (("gpt2", "gpt2"), {"template": "{text} {mask}", "answers": ANSWERS}, "tasks.0.template", "for masked language models"),
        (("bert", "bert"), {"template": "{text}", "answers": ANSWERS}, "tasks.0.template", "write {mask} into it"),
        (("bert", "bert"), {"read": "answers"}, "tasks.0.template", "write {mask} into it"),
        (("t5", "t5"), {"read": "tokens", "text": "text"}, "tasks.0.text", "there is one column"),
    ],
)
def test_what_cannot_be_read_is_said_before_anything_runs(families, asked, field, said, ends, rows):
    a, b = (ends(family)[i] for i, family in enumerate(families))
    with pytest.raises(QuestionError) as told:
        resolve(parse(tiny.experiment(a, b, task(rows, **asked))))
    assert told.value.field == field and said in str(told.value)


def test_ends_without_a_head_in_common_are_told_what_is_possible(saved, rows):
    a, b = saved("bert", 0, opener=MASKED), saved("bert", 1, opener=AutoModelForCausalLM)
    with pytest.raises(QuestionError, match=r"^tasks\.0\.read: A has a masked language model's head and B a causal .* read \"fitted\""):
        resolve(parse(tiny.experiment(a, b, task(rows))))


def test_a_classifier_beside_a_masked_language_model_is_still_read_with_its_head(saved, rows):
    resolved = resolve(parse(tiny.experiment(saved("bert", 0), saved("bert", 1, opener=MASKED), rows)))
    assert resolved.kind == "classifier" and resolved.heads == ["a"] and resolved.tasks[0].read == "head"
    with pytest.raises(QuestionError, match=r"^tasks\.0\.read: .* words are read from two language models of one kind"):
        resolve(parse(tiny.experiment(saved("bert", 0), saved("bert", 1, opener=MASKED), task(rows, read="tokens", text="text"))))


def test_an_answer_that_leaves_no_room_is_refused(ends, rows, store):
    a, b = ends("gpt2")
    long = " ".join(tiny.WORDS)
    with pytest.raises(QuestionError, match=r"^tasks\.0\.max_length: the answer .* leaves no room"):
        answer(tiny.experiment(a, b, task(rows, template="{text}", answers=["no", long], max_length=16)), store)


def test_an_output_layer_of_its_own_is_not_joined_to_a_tied_one(ends, rows, store, tmp_path):
    a, _ = ends("gpt2")
    own = tiny.FAMILIES["gpt2"]
    config = own.config(vocab_size=len(own.tokenizer()), **own.values, tie_word_embeddings=False)
    CAUSAL.from_config(config).save_pretrained(tmp_path / "own")
    own.tokenizer().save_pretrained(tmp_path / "own")
    with pytest.raises(QuestionError, match=r"^b: the output layer is tied to the embeddings in one of A and B"):
        answer(tiny.experiment(a, tmp_path / "own", task(rows, read="tokens", text="text")), store)


def test_a_checkpoint_that_lacks_its_output_layer_is_no_language_model(ends, rows, store, tmp_path):
    from safetensors.torch import save_file

    a, b = ends("llama")
    torn = tmp_path / "torn"
    torn.mkdir()
    for file in b.iterdir():
        (torn / file.name).write_bytes(file.read_bytes())
    weights = load_file(b / "model.safetensors")
    save_file({name: tensor for name, tensor in weights.items() if "lm_head" not in name}, torn / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(QuestionError, match=r"^b: the tensor lm_head\.weight is missing"):
        answer(tiny.experiment(a, torn, task(rows, read="tokens", text="text")), store)


def test_a_text_of_one_token_weighs_nothing(ends, store, tmp_path):
    file = tmp_path / "short.csv"
    file.write_text("text\na\n" + "\n".join(tiny.sentence(i, 9) for i in range(8)))
    a, b = ends("gpt2")
    told, _, resolved = answer(tiny.experiment(a, b, task(file, read="tokens")), store)
    assert responses(resolved, store, 0.0)[0].tolist() == [0, 0, 0]
    assert all(math.isfinite(told["barrier"]["loss_chord"][end]) for end in ("low", "value", "high"))


def test_losses_are_found_again_from_a_model_by_itself(ends, rows):
    """The evaluator takes any language model, not only one between two ends."""
    a, _ = ends("gpt2")
    resolved = resolve(parse(tiny.experiment(a, a, task(rows, read="tokens", text="text"))))
    model, tokenizer = reference.load(a, CAUSAL), AutoTokenizer.from_pretrained(a)
    found = token_losses(model, passages(resolved.tasks[0], "causal", tokenizer, model.config, "tasks.0"))
    assert found == pytest.approx(token_sums("gpt2", model, a, resolved.tasks[0].rows.texts), abs=1e-4)


def test_rows_with_lists_of_answers_are_right_where_the_likeliest_is(ends, store, tmp_path):
    file = tmp_path / "choices.jsonl"
    rows = [{"passage": tiny.sentence(i, 9), "choices": tiny.WORDS[i : i + 2 + i % 3], "right": tiny.WORDS[i + i % 2]} for i in range(20)]
    file.write_text("\n".join(map(json.dumps, rows)))
    a, b = ends("gpt2")
    asked = task(file, template="{passage}. It was", answers=["{choices}"], label="right", sample_seed=1)
    told, _, resolved = answer(tiny.experiment(a, b, asked, points=TS, probes=["loss", "accuracy", "knowledge", "calibration", "agreement", "ensemble"]), store)
    data, model, tokenizer = resolved.tasks[0].rows, reference.load(a, CAUSAL), AutoTokenizer.from_pretrained(a)
    losses, right = [], []
    for text, own, label in zip(data.texts, data.answers, data.labels, strict=True):
        scores = torch.tensor([-reference.answer_nats(model, tokenizer, text, one)[0] for one in own])
        losses.append(reference.loss(scores[None], [label]))
        right.append(int(scores.argmax()) == label)
    assert told["loss"][0] == pytest.approx(np.mean(losses), abs=1e-5) and told["accuracy"][0] == np.mean(right)
    assert all(map(math.isfinite, [*told["ensemble_loss"], *told["calibration_error"]]))
    grid = read_grid(resolved, 0, store)
    assert grid.right[0].tolist() == right and np.isfinite(grid.probability).all()
    chances = along(resolved, 0, store, [*TS, 0.6], 0)
    assert chances.shape == (5, len(data.names)) and chances[0].sum() == pytest.approx(1) and np.isnan(chances[4]).all()
