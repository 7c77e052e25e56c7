"""What a build is made of: a source, its units, what becomes of each unit, and the report on all of them."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from datasets import Features

PROBLEMS_SHOWN = 20  # in a report's text
UNITS_SHOWN = 10  # in one of its lines
_UNIT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")


#: What a unit was made from: a name -> what changes with its content, see `file_stamp`, or a hash of what was read.
Inputs = dict[str, Any]


class StopBuildError(ValueError):
    """Ends the whole build with its message; sources raise it where the user asked to stop at the first fault."""


class BadPairError(ValueError):
    """A candidate gives no pair; the message says why, without a period at its end."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason  # two or three words to count it under


@dataclass
class UnitRows:
    """What a source returns for one unit.

    Attributes:
        rows: Complete rows of the source's `features`: pictures as `{"bytes": ..., "path": None}` or None, classes
            as ids. May be empty.
        rejected: How many candidates were left out, by reason.
        problems: One sentence for each fault of the data, naming scene and row.
    """

    rows: list[dict[str, Any]]
    rejected: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def reject(self, reason: str, sentence: str) -> None:
        """Count a candidate that was left out, and report it."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1
        self.problems.append(sentence)


class Source(Protocol):
    """Where pairs come from.

    Every worker process gets a pickled copy of the source. So open archives, renderers and simulators in `build`, not
    in `__init__`.
    """

    @property
    def features(self) -> Features:
        """`pair_features(actions, objects)`, the same for all units; asked for once, in the calling process."""

    def settings(self) -> dict[str, Any]:
        """What the user chose, as JSON. A folder that was built with other settings is refused."""

    def units(self) -> list[str]:
        """The units' names, sorted; they become file names (letters, digits, `_ . + -`)."""

    def inputs(self, unit: str) -> Inputs:
        """What a unit is made from, as JSON, without reading pictures. A unit whose inputs changed is built again.

        Raises:
            LookupError: There is no such unit (any more), so what an earlier run built is removed.
        """

    def build(self, unit: str) -> UnitRows:
        """Build one unit: a pure function of (settings, inputs, unit), so that equal calls return equal rows.

        Raises:
            StopBuildError: Ends the whole build.
            Exception: Anything else fails this unit; it is tried again in a fresh process.
        """

    def close(self) -> None:
        """Release what `build` opened; called once, in the process that built, after its last unit."""


class ClassSource:
    """What sources that know their classes share; each sets the names of its classes, by id."""

    actions: list[str]
    objects: list[str]

    @property
    def features(self) -> Features:
        """The columns, with these classes."""
        from modeling_cde.data.schema import pair_features

        return pair_features(self.actions, self.objects)

    def inputs(self, unit: str) -> Inputs:
        """Nothing: sources that read files say which."""
        return {}

    def row(self, stored: dict[str, Any], action: str, noun: str, scene: str, pair_id: str) -> dict[str, Any]:
        """A complete row, of the picture columns and the names of its classes: what every source ends a pair with.

        Raises:
            BadPairError: The two stored pictures are equal, pixel for pixel: nothing is to be seen of the action.
        """
        from data_scripts.picture_files import same_pixels

        if same_pixels(stored["before"]["bytes"], stored["after"]["bytes"]):
            raise BadPairError("identical pictures", "before and after are the same picture, pixel for pixel")
        labels = {"action": self.actions.index(action), "object": self.objects.index(noun)}
        return stored | labels | {"scene": scene, "pair_id": pair_id}

    def close(self) -> None:
        """Nothing stays open between units."""


@dataclass
class Outcome:
    """What became of a unit; `rejected` and `problems` are from `UnitRows`."""

    unit: str
    shard: bytes = b""  # the Parquet file
    rows: int = 0  # pairs in it
    rejected: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    error: str | None = None  # a sentence on why there is no shard
    attempts: int = 1
    stop: bool = False  # whether the whole build must end, with `error`


@dataclass
class BuildReport:
    """What a folder holds after a build, from this run and earlier ones."""

    units: int = 0  # of the source
    done: int = 0
    rows: int = 0  # in the shards of the finished units
    failed: dict[str, str] = field(default_factory=dict)  # why, by unit
    rejected: Counter[str] = field(default_factory=Counter)  # candidates that sources left out, by reason
    problems: list[str] = field(default_factory=list)  # faults of the data, in the order of the units
    built: int = 0  # how many of `done` this run built
    changed: dict[str, list[str]] = field(default_factory=dict)  # units built again -> the inputs that had changed
    gone: dict[str, list[str]] = field(default_factory=dict)  # units kept as they were -> inputs that no longer exist
    removed: list[str] = field(default_factory=list)  # units that an earlier run built and the source no longer has
    what: str = "pairs"  # what the rows are

    def text(self, problems: int = PROBLEMS_SHOWN) -> str:
        """The report in lines: sizes, rejected by reason, the first `problems` problems, every failed unit."""
        lines = [
            f"{self.done} of {self.units} units are done, with {self.rows} {self.what}; this run built {self.built}."
        ]
        if self.changed:
            lines.append(f"Built again, because what they are made from has changed: {_units_named(self.changed)}.")
        if self.removed:
            lines.append(f"Removed, because they are no longer listed: {_some(self.removed)}.")
        if self.gone:
            lines.append(
                f"Kept as they were built, although files are missing now: {_units_named(self.gone)}. Put the files "
                "back, or delete the .json of these units to build them without."
            )
        if self.rejected:
            counts = ", ".join(f"{reason} {count}" for reason, count in sorted(self.rejected.items()))
            lines.append(f"Rejected, by reason: {counts}.")
        if self.problems:
            more = f", the first {problems}" if len(self.problems) > problems else ""
            lines.append(f"Problems in the data ({len(self.problems)}{more}):")
            lines += [f"  {problem}" for problem in self.problems[:problems]]
        if self.failed:
            lines.append(f"Failed units ({len(self.failed)}); the next run tries them again:")
            lines += [f"  {unit}: {sentence}" for unit, sentence in sorted(self.failed.items())]
        return "\n".join(lines)


def _units_named(units: Mapping[str, Sequence[str]]) -> str:
    return _some(
        [f"{unit} ({names[0]}{f' and {len(names) - 1} more' if names[1:] else ''})" for unit, names in units.items()]
    )


def _some(units: Sequence[str]) -> str:
    more = f" and {len(units) - UNITS_SHOWN} more units" if len(units) > UNITS_SHOWN else ""
    return ", ".join(units[:UNITS_SHOWN]) + more


def file_stamp(path: str | os.PathLike[str]) -> list[int] | None:
    """Size and time of change of a file, or of the file that a link names; None if it cannot be read."""
    try:
        told = os.stat(path)
    except (OSError, ValueError):  # a name with a NUL byte
        return None
    return [told.st_size, told.st_mtime_ns] if os.access(path, os.R_OK) else None


def json_sha256(value: Any) -> str:
    """The hash of a value as JSON, for the settings of sources with long lists."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def checked_names(units: Sequence[str]) -> list[str]:
    """The units' names; a ValueError says which one cannot be a file name, is not in order or is there twice."""
    for unit in units:
        if not _UNIT_NAME.fullmatch(unit) or unit == "settings":
            raise ValueError(f"{unit!r} cannot name a work unit; use letters, digits and _ . + - (not settings).")
    for one, other in zip(units, units[1:], strict=False):
        # Names that differ only in case would be one file on some disks; no source makes such names.
        if one >= other:
            raise ValueError(f"The work units {one} and {other} are not in sorted order or not different.")
    if not units:
        raise ValueError("The source has no work units: there is nothing to build.")
    return list(units)
