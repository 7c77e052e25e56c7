"""Build a data set from independent work units: resumable, parallel, and equal byte for byte however it was run.

A *source* names its units (a house, a range of scenes, a video) and builds one at a time. `run_units` has worker
processes build them (`workers`, run here or by Ray: `engines`) and writes what they send back (`ledger`):

    folder/settings.json      what all bytes depend on; another build in the same folder is refused
    folder/<unit>.parquet     the unit's pairs; renamed into place when it is complete
    folder/<unit>.json        the ledger's entry, written after the shard: done or failed, rows, rejected, problems

A unit is finished when its entry says so and its shard has the size that the entry gives. Nothing finished is ever
built again, and no entry or shard holds a time, a worker or an attempt that another run would not repeat.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from datasets import Features

ENGINES = ("local", "ray")
PROBLEMS_SHOWN = 20  # of a report's text
LONGEST_TIMEOUT = 10**6  # seconds, of a unit; a system waits no infinite time
_UNIT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")


class StopBuildError(ValueError):
    """Ends the whole build with its sentence; a source raises it where the user asked to stop at the first fault."""


@dataclass
class UnitRows:
    """What a source gives for one unit.

    Attributes:
        rows: Complete rows of the source's `features`: pictures as `{"bytes": ..., "path": None}` or None, classes
            as ids. None at all is allowed.
        rejected: How many candidates were left out, by reason.
        problems: One sentence for each fault of the data, naming scene and row.
    """

    rows: list[dict[str, Any]]
    rejected: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Source(Protocol):
    """Where pairs come from.

    Its class has to be importable by name, and its attributes of the kinds that `packing.pack` takes: every worker
    process gets its own copy. So archive handles, renderers and simulators are opened in `build`, not in `__init__`.
    """

    @property
    def features(self) -> Features:
        """`pair_features(actions, objects)`, the same for all units; asked for once, in the calling process."""

    def settings(self) -> dict[str, Any]:
        """JSON of everything that the bytes depend on; stored, and compared when the folder is used again."""

    def units(self) -> list[str]:
        """The units' names, sorted; they become file names (letters, digits, `_ . + -`)."""

    def build(self, unit: str) -> UnitRows:
        """Build one unit: a pure function of (settings, unit), so that equal calls give equal rows.

        Raises:
            StopBuildError: To end the whole build.
            Exception: Anything else fails this unit; it is tried again in a fresh process.
        """

    def close(self) -> None:
        """Let go of what `build` opened; called once, in the process that built, when there is no more to do."""


@dataclass
class BuildReport:
    """What stands in the folder after a build, this run's units and those of earlier runs.

    Attributes:
        units: Number of units of the source.
        done: Number of finished units.
        rows: Pairs in their shards.
        failed: Sentence that says why, by unit.
        rejected: Candidates that sources left out, by reason.
        problems: What sources said of faulty data, in the order of the units.
        built: How many of `done` this run built.
    """

    units: int = 0
    done: int = 0
    rows: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    built: int = 0

    def text(self, problems: int = PROBLEMS_SHOWN) -> str:
        """The report in lines: sizes, rejected by reason, the first `problems` problems, every failed unit."""
        lines = [
            f"{self.done} of {self.units} units are done, with {self.rows} pairs; {self.built} were built just now."
        ]
        if self.rejected:
            counts = ", ".join(f"{reason} {count}" for reason, count in sorted(self.rejected.items()))
            lines.append(f"Rejected, by reason: {counts}.")
        if self.problems:
            more = f", the first {problems}" if len(self.problems) > problems else ""
            lines.append(f"Problems of the data ({len(self.problems)}{more}):")
            lines += [f"  {problem}" for problem in self.problems[:problems]]
        if self.failed:
            lines.append(f"Failed units ({len(self.failed)}); the next run tries them again:")
            lines += [f"  {unit}: {sentence}" for unit, sentence in sorted(self.failed.items())]
        return "\n".join(lines)


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
    """Build every unit of a source that is not finished, and report on all of them.

    A unit that raises, or whose process dies or hangs, is tried again in a fresh process and at last recorded as
    failed; the others go on. Only this process writes, so that worker machines need no common disk for the output.

    Args:
        source: What to build.
        folder: Of the shards, `<output>/shards/<view>`.
        workers: Processes that build at the same time.
        engine: `"local"`, or `"ray"` for one machine or many.
        ray_address: Of a running Ray cluster; None starts Ray here for as long as the build takes.
        retries: How often a unit is tried again.
        unit_timeout: Seconds after which a unit counts as hung; None waits for ever.
        progress: Show a progress bar.

    Raises:
        ValueError: An argument is out of range, or the folder belongs to other settings.
        BuildingElsewhereError: Another process builds in this folder.
        StopBuildError: The source asked to stop, or no worker can be started.
        EngineUnavailableError: Ray is asked for and is not installed, or its cluster cannot be reached.
    """
    # Not above: a worker process imports this module too, and needs none of these.
    from tqdm import tqdm

    from data_scripts.builds.engines import Job, check_engine, outcomes
    from data_scripts.builds.ledger import Ledger

    check_numbers(workers, retries, unit_timeout)
    ledger = Ledger(Path(folder), checked_names(source.units()))
    settings = source.settings()
    ledger.compare(settings)
    if not ledger.unfinished():
        return ledger.report()  # without the lock: several processes of one training may look at the same time
    check_engine(engine, ray_address)
    with ledger.lock():
        ledger.claim(settings)
        ledger.remove_leftovers()
        todo = ledger.unfinished()
        job = Job.of(source, min(workers, len(todo)), retries, unit_timeout)
        bar = tqdm(total=len(ledger.units), initial=len(ledger.units) - len(todo), unit="unit", disable=not progress)
        with bar:
            for outcome in outcomes(engine, job, todo, ray_address):
                ledger.record(outcome)
                bar.set_postfix({"pairs": ledger.rows, "failed": len(ledger.failed)}, refresh=False)
                bar.update()
        return ledger.report()


def check_numbers(workers: int, retries: int, unit_timeout: float | None) -> None:
    """Refuse numbers of `run_units` that are out of range.

    Raises:
        ValueError: Names the number.
    """
    for name, value, least in (("workers", workers, 1), ("retries", retries, 0)):
        if value < least:
            raise ValueError(f"The number of {name} is {value}; give at least {least}.")
    if unit_timeout is not None and not 0 < unit_timeout <= LONGEST_TIMEOUT:
        raise ValueError(
            f"unit_timeout is {unit_timeout}; give seconds above 0 and at most {LONGEST_TIMEOUT}, or nothing to wait "
            "for ever."
        )


def checked_names(units: Sequence[str]) -> list[str]:
    """The units' names, if they can be file names, are sorted and differ.

    Raises:
        ValueError: Which name is wrong.
    """
    for unit in units:
        if not _UNIT_NAME.fullmatch(unit) or unit == "settings":
            raise ValueError(f"{unit!r} cannot name a work unit; use letters, digits and _ . + - (not settings).")
    for one, other in zip(units, units[1:], strict=False):
        # Two names that differ in case alone would be one file on some disks; sources do not make such.
        if one >= other:
            raise ValueError(f"The work units {one} and {other} are not in sorted order or not different.")
    if not units:
        raise ValueError("The source has no work units: there is nothing to build.")
    return list(units)
