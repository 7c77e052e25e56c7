"""Build a data set from independent work units: resumable, parallel, and the same bytes however it was run.

A *source* names its units (a house, a range of scenes, a video) and builds one at a time (`work_units`). `run_units`
has worker processes build them (`worker`), on this machine (`local_pool`) or by Ray (`ray_tasks`), and writes what they
send back (`ledger`):

    folder/settings.json      what the user chose; a build with other settings in the same folder is refused
    folder/<unit>.parquet     the unit's pairs; renamed into place when it is complete
    folder/<unit>.json        the ledger's entry, written after the shard: done or failed, rows, rejected, problems,
                              and what the unit was made from: files with size and time, hashes of rows of tables

A unit is finished when its entry says so, its shard has the size that the entry names, and what it was made from is
unchanged. Finished units are never built again; no shard holds anything that another run would not repeat, and no entry
except the times of the files that were read.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from data_scripts.builds.ledger import Ledger
from data_scripts.builds.local_pool import build_locally
from data_scripts.builds.ray_tasks import build_on_ray, check_ray
from data_scripts.builds.work_units import BuildReport, Source, StopBuildError, checked_names
from data_scripts.builds.worker import pack_source

ENGINES = ("local", "ray")
LONGEST_TIMEOUT = 10**6  # seconds for a unit; no system waits for an infinite time


def run_units(
    source: Source,
    folder: str | Path,
    *,
    workers: int = 2,
    engine: str = "local",
    ray_address: str | None = None,
    retries: int = 2,
    unit_timeout: float | None = None,
    progress: bool = True,
) -> BuildReport:
    """Build every unfinished unit of a source, and those whose inputs have changed; report on all units.

    A unit that raises, or whose process dies or hangs, is tried again in a fresh process and finally recorded as
    failed; the others go on. Only this process writes, so worker machines need no shared disk for the output.

    Args:
        source: What to build.
        folder: Of the shards, `<output>/shards/<view>`.
        workers: Processes that build at the same time.
        engine: `"local"`, or `"ray"` for one machine or many.
        ray_address: Of a running Ray cluster; None starts Ray here for as long as the build takes.
        retries: How often to try a unit again.
        unit_timeout: Seconds after which a unit counts as hung; None waits forever.
        progress: Show a progress bar.

    Raises:
        ValueError: An argument is out of range, the folder belongs to other settings, or the source cannot be pickled.
        BuildingElsewhereError: Another process builds in this folder.
        StopBuildError: The source asked to stop, or no worker can start.
        EngineUnavailableError: Ray is asked for and is not installed, or its cluster cannot be reached.
    """
    check_numbers(workers, retries, unit_timeout)
    ledger = Ledger(Path(folder), checked_names(source.units()), source.inputs)
    settings = source.settings()
    ledger.compare(settings)
    if not ledger.unfinished() and not ledger.unlisted():
        return ledger.report()  # without the lock: several processes of one training may look at the same time
    if engine not in ENGINES:
        raise ValueError(f"The engine is {engine!r}; choose {' or '.join(ENGINES)}.")
    if engine == "ray":
        check_ray(ray_address)
    with ledger.lock():
        ledger.claim(settings)
        ledger.remove_leftovers()
        todo = ledger.unfinished()
        if not todo:
            return ledger.report()
        work = (pack_source(source, source.features.arrow_schema), todo, min(workers, len(todo)), retries, unit_timeout)
        outcomes = build_locally(*work) if engine == "local" else build_on_ray(*work, ray_address)
        from datasets.utils import tqdm  # of the class that --disable_tqdm of train.py turns off

        bar = tqdm(total=len(ledger.units), initial=len(ledger.units) - len(todo), unit="unit", disable=not progress)
        with bar, closing(outcomes):
            for outcome in outcomes:
                if outcome.stop:
                    raise StopBuildError(outcome.error)
                ledger.record(outcome)
                bar.set_postfix({"rows": ledger.rows, "failed": len(ledger.failed)}, refresh=False)
                bar.update()
        return ledger.report()


def check_numbers(workers: int, retries: int, unit_timeout: float | None) -> None:
    """Raise a ValueError that names the first number for `run_units` that is out of range."""
    for name, value, least in (("workers", workers, 1), ("retries", retries, 0)):
        if value < least:
            raise ValueError(f"The number of {name} is {value}; give at least {least}.")
    if unit_timeout is not None and not 0 < unit_timeout <= LONGEST_TIMEOUT:
        raise ValueError(
            f"unit_timeout is {unit_timeout}; give seconds above 0 and at most {LONGEST_TIMEOUT}, or nothing to wait "
            "forever."
        )
