"""Tasks that no head is for, read with a fitted head: in a run, on the command line, in the result, in the app."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
import torch
from app_in_apptest import page, words
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from mcore import plan
from mcore.charts.overview import path_chart
from mcore.cli import main
from mcore.errors import NoHead, QuestionError
from mcore.estimate import cost
from mcore.evaluation import fitted
from mcore.evaluation.evaluate import has_bfloat16
from mcore.library.resultfile import read as read_file
from mcore.models.checkpoints import BUILTIN
from mcore.question import Task, as_written, parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import run
from mcore.tasks import rows as tasks

SPEECH = {"task": "builtin:speech", "limit": 200, "max_length": 48, "read": "fitted"}
AUSTEN = tiny.experiment("builtin:austen@1000", "builtin:austen@7000", SPEECH)


def answer(question, store):
    for _ in run(parse(question), store):
        pass
    return collect(resolve(parse(question)), store)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """The result of reading speech between two steps of pre-training, and the store."""
    from mcore.store import Store

    store = Store(tmp_path_factory.mktemp("store"))
    return answer(AUSTEN, store), store


def test_two_bases_are_read_far_better_than_by_a_constant_label(read):
    task = read[0]["tasks"][0]
    assert task["head"] == "fitted" and task["fitted_on"] == fitted.MOST_ROWS and task["label_order"] == {}
    assert min(task["accuracy"]) > task["constant_baseline"] + 0.25
    assert task["accuracy"][2] > task["accuracy"][0] - 0.02 and task["loss"][2] < task["loss"][0]


def test_the_page_and_the_chart_and_the_command_line_name_it(read):
    result = read[0]
    assert any("fitted head" in notice and "1,024 training rows" in notice for notice in result["notices"])
    assert "read-out fitted at each t" in json.dumps(path_chart(result["tasks"][0]).to_dict())


def test_the_result_is_a_file_that_can_be_imported(read):
    assert read_file(json.dumps(read[0]).encode())


@pytest.mark.parametrize(("t", "step"), [(0.0, 1000), (1.0, 7000)])
def test_the_ends_are_what_transformers_features_and_the_same_read_out_give(read, t, step):
    folder = BUILTIN / "austen" / str(step)
    model, tokenizer = AutoModel.from_pretrained(folder, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(folder)

    def features(texts):
        found = []
        for text in texts:
            with torch.no_grad():
                states = model(**tokenizer(text, truncation=True, max_length=48, return_tensors="pt")).last_hidden_state
            found.append(states[0].mean(dim=0).numpy())
        return np.stack(found)

    resolved = resolve(parse(AUSTEN))
    task = resolved.tasks[0]
    assert not set(task.fitting.texts) & set(task.rows.texts)
    expected = fitted.fit(features(task.fitting.texts), task.fitting)(features(task.rows.texts))
    stored = plan.unpack(read[1].get(plan.key(resolved, plan.Point(0, t), {})))
    assert stored == pytest.approx(expected, abs=2e-3)


def test_a_second_run_finds_everything_and_a_run_anew_gives_the_same(read, store):
    again = answer(AUSTEN, read[1])
    anew = answer(AUSTEN, store)
    for result in (again, anew):
        assert result["tasks"] == read[0]["tasks"]


def test_other_rows_to_fit_on_are_another_question(monkeypatch):
    one = resolve(parse(AUSTEN))
    monkeypatch.setattr(fitted, "MOST_ROWS", 100)
    other = resolve(parse(AUSTEN))
    assert one.fingerprint != other.fingerprint and len(other.tasks[0].fitting) == 100
    assert plan.key(one, plan.Point(0, 0.5), {}) != plan.key(other, plan.Point(0, 0.5), {})


def test_the_command_line_reads_a_task_so(tmp_path, capfd):
    question = tiny.write(tmp_path / "question.json", {**AUSTEN, "points": 2, "tasks": [{**SPEECH, "limit": 60}]})
    assert main(["run", str(question), "--store", str(tmp_path / "store")]) == 0
    told = capfd.readouterr()
    assert json.loads(told.out)["tasks"][0]["head"] == "fitted" and "fitted head" in told.err


@pytest.mark.parametrize(("family", "opener"), [
    ("bert", AutoModelForSequenceClassification), ("bert", AutoModelForMaskedLM), ("gpt2", AutoModelForCausalLM), ("roberta", AutoModel),
    ("bart", AutoModelForSequenceClassification),
])  # fmt: skip
def test_models_of_every_kind_are_read_on_a_task_of_three_labels(family, opener, saved, store, tmp_path):
    file = tiny.task(tmp_path / "three.csv", rows=120, labels=("x", "y", "z"))
    pair = [saved(family, seed, opener=opener) for seed in (1, 2)]
    result = answer(tiny.experiment(*pair, {"task": f"local:{file}", "max_length": 16, "read": "fitted", "limit": 30}), store)
    assert result["complete"] and result["tasks"][0]["labels"] == ["x", "y", "z"] and np.isfinite(result["tasks"][0]["loss"]).all()


def test_scores_are_read_by_a_fitted_head_too(saved, store, tmp_path):
    lines = ["text,label", *[f"{tiny.sentence(i)} {i},{len(tiny.sentence(i)) / 7:.2f}" for i in range(200)]]
    file = tiny.write(tmp_path / "scores.csv", "\n".join(lines))
    pair = [saved("bert", seed, opener=AutoModel) for seed in (1, 2)]
    result = answer(tiny.experiment(*pair, {"task": f"local:{file}", "max_length": 32, "read": "fitted", "limit": 50}), store)
    task = result["tasks"][0]
    _, rows = tasks.open_task(Task(**{**task["task"]}), "tasks.0", "evaluate")
    assert task["measure"]["loss"] == "squared error" and max(task["loss"]) < 0.5 * rows.labels.var()


def test_a_task_that_no_head_is_for_says_that_one_can_be_fitted(saved, tmp_path):
    file = tiny.task(tmp_path / "three.csv", labels=("x", "y", "z"))
    with pytest.raises(NoHead, match="neither endpoint has a head.*fitted head"):
        resolve(parse(tiny.experiment(saved("bert", 1), saved("bert", 2), file)))
    with pytest.raises(NoHead, match='read "fitted"'):
        resolve(parse(tiny.experiment("builtin:austen@0", "builtin:austen@100", {"task": "builtin:novel"})))


def test_no_head_is_fitted_to_rows_without_labels(tmp_path):
    file = tiny.write(tmp_path / "texts.csv", "\n".join(["text", *map(tiny.sentence, range(30))]))
    with pytest.raises(QuestionError):
        resolve(parse(tiny.experiment("builtin:austen@0", "builtin:austen@100", {"task": f"local:{file}", "text": "text", "read": "fitted"})))


def test_the_rows_that_are_fitted_on_are_counted_in_what_it_will_cost():
    every = parse({**AUSTEN, "tasks": [{**SPEECH, "read": "answers"}]})
    points = {0: 3}
    assert cost(resolve(parse(AUSTEN)), {}, points).evaluating > 2 * cost(resolve(every), {}, points).evaluating


def test_the_page_offers_a_fitted_head_in_place_of_the_error(app_store):
    app = page(parse(tiny.experiment("builtin:austen@0", "builtin:austen@100", {"task": "builtin:novel", "limit": 40})))
    assert "it is not said how it names a label" in words(app)
    app.button(key="fitted-head").click().run()
    assert not app.exception and "fitted head" in words(app)
    assert as_written(parse(app.session_state["mc.draft"]))["tasks"][0]["read"] == "fitted"
    assert not [button for button in app.button if button.key == "fitted-head"]


def test_a_data_set_on_the_hub_is_fitted_on_its_own_training_split(server, store):
    def split(begin, rows):
        made = {name: [f"{tiny.sentence(begin + i + more, 6)} {begin + i}" for i in range(rows)] for name, more in (("premise", 0), ("hypothesis", 9))}
        file = io.BytesIO()
        pq.write_table(pa.table(made | {"label": [i % 3 for i in range(rows)]}), file)
        return file.getvalue()

    name = "plain_text/{}-00000-of-00001.parquet".format
    server.put("facebook/anli", {name("train_r1"): split(0, 90), name("dev_r1"): split(1000, 20)}, kind="datasets")
    question = tiny.experiment("builtin:austen@0", "builtin:austen@100", {"task": "hub:facebook/anli", "max_length": 24, "read": "fitted"})
    resolved = resolve(parse(question))
    assert resolved.tasks[0].task.split == "dev_r1" and len(resolved.tasks[0].fitting) == 90 and isinstance(resolved.tasks[0].fitting.texts[0], tuple)
    assert answer(question, store)["complete"]


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16 products")
def test_in_bfloat16_it_is_hardly_another_number(read, store):
    result = answer({**AUSTEN, "points": 2, "precision": "bfloat16"}, store)
    assert result["tasks"][0]["loss"] == pytest.approx([read[0]["tasks"][0]["loss"][i] for i in (0, 2)], abs=0.03)


@pytest.mark.parametrize("first", ["fitted", "head"])
def test_one_task_may_be_read_with_a_head_and_another_with_a_fitted_one(first, saved, rows, store, tmp_path):
    three = tiny.task(tmp_path / "three.csv", rows=120, labels=("x", "y", "z"))
    asked = [{"task": f"local:{three}", "max_length": 16, "limit": 20, "read": "fitted"}, {"task": f"local:{rows}", "max_length": 16}]
    asked = asked if first == "fitted" else asked[::-1]
    pair = [saved("bert", 1, opener=AutoModel), saved("bert", 2)]  # only B has a head
    result = answer(tiny.experiment(*pair, *asked), store)
    alone = answer(tiny.experiment(*pair, rows), store)
    heads = {task["head"]: task for task in result["tasks"]}
    assert result["complete"] and set(heads) == {"fitted", "b"} and heads["b"]["loss"] == alone["tasks"][0]["loss"]
    assert result["notices"][0].startswith("Task 1 is" if first == "fitted" else "Task 2 is")
