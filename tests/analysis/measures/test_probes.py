"""The linear probe follows its formula, is tested on rows it has not seen, and tells leaks from the action."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from modeling_cde.analysis.measures import probes
from modeling_cde.analysis.measures.probes import (
    best_guess,
    measure_probe,
    measure_probes,
    probe_accuracy,
    probe_scores,
    rows_within_actions,
    stratified_folds,
)
from tests.analysis.synthetic_deltas import make_set


def blobs(rng, n, classes, dimensions, spread=1.0):
    targets = rng.integers(0, classes, n)
    return rng.normal(size=(classes, dimensions))[targets] * spread + rng.normal(size=(n, dimensions)), targets


def formula_scores(rows, targets, new_rows, shrinkage):
    """The formula at the head of the module, with an inverse and a loop over classes."""
    n, dimensions = rows.shape
    classes = np.unique(targets)
    centroids = np.array([rows[targets == c].mean(axis=0) for c in classes])
    within = sum((rows[targets == c] - m).T @ (rows[targets == c] - m) for c, m in zip(classes, centroids, strict=True))
    within = within / n
    sigma = (1 - shrinkage) * within + shrinkage * np.trace(within) / dimensions * np.eye(dimensions)
    weights = np.linalg.inv(sigma) @ centroids.T
    shares = np.array([(targets == c).mean() for c in classes])
    return new_rows @ weights - 0.5 * (centroids.T * weights).sum(axis=0) + np.log(shares)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("shrinkage", [0.1, 0.5])
def test_the_probe_is_shrunken_discriminant_analysis(monkeypatch, shrinkage, classes):
    monkeypatch.setattr(probes, "SHRINKAGE", shrinkage)
    rng = np.random.default_rng(0)
    rows, targets = blobs(rng, 90, classes, 30)
    rows = (rows * rng.uniform(0.1, 3, size=30) + 5).astype(np.float32)
    fresh = blobs(rng, 200, classes, 30)[0] + 5
    scores = probe_scores(rows, targets + 1, fresh, classes + 2)
    assert np.isneginf(scores[:, [0, classes + 1]]).all()  # classes without rows
    found, expected = scores[:, 1:-1], formula_scores(rows.astype(np.float64), targets, fresh, shrinkage)
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))
    np.testing.assert_allclose(found - found[:, :1], expected - expected[:, :1], atol=1e-4)


def test_one_row_a_class_is_the_nearest_centroid_and_equal_rows_the_most_frequent_class():
    rows = np.array([[0.0, 0], [4, 0], [0, 4]])
    fresh = np.array([[1.0, 0.5], [3, 1], [1, 3]])
    assert probe_scores(rows, np.array([7, 8, 9]), fresh, 10).argmax(axis=1).tolist() == [7, 8, 9]
    twice = probe_scores(np.repeat(rows, 2, axis=0), np.repeat([2, 1, 0], 2), fresh, 3)  # no class varies
    assert twice.argmax(axis=1).tolist() == [2, 1, 0]
    constant = probe_scores(np.ones((5, 2)), np.array([3, 3, 1, 3, 2]), np.array([[1.0, 1], [9, 9]]), 4)
    assert constant.argmax(axis=1).tolist() == [3, 3]
    uneven = probe_scores(np.repeat([[0.0], [1.0]], [9, 1], axis=0), np.repeat([0, 1], [9, 1]), np.array([[0.55]]), 2)
    assert uneven.argmax() == 1  # however many rows a class has
    single = probe_scores(fresh, np.array([1, 1, 1]), rows, 2)
    assert single.argmax(axis=1).tolist() == [1, 1, 1]


@given(st.lists(st.integers(0, 3), min_size=5, max_size=40), st.integers(2, 6), st.integers(0, 9))
def test_folds_spread_every_target(ids, folds, seed):
    """Five rows of four targets: one of them occurs twice."""
    targets = np.array(ids)
    fold = stratified_folds(targets, folds, seed)
    used = min(folds, np.bincount(targets).max())  # no more folds than the most frequent target has rows
    assert fold.min() == 0 and fold.max() == used - 1
    for target in set(ids):
        sizes = np.bincount(fold[targets == target], minlength=used)
        assert sizes.max() - sizes.min() <= 1
    sizes = np.bincount(fold, minlength=used)
    assert sizes.max() - sizes.min() <= 1
    assert np.array_equal(fold, stratified_folds(targets, folds, seed))


def test_accuracy_is_of_rows_that_the_probe_has_not_seen():
    """Noise that any probe could learn by heart: 40 rows in 200 dimensions."""
    rng = np.random.default_rng(0)
    targets = np.arange(40) % 2
    found = [probe_accuracy(rng.normal(size=(40, 200)), targets, stratified_folds(targets)) for _ in range(20)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def test_accuracy_by_folds_is_that_of_a_loop_with_scikit_learn():
    rng = np.random.default_rng(3)
    rows, targets = blobs(rng, 80, 4, 12)
    fold = stratified_folds(targets)
    hits = 0
    for i in range(5):
        theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(rows[fold != i], targets[fold != i])
        hits += (theirs.predict(rows[fold == i]) == targets[fold == i]).sum()
    assert 0.4 < hits / 80 < 1
    assert probe_accuracy(rows, targets, fold) == hits / 80


def test_the_best_guess():
    targets, actions = np.array([1, 1, 1, 2, 2, 3]), np.array([0, 0, 1, 1, 1, 1])
    assert best_guess(targets) == 3 / 6
    assert best_guess(targets, actions) == (2 + 2) / 6


def synthetic(rng, leak, n=400, dimensions=8):
    """Opposites anti-parallel, objects and scenes in the states, and `leak` times the object in the delta."""
    actions, objects, scenes = rng.integers(0, 4, n), rng.integers(0, 3, n), rng.integers(0, 6, n)
    action_effect, object_effect, scene_effect = (rng.normal(size=(k, dimensions)) for k in (2, 3, 6))
    sign = np.where(actions % 2, -1.0, 1.0)[:, None]
    noise = 0.1 * rng.normal(size=(3, n, dimensions))
    delta = sign * (action_effect[actions // 2] + leak * object_effect[objects]) + noise[0]
    before = object_effect[objects] + scene_effect[scenes] + noise[1]
    return make_set(
        delta,
        actions,
        objects,
        states=np.stack([before, before + delta], axis=1).astype(np.float32),
        scenes=[f"room {i}" for i in scenes],
    )


def test_independent_deltas_are_told_from_states():
    found = measure_probes(synthetic(np.random.default_rng(0), leak=0))
    for name, classes in (("object", 3), ("scene", 6)):
        values = found[name]
        assert values["n"] == 400 and values["classes"] == classes
        assert values["states"] > 0.98
        assert values["delta"] == pytest.approx(1 / classes, abs=0.1)
        assert values["within_action"]["states"] > 0.95
        assert values["within_action"]["delta"] == pytest.approx(1 / classes, abs=0.1)
        assert values["chance"] == pytest.approx(1 / classes, abs=0.06)


def test_states_are_those_before_the_action():
    """The object shows before the action and no more after it."""
    rng = np.random.default_rng(0)
    objects = np.arange(60) % 3
    before, after = rng.normal(size=(2, 60, 4))
    before += 20 * np.eye(4)[objects]
    part = make_set(after - before, np.arange(60) // 3 % 4, objects, states=np.stack([before, after], axis=1))
    found = measure_probe(part, objects)
    assert found["states"] == found["within_action"]["states"] == 1
    swapped = measure_probe(replace(part, states=part.states[:, ::-1]), objects)
    assert swapped["states"] < 0.6 and swapped["within_action"]["states"] < 0.6
    assert {**found, "states": 0, "within_action": 0} == {**swapped, "states": 0, "within_action": 0}


def test_a_leak_that_changes_its_sign_with_the_action_is_seen_within_actions_alone():
    found = measure_probes(synthetic(np.random.default_rng(0), leak=1))["object"]
    assert found["delta"] < 0.6
    assert found["within_action"]["delta"] > 0.98


def test_what_the_action_tells_of_the_object_is_no_leak():
    rng = np.random.default_rng(0)
    actions = rng.integers(0, 4, 300)
    objects = np.where(actions < 2, rng.integers(0, 2, 300), 2)  # "dirty" and "clean" are done to object 2 alone
    delta = rng.normal(size=(4, 8))[actions] + 0.1 * rng.normal(size=(300, 8))
    found = measure_probe(make_set(delta, actions, objects), objects)
    assert found["delta"] == pytest.approx(found["from_action"], abs=0.06) and found["from_action"] > 0.7
    assert found["within_action"]["n"] == (actions < 2).sum()
    assert found["within_action"]["delta"] == pytest.approx(0.5, abs=0.1)


def test_within_actions_is_the_choice_among_the_actions_own_objects():
    rng = np.random.default_rng(2)
    actions, objects = rng.integers(0, 2, 60), rng.integers(0, 3, 60)
    rows = rng.normal(size=(60, 5)) + objects[:, None] * [1.0, 0, 0, 0, 0] + actions[:, None] * [0, 1.0, 0, 0, 0]
    fold = stratified_folds(actions * 3 + objects)
    hits = 0
    for i in range(5):
        theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
        theirs.fit(rows[fold != i], (actions * 3 + objects)[fold != i])
        for row, action, obj in zip(rows[fold == i], actions[fold == i], objects[fold == i], strict=True):
            scores = theirs.decision_function(row[None])[0]
            own = [c for c in theirs.classes_ if c // 3 == action]
            hits += max(own, key=lambda c: scores[list(theirs.classes_).index(c)]) % 3 == obj
    assert probe_accuracy(rows, objects, fold, actions) == hits / 60


def test_combinations_are_dealt_into_folds_each_by_itself():
    """Rare combinations of frequent objects: dealt by object alone, some would be missing wherever they are tested."""
    rng = np.random.default_rng(0)
    actions = np.repeat([0, 0, 1, 1], [20, 2, 2, 20])
    objects = np.repeat([0, 1, 0, 1], [20, 2, 2, 20])
    rows = 50 * np.eye(4)[actions * 2 + objects] + rng.normal(size=(44, 4))
    for seed in range(6):
        found = measure_probe(make_set(rows, actions, objects), objects, seed)["within_action"]
        assert found["delta"] == 1 and found["n"] == 44 and found["chance"] == 40 / 44


@pytest.mark.parametrize("seed", [0, 3])
def test_each_accuracy_is_that_of_its_rows_and_its_probe(seed):
    """Noise with a little of the object in it: no two of the four accuracies are alike."""
    rng = np.random.default_rng(4)
    actions, objects = rng.integers(0, 3, 90), rng.integers(0, 3, 90)
    delta = rng.normal(size=(90, 5)) + np.eye(5)[objects] * (actions - 1)[:, None]
    before = rng.normal(size=(90, 5)) + 0.7 * np.eye(5)[objects] + 0.7 * np.eye(5)[actions + 2]
    part = make_set(delta, actions, objects, states=np.stack([before, before + delta], axis=1).astype(np.float32))
    found = measure_probe(part, objects, seed)
    plain, within = stratified_folds(objects, seed=seed), stratified_folds(actions * 3 + objects, seed=seed)
    expected = [
        probe_accuracy(part.delta, objects, plain),
        probe_accuracy(part.states[:, 0], objects, plain),
        probe_accuracy(part.delta, objects, within, actions),
        probe_accuracy(part.states[:, 0], objects, within, actions),
    ]
    assert len(set(expected)) == 4
    assert [found["delta"], found["states"], *map(found["within_action"].get, ("delta", "states"))] == expected
    assert measure_probes(part, seed)["object"] == found and measure_probes(part) == measure_probes(part, 0)


def test_every_row_that_can_be_tested_is_counted():
    """Against loops: for the plain probe targets with a row for each fold, within actions combinations of two rows."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        actions, targets = (
            rng.integers(0, 3, 40),
            rng.choice([-1, 0, 1, 2, 3, 4], 40, p=[0.1, 0.3, 0.3, 0.2, 0.05, 0.05]),
        )
        found = measure_probe(make_set(rng.normal(size=(40, 3)), actions, targets), targets)
        counts = {t: int((targets == t).sum()) for t in set(targets.tolist()) - {-1}}
        used = [i for i in range(40) if counts.get(targets[i], 0) >= 5]
        assert found["n"] == len(used) and found["classes"] == len(set(targets[used].tolist()))
        most = sum(max(np.bincount(targets[[i for i in used if actions[i] == a]])) for a in set(actions[used].tolist()))
        assert found["from_action"] == pytest.approx(most / len(used))
        assert found["chance"] == pytest.approx(max(counts.values()) / len(used))
        cells = {(a, t): int(((actions == a) & (targets == t)).sum()) for a in range(3) for t in counts}
        kept = {
            cell for cell, number in cells.items()
            if number >= 2 and sum(other >= 2 for (a, _), other in cells.items() if a == cell[0]) >= 2
        }  # fmt: skip
        inside = [(actions[i], targets[i]) in kept for i in range(40)]
        assert rows_within_actions(actions, targets).tolist() == inside
        assert found["within_action"]["n"] == sum(inside)


def test_rows_that_cannot_be_tested_are_left_out():
    actions, targets = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2]), np.array([5, 5, 6, 6, 5, 5, 5, 6, -1])
    assert rows_within_actions(actions, targets).tolist() == [True] * 4 + [False] * 5
    few = make_set(np.eye(9), actions % 4, [0, 0, 0, 0, 1, 1, 1, 1, -1])
    assert measure_probes(few) == {"object": None, "scene": None}


def test_without_scikit_learn_there_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.model_selection", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs sklearn, which is not installed: pip install .*\[analysis\]"):
        stratified_folds(np.array([0, 0, 1, 1]))
