"""What is random in an epoch: a function of seed, epoch and batch, each of which counts by itself."""

import random
from itertools import product

import numpy as np
import pytest
import torch
from datasets import Dataset

from modeling_cde.data.sampler import ClassAwareBatchSampler, SeededDataset, seeded, training_batches
from modeling_cde.data.streaming.order import Leg, StreamOrder

SEEDS, EPOCHS = range(4), range(4)


def draws():
    """A number of each generator that a transform may use."""
    return random.random(), float(np.random.rand()), torch.rand(()).item()


class Draws:
    """A data set whose items are drawn, with a batched way to read them alone."""

    def __init__(self, number=24):
        self.number = number

    def __len__(self):
        return self.number

    def __getitems__(self, indices):
        return [draws() for _ in indices]


def test_each_generator_is_seeded_for_a_block_and_put_back_after_it():
    own = random.Random(5).random(), np.random.RandomState(5).rand(), torch.Generator().manual_seed(5)
    expected = (*own[:2], torch.rand((), generator=own[2]).item())
    for seed in (None, 5):
        random.seed(1), np.random.seed(2), torch.manual_seed(3)
        before = draws()
        random.seed(1), np.random.seed(2), torch.manual_seed(3)
        with pytest.raises(RuntimeError), seeded(seed):
            inside = draws()
            raise RuntimeError
        assert draws() == before
        assert all((one == other) == (seed is not None) for one, other in zip(inside, expected, strict=True))


def all_differ(found):
    return len({repr(one) for one in found}) == len(found)


def test_every_seed_and_every_epoch_has_an_order_of_its_own():
    """Also those with the same sum: else the second epoch of a seed would be the first one of the next."""
    orders = []
    for seed, epoch in product(SEEDS, EPOCHS):
        batches = ClassAwareBatchSampler([0, 1] * 20, 8, 2, seed)
        batches.set_epoch(epoch)
        orders.append(list(batches))
    assert all_differ(orders)


def test_every_seed_epoch_and_batch_has_numbers_of_its_own():
    found = []
    for seed, epoch in product(SEEDS, EPOCHS):
        dataset = SeededDataset(Draws(), seed)
        dataset.set_epoch(epoch)
        for indices in ([0, 1], [1, 0], [2, 3], [23]):
            items = dataset.__getitems__(indices)
            assert dataset.__getitems__(torch.tensor(indices)) == items
            found += items
        assert [dataset[23]] == dataset.__getitems__([23])
    for generator in zip(*found, strict=True):
        assert all_differ(generator)


def test_every_seed_epoch_leg_and_block_of_a_stream_has_an_order_of_its_own():
    groups, legs = (7,) * 9, [Leg(first, 4, 1, 1) for first in (0, 1, 2)]
    of_groups, of_blocks = [], []
    for seed, epoch in product(SEEDS, EPOCHS):
        order = StreamOrder(groups, seed, 20)
        of_groups.append(order.pieces(epoch, legs[:1]))
        of_blocks += [order.shuffled(epoch, leg, start, 20) for leg in legs for start in (0, 1, 2, 20)]
    assert all_differ(of_groups) and all_differ(of_blocks)


class Rows(Draws):
    """Rows with a column of actions, as `datasets` has them."""

    column_names = ["action"]

    def with_format(self, kind):
        return Dataset.from_dict({"action": [i % 3 for i in range(self.number)]})


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("column", ["action", None])
def test_a_training_has_the_batches_and_the_numbers_of_its_seed(column, drop_last):
    labels = [i % 3 for i in range(21)]
    orders, numbers = [], []
    for seed in SEEDS:
        dataset, batches = training_batches(Rows(21), 5, column, 2, seed, drop_last)
        wanted = (labels, 5, 2, seed, drop_last) if column else ([0] * 21, 5, 1, seed, drop_last)
        orders.append(list(batches))
        numbers.append(dataset.__getitems__([0, 1]))
        assert orders[-1] == list(ClassAwareBatchSampler(*wanted))
        assert numbers[-1] == SeededDataset(Draws(), seed).__getitems__([0, 1])
    assert all_differ(orders) and all_differ(numbers)


def test_the_epoch_is_told_to_whom_it_concerns_and_to_nobody_else():
    for format in ({}, {"format_kwargs": {"transform": object()}}, None):  # of a data set of the user's own
        rows = Draws()
        rows.format = format
        SeededDataset(rows, 0).set_epoch(1)
