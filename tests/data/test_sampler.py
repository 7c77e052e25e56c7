"""Class-aware batches: what the docstring promises, for any labels."""

import random
from collections import Counter

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, skip_first_batches
from datasets import ClassLabel, Dataset, Features, Image, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from modeling_cde.data.sampler import ClassAwareBatchSampler, SeededDataset, read_labels, seeded, training_batches

LABELS = st.lists(st.sampled_from("abcdefg"), max_size=120)


@settings(deadline=None, max_examples=150)
@given(
    labels=LABELS,
    batch_size=st.integers(1, 20),
    m=st.integers(1, 20),
    drop_last=st.booleans(),
    data=st.data(),
)
def test_what_holds_in_every_epoch(labels, batch_size, m, drop_last, data):
    m = min(m, batch_size)
    sampler = ClassAwareBatchSampler(labels, batch_size, m, seed=data.draw(st.integers(0, 5)), drop_last=drop_last)
    sampler.set_epoch(data.draw(st.integers(0, 3)))
    batches = list(sampler)
    n = len(labels)
    assert len(batches) == len(sampler) == (n // batch_size if drop_last else -(-n // batch_size))
    sizes = [len(batch) for batch in batches]
    full = sizes if drop_last else sizes[:-1]
    assert full == [batch_size] * len(full)
    assert all(0 < size <= batch_size for size in sizes)
    seen: Counter[int] = Counter()
    per_class = Counter(labels)
    for batch in batches:
        counts = Counter(labels[index] for index in batch)
        assert min(counts.values()) >= m
        # A sample comes again only if by the end of this batch its action has come as a whole.
        seen.update(batch)
        for action in counts:
            if any(seen[index] > 1 for index in batch if labels[index] == action):
                assert sum(1 for index in seen if labels[index] == action) == per_class[action]
    repeated = sum(seen.values()) - len(seen)
    left_out = n - len(seen)
    if drop_last:
        assert left_out == n % batch_size + repeated
    else:
        assert left_out == max(0, repeated - -n % batch_size)  # the last batch has room for some


def test_one_sample_per_class_and_batch_is_a_plain_shuffle():
    sampler = ClassAwareBatchSampler([0] * 23, 5, 1, seed=1, drop_last=False)
    flat = [index for batch in sampler for index in batch]
    assert sorted(flat) == list(range(23)) and flat != sorted(flat)


def test_a_usual_epoch_repeats_hardly_anything_and_mixes_actions():
    rng = random.Random(0)
    labels = [rng.choice("aaaabbbccd") for _ in range(1003)]
    sampler = ClassAwareBatchSampler(labels, 32, 2, seed=3)
    shares: Counter[str] = Counter()
    for epoch in range(5):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        seen = Counter(index for batch in batches for index in batch)
        assert sum(seen.values()) - len(seen) <= 4
        assert all(len({labels[index] for index in batch}) >= 3 for batch in batches[:-3])
        shares.update(labels[index] for index in seen)
    for action, number in Counter(labels).items():
        assert shares[action] / 5 == pytest.approx(number, rel=0.05)


def test_an_action_with_fewer_samples_than_m_is_filled():
    labels = ["rare"] + ["often"] * 11
    sampler = ClassAwareBatchSampler(labels, 4, 2, seed=0, drop_last=False)
    with_rare = [batch for epoch in range(5) for batch in _epoch(sampler, epoch) if 0 in batch]
    assert with_rare and all(batch.count(0) >= 2 for batch in with_rare)


def test_samples_too_few_for_a_later_batch_come_along_with_the_others():
    labels = ["b"] * 3 + ["a"] * 22  # m = 2: one b alone would have to come with a repeated one
    sampler = ClassAwareBatchSampler(labels, 5, 2, seed=0)
    batches = [batch for epoch in range(20) for batch in _epoch(sampler, epoch)]
    assert {sum(index < 3 for index in batch) for batch in batches} == {0, 3}
    # Four of an action are enough for two batches, and batches of one action alone would not be mixed.
    labels = [i % 3 for i in range(12)]
    sampler = ClassAwareBatchSampler(labels, 4, 2, seed=0)
    batches = [batch for epoch in range(20) for batch in _epoch(sampler, epoch)]
    assert sum(len({labels[index] for index in batch}) == 2 for batch in batches) > len(batches) / 3


def _epoch(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


def test_order_depends_on_seed_and_epoch_alone():
    labels = torch.randint(4, (60,))
    sampler = ClassAwareBatchSampler(labels, 8, 2, seed=5)
    first = _epoch(sampler, 0)
    torch.rand(3), random.random(), np.random.rand()
    assert _epoch(sampler, 1) != first
    assert _epoch(sampler, 0) == first == _epoch(ClassAwareBatchSampler(labels.numpy(), 8, 2, seed=5), 0)
    assert _epoch(ClassAwareBatchSampler(labels.tolist(), 8, 2, seed=6), 0) != first


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_batches_and_each_keeps_the_rule(processes):
    labels = [i % 3 for i in range(70)]
    shards = [
        list(BatchSamplerShard(ClassAwareBatchSampler(labels, 6, 2, seed=1), processes, rank))
        for rank in range(processes)
    ]
    assert len({len(shard) for shard in shards}) == 1
    whole = list(ClassAwareBatchSampler(labels, 6, 2, seed=1))
    dealt = [batch for round_ in zip(*shards, strict=True) for batch in round_]
    assert dealt == whole[: len(dealt)] and len(whole) - len(dealt) < processes


def test_skipping_batches_gives_the_rest_of_the_epoch():
    labels = [i % 3 for i in range(40)]
    dataset, batches = training_batches(_Numbers(labels), 4, None, 2, 0, True)
    loader = DataLoader(dataset, batch_sampler=batches, collate_fn=list)
    dataset.set_epoch(2)
    whole = list(loader)
    assert list(skip_first_batches(loader, 3)) == whole[3:]


class _Numbers:
    """Items are (index, a random number from each generator)."""

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return index, torch.rand(()).item(), random.random(), np.random.rand()


def test_what_is_drawn_for_a_batch_does_not_depend_on_what_was_before():
    labels = [i % 3 for i in range(24)]

    def read(epoch, workers=0, seed=0, persistent=False):
        dataset, batches = training_batches(_Numbers(labels), 4, None, 2, seed, True)
        loader = DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=list,
            num_workers=workers,
            persistent_workers=persistent,
            multiprocessing_context="fork" if workers else None,
        )
        for before in range(epoch if persistent else 0):
            dataset.set_epoch(before)
            list(loader)
        dataset.set_epoch(epoch)
        return list(loader)

    state = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first = read(1)
    torch.rand(5), random.random()
    assert read(1) == first
    assert read(1, workers=2) == first
    assert read(1, workers=1, persistent=True) == first
    by_index = [dict((item[0], item[1:]) for batch in read(*key) for item in batch) for key in ((0,), (1,), (1, 0, 1))]
    assert by_index[0] != by_index[1] != by_index[2]
    assert len({item[1] for batch in first for item in batch}) == 24
    assert state[2] == np.random.get_state()[1].tolist()


def test_seeded_puts_the_generators_back_also_after_an_error():
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    with pytest.raises(RuntimeError), seeded(5):
        assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.Generator().manual_seed(5)))
        raise RuntimeError
    with seeded():
        torch.rand(7)
    assert torch.equal(torch.rand(2), expected)


