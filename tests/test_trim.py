"""Leaving out what no output depends on: the same logits bit for bit, found on any model by trying, and nothing stays on it."""

from __future__ import annotations

import gc
import weakref
from contextlib import nullcontext

import numpy as np
import pytest
import tiny
import torch

from mcore.errors import Cancelled
from mcore.evaluation.evaluate import has_bfloat16, logits, prepare
from mcore.live import trim
from mcore.tasks.batches import make_batches

TEXTS = [tiny.sentence(seed) for seed in range(80)]
UNTRIMMED = {"albert", "gpt2", "bart"}  # shares its only block with every layer; read at the last token; likewise


def made(family: str, precision: str = "float32"):
    """A model that has answered once, and batches for the next time."""
    model, tokenizer = tiny.model(family, 1), tiny.FAMILIES[family].tokenizer()
    prepare(model, precision)
    first, batches = (make_batches(tokenizer, texts, 48, model.config.get_text_config().pad_token_id) for texts in (TEXTS[:2], TEXTS))
    logits(model, first)
    return model, batches


def trimmed_names(model) -> tuple[str, ...]:
    (names,) = trim._known[model].values()
    return names


def seen_by(module) -> list[tuple[int, int]]:
    """Filled, while the model runs, with rows and positions that a module is given."""
    seen = []
    module.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape[:2])))
    return seen


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
def test_the_logits_are_those_of_the_whole_model_bit_for_bit(family, monkeypatch):
    model, batches = made(family)
    found = logits(model, batches)
    assert bool(trimmed_names(model)) == (family not in UNTRIMMED)
    assert not any("forward" in module.__dict__ for module in model.modules())
    monkeypatch.setattr("mcore.evaluation.evaluate.trimmed", lambda *_: nullcontext())
    assert np.array_equal(found, logits(model, batches))


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16")
def test_in_bfloat16_the_model_is_left_whole():
    model, batches = made("bert", "bfloat16")
    seen = seen_by(model.bert.encoder.layer[1].intermediate.dense)
    logits(model, batches)
    assert seen == [tuple(batch.inputs["input_ids"].shape[:2]) for batch in batches]


def test_the_last_feed_forward_of_bert_sees_first_positions_only_and_that_of_the_block_before_all(monkeypatch):
    monkeypatch.setattr(trim, "FEWEST", 1)
    monkeypatch.setattr(torch, "equal", lambda *pair: torch.allclose(*pair, atol=1e-6))  # so few rows round otherwise
    model, batches = made("bert")
    logits(model, batches)
    before, last = (seen_by(layer.intermediate.dense) for layer in model.bert.encoder.layer)
    key = seen_by(model.bert.encoder.layer[1].attention.self.key)
    logits(model, batches)
    assert before == key == [tuple(batch.inputs["input_ids"].shape) for batch in batches]
    assert last == [(rows, 1) for rows, _ in before]


def test_a_product_keeps_as_many_rows_as_it_takes_to_round_alike():
    model, batches = made("bert")
    logits(model, batches)
    seen = seen_by(model.bert.encoder.layer[1].intermediate.dense)
    logits(model, batches)
    for (rows, positions), batch in zip(seen, batches, strict=True):
        assert rows * positions >= min(trim.FEWEST, batch.size)
    assert sum(rows * positions for rows, positions in seen) < 0.5 * sum(batch.size for batch in batches)


def test_the_first_answer_does_not_wait_for_the_search():
    model = tiny.model("bert", 1)
    prepare(model)
    batches = make_batches(tiny.FAMILIES["bert"].tokenizer(), TEXTS, 48, model.config.pad_token_id)
    seen = seen_by(model.bert.encoder.layer[1].intermediate.dense)
    first = logits(model, batches)
    assert seen == [tuple(batch.inputs["input_ids"].shape) for batch in batches] and model not in trim._known
    assert np.array_equal(first, logits(model, batches)) and trimmed_names(model)


