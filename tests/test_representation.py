"""Hidden states are those of transformers, linear CKA is its definition, and a read-out is scikit-learn's ridge regression."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tiny
import torch
import transformers as hf
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mcore.errors import Cancelled, McoreError, QuestionError
from mcore.evaluation import fitted
from mcore.layers import readout
from mcore.layers.readout import read_out
from mcore.layers.representation import MOST_ROWS, layer_names, sampled
from mcore.layers.similarity import centred, cka
from mcore.layers.states import States
from mcore.tasks.batches import make_batches
from mcore.tasks.rows import Rows

TEXTS = [tiny.sentence(i) for i in range(12)]
OPENERS = {"gpt-neox": hf.AutoModelForCausalLM, "llama": hf.AutoModelForCausalLM, "t5": hf.AutoModelForSeq2SeqLM}


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)) of the linear kernels, centred by H = I − 1/n (Kornblith et al. 2019, equation 2 and 3)."""
    n = len(x)
    h = np.eye(n) - np.full((n, n), 1 / n)

    def hsic(k: np.ndarray, other: np.ndarray) -> float:
        return float(np.trace(k @ h @ other @ h)) / (n - 1) ** 2

    k, other = x @ x.T, y @ y.T
    return hsic(k, other) / math.sqrt(hsic(k, k) * hsic(other, other))


def of(x: np.ndarray, y: np.ndarray) -> float | None:
    return cka(centred(x), centred(y))


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize(("rows", "width", "other"), [(40, 7, 7), (40, 7, 19), (9, 30, 30), (9, 30, 5), (20, 20, 20), (2, 3, 3)])
def test_linear_cka_is_its_definition(rows, width, other):
    x, y = drawn(1, rows, width) + 3.0, drawn(2, rows, other) @ np.diag(np.arange(1, other + 1)) - 5.0
    y[:, : min(width, other)] += x[:, : min(width, other)]
    assert of(x, y) == pytest.approx(by_definition(x, y), abs=1e-9)
    assert of(y, x) == pytest.approx(of(x, y), abs=1e-12)


def test_cka_does_not_see_rotations_shifts_and_scales_but_other_changes():
    x = drawn(1, 50, 8)
    turned = x @ np.linalg.qr(drawn(3, 8, 8))[0] * 7.0 + drawn(4, 8)
    assert of(x, turned) == pytest.approx(1.0, abs=1e-12) == of(x, x)
    assert of(x, x @ np.diag([10, 1, 1, 1, 1, 1, 1, 0.1])) < 0.9
    assert of(x, drawn(9, 50, 8)) < 0.4


def test_features_that_no_row_differs_in_have_no_cka():
    x, same = drawn(1, 30, 6), np.tile(drawn(2, 1, 6) * 100, (30, 1))
    rounded = (same * (1 + 1e-7 * drawn(3, 30, 6))).astype(np.float32)  # as batches of different shapes leave it
    assert of(x, same) is of(same, x) is of(rounded, x) is None


def rows(labels: np.ndarray, names: tuple[str, ...] = ("a", "b", "c")) -> Rows:
    return Rows(np.arange(len(labels)), [""] * len(labels), labels, names, "digest")


