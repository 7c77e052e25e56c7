"""Shares of variance: known designs, a regression on dummies, and what noise shows by chance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_cde.analysis.measures.variance import SHARES, mechanism_shares, shares_by_chance, variance_shares

# 3 actions x 4 objects x 5 pairs
ACTION, OBJECT, _ = (grid.reshape(-1) for grid in np.meshgrid(range(3), range(4), range(5), indexing="ij"))


def centred(rng, *shape):
    effect = rng.normal(size=shape)
    return effect - effect.mean(axis=0)


@pytest.mark.parametrize(
    ("share", "rows"), [("action", ACTION), ("object", OBJECT), ("interaction", ACTION * OBJECT), ("residual", None)]
)
def test_one_source_of_variance_gets_all_of_it(share, rows):
    rng = np.random.default_rng(0)
    if share == "interaction":  # what is left of cell effects without the two main effects
        cells = centred(rng, 3, 4, 6)
        cells = cells - cells.mean(axis=1, keepdims=True)
        delta = cells[ACTION, OBJECT]
    elif share == "residual":
        delta = np.tile(centred(rng, 5, 6), (12, 1))
    else:
        delta = rng.normal(size=(4, 6))[rows]
    found = variance_shares(delta.astype(np.float32), ACTION, OBJECT)
    assert found == pytest.approx({name: float(name == share) for name in SHARES}, abs=1e-5)


def test_a_balanced_sum_of_effects_has_the_shares_of_their_variances():
    rng = np.random.default_rng(1)
    action, obj = 2 * centred(rng, 3, 6), centred(rng, 4, 6)
    noise = np.tile(centred(rng, 5, 6), (12, 1))
    found = variance_shares(action[ACTION] + obj[OBJECT] + noise, ACTION, OBJECT)
    sizes = [(action[ACTION] ** 2).sum(), (obj[OBJECT] ** 2).sum(), 0, (noise**2).sum()]
    assert list(found.values()) == pytest.approx(np.array(sizes) / sum(sizes), abs=1e-9)


def naive(rows, actions, objects):
    """By regressions on dummy variables of every row, in both orders."""
    rows = rows - rows.mean(axis=0)

    def explained(*factors):
        columns = [np.ones(len(rows))]
        for factor in factors:
            columns += [(factor == value).astype(float) for value in sorted(set(factor.tolist()))]
        design = np.stack(columns, axis=1)
        return ((design @ np.linalg.pinv(design) @ rows) ** 2).sum()

    a, o, both, cells = (
        explained(actions),
        explained(objects),
        explained(actions, objects),
        explained(actions * 1000 + objects),
    )
    total = (rows**2).sum()
    action_first, action_last = a, both - o
    object_first, object_last = o, both - a
    parts = (action_first + action_last) / 2, (object_first + object_last) / 2, cells - both, total - cells
    return dict(zip(SHARES, [part / total for part in parts], strict=True))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=25), st.integers(0, 99))
def test_unbalanced_cells_follow_the_regression_in_both_orders(cells, seed):
    actions, objects = np.array(cells, dtype=np.int64).T
    rows = np.random.default_rng(seed).normal(size=(len(cells), 3)) + actions[:, None] * [1.0, 0.0, 0.0]
    found = variance_shares(rows, actions, objects)
    assert sum(found.values()) == pytest.approx(1)
    assert found == pytest.approx(naive(rows, actions, objects), abs=1e-8)


def test_actions_with_an_object_of_their_own_share_equally():
    ids = np.repeat([0, 1, 2], 4)
    found = variance_shares(np.random.default_rng(0).normal(size=(3, 5))[ids], ids, ids)
    assert found == pytest.approx({"action": 0.5, "object": 0.5, "interaction": 0, "residual": 0})


def test_noise_shows_the_shares_by_chance():
    rng = np.random.default_rng(0)
    actions, objects = rng.integers(0, 3, 40), rng.integers(0, 5, 40)
    found = [variance_shares(rng.normal(size=(40, 8)), actions, objects) for _ in range(150)]
    mean = {name: np.mean([shares[name] for shares in found]) for name in SHARES}
    assert mean == pytest.approx(shares_by_chance(actions, objects), abs=0.01)


def test_rows_that_do_not_vary_have_no_shares():
    ids = np.array([0, 1, 0])
    assert variance_shares(np.full((3, 4), 0.1, dtype=np.float32), ids, ids) is None
    assert variance_shares(np.full((3, 4), -0.1, dtype=np.float32), ids, ids) is None
    assert variance_shares(np.zeros((0, 4)), ids[:0], ids[:0]) is None
    assert shares_by_chance(ids[:1], ids[:1]) is None


def test_mechanisms_take_the_place_of_objects():
    rng = np.random.default_rng(3)
    actions, mechanisms = rng.integers(0, 4, 60), rng.integers(0, 3, 60)
    rows = rng.normal(size=(60, 5)) + mechanisms[:, None]
    names = [("door", "drawer", "lid")[i] for i in mechanisms]
    found, chance = mechanism_shares(rows, actions, names)
    assert list(found.values()) == pytest.approx(list(naive(rows, actions, mechanisms).values()), abs=1e-8)
    assert list(chance.values()) == pytest.approx(list(shares_by_chance(actions, mechanisms).values()))
    assert list(found) == list(chance) == ["action", "mechanism", "interaction", "residual"]
    assert mechanism_shares(rows, actions, None) == mechanism_shares(0 * rows, actions, names) == (None, None)


def test_opposites_that_move_each_mechanism_its_own_way_are_an_interaction():
    """A door moves along one axis and a drawer along another; closing moves each back by the same."""
    actions, doors = (grid.reshape(-1) for grid in np.meshgrid([0, 1], [True, False, True, False], indexing="ij"))
    rows = np.where(actions[:, None] == 0, 1.0, -1.0) * np.where(doors[:, None], [1.0, 0.0], [0.0, 1.0])
    found, _ = mechanism_shares(rows, actions, ["door" if door else "drawer" for door in doors])
    assert found == pytest.approx({"action": 0.5, "mechanism": 0, "interaction": 0.5, "residual": 0})
