"""Recipes whose labels are words: language models tuned on the right answer, held against plain loops, and read as they were tuned."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import plain_training
import pytest
import reference
import tiny
import torch
from conftest import ROOT
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, AutoTokenizer

from mcore import plan
from mcore.errors import Cancelled, QuestionError
from mcore.events import Trained, Training
from mcore.question import parse, parse_recipe
from mcore.resolve import resolve, resolve_recipe
from mcore.result import collect
from mcore.run import run
from mcore.store import Store
from mcore.tuning.cartography import Cartography
from mcore.tuning.finetune import finetune

OPENERS = {"t5": AutoModelForSeq2SeqLM, "bart": AutoModelForSeq2SeqLM, "gpt2": AutoModelForCausalLM, "llama": AutoModelForCausalLM,
           "bert": AutoModelForMaskedLM, "roberta": AutoModelForMaskedLM}  # fmt: skip
PROMPTS = {AutoModelForSeq2SeqLM: "was she: {text}", AutoModelForCausalLM: "{text}. she was", AutoModelForMaskedLM: "she was {mask} and {text}"}
WORDS = ["sad", "merry"]  # of the labels no and yes; tokens of their own in the tests' tokenizers
STEPS = 12
every_family = pytest.mark.parametrize("family", OPENERS)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return tiny.learnable(tmp_path_factory.mktemp("learnable") / "rows.csv", rows=120)


@pytest.fixture(scope="module")
def recipe(saved, task):
    def make(family="t5", of=None, **fields):
        prompt = {"template": PROMPTS[OPENERS[family]], "answers": WORDS}
        given = {"base": f"local:{saved(family, 5, opener=OPENERS[family])}", "steps": STEPS, "batch_size": 8, "learning_rate": 0.003, "cartography": 16,
                 "task": {"task": f"local:{task}", "split": "train", "max_length": 64, "read": "answers", **prompt, **(of or {})}}  # fmt: skip
        return parse_recipe({**given, **fields})

    return make


def train(recipe, store, **how):
    resolved = resolve_recipe(recipe)
    told = list(finetune(resolved, store, "recipe", **how))
    return store.folder(resolved.fingerprint), told


def losses(told):
    return [(event.step, event.loss) for event in told if isinstance(event, Training)]


def opened(folder, family):
    return reference.load(folder, OPENERS[family])


@pytest.mark.parametrize(("family", "optimizer"), [*((family, "adamw") for family in OPENERS), ("t5", "sgd"), ("gpt2", "sgd"), ("bert", "sgd")])
def test_it_ends_where_a_plain_loop_does(family, optimizer, recipe, store, saved):
    rate = {"adamw": 1e-4, "sgd": 0.03}[optimizer]  # Adam's first steps are as long for gradients that are rounding: short ones stay comparable
    asked = recipe(family, data_seed=3, optimizer=optimizer, learning_rate=rate)
    folder, told = train(asked, store)
    rows, base = resolve_recipe(asked).training.rows, saved(family, 5, opener=OPENERS[family])
    model, tokenizer = OPENERS[family].from_pretrained(base, dtype=torch.float32), AutoTokenizer.from_pretrained(base)
    loss = plain_training.answering(model, tokenizer, rows.texts, [WORDS[label] for label in rows.labels])
    curve = plain_training.train(model, loss, len(rows), STEPS, 8, rate, 3, optimizer=optimizer)
    assert [seen for _, seen in losses(told)] == pytest.approx([curve[step - 1] for step, _ in losses(told)], abs=1e-5, rel=1e-5)
    found = opened(folder, family)
    plain_training.assert_equal(model, found.state_dict(), optimizer)
    assert loss_of(found, tokenizer, rows) == pytest.approx(loss_of(model, tokenizer, rows), abs=1e-5)


@torch.no_grad()
def loss_of(model, tokenizer, rows):
    return plain_training.answering(model.eval(), tokenizer, rows.texts, [WORDS[label] for label in rows.labels])(range(0, len(rows), 7)).item()


@pytest.mark.parametrize(("family", "rate"), [("t5", 0.01), ("gpt2", 0.01), ("bert", 0.005)])
def test_it_learns_its_labels_words(family, rate, recipe, store):
    folder, told = train(recipe(family, steps=60, batch_size=16, learning_rate=rate), store)
    seen = [event for event in told if isinstance(event, Training)]
    assert seen[-1].loss < 0.5 * seen[0].loss and seen[-1].validation_accuracy > 0.85
    assert isinstance(told[-1], Trained) and opened(folder, family).config.architectures[0].endswith(("Generation", "LMHeadModel", "MaskedLM"))


@every_family
def test_a_recipes_end_is_read_as_transformers_alone_reads_the_folder(family, recipe, store):
    """Validation rows by the likelihood of the answers, at the end of the training and on the path, to the same numbers."""
    asked = [recipe(family, data_seed=seed, steps=3) for seed in (1, 2)]
    question = parse({"version": 1, "a": asked[0].model_dump(), "b": asked[1].model_dump(), "points": 3,
                      "tasks": [{"task": asked[0].task.task, "split": "validation", "max_length": 64}], "path": {"kind": "linear"}})  # fmt: skip
    told = list(run(question, store))
    resolved = resolve(question)
    kind = {AutoModelForSeq2SeqLM: "seq2seq", AutoModelForCausalLM: "causal", AutoModelForMaskedLM: "masked"}[OPENERS[family]]
    assert (resolved.kind, resolved.tasks[0].read, resolved.heads) == (kind, "answers", ["both"]) and resolved.a.labels is None
    result, rows = collect(resolved, store)["tasks"][0], resolved.tasks[0].rows
    folders = [store.folder(end.fingerprint) for end in (resolved.a, resolved.b)]
    tokenizer = AutoTokenizer.from_pretrained(folders[0])
    for i, t in enumerate((0.0, 0.5, 1.0)):
        model = reference.mixed(*folders, t, opener=OPENERS[family])
        scores = torch.tensor([[-reference.answer_nats(model, tokenizer, text, word)[0] for word in WORDS] for text in rows.texts])
        assert result["loss"][i] == pytest.approx(reference.loss(scores, rows.labels), abs=1e-5)
        assert result["accuracy"][i] == pytest.approx((scores.argmax(1).numpy() == rows.labels).mean())
    for side, i in (("a", 0), ("b", -1)):
        last = [event for event in told if isinstance(event, Training) and event.endpoint == side][-1]
        assert last.validation_loss == pytest.approx(result["loss"][i], abs=1e-5) and last.validation_accuracy == pytest.approx(result["accuracy"][i])


def test_seeds_repeat_and_only_that_of_the_data_matters(recipe, store, tmp_path):
    first, _ = train(recipe(), store)
    again, _ = train(recipe(), Store(tmp_path / "other"))
    assert (first / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()
    other, _ = train(recipe(data_seed=2), store)
    assert (first / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()
    assert resolve_recipe(recipe(head_seed=9)).fingerprint == resolve_recipe(recipe()).fingerprint  # nothing is new in it


@pytest.mark.parametrize("family", ["t5", "gpt2"])
def test_a_training_that_was_stopped_goes_on_to_the_same_bytes(family, recipe, store, tmp_path):
    asked, count = recipe(family), iter(range(1000))
    with pytest.raises(Cancelled):
        list(finetune(resolve_recipe(asked), store, "recipe", stop=lambda: next(count) >= 9))
    folder, told = train(asked, store)
    assert 0 < told[-1].steps < STEPS
    straight, _ = train(asked, Store(tmp_path / "other"))
    for name in ("model.safetensors", "training.json", "cartography.safetensors"):
        assert (folder / name).read_bytes() == (straight / name).read_bytes()


def test_it_stops_on_its_way_and_goes_on_for_more_steps(recipe, store):
    half, _ = train(recipe(stop_at=5), store)
    longer, told = train(recipe(continued=[4]), store)
    assert told[-1].steps == 4 and json.loads((longer / "training.json").read_text())["curve"][-1]["step"] == STEPS + 4
    assert (half / "model.safetensors").read_bytes() != (longer / "model.safetensors").read_bytes()


def test_cartography_is_the_likelihood_of_the_right_answer_among_all(recipe, store):
    folder, _ = train(recipe(), store)
    drawn, rows = Cartography.read(folder), resolve_recipe(recipe()).training.rows
    assert drawn.probability.shape == (5, 16)
    model, tokenizer = opened(folder, "t5"), AutoTokenizer.from_pretrained(folder)
    where = {row: i for i, row in enumerate(rows.ids.tolist())}
    for column, row in enumerate(drawn.ids.tolist()):
        place = where[row]
        scores = torch.tensor([-reference.answer_nats(model, tokenizer, rows.texts[place], word)[0] for word in WORDS])
        assert drawn.probability[-1, column] == pytest.approx(float(scores.softmax(-1)[rows.labels[place]]), abs=1e-5)
        assert drawn.right[-1, column] == (int(scores.argmax()) == rows.labels[place])


def test_the_card_says_how_it_answers(recipe, store):
    folder, _ = train(recipe(steps=1), store)
    card = (folder / "README.md").read_text()
    assert "It answers in words" in card and '"sad", "merry"' in card and '"was she: {text}"' in card and "Labels: no, yes." in card


@pytest.mark.parametrize("family", ["t5", "gpt2", "bert"])
def test_what_is_not_asked_to_answer_in_words_is_tuned_as_a_classifier(family, recipe, store):
    """As it always was: the model's kind is the recipe's to say, never the base's."""
    plain = recipe(family, task={"task": recipe(family).task.task, "split": "train", "max_length": 24}, steps=2)
    resolved = resolve_recipe(plain)
    assert resolved.kind == "classifier" and resolved.labels == ("no", "yes") and resolved.training.read == "head"
    folder, _ = train(plain, store)
    assert json.loads((folder / "config.json").read_text())["architectures"][0].endswith("ForSequenceClassification")