def test_the_epoch_reaches_sampler_data_set_and_transform():
    class Transform:
        epoch = None

        def __call__(self, batch):
            return {"epoch": [self.epoch] * len(batch["action"])}

        def set_epoch(self, epoch):
            self.epoch = epoch

        def __deepcopy__(self, memo):
            return self

    data = Dataset.from_dict({"action": [0, 1] * 6}).with_transform(Transform())
    dataset, batches = training_batches(data, 4, "action", 2, 0, True)
    dataset.set_epoch(3)
    assert batches.epoch == 3
    assert dataset[0] == {"epoch": 3}
    assert dataset.__getitems__([1, 2]) == [{"epoch": 3}] * 2


def test_labels_are_read_without_the_images():
    features = Features({"before": Image(), "action": ClassLabel(names=["open", "close"]), "object": Value("string")})
    rows = {
        "before": [{"bytes": b"no picture", "path": None}] * 3,
        "action": [1, 0, 1],
        "object": list("abc"),
    }
    data = Dataset.from_dict(rows, features=features)

    def decode(batch):
        raise AssertionError("the transform was called")

    assert read_labels(data.with_transform(decode), "action") == [1, 0, 1]
    assert read_labels(data.with_transform(decode).select([2, 1]), "action") == [1, 0]
    assert read_labels(_Numbers([1, 2]), "action") is None
    with pytest.raises(ValueError, match="label_column='verb' is not a column.*before, action, object"):
        read_labels(data, "verb")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], 0, 1), "batch_size must be at least 1"),
        (([0, 1], 4, 5), "between 1 and batch_size = 4"),
        (([0, 1], 4, 0), "between 1 and batch_size = 4"),
        (([[0, 1], [1, 0]], 2, 2), "one action per sample"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClassAwareBatchSampler(*arguments)


def test_two_of_an_action_of_seed_0_in_epoch_0_without_the_rest_are_the_default():
    labels = [i % 3 for i in range(41)]
    assert list(ClassAwareBatchSampler(labels, 6)) == _epoch(ClassAwareBatchSampler(labels, 6, 2, 0, True), 0)


def test_seeded_dataset_has_the_length_of_the_data():
    assert len(SeededDataset(_Numbers([1, 2, 3]), 0)) == 3
