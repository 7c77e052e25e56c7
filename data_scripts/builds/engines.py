"""Where supervisors and their workers run: in threads of this process, or as actors of a Ray cluster."""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from data_scripts.builds.packing import pack_job
from data_scripts.builds.work_units import ENGINES, Source, StopBuildError
from data_scripts.builds.workers import END_SECONDS, Outcome, Supervisor

_NOBODY = "http://127.0.0.1:9"  # the port "discard"


class EngineUnavailableError(OSError):
    """Ray is not installed or its cluster cannot be reached; the message says what to do."""


@dataclass(frozen=True)
class Job:
    """What every supervisor is given.

    Attributes:
        payload: Source and Arrow schema, by `packing.pack_job`.
        workers: Number of supervisors.
        retries: How often a unit is tried again.
        unit_timeout: Seconds after which a unit counts as hung, or None.
    """

    payload: bytes
    workers: int
    retries: int
    unit_timeout: float | None

    @classmethod
    def of(cls, source: Source, workers: int, retries: int, unit_timeout: float | None) -> Job:
        """Pack the source, with the Arrow schema of its features.

        Raises:
            PackingError: It holds something that cannot travel.
        """
        return cls(pack_job(source, source.features.arrow_schema), workers, retries, unit_timeout)


def check_engine(engine: str, ray_address: str | None = None) -> None:
    """Say what is wrong with an engine's name, or with what is installed or running, before anything is made.

    Raises:
        ValueError: There is no such engine.
        EngineUnavailableError: Ray is not installed, or nothing answers at the address.
    """
    if engine not in ENGINES:
        raise ValueError(f"The engine is {engine!r}; choose {' or '.join(ENGINES)}.")
    if engine != "ray":
        return
    _import_ray(ray_address)
    if ray_address is not None and ":" in ray_address:
        # Ray itself would wait minutes for a machine that does not answer, and then not raise but end the process.
        host, _, port = ray_address.removeprefix("ray://").rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, ValueError, OverflowError) as error:
            raise _unreachable(ray_address, error) from error


def outcomes(engine: str, job: Job, units: Sequence[str], ray_address: str | None = None) -> Iterator[Outcome]:
    """Build units; their outcomes as they come.

    Whatever ends the iteration (its end, an error, Ctrl-C) also ends the workers.

    Raises:
        StopBuildError: A source asked for it, or no worker can be started.
    """
    results = _local(job, units) if engine == "local" else _ray(job, units, ray_address)
    try:
        for outcome in results:
            if outcome.stop:
                raise StopBuildError(outcome.error)
            yield outcome
    finally:
        results.close()