def test_nothing_stays_on_a_model_that_is_stopped():
    model, batches = made("bert")
    last = model.bert.encoder.layer[1].intermediate
    told = []
    with pytest.raises(Cancelled):
        logits(model, batches, stop=lambda: len(told) == 2, on_batch=lambda *_: told.append("forward" in last.__dict__))
    assert all(told) and not any("forward" in module.__dict__ for module in model.modules())


def test_what_was_found_keeps_no_model_alive():
    model, batches = made("bert")
    logits(model, batches)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_the_search_is_stopped_too():
    model, batches = made("bert")
    asked = []
    with pytest.raises(Cancelled):
        logits(model, batches, stop=lambda: asked.append(1) or len(asked) == 5)
    assert not trim._known[model] and not any("forward" in module.__dict__ for module in model.modules())


class Block(torch.nn.Module):
    """Mixes the positions, then changes each by itself."""

    def __init__(self):
        super().__init__()
        self.mixing, self.each = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)

    def forward(self, x):
        x = x + self.mixing(x).mean(1, keepdim=True)
        return x + self.each(x).tanh()


class Reader(torch.nn.Module):
    """Two blocks; ``read`` takes from [rows, positions, values] what the output layer is given."""

    def __init__(self, read):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.head, self.read = torch.nn.Embedding(50, 8), torch.nn.Linear(8, 2), read
        self.blocks = torch.nn.ModuleList([Block(), Block()])

    def forward(self, input_ids):
        x = self.embedding(input_ids)
        for block in self.blocks:
            x = block(x)
        return self.head(self.read(x))


BATCH = {"input_ids": torch.arange(400).reshape(40, 10) % 47}


def left_out(model) -> tuple:
    with torch.inference_mode():
        before = model(**BATCH)
        with trim.trimmed(model, [BATCH], lambda inputs: model(**inputs)) as modules:
            assert torch.equal(model(**BATCH), before)
    return modules


def test_only_what_takes_positions_one_by_one_is_trimmed():
    model = Reader(lambda x: x[:, 0])
    assert left_out(model) == (model.blocks[1].each,)


@pytest.mark.parametrize("read", [lambda x: x[:, -1], lambda x: x.mean(1), lambda x: x.amax(1), lambda x: x[:, 0] + 1e-9 * x[:, 1]])
def test_a_model_that_reads_another_position_too_is_left_whole(read):
    assert left_out(Reader(read)) == ()


def test_an_output_layer_of_zeros_hides_nothing():
    first, last = Reader(lambda x: x[:, 0]), Reader(lambda x: x[:, -1])
    for model in (first, last):
        torch.nn.init.zeros_(model.head.weight)
    torch.nn.init.zeros_(first.blocks[1].mixing.weight)
    assert (left_out(first), left_out(last)) == ((first.blocks[1].each,), ())


class Uneven(torch.nn.Linear):
    """Rounds otherwise where it is given fewer positions."""

    def forward(self, x):
        return super().forward(x) * (1 + 2e-7 * (x.shape[1] < 10))


class Stubborn(torch.nn.Linear):
    """Takes ten positions and no other number."""

    def forward(self, x):
        return super().forward(x.view(-1, 10, 8))


@pytest.mark.parametrize("kind", [Uneven, Stubborn])
def test_a_model_whose_numbers_or_shapes_would_not_hold_is_left_whole(kind):
    model = Reader(lambda x: x[:, 0])
    model.blocks[1].each = kind(8, 8)
    assert left_out(model) == ()


def test_rows_too_short_to_try_leave_it_open_for_longer_ones():
    model = Reader(lambda x: x[:, 0])
    with torch.inference_mode(), trim.trimmed(model, [{"input_ids": torch.ones(3, 2).long()}], lambda inputs: model(**inputs)) as modules:
        assert modules == ()
    assert left_out(model)
