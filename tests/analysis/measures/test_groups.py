"""Sums and means by group are those of a loop over the groups."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modeling_cde.analysis.measures.groups import directions, group_means, group_sums


@given(st.lists(st.integers(0, 4), max_size=30), st.integers(0, 2**32 - 1))
def test_sums_and_means_of_a_loop(ids, seed):
    groups = np.array(ids, dtype=np.int64)
    rows = np.random.default_rng(seed).normal(size=(len(ids), 3)).astype(np.float32)
    sums, sizes = group_sums(rows, groups, 6)
    means, _ = group_means(rows, groups, 6)
    assert sums.dtype == np.float64
    for group in range(6):
        own = rows[groups == group].astype(np.float64)
        assert sizes[group] == len(own)
        np.testing.assert_allclose(sums[group], own.sum(axis=0), atol=1e-12)
        np.testing.assert_allclose(means[group], own.mean(axis=0) if len(own) else 0, atol=1e-12)


def test_directions_have_length_one_and_zero_stays_zero():
    assert directions(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [[0.6, 0.8], [0.0, 0.0]]
