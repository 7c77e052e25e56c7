"""The order of a stream, by arithmetic: which rows form which batch of which process, known without reading any.

An epoch's order is the concatenation of the row groups of all files, shuffled by (seed, epoch). Its positions are
divided into equal contiguous parts: among the processes, and in a process among the workers of its loader. Each part
is shuffled within blocks of `buffer` pairs. Batches of a process come from its workers in turn.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: Rows [first, end) of a row group: (its number, first, end).
Piece = tuple[int, int, int]


class Leg(NamedTuple):
    """A part of an epoch read with the same numbers: all of it, unless a run is resumed with other numbers.

    Attributes:
        first: Batches of each process that this epoch had before this leg.
        batch_size: Pairs of a batch, in each process.
        processes: Number of processes.
        workers: Parts of each process, one per worker of its loader; at least 1.
    """

    first: int
    batch_size: int
    processes: int
    workers: int


@dataclass(frozen=True)
class StreamOrder:
    """The order of all epochs; see the module's docstring.

    Attributes:
        rows: Of each row group, in the order of the files.
        seed: Of both shuffles.
        buffer: Pairs of a block, at least 1; rounded up to whole batches.
    """

    rows: tuple[int, ...]
    seed: int
    buffer: int

    def batches(self, batch_size: int, processes: int) -> int:
        """Batches of each process in an epoch. Pairs that do not fill one more in every process are left out."""
        return sum(self.rows) // (batch_size * processes)

    def block(self, leg: Leg) -> int:
        """Pairs of a block."""
        return math.ceil(self.buffer / leg.batch_size) * leg.batch_size

    def share(self, leg: Leg, process: int, worker: int) -> tuple[int, int]:
        """The positions [start, stop) in a leg that one worker of one process reads."""
        batches = self.batches(leg.batch_size, leg.processes) - leg.first
        before = sum(len(range(other, batches, leg.workers)) for other in range(worker))
        start = (process * batches + before) * leg.batch_size
        return start, start + len(range(worker, batches, leg.workers)) * leg.batch_size

    def shuffled(self, epoch: int, leg: Leg, start: int, number: int) -> list[int]:
        """The order of the block of `number` pairs that starts at a position of a leg: numbers from 0."""
        return random.Random(f"{self.seed}/{epoch}/{leg.first}/{start}").sample(range(number), number)

    def pieces(self, epoch: int, legs: Sequence[Leg]) -> list[Piece]:
        """The rows of the last leg of an epoch, in the order of their positions in it."""
        order = list(range(len(self.rows)))
        random.Random(f"{self.seed}/{epoch}").shuffle(order)
        pieces: list[Piece] = [(number, 0, self.rows[number]) for number in order]
        for leg, following in zip(legs, legs[1:], strict=False):
            pieces = [piece for span in self._left(epoch, leg, following.first) for piece in cut(pieces, *span)]
        return pieces

    def _left(self, epoch: int, leg: Leg, batches: int) -> Iterator[tuple[int, int]]:
        """The positions of a leg that are left after this number of batches of each process."""
        block = self.block(leg)
        for process in range(leg.processes):
            for worker in range(leg.workers):
                start, stop = self.share(leg, process, worker)
                done = len(range(worker, batches - leg.first, leg.workers)) * leg.batch_size
                begun = start + done // block * block
                end = min(begun + block, stop)
                for number in sorted(self.shuffled(epoch, leg, begun, end - begun)[done % block :]):
                    yield begun + number, begun + number + 1
                yield end, stop


def cut(pieces: Sequence[Piece], start: int, stop: int) -> list[Piece]:
    """The part of consecutive pieces between two positions."""
    found: list[Piece] = []
    at = 0
    for number, first, end in pieces:
        low, high = max(start - at, 0), min(stop - at, end - first)
        if low < high:
            found.append((number, first + low, first + high))
        at += end - first
    return found
