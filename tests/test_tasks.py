"""Tasks: what is found in a file without being told, which rows are taken, and what is said of files that are no task."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from mcore.errors import QuestionError
from mcore.question import Task
from mcore.tasks import prompts
from mcore.tasks import rows as tasks


def opened(file, role="evaluate", **fields):
    return tasks.open_task(Task(task=f"local:{file}", **fields), "tasks.0", role)


def table(file, columns: dict):
    """The columns written as the file's ending says."""
    frame = pd.DataFrame(columns)
    if file.suffix == ".parquet":
        frame.to_parquet(file)
    elif file.suffix == ".jsonl":
        frame.to_json(file, orient="records", lines=True)
    elif file.suffix == ".json":
        frame.to_json(file, orient="records")
    else:
        frame.to_csv(file, index=False, sep="\t" if file.suffix == ".tsv" else ",")
    return file


PLAIN = {"text": ["one fine day", "two\nlines, \"quoted\"", "żółć 漢字", "4"], "label": ["b", "a", "b", "a"]}


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_one_table_is_the_same_task_in_every_format(ending, tmp_path):
    named, rows = opened(table(tmp_path / f"t.{ending}", PLAIN))
    assert rows.texts == PLAIN["text"]
    assert rows.names == ("a", "b") and rows.labels.tolist() == [1, 0, 1, 0] and rows.ids.tolist() == [0, 1, 2, 3]
    assert (named.text, named.label, named.split) == (["text"], "label", "all")
    assert rows.digest == opened(table(tmp_path / "t.csv", PLAIN))[1].digest


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("name", ["sentence", "review", "Text"])
@pytest.mark.parametrize("label", ["label", "Label", "target", "class", "is_rude"])
def test_the_text_and_the_label_are_found_where_there_is_one_of_each(name, label, ending, tmp_path):
    columns = {"id": [10, 11, 12, 13], name: PLAIN["text"], label: PLAIN["label"]}
    named, rows = opened(table(tmp_path / f"t.{ending}", columns))
    assert (named.text, named.label) == ([name], label) and rows.texts == PLAIN["text"]


def test_two_text_columns_make_a_pair_task(tmp_path):
    named, rows = opened(tiny.task(tmp_path / "t.csv", pairs=True))
    assert named.text == ["first", "second"] and all(len(pair) == 2 for pair in rows.texts)
    swapped = opened(tmp_path / "t.csv", text=["second", "first"])[1]
    assert swapped.texts[0] == rows.texts[0][::-1] and swapped.digest != rows.digest
    assert opened(tmp_path / "t.csv", text="second")[1].texts[0] == rows.texts[0][1]


def test_class_names_that_datasets_writes_into_parquet_are_used(tmp_path):
    features = {"text": {"dtype": "string"}, "label": {"names": ["sad", "merry", "neither"], "_type": "ClassLabel"}}
    plain = pa.table({"text": ["x", "y", "z"], "label": [1, 0, 1]})
    pq.write_table(plain.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), tmp_path / "t.parquet")
    _, rows = opened(tmp_path / "t.parquet")
    assert rows.names == ("sad", "merry", "neither") and rows.labels.tolist() == [1, 0, 1]


def test_numbers_are_classes_in_the_order_of_numbers(tmp_path):
    values = [10, 2, 10, 2, 1, 1]
    _, rows = opened(table(tmp_path / "t.csv", {"text": list("abcdef"), "label": values}))
    assert rows.names == ("1", "2", "10") and [int(rows.names[i]) for i in rows.labels] == values


def test_a_column_split_tells_the_splits_and_ids_stay_those_of_the_file(tmp_path):
    columns = {"text": list("abcdefgh"), "label": [0, 1] * 4, "split": ["train"] * 4 + ["validation"] * 2 + ["test"] * 2}
    file = table(tmp_path / "t.csv", columns)
    assert opened(file)[1].ids.tolist() == [4, 5]
    assert opened(file, role="train")[1].ids.tolist() == [0, 1, 2, 3]
    assert opened(file, split="test")[1].ids.tolist() == [6, 7]
    assert opened(file, split="all")[1].ids.tolist() == list(range(8))
    with pytest.raises(QuestionError, match=r"^tasks\.0\.split: .*use one of: train, validation, test"):
        opened(file, split="dev")


def test_splits_of_a_file_without_splits_share_no_text_and_make_the_whole(tmp_path):
    file = tiny.learnable(tmp_path / "t.csv", rows=400)
    parts = {split: opened(file, split=split)[1] for split in tasks.SPLITS}
    ids = [i for part in parts.values() for i in part.ids.tolist()]
    assert sorted(ids) == list(range(400))
    assert 280 < len(parts["train"]) < 360 and len(parts["validation"]) > 15 and len(parts["test"]) > 15
    twice = table(tmp_path / "u.csv", {"text": ["same"] * 50, "label": [0, 1] * 25})
    held = [tasks.has_rows(Task(task=f"local:{twice}"), split, "t") for split in tasks.SPLITS]
    assert sorted(held) == [False, False, True]


