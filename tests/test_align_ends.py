"""Alignment where an end is not a plain float32 model: bfloat16 products, merged adapters; and what bounds the time of matching by activations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as hf
from scipy.optimize import linear_sum_assignment
from test_adapters import adapter, base
from test_align import CLASSIFIER, aligned, ask, question, shuffled

from mcore.errors import Cancelled, McoreError
from mcore.evaluation.evaluate import has_bfloat16
from mcore.paths import align
from mcore.paths.matching import Moments, assigned
from mcore.question import parse
from mcore.run import run
from mcore.store import Store

both_methods = pytest.mark.parametrize("method", ["weights", "activations"])


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16 products")
@both_methods
def test_in_bfloat16_the_end_is_the_untouched_b_and_the_way_there_is_that_of_the_aligned_one(
    method, saved, rows, store, tmp_path
):
    a = saved("bert", 0)
    b = shuffled(a, tmp_path / "b", CLASSIFIER)
    rough = {"precision": "bfloat16"}
    _, _, plain = ask(question(a, b, rows, CLASSIFIER, **rough), Store(tmp_path / "plain"))
    _, result, found = ask(question(a, b, rows, CLASSIFIER, **aligned(method), **rough), store)
    assert result["path"]["alignment"]["moved_units"] > 0
    assert np.array_equal(found[0.0], plain[0.0]) and np.array_equal(found[1.0], plain[1.0])
    scale = float(np.abs(found[0.0]).max())
    assert found[0.5] == pytest.approx(found[0.0], abs=0.02 * scale), (
        "between A and B's units in A's places there is only A"
    )
    assert np.abs(plain[0.5] - found[0.5]).max() > 0.05 * scale, "the unaligned path is flat too, which says nothing"
    _, fine, exact = ask(question(a, b, rows, CLASSIFIER, **aligned(method)), store)
    assert fine["path"]["alignment"] == result["path"]["alignment"] and len(store.entries("aligned")) == 1, (
        "what is matched are the float32 weights"
    )
    assert not np.array_equal(exact[0.5], found[0.5])


@pytest.fixture
def adapters(tmp_path):
    """Two LoRA adapters of bases that have nothing to do with each other, and the whole models that peft makes of them."""
    found = []
    for side, seed in (("a", 1), ("b", 2)):
        on = base(tmp_path / f"base-{side}", seed=seed)
        found.append(adapter(tmp_path / side, on, str(on), seed, modules_to_save=["classifier", "pooler.dense"]))
    return found


@both_methods
def test_merged_adapters_are_aligned_like_the_models_that_peft_makes_of_them(method, adapters, rows, store, tmp_path):
    (a, whole_a), (b, whole_b) = adapters
    _, result, found = ask(question(a, b, rows, CLASSIFIER, **aligned(method)), store)
    _, expected, of_whole = ask(
        question(whole_a, whole_b, rows, CLASSIFIER, **aligned(method)), Store(tmp_path / "whole")
    )
    told = result["path"]["alignment"]
    assert told["moved_units"] > told["units"] / 4
    if method == "weights":
        assert told["l2_after"] < told["l2_before"]
    for name, value in expected["path"]["alignment"].items():
        assert told[name] == (pytest.approx(value) if isinstance(value, float) else value), name
    for t in (0.0, 0.5, 1.0):
        assert found[t] == pytest.approx(of_whole[t], abs=1e-5)
    _, _, plain = ask(question(a, b, rows, CLASSIFIER), Store(tmp_path / "plain"))
    assert np.array_equal(found[0.0], plain[0.0]) and np.array_equal(found[1.0], plain[1.0])
    assert not np.allclose(found[0.5], plain[0.5], atol=1e-3)


@both_methods
def test_an_adapter_and_its_own_whole_model_with_shuffled_units_meet_again(method, adapters, rows, store, tmp_path):
    (a, whole), _ = adapters
    b = shuffled(whole, tmp_path / "shuffled", hf.AutoModelForSequenceClassification)
    _, result, found = ask(question(a, b, rows, CLASSIFIER, **aligned(method)), store)
    told = result["path"]["alignment"]
    assert told["l2_before"] > 1 and told["l2_after"] <= (0.2 if method == "activations" else 1e-5) * told["l2_before"]
    assert found[0.5] == pytest.approx(found[0.0], abs=1e-5)


def test_activations_are_compared_on_the_first_rows_that_hold_so_many_tokens(saved, rows, store, tmp_path, monkeypatch):
    a, b = saved("bert", 0), saved("bert", 1)
    told, counted = question(a, b, rows, CLASSIFIER, **aligned("activations")), []
    add = Moments.add
    monkeypatch.setattr(Moments, "add", lambda self, x, y: (counted.append(len(x)), add(self, x, y))[1])
    ask(told, store)
    assert set(counted) == {24, max(counted)}, "all 24 rows in the head, and all their tokens in every other layer"
    whole = max(counted)
    counted.clear()
    monkeypatch.setattr(align, "COMPARED", whole // 2)
    ask(told, Store(tmp_path / "half"))
    assert whole // 4 < max(counted) <= whole // 2
    counted.clear()
    monkeypatch.setattr(align, "COMPARED", 1)
    ask(told, Store(tmp_path / "one"))
    assert min(counted) == 1 < max(counted) <= 16, "one row at the least"


def test_activations_in_parts_are_those_of_all_at_once(saved, rows, store, tmp_path, monkeypatch):
    told = question(saved("bert", 0), saved("bert", 1), rows, CLASSIFIER, **aligned("activations"))
    events, result, found = ask(told, store)
    assert not any("part 2" in getattr(event, "what", "") for event in events)
    monkeypatch.setattr(align, "HELD", 1)
    events, again, in_parts = ask(told, Store(tmp_path / "parts"))
    assert any("part 2" in getattr(event, "what", "") for event in events)
    assert again["path"]["alignment"] == result["path"]["alignment"] and np.array_equal(in_parts[0.5], found[0.5])


@pytest.mark.parametrize("where", ["part", "group"])
def test_matching_by_activations_can_be_cancelled_and_done_again(where, saved, rows, store):
    told, seen = question(saved("bert", 0), saved("bert", 1), rows, CLASSIFIER, **aligned("activations")), []
    with pytest.raises(Cancelled):
        for event in run(
            parse(told),
            store,
            stop=lambda: any(f"units with those of A: {where}" in getattr(event, "what", "") for event in seen),
        ):
            seen.append(event)
    assert not store.entries("aligned")
    assert ask(told, store)[1]["complete"]


def test_activations_that_are_not_finite_are_told(saved, rows, store, monkeypatch):
    monkeypatch.setattr(Moments, "correlation", lambda self: torch.full((self.units, self.units), float("nan")))
    with pytest.raises(McoreError, match="is not finite"):
        ask(question(saved("bert", 0), saved("bert", 1), rows, CLASSIFIER, **aligned("activations")), store)


@pytest.mark.parametrize("seed", range(4))
def test_the_assignment_is_the_best_one_whatever_rows_and_columns_have_in_common(seed):
    draw = np.random.default_rng(seed)
    common = draw.normal(size=(40, 40)) + 100 * draw.normal(size=(40, 1)) + 100 * draw.normal(size=40)
    order = assigned(torch.from_numpy(common.astype(np.float32)), torch.arange(40).flip(0))
    expected = linear_sum_assignment(common.astype(np.float32), maximize=True)[1]
    assert order.tolist() == expected.tolist()
