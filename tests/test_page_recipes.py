"""A recipe's form and what is said of two recipes: answers in words, parts of the rows, optimisers, checkpoints on their way."""

from __future__ import annotations

import pytest
import tiny
from app_in_apptest import page, words
from browser_fixtures import RECIPE, carry_out, question
from transformers import AutoModel, AutoModelForSeq2SeqLM

from mcore.question import parse
from mcore.resolve import resolve
from mcore.store import Store

FINETUNE = "pages/2_Fine-tune.py"
IN_WORDS = RECIPE | {"task": {"task": "builtin:speech", "read": "answers"}, "cartography": 16}


@pytest.fixture
def store(app_store: Store) -> Store:
    return app_store


def opened(asked=None):
    return page(asked, FINETUNE)


def held(app, side="b"):
    return app.session_state["mc.draft"][side]


def test_a_base_that_is_a_language_model_may_answer_in_words(store: Store) -> None:
    app = opened(question())
    assert app.selectbox(key="in.a.task.read").value == "With a new head" and app.text_input(key="in.a.head_seed")
    app.selectbox(key="in.a.task.read").set_value("In words").run()
    assert held(app, "a")["task"]["read"] == "answers" and "answers with a head → in words" not in words(app)
    assert "answers in words → with a head" in words(app)
    assert not any(one.key == "in.a.head_seed" for one in app.text_input) and app.text_input(key="in.b.head_seed")
    assert app.text_area(key="in.a.task.template").placeholder == "{mask}, {text}"
    assert app.text_area(key="in.a.task.answers").placeholder == "she\nyou" and "narrated, spoken" in words(app)
    app.text_area(key="in.a.task.answers").set_value("he\nyou").run()
    assert held(app, "a")["task"]["answers"] == ["he", "you"]
    app.selectbox(key="in.a.task.read").set_value("With a new head").run()
    assert "read" not in held(app, "a")["task"]


def test_two_language_models_are_told_as_such_and_evaluated_as_they_are_trained(store: Store) -> None:
    asked = question(a=IN_WORDS, b=IN_WORDS | {"data_seed": 5})
    app = opened(asked)
    said = words(app)
    assert "austen@0 tuned on speech in words, 20 steps" in said and "data seed 1 → 5; everything else the same" in said
    assert "things differ" not in said and "about" in said and not app.exception
    carry_out(asked, store)
    done = words(opened(asked))
    assert "90.0 %" in done and "apart (L2)" in done and "The head is counted" not in done


def test_a_base_without_words_is_not_asked_for_them(store: Store, saved) -> None:
    body = {"base": f"local:{saved('bert', 5, opener=AutoModel)}"}
    app = opened(question(a=RECIPE | body, b=RECIPE | body))
    assert not any(one.key == "in.a.task.read" for one in app.selectbox)


def test_on_a_host_nothing_is_told_of_a_folder(store: Store, saved, host) -> None:
    host()
    folder = f"local:{saved('t5', 5, opener=AutoModelForSeq2SeqLM)}"
    app = opened(question(a=RECIPE | {"base": folder}))
    assert not any(one.key == "in.a.task.read" for one in app.selectbox) and "this host opens no files of its own" in words(app)


def test_a_file_of_the_papers_form_is_trained_on_and_evaluated(store: Store, saved, tmp_path) -> None:
    """Everything that its declaration needs can be typed, and what is evaluated follows."""
    lines = [f"premise: {tiny.sentence(i, 6)} [SEP] hypothesis: {tiny.sentence(99 + i, 4)} {i}\t{('no', 'maybe', 'yes')[i % 3]}" for i in range(60)]
    file = tiny.write(tmp_path / "nli.tsv", "\n".join(lines) + "\n")
    base = {"base": f"local:{saved('t5', 5, opener=AutoModelForSeq2SeqLM)}", "task": {"task": f"local:{file}", "read": "answers"}, "steps": 2}
    app = opened(question(a=base, b=base | {"data_seed": 2}))
    for side in "ab":
        app.text_input(key=f"in.{side}.task.columns").set_value("input, output").run()
        app.text_input(key=f"in.{side}.task.text").set_value("input").run()
        app.text_input(key=f"in.{side}.task.label").set_value("output").run()
        app.text_area(key=f"in.{side}.task.template").set_value("[nli] {input}").run()
    assert not app.exception and app.text_area(key="in.a.task.answers").placeholder == "maybe\nno\nyes"
    resolved = resolve(parse(app.session_state["mc.draft"]))
    assert resolved.kind == "seq2seq" and resolved.tasks[0].rows.answers == ("maybe", "no", "yes")
    assert resolved.tasks[0].rows.texts[0].startswith("[nli] premise: ") and resolved.tasks[0].task.split in ("all", "validation")


