"""What ships with the app is what its declarations say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForMaskedLM, AutoTokenizer

from mcore.models.checkpoints import BUILTIN, families
from mcore.question import Task
from mcore.sources import look
from mcore.tasks import rows as tasks

STEPS = [0, 100, 300, 1000, 2000, 4000, 7000]
NAMES = list(tasks.declarations())
ALONE = [name for name, declared in tasks.declarations().items() if declared["parts"] == [name]]


def frame(name: str, split: str) -> pd.DataFrame:
    return pd.read_parquet(BUILTIN / "tasks" / name / f"{split}.parquet")


def test_the_family_has_its_whole_history():
    assert families()["austen"] == STEPS


@pytest.mark.parametrize("step", STEPS)
def test_every_step_loads_with_transformers_alone(step):
    folder = BUILTIN / "austen" / str(step)
    model = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == model.config.vocab_size == 4096
    batch = tokenizer(["It is a truth universally acknowledged", "Emma"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        assert torch.isfinite(model(**batch).logits).all()


@pytest.mark.parametrize("step", STEPS)
def test_every_step_is_small_half_precision_safetensors(step):
    file = BUILTIN / "austen" / str(step) / "model.safetensors"
    assert 2_000_000 < file.stat().st_size < 4_000_000
    with safe_open(file, framework="numpy") as opened:
        assert {opened.get_slice(name).get_dtype() for name in opened.keys()} == {"F16"}  # noqa: SIM118


def test_all_steps_have_one_tokenizer_and_other_weights():
    looked = [look(f"builtin:austen@{step}", "a") for step in families()["austen"]]
    assert len({one.tokenizer for one in looked}) == 1
    assert len({one.digest for one in looked}) == len(looked)
    assert all(one.labels is None for one in looked)


def test_the_last_step_is_the_one_that_is_meant_without_a_step():
    assert look("builtin:austen", "a").address == f"builtin:austen@{families()['austen'][-1]}"


@pytest.mark.parametrize("name", ALONE)
def test_no_text_is_in_two_splits_nor_twice_in_one(name):
    texts = pd.concat([frame(name, split) for split in tasks.SPLITS])["text"]
    plain = texts.map(lambda text: " ".join(text.lower().split()))
    assert not plain.duplicated().any(), plain[plain.duplicated()].head().tolist()
    assert texts.str.strip().str.len().min() > 0


def test_both_periods_of_spam_together_have_no_text_in_two_splits():
    seen: dict[str, str] = {}
    for split in tasks.SPLITS:
        for part in ("spam-1", "spam-2"):
            for text in frame(part, split)["text"]:
                assert seen.setdefault(text, split) == split


@pytest.mark.parametrize("name", NAMES)
def test_the_declared_rows_labels_and_baseline_are_true(name):
    declared = tasks.declarations()[name]
    assert declared["description"].strip().endswith((".", "?")) and declared["licence"]
    for split in tasks.SPLITS:
        resolved, rows = tasks.open_task(Task(task=f"builtin:{name}", split=split), "tasks.0", "evaluate")
        assert len(rows) == declared["rows"][split]
        assert rows.names == tuple(declared["labels"])
        assert set(rows.labels.tolist()) == set(range(len(rows.names)))
        assert np.array_equal(rows.ids, np.arange(len(rows)))
        assert resolved.split == split
    _, rows = tasks.open_task(Task(task=f"builtin:{name}", split="validation"), "tasks.0", "evaluate")
    assert tasks.constant_baseline(rows) == pytest.approx(declared["constant_baseline"], abs=1e-4)


@pytest.mark.parametrize("name", ["speech", "order-austen", "order-mail", "novel"])
def test_classes_are_balanced_where_that_is_natural(name):
    for split in tasks.SPLITS:
        counts = frame(name, split)["label"].value_counts()
        assert counts.max() <= 1.05 * counts.min()


def test_quotation_marks_do_not_give_speech_away():
    for split in tasks.SPLITS:
        assert not frame("speech", split)["text"].str.contains('["“”]').any()


def test_names_do_not_give_the_novel_away():
    texts = " ".join(frame("novel", "validation")["text"])
    for name in ("Darcy", "Knightley", "Elinor", "Wentworth", "Tilney", "Crawford", "Pemberley", "Highbury"):
        assert name not in texts
