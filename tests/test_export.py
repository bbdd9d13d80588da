"""A model that was taken from a path is, loaded with transformers alone, the one whose loss the chart shows."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest
import reference
import tiny
import torch
from safetensors import safe_open
from test_kinds import CAUSAL, MASKED, OPENERS, TO_TEXT, by_tokens, token_sums
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, GenerationConfig

from mcore import export as exporting
from mcore import taking
from mcore.database import held
from mcore.errors import Cancelled, McoreError, QuestionError
from mcore.events import Done, Working
from mcore.export import export
from mcore.link import unlink
from mcore.question import parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import run
from mcore.store import Store
from mcore.taking import Take

T = 0.4
CLOSE = {"float32": 1e-6, "float16": 1e-2, "bfloat16": 1e-2}


def asked(a, b, rows, points=(0.0, T, 1.0), **more):
    return parse(tiny.experiment(a, b, rows, points=list(points), **more))


def charted(question, store: Store, task: int = 0) -> dict[float, float]:
    """t -> the loss that the chart shows."""
    list(run(question, store))
    told = collect(resolve(question), store)["tasks"][task]
    return dict(zip(told["t"], told["loss"], strict=True))


def taken(question, store: Store, out: Path, t: float = T, dtype: taking.Dtype = "float32") -> Path:
    assert isinstance(list(export(question, Take(t, dtype), store, out=out))[-1], Done)
    return out


def loss_alone(folder: Path, question, opener: type = AutoModelForSequenceClassification) -> float:
    """With transformers and nothing of mcore, but for the rows; labels are found by the names of the outputs."""
    model, task = opener.from_pretrained(folder).eval(), resolve(question).tasks[0]
    scores = reference.logits(model, folder, task.rows.texts, task.max_length).float()
    return reference.loss(scores, [model.config.label2id[task.rows.names[label]] for label in task.rows.labels])


PATHS = {
    "linear": {"kind": "linear"},
    "beyond": {"kind": "linear", "extend": 0.5},
    "slerp": {"kind": "slerp"},
    "partial": {"kind": "partial", "move": ["attention", "head"]},
    "task-vector": {"kind": "task-vector", "scale": 0.7},
}


@pytest.mark.parametrize("dtype", taking.DTYPES)
@pytest.mark.parametrize("path", PATHS)
def test_the_loss_of_what_was_saved_is_the_charts_on_every_path(path, dtype, saved, rows, store, tmp_path):
    spec = PATHS[path] | ({"base": f"local:{saved('bert', 7)}"} if path == "task-vector" else {})
    t = 1.25 if path == "beyond" else T
    question = asked(saved("bert", 0), saved("bert", 1), rows, (0.0, t, 1.0), path=spec)
    losses = charted(question, store)
    assert abs(losses[t] - losses[0.0]) > 1e-3, "the curve is flat, so that agreement would say nothing"
    folder = taken(question, store, tmp_path / "out", t, dtype)
    assert AutoModelForSequenceClassification.from_pretrained(folder).dtype == getattr(torch, dtype)
    assert loss_alone(folder, question) == pytest.approx(losses[t], abs=CLOSE[dtype])


FITTED = {
    "bezier": {"kind": "bezier", "steps": 6, "batch_size": 8, "learning_rate": 0.01},
    "chain": {"kind": "chain", "steps": 6, "batch_size": 8, "learning_rate": 0.01, "bends": 2},
    "mix": {"kind": "mix", "steps": 6, "batch_size": 8, "learning_rate": 0.5},
    "aligned": {"kind": "linear", "align": "weights"},
    "aligned curve": {"kind": "bezier", "steps": 6, "batch_size": 8, "learning_rate": 0.01, "align": "activations"},
}


@pytest.mark.parametrize("path", FITTED)
def test_a_fitted_or_aligned_path_gives_away_the_models_that_it_shows(path, saved, store, tmp_path):
    task = {"task": f"local:{tiny.learnable(tmp_path / 'rows.csv', rows=120)}", "max_length": 16, "split": "validation"}
    question = parse(tiny.experiment(saved("bert", 0), saved("bert", 1), task, points=[0.0, T, 1.0], path=FITTED[path]))
    folder = taken(question, store, tmp_path / "out")  # which fits it, the chart then finds it
    straight = charted(parse(tiny.experiment(saved("bert", 0), saved("bert", 1), task, points=[0.0, T, 1.0])), store)[T]
    losses = charted(question, store)
    assert loss_alone(folder, question) == pytest.approx(losses[T], abs=CLOSE["float32"]) and abs(losses[T] - straight) > 1e-5


@pytest.mark.parametrize("family", ["gpt2", "roberta", "distilbert", "albert", "deberta-v2", "modernbert", "bart"])
def test_every_architecture_is_saved_as_it_was_evaluated(family, saved, rows, store, tmp_path):
    question = asked(saved(family, 0), saved(family, 1), rows)
    assert loss_alone(taken(question, store, tmp_path / "out"), question) == pytest.approx(charted(question, store)[T], abs=CLOSE["float32"])


@pytest.mark.parametrize(("family", "opener"), [("gpt2", CAUSAL), ("bert", MASKED), ("t5", TO_TEXT), ("bart", TO_TEXT)])
def test_a_language_models_loss_is_the_charts_and_its_embeddings_are_saved_once(family, opener, saved, rows, store, tmp_path):
    a, b = (saved(family, seed, opener=OPENERS[family]) for seed in (0, 1))
    pairs = tiny.task(tmp_path / "pairs.csv", pairs=True)
    question = parse(tiny.experiment(a, b, by_tokens(family, rows, pairs), points=[0.0, T, 1.0]))
    folder = taken(question, store, tmp_path / "out")
    model = opener.from_pretrained(folder).eval()
    sums = token_sums(family, model, folder, resolve(question).tasks[0].rows.texts)
    assert sums[:, 0].sum() / sums[:, 1].sum() == pytest.approx(charted(question, store)[T], abs=CLOSE["float32"])
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert names_in(folder) == names_in(a), "what was one tensor is one tensor"


def names_in(folder: Path) -> set[str]:
    names: set[str] = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            names |= set(opened.keys())
    return names


def test_a_pair_of_recipes_is_trained_and_saved(saved, store, tmp_path):
    base, file = saved("bert", 5, opener=AutoModel), tiny.learnable(tmp_path / "t.csv", rows=60)
    recipe = {"base": f"local:{base}", "task": {"task": f"local:{file}", "max_length": 16}, "steps": 3, "batch_size": 8}
    question = asked(recipe, recipe | {"head_seed": 2, "data_seed": 2}, file)
    folder = taken(question, store, tmp_path / "out")  # before anything was run
    assert loss_alone(folder, question) == pytest.approx(charted(question, store)[T], abs=CLOSE["float32"])
    assert AutoModelForSequenceClassification.from_pretrained(folder).config.id2label == {0: "no", 1: "yes"}


@pytest.mark.parametrize("order", [("yes", "no"), ("LABEL_0", "LABEL_1")])
def test_outputs_are_named_by_the_task_in_the_order_of_a(order, saved, rows, store, tmp_path):
    question = asked(saved("bert", 0, labels=order), saved("bert", 1), rows)
    folder = taken(question, store, tmp_path / "out")
    assert loss_alone(folder, question) == pytest.approx(charted(question, store)[T], abs=CLOSE["float32"])
    named = AutoModelForSequenceClassification.from_pretrained(folder).config.id2label
    assert set(named.values()) == {"no", "yes"} and (order[0] != "yes" or named == {0: "yes", 1: "no"})


@pytest.mark.parametrize("owner", ["a", "b"])
def test_where_one_end_has_the_head_it_is_that_ones_and_the_card_says_so(owner, saved, rows, store, tmp_path):
    tuned, base = saved("bert", 0, labels=("yes", "no")), saved("bert", 1, opener=AutoModel)
    question = asked(*((tuned, base) if owner == "a" else (base, tuned)), rows)
    folder = taken(question, store, tmp_path / "out")
    assert loss_alone(folder, question) == pytest.approx(charted(question, store)[T], abs=CLOSE["float32"])
    assert f"that of {owner.upper()} alone" in (folder / "README.md").read_text()
    head = AutoModelForSequenceClassification.from_pretrained(folder).classifier.weight
    assert torch.equal(head, reference.load(tuned).classifier.weight)


def test_of_two_tasks_with_other_heads_the_first_ones_owner_gives_it(saved, rows, store, tmp_path):
    other = tiny.task(tmp_path / "other.csv", labels=("red", "green", "blue"))
    a, b = saved("bert", 0), saved("bert", 1, labels=("red", "green", "blue"))
    question = parse(tiny.experiment(a, b, other, rows, points=[0.0, T, 1.0]))
    losses = charted(question, store)
    folder = taken(question, store, tmp_path / "out")
    assert loss_alone(folder, question) == pytest.approx(losses[T], abs=CLOSE["float32"])
    card = (folder / "README.md").read_text()
    assert "that of B alone" in card and '["red", "green", "blue"]' in card and "with another head than this model's" in card


def test_a_body_that_is_read_with_a_fitted_head_is_saved_without_one(saved, store, tmp_path):
    a, b = (saved("bert", seed, opener=AutoModel) for seed in (0, 1))
    many = tiny.task(tmp_path / "many.csv", rows=80)
    question = parse(tiny.experiment(a, b, {"task": f"local:{many}", "read": "fitted", "max_length": 16, "limit": 24}))
    folder = taken(question, store, tmp_path / "out")
    mixed = reference.mixed(a, b, T, opener=AutoModel).state_dict()
    alone = AutoModel.from_pretrained(folder).state_dict()
    assert all(torch.allclose(mixed[name], alone[name], atol=1e-6) for name in mixed)
    assert "a body without a head" in (folder / "README.md").read_text()


def test_at_the_ends_the_weights_are_those_of_the_checkpoints_bit_for_bit(saved, rows, store, tmp_path):
    a, b = saved("bert", 0), saved("bert", 1)
    for t, end in ((0.0, a), (1.0, b)):
        alone = reference.load(taken(asked(a, b, rows), store, tmp_path / str(t), t)).state_dict()
        assert all(torch.equal(tensor, alone[name]) for name, tensor in reference.load(end).state_dict().items())


def test_a_large_model_is_saved_in_parts(saved, rows, store, tmp_path, monkeypatch):
    question = asked(saved("bert", 0), saved("bert", 1), rows)
    monkeypatch.setattr(exporting, "MOST_SHARD", "30KB")
    folder = taken(question, store, tmp_path / "out")
    assert len(list(folder.glob("model-*.safetensors"))) > 1 and (folder / "model.safetensors.index.json").is_file()
    assert loss_alone(folder, question) == pytest.approx(charted(question, store)[T], abs=CLOSE["float32"])


def test_the_generation_config_goes_along(saved, rows, store, tmp_path):
    a, b = tiny.save(tmp_path / "a", "gpt2", 0, opener=CAUSAL), saved("gpt2", 1, opener=CAUSAL)
    GenerationConfig(max_new_tokens=7, temperature=0.3, do_sample=False, bos_token_id=0, eos_token_id=0).to_json_file(a / "generation_config.json")
    question = parse(tiny.experiment(a, b, by_tokens("gpt2", rows, rows), points=[0.0, 1.0]))
    folder = taken(question, store, tmp_path / "out")
    assert CAUSAL.from_pretrained(folder).generation_config.max_new_tokens == 7


def test_the_card_says_how_to_make_it_again_and_what_was_measured(saved, rows, store, tmp_path):
    question = asked(saved("bert", 0), saved("bert", 1), rows)
    before = (taken(question, store, tmp_path / "before") / "README.md").read_text()
    assert "Nothing: this t was not evaluated" in before
    losses = charted(question, store)
    card = (taken(question, store, tmp_path / "out", dtype="bfloat16") / "README.md").read_text()
    assert f"loss {losses[T]:.4f} (nats)" in card and "--t 0.4 --dtype bfloat16" in card
    given = json.loads(card.partition("```json\n")[2].partition("\n```")[0])
    named = {end.rpartition("@")[0]: end for end in (given["a"], given["b"])}
    assert len(named) == 2 and "cannot be run as it stands, nor opened from the link" in card
    of = unlink(next(line for line in card.splitlines() if line.startswith("v=1&q=")))
    assert (of.a, of.b, of.tasks[0].task) == (given["a"], given["b"], given["tasks"][0]["task"]) and of.points == question.points
    with pytest.raises(QuestionError, match="there is no folder"):
        resolve(of)
    given |= {"a": question.a, "b": question.b}  # as the card says: the same files where they are here
    given["tasks"][0]["task"] = question.tasks[0].task
    again = parse(given)
    assert resolve(again).fingerprint == resolve(question).fingerprint
    remade = taken(again, store, tmp_path / "again", dtype="bfloat16")
    assert (remade / "model.safetensors").read_bytes() == (tmp_path / "out" / "model.safetensors").read_bytes()


def test_no_file_of_what_was_saved_names_a_path_of_this_machine(saved, store, tmp_path):
    base, other = saved("bert", 5, opener=AutoModel), saved("bert", 7, opener=AutoModel)
    file = tiny.learnable(tmp_path / "my rows.csv", rows=120)
    task = {"task": f"local:{file}", "max_length": 16}
    recipe = {"base": f"local:{base}", "task": task, "steps": 2, "batch_size": 8}
    paths = [{"kind": "bezier", "steps": 1, "batch_size": 4, "task": task | {"split": "train"}}, {"kind": "task-vector", "base": f"local:{other}"}]
    for number, path in enumerate(paths):
        question = parse(tiny.experiment(recipe, recipe | {"head_seed": 2}, task | {"split": "validation"}, points=[0.0, T, 1.0], path=path))
        folder = taken(question, store, tmp_path / f"out{number}")
        resolved = resolve(question)
        for one in [*folder.iterdir(), *store.folder(resolved.a.fingerprint).glob("*.*")]:
            assert not any(str(hidden).encode() in one.read_bytes() for hidden in (tmp_path, base, base.parent, other)), one.name
        card = (folder / "README.md").read_text()
        link = unlink(next(line for line in card.splitlines() if line.startswith("v=1&q=")))
        assert not any(str(hidden) in link.model_dump_json() for hidden in (tmp_path, base.parent, other.parent))
        assert f'"base": "local:{base.name}@{resolved.a.looked_at.digest[:12]}"' in card
        assert f'"task": "local:my-rows.csv@{sha256(file.read_bytes()).hexdigest()[:12]}"' in card
    assert f'"base": "local:{other.name}@{resolved.route.base.digest[:12]}"' in card


def test_a_card_without_paths_of_this_machine_says_nothing_of_them(store, tmp_path):
    ends, task = ("builtin:austen@0", "builtin:austen@1000"), {"task": "builtin:speech", "limit": 8, "read": "fitted"}
    card = (taken(parse(tiny.experiment(*ends, task, points=2)), store, tmp_path / "out") / "README.md").read_text()
    assert "local:" not in card and "The share link's query string:" in card
    again = unlink(next(line for line in card.splitlines() if line.startswith("v=1&q=")))
    assert resolve(again).fingerprint == resolve(parse(json.loads(card.partition("```json\n")[2].partition("\n```")[0]))).fingerprint


def test_a_strangers_words_are_words_in_the_card(saved, store, tmp_path):
    evil = ("```\n# no", "<script>yes</script>")
    rows = tiny.task(tmp_path / "rows.csv", labels=evil)
    card = (taken(asked(saved("bert", 0, labels=evil), saved("bert", 1, labels=evil), rows), store, tmp_path / "out") / "README.md").read_text()
    assert card.count("\n```") == 4 and "\n# no" not in card


def test_the_tokenizer_is_as_and_reads_as_before(saved, rows, store, tmp_path):
    a = saved("roberta", 0)
    folder = taken(asked(a, saved("roberta", 1), rows), store, tmp_path / "out")
    texts = [tiny.sentence(i) for i in range(20)]
    assert AutoTokenizer.from_pretrained(folder)(texts)["input_ids"] == AutoTokenizer.from_pretrained(a)(texts)["input_ids"]


def test_a_weight_that_float16_cannot_hold_is_refused(rows, store, tmp_path):
    ends = []
    for seed in (0, 1):
        model = tiny.model("bert", seed)
        with torch.no_grad():
            model.bert.embeddings.word_embeddings.weight[3, 3] = 1e5
        model.save_pretrained(tmp_path / str(seed))
        tiny.wordpiece().save_pretrained(tmp_path / str(seed))
        ends.append(tmp_path / str(seed))
    with pytest.raises(McoreError, match="too large for float16; take the model in float32 or bfloat16"):
        taken(asked(*ends, rows), store, tmp_path / "out", dtype="float16")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))
    taken(asked(*ends, rows), store, tmp_path / "out", dtype="bfloat16")


@pytest.mark.parametrize(("take", "said"), [
    (Take(1.2), "t: 1.2 is not on this path; give a number from 0 to 1, or extend"),
    (Take(float("nan")), "t: nan is not on this path"),
    (Take(T, "int8"), "dtype: 'int8' is none"),
    (Take(T, push="name"), "push: 'name' is no repository; write ORG/NAME"),
])  # fmt: skip
def test_what_cannot_be_taken_is_a_sentence(take, said, saved, rows, store, tmp_path):
    with pytest.raises(QuestionError) as wrong:
        list(export(asked(saved("bert", 0), saved("bert", 1), rows), take, store, out=tmp_path / "out"))
    assert str(wrong.value).startswith(said) and not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(saved, rows, store, tmp_path):
    question = asked(saved("bert", 0), saved("bert", 1), rows)
    tiny.write(tmp_path / "out", "mine")
    with pytest.raises(QuestionError, match="is there already"):
        taken(question, store, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    assert (taken(question, store, tmp_path / "empty") / "model.safetensors").is_file()
    with pytest.raises(QuestionError, match="is there already"):
        taken(question, store, tmp_path / "empty")


def test_a_cancelled_export_leaves_nothing_behind(saved, rows, store, tmp_path):
    question = asked(saved("bert", 0), saved("bert", 1), rows)
    with pytest.raises(Cancelled):
        list(export(question, Take(T), store, stop=lambda: True, out=tmp_path / "out"))
    with pytest.raises(Cancelled):
        list(export(question, Take(T), store, stop=lambda: True))
    assert not list(tmp_path.glob("*out*")) and not store.entries(taking.KIND) and not list(store.root.glob("work/*"))


def test_the_store_keeps_it_once_by_t_and_type(saved, rows, store):
    question = asked(saved("bert", 0), saved("bert", 1), rows)
    resolved = resolve(question)
    for take in (Take(T), Take(T, "float16"), Take(0.25)):
        list(export(question, take, store))
        assert loss_alone(store.folder(taking.key(resolved, take)), question)
    assert len(store.entries(taking.KIND)) == 3
    again = list(export(question, Take(T), store))
    assert [type(event) for event in again] == [Done], "what is there is not made again"


def test_who_comes_second_waits_for_the_first(saved, rows, store):
    question = asked(saved("bert", 0), saved("bert", 1), rows)
    key = taking.key(resolve(question), Take(T))
    with held(store.root / "locks" / key):
        stream = export(question, Take(T), store)
        assert next(stream) == Working("another run is saving this model; waiting for it")
    assert isinstance(list(stream)[-1], Done) and store.folder(key)


def test_the_best_t_is_read_off_the_stored_points(saved, rows, store):
    question = asked(saved("bert", 0), saved("bert", 1), rows, (0.0, 0.25, 0.5, 0.75, 1.0))
    with pytest.raises(McoreError, match="one t that is evaluated"):
        taking.best_of(resolve(question), store)
    charted(question, store)
    told = taking.best_of(resolve(question), store)
    assert told.t in question.ts() and (told.chosen_on, told.reported) == (12, 12)
