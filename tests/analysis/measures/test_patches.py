"""Patches: where they lie against chance, and properties that the mean over patches would hide."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from modeling_cde.analysis.measures.patches import measure_patches, measure_place, measure_weights, pairwise_cosines
from modeling_cde.analysis.measures.probes import probe_accuracy, stratified_folds
from modeling_cde.analysis.measures.sparsity import hoyer
from modeling_cde.analysis.measures.variance import variance_shares
from tests.analysis.synthetic_deltas import make_set


def test_place_in_a_box_of_one_and_a_half_patches():
    coverage = np.array([[1, 0.5, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0.5, 1], [np.nan] * 6])
    indices = np.array([[0, 2], [0, 1], [0, 1], [0, 1]])
    found = measure_place(indices, coverage)
    assert found["n"] == 2  # one pair has no region, one has no coverage
    assert found["share"] == pytest.approx((0.5 + 0) / 2)
    assert found["by_chance"] == pytest.approx(0.25)
    assert found["at_best"] == pytest.approx(0.75)
    assert found["hit"] == 0.5
    assert found["hit_by_chance"] == pytest.approx(1 - 4 * 3 / (6 * 5))
    assert measure_place(indices[1:2], coverage[1:2]) is None


def test_the_share_of_weight_in_a_region():
    weights = np.array([[[0.5, 0.3, 0.2], [0.0, 0.0, 0.0]]] * 3)
    coverage = np.array([[[1, 0.5, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]], [[np.nan] * 3] * 2])
    found = measure_weights(weights, coverage)
    assert found == {"share": pytest.approx(0.5 + 0.3 * 0.5), "by_chance": pytest.approx(1.5 / 6), "n": 1}
    equal = measure_weights(np.full((3, 2, 3), 1 / 6), coverage)
    assert equal["share"] == pytest.approx(equal["by_chance"])
    assert measure_weights(weights[1:], coverage[1:]) is None
    two = measure_weights(weights[:2], np.array([coverage[0], [[0, 1, 1], [1, 1, 1]]]))
    assert two == {"share": pytest.approx((0.65 + 0.5) / 2), "by_chance": pytest.approx((1.5 + 5) / 12), "n": 2}


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_chance_is_that_of_patches_drawn_at_random(k, touched, seed):
    coverage = np.zeros((1, 9))
    coverage[0, :touched] = np.random.default_rng(seed).uniform(0.1, 1, touched)
    found = measure_place(np.arange(k)[None], coverage)
    assert found["hit_by_chance"] == pytest.approx(1 - hypergeom(9, touched, k).pmf(0))
    rng = np.random.default_rng(seed)
    drawn = [coverage[0, rng.permutation(9)[:k]].mean() for _ in range(1000)]
    assert found["by_chance"] == pytest.approx(np.mean(drawn), abs=0.05)
    assert found["share"] <= found["at_best"] + 1e-12


def patch_set(patch_delta, labels, objects=None, **fields):
    patch_delta = np.asarray(patch_delta, dtype=np.float32)
    k = patch_delta.shape[1]
    return make_set(
        patch_delta.mean(axis=1),
        labels,
        objects,
        patch_delta=patch_delta,
        patch_indices=np.tile(np.arange(k), (len(patch_delta), 1)),
        **fields,
    )


def test_cosines_of_patches_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    labels = np.array([0, 0, 1, 1, 2, 2, 0, 3])
    patches = rng.normal(size=(8, 3, 4)).astype(np.float32)
    part = patch_set(patches, labels)
    found = pairwise_cosines(part, patches.reshape(24, 4), np.repeat(labels, 3), np.repeat(np.arange(8), 3))

    unit = (patches / np.linalg.norm(patches, axis=2, keepdims=True)).astype(np.float64)

    def mean(a, b):
        values = [
            float(x @ y)
            for i in np.flatnonzero(labels == a)
            for j in np.flatnonzero(labels == b)
            if i != j
            for x in unit[i]
            for y in unit[j]
        ]
        return np.mean(values)

    assert found["opposites"] == pytest.approx(np.mean([mean(0, 1), mean(2, 3)]))
    assert found["others"] == pytest.approx(np.mean([mean(0, 2), mean(0, 3), mean(1, 2), mean(1, 3)]))
    assert found["same_action"] == pytest.approx(np.mean([mean(0, 0), mean(1, 1), mean(2, 2)]))  # one pair of "clean"


def test_patches_that_only_their_mean_makes_tidy():
    """Two patches of which one is noise that the other takes back: the mean is the action's, the patches are not."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 4
    effect = np.array([[1.0, 0, 0, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, -1, 0, 0]])[labels]
    noise = 5 * rng.normal(size=(40, 4))
    part = patch_set(np.stack([effect + noise, effect - noise], axis=1), labels, np.arange(40) // 4 % 2)
    found = measure_patches(part)
    assert variance_shares(part.delta, part.labels, part.objects)["action"] > 0.999
    assert found["variance_action"] < 0.1 and found["opposites_mean"] > -0.2 and found["same_action_mean"] < 0.2


def test_every_patch_of_an_invariant_sparse_model_has_the_properties():
    rng = np.random.default_rng(0)
    labels, objects = np.arange(60) % 4, np.arange(60) // 4 % 3
    effect = np.eye(8)[[0, 0, 1, 1]] * np.array([[1], [-1], [1], [-1]])
    patches = effect[labels][:, None] * rng.uniform(0.99, 1.01, size=(60, 3, 1))
    part = patch_set(patches, labels, objects)
    found = measure_patches(part)
    assert found["k"] == 3 and found["in_box"] is None and found["mask"] is None
    assert found["opposites_mean"] == pytest.approx(-1) and found["others_mean"] == pytest.approx(0, abs=1e-9)
    assert found["same_action_mean"] == pytest.approx(1) and found["hoyer"] == pytest.approx(1)
    assert found["variance_action"] > 0.99 and found["variance_object"] < 0.01
    assert found["object_probe"] == pytest.approx(found["object_chance"], abs=0.15)
    leaking = patch_set(patches + 0.1 * np.eye(8)[[5, 6, 7]][objects][:, None], labels, objects)
    assert measure_patches(leaking)["object_probe"] == 1
    assert measure_patches(leaking)["hoyer"] == pytest.approx(hoyer(leaking.patch_delta.reshape(180, 8)).mean())


@pytest.mark.parametrize("seed", [0, 3])
def test_the_object_is_read_by_a_probe_that_is_told_the_action(seed):
    """Noise: every other probe, and every other way to deal the pairs into folds, reads another number."""
    rng = np.random.default_rng(5)
    labels, objects = rng.integers(0, 3, 60), rng.integers(0, 3, 60)
    patches = rng.normal(size=(60, 2, 4)) + 0.5 * np.eye(4)[objects][:, None] * (labels - 1)[:, None, None]
    part = patch_set(patches, labels, objects)
    fold = stratified_folds(labels * 3 + objects, seed=seed)
    rows = part.patch_delta.reshape(120, 4)
    expected = probe_accuracy(rows, np.repeat(objects, 2), np.repeat(fold, 2), np.repeat(labels, 2))
    assert measure_patches(part, seed)["object_probe"] == expected
    assert expected != probe_accuracy(rows, np.repeat(objects, 2), np.repeat(fold, 2))
    assert measure_patches(part)["object_probe"] == (
        expected if seed == 0 else measure_patches(part, 0)["object_probe"]
    )


@pytest.mark.parametrize("dimensions", [1, 2])
def test_sparsity_of_patches_needs_two_dimensions(dimensions):
    rows = np.random.default_rng(0).normal(size=(4, 3, dimensions)).astype(np.float32)
    rows[1, 2] = 0
    with np.errstate(all="raise"):
        found = measure_patches(patch_set(rows, range(4)))["hoyer"]
    moved = np.delete(rows.reshape(12, dimensions), 5, axis=0)
    assert found == (None if dimensions == 1 else pytest.approx(hoyer(moved).mean()))


def test_box_and_mask_are_measured_each_by_itself():
    coverage = np.tile([1.0, 1, 0, 0], (4, 1)).astype(np.float32)
    fields = {"patch_grid": (2, 2), "box_coverage": coverage, "mask_coverage": coverage * [1, 0, 0, 0]}
    found = measure_patches(patch_set(np.ones((4, 2, 3)), range(4), **fields))
    assert (found["in_box"], found["in_box_by_chance"]) == (1, 0.5)
    assert (found["in_mask"], found["in_mask_by_chance"]) == (0.5, 0.25)
    assert found["box"]["n"] == found["mask"]["n"] == 4 and found["variance_action"] is None


def test_global_mode_and_old_files():
    assert measure_patches(make_set(np.eye(4), range(4))) is None
    old = measure_patches(make_set(np.eye(4), range(4), patch_indices=np.zeros((4, 2), dtype=np.int64)))
    assert old["k"] == 2 and {value for name, value in old.items() if name != "k"} == {None}
