"""Build units on a Ray cluster, as plain tasks that each build some units with a worker process of their own."""

from __future__ import annotations

import os
import socket
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from data_scripts.builds.work_units import Outcome
from data_scripts.builds.worker import Worker
from modeling_cde.cli.extras import install

#: A task starts one process, and so one renderer or simulator, for all of its units: more units cost fewer starts.
UNITS_PER_TASK = 16
_NOBODY = "http://127.0.0.1:9"  # the port "discard"


class EngineUnavailableError(OSError):
    """Ray is not installed or its cluster cannot be reached; the message says what to do."""


def build_on_ray(
    payload: bytes,
    units: Sequence[str],
    workers: int,
    retries: int,
    unit_timeout: float | None,
    address: str | None = None,
) -> Generator[Outcome, None, None]:
    """As `local_pool.build_locally`, with one task of one CPU for each worker; too few CPUs only take longer.

    A task that is lost with its machine costs the unit that it was building one try; its other units start again in
    another task. Without an address, Ray starts here for as long as the build takes.
    """
    ray = _import_ray(address)
    ours = not ray.is_initialized()
    if ours:
        start_ray(ray, address, num_cpus=workers)
    # Not Ray's own retries: they would also repeat the units that a lost task had finished.
    options = {"num_cpus": 1, "max_retries": 0, "num_returns": "streaming", "_generator_backpressure_num_objects": 2}
    task = ray.remote(_build_some).options(**options)
    size = max(1, min(UNITS_PER_TASK, len(units) // (4 * workers)))
    todo = deque(deque(units[start : start + size]) for start in range(0, len(units), size))
    running: dict[Any, deque[str]] = {}  # a task's stream of outcomes -> units whose outcome is still to come
    tries: Counter[str] = Counter()
    try:
        payload_there = ray.put(payload)
        while todo or running:
            while todo and len(running) < workers:
                chunk = todo.popleft()
                running[task.remote(payload_there, list(chunk), retries, unit_timeout)] = chunk
            stream = ray.wait(list(running), fetch_local=False)[0][0]
            chunk = running[stream]
            try:
                outcome = ray.get(next(stream))
                chunk.popleft()
                yield outcome
            except StopIteration:
                del running[stream]
            except ray.exceptions.RayError as error:
                del running[stream]
                if not chunk:
                    continue  # lost after its last unit
                unit = chunk[0]
                tries[unit] += 1
                # What goes wrong in a unit is in its outcome. An exception of the task means that no task can work.
                stop = isinstance(error, ray.exceptions.RayTaskError)
                if stop or tries[unit] > retries:
                    chunk.popleft()
                    reason = f"its Ray task was lost: {' '.join(str(error).split())[-200:]}"
                    yield Outcome(unit, error=reason, attempts=tries[unit], stop=stop)
                if chunk:
                    todo.appendleft(chunk)
    finally:
        for stream in running:
            ray.cancel(stream, force=True)  # kills the task's process; the guard of its worker does the rest
        if ours:
            ray.shutdown()


def _build_some(
    payload: bytes, units: Sequence[str], retries: int, unit_timeout: float | None
) -> Generator[Outcome, None, None]:
    """A task."""
    worker = Worker(payload, retries, unit_timeout)
    try:
        for unit in units:
            yield worker.build(unit)
        worker.close()
    finally:
        worker.stop()


def check_ray(address: str | None = None) -> None:
    """Raise an EngineUnavailableError if Ray is not installed or nothing answers at the address."""
    _import_ray(address)
    if address is not None and ":" in address:
        # Ray would wait minutes for a machine that does not answer, and then end the process instead of raising.
        host, _, port = address.removeprefix("ray://").rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, ValueError, OverflowError) as error:
            raise _unreachable(address, error) from error


def start_ray(ray: Any, address: str | None, num_cpus: int | None = None, **options: Any) -> None:
    """Join a cluster, or start one here that listens to this machine only and ends with this process.

    `ray` is the module, and `options` are more options of `ray.init`. A cluster started here has `num_cpus` CPUs; None
    takes all. A cluster that cannot be reached raises an EngineUnavailableError.
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

    At every start it asks 169.254.169.254 and metadata.google.internal, even with usage statistics turned off. A proxy
    that nobody serves, set for that process alone, stops the question on this machine.
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
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    if address is None:  # despite its name on Linux too: all that Ray starts listens to 127.0.0.1 alone
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise EngineUnavailableError(
            f"The engine ray needs Ray, which is not installed: choose the engine local, or {install('ray')}"
        ) from error
    return ray
