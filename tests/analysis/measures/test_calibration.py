"""Calibration error: a loop over the bins, and predictions whose error is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_cde.analysis.measures.calibration import measure_calibration
from tests.analysis.synthetic_deltas import make_set


def part_of(logits, labels):
    logits = np.asarray(logits, dtype=np.float32)
    return make_set(np.ones((len(logits), 2)), labels, logits=logits)


def of_confidence(confidence, right, n=100):
    """n predictions of action 0 with this confidence, a share `right` of them true."""
    others = (1 - confidence) / 3
    logits = np.log(np.tile([confidence, others, others, others], (n, 1)))
    return part_of(logits, (np.arange(n) >= round(right * n)).astype(int))


@pytest.mark.parametrize(("confidence", "right"), [(0.82, 0.82), (0.9, 0.5), (0.43, 1.0)])
def test_the_error_is_the_distance_of_confidence_and_accuracy(confidence, right):
    found = measure_calibration(of_confidence(confidence, right))
    assert found["ece"] == pytest.approx(abs(confidence - right), abs=1e-6)
    [used] = [entry for entry in found["bins"] if entry["n"]]
    assert used["low"] < confidence <= used["high"] and used["n"] == 100
    assert used["confidence"] == pytest.approx(confidence) and used["accuracy"] == right


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(0, 999), st.floats(0, 8))
def test_it_is_the_sum_over_the_bins(n, seed, scale):
    rng = np.random.default_rng(seed)
    part = part_of(scale * rng.normal(size=(n, 4)), rng.integers(0, 4, n))
    weights = np.exp(part.logits.astype(np.float64))
    confidence = (weights / weights.sum(axis=1, keepdims=True)).max(axis=1)
    right = part.logits.argmax(axis=1) == part.labels
    expected = 0.0
    for i in range(15):
        rows = [j for j in range(n) if i / 15 < confidence[j] <= (i + 1) / 15]
        if rows:
            expected += len(rows) / n * abs(np.mean(right[rows]) - np.mean(confidence[rows]))
    found = measure_calibration(part)
    assert found["ece"] == pytest.approx(expected, abs=1e-9) and 0 <= found["ece"] <= 1
    assert sum(entry["n"] for entry in found["bins"]) == n and len(found["bins"]) == 15


def test_certainty_and_impossible_actions():
    part = part_of([[200.0, 0, 0, 0], [0, -np.inf, -np.inf, -np.inf]], [0, 1])
    found = measure_calibration(part)
    assert found["ece"] == pytest.approx(0.5) and found["bins"][-1]["n"] == 2
    assert found["bins"][-1]["confidence"] == 1


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    third = make_set(np.ones((2, 2)), [0, 1], actions=["open", "close", "dirty"], logits=np.zeros((2, 3), np.float32))
    [used] = [entry for entry in measure_calibration(third)["bins"] if entry["n"]]
    assert used["high"] == used["confidence"] == 1 / 3 and used["accuracy"] == 0.5


def test_no_score_is_lost_beside_an_impossible_action():
    """Scores less their mean would be NaN, and so would every figure."""
    part = part_of([[2.0, 0, -np.inf, -np.inf], [1.0, 1.0, -np.inf, 0]], [0, 1])
    found = measure_calibration(part)
    both = np.array([np.exp(2) / (np.exp(2) + 1), np.e / (2 * np.e + 1)])
    assert found["ece"] == pytest.approx((abs(1 - both[0]) + both[1]) / 2)
    shifted = part_of(part.logits + 1000, [0, 1])  # no score depends on what is added to all
    assert measure_calibration(shifted)["ece"] == pytest.approx(found["ece"])


def test_confidences_are_computed_in_float64():
    part = part_of([[0.7, 0.1, -0.4, 0.0]], [0])
    weights = np.exp(part.logits[0].astype(np.float64))
    [used] = [entry for entry in measure_calibration(part)["bins"] if entry["n"]]
    assert used["confidence"] == pytest.approx(weights[0] / weights.sum(), rel=1e-13)


def test_the_lowest_bin_takes_guesses_among_many_actions():
    many = make_set(np.ones((2, 2)), [0, 1], actions=[f"a{i}" for i in range(30)], logits=np.zeros((2, 30), np.float32))
    found = measure_calibration(many)
    assert found["bins"][0]["n"] == 2 and found["ece"] == pytest.approx(0.5 - 1 / 30)
