"""Where runs are made: on this machine, as many at once as it has cores for, or on a Ray cluster."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from benchmarks.paper.plan import Run
from benchmarks.paper.recipe import Rooms
from benchmarks.paper.run import END_SECONDS, ROOT, TRAIN, Outcome, execute

ENGINES = ("local", "ray")
Tick = Callable[[list[str]], None]


class LocalEngine:
    """Makes runs on this machine: as many at once as it has cores for, one after another where GPUs are asked for.

    Args:
        resources: of one run, such as {"CPU": 1}. With a GPU, a run is `accelerate launch` as the user has configured
            it. Without one, it is forked from a process that has imported everything, with cores of its own.
    """

    def __init__(self, resources: Mapping[str, float]) -> None:
        cores = (
            sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
        )
        own = min(max(1, int(resources.get("CPU", 1))), len(cores))
        self.slots = 1 if resources.get("GPU") else len(cores) // own
        shares = [cores[i * own : (i + 1) * own] for i in range(self.slots)]
        self._shares = [[] for _ in shares] if resources.get("GPU") else shares

    def outcomes(self, runs: Sequence[Run], tick: Tick, train: Sequence[str] = TRAIN) -> Iterator[Outcome]:
        """Make runs, in their order; the outcome of each, as it ends.

        `tick` is called about once a second with the names of what is running. `train` is the command that takes the
        arguments of train.py; one that is given is run as it is.
        """
        stopped, free, running = threading.Event(), list(self._shares), set[str]()

        def make(run: Run) -> Outcome:
            cores = free.pop()
            running.add(run.name)
            try:
                return execute(run, train, going_on, cores if train == TRAIN else ())
            finally:
                running.discard(run.name)
                free.append(cores)

        def going_on() -> None:
            if stopped.is_set():
                raise KeyboardInterrupt

        with ThreadPoolExecutor(self.slots) as pool:
            left = {pool.submit(make, run) for run in runs}
            try:
                while left:
                    ended, left = wait(left, timeout=1.0, return_when=FIRST_COMPLETED)
                    tick(sorted(running))
                    yield from (future.result() for future in ended)
            finally:
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Nothing is left to end."""


class RayEngine:
    """Makes runs as tasks of a Ray cluster, one run a task; a run whose machine is lost goes on on another one.

    The checkout, the data and the folders of runs and results must lie on storage that all machines share, under the
    same paths.

    Args:
        resources: of one run, such as {"CPU": 8, "GPU": 1}.
        address: of a running cluster, such as "auto"; None starts Ray on this machine.

    Raises:
        OSError: Ray is not installed, or the cluster cannot be reached.
        ValueError: no machine of the cluster has the resources of one run.
    """

    def __init__(self, resources: Mapping[str, float], address: str | None = None) -> None:
        from data_scripts.builds.ray_tasks import check_ray, start_ray

        check_ray(address)
        import ray

        self._ray: Any = ray
        self.resources = dict(resources)
        self._ours = not ray.is_initialized()
        if self._ours:
            start_ray(ray, address, log_to_driver=False)
        self.slots = sum(_fit(node["Resources"], self.resources) for node in ray.nodes() if node["Alive"])
        if not self.slots and address is None:
            self.close()
            wanted = ", ".join(f"{name}: {value:g}" for name, value in self.resources.items())
            raise ValueError(f"This machine has not the resources of one run ({wanted}); lower them in the recipe.")

    def outcomes(self, runs: Sequence[Run], tick: Tick, train: Sequence[str] = TRAIN) -> Iterator[Outcome]:
        """See `LocalEngine.outcomes`; the outcomes come in the order in which the runs end."""
        ray = self._ray
        others = {name: value for name, value in self.resources.items() if name not in ("CPU", "GPU")}
        task = ray.remote(_make_task()).options(
            num_cpus=self.resources.get("CPU", 1),
            num_gpus=self.resources.get("GPU", 0),
            resources=others,
            max_retries=2,
        )
        running = {task.remote(str(ROOT), os.getcwd(), run_text(run, train)): run for run in runs}
        try:
            while running:
                ended, _ = ray.wait(list(running), timeout=1.0)
                # Tasks start in the order in which they were given, as far as there is room.
                tick([run.name for run in list(running.values())[: max(1, self.slots)]])
                for reference in ended:
                    name = running.pop(reference).name
                    try:
                        yield Outcome(name, *ray.get(reference))
                    except ray.exceptions.RayError as error:
                        yield Outcome(name, error=f"its Ray task was lost: {' '.join(str(error).split())[-300:]}")
        finally:
            for reference in running:
                ray.cancel(reference)  # as Ctrl-C: the task ends its training, and what is there can be resumed
            if running:
                ray.wait(list(running), num_returns=len(running), timeout=2 * END_SECONDS)

    def close(self) -> None:
        """Leave the cluster, and end it if it was started here."""
        if self._ours:
            self._ray.shutdown()


def open_engine(engine: str, resources: Mapping[str, float], address: str | None = None) -> LocalEngine | RayEngine:
    """The engine of a name.

    Raises:
        ValueError: an address is given to the engine local; see `RayEngine`.
        OSError: see `RayEngine`.
    """
    if engine == "ray":
        return RayEngine(resources, address)
    if address is not None:
        raise ValueError("--ray_address needs --engine ray: give both or neither.")
    return LocalEngine(resources)


def _make_task() -> Callable[[str, str, str], tuple[float, str]]:
    def task(root: str, here: str, text: str) -> tuple[float, str]:
        # A function of no module, so that it arrives also where the checkout does not; there it can say so.
        if not Path(root, "benchmarks").is_dir():
            return 0.0, f"{root} is not on this machine: put checkout, data, runs and results on shared storage."
        os.chdir(here)
        sys.path.insert(0, root)
        from benchmarks.paper.run import execute
        from benchmarks.paper.run_engines import read_run

        outcome = execute(*read_run(text))
        return outcome.minutes, outcome.error

    return task


def run_text(run: Run, train: Sequence[str]) -> str:
    """A run and the command that trains it, as JSON for another process."""
    return json.dumps({"run": dataclasses.asdict(run), "train": list(train)})


def read_run(text: str) -> tuple[Run, tuple[str, ...]]:
    """The run and the command of `run_text`."""
    found = json.loads(text)
    rooms = found["run"].pop("rooms")
    return Run(**found["run"], rooms=None if rooms is None else Rooms(**rooms)), tuple(found["train"])


def _fit(has: Mapping[str, float], needs: Mapping[str, float]) -> int:
    """How many runs a machine has room for."""
    rooms = [has.get(name, 0.0) // amount for name, amount in needs.items() if amount > 0]
    return int(min(rooms, default=1))
