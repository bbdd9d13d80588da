"""Probes agree with the formulas as textbooks write them, loop by loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcore.evaluation import probes


@st.composite
def responses(draw, ends=1):
    """``ends`` arrays of logits and the labels, of one shape."""
    examples, classes = draw(st.integers(1, 25)), draw(st.integers(2, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0.0, 0.1, 3.0, 80.0]))
    logits = [(random.normal(size=(examples, classes)) * scale).astype(np.float32) for _ in range(ends)]
    return *logits, random.integers(0, classes, examples)


def softmax(row):
    return [1 / math.fsum(math.exp(float(other) - float(one)) for other in row) for one in row]


@given(responses())
def test_cross_entropy_is_minus_the_log_of_the_true_labels_probability(data):
    logits, labels = data
    got = probes.cross_entropy(logits, labels)
    assert got.dtype == np.float64 and got.shape == labels.shape
    for row, label, loss in zip(logits, labels, got, strict=True):
        total = math.fsum(math.exp(float(one) - float(max(row))) for one in row)
        assert loss == pytest.approx(math.log(total) + float(max(row)) - float(row[label]), rel=1e-9, abs=1e-9)
        assert loss >= 0


def test_cross_entropy_survives_logits_that_overflow_an_exponential():
    logits = np.array([[1e4, -1e4], [3e38, 0]], dtype=np.float32)
    assert probes.cross_entropy(logits, np.array([1, 0])).tolist() == pytest.approx([2e4, 0])


def test_equal_logits_cost_the_log_of_the_number_of_classes():
    assert probes.cross_entropy(np.zeros((4, 3)), np.array([0, 1, 2, 0])) == pytest.approx(math.log(3))


@given(responses())
def test_accuracy_is_the_share_predicted_right(data):
    logits, labels = data
    hits = [int(np.argmax(row)) == label for row, label in zip(logits, labels, strict=True)]
    assert probes.accuracy(logits, labels) == pytest.approx(sum(hits) / len(hits))
    assert probes.right(logits, labels).tolist() == hits


@given(responses())
def test_macro_f1_is_the_mean_of_harmonic_means_of_precision_and_recall(data):
    logits, labels = data
    predicted = [int(np.argmax(row)) for row in logits]
    scores = []
    for label in sorted(set(predicted) | set(labels.tolist())):
        both = sum(p == label and y == label for p, y in zip(predicted, labels, strict=True))
        precision = both / predicted.count(label) if label in predicted else 0.0
        recall = both / labels.tolist().count(label) if label in labels else 0.0
        scores.append(2 * precision * recall / (precision + recall) if both else 0.0)
    assert probes.macro_f1(logits, labels) == pytest.approx(sum(scores) / len(scores))


@given(responses())
def test_confidence_is_the_mean_highest_probability(data):
    logits, _ = data
    with np.errstate(over="ignore"):
        expected = [max(softmax(row - row.max())) for row in logits.astype(np.float64)]
    assert probes.confidence(logits) == pytest.approx(math.fsum(expected) / len(expected))


@given(responses())
def test_calibration_error_is_the_sum_over_fifteen_bins(data):
    logits, labels = data
    sure = np.exp(probes.log_probabilities(logits).max(axis=1))
    hits = probes.right(logits, labels)
    expected = 0.0
    for number in range(15):
        low, high = number / 15, (number + 1) / 15
        inside = [i for i, one in enumerate(sure) if low < one <= high * (1 + 1e-15)]
        if inside and not any(abs(sure[i] - edge) < 1e-12 for i in inside for edge in (low, high) if edge < 1):
            gap = np.mean([hits[i] for i in inside]) - np.mean([sure[i] for i in inside])
            expected += len(inside) / len(labels) * abs(gap)
        elif inside:
            return  # on an edge of a bin rounding decides, not the formula
    assert probes.calibration_error(logits, labels) == pytest.approx(expected, abs=1e-12)


def test_a_model_that_is_sure_and_right_is_calibrated():
    logits = np.array([[50.0, 0.0], [0.0, 50.0]])
    assert probes.calibration_error(logits, np.array([0, 1])) == pytest.approx(0)
    assert probes.calibration_error(logits, np.array([1, 0])) == pytest.approx(1)


@given(responses(ends=2))
def test_agreement_is_symmetric_and_whole_with_oneself(data):
    a, b, _ = data
    assert probes.agreement(a, b) == probes.agreement(b, a)
    assert probes.agreement(a, a) == 1
    same = sum(int(np.argmax(x)) == int(np.argmax(y)) for x, y in zip(a, b, strict=True))
    assert probes.agreement(a, b) == pytest.approx(same / len(a))


@given(responses(ends=2), st.floats(0, 1))
def test_the_ensemble_mixes_logits_and_its_ends_are_the_endpoints(data, t):
    a, b, _ = data
    for i, j in np.ndindex(a.shape):
        expected = (1 - t) * float(a[i, j]) + t * float(b[i, j])
        assert probes.ensemble(a, b, t)[i, j] == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert probes.ensemble(a, b, 0) is a and probes.ensemble(a, b, 1.0) is b


@settings(max_examples=30)
@given(responses(), st.integers(0, 1000))
def test_no_probe_depends_on_the_order_of_the_examples(data, seed):
    logits, labels = data
    order = np.random.default_rng(seed).permutation(len(labels))
    for probe in (probes.accuracy, probes.macro_f1, probes.calibration_error):
        assert probe(logits, labels) == pytest.approx(probe(logits[order], labels[order]), abs=1e-12)
