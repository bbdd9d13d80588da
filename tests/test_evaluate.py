"""Evaluating: the untouched model's numbers bit for bit, in the rows' order, stoppable, and bfloat16 close by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from mcore.errors import Cancelled, QuestionError
from mcore.evaluation.evaluate import has_bfloat16, logits, prepare
from mcore.live.blend import Place, WeightSet, blend
from mcore.question import parse
from mcore.run import run
from mcore.tasks.batches import make_batches

TEXTS = [tiny.sentence(seed) for seed in range(60)]
FAMILIES = ["bert", "roberta", "gpt2"]
AUSTEN = Path(__file__).parent.parent / "mcore" / "builtin" / "austen"
needs_bfloat16 = pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16")


def opened(folder):
    return AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()


def cut_for(model, family: str):
    return make_batches(tiny.FAMILIES[family].tokenizer(), TEXTS, 48, model.config.pad_token_id)


@torch.no_grad()
def untouched(model, batches) -> np.ndarray:
    """What transformers alone answers on the same batches."""
    if model.config.pad_token_id is None:
        model.config.pad_token_id = -1  # rows of one length need none, and it refuses several rows without
    rows = {}
    for batch in batches:
        rows.update(zip(batch.rows, model(**batch.inputs).logits, strict=True))
    return torch.stack([rows[row] for row in range(batches.rows)]).numpy()


def blended(model, folder_a, folder_b, coefficients) -> None:
    live = model.state_dict(keep_vars=True)
    sets = [WeightSet({n: Place(folder / "model.safetensors", n) for n in live}) for folder in (folder_a, folder_b)]
    blend(live, sets, coefficients)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_ends_equal_the_untouched_model_bit_for_bit(saved, family):
    a, b = saved(family, 1), saved(family, 2)
    live = opened(a)
    batches = cut_for(live, family)
    prepare(live)
    blended(live, a, b, (0.5, 0.5))
    for coefficients, folder in (((0, 1), b), ((1, 0), a)):
        blended(live, a, b, coefficients)
        assert np.array_equal(logits(live, batches), untouched(opened(folder), batches))


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_come_back_in_their_order(saved, family):
    model = opened(saved(family, 1))
    found = logits(model, cut_for(model, family))
    tokenizer = tiny.FAMILIES[family].tokenizer()
    with torch.no_grad():
        alone = [model(**tokenizer(text, truncation=True, max_length=48, return_tensors="pt")).logits[0] for text in TEXTS]
    assert found.dtype == np.float32 and found.shape == (len(TEXTS), model.config.num_labels)
    np.testing.assert_allclose(found, torch.stack(alone).numpy(), atol=1e-5)


def test_a_decoder_takes_padded_rows_where_it_has_a_padding_id_and_rows_of_one_length_where_it_has_none(saved):
    model = opened(saved("gpt2", 1))
    assert model.config.pad_token_id is None
    uniform = cut_for(model, "gpt2")
    without = logits(model, uniform)
    assert model.config.pad_token_id is None and any(len(batch.rows) > 1 for batch in uniform)
    model.config.pad_token_id = model.config.vocab_size - 1  # a token that stands in no text
    padded = cut_for(model, "gpt2")
    assert padded.padding > 0
    np.testing.assert_allclose(logits(model, padded), without, atol=1e-5)
    model.config.pad_token_id = None
    with pytest.raises(ValueError, match="pad=None"):
        logits(model, padded)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("family", sorted(tiny.FAMILIES))
def test_every_family_gives_the_untouched_numbers_on_two_threads_too(saved, family, two_threads):
    model = opened(saved(family, 1))
    batches = cut_for(model, family)
    told = []
    found = logits(model, batches, on_batch=lambda done, of: told.append(done / of))
    assert np.array_equal(found, untouched(model, batches))
    assert told == sorted(told) and told[-1] == 1


def test_stop_raises_cancelled_between_batches(saved):
    model = opened(saved("bert", 1))
    batches = cut_for(model, "bert")
    told = []
    with pytest.raises(Cancelled):
        logits(model, batches, stop=lambda: len(told) == 2, on_batch=lambda done, of: told.append((done, of)))
    assert len(told) == 2 < len(batches) and told[0][0] < told[1][0] < told[1][1]


def test_no_rows_give_no_logits(saved):
    model = opened(saved("bert", 1))
    empty = make_batches(tiny.FAMILIES["bert"].tokenizer(), [], 16, 0)
    assert logits(model, empty).shape == (0, model.config.num_labels)


@needs_bfloat16
@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_is_close_and_takes_float32_blends(saved, family):
    a, b = saved(family, 1), saved(family, 2)
    exact, rough = opened(a), opened(a)
    prepare(exact, "float32")
    prepare(rough, "bfloat16")
    assert any(parameter.dtype is torch.bfloat16 for parameter in rough.parameters())
    batches, labels = cut_for(exact, family), torch.arange(len(TEXTS)) % 2
    for coefficients in ((1, 0), (0.4, 0.6), (0, 1)):
        losses = []
        for model in (exact, rough):
            blended(model, a, b, coefficients)
            scores = torch.from_numpy(logits(model, batches))
            losses.append(torch.nn.functional.cross_entropy(scores, labels).item())
        # 60 rows of a random model 32 wide average out little of what rounding does; 1e-3 is for real ones, below
        assert losses[1] == pytest.approx(losses[0], abs=4e-3)


@needs_bfloat16
def test_a_model_that_bfloat16_is_too_small_for_says_so(saved, rows, store):
    question = parse(tiny.experiment(saved("deberta", 1), saved("deberta", 2), rows, points=2, precision="bfloat16"))
    with pytest.raises(QuestionError, match=r"^precision: transformers cannot compute a deberta model in bfloat16 \(.*\); use float32\.$"):
        list(run(question, store))


@needs_bfloat16
def test_bfloat16_losses_of_the_shipped_family_are_within_a_thousandth():
    folder = AUSTEN / "1000"
    rows = pd.read_parquet(AUSTEN.parent / "tasks" / "speech" / "validation.parquet").head(256)
    torch.manual_seed(0)
    model = opened(folder)
    torch.nn.init.normal_(model.classifier.weight, std=0.3)  # logits as large as a tuned model's
    batches = make_batches(AutoTokenizer.from_pretrained(folder), rows.text.tolist(), 64, model.config.pad_token_id)
    labels, losses = torch.tensor(rows.label.tolist()), []
    for precision in ("float32", "bfloat16"):
        prepare(model, precision)
        losses.append(torch.nn.functional.cross_entropy(torch.from_numpy(logits(model, batches)), labels).item())
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)


def test_bfloat16_leaves_a_weight_that_an_embedding_shares(saved):
    model = opened(saved("bert", 1))
    model.tied = torch.nn.Linear(*reversed(model.get_input_embeddings().weight.shape), bias=False)
    model.tied.weight = model.get_input_embeddings().weight
    prepare(model, "bfloat16")
    assert model.get_input_embeddings().weight.dtype is torch.float32


def test_without_bfloat16_it_is_refused_not_emulated(saved, monkeypatch):
    monkeypatch.setattr("mcore.evaluation.evaluate.has_bfloat16", lambda: False)
    with pytest.raises(QuestionError, match="^precision: .*use float32"):
        prepare(opened(saved("bert", 1)), "bfloat16")


def test_weights_half_as_wide_on_disk_give_the_model_that_transformers_loads(saved, tmp_path):
    folder = saved("bert", 1)
    model = opened(folder)
    halves = {name: tensor.half() for name, tensor in model.state_dict().items()}
    for file in folder.iterdir():
        if file.suffix == ".json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    save_file(halves, tmp_path / "model.safetensors", {"format": "pt"})
    batches = cut_for(model, "bert")
    blended(model, tmp_path, tmp_path, (1, 0))
    assert np.array_equal(logits(model, batches), untouched(opened(tmp_path), batches))