@given(st.integers(1, 200), st.integers(1, 250), st.integers(1, 250), st.integers(0, 1000))
def test_a_smaller_sample_is_part_of_a_larger_one(size, few, many, seed):
    few, many = sorted((few, many))
    places = np.arange(size) * 3
    small, large = tasks.sample(places, few, seed), tasks.sample(places, many, seed)
    assert len(small) == min(few, size) and set(small) <= set(large) <= set(places)
    assert (np.diff(small) > 0).all() and np.array_equal(small, tasks.sample(places, few, seed))


def test_another_seed_is_another_sample_and_no_limit_is_everything():
    places = np.arange(1000)
    assert not np.array_equal(tasks.sample(places, 100, 0), tasks.sample(places, 100, 1))
    assert np.array_equal(tasks.sample(places, None, 0), places)


@pytest.mark.parametrize("count", [2, 7, 100, 101])
def test_the_halves_are_disjoint_and_make_the_whole(count, tmp_path):
    _, rows = opened(tiny.task(tmp_path / "t.csv", rows=count))
    first, second = (tasks.part(rows, name, "a.rows") for name in ("half-1", "half-2"))
    assert sorted([*first.ids, *second.ids]) == rows.ids.tolist() and abs(len(first) - len(second)) <= 1
    assert tasks.part(rows, "all", "a.rows") is rows
    for place, text in zip(first.ids, first.texts, strict=True):
        assert rows.texts[place] == text


@given(st.floats(0.02, 1))
def test_a_fraction_is_that_much(fraction):
    rows = tasks.open_task(Task(task="builtin:spam-1", split="validation"), "tasks.0", "evaluate")[1]
    assert len(tasks.part(rows, fraction, "a.rows")) == round(fraction * len(rows))


def test_a_fraction_that_is_no_row_is_refused(tmp_path):
    with pytest.raises(QuestionError, match=r"^a\.rows: "):
        tasks.part(opened(tiny.task(tmp_path / "t.csv", rows=10))[1], 0.01, "a.rows")


def test_the_digest_stands_for_every_part_of_the_rows(tmp_path):
    digests = {
        opened(table(tmp_path / f"{i}.csv", columns))[1].digest
        for i, columns in enumerate([
            PLAIN, {**PLAIN, "label": ["a", "b", "b", "a"]}, {**PLAIN, "label": ["c", "a", "c", "a"]},
            {**PLAIN, "text": ["one fine day", "x", "y", "4"]}, {"text": PLAIN["text"][:3], "label": PLAIN["label"][:3]},
        ])
    }  # fmt: skip
    assert len(digests) == 5
    assert opened(table(tmp_path / "again.csv", PLAIN))[1].digest in digests


def test_digests_are_what_they_always_were(tmp_path):
    """Results, links and trained models of earlier versions are found by them."""
    (tmp_path / "t.csv").write_text("text,label\none fine day,b\nżółć 漢字,a\n4,b\n")
    built_in = tasks.open_task(Task(task="builtin:speech", split="validation", limit=100), "t", "evaluate")[1]
    assert (built_in.digest, opened(tmp_path / "t.csv")[1].digest) == ("7aa111f6db6f9e92a4ffe2395ba42a9e", "1f840ea9e382d859ebe89c9b21465da3")


def test_numbers_that_are_no_classes_are_scores(tmp_path):
    _, rows = opened(table(tmp_path / "t.csv", {"text": list("abcd"), "label": [0.5, 1, 4.25, 5]}))
    assert rows.kind == "scores" and rows.labels.dtype == np.float64 and rows.labels.tolist() == [0.5, 1, 4.25, 5] and rows.names == ()


@pytest.mark.parametrize("columns", [{"text": PLAIN["text"]}, {"words": PLAIN["text"], "id": [1, 2, 3, 4]}, PLAIN])
def test_token_losses_need_no_label(columns, tmp_path):
    file = table(tmp_path / "t.csv", columns)
    named, rows = opened(file, read="tokens")
    assert rows.kind == "texts" and rows.labels is None and rows.names == () and rows.texts == PLAIN["text"]
    assert named.label is None and tasks.open_task(named, "t", "evaluate")[1].digest == rows.digest
    assert rows.take(np.array([2, 0])).texts == [PLAIN["text"][0], PLAIN["text"][2]]
    with pytest.raises(QuestionError, match=r"^tasks\.0\.label: "):
        opened(file, read="tokens", label="label")


