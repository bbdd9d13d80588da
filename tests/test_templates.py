"""Templates that ship: every one fits its data set and makes texts that read well."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from mcore.errors import QuestionError
from mcore.hub import data as hubdata
from mcore.question import Task, parse
from mcore.resolve import resolve
from mcore.result import collect
from mcore.run import run
from mcore.tasks import rows as tasks
from mcore.tasks.prompts import MASK, columns_in
from mcore.tasks.templates import KINDS, check_labels, declared, shipped, template_for

EVERY = [(one.task, kind) for one in shipped() for kind in one.templates]
VALUES = {
    "premise": "The man broke his toe.", "hypothesis": "Somebody was hurt.", "sentence": "The garden was old and merry.",
    "sentence1": "She wrote a letter to her sister.", "sentence2": "Her sister got a letter.", "question1": "How old is the house?",
    "question2": "What is the age of the house?", "question": "cause", "passage": "The ball was in the evening. Everyone danced.",
    "paragraph": "The ball was in the evening. Everyone danced.", "answer": "In the evening", "choice1": "He got a hole in his sock.",
    "choice2": "He dropped a hammer on his foot.", "word": "ball", "text": "The sister told the cousin that she was late.",
    "span1_text": "The sister", "span2_text": "she", "query": "The letter was written by @placeholder.",
    "entities": ["Emma", "Anne", "Harriet Smith", "Anne Elliot", "Emma"],
}  # fmt: skip


def rendered(tmp_path, address: str, kind: str, rows: int = 4):
    """The rows of a small file with the data set's columns, in the words of its template."""
    one, template = declared(address), template_for(address, kind)
    values = VALUES | ({"question": "is the house really old"} if "copa" not in address else {})
    row = {column: values[column] for column in one.columns}
    label = template.label or "label"
    right = [i % len(one.labels) if one.labels else ["Anne", "Anne Elliot"] for i in range(max(rows, len(one.labels)))]
    lines = [json.dumps(row | {label: one}) for one in right]
    file = tiny.write(tmp_path / "data.jsonl", "\n".join(lines))
    task = Task(task=f"local:{file}", read="answers", label=label, template=template.template, answers=list(template.answers))
    return tasks.open_task(task, "tasks.0", "evaluate")[1]


@pytest.mark.parametrize(("address", "kind"), EVERY)
def test_a_template_names_columns_that_are_there_and_an_answer_for_each_label(address, kind):
    one, template = declared(address), template_for(address, kind)
    used = columns_in([template.template, *template.answers], "template")
    assert set(used) <= set(one.columns)
    assert len(template.answers) == len(set(template.answers)) == (len(one.labels) or 1)
    assert template.template.count(MASK) == (kind == "masked")
    assert template.template == template.template.strip()


@pytest.mark.parametrize(("address", "kind"), EVERY)
def test_rows_in_the_words_of_a_template_have_no_brace_left(tmp_path, address, kind):
    rows = rendered(tmp_path, address, kind)
    answers = rows.answers[0] if isinstance(rows.answers, list) else rows.answers
    print(f"\n--- {address} {kind}\n{rows.texts[0]}\n    " + " | ".join(answers))
    assert "{" not in rows.texts[0].replace(MASK, "") + "".join(answers)


def test_every_column_that_a_data_set_declares_is_used_by_one_of_its_templates():
    for one in shipped():
        used = columns_in([text for template in one.templates.values() for text in (template.template, *template.answers)], "template")
        assert set(used) == set(one.columns), one.task


def test_each_alternative_of_copa_is_an_answer_of_its_own_row(tmp_path):
    rows = rendered(tmp_path, "hub:aps/super_glue/copa", "causal")
    assert rows.answers[0] == (VALUES["choice1"], VALUES["choice2"]) and rows.texts[0].endswith("What was the cause?")


def test_the_right_name_of_record_is_chosen_among_the_wrong_ones_of_its_own_row(tmp_path):
    """"Anne Elliot" is right as well: it is no wrong answer that competes with "Anne"."""
    rows = rendered(tmp_path, "hub:aps/super_glue/record", "causal")
    assert rows.answers == [("Emma", "Anne", "Harriet Smith")] * 4 and rows.labels.tolist() == [1] * 4 and rows.names == ("1", "2", "3")


