"""The pages say what was measured where a language model was read: nats per token, answers in place of a head, scores."""

from __future__ import annotations

import pytest
import tiny
from app_in_apptest import charts, page, words
from streamlit.testing.v1 import AppTest
from transformers import AutoModelForCausalLM

from mcore.question import Experiment, parse
from mcore.run import run
from mcore.store import Store

KNOWLEDGE = "pages/3_Knowledge.py"


@pytest.fixture
def store(app_store: Store) -> Store:
    return app_store


@pytest.fixture
def computed(saved, rows, store: Store):
    """computed(**task): the question about two GPT-2 models and these rows, with its answer in the store."""

    def answered(**task) -> Experiment:
        a, b = (saved("gpt2", seed, opener=AutoModelForCausalLM) for seed in (0, 1))
        asked = parse(tiny.experiment(a, b, {"task": f"local:{rows}", "max_length": 32, **task}, points=5))
        list(run(asked, store))
        return asked

    return answered


def drawn(app: AppTest) -> str:
    return " ".join(one.proto.spec for one in app.get("vega_lite_chart"))


def tab(app: AppTest, name: str) -> str:
    app.session_state["tab"] = name
    app.run()
    assert not app.exception
    return words(app)


def test_token_losses_are_drawn_in_nats_per_token(computed) -> None:
    app = page(computed(read="tokens", text="text"))
    assert charts(app) == 1 and " nats per token, tokens predicted right " in drawn(app)
    assert "Loss (nats per token)" in drawn(app) and "Tokens predicted right" in drawn(app)
    assert "of tokens right" in words(app) and "The share of tokens predicted right" in words(app)
    assert "each is a text whose tokens are predicted" in tab(app, "Knowledge")
    assert "tokens predicted right, below the chord" in tab(app, "Numbers")
    assert "cosine" in tab(app, "Weights") and "Command line" in tab(app, "Reproduce")


def test_answers_are_drawn_like_labels(computed) -> None:
    app = page(computed(template="{text}. Was it?", answers=["sad", "merry"]))
    assert "Loss (nats)" in drawn(app) and "nats per token" not in words(app)
    assert "Read by the likelihood of “sad” or “merry” after the prompt “{text}. Was it?”." in words(app)
    assert "mastered by A" in tab(app, "Knowledge")


def test_the_knowledge_page_says_why_tokens_have_none(computed) -> None:
    asked = computed(read="tokens", text="text")
    app = page(asked, KNOWLEDGE)
    assert "no example is right or wrong" in words(app)
    told = words(page(computed(template="{text}. Was it?", answers=["sad", "merry"]), KNOWLEDGE))
    assert "no example is right or wrong" not in told and "mastered by A" in told


def test_squared_errors_are_named(saved, store: Store, tmp_path) -> None:
    file = tmp_path / "scores.csv"
    file.write_text("text,score\n" + "\n".join(f"{tiny.sentence(i)},{i % 11 / 4}" for i in range(30)))
    a, b = (saved("bert", seed, labels=("LABEL_0",)) for seed in (0, 1))
    asked = parse(tiny.experiment(a, b, {"task": f"local:{file}", "label": "score", "max_length": 16}, points=5))
    list(run(asked, store))
    app = page(asked)
    assert "Loss (squared error)" in drawn(app) and "Within 0.5" in drawn(app) and "at A squared error " in drawn(app)
    assert "a number" in words(page(asked, KNOWLEDGE))
    assert "comes within 0.5 of its score" in tab(app := page(asked), "Knowledge")
    assert "Every row at every t" not in str(app.get("page_link"))


def test_texts_that_stand_alone_are_read_by_their_tokens(saved, store: Store, tmp_path) -> None:
    file = tmp_path / "texts.csv"
    file.write_text("text\n" + "\n".join(f"{tiny.sentence(i)} {i}" for i in range(30)))
    a, b = (saved("gpt2", seed, opener=AutoModelForCausalLM) for seed in (0, 1))
    asked = parse(tiny.experiment(a, b, {"task": f"local:{file}", "max_length": 32}))
    list(run(asked, store))
    assert "nats per token" in words(page(asked))


def test_how_a_task_is_read_can_be_chosen_where_its_label_is_not_clear(saved, app_store: Store, tmp_path) -> None:
    file = tmp_path / "texts.csv"
    file.write_text("text,url\n" + "\n".join(f"{tiny.sentence(i)},u{i}" for i in range(30)))
    a, b = (saved("gpt2", seed, opener=AutoModelForCausalLM) for seed in (0, 1))
    app = page(parse(tiny.experiment(a, b, {"task": f"local:{file}", "text": "text"})))
    assert "name one of: url; or read the texts alone" in words(app)
    app.selectbox(key="in.tasks.0.read").set_value("by the loss of its tokens").run()
    assert "Run evaluates 3 points on 30 rows" in words(app).replace("then ", "")
