"""A fitted head: found as plain optimisation finds it, from rows that are not evaluated, on features that transformers alone gives."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
import transformers as hf

from mcore.errors import McoreError, QuestionError
from mcore.evaluation import fitted
from mcore.evaluation.evaluate import logits
from mcore.evaluation.features import Features
from mcore.evaluation.probes import cross_entropy
from mcore.question import Task
from mcore.tasks import rows as tasks
from mcore.tasks.batches import make_batches
from mcore.tasks.rows import Rows

TEXTS = [tiny.sentence(i) for i in range(10)]


def rows(labels: np.ndarray, names: tuple[str, ...] = tiny.LABELS) -> Rows:
    return Rows(np.arange(len(labels)), [f"text {i}" for i in range(len(labels))], labels, names, "digest")


def clouds(seed: int, count: int = 300, classes: int = 3, width: int = 20, apart: float = 1.0):
    """Features around one centre a class, and the classes; one feature is the same everywhere, one very large."""
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, width)) * apart
    labels = draw.integers(classes, size=count)
    features = centres[labels] + draw.normal(size=(count, width))
    features[:, 0], features[:, 1] = 3.0, 1e4 * features[:, 1]
    return features, labels


def right(readout: fitted.ReadOut, features: np.ndarray, labels: np.ndarray) -> float:
    return float((readout(features).argmax(axis=1) == labels).mean())


def test_features_that_lie_apart_are_told_apart():
    readout = fitted.fit(clouds(1)[0], rows(clouds(1)[1], ("a", "b", "c")))
    assert right(readout, *clouds(2)) > 0.98


def test_a_read_out_of_shuffled_labels_is_at_chance():
    features, labels = clouds(1, count=1000)
    shuffled = np.random.default_rng(0).permutation(labels)
    assert abs(right(fitted.fit(features, rows(shuffled, ("a", "b", "c"))), *clouds(2, count=3000)) - 1 / 3) < 0.08


def test_the_logistic_read_out_has_the_loss_that_newtons_method_finds():
    features, labels = clouds(3, count=200, classes=2, width=6, apart=0.4)
    found = cross_entropy(fitted.fit(features, rows(labels))(features), labels).mean()
    spread = features.std(axis=0)
    inputs = np.column_stack([(features - features.mean(axis=0)) / np.where(spread > 0, spread, 1), np.ones(len(features))])
    # Two classes have opposite weights ±w/2: their penalty is that of one vector w, halved.
    weights = np.zeros(inputs.shape[1])
    for _ in range(30):
        chance = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (chance - labels) / len(inputs) + fitted.PENALTY / 2 * weights
        curvature = inputs.T @ (inputs * (chance * (1 - chance))[:, None]) / len(inputs) + fitted.PENALTY / 2 * np.eye(len(weights))
        weights -= np.linalg.solve(curvature, slope)
    assert np.abs(slope).max() < 1e-12
    margin = inputs @ weights
    assert found == pytest.approx(np.logaddexp(0, np.where(labels == 1, -margin, margin)).mean(), abs=1e-4)


def test_the_logistic_read_out_is_where_the_slope_is_none():
    features, labels = clouds(4, count=120, classes=4, apart=0.5)
    readout = fitted.fit(features, rows(labels, tuple("abcd")))
    weights = torch.tensor(readout.weights, requires_grad=True)
    spread = np.where(readout.deviation > 0, readout.deviation, 1)
    inputs = torch.tensor(np.column_stack([(features - readout.mean) / spread, np.ones(len(features))]))
    loss = torch.nn.functional.cross_entropy(inputs @ weights, torch.tensor(labels)) + fitted.PENALTY / 2 * weights.square().sum()
    loss.backward()
    assert weights.grad.abs().max() < 1e-5


def test_scores_are_read_by_ridge_regression():
    draw = np.random.default_rng(5)
    features = draw.normal(size=(300, 10))
    scores = features @ np.arange(10.0) + 7 + 0.1 * draw.normal(size=300)
    readout = fitted.fit(features[:200], rows(scores[:200], ()))
    assert readout(features[200:]).shape == (100, 1)
    assert np.corrcoef(readout(features[200:])[:, 0], scores[200:])[0, 1] > 0.99
    assert readout(features[:200]).mean() == pytest.approx(scores[:200].mean(), rel=1e-5)


def test_a_label_that_no_row_has_gets_a_low_logit_and_no_infinite_one():
    features, labels = clouds(1, classes=2)
    scores = fitted.fit(features, rows(labels, ("a", "b", "never")))(features)
    assert np.isfinite(scores).all() and (scores.argmax(axis=1) < 2).all()


def test_fitting_twice_gives_the_same_numbers():
    features, labels = clouds(6)
    one, two = (fitted.fit(features, rows(labels, ("a", "b", "c")))(features) for _ in range(2))
    assert np.array_equal(one, two)


def test_features_that_are_no_numbers_get_a_sentence():
    with pytest.raises(McoreError, match="no numbers"):
        fitted.fit(np.full((20, 3), np.nan), rows(np.arange(20) % 2))


def test_no_row_is_fitted_on_whose_text_is_evaluated(tmp_path):
    file = tiny.task(tmp_path / "rows.csv", rows=100)
    lines = file.read_text().splitlines()
    file = tiny.write(file, "\n".join([*lines, *lines[1:40]]) + "\n")  # 39 texts stand there twice
    task = Task(task=f"local:{file}", limit=30)
    _, evaluated = tasks.open_task(task, "tasks.0", "evaluate")
    chosen = fitted.fitting_rows(task, evaluated, "tasks.0")
    assert len(chosen) >= 40 and not set(chosen.texts) & set(evaluated.texts)


def test_at_most_so_many_rows_are_fitted_on_and_the_seed_chooses_them():
    task = Task(task="builtin:speech", limit=50)
    _, evaluated = tasks.open_task(task, "tasks.0", "evaluate")
    one, again = (fitted.fitting_rows(task, evaluated, "tasks.0") for _ in range(2))
    other = fitted.fitting_rows(task.model_copy(update={"sample_seed": 1}), evaluated, "tasks.0")
    assert len(one) == fitted.MOST_ROWS and one.digest == again.digest != other.digest


def test_training_rows_that_are_evaluated_are_not_fitted_on():
    task = Task(task="builtin:speech", split="train", limit=200)
    _, evaluated = tasks.open_task(task, "tasks.0", "evaluate")
    chosen = fitted.fitting_rows(task, evaluated, "tasks.0")
    assert len(chosen) == fitted.MOST_ROWS and not set(chosen.ids.tolist()) & set(evaluated.ids.tolist())


def test_rows_that_are_all_evaluated_leave_none_to_fit_on(tmp_path):
    task = Task(task=f"local:{tiny.task(tmp_path / 'rows.csv')}")
    _, evaluated = tasks.open_task(task, "tasks.0", "evaluate")
    with pytest.raises(QuestionError, match=r"tasks\.0\.read: 0 training rows are left.*smaller limit"):
        fitted.fitting_rows(task, evaluated, "tasks.0")


def test_data_without_a_training_split_are_refused(tmp_path):
    lines = "\n".join(["text,label,split", *[f"{text},{i % 2},test" for i, text in enumerate(TEXTS)]])
    task = Task(task=f"local:{tiny.write(tmp_path / 'rows.csv', lines)}")
    _, evaluated = tasks.open_task(task, "tasks.0", "evaluate")
    with pytest.raises(QuestionError, match="no split train"):
        fitted.fitting_rows(task, evaluated, "tasks.0")


def by_hand(model, tokenizer, texts: list[str], causal: bool) -> np.ndarray:
    """Features one row at a time, by transformers alone."""
    vectors = []
    for text in texts:
        inputs = tokenizer(text, truncation=True, max_length=32, return_tensors="pt", return_token_type_ids=False)
        with torch.no_grad():
            states = model(**inputs).last_hidden_state[0]
        vectors.append(states[-1] if causal else states.mean(dim=0))
    return torch.stack(vectors).numpy()


@pytest.mark.parametrize("family", list(tiny.FAMILIES))
def test_features_are_those_of_transformers_alone_whatever_the_architecture(family):
    kind = tiny.FAMILIES[family]
    tokenizer, classifier, causal = kind.tokenizer(), tiny.model(family, 1), family == "gpt2"
    body = classifier.base_model.get_encoder() if classifier.config.is_encoder_decoder else classifier.base_model
    found = logits(Features(classifier, "a"), make_batches(tokenizer, TEXTS, 32, classifier.config.pad_token_id))
    assert found == pytest.approx(by_hand(body, tokenizer, TEXTS, causal), abs=2e-6)


@pytest.mark.parametrize(("opener", "config"), [
    (hf.AutoModelForCausalLM, hf.GPTNeoXConfig(vocab_size=400, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48)),
    (hf.AutoModelForSeq2SeqLM, hf.T5Config(vocab_size=400, d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2, decoder_start_token_id=0)),
])  # fmt: skip
def test_a_decoder_is_read_at_its_last_token_and_an_encoder_over_all(opener, config):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = opener.from_config(config).eval()
    causal = opener is hf.AutoModelForCausalLM
    body = model.base_model if causal else model.get_encoder()
    tokenizer = tiny.byte_pairs()
    found = logits(Features(model, "a"), make_batches(tokenizer, TEXTS, 32, None))
    assert found == pytest.approx(by_hand(body, tokenizer, TEXTS, causal), abs=2e-6)
