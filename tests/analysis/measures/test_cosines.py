"""Cosines of centroids: those of the mean deltas, and opposites on axes of their own."""

import itertools

import numpy as np
import pytest

from modeling_cde.analysis.measures.cosines import measure_cosines, measure_opposites
from tests.analysis.synthetic_deltas import make_set

SIX = ["open", "close", "dirty", "clean", "break", "slice"]


def test_cosines_are_those_of_the_mean_deltas():
    rng = np.random.default_rng(0)
    labels = np.array([0, 3, 0, 1, 3, 3, 1])  # "dirty" does not occur
    delta = rng.normal(size=(7, 5))
    found = measure_cosines(make_set(delta, labels))
    assert found["actions"] == ["open", "close", "clean"]
    for (i, a), (j, b) in itertools.product(enumerate([0, 1, 3]), repeat=2):
        x, y = delta[labels == a].mean(axis=0), delta[labels == b].mean(axis=0)
        assert found["matrix"][i][j] == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), abs=1e-6)


def test_a_centroid_of_zero_has_no_direction():
    found = measure_cosines(make_set([[1, 0], [-1, 0], [0, 1]], [0, 0, 1]))
    assert found["matrix"] == [[0, 0], [0, 1]]


def test_opposites_on_one_axis_each():
    delta = np.array([[1, 0, 0], [-1, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 1], [0, 0, 1]])
    found = measure_opposites(make_set(delta, range(6), actions=SIX))
    assert found["mean"] == -1
    assert [(pair["action"], pair["opposite"], pair["cosine"]) for pair in found["pairs"]] == [
        ("open", "close", -1),
        ("dirty", "clean", -1),
    ]
    others = found["others"]
    assert others["values"] == 15 - 2 and others["max"] == 1 and others["min"] == 0
    assert others["mean"] == pytest.approx(1 / 13)
    assert others["std"] == pytest.approx(np.std([1] + [0] * 12))
    assert others["lowest"][0] == {"action": "clean", "other": "break", "cosine": 0} and len(others["lowest"]) == 5
    # 45 ways to choose two disjoint pairs of six; this one alone has the mean -1.
    assert found["exact"] and found["permutations"] == 45
    assert found["p_value"] == found["smallest_p"] == pytest.approx(1 / 45)