def choosing(tmp_path, *given, **more) -> Task:
    """A file whose rows are (choices, right) and a task that chooses among them."""
    rows = [{"text": f"Row {i}.", "names": names, "right": right} for i, (names, right) in enumerate(given)]
    file = tiny.write(tmp_path / "rows.jsonl", "\n".join(map(json.dumps, rows)))
    return Task(**{"task": f"local:{file}", "template": "{text} It was", "answers": ["{names}"], "label": "right"} | more)


def test_rows_may_have_different_numbers_of_choices_and_one_right_name_each(tmp_path):
    _, rows = tasks.open_task(choosing(tmp_path, (["a", "b", "c", "d"], "d"), (["a", "b"], ["b"])), "tasks.0", "evaluate")
    assert rows.answers == [("a", "b", "c", "d"), ("a", "b")] and rows.labels.tolist() == [3, 1] and len(rows.names) == 4
    assert rows.take(np.array([1])).answers == [("a", "b")]


@pytest.mark.parametrize(("rows", "more", "told"), [
    ([(["a", "b"], "c")], {}, "row 0: none of its 2 choices is in 'right'"), ([(["a"], "a")], {}, "it has 1 choices"),
    ([("a", "a")], {}, "holds no list of texts"), ([(["a", "b"], "a")], {"answers": ["names"]}, "is one answer alone"),
    ([(["a", "b"], "a")], {"answers": ["{names} or so"]}, "is one answer alone"), ([(["a", "b"], "a")], {"answers": ["{nobody}"]}, "no column 'nobody'"),
])  # fmt: skip
def test_choices_that_cannot_be_read_get_a_sentence(tmp_path, rows, more, told):
    with pytest.raises(QuestionError, match=told):
        tasks.open_task(choosing(tmp_path, *rows, **more), "tasks.0", "evaluate")


def test_a_built_in_task_has_no_choices_of_its_rows():
    with pytest.raises(QuestionError, match="no column of lists"):
        tasks.open_task(Task(task="builtin:speech", template="{text}", answers=["{text}"]), "tasks.0", "evaluate")


def test_two_language_models_choose_among_the_names_of_each_row(tmp_path, saved, store):
    task = choosing(tmp_path, *[(["the old man", "she", f"sister {i}", "he"][: 2 + i % 3], ["she"]) for i in range(12)])
    pair = [saved("gpt2", seed, opener=AutoModelForCausalLM) for seed in (1, 2)]
    question = parse(tiny.experiment(*pair, task.model_dump(exclude_none=True), probes=["loss", "accuracy", "knowledge", "calibration", "ensemble", "agreement", "macro_f1"]))
    for _ in run(question, store):
        pass
    told = collect(resolve(question), store)["tasks"][0]
    assert np.isfinite(told["loss"]).all() and np.isfinite(told["calibration_error"]).all() and np.isfinite(told["ensemble_loss"]).all()


def test_a_revision_and_the_name_of_the_only_configuration_change_nothing():
    plain = template_for("hub:facebook/anli", "masked")
    assert plain is not None and plain == template_for("hub:facebook/anli/plain_text@main", "masked")
    assert template_for("hub:nyu-mll/glue/stsb", "causal") is None and template_for("hub:somebody/else", "causal") is None


def test_every_task_of_glue_and_superglue_with_labels_has_a_template_for_every_kind_of_model():
    sets = ["nyu-mll/glue/" + name for name in ("cola", "sst2", "mrpc", "qqp", "mnli", "qnli", "rte", "wnli")]
    sets += ["aps/super_glue/" + name for name in ("boolq", "cb", "copa", "multirc", "rte", "wic", "wsc")] + ["facebook/anli"]
    for name in sets:
        assert set(declared(f"hub:{name}").templates) >= {"causal", "masked", "seq2seq"} <= set(KINDS), name


def test_the_labels_of_built_in_tasks_are_those_of_the_tasks():
    for one in shipped():
        if one.task.startswith("builtin:"):
            assert list(one.labels) == tasks.declarations()[one.task.removeprefix("builtin:")]["labels"]


