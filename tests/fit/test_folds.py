"""Folds of whole groups: a partition, spread evenly, the same for the same seed."""

import random
from collections import Counter

import pytest

from modeling_cde.fit.folds import grouped_folds


@pytest.mark.parametrize("seed", range(5))
def test_folds_are_a_partition_into_whole_groups(seed):
    generator = random.Random(seed)
    groups = [generator.randrange(12) for _ in range(60)]
    labels = [generator.randrange(3) for _ in range(60)]
    folds = grouped_folds(groups, labels, 4, seed)
    assert sorted(row for fold in folds for row in fold) == list(range(60))
    assert all(fold == sorted(fold) and fold for fold in folds)
    assert sum(len({groups[row] for row in fold}) for fold in folds) == len(set(groups))
    assert folds == grouped_folds(groups, labels, 4, seed)


def test_actions_are_spread_evenly():
    labels = [0] * 20 + [1] * 10
    folds = grouped_folds(range(30), labels, 5, 0)
    assert [Counter(labels[row] for row in fold) for fold in folds] == [Counter({0: 4, 1: 2})] * 5


def test_the_seed_decides_among_equals():
    assert grouped_folds(range(12), [0, 1] * 6, 3, 0) != grouped_folds(range(12), [0, 1] * 6, 3, 1)


@pytest.mark.parametrize("folds", (1, 4))
def test_too_few_or_too_many_folds_are_refused(folds):
    with pytest.raises(ValueError, match="3 groups cannot be divided"):
        grouped_folds(["a", "b", "c"], [0, 1, 0], folds, 0)
