"""The folder of a build: its settings, its lock, and for each unit the shard and an entry with its state."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_scripts.builds.work_units import BuildReport, Inputs, Outcome
from modeling_cde.whole_files import TEMPORARY, write_whole


class BuildingElsewhereError(ValueError):
    """Another process builds in the same folder."""


class Ledger:
    """Knows what is finished in a folder of shards, which `lock` creates, and is all that writes there.

    `inputs` is that of the source; without it, units are made from nothing that could change.
    """

    def __init__(self, folder: Path, units: list[str], inputs: Callable[[str], Inputs] = lambda unit: {}) -> None:
        self.folder, self.units = folder, units
        self.failed: dict[str, str] = {}
        self.changed: dict[str, list[str]] = {}
        self.gone: dict[str, list[str]] = {}
        self.removed: list[str] = []
        self._inputs_of, self._inputs = inputs, dict[str, Inputs]()
        self.rows = 0
        self._entries: dict[str, dict[str, Any]] = {}
        self._built = 0

    def shard(self, unit: str) -> Path:
        """Path of a unit's pairs."""
        return self.folder / f"{unit}.parquet"

    def entry(self, unit: str) -> Path:
        """Path of a unit's entry."""
        return self.folder / f"{unit}.json"

    def compare(self, settings: dict[str, Any]) -> None:
        """Compare with the settings that the folder was built with, if any.

        Raises:
            ValueError: The settings differ; says which. Or the folder holds shards without settings, or of other units.
        """
        path = self.folder / "settings.json"
        if not path.exists():
            if next(self.folder.glob("*.parquet"), None) is not None:
                raise ValueError(f"{self.folder} has shards but no settings.json: delete it or choose another folder.")
            return
        stored, wanted = read_json(path), json.loads(json.dumps(settings))
        if not isinstance(stored, dict):
            raise ValueError(f"{path} is damaged: delete {self.folder} or choose another folder.")
        unlike = sorted(key for key in wanted.keys() | stored.keys() if wanted.get(key) != stored.get(key))
        if unlike:
            listed = ", ".join(f"{key} {stored.get(key)} there, {wanted.get(key)} asked for" for key in unlike)
            raise ValueError(
                f"{self.folder} was built with other settings ({listed}): delete it or choose another folder."
            )
        if strange := sorted(self._others() - set(self.unlisted())):
            raise ValueError(
                f"{self.folder} holds {strange[0]}.parquet, which is not one of this source's {len(self.units)} units: "
                "remove it or choose another folder."
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other build out of the folder (see `locked`); the lock ends with the process, however it ends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / ".lock"):
            yield

    def claim(self, settings: dict[str, Any]) -> None:
        """Compare the settings again, now that nothing else writes, and store them."""
        self.compare(settings)
        text = json.dumps(settings, indent=2, sort_keys=True)
        _write(self.folder / "settings.json", text.encode() + b"\n")

    def remove_leftovers(self) -> None:
        """Remove files that a killed run left half written, and units that the source no longer has."""
        for path in self.folder.glob(f"{TEMPORARY}*"):
            path.unlink()
        self.removed = self.unlisted()
        for unit in self.removed:
            self.shard(unit).unlink(missing_ok=True)
            self.entry(unit).unlink()

    def unlisted(self) -> list[str]:
        """Units that an earlier run built and that the source does not even know any more: rows taken from a table."""
        return sorted(unit for unit in self._others() if self.entry(unit).exists() and not self._knows(unit))

    def _others(self) -> set[str]:
        return {path.stem for path in self.folder.glob("*.parquet")} - set(self.units)

    def _knows(self, unit: str) -> bool:
        try:
            self._inputs_of(unit)
        except LookupError:
            return False
        return True

    def unfinished(self) -> list[str]:
        """Read all entries; return the units to build: not done, failed before, or made from what has changed since.

        A unit is kept if files are only missing now: what a disk that is not mounted holds can be built again later,
        what was deleted cannot.
        """
        self._entries, self._inputs, self.changed, self.gone = {}, {}, {}, {}
        for unit in self.units:
            # Before the unit is built: a change in the meantime is noticed by the next run.
            inputs = self._inputs[unit] = self._inputs_of(unit)
            entry = read_json(self.entry(unit))
            if not isinstance(entry, dict) or entry.get("state") != "done":
                continue
            try:
                whole = self.shard(unit).stat().st_size == entry["bytes"]
            except FileNotFoundError:
                whole = False
            if not whole:
                continue
            then = entry.get("inputs", {})
            differing = [name for name in sorted(inputs.keys() | then.keys()) if inputs.get(name) != then.get(name)]
            if any(inputs.get(name) is not None for name in differing):
                self.changed[unit] = differing if "inputs" in entry else ["a build that recorded no inputs"]
                continue
            if differing:
                self.gone[unit] = differing
            self._entries[unit] = entry
            del self._inputs[unit]  # of a million files
        self.rows = sum(entry["rows"] for entry in self._entries.values())
        return [unit for unit in self.units if unit not in self._entries]

    def record(self, outcome: Outcome) -> None:
        """Store a unit's shard, then its entry. If that is impossible, the unit has failed and leaves no half file."""
        unit, error = outcome.unit, outcome.error
        if error is None:
            done = {
                "state": "done",
                "rows": outcome.rows,
                "bytes": len(outcome.shard),
                "rejected": dict(sorted(outcome.rejected.items())),
                "problems": outcome.problems,
                "sha256": hashlib.sha256(outcome.shard).hexdigest(),
            }
            if inputs := self._inputs.get(unit):
                done["inputs"] = {name: value for name, value in inputs.items() if value is not None}
            try:
                self.entry(unit).unlink(missing_ok=True)  # it describes the shard that is replaced next
                _write(self.shard(unit), outcome.shard)
                _write(self.entry(unit), _json_bytes(done))
            except OSError as failure:
                error = f"its shard of {len(outcome.shard)} bytes cannot be written: {failure.strerror or failure}"
            else:
                self._entries[unit] = done
                self._built += 1
                self.rows += outcome.rows
                return
        self.failed[unit] = error
        self.shard(unit).unlink(missing_ok=True)  # of an earlier run: a failed unit has no pairs
        try:
            _write(self.entry(unit), _json_bytes({"state": "failed", "error": error, "attempts": outcome.attempts}))
        except OSError:
            self.entry(unit).unlink(missing_ok=True)  # without an entry, too, the next run builds the unit

    def report(self) -> BuildReport:
        """What the folder holds, and the failures of this run."""
        rejected: Counter[str] = Counter()
        problems: list[str] = []
        for unit in self.units:
            entry = self._entries.get(unit, {})
            rejected.update(entry.get("rejected", {}))
            problems += entry.get("problems", [])
        return BuildReport(
            len(self.units),
            len(self._entries),
            self.rows,
            dict(self.failed),
            rejected,
            problems,
            self._built,
            {unit: names for unit, names in self.changed.items() if unit in self._entries},
            dict(self.gone),
            self.removed,
        )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, which is created for it; raise BuildingElsewhereError if it is taken."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BuildingElsewhereError(
                f"Another process builds in {path.parent}: wait until it ends, or choose another folder."
            ) from None
        yield


def _write(path: Path, content: bytes) -> None:
    with write_whole(path) as temporary:
        temporary.write_bytes(content)


def _json_bytes(entry: dict[str, Any]) -> bytes:
    # Lone surrogates, from names of files that are not UTF-8, become JSON escapes.
    return json.dumps(entry, ensure_ascii=False, sort_keys=True).encode(errors="backslashreplace") + b"\n"


def read_json(path: Path) -> Any:
    """The file's content, or None if it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