def test_answers_are_not_read_for_labels_in_another_order():
    one = declared("hub:nyu-mll/glue/mnli")
    task = Task(task=one.task, template=one.templates["causal"].template)
    check_labels(task, one.labels, "tasks.0")
    check_labels(task, ("0", "1", "2"), "tasks.0")
    with pytest.raises(QuestionError, match="these are contradiction, neutral, entailment"):
        check_labels(task, one.labels[::-1], "tasks.0")


def test_what_is_known_of_data_sets_and_what_their_templates_say_agree():
    known = hubdata.declarations()
    for one in shipped():
        if found := known.get(one.task.removeprefix("hub:")):
            assert tuple(found["labels"]) == one.labels and set(found["text"]) <= set(one.columns)


def parquet(columns: dict[str, list]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


RECORD = {
    "passage": [f"{tiny.sentence(i, 8)} Emma Woodhouse met Anne." for i in range(20)],
    "query": [f"It was @placeholder who wrote letter {i}." for i in range(20)],
    "entities": [["Emma", "Anne", "Emma Woodhouse"][: 2 + i % 2] for i in range(20)],
    "entity_spans": [{"text": ["Emma", "Anne"], "start": [0, 5], "end": [4, 9]}] * 20,
    "answers": [["Emma", "Emma Woodhouse"] if i % 3 else ["Anne"] for i in range(20)],
}


def test_record_on_the_hub_is_read_by_two_language_models_at_once(server, saved, store):
    server.put("aps/super_glue", {"record/validation-00000-of-00001.parquet": parquet(RECORD)}, kind="datasets")
    pair = [saved("gpt2", seed, opener=AutoModelForCausalLM) for seed in (1, 2)]
    question = parse(tiny.experiment(*pair, {"task": "hub:aps/super_glue/record", "limit": 9}))
    resolved = resolve(question)
    asked, rows = resolved.tasks[0].task, resolved.tasks[0].rows
    assert (asked.read, asked.answers, asked.label) == ("answers", ["{entities}"], "answers") and "@placeholder" in rows.texts[0]
    for row, right, names in zip(rows.ids, rows.labels, rows.answers, strict=True):
        assert names[right] == ("Emma" if row % 3 else "Anne") and (row % 3 == 0 or "Emma Woodhouse" not in names)
    for _ in run(question, store):
        pass
    told = collect(resolve(question), store)
    assert told["complete"] and np.isfinite(told["tasks"][0]["loss"]).all()
    again = resolve(resolved.experiment)  # the question with every name written out is the same question
    assert again.fingerprint == resolved.fingerprint


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_mnli_on_the_hub_is_asked_in_the_words_that_ship(server, saved, store, kind):
    made = {name: [f"{tiny.sentence(i + begin, 6)} {i}." for i in range(12)] for name, begin in (("premise", 0), ("hypothesis", 50))}
    files = {"mnli/validation_matched-00000-of-00001.parquet": parquet(made | {"label": [i % 3 for i in range(12)]})}
    server.put("nyu-mll/glue", files, kind="datasets")
    family, opener = {"masked": ("bert", AutoModelForMaskedLM), "causal": ("gpt2", AutoModelForCausalLM)}[kind]
    question = parse(tiny.experiment(*(saved(family, seed, opener=opener) for seed in (1, 2)), {"task": "hub:nyu-mll/glue/mnli", "max_length": 60}))
    for _ in run(question, store):
        pass
    told = collect(resolve(question), store)["tasks"][0]
    shown = template_for("hub:nyu-mll/glue/mnli", kind)
    assert (told["task"]["template"], tuple(told["task"]["answers"])) == (shown.template, shown.answers)
    assert told["labels"] == ["entailment", "neutral", "contradiction"] and np.isfinite(told["loss"]).all()


def test_a_base_that_ships_is_read_in_words_at_once(store):
    """As it was pre-trained longer it tells spoken from narrated sentences, and spam, by a word that it expects."""
    tasks_asked = [{"task": "builtin:speech", "limit": 200, "max_length": 48}, {"task": "builtin:spam", "limit": 100}]
    question = parse(tiny.experiment("builtin:austen@0", "builtin:austen@7000", *tasks_asked, points=2))
    for _ in run(question, store):
        pass
    for told in collect(resolve(question), store)["tasks"]:
        first, last = told["accuracy"]
        assert abs(first - 0.5) < 0.3 and last > max(0.78, told["constant_baseline"] + 0.05, first)
