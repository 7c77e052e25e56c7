"""The permutation p-value is that of a full enumeration and keeps its level."""

import itertools

import numpy as np
import pytest

from modeling_cde.analysis.measures.cosines import measure_cosines, measure_opposites
from tests.analysis.synthetic_deltas import make_set

SIX = ["open", "close", "dirty", "clean", "break", "slice"]


def naive_p_value(matrix, pairs):
    """Over all m! ways to exchange the names."""
    observed = np.mean([matrix[i, j] for i, j in pairs])
    means = [np.mean([matrix[p[i], p[j]] for i, j in pairs]) for p in itertools.permutations(range(len(matrix)))]
    return np.mean(np.array(means) <= observed + 1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_exact_p_value_is_that_of_all_permutations(seed):
    delta = np.random.default_rng(seed).normal(size=(6, 3))
    part = make_set(delta, range(6), actions=SIX)
    found = measure_opposites(part)
    matrix = np.array(measure_cosines(part)["matrix"])
    assert found["exact"] and found["p_value"] == pytest.approx(naive_p_value(matrix, [(0, 1), (2, 3)]))


def test_the_estimated_p_value_is_near_the_exact_one():
    part = make_set(np.random.default_rng(5).normal(size=(6, 3)), range(6), actions=SIX)
    exact, estimated = measure_opposites(part), measure_opposites(part, permutations=40)
    assert exact["exact"] and not estimated["exact"] and estimated["permutations"] == 40
    many = np.mean([measure_opposites(part, permutations=40, seed=seed)["p_value"] for seed in range(200)])
    assert many == pytest.approx((1 + 40 * exact["p_value"]) / 41, abs=0.02)


def test_the_estimate_counts_the_observed_arrangement_and_depends_on_the_seed_alone():
    part = make_set(np.random.default_rng(5).normal(size=(6, 3)), range(6), actions=SIX)
    found = [measure_opposites(part, permutations=40, seed=seed) for seed in range(12)]
    for seed, one in enumerate(found):
        assert one["smallest_p"] == 1 / 41 and one["p_value"] * 41 == pytest.approx(round(one["p_value"] * 41))
        assert one == measure_opposites(part, permutations=40, seed=seed)
    assert len({one["p_value"] for one in found}) > 3 and measure_opposites(part, permutations=40) == found[0]


def test_an_action_with_two_opposites_is_tested_by_random_exchanges():
    opposites = {"open": "close", "dirty": "close"}
    delta = np.array([[1, 0], [-1, 0], [1, 0.1], [0, 1], [0.1, 1], [0, -1]])
    found = measure_opposites(make_set(delta, range(6), actions=SIX, opposites=opposites))
    assert not found["exact"] and len(found["pairs"]) == 2
    matrix = np.array(measure_cosines(make_set(delta, range(6), actions=SIX))["matrix"])
    assert found["p_value"] == pytest.approx(naive_p_value(matrix, [(0, 1), (2, 1)]), abs=0.01)


def test_deltas_without_structure_are_rarely_called_anti_parallel():
    actions = [*SIX, "fill", "empty"]
    opposites = {"open": "close", "dirty": "clean", "break": "slice", "fill": "empty"}
    rng = np.random.default_rng(0)
    p = [
        measure_opposites(make_set(rng.normal(size=(8, 4)), range(8), actions=actions, opposites=opposites))["p_value"]
        for _ in range(300)
    ]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.05)
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)


def test_few_actions_cannot_be_significant_and_none_is_none():
    four = measure_opposites(make_set([[1, 0], [-1, 0], [0, 1], [0, -1]], range(4)))
    assert four["p_value"] == four["smallest_p"] == pytest.approx(1 / 3)
    two = measure_opposites(make_set([[1, 0], [-1, 0]], [0, 1]))
    assert two["p_value"] == 1 and two["others"]["mean"] is None and two["others"]["values"] == 0
    assert measure_opposites(make_set([[1, 0], [-1, 0]], [0, 2])) is None