def _local(job: Job, units: Sequence[str]) -> Generator[Outcome, None, None]:
    """One thread for each supervisor; it waits for the worker, and does nothing else."""
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    for unit in units:
        todo.put(unit)
    done: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    room = threading.Semaphore(2 * job.workers)  # shards wait in memory when the disk is slower than the workers
    supervisors = [Supervisor(job.payload, job.retries, job.unit_timeout) for _ in range(job.workers)]
    stopping = threading.Event()

    def run(supervisor: Supervisor) -> None:
        try:
            while not stopping.is_set():
                room.acquire()
                done.put(supervisor.build(todo.get_nowait()))
        except queue.Empty:
            supervisor.close()
        except BaseException as error:
            done.put(Outcome("", error=f"A supervisor failed: {error!r}", stop=True))

    threads = [threading.Thread(target=run, args=(supervisor,), daemon=True) for supervisor in supervisors]
    try:
        for thread in threads:
            thread.start()
        for _ in units:
            outcome = done.get()
            room.release()
            yield outcome
        for _ in threads:
            room.release()
        for thread in threads:
            thread.join()
    finally:
        stopping.set()
        for supervisor in supervisors:
            room.release()
            supervisor.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def _ray(job: Job, units: Sequence[str], address: str | None) -> Generator[Outcome, None, None]:
    """One actor for each supervisor, with one CPU; units go to actors that run, so too few CPUs only take longer.

    An actor that is lost with its machine costs its unit one try, and is replaced.
    """
    ray = _import_ray(address)
    ours = not ray.is_initialized()
    if ours:
        start_ray(ray, address, num_cpus=job.workers)
    actors: list[Any] = []
    idle: list[Any] = []
    running: dict[Any, tuple[Any, str | None]] = {}  # what is waited for -> its actor and unit (None: its start)
    todo, tries, left = deque(units), Counter[str](), len(units)

    def add() -> None:
        actor = ray.remote(Supervisor).options(num_cpus=1).remote(payload, job.retries, job.unit_timeout)
        actors.append(actor)
        running[actor.__ray_ready__.remote()] = (actor, None)

    try:
        payload = ray.put(job.payload)
        for _ in range(job.workers):
            add()
        while left:
            while todo and idle:
                actor, unit = idle.pop(), todo.popleft()
                running[actor.build.remote(unit)] = (actor, unit)
            result = ray.wait(list(running))[0][0]
            actor, started = running.pop(result)
            try:
                outcome = ray.get(result)
            except ray.exceptions.RayError as error:
                ray.kill(actor)
                actors.remove(actor)
                name = started or ""  # an actor that cannot even start says so for no unit
                tries[name] += 1
                if tries[name] > job.retries:
                    left -= 1
                    lost = f"{'its' if started else 'A'} Ray actor was lost: {' '.join(str(error).split())[:200]}"
                    yield Outcome(name, error=lost, attempts=tries[name], stop=started is None)
                elif started is not None:
                    todo.appendleft(started)
                add()
                continue
            idle.append(actor)
            if started is not None:
                left -= 1
                yield outcome
        ray.wait([actor.close.remote() for actor in idle], num_returns=len(idle), timeout=2 * END_SECONDS)
    finally:
        for actor in actors:
            ray.kill(actor)  # its worker sees the end of the pipe, and ends with all its children
        if ours:
            ray.shutdown()


def start_ray(ray: Any, address: str | None, num_cpus: int | None = None, **options: Any) -> None:
    """Join a cluster, or start one here that listens to this machine only and ends with this process.

    Args:
        ray: The module.
        address: Of the cluster; None starts one.
        num_cpus: Of a cluster that is started; None takes all.
        **options: Others of `ray.init`.

    Raises:
        EngineUnavailableError: The cluster cannot be reached.
    """
    options = {"logging_level": "warning", **options}
    try:
        if address is None:
            with _no_question_to_the_cloud():
                ray.init("local", num_cpus=num_cpus, include_dashboard=False, **options)
        else:
            ray.init(address, **options)
    except Exception as error:  # Ray raises many kinds, depending on what the address names
        raise _unreachable(address, error) from error


@contextmanager
def _no_question_to_the_cloud() -> Iterator[None]:
    """Keep Ray's dashboard process, which runs without a dashboard too, from asking which cloud it is in.

    It asks 169.254.169.254 and metadata.google.internal whenever it starts, also with usage statistics turned off. A
    proxy that nobody serves, in that process alone, ends the question on this machine.
    """
    from ray._private import services

    start = services.start_ray_process

    def start_quietly(command: Any, process_type: str, *arguments: Any, **options: Any) -> Any:
        if process_type == "dashboard":
            options["env_updates"] = {**(options.get("env_updates") or {}), "http_proxy": _NOBODY, "no_proxy": ""}
        return start(command, process_type, *arguments, **options)

    services.start_ray_process = start_quietly
    try:
        yield
    finally:
        services.start_ray_process = start


def _unreachable(address: str | None, error: Exception) -> EngineUnavailableError:
    where = "start here" if address is None else f"be reached at {address}"
    reason = " ".join(str(error).split())[:200]
    remedy = "choose the engine local"
    if address is not None:
        remedy = f"check the address, set RAY_AUTH_MODE=token if the cluster asks for a token, or {remedy}"
    return EngineUnavailableError(f"Ray cannot {where} ({reason}): {remedy}.")


def _import_ray(address: str | None) -> Any:
    # Nothing is sent home, and no copy of the working directory to the cluster, unless the user asks Ray for it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:  # by that name, on Linux too: all that Ray starts listens to 127.0.0.1 alone
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise EngineUnavailableError(
            "The engine ray needs Ray, which is not installed: install it with `pip install ray`, or choose the "
            "engine local."
        ) from error
    return ray
