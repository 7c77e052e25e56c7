"""Prepares the pictures of a batch side by side, in threads."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch


class InThreads:
    """The batches of a loader without processes, with items that threads prepare in parallel.

    The data set has a known length; `ahead` batches are prepared while one is in use.
    """

    def __init__(self, loader: Any, ahead: int) -> None:
        self.loader, self.ahead = loader, ahead

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        coming: deque[list[Future[Any]]] = deque()
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            for indices in self.loader.batch_sampler:
                coming.append([threads.submit(self.loader.dataset.__getitem__, index) for index in indices])
                if len(coming) > self.ahead:
                    yield self._collated(coming.popleft())
            while coming:
                yield self._collated(coming.popleft())

    def _collated(self, items: list[Future[Any]]) -> Any:
        return self.loader.collate_fn([item.result() for item in items])