def test_the_labels_own_names_are_the_answers_where_none_are_written(recipe, store):
    own = {"template": None, "answers": None}
    resolved = resolve_recipe(recipe(of=own))
    assert resolved.recipe.task.answers == ["no", "yes"] and resolved.training.rows.answers == ("no", "yes")
    assert resolve_recipe(resolved.recipe).fingerprint == resolved.fingerprint
    assert resolve_recipe(recipe(of=own | {"answers": ["no", "yes"]})).fingerprint == resolved.fingerprint
    train(recipe(of=own, steps=1), store)


def test_a_set_with_prompts_that_ship_needs_no_more_than_to_be_read_by_answers(store):
    asked = parse_recipe({"base": "builtin:austen@100", "task": {"task": "builtin:speech", "read": "answers", "limit": 64}, "steps": 2, "batch_size": 4, "cartography": 4})
    resolved = resolve_recipe(asked)
    assert resolved.kind == "masked" and resolved.recipe.task.template == "{mask}, {text}" and resolved.recipe.task.answers == ["she", "you"]
    folder, _ = train(asked, store)
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["BertForMaskedLM"]


def test_each_row_may_have_its_own_answers(recipe, store, tmp_path):
    file = tmp_path / "choices.jsonl"
    items = [{"text": tiny.sentence(i, 6), "who": [f"{tiny.WORDS[i % 7]} {i}", tiny.WORDS[9 + i % 5], "house"][: 2 + i % 2], "label": ""} for i in range(24)]
    file.write_text("".join(json.dumps(one | {"label": one["who"][1]}) + "\n" for one in items))
    own = {"task": f"local:{file}", "split": None, "template": "{text} who", "answers": ["{who}"], "label": "label"}
    for family in ("t5", "gpt2"):
        folder, told = train(recipe(family, of=own, steps=3, batch_size=5), store)
        assert np.isfinite([loss for _, loss in losses(told)]).all() and Cartography.read(folder).probability.max() <= 1


