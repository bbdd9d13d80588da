"""Whether a pair can be joined is told whole: every aspect, every tensor that differs, and the first of it where a question is asked."""

from __future__ import annotations

import dataclasses

import pytest
from transformers import AutoModel

from mcore.errors import QuestionError
from mcore.models.joinable import check_joinable, joinability
from mcore.sources import look


@pytest.fixture
def at(saved):
    return lambda family, seed=0, **how: look(f"local:{saved(family, seed, **how)}", "a")


def aspects(verdict):
    return [finding.aspect for finding in verdict.findings]


def test_two_seeds_are_the_same_in_every_aspect(at):
    verdict = joinability(at("bert", 1), at("bert", 2))
    assert verdict.joinable and not verdict.tensors and not verdict.notes
    assert verdict.sentence() == "Can be joined: same architecture, shapes, tokenizer and labels."


def test_other_labels_and_a_missing_head_stand_in_nobodys_way_and_are_said(at):
    three = at("bert", 1, labels=("x", "y", "z"))
    assert joinability(at("bert"), three).sentence() == (
        "Can be joined: same architecture, shapes and tokenizer; other labels (no, yes in A, x, y, z in B)."
    )
    assert joinability(at("bert", 1, opener=AutoModel), three).sentence().endswith("; only B has a head.")


def test_everything_that_is_in_the_way_is_told_at_once(at):
    a, b = at("bert"), at("minilm")
    verdict = joinability(a, dataclasses.replace(b, tokenizer="another"))
    assert [finding.aspect for finding in verdict.wrong] == ["architecture", "shapes", "tokenizer"]
    sentence = verdict.sentence()
    for said in ("Cannot be joined: num_hidden_layers is 2 in A and 3 in B", f" and {len(verdict.tensors) - 3} more cannot be blended", "tokenizer or vocabulary", "Choose two"):
        assert said in sentence, said
    assert sentence.count("×") < 8 < len(verdict.tensors)  # three are named, all are listed


def test_the_tensors_that_differ_are_those_whose_shapes_do(at):
    a, b = at("bert"), at("minilm")
    differing = {name for name, tensor in a.tensors.items() if name in b.tensors and b.tensors[name].shape != tensor.shape}
    told = {one.name: one for one in joinability(a, b).tensors}
    assert set(told) == differing
    embeddings = told["bert.embeddings.word_embeddings.weight"]
    assert (embeddings.a, embeddings.b) == (a.tensors[embeddings.name].shape, b.tensors[embeddings.name].shape)


@pytest.mark.parametrize("family", ["electra", "minilm", "roberta"])
def test_a_question_is_refused_for_the_first_of_what_is_found(at, family):
    first = joinability(at("bert"), at(family)).wrong[0]
    with pytest.raises(QuestionError) as told:
        check_joinable(at("bert"), at(family))
    assert (told.value.field, told.value.wrong) == ("b", first.wrong)


def test_tokenizers_that_were_not_read_yet_are_said_to_be_compared_later(at):
    unread = dataclasses.replace(at("bert", 1), tokenizer="files 0")
    verdict = joinability(at("bert"), unread)
    assert verdict.joinable and "tokenizer" not in aspects(verdict) and "tokenizers are compared once they are fetched" in verdict.sentence()
