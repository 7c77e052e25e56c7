"""The folder of a build: its settings, its lock, and for each unit the shard and an entry with its state."""

from __future__ import annotations

import fcntl
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_scripts.builds.work_units import BuildReport, Outcome
from modeling_cde.whole_files import TEMPORARY, write_whole


class BuildingElsewhereError(ValueError):
    """Another process builds in the same folder."""


class Ledger:
    """Knows what is finished in a folder of shards, which `lock` creates, and is all that writes there."""

    def __init__(self, folder: Path, units: list[str]) -> None:
        self.folder, self.units = folder, units
        self.failed: dict[str, str] = {}
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
        stored, wanted = _read_json(path), json.loads(json.dumps(settings))
        if not isinstance(stored, dict):
            raise ValueError(f"{path} is damaged: delete {self.folder} or choose another folder.")
        unlike = sorted(key for key in wanted.keys() | stored.keys() if wanted.get(key) != stored.get(key))
        if unlike:
            listed = ", ".join(f"{key} {stored.get(key)} there, {wanted.get(key)} asked for" for key in unlike)
            raise ValueError(
                f"{self.folder} was built with other settings ({listed}): delete it or choose another folder."
            )
        if strange := sorted({path.stem for path in self.folder.glob("*.parquet")} - set(self.units)):
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
        """Remove files that a killed run left half written."""
        for path in self.folder.glob(f"{TEMPORARY}*"):
            path.unlink()

    def unfinished(self) -> list[str]:
        """Read all entries; return the units that are not done, including those that failed before."""
        self._entries = {}
        for unit in self.units:
            entry = _read_json(self.entry(unit))
            if not isinstance(entry, dict) or entry.get("state") != "done":
                continue
            try:
                whole = self.shard(unit).stat().st_size == entry["bytes"]
            except FileNotFoundError:
                whole = False
            if whole:
                self._entries[unit] = entry
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
            }
            try:
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
            len(self.units), len(self._entries), self.rows, dict(self.failed), rejected, problems, self._built
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


def _read_json(path: Path) -> Any:
    """The file's content, or None if it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