def test_the_papers_data_are_learned_and_read_along_the_line_by_the_command_line(saved, tmp_path):
    """A file without a header, "premise: … [SEP] hypothesis: …" and an answer, as it stands in the paper's repository."""
    lines = [f"premise: {tiny.sentence(i, 6)} [SEP] hypothesis: {tiny.sentence(99 + i, 4)} {i}\t{('no', 'maybe', 'yes')[i % 3]}" for i in range(60)]
    file = tiny.write(tmp_path / "nli.tsv", "\n".join(lines) + "\n")
    declared = {"task": f"local:{file}", "columns": ["input", "output"], "text": "input", "label": "output", "max_length": 60}
    end = {"base": f"local:{saved('t5', 5, opener=AutoModelForSeq2SeqLM)}", "steps": 4, "batch_size": 8, "learning_rate": 0.003, "cartography": 8,
           "task": {**declared, "split": "train", "read": "answers", "template": "[nli] {input}"}}  # fmt: skip
    question = {"version": 1, "a": end, "b": end | {"data_seed": 2}, "tasks": [{**declared, "split": "validation", "template": "[nli] {input}", "read": "answers"}],
                "points": 3}  # fmt: skip
    asked = tiny.write(tmp_path / "question.json", question)
    command = [sys.executable, "-m", "mcore", "run", asked, "--store", tmp_path / "store"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert told.returncode == 0, told.stderr
    result = json.loads(told.stdout)["tasks"][0]
    assert len(result["loss"]) == 3 and result["measure"]["loss"] == "nats" and result["task"]["answers"] == ["maybe", "no", "yes"]
    store, resolved = Store(tmp_path / "store"), resolve(parse(question))
    assert collect(resolved, store)["tasks"][0]["loss"] == result["loss"]
    apart = {**declared, "split": "train", "form": "premise: {premise} [SEP] hypothesis: {hypothesis}"}
    classifier = parse_recipe(end | {"base": f"local:{saved('bert', 0)}", "task": apart, "steps": 2})
    folder, _ = train(classifier, store)
    assert json.loads((folder / "config.json").read_text())["id2label"] == {"0": "maybe", "1": "no", "2": "yes"}


def test_a_recipe_meets_a_language_model_that_was_tuned_elsewhere(saved, recipe, store):
    other = saved("t5", 6, opener=AutoModelForSeq2SeqLM)
    asked = recipe(steps=1)
    question = parse({"version": 1, "a": asked.model_dump(), "b": f"local:{other}", "points": 2, "tasks": [{"task": asked.task.task, "limit": 12}]})
    list(run(question, store))
    resolved = resolve(question)
    assert resolved.tasks[0].task.template == PROMPTS[AutoModelForSeq2SeqLM]  # as the one that was trained here was asked
    assert store.has([plan.key(resolved, point, {}) for point in plan.in_order(resolved)])


def test_ends_that_were_asked_differently_are_not_read_in_one_of_the_ways(recipe):
    a, b = recipe(), recipe(of={"answers": ["old", "young"]})
    question = {"version": 1, "a": a.model_dump(), "b": b.model_dump(), "tasks": [{"task": a.task.task}]}
    with pytest.raises(QuestionError, match=r"^tasks\.0\.template: A and B were trained with different prompts or answers; say how"):
        resolve(parse(question))
    said = question | {"tasks": [{"task": a.task.task, "template": "{text} so", "answers": WORDS}]}
    assert resolve(parse(said)).tasks[0].task.template == "{text} so"


def test_a_classifier_and_a_language_model_of_one_base_are_told_apart(recipe):
    words, head = recipe("gpt2"), recipe("gpt2", task={"task": recipe().task.task, "split": "train"})
    question = parse({"version": 1, "a": words.model_dump(), "b": head.model_dump(), "tasks": [{"task": words.task.task}]})
    assert resolve(question).heads == ["b"] and resolve(question).kind == "classifier"


@pytest.mark.parametrize("method", ["lora", "bitfit"])
def test_a_delta_of_a_language_model_leaves_its_output_layer_alone(method, recipe, store, saved):
    asked = recipe("gpt2", method=method, learning_rate=0.01)
    folder, told = train(asked, store)
    assert losses(told)[-1][1] < losses(told)[0][1]
    tuned = load_file(folder / "delta.safetensors")
    assert tuned and not any("wte" in name or "lm_head" in name for name in tuned)


@pytest.mark.parametrize(("family", "of", "field", "said"), [
    ("t5", {"read": "tokens", "answers": None}, "task.read", 'say "head" or "answers"'),
    ("t5", {"read": "fitted", "answers": None}, "task.read", 'say "head" or "answers"'),
    ("t5", {"read": None}, "task.answers", 'or say "read": "answers"'),
    ("t5", {"answers": ["a", "b", "c"]}, "task.answers", "3 answers for 2 labels"),
    ("t5", {"template": "{text} {mask}"}, "task.template", "for masked language models"),
    ("bert", {"template": "{text}"}, "task.template", "write {mask} into it"),
])  # fmt: skip
def test_what_cannot_be_trained_is_said_before_anything_runs(family, of, field, said, recipe):
    with pytest.raises(QuestionError) as told:
        resolve_recipe(recipe(family, of=of), "a")
    assert told.value.field == f"a.{field}" and said in str(told.value)


def test_a_base_without_a_language_models_head_is_refused(saved, recipe):
    from transformers import AutoModel

    for how, told in (({}, "a classification head"), ({"opener": AutoModel}, "no head")):
        with pytest.raises(QuestionError, match=rf"^a\.task\.read: the base has {told}, and answers in words come from a language model"):
            resolve_recipe(recipe("bert", base=f"local:{saved('bert', 5, **how)}"), "a")


def test_a_masked_model_is_tuned_on_single_tokens_only(recipe, store):
    with pytest.raises(QuestionError, match=r"^a\.task\.answers: 'very merry' is 2 tokens, and a masked"):
        list(finetune(resolve_recipe(recipe("bert", of={"answers": ["sad", "very merry"]}), "a"), store, "a"))


def test_a_host_counts_the_answers_that_a_training_is_watched_on(recipe, saved, task):
    from mcore.limits import check_size
    from mcore.profile import Profile

    asked = recipe(cartography=1000)
    question = parse({"version": 1, "a": asked.model_dump(), "b": asked.model_dump(), "tasks": [{"task": asked.task.task, "limit": 8}]})
    resolved = resolve(question)
    check_size(resolved, Profile(answers=2 * len(resolved.a.recipe.training.rows)))
    with pytest.raises(QuestionError, match=r"^a\.task\.answers: .* answers to all rows that it is watched on"):
        check_size(resolved, Profile(answers=2 * len(resolved.a.recipe.training.rows) - 1))