def test_texts_alone_are_told_how_they_can_be_read(tmp_path):
    with pytest.raises(QuestionError, match=r"^tasks\.0\.label: .*token losses"):
        opened(table(tmp_path / "t.csv", {"text": PLAIN["text"], "url": PLAIN["text"]}))


def test_texts_beside_which_nothing_could_be_a_label_are_texts_alone(tmp_path):
    named, rows = opened(table(tmp_path / "t.csv", {"text": PLAIN["text"], "id": list(range(len(PLAIN["text"])))}))
    assert rows.kind == "texts" and named.text == ["text"] and named.label is None


PAIRS = {"premise": ["A dog runs.", "It {rains}."], "hypothesis": ["It moves.", "It is dry."], "topic": ["x", ""], "n": [1, 2], "label": ["yes", "no"]}


def test_a_template_makes_a_row_s_columns_into_its_text(tmp_path):
    file = table(tmp_path / "t.jsonl", PAIRS)
    named, rows = opened(file, template="{premise} {{question}}: {hypothesis} ({topic}, {n})", answers=["false", "true"])
    assert rows.texts == ["A dog runs. {question}: It moves. (x, 1)", "It {rains}. {question}: It is dry. (, 2)"]
    assert rows.names == ("no", "yes") and rows.answers == ("false", "true") and rows.labels.tolist() == [1, 0]
    assert tasks.open_task(named, "t", "evaluate")[1].digest == rows.digest


def test_an_answer_can_be_a_column_of_its_row(tmp_path):
    columns = {"premise": ["p", "q", "r"], "choice1": ["a", "b", "c"], "choice2": ["d", "e", "f"], "label": [0, 1, 0]}
    file = table(tmp_path / "t.jsonl", columns)
    _, rows = opened(file, template="{premise} so", answers=["{choice1}", "{choice2}!"])
    assert rows.answers == [("a", "d!"), ("b", "e!"), ("c", "f!")]
    assert rows.take(np.array([2, 1])).answers == rows.answers[1:]
    other = opened(file, template="{premise} so", answers=["{choice1}", "{choice2}"])[1]
    assert other.digest != rows.digest != opened(file, template="{premise} so")[1].digest


@pytest.mark.parametrize("template", [
    "{premise.__class__}", "{premise[0]}", "{0}", "{premise!r}", "{premise:>99999999999}", "{premise:{n}}", "{", "}", "{}", "{nothing}", "words alone", "{premise",
])  # fmt: skip
def test_a_template_names_columns_and_nothing_else(template, tmp_path):
    with pytest.raises(QuestionError, match=r"^tasks\.0\.template: ") as told:
        opened(table(tmp_path / "t.jsonl", PAIRS), template=template)
    assert "\n" not in str(told.value)
    if template == "{nothing}":
        assert "premise, hypothesis, topic, n, label" in str(told.value)


@pytest.mark.parametrize("answers", [["a", "b", "c"], ["{premise.x}", "b"], ["{gone}", "b"]])
def test_answers_are_one_for_each_label(answers, tmp_path):
    with pytest.raises(QuestionError, match=r"^tasks\.0\.(answers|template): "):
        opened(table(tmp_path / "t.jsonl", PAIRS), template="{premise}", answers=answers)


def test_a_template_that_makes_too_much_of_all_rows_is_refused(tmp_path, monkeypatch):
    file = table(tmp_path / "t.jsonl", PAIRS)
    long = max(map(len, PAIRS["premise"])) + 1
    for field, asked in {"template": {"template": "{premise}" * 50}, "answers": {"template": "{n}", "answers": ["{premise}" * 25, "a"]}}.items():
        monkeypatch.setattr(prompts.render, "__defaults__", (50 * long,))
        monkeypatch.setattr(tasks, "MOST_TOGETHER", 50 * long)
        with pytest.raises(QuestionError, match=rf"^tasks\.0\.{field}: it makes more than"):
            opened(file, **asked)
    assert len(opened(file, template="{premise}" * 20)[1]) == 2


@given(st.text(st.sampled_from("{}!:.[]()ab _premise"), min_size=1, max_size=30))
def test_any_template_is_rendered_or_answered_with_a_sentence(template):
    with suppress(QuestionError):
        prompts.render(template, {"premise": ["p"], "a": [1]}, [0], "t")


def test_a_file_that_changed_is_read_again(tmp_path):
    file = table(tmp_path / "t.csv", PLAIN)
    before = opened(file)[1].digest
    table(file, {**PLAIN, "text": ["another", "quite other", "text", "here, longer than before"]})
    assert opened(file)[1].digest != before


