"""Texts with their parts in one column, and files without a header: the format that the paper's data have."""

from __future__ import annotations

import json
import random
from collections import OrderedDict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from mcore.errors import QuestionError
from mcore.hub import data as hubdata
from mcore.question import Task, parse
from mcore.resolve import resolve
from mcore.tasks import rows as tasks
from mcore.tasks.forms import names_in, taken_apart

NLI = ["contradiction", "entailment", "neutral"]
FORM = "premise: {premise} [SEP] hypothesis: {hypothesis}"
COLUMNS = ["input", "output"]


def pairs(rows=30, seed=0):
    draw = random.Random(seed)
    return [(f"{tiny.sentence(seed + i)} {i}", f'{tiny.sentence(500 + seed + i)} "{i}"', draw.choice(NLI)) for i in range(rows)]


def lines(rows):
    """As the paper's own files are written: no header, one tab, quotes as they stand."""
    return "\n".join(f"premise: {first} [SEP] hypothesis: {second}\t{answer}" for first, second, answer in rows) + "\n"


def table(rows):
    return {"input": [f"premise: {first} [SEP] hypothesis: {second}" for first, second, _ in rows], "output": [answer for _, _, answer in rows]}


def write(file, rows):
    """In the format that the file's name says; the paper's own without a header."""
    columns = table(rows)
    if file.suffix == ".parquet":
        pq.write_table(pa.table(columns), file)
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in zip(*columns.values(), strict=True)))
    elif file.suffix == ".csv":
        quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in zip(*columns.values(), strict=True)]
        file.write_text("\n".join(["input,output", *quoted]))
    else:
        file.write_text(lines(rows))
    return file


def opened(file, **fields):
    header = {"columns": COLUMNS} if str(file).endswith(".tsv") else {}
    address = file if isinstance(file, str) else f"local:{file}"
    return tasks.open_task(Task(task=address, text="input", label="output", **header, **fields), "tasks.0", "evaluate")


@pytest.mark.parametrize("ending", [".tsv", ".csv", ".jsonl", ".parquet"])
def test_a_file_of_the_papers_form_is_pairs_for_a_classifier_and_a_prompt_with_answers_for_a_language_model(ending, tmp_path):
    known = pairs()
    file = write(tmp_path / f"data{ending}", known)
    _, rows = opened(file, form=FORM)
    assert rows.texts == [(first, second) for first, second, _ in known] and rows.names == tuple(NLI) and rows.answers is None
    assert [rows.names[label] for label in rows.labels] == [answer for *_, answer in known]
    named, words = opened(file, read="answers")
    assert words.texts == table(known)["input"] and words.answers == tuple(NLI) and named.answers == NLI
    assert words.labels.tolist() == rows.labels.tolist() and words.ids.tolist() == rows.ids.tolist()


def test_a_prompt_names_the_parts_or_the_whole_column(tmp_path):
    known = pairs(8)
    file = write(tmp_path / "data.tsv", known)
    _, rows = opened(file, form=FORM, read="answers", template="mnli hypothesis: {hypothesis} premise: {premise}")
    assert rows.texts == [f"mnli hypothesis: {second} premise: {first}" for first, second, _ in known]
    sentinels = [f"<extra_id_0>{name}" for name in NLI]
    _, rows = opened(file, template="[glue-mnli] {input}", answers=sentinels)
    assert rows.texts == [f"[glue-mnli] {text}" for text in table(known)["input"]] and rows.answers == tuple(sentinels)
    _, rows = opened(file, form=FORM, template="{premise}. Is it so that {hypothesis}", answers=["no, {hypothesis}", "yes", "{premise}"])
    assert rows.answers[3] == (f"no, {known[3][1]}", "yes", known[3][0])


def test_rows_are_dealt_to_the_same_splits_however_they_are_read(tmp_path):
    file = write(tmp_path / "data.csv", pairs(80))
    whole, apart = (opened(file, split="train", **how)[1] for how in ({"read": "answers"}, {"form": FORM}))
    assert whole.ids.tolist() == apart.ids.tolist() and 0 < len(whole) < 80


def test_the_same_of_a_data_set_on_the_hub(server, monkeypatch):
    monkeypatch.setattr(hubdata, "_tables", OrderedDict())
    known = pairs(20)
    parquet = pa.BufferOutputStream()
    pq.write_table(pa.table(table(known)), parquet)
    server.put("org/paper", {"train.parquet": parquet.getvalue().to_pybytes(), }, kind="datasets")
    server.put("org/bare", {"train.tsv": lines(known).encode(), "dev.tsv": lines(pairs(9, 5)).encode()}, kind="datasets")
    for address in ("hub:org/paper", "hub:org/paper"):  # fetched, and from the copy that was kept
        _, rows = opened(address, split="train", form=FORM)
        assert rows.texts == [(first, second) for first, second, _ in known] and rows.names == tuple(NLI)
    named, rows = tasks.open_task(Task(task="hub:org/bare", columns=COLUMNS, text="input", label="output", read="answers"), "tasks.0", "train")
    assert rows.texts == table(known)["input"] and named.split == "train" and rows.answers == tuple(NLI)
    with pytest.raises(QuestionError, match=r"^tasks\.0\.columns: the files of org/paper name their columns"):
        tasks.open_task(Task(task="hub:org/paper", split="train", columns=COLUMNS), "tasks.0", "train")