def test_other_data_forget_what_was_said_of_the_columns_before(store: Store) -> None:
    app = opened(question(a=RECIPE | {"task": {"task": "builtin:speech", "read": "answers", "template": "{mask}: {text}", "answers": ["she", "you"], "limit": 99}}))
    app.selectbox(key="in.a.task.task").set_value("builtin:spam").run()
    assert held(app, "a")["task"] == {"task": "builtin:spam", "read": "answers", "limit": 99}


def test_parts_of_the_rows_are_asked_for_and_what_they_share_is_told(store: Store) -> None:
    app = opened(question(b=RECIPE))
    app.text_input(key="in.a.rows").set_value("0-0.5").run()
    app.text_input(key="in.b.rows").set_value("0.25-0.75").run()
    rows = {side: resolve(parse(app.session_state["mc.draft"])).endpoint(side).recipe.training.rows for side in "ab"}
    both = len(set(rows["a"].ids.tolist()) & set(rows["b"].ids.tolist()))
    sizes = f"{both:,} of {len(rows['a']):,} in common" if len(rows["a"]) == len(rows["b"]) else f"{both:,} in common, of {len(rows['a']):,} and {len(rows['b']):,}"
    assert 0 < both < len(rows["a"]) and f"training rows 0-0.5 → 0.25-0.75 ({sizes}); everything else the same" in words(app)
    app.text_input(key="in.b.rows").set_value("0.75-0.25").run()
    assert "b.rows" in words(app) and "a range such as 0.25-0.75" in words(app)


def test_optimiser_and_decay_are_chosen_and_told(store: Store) -> None:
    app = opened(question(b=RECIPE))
    app.selectbox(key="in.b.optimizer").set_value("SGD").run()
    assert held(app)["optimizer"] == "sgd" and "optimiser AdamW → SGD; everything else the same" in words(app) and "things differ" not in words(app)
    app.selectbox(key="in.b.decay").set_value("none").run()
    assert "optimiser AdamW → SGD, decay linear → none" in words(app)
    assert "Two things differ: what you see cannot be put down to one of them." in words(app)
    app.selectbox(key="in.b.optimizer").set_value("AdamW").run()
    assert "optimizer" not in held(app) and "things differ" not in words(app)


@pytest.mark.parametrize("file", [FINETUNE, "pages/1_Compare.py", "pages/3_Knowledge.py"])
def test_every_page_with_a_pair_tells_what_differs_and_warns(file: str, store: Store) -> None:
    asked = question(b=RECIPE | {"head_seed": 2, "weight_decay": 0.5, "batch_size": 8})
    carry_out(asked, store)
    said = words(page(asked, file))
    assert "head seed 1 → 2, batch size 32 → 8, weight decay 0.01 → 0.5; everything else the same" in said
    assert "Three things differ: what you see cannot be put down to one of them." in said
    alone = question(b=RECIPE | {"head_seed": 2})
    carry_out(alone, store)
    assert "things differ" not in words(page(alone, file))


def test_a_checkpoint_on_the_way_is_named_as_one_and_a_shorter_training_as_another(store: Store) -> None:
    app = opened(question(a=RECIPE, b=RECIPE))
    app.text_input(key="in.b.stop_at").set_value("8").run()
    said = words(app)
    assert "austen@0 tuned on speech @ step 8 of 20" in said and "step 20 → 8 of one training; everything else the same" in said
    app.text_input(key="in.b.stop_at").set_value("").run()
    app.text_input(key="in.b.steps").set_value("8").run()
    assert "austen@0 tuned on speech, 8 steps" in words(app) and "training steps 20 → 8, each on a schedule of its own" in words(app)


def test_a_model_that_was_trained_here_is_taken_at_any_step_of_its_training(store: Store) -> None:
    asked = question(a=IN_WORDS, b=RECIPE | {"task": {"task": "builtin:speech", "max_length": 40}, "rows": "half-1"})
    resolved = carry_out(asked, store)
    app = page(question())
    app.session_state["chosen-kind-b"] = "Trained here"
    app.run()
    keys = {end.side: end.fingerprint for end in (resolved.a, resolved.b)}
    app.selectbox(key="stored-b").set_value(keys["b"]).run()
    app.button(key="use-b").click().run()
    assert resolve(parse(app.session_state["mc.draft"])).b.fingerprint == keys["b"]  # its rows and its length too
    app.session_state["chosen-kind-b"] = "Trained here"
    app.run()
    app.selectbox(key="stored-b").set_value(keys["a"]).run()
    app.number_input(key="step-b").set_value(8).run()
    app.button(key="use-b").click().run()
    assert held(app)["stop_at"] == 8 and "@ step 8 of 20" in words(app) and held(app)["task"]["read"] == "answers"
    whole = resolve(parse({**app.session_state["mc.draft"], "a": asked.a.model_dump()}))
    assert whole.b.recipe.schedule == keys["a"] != whole.b.fingerprint
