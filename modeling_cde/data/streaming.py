"""Train on pairs that are read on the way: every process its own share, every pair once an epoch, resumed at any batch.

`datasets` streams, too. But what its shuffle buffer holds is lost when a run stops, and processes with unequal shares
wait for each other for ever. Here the order of an epoch is a function of (seed, epoch) and of the numbers of rows in
the files, which their footers tell (`stream_order`). So every process knows all shares, they are equal, and any batch
is found again without reading what came before it.

- The row groups of all files are put in a random order, anew in each epoch. Of their rows each process takes an equal
  part that hangs together, and in a process each worker of its loader.
- A part is read in blocks of `buffer` pairs, and the pairs of a block are put in a random order. The next block is read
  while one is trained on. In memory are, for each worker, two blocks of encoded pairs and a row group.
- Left out in an epoch are the pairs that do not fill a batch of every process: others in each epoch.
- Batches are not class-aware: that needs the actions of all pairs beforehand.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from .examples import evenly_spaced
from .loading import check_class_names, check_columns, find_files
from .parquet_rows import ParquetRows
from .stream_order import Leg, Piece, StreamOrder, cut


class PairStream:
    """The pairs of one split, as they lie in their files; nothing is read but what `StreamedBatches` asks for.

    Args:
        rows: The files.
        features: Of their columns.
        transform: As for `transform_pairs`; None gives the columns.
        buffer: Pairs of a block, at least one; it is rounded up to whole batches.

    Attributes:
        features: See Args.

    Raises:
        ValueError: If buffer is below 1, or there is no pair.
    """

    def __init__(
        self,
        rows: ParquetRows,
        features: datasets.Features,
        transform: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
        buffer: int = 512,
    ) -> None:
        if buffer < 1:
            raise ValueError(f"stream_buffer={buffer} must be at least 1: so many pairs are put in a random order.")
        if not any(group.rows for group in rows.groups):
            raise ValueError("The files of the training part hold no pair; build the data set with more pairs.")
        self.rows, self.features, self.transform, self.buffer = rows, features, transform, buffer

    def __len__(self) -> int:
        return sum(group.rows for group in self.rows.groups)

    def __getitem__(self, column: str) -> list[Any]:
        """A column of all pairs, in the order of the files; for a small one, such as `pair_id`.

        Raises:
            TypeError: If it is asked for a pair by its number, as where a stream is given to be evaluated.
        """
        if not isinstance(column, str):
            raise TypeError("A stream has no pair by number: train on it, and load what is evaluated by load_pairs.")
        tables = [self.rows.read(group, [column]) for group in self.rows.groups]
        return list(pa.concat_tables(tables).column(column).to_pylist())

    def with_transform(self, transform: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> PairStream:
        """The same pairs with a transform."""
        return PairStream(self.rows, self.features, transform, self.buffer)

    def sample(self, number: int) -> datasets.Dataset:
        """About as many pairs, in memory, out of row groups that lie evenly in the files.

        Args:
            number: At most so many pairs; row groups are read as a whole.
        """
        groups = [group for group in self.rows.groups if group.rows]
        largest = max(group.rows for group in groups)
        chosen = [groups[i] for i in evenly_spaced(len(groups), math.ceil(number / largest))]
        table = pa.concat_tables([self.rows.read(group, list(self.features)) for group in chosen])
        table = table.take(evenly_spaced(len(table), number))
        return datasets.Dataset(table.cast(self.features.arrow_schema))

    @property
    def fingerprint(self) -> str:
        """Of the files' names and of rows and bytes of all row groups; where they lie does not count."""
        groups = [(Path(group.path).name, *group[1:]) for group in self.rows.groups]
        return hashlib.sha256(repr(groups).encode()).hexdigest()[:16]

    @property
    def columns(self) -> list[str]:
        """What has to be read: all columns, but for those that the transform has no use for."""
        extras = getattr(self.transform, "extras", None)
        if extras is None:
            return list(self.features)
        wanted = {"before", "after", "action", "pair_id", "box"}
        wanted |= {"object"} if "objects" in extras else set()
        wanted |= {"mask_before", "mask_after"} if "masks" in extras else set()
        return [name for name in self.features if name in wanted]

    def read(self, pieces: Sequence[Piece], closing: threading.Event | None = None) -> list[dict[str, Any]]:
        """The rows of some pieces as they are stored.

        Raises:
            ValueError: If an action is missing or out of range; see also `ParquetRows.read`.
        """
        rows: list[dict[str, Any]] = []
        known = range(len(self.features["action"].names))
        for number, first, behind in pieces:
            group = self.rows.groups[number]
            table = self.rows.read(group, self.columns, closing)
            rows += table.slice(first, behind - first).to_pylist()
            if wrong := [row for row in rows[first - behind :] if row["action"] not in known]:
                raise ValueError(
                    f"{group.path}: the action of pair {wrong[0]['pair_id']} is {wrong[0]['action']}; it has to be one "
                    f"of the {len(known)} classes, 0 to {len(known) - 1}."
                )
        return rows

    def transformed(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Some rows with the transform."""
        if self.transform is None:
            return list(rows)
        result = self.transform({name: [row[name] for row in rows] for name in rows[0]})
        return [dict(zip(result, values, strict=True)) for values in zip(*result.values(), strict=True)]


def stream_pairs(
    source: str | os.PathLike[str],
    config: str,
    split: str = "train",
    buffer: int = 512,
    *,
    revision: str | None = None,
    token: str | None = None,
) -> PairStream:
    """The pairs of one split of a folder or of a repository, as a stream.

    Args:
        source, config, revision, token: See `modeling_cde.data.loading.load_pairs`.
        split: Its name, without a slice.
        buffer: See `PairStream`.

    Raises:
        FileNotFoundError: If the source is no folder with data and no repository.
        ValueError: If the configuration or the split does not exist, is not of Parquet files or has a damaged one, or
            the columns are wrong, or the files disagree about the class names.
        StreamError: If a file cannot be reached.
    """
    data_files = find_files(source, config, revision=revision, token=token)
    if split not in data_files:
        raise ValueError(f"{source}, {config} has no split {split!r}; it has {', '.join(data_files)}.")
    paths = data_files[split]
    if other := [path for path in paths if not path.endswith(".parquet")]:
        raise ValueError(
            f"{source}: {other[0]} is no Parquet file, and only those can be streamed; leave out --streaming."
        )
    rows = ParquetRows(paths, token)
    check_class_names(str(source), zip(paths, rows.schemas, strict=True))
    features = datasets.Features.from_arrow_schema(rows.schemas[0])
    check_columns(features, f"{source}, {config}, {split}")
    images = {name: datasets.Image(decode=False) for name, kind in features.items() if isinstance(kind, datasets.Image)}
    return PairStream(rows, datasets.Features({**features, **images}), buffer=buffer)


class StreamedBatches(IterableDataset[Any]):
    """The batches of one process, an epoch at a time.

    Args:
        stream: The pairs.
        collate: Makes a batch of a list of items.
        batch_size: Pairs of a batch, in each process.
        seed: Of the order.
        process: Which one this is, from 0.
        processes: How many there are.
        workers: Of the loader of each process; 0 for none.

    Raises:
        ValueError: If the pairs do not fill one batch of every process.
    """

    def __init__(
        self,
        stream: PairStream,
        collate: Callable[[Sequence[Any]], Any],
        batch_size: int,
        seed: int = 0,
        process: int = 0,
        processes: int = 1,
        workers: int = 0,
    ) -> None:
        self.stream, self.collate, self.process = stream, collate, process
        self.order = StreamOrder(tuple(group.rows for group in stream.rows.groups), seed, stream.buffer)
        self.whole = Leg(0, batch_size, processes, max(1, workers))
        if len(self) == 0:
            raise ValueError(
                f"{len(stream)} training pairs are less than a batch of {batch_size} for each of {processes} "
                "processes: lower per_device_train_batch_size."
            )
        self._resumed_epoch, self._resumed_batches, self._legs = 0, 0, [self.whole]
        # Shared memory, so that worker processes that outlive an epoch see the next one begin.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return self.order.batches(self.whole.batch_size, self.whole.processes)

    def set_epoch(self, epoch: int) -> None:
        """Fix the order of the next pass, and what is random in the transform."""
        self._epoch.fill_(epoch)
        if callable(tell := getattr(self.stream.transform, "set_epoch", None)):
            tell(epoch)

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to keep beside the number of its step; JSON, the same in every process."""
        order = self.order
        return {
            "fingerprint": self.stream.fingerprint,
            "seed": order.seed,
            "buffer": order.buffer,
            "epoch": self._resumed_epoch,
            "legs": [leg._asdict() for leg in self._legs],
        }

    def go_on(self, epoch: int, batches: int, state: Mapping[str, Any] | None) -> None:
        """Continue within an epoch; to be called before its loader is iterated.

        The first `batches` batches of that epoch are given empty, without reading: Trainer drops them. With the
        numbers of processes and workers that the checkpoint was written with, the rest is what would have come without
        a stop. With others it is the same pairs, each once, in another order.

        Args:
            epoch: From 0.
            batches: How many of its batches were trained on, in each process.
            state: What `state` gave when the checkpoint was written; None if it was not.

        Raises:
            ValueError: If the data, the seed or the buffer are others, or a step's batches together have another
                number of pairs.
        """
        if state is None:
            raise ValueError("The checkpoint is of a training that was not streamed: resume it without --streaming.")
        own, legs = self.state(), [Leg(**leg) for leg in state["legs"]]
        if state["fingerprint"] != own["fingerprint"]:
            raise ValueError("The files of the training part have changed since the checkpoint was written.")
        pairs = (legs[-1].batch_size * legs[-1].processes, self.whole.batch_size * self.whole.processes)
        for name, before, now in (
            ("seed", state["seed"], own["seed"]),
            ("stream_buffer", state["buffer"], own["buffer"]),
            ("per_device_train_batch_size times the number of processes", *pairs),
        ):
            if before != now:
                raise ValueError(f"The checkpoint was streamed with {name} = {before}; resume with that, not {now}.")
        if state["epoch"] != epoch:
            legs = [legs[-1]._replace(first=0)]
        if batches == 0:
            legs = [self.whole]
        elif legs[-1]._replace(first=0) != self.whole:
            legs.append(self.whole._replace(first=batches))
        self._resumed_epoch, self._resumed_batches, self._legs = epoch, batches, legs

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        epoch = int(self._epoch)
        resumed = epoch == self._resumed_epoch
        done, legs = (self._resumed_batches, self._legs) if resumed else (0, [self.whole])
        for _ in range(worker, done, workers):
            yield {}
        # The loader takes batches from its workers in turn, counted from the beginning of the epoch.
        part = (worker - legs[-1].first) % workers
        skipped = len(range(part, done - legs[-1].first, workers))
        for rows in self._batches(epoch, legs, part, skipped):
            yield self.collate(self.stream.transformed(rows))

    def _batches(self, epoch: int, legs: Sequence[Leg], part: int, skipped: int) -> Iterator[list[dict[str, Any]]]:
        """The batches of one worker, but for some of the first, as rows."""
        order, leg = self.order, legs[-1]
        start, stop = order.share(leg, self.process, part)
        pieces = cut(order.pieces(epoch, legs), start, stop)
        block, begin, length = order.block(leg), skipped * leg.batch_size, stop - start
        closing = threading.Event()

        def read(at: int) -> list[dict[str, Any]]:
            rows = self.stream.read(cut(pieces, at, at + block), closing)
            return [rows[number] for number in order.shuffled(epoch, leg, start + at, len(rows))]

        places = range(begin // block * block, length, block)
        with ThreadPoolExecutor(1) as pool:
            try:
                coming = [pool.submit(read, at) for at in places[:1]]
                for number, at in enumerate(places):
                    rows = coming.pop().result()
                    coming = [pool.submit(read, following) for following in places[number + 1 : number + 2]]
                    for first in range(max(0, begin - at), len(rows), leg.batch_size):
                        yield rows[first : first + leg.batch_size]
            finally:
                closing.set()


def stream_loader(
    stream: PairStream,
    collate: Callable[[Sequence[Any]], Any],
    device: torch.device,
    args: Any,
    batch_size: int,
) -> tuple[Any, StreamedBatches]:
    """The loader of a training, and the batches that it loads.

    Args:
        stream: The pairs, with their transform.
        collate: Makes a batch of a list of items.
        device: Where the batches go.
        args: `CDETrainingArguments`; its `dataloader_*` flags count, and its seeds.
        batch_size: Pairs of a batch, in each process.

    Raises:
        ValueError: If the pairs do not fill one batch of every process, or dataloader_drop_last is false.
    """
    from accelerate.data_loader import prepare_data_loader

    if not args.dataloader_drop_last:
        raise ValueError("A streamed epoch ends with its last full batch: set dataloader_drop_last=True.")
    batches = StreamedBatches(
        stream,
        collate,
        batch_size,
        args.seed if args.data_seed is None else args.data_seed,
        args.process_index,
        args.world_size,
        args.dataloader_num_workers,
    )
    loader = DataLoader(
        batches,
        batch_size=None,  # they are batches already
        num_workers=args.dataloader_num_workers,
        pin_memory=args.dataloader_pin_memory,
        prefetch_factor=args.dataloader_prefetch_factor,
        multiprocessing_context=args.dataloader_multiprocessing_context,
        persistent_workers=args.dataloader_persistent_workers,
        # One of its own, so that to start an epoch takes nothing from the generator of the model's dropout.
        generator=torch.Generator().manual_seed(args.seed),
    )
    # One process, as far as Accelerate is to know: the batches are this one's already.
    prepared = prepare_data_loader(loader, device, 1, 0, put_on_device=True, dispatch_batches=False)
    return prepared, batches
