"""Sparsity: closed forms, freedom of scale, and what dense noise gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_cde.analysis.measures.sparsity import effective_dimensions, hoyer, measure_sparsity, near_zero_share
from tests.analysis.synthetic_deltas import make_set


@pytest.mark.parametrize("m", [1, 4, 9, 16])
def test_m_equal_dimensions_of_sixteen(m):
    row = np.zeros((1, 16))
    row[0, :m] = -0.3
    assert hoyer(row)[0] == pytest.approx((4 - np.sqrt(m)) / 3)
    assert near_zero_share(row)[0] == (16 - m) / 16
    assert effective_dimensions(make_set(row, [2])) == {"dirty": pytest.approx(m)}


@given(st.integers(2, 40), st.floats(1e-3, 1e3), st.integers(0, 99))
def test_range_and_freedom_of_scale(dimensions, scale, seed):
    rows = np.random.default_rng(seed).normal(size=(5, dimensions))
    assert ((hoyer(rows) >= 0) & (hoyer(rows) <= 1)).all()
    np.testing.assert_allclose(hoyer(rows * scale), hoyer(rows))
    np.testing.assert_allclose(near_zero_share(rows * scale), near_zero_share(rows))
    naive = [(np.abs(row) < 0.1 * max(abs(row))).mean() for row in rows]
    np.testing.assert_allclose(near_zero_share(rows), naive)


def test_what_is_as_large_as_the_threshold_is_not_near_zero():
    assert near_zero_share(np.array([[1.0, 0.1, -0.1, 0.0999], [8.0, 4.0, 2.0, 0.0]])).tolist() == [0.25, 0.25]
    assert near_zero_share(np.array([[8.0, 4.0, 2.0, 0.0]]), threshold=0.5).tolist() == [0.5]


def test_dense_noise_gives_the_documented_figures():
    rows = np.random.default_rng(0).normal(size=(2000, 256))
    assert hoyer(rows).mean() == pytest.approx(0.22, abs=0.01)
    assert near_zero_share(rows).mean() == pytest.approx(0.22, abs=0.02)


def test_a_split_whose_actions_move_dimensions_of_their_own():
    delta = np.zeros((4, 8))
    delta[[0, 1], [0, 0]] = 1, 3
    delta[2, [1, 2]] = 2
    found = measure_sparsity(make_set(delta, [0, 0, 1, 2]))  # the last delta is zero
    assert found["hoyer"] == pytest.approx((1 + 1 + (np.sqrt(8) - np.sqrt(2)) / (np.sqrt(8) - 1)) / 3)
    assert found["near_zero_share"] == pytest.approx((7 + 7 + 6) / 24) and found["threshold"] == 0.1
    assert found["effective_dimensions"] == {"open": pytest.approx(1), "close": pytest.approx(2)}
    assert found["profile"] == [1, 0.5, 0.5, 0, 0, 0, 0, 0]  # mean |delta|: 1, 0.5, 0.5
    assert found["profile_of_pairs"] == pytest.approx([1, 1 / 3, 0, 0, 0, 0, 0, 0])
    assert found["zero_deltas"] == 1


def test_zeros_have_no_sparsity():
    assert np.isnan(hoyer(np.zeros((1, 4)))[0]) and np.isnan(near_zero_share(np.zeros((1, 4)))[0])
    assert measure_sparsity(make_set(np.zeros((3, 4)), [0, 1, 2])) is None
    assert measure_sparsity(make_set(np.ones((3, 1)), [0, 1, 2])) is None
    assert measure_sparsity(make_set([[1, 0], [0, 0]], [0, 1]))["hoyer"] == 1
