"""Where runs are made: one after another here, or as many at once as a Ray cluster has room for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from benchmarks.benchmark_plan import Run
from benchmarks.benchmark_run import TRAIN, Outcome, execute

ENGINES = ("local", "ray")


def run_locally(
    runs: Sequence[Run], train: Sequence[str] = TRAIN, tick: Callable[[str], None] = lambda name: None
) -> Iterator[Outcome]:
    """Make runs one after another.

    Args:
        runs: to make.
        train: the command that takes the arguments of train.py.
        tick: called about once a second with the name of what is running.

    Yields:
        The outcome of each, as it ends.
    """
    for run in runs:
        yield execute(run, train, lambda name=run.name: tick(name))  # type: ignore[misc]
