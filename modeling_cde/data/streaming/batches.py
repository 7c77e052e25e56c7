"""Batches of a stream: each process has its share, each pair comes once per epoch, and any batch can be resumed at.

The order of an epoch is a function of (seed, epoch) and of the numbers of rows in the files (`stream_order`).

- The row groups of all files are shuffled in each epoch. Each process takes an equal contiguous part of their rows, and
  so does each worker of its loader.
- A part is read in blocks of `buffer` pairs, and each block is shuffled. The next block is read while one is trained
  on. Each worker holds two blocks of encoded pairs and a row group in memory.
- Pairs that do not fill a batch of every process are left out: different ones in each epoch.
- Batches are not class-aware: that needs the actions of all pairs in advance.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from .order import Leg, StreamOrder, cut
from .pair_stream import PairStream


class StreamedBatches(IterableDataset[Any]):
    """The batches of one process, an epoch at a time.

    Args:
        collate: Makes a batch of a list of items.
        batch_size: Pairs of a batch, in each process.
        seed: Of the order.
        process: Index of this process.
        processes: Number of processes.
        workers: Of the loader of each process; 0 for none.

    Raises:
        ValueError: The pairs do not fill one batch of every process.
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
                f"{len(stream)} training pairs are fewer than a batch of {batch_size} for each of {processes} "
                "processes: lower per_device_train_batch_size."
            )
        self._resumed_epoch, self._resumed_batches, self._legs = 0, 0, [self.whole]
        # Shared memory, so that worker processes that outlive an epoch see the next one.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return self.order.batches(self.whole.batch_size, self.whole.processes)

    def set_epoch(self, epoch: int) -> None:
        """Fix the order of the next pass, and the randomness of the transform."""
        self._epoch.fill_(epoch)
        if callable(tell := getattr(self.stream.transform, "set_epoch", None)):
            tell(epoch)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep besides its step; JSON, the same in every process."""
        order = self.order
        return {
            "fingerprint": self.stream.fingerprint,
            "seed": order.seed,
            "buffer": order.buffer,
            "epoch": self._resumed_epoch,
            "legs": [leg._asdict() for leg in self._legs],
        }

    def go_on(self, epoch: int, batches: int, state: Mapping[str, Any] | None) -> None:
        """Continue within an epoch; call it before the loader is iterated.

        The first `batches` batches of that epoch come empty, without reading: Trainer drops them. With the numbers of
        processes and workers that the checkpoint was written with, the rest is the same as without a stop. With other
        numbers it is the same pairs, each once, in another order.

        Args:
            epoch: From 0.
            batches: Number of its batches that each process was trained on.
            state: Of `state` when the checkpoint was written; None if that training was not streamed.

        Raises:
            ValueError: The data, the seed, the buffer, or the number of pairs in a step changed.
        """
        if state is None:
            raise ValueError("The checkpoint belongs to a training without streaming: resume it without --streaming.")
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
        """The batches of one worker as rows, without the first `skipped` ones."""
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
    """The loader of a training, which puts batches on the device, and the `StreamedBatches` that it loads.

    Of `args`, the `CDETrainingArguments`, it uses the `dataloader_*` flags and the seeds.

    Raises:
        ValueError: The pairs do not fill one batch of every process, or dataloader_drop_last is false.
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
        # Its own, so that starting an epoch does not advance the generator of the model's dropout.
        generator=torch.Generator().manual_seed(args.seed),
    )
    # One process as far as Accelerate knows: the batches are this process's already.
    prepared = prepare_data_loader(loader, device, 1, 0, put_on_device=True, dispatch_batches=False)
    return prepared, batches
