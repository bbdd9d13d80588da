"""Batches: every row once, hardly any padding, masks only where something is hidden."""

from __future__ import annotations

from itertools import chain
from unittest import mock

import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from mcore.tasks.batches import FEWEST, SPARE, TOKENS, Batches, cut, encode, make_batches, slices

lengths = st.lists(st.integers(1, 90), max_size=150)


def rows_of(lengths: list[int]) -> list[dict]:
    """Row i holds the number i + 1 as often as it is long."""
    return [{"input_ids": [i + 1] * length, "token_type_ids": [1] * length} for i, length in enumerate(lengths)]


def check(batches: Batches, lengths: list[int]) -> None:
    seen = []
    for batch in batches:
        ids = batch.inputs["input_ids"]
        for row, line in zip(batch.rows, ids, strict=True):
            assert line.tolist() == [row + 1] * lengths[row] + [0] * (ids.shape[1] - lengths[row])
        real = (ids != 0).long()
        assert torch.equal(batch.inputs.get("attention_mask", torch.ones_like(ids)), real)
        assert ("attention_mask" in batch.inputs) == bool((real == 0).any())
        assert torch.equal(batch.inputs["token_type_ids"], real)
        seen += batch.rows
    assert sorted(seen) == list(range(len(lengths)))
    assert batches.tokens == sum(lengths) and batches.rows == len(lengths)


@given(lengths=lengths, tokens=st.integers(1, 600))
def test_every_row_is_there_once_with_its_tokens_and_its_mask(lengths, tokens):
    batches = cut(rows_of(lengths), 0, tokens)
    check(batches, lengths)
    assert all(batch.size <= tokens or len(batch.rows) == 1 for batch in batches)


@given(lengths=lengths)
def test_without_a_padding_id_there_is_no_padding(lengths):
    batches = cut(rows_of(lengths), None)
    check(batches, lengths)
    assert batches.padding == 0 and all("attention_mask" not in batch.inputs for batch in batches)


@given(lengths=lengths)
def test_a_batch_of_some_size_has_no_more_padding_than_is_spared(lengths):
    for batch in cut(rows_of(lengths), 0):
        real = sum(lengths[row] for row in batch.rows)
        others = batch.size - batch.inputs["input_ids"].shape[1]
        assert others < FEWEST or real >= (1 - SPARE) * batch.size


def test_ordinary_sentences_have_hardly_any_padding():
    texts = [tiny.sentence(seed, 40) for seed in range(512)]
    batches = make_batches(tiny.wordpiece(), texts, 64, 0)
    assert batches.padding < 0.05
    assert len(batches) < 2.5 * batches.tokens / TOKENS


def test_long_texts_are_cut_and_pairs_are_told_apart():
    pairs = [(tiny.sentence(i, 30), tiny.sentence(i + 100, 30)) for i in range(20)]
    rows = encode(tiny.wordpiece(), pairs, 16)
    assert all(len(row["input_ids"]) <= 16 and set(row["token_type_ids"]) == {0, 1} for row in rows)
    plain = tiny.wordpiece()(*pairs[3], truncation=True, max_length=16)
    assert rows[3]["input_ids"] == plain["input_ids"]


def test_a_text_without_tokens_becomes_one_that_means_nothing():
    class Silent:
        bos_token_id, eos_token_id, unk_token_id = None, 5, 3

        def __call__(self, texts, **how):
            return {"input_ids": [[] if not text else [1, 2] for text in texts]}

    assert encode(Silent(), ["", "word"], 8) == [{"input_ids": [5]}, {"input_ids": [1, 2]}]


@given(st.lists(st.integers(0, 30), max_size=20), st.integers(1, 60))
def test_neighbours_are_tokenised_together_and_none_is_left_out(lengths, most):
    with mock.patch("mcore.tasks.batches.AT_ONCE", most):
        found = [lengths[some] for some in slices(lengths)]
    assert list(chain(*found)) == lengths and all(found)
    assert all(sum(some) <= most or sum(map(bool, some)) == 1 for some in found)


def test_texts_are_encoded_alike_however_many_at_once(monkeypatch):
    texts = [tiny.sentence(i) for i in range(20)]
    for each in (texts, list(zip(texts, texts[::-1], strict=True))):
        with monkeypatch.context() as few:
            whole = encode(tiny.wordpiece(), each, 16)
            few.setattr("mcore.tasks.batches.AT_ONCE", 50)
            assert encode(tiny.wordpiece(), each, 16) == whole


def test_no_rows_make_no_batches():
    batches = make_batches(tiny.wordpiece(), [], 16, 0)
    assert len(batches) == 0 and batches.padding == 0 and batches.rows == 0