def clouds(seed: int, count: int, classes: int = 3, width: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Features around one centre a class, in very different units; one of them is the same everywhere."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(classes, size=count)
    features = (np.random.default_rng(99).normal(size=(classes, width))[labels] * 0.5 + draw.normal(size=(count, width))) * 10.0 ** (np.arange(width) // 2 - 3)
    features[:, 3] = 7.0
    return features.astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_a_read_out_of_classes_is_scikit_learns(classes):
    (fitting, known), (features, labels) = clouds(1, 200, classes), clouds(2, 150, classes)
    names = tuple("abcdef"[:classes])
    theirs = make_pipeline(StandardScaler(), RidgeClassifier(alpha=fitted.PENALTY * len(known)))
    found = read_out(fitting, rows(known, names), features, rows(labels, names), seed=4)
    assert found.readout == theirs.fit(fitting.astype(np.float64), known).score(features.astype(np.float64), labels)
    draw = np.random.default_rng([4, 3])
    controls = [theirs.fit(fitting.astype(np.float64), draw.permutation(known)).score(features.astype(np.float64), labels) for _ in range(readout.SHUFFLES)]
    assert found.control == pytest.approx(np.mean(controls), abs=1e-12)
    assert found.readout > found.control + 0.2


def test_its_weights_are_scikit_learns():
    features, labels = clouds(1, 90)
    targets = np.where(np.eye(3)[labels] > 0, 1.0, -1.0)
    inputs = fitted.standardised(features, features.astype(np.float64).mean(axis=0), features.astype(np.float64).std(axis=0))
    theirs = Ridge(alpha=fitted.PENALTY * 90).fit(inputs[:, :-1], targets)
    found = fitted.ridge(inputs, targets)
    assert found[:-1] == pytest.approx(theirs.coef_.T, abs=1e-10) and found[-1] == pytest.approx(theirs.intercept_, abs=1e-10)
    assert fitted.ridge(inputs, targets[:, 1])[:, 0] == pytest.approx(found[:, 1], abs=1e-12)


def test_scores_are_read_out_and_told_by_r_squared():
    features, _ = clouds(1, 300)
    scores = features[:, 1] / features[:, 1].std() + drawn(5, 300) * 0.2
    theirs = make_pipeline(StandardScaler(), Ridge(alpha=fitted.PENALTY * 200)).fit(features[:200].astype(np.float64), scores[:200])
    found = read_out(features[:200], rows(scores[:200], ()), features[200:], rows(scores[200:], ()), seed=0)
    assert found.readout == pytest.approx(r2_score(scores[200:], theirs.predict(features[200:].astype(np.float64))), abs=1e-9)
    assert found.readout > 0.8 and found.control < 0.1
    assert read_out(features[:200], rows(scores[:200], ()), features[200:], rows(np.ones(100), ()), seed=0).readout is None


def test_features_of_labels_that_are_not_in_them_are_read_out_like_shuffled_ones():
    draw = np.random.default_rng(0)
    known, labels = draw.integers(2, size=800), draw.integers(2, size=4000)
    found = read_out(drawn(1, 800, 10), rows(known, ("a", "b")), drawn(2, 4000, 10), rows(labels, ("a", "b")), seed=1)
    assert found.readout == pytest.approx(0.5, abs=0.04) and found.control == pytest.approx(0.5, abs=0.04)


def test_rounding_of_features_that_no_row_differs_in_is_not_read_out():
    labels = np.arange(60) % 2
    features = (np.full((60, 4), 5.0) * (1 + 1e-7 * labels[:, None])).astype(np.float32)
    found = read_out(features, rows(labels, ("a", "b")), features, rows(labels, ("a", "b")), seed=0)
    assert found.readout == found.control == 0.5


def test_features_that_are_no_numbers_are_told_so():
    broken = drawn(1, 20, 3)
    broken[3, 1] = np.nan
    with pytest.raises(McoreError, match="no numbers"):
        read_out(broken, rows(np.arange(20) % 2, ("a", "b")), drawn(2, 20, 3), rows(np.arange(20) % 2, ("a", "b")), seed=0)


def test_another_seed_shuffles_otherwise_and_the_same_one_alike():
    (fitting, known), (features, labels) = clouds(1, 60), clouds(2, 90)
    one, again, other = (read_out(fitting, rows(known), features, rows(labels), seed) for seed in (1, 1, 2))
    assert one == again and one.readout == other.readout and one.control != other.control


@pytest.mark.parametrize("family", [*tiny.FAMILIES, *OPENERS])
@pytest.mark.parametrize("pool", ["mean", "last", "first"])
def test_hidden_states_are_those_of_transformers_alone(family, pool):
    model, tokenizer = tiny.model(family, 1, opener=OPENERS.get(family, hf.AutoModelForSequenceClassification)), tiny.EVERY[family].tokenizer()
    if pool == "first" and family in ("gpt2", "gpt-neox", "llama"):
        with pytest.raises(QuestionError, match=r"representation\.pool: no token of this model sees those after it"):
            States(model, "all", pool)
        return
    states = States(model, "all", pool)
    found = states(make_batches(tokenizer, TEXTS, 32, model.config.get_text_config().pad_token_id))
    body = model.get_encoder() if model.config.is_encoder_decoder else model.base_model
    assert states.layers == layer_names(len(found) - 1) and states.layers[:2] == ("embeddings", "layer 0")
    for i, text in enumerate(TEXTS):
        given = tokenizer(text, truncation=True, max_length=32, return_tensors="pt")
        with torch.no_grad():
            alone = body(**{name: given[name] for name in ("input_ids", "attention_mask")}, output_hidden_states=True)
        assert torch.equal(alone.hidden_states[-1], alone.last_hidden_state) and len(alone.hidden_states) == len(found)
        for layer, whole in zip(alone.hidden_states, found, strict=True):
            expected = {"mean": layer[0].mean(dim=0), "last": layer[0, -1], "first": layer[0, 0]}[pool]
            assert whole[i] == pytest.approx(expected.numpy(), abs=2e-5)


def test_some_layers_are_looked_at_where_only_some_are_asked_for():
    model, tokenizer = tiny.model("minilm", 1), tiny.wordpiece()
    batches = make_batches(tokenizer, TEXTS, 32, 0)
    every, some = States(model, "all", "mean"), States(model, ["embeddings", 1], "mean")
    assert some.layers == ("embeddings", "layer 1") and every.layers == layer_names(3)
    assert [np.array_equal(*pair) for pair in zip(some(batches), every(batches)[::2], strict=True)] == [True, True]
    with pytest.raises(QuestionError, match=r"representation\.layers: there is no layer 3; this model has embeddings and layers 0 to 2"):
        States(model, [3], "mean")


def test_they_can_be_cancelled_between_two_batches():
    states = States(tiny.model("bert", 1), "all", "mean")
    with pytest.raises(Cancelled):
        states(make_batches(tiny.wordpiece(), TEXTS, 32, 0), stop=lambda: True)


def test_weights_that_give_no_numbers_are_told_so():
    model = tiny.model("bert", 1)
    model.bert.encoder.layer[0].output.dense.weight.data[0, 0] = math.nan
    states = States(model, "all", "mean")
    with pytest.raises(McoreError, match="no numbers"):
        states(make_batches(tiny.wordpiece(), TEXTS, 32, 0))


def test_of_many_rows_a_sample_is_looked_at():
    many = rows(np.arange(MOST_ROWS + 500) % 3)
    some = sampled(many, 7)
    assert len(some) == MOST_ROWS and np.array_equal(some.ids, sampled(many, 7).ids) and not np.array_equal(some.ids, sampled(many, 8).ids)
    assert sampled(some, 7) is some