def test_a_classifier_is_read_on_the_pairs(saved, tmp_path, store):
    file = write(tmp_path / "data.tsv", pairs())
    a, b = (saved("bert", seed, labels=tuple(NLI)) for seed in (0, 1))
    asked = {"task": f"local:{file}", "columns": COLUMNS, "text": "input", "label": "output", "form": FORM, "max_length": 48}
    resolved = resolve(parse(tiny.experiment(a, b, asked)))
    assert isinstance(resolved.tasks[0].rows.texts[0], tuple) and resolved.heads == ["both"]
    assert resolve(resolved.experiment).fingerprint == resolved.fingerprint


def test_labels_that_are_numbers_are_no_answers(saved, tmp_path):
    from transformers import AutoModelForCausalLM

    a, b = (saved("gpt2", seed, opener=AutoModelForCausalLM) for seed in (0, 1))
    file = tiny.task(tmp_path / "rows.csv", labels=("0", "1"))
    with pytest.raises(QuestionError, match=r"^tasks\.0\.answers: they are missing; name one answer for each of: 0, 1"):
        resolve(parse(tiny.experiment(a, b, {"task": f"local:{file}", "read": "answers"})))


def test_braces_of_a_label_are_meant(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("text,label\n" + "\n".join(f"{tiny.sentence(i)} {i},{'{no}' if i % 2 else 'yes'}" for i in range(8)))
    named, rows = tasks.open_task(Task(task=f"local:{file}", read="answers"), "tasks.0", "evaluate")
    assert rows.answers == ("yes", "{no}") or rows.answers == ("{no}", "yes")
    assert tasks.open_task(named, "tasks.0", "evaluate")[1].digest == rows.digest


PART = st.text(st.characters(exclude_characters="[:"), min_size=1, max_size=30).filter(str.strip)


@given(st.lists(st.tuples(PART, PART), min_size=1, max_size=5))
def test_what_was_put_together_is_taken_apart(known):
    texts = [f"premise: {first} [SEP] hypothesis: {second}" for first, second in known]
    found = taken_apart(FORM, texts, range(len(texts)), "form")
    assert found == {"premise": [first.strip() for first, _ in known], "hypothesis": [second.strip() for _, second in known]}


@pytest.mark.parametrize(("form", "text", "parts"), [
    ("sentence: {sentence}", "sentence:  a b ", {"sentence": "a b"}),
    ("{first} [SEP] {second}", "a [SEP] b [SEP] c", {"first": "a", "second": "b [SEP] c"}),
    ("question: {q} context: {c} answer:", " question: who? context: x y answer:", {"q": "who?", "c": "x y"}),
    ("{{{a}}}", "{x}", {"a": "x"}),
])  # fmt: skip
def test_parts_stand_between_the_words_of_a_form(form, text, parts):
    assert taken_apart(form, [text], [0], "form") == {name: [value] for name, value in parts.items()}


@pytest.mark.parametrize("text", ["premise: a", "premise: [SEP] hypothesis: b", "a premise: b [SEP] hypothesis: c", "premise: a [SEP] hypothesis:", ""])
def test_a_row_of_another_form_is_named(text):
    with pytest.raises(QuestionError, match=r"^form: row 7 is not of this form"):
        taken_apart(FORM, [text], [7], "form")


@pytest.mark.parametrize(("form", "said"), [
    ("premise", "one to 8 parts"), ("{a}{b}", "nothing stands between"), ("{a} {b}", "nothing stands between"), ("{a} x {a}", "each once"),
    ("{a", "a brace stands alone"), ("{a.b!r}", "is no column"), ("{mask} {a}", "one to 8 parts"), (" x ".join(f"{{p{i}}}" for i in range(9)), "one to 8 parts"),
])  # fmt: skip
def test_what_is_no_form_is_said(form, said):
    with pytest.raises(QuestionError, match=said):
        names_in(form, "form")


def test_a_long_hostile_text_takes_no_longer_than_its_length():
    form = " a ".join(f"{{p{i}}}" for i in range(8))
    with pytest.raises(QuestionError, match="row 0 is not of this form"):
        taken_apart(form, ["a " * 200_000 + "b"], [0], "form")


@pytest.mark.parametrize(("fields", "field", "said"), [
    ({"form": "x: {a} y: {b}"}, "form", "row 0 is not of this form"),
    ({"form": FORM, "text": ["input", "output"]}, "text", "the form is that of one column"),
    ({"form": "premise: {input}", "template": "{input} {output}"}, "form", "'input' is a column already"),
    ({"form": "premise: {a} [SEP] {b}: {c}"}, "form", "3 parts"),
    ({"columns": ["input"]}, "task", "2 fields"),
    ({"columns": ["input", "input"]}, "task", "two columns have one name"),
])  # fmt: skip
def test_a_declaration_that_does_not_fit_the_file_is_said(fields, field, said, tmp_path):
    file = write(tmp_path / "data.tsv", pairs(6))
    with pytest.raises(QuestionError) as told:
        tasks.open_task(Task(**{"task": f"local:{file}", "columns": COLUMNS, "text": "input", "label": "output"} | fields), "tasks.0", "evaluate")
    assert told.value.field == f"tasks.0.{field}" and said in str(told.value)


def test_only_a_csv_or_tsv_file_may_lack_its_names_of_columns(tmp_path):
    for address in (f"local:{write(tmp_path / 'data.jsonl', pairs(6))}", "builtin:speech"):
        with pytest.raises(QuestionError, match=r"names of their own|a built-in task has the columns text and label"):
            tasks.open_task(Task(task=address, columns=COLUMNS, label=None), "tasks.0", "evaluate")
