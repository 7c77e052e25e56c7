"""The order of a stream, as arithmetic: which rows come in which batch of which process, known without reading any.

An epoch's order is the row groups of all files, shuffled by (seed, epoch), one after another. Its positions are dealt
out in equal parts that hang together: to the processes, and in a process to the workers of its loader. Each part is
shuffled within blocks of `buffer` pairs. Batches of a process come from its workers in turn.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: Rows [first, behind) of a row group: (its number, first, behind).
Piece = tuple[int, int, int]


class Leg(NamedTuple):
    """The part of an epoch that is read in one way: all of it, unless a run is resumed with other numbers.

    Attributes:
        first: Batches of each process that were trained on in this epoch before this leg.
        batch_size: Pairs of a batch, in each process.
        processes: How many there are.
        workers: Parts of each process, one for each worker of its loader; at least 1.
    """

    first: int
    batch_size: int
    processes: int
    workers: int


@dataclass(frozen=True)
class StreamOrder:
    """See the module's docstring.

    Attributes:
        rows: Of each row group, in the order of the files.
        seed: Of both shuffles.
        buffer: Pairs of a block, at least 1; rounded up to whole batches.
    """

    rows: tuple[int, ...]
    seed: int
    buffer: int

    def batches(self, batch_size: int, processes: int) -> int:
        """Batches of each process in an epoch. What does not fill one more in every process is left out."""
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
        """The order of the block of `number` pairs that begins at a position of a leg: numbers from 0."""
        return random.Random(f"{self.seed}/{epoch}/{leg.first}/{start}").sample(range(number), number)

    def pieces(self, epoch: int, legs: Sequence[Leg]) -> list[Piece]:
        """The rows of the last of an epoch's legs, in order of their positions in it."""
        order = list(range(len(self.rows)))
        random.Random(f"{self.seed}/{epoch}").shuffle(order)
        pieces: list[Piece] = [(number, 0, self.rows[number]) for number in order]
        for leg, following in zip(legs, legs[1:], strict=False):
            pieces = [piece for span in self._left(epoch, leg, following.first) for piece in cut(pieces, *span)]
        return pieces

    def _left(self, epoch: int, leg: Leg, batches: int) -> Iterator[tuple[int, int]]:
        """The positions of a leg that have not come when so many batches of each process have."""
        block = self.block(leg)
        for process in range(leg.processes):
            for worker in range(leg.workers):
                start, stop = self.share(leg, process, worker)
                done = len(range(worker, batches - leg.first, leg.workers)) * leg.batch_size
                begun = start + done // block * block
                behind = min(begun + block, stop)
                for number in sorted(self.shuffled(epoch, leg, begun, behind - begun)[done % block :]):
                    yield begun + number, begun + number + 1
                yield behind, stop


def cut(pieces: Sequence[Piece], start: int, stop: int) -> list[Piece]:
    """What lies between two positions of pieces that follow each other."""
    found: list[Piece] = []
    at = 0
    for number, first, behind in pieces:
        low, high = max(start - at, 0), min(stop - at, behind - first)
        if low < high:
            found.append((number, first + low, first + high))
        at += behind - first
    return found
