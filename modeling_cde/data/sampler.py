"""Which samples form a batch, and the randomness of their transforms: fixed by seed and epoch, so a run can resume."""

import random
import zlib
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler


class ClassAwareBatchSampler(Sampler[list[int]]):
    """Batches in which every action present has at least `min_per_class` samples, so that it has positives.

    In every epoch:

    - Each batch has `batch_size` samples; only the last may have fewer, and only without `drop_last`.
    - Each action in a batch has at least m = `min_per_class` samples in it, also in a smaller last batch.
    - Actions are drawn in proportion to the samples that they have left, and the samples of an action in random order,
      so apart from the rule above a batch is as mixed as a random one.
    - No sample repeats while its action has unused samples. If an action has fewer than m left (or fewer than m in
      total), or if a batch has too little room for one more action, samples repeat: a handful, mostly towards the end
      of an epoch.
    - N samples make ⌊N / batch_size⌋ batches with `drop_last`, ⌈N / batch_size⌉ without. With `drop_last`, as many
      samples are left out as were repeated, plus N mod batch_size. Without it, the last batch takes what repeats have
      pushed on, up to batch_size: only repeats beyond that room, -N mod batch_size, leave others out. Which ones
      changes by epoch.

    The order depends only on (labels, batch_size, min_per_class, seed, epoch). Several processes make the same batches
    and each takes its share: the rule holds for the joint batch, which the contrastive term compares. (Without
    `drop_last` Accelerate fills the last batch with samples of the first, to which the rule does not apply.)

    Args:
        labels: The action of each sample: a tensor (N,), array or sequence.
        batch_size: Samples in a batch, of all processes together.
        min_per_class: m in [1, batch_size]; with 1 it is a plain shuffled sampler.
        seed: Fixes the order together with the epoch.
        drop_last: Leave out the samples that do not fill a batch.

    Raises:
        ValueError: batch_size < 1, min_per_class is outside [1, batch_size], or labels are not one per sample.
    """

    def __init__(
        self,
        labels: Sequence[Hashable] | torch.Tensor | np.ndarray[Any, Any],
        batch_size: int,
        min_per_class: int = 2,
        seed: int = 0,
        drop_last: bool = True,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"ClassAwareBatchSampler: batch_size must be at least 1, got {batch_size}.")
        if not 1 <= min_per_class <= batch_size:
            raise ValueError(
                f"ClassAwareBatchSampler: min_per_class must be between 1 and batch_size = {batch_size}, "
                f"got {min_per_class}."
            )
        self.labels = labels.tolist() if isinstance(labels, (torch.Tensor, np.ndarray)) else list(labels)
        if any(isinstance(label, (list, tuple)) for label in self.labels):
            raise ValueError(
                "ClassAwareBatchSampler: needs one action per sample, got a sequence of them; set "
                "class_aware_sampling=False for clips of several actions."
            )
        self.batch_size = batch_size
        self.min_per_class = min_per_class
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Fix the order of the next pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        n = len(self.labels)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        rng = random.Random(f"{self.seed}/{self.epoch}")
        members: dict[Hashable, list[int]] = {}
        for index, label in enumerate(self.labels):
            members.setdefault(label, []).append(index)
        classes = [_Shuffled(indices, rng) for indices in members.values()]
        for _ in range(len(self)):
            batch = self._batch(classes, rng)
            if batch:
                yield batch

    def _batch(self, classes: list["_Shuffled"], rng: random.Random) -> list[int]:
        batch: list[int] = []
        present: list[_Shuffled] = []
        while (space := self.batch_size - len(batch)) >= self.min_per_class:
            left = list(accumulate(samples.left for samples in classes))
            if not left or left[-1] == 0:
                return batch
            samples = rng.choices(classes, cum_weights=left)[0]
            # Samples too few for a later batch come along, if there is room.
            whole = samples.left < 2 * self.min_per_class and samples.left <= space
            batch += samples.take(max(samples.left, self.min_per_class) if whole else self.min_per_class)
            present.append(samples)
        while len(batch) < self.batch_size and any(samples.left for samples in classes):
            # Too little room for one more action: more samples of the present action that has most left.
            batch += max(present, key=lambda samples: samples.left).take(1)
        return batch


