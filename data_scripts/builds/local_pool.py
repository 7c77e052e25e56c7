"""Build units on this machine: one worker process for each thread of a pool."""

from __future__ import annotations

import queue
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice

from data_scripts.builds.work_units import Outcome
from data_scripts.builds.worker import Worker


def build_locally(
    payload: bytes, units: Sequence[str], workers: int, retries: int, unit_timeout: float | None
) -> Generator[Outcome, None, None]:
    """Build units in worker processes; yields their outcomes as they come.

    Whatever ends the iteration (its end, an error, Ctrl-C) also ends the workers. `payload` is from
    `worker.pack_source`; the other arguments are those of `run_units`.
    """
    all_workers = [Worker(payload, retries, unit_timeout) for _ in range(workers)]
    idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for worker in all_workers:
        idle.put(worker)

    def build(unit: str) -> Outcome:
        worker = idle.get()
        try:
            return worker.build(unit)
        finally:
            idle.put(worker)

    todo = iter(units)
    with ThreadPoolExecutor(workers) as threads:
        try:
            # Two units a worker: a slow disk neither keeps workers waiting nor lets shards pile up in memory.
            running = {threads.submit(build, unit) for unit in islice(todo, 2 * workers)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                    running |= {threads.submit(build, unit) for unit in islice(todo, 1)}
            list(threads.map(Worker.close, all_workers))
        finally:
            for worker in all_workers:
                worker.stop()
