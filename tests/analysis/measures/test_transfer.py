"""An action learned on all objects but one: known answers, and a loop with scikit-learn."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from modeling_cde.analysis.measures.probes import probe_accuracy, stratified_folds
from modeling_cde.analysis.measures.transfer import measure_transfer
from tests.analysis.synthetic_deltas import make_set

ACTION, OBJECT, _ = (grid.reshape(-1) for grid in np.meshgrid(range(4), range(3), range(6), indexing="ij"))


def test_invariant_deltas_carry_over():
    rng = np.random.default_rng(0)
    found = measure_transfer(
        make_set(rng.normal(size=(4, 16))[ACTION] + 0.1 * rng.normal(size=(72, 16)), ACTION, OBJECT)
    )
    assert found["accuracy"] == found["within"] == 1 and found["chance"] == 0.25 and found["left_out"] == 0
    assert found["by_object"] == {f"object {i}": {"accuracy": 1, "n": 24} for i in range(3)}


def test_deltas_of_each_object_alone_do_not():
    rng = np.random.default_rng(0)
    delta = rng.normal(size=(3, 4, 64))[OBJECT, ACTION] + 0.1 * rng.normal(size=(72, 64))
    found = measure_transfer(make_set(delta, ACTION, OBJECT))
    assert found["within"] == 1
    assert found["accuracy"] < 0.6


def test_actions_that_mean_another_action_on_one_object_fail_there():
    rng = np.random.default_rng(0)
    effect = rng.normal(size=(4, 16))
    turned = np.where(
        OBJECT == 2, (ACTION + 1) % 4, ACTION
    )  # on object 2, each action looks like the next one elsewhere
    found = measure_transfer(make_set(effect[turned] + 0.01 * rng.normal(size=(72, 16)), ACTION, OBJECT))
    assert found["by_object"]["object 2"]["accuracy"] == 0


def test_it_is_the_loop_over_objects():
    rng = np.random.default_rng(1)
    n = 120
    actions, objects = rng.integers(0, 4, n), rng.integers(0, 5, n)
    delta = (rng.normal(size=(4, 10))[actions] + rng.normal(size=(n, 10))).astype(np.float32)
    found = measure_transfer(make_set(delta, actions, objects))
    right = 0
    for held_out in range(5):
        test = objects == held_out
        theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(delta[~test], actions[~test])
        hits = (theirs.predict(delta[test]) == actions[test]).sum()
        assert found["by_object"][f"object {held_out}"] == {"accuracy": hits / test.sum(), "n": test.sum()}
        right += hits
    assert 0.3 < right / n < 1 and found["accuracy"] == pytest.approx(right / n)


def test_what_no_probe_could_know_is_left_out():
    delta = np.random.default_rng(0).normal(size=(9, 4))
    part = make_set(delta, [0, 1, 0, 1, 0, 1, 2, 2, 0], [0, 0, 1, 1, 2, 2, 2, 2, -1])
    found = measure_transfer(part)
    assert found["left_out"] == 2 and sum(values["n"] for values in found["by_object"].values()) == 6
    assert measure_transfer(make_set(delta[:3], [0, 1, 0], [0, 0, 0])) is None
    assert measure_transfer(make_set(delta[:2], [0, 1], [0, 1])) is None


@pytest.mark.parametrize("seed", [0, 3])
def test_within_is_the_same_probe_on_pairs_held_out_at_random(seed):
    """Of the pairs that were tested, those whose action another one has too."""
    rng = np.random.default_rng(2)
    actions, objects = rng.integers(0, 2, 60), rng.integers(0, 4, 60)
    actions[:2], objects[:2] = 2, [0, 1]  # two pairs of an action, on two objects
    actions[2:4], objects[2:4] = 3, 0  # which no other object has
    rows = rng.normal(size=(4, 6))[actions] + rng.normal(size=(60, 6))
    part = make_set(rows, actions, objects)
    tested = actions < 3
    fold = stratified_folds(actions[tested], seed=seed)
    expected = probe_accuracy(part.delta[tested], actions[tested], fold)
    found = measure_transfer(part, seed)
    assert found["within"] == expected and found["left_out"] == 2
    others = {
        probe_accuracy(part.delta[tested], actions[tested], stratified_folds(actions[tested], seed=s)) for s in (1, 7)
    }
    assert others != {expected}
    assert measure_transfer(part) == measure_transfer(part, 0)


def test_an_action_of_a_single_tested_pair_is_not_held_out_at_random():
    """Two objects share one action once each: nothing could be learned of it without its pair."""
    delta = np.random.default_rng(0).normal(size=(6, 3))
    part = make_set(delta, [0, 0, 1, 1, 1, 1], [0, 1, 0, 1, 0, 1])
    assert measure_transfer(part)["within"] is not None
    alone = make_set(delta, [0, 0, 0, 0, 1, 1], [0, 1, 0, 1, 0, 0])  # the second action occurs on one object only
    assert measure_transfer(alone)["within"] is None