class _Shuffled:
    """The samples of one action in random order; they repeat only when none is left."""

    def __init__(self, indices: list[int], rng: random.Random) -> None:
        self.rng = rng
        self.order = rng.sample(indices, len(indices))
        self.left = len(indices)

    def take(self, number: int) -> list[int]:
        start = len(self.order) - self.left
        fresh = self.order[start : start + number]
        self.left -= len(fresh)
        missing = number - len(fresh)
        if not missing:
            return fresh
        # Preferably none that is in this draw already.
        again = self.order[:start] or self.order
        rounds = -(-missing // len(again))
        return fresh + [index for _ in range(rounds) for index in self.rng.sample(again, len(again))][:missing]


def read_labels(dataset: Any, column: str) -> list[Hashable] | None:
    """One action per sample of a data set, read without decoding any image; None without columns (as in torch).

    Where the data set has no column "action", the one called "labels", as Transformers names it, is taken for it.

    Raises:
        ValueError: The data set has columns, but not this one.
    """
    columns = getattr(dataset, "column_names", None)
    if columns is None:
        return None
    if column == "action" and "action" not in columns and "labels" in columns:
        column = "labels"
    if column not in columns:
        raise ValueError(
            f"label_column={column!r} is not a column of the training data ({', '.join(columns)}); name the "
            "column of the actions or set class_aware_sampling=False."
        )
    labels: list[Hashable] = dataset.with_format(None).select_columns([column])[:][column]
    return labels


class SeededDataset(Dataset[Any]):
    """A data set whose random transforms depend only on (seed, epoch, indices of the batch).

    The generators of Python, NumPy and torch are seeded for each batch that is read and restored after it. So it does
    not matter how far ahead batches are read, in how many worker processes, or where a run was stopped and resumed,
    and reading data does not disturb the model's dropout.

    Args:
        dataset: Any data set with a length.
        seed: Of the run.
        batch_sampler: Receives the epoch together with this data set: Accelerate and Trainer reach a data set through
            all their wrappers, but a batch sampler not through two of them (several processes, resumed within an
            epoch).
    """

    def __init__(self, dataset: Any, seed: int, batch_sampler: ClassAwareBatchSampler | None = None) -> None:
        self.dataset = dataset
        self.seed = seed
        self.batch_sampler = batch_sampler
        # Shared memory, so that worker processes that outlive an epoch see the next one.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """Fix the randomness of the next pass, also of the data set's transform if it has `set_epoch`."""
        self._epoch.fill_(epoch)
        listeners: list[Any] = [self.batch_sampler, self.dataset]
        if isinstance(how := getattr(self.dataset, "format", None), dict):  # of a datasets.Dataset
            listeners.append(how.get("format_kwargs", {}).get("transform"))
        for listener in listeners:
            if hasattr(listener, "set_epoch"):
                listener.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> Sequence[Any]:
        seed = zlib.crc32(repr((self.seed, int(self._epoch), [int(index) for index in indices])).encode())
        with seeded(seed):
            if hasattr(self.dataset, "__getitems__"):
                return self.dataset.__getitems__(indices)  # type: ignore[no-any-return]
            return [self.dataset[index] for index in indices]


def training_batches(
    dataset: Any, batch_size: int, label_column: str | None, min_per_class: int, seed: int, drop_last: bool
) -> tuple[SeededDataset, ClassAwareBatchSampler]:
    """The training data and its batches, both reproducible from (seed, epoch).

    Args:
        dataset: A data set of known length.
        batch_size: Samples in a batch, of all processes together.
        label_column: The column of the actions; None, or a data set without columns, gives a plain shuffle.
        min_per_class, seed, drop_last: See `ClassAwareBatchSampler`; for errors see there and `read_labels`.

    Returns:
        The `dataset` and `batch_sampler` of a DataLoader.
    """
    labels = None if label_column is None else read_labels(dataset, label_column)
    if labels is None:
        labels, min_per_class = [0] * len(dataset), 1
    batches = ClassAwareBatchSampler(labels, batch_size, min_per_class, seed, drop_last)
    return SeededDataset(dataset, seed, batches), batches


@contextmanager
def seeded(seed: int | None = None) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's CPU generators (None: do not), and restore their states after the block."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    if seed is not None:
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.random.set_rng_state(cpu)