def test_rows_that_ship_are_made_once_for_all_who_ask_the_same_and_named_where_they_are_asked():
    asked = Task(task="builtin:novel", limit=20)
    assert tasks.open_task(asked, "a.task", "train")[1] is tasks.open_task(Task(task="builtin:novel", limit=20), "a.task", "train")[1]
    assert tasks.open_task(asked, "a.task", "train")[1].digest != tasks.open_task(asked, "a.task", "evaluate")[1].digest
    assert tasks.open_task(asked, "a.task", "train")[0].model_fields_set >= asked.model_fields_set
    for field in ("a.task", "tasks.0"):
        with pytest.raises(QuestionError, match=rf"^{field}.split: "):
            tasks.open_task(asked.model_copy(update={"split": "none"}), field, "evaluate")


def test_built_in_tasks_validate_by_default_and_train_on_training_rows():
    assert tasks.open_task(Task(task="builtin:speech"), "t", "evaluate")[0].split == "validation"
    assert tasks.open_task(Task(task="builtin:speech"), "t", "train")[0].split == "train"


BAD = {
    "an empty file": ("t.csv", "", "task"),
    "a header alone": ("t.csv", "text,label\n", "task"),
    "one class": ("t.csv", "text,label\na,x\nb,x\n", "label"),
    "a row without a label": ("t.csv", "text,label\na,x\nb,\n", "label"),
    "a row without a text": ("t.csv", "text,label\na,x\n  ,y\n", "text"),
    "no label column": ("t.csv", "one,two\naa,bb\ncc,dd\nee,ff\n", "label"),
    "three texts": ("t.csv", "one,two,three,label\na,b,c,x\nd,e,f,y\n", "text"),
    "no text column": ("t.jsonl", '{"n": 1, "label": "x"}\n{"n": 2, "label": "y"}\n', "text"),
    "a measure that is not everywhere one": ("t.csv", "text,label\na,0.5\nb,inf\n", "label"),
    "a label for every row": ("t.csv", "text,label\n" + "".join(f"text {i},label {i}\n" for i in range(300)), "label"),
    "ragged rows": ("t.csv", "text,label\na,x\nb,y,z,w\n", "task"),
    "a quotation without an end": ("t.csv", 'text,label\n"a,x\nb,y\n', "task"),
    "no json": ("t.jsonl", "{broken\n", "task"),
    "json that is no table": ("t.json", "3", "task"),
    "no parquet": ("t.parquet", "PAR1 but no more", "task"),
    "no utf-8": ("t.csv", b"text,label\n\xff\xfe\xfa,x\nb,y\n", "task"),
    "another ending": ("t.txt", "text,label\na,x\nb,y\n", "task"),
    "bytes of zero": ("t.csv", b"\x00" * 100, "task"),
    "not a number where labels are numbers": ("t.jsonl", '{"text": "a", "label": NaN}\n{"text": "b", "label": 1}\n', "task|label"),
    "a nested text": ("t.jsonl", '{"text": {"a": "b"}, "label": 1}\n{"text": {"a": "c"}, "label": 0}\n', "text"),
}


@pytest.mark.parametrize(("name", "content", "field"), BAD.values(), ids=BAD.keys())
def test_a_file_that_is_no_task_is_answered_with_a_sentence(name, content, field, tmp_path):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(QuestionError, match=rf"^tasks\.0\.({field}): ") as told:
        opened(file)
    assert "\n" not in str(told.value) and len(str(told.value)) < 400


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"task": "builtin:speach"}, r"tasks\.0\.task: .*speech"),
        ({"task": "builtin:speech", "split": "dev"}, r"tasks\.0\.split: .*validation"),
        ({"task": "builtin:speech", "text": "sentence"}, r"tasks\.0\.text: "),
        ({"task": "local:/nowhere/t.csv"}, r"tasks\.0\.task: there is no file"),
        ({"task": "local:/tmp"}, r"tasks\.0\.task: "),
    ],
)
def test_a_task_that_is_not_there_is_named(fields, match):
    with pytest.raises(QuestionError, match=match):
        tasks.open_task(Task(**fields), "tasks.0", "evaluate")


def test_columns_that_are_not_there_are_answered_with_those_that_are(tmp_path):
    file = table(tmp_path / "t.csv", PLAIN)
    with pytest.raises(QuestionError, match=r"^tasks\.0\.text: .*'sentence'.*text, label"):
        opened(file, text="sentence")
    with pytest.raises(QuestionError, match=r"^tasks\.0\.label: .*'gold'.*text, label"):
        opened(file, label="gold")


def test_the_constant_baseline_is_the_most_frequent_label(tmp_path):
    _, rows = opened(table(tmp_path / "t.csv", {"text": list("abcde"), "label": [0, 1, 1, 1, 0]}))
    assert tasks.constant_baseline(rows) == 0.6
