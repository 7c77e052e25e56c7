"""The store of features: a folder on disk that all splits, seeds, methods and runs share.

    STORE/<reading>/description.json     what all numbers in this folder depend on, except the pictures
    STORE/<reading>/<sha256>.safetensors a part: `keys` (n, 32) uint8 and `features` (n, ...)

Notable:
- A part is named by the SHA-256 of its bytes. It is complete or absent, whenever a process is killed, and a damaged one
  is noticed, removed and encoded again. So is one whose features are not finite, whoever wrote it.
- Parts are never changed. Processes write parts of their own, so that any number of them can fill one store.
- Parts are mapped into memory: the operating system reads what is used, so a store may be larger than memory. What a
  process has mapped it can read even after another one has removed it to make room.
"""

import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..whole_files import TEMPORARY, cache_folder, file_sha256, write_whole

DEFAULT_GB = 20.0
PART_BYTES = 64 * 2**20  # of a part at most
PART_ROWS = 512  # of a part at most: what a kill can lose is encoded in seconds
_KEY_BYTES = 32
_ABANDONED = 24 * 3600.0  # seconds after which a temporary file is of a process that was killed


class FeatureStore:
    """A folder of features with a limit.

    Args:
        folder: Default: `features` in the cache folder of this package.
        limit_gb: Gigabytes that it may take. What was not read for the longest time is removed first.

    Attributes:
        encoded: Pairs that were encoded through this object; found: those that were there before.
    """

    def __init__(self, folder: str | Path | None = None, limit_gb: float = DEFAULT_GB) -> None:
        self.folder = Path(folder) if folder is not None else cache_folder() / "features"
        self.limit = int(limit_gb * 1e9)
        self.encoded = self.found = 0
        self._asked: set[bytes] = set()
        self._readings: dict[str, Reading] = {}

    def reading(self, description: Mapping[str, Any]) -> "Reading":
        """The features that `description` tells apart from all others, as plain values."""
        text = json.dumps(description, indent=1, sort_keys=True, default=str)
        folder = self.folder / hashlib.sha256(text.encode()).hexdigest()[:20]
        return self._readings.setdefault(text, Reading(folder, text))

    def count(self, asked: Collection[bytes], encoded: Collection[bytes]) -> None:
        """Counts pairs by their keys, each once, however often a run asks for them."""
        self.encoded += len(encoded)
        self.found += len(set(asked) - self._asked - set(encoded))
        self._asked.update(asked)

    def make_room(self, wanted: int) -> None:
        """Removes the parts that were not read for the longest time, until `wanted` more bytes are within the limit.

        What this process uses stays. Runs that encode at the same time may exceed the limit together, until the next.

        Raises:
            ValueError: The limit or the disk has no room for them.
        """
        used = {path for reading in self._readings.values() for path in reading.used}
        kept: list[tuple[float, int, Path]] = []
        for path in self.folder.glob("*/*"):
            with suppress(FileNotFoundError):  # another process has just removed it
                told = path.stat()
                if path.name.startswith(TEMPORARY) and time.time() - told.st_mtime > _ABANDONED:
                    path.unlink()
                elif path.suffix == ".safetensors":
                    kept.append((told.st_mtime, told.st_size, path))
        own = sum(size for _, size, path in kept if path in used)
        if own + wanted > self.limit:
            raise ValueError(
                f"The features of these pairs take {(own + wanted) / 1e9:.2g} GB, and the store {self.folder} may take "
                f"{self.limit / 1e9:g} GB: raise --feature_store_gb, or set it to 0 to keep no features."
            )
        total = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if total + wanted <= self.limit:
                break
            if path not in used:
                path.unlink(missing_ok=True)
                total -= size
        existing = next(path for path in (self.folder.absolute(), *self.folder.absolute().parents) if path.exists())
        if wanted > (free := shutil.disk_usage(existing).free):
            raise ValueError(
                f"The features take {wanted / 1e9:.2g} GB, and {existing} has {free / 1e9:.2g} GB left: give another "
                "folder by --feature_store, or keep no features by --feature_store_gb 0."
            )


class Reading:
    """One folder of the store.

    Attributes:
        places: Key of a clip -> (number of its part, row in it).
        parts: The parts by their numbers.
        used: Those of them whose features this process reads.
    """

    def __init__(self, folder: Path, description: str) -> None:
        self.folder, self.description = folder, description
        self.places: dict[bytes, tuple[int, int]] = {}
        self.parts = Parts()
        self.used: set[Path] = set()

    def exists(self) -> bool:
        """Whether features of this reading are kept."""
        return any(self.folder.glob("*.safetensors"))

    def refresh(self, wanted: Collection[bytes]) -> None:
        """Finds out which parts there are now, and opens those with features that are wanted.

        Afterwards `places` has what can be read. Damaged parts are removed with a warning.

        Raises:
            OSError: The folder cannot be read, or a damaged part cannot be removed.
        """
        known = set(self.parts.files)
        for path in sorted(self.folder.glob("*.safetensors")):
            if str(path) not in known and (keys := _checked_keys(path)) is not None:
                self.parts.files.append(str(path))
                for row, key in enumerate(keys):
                    self.places.setdefault(key, (len(self.parts.files) - 1, row))
        gone = set()
        for number in sorted({self.places[key][0] for key in wanted if key in self.places}):
            path = Path(self.parts.files[number])
            try:
                self.parts.open(number)
                self.used.add(path)
                with suppress(OSError):  # read now: it is the last to be removed; also a store may be read-only
                    os.utime(path)
            except FileNotFoundError:
                gone.add(number)
        if gone:
            self.places = {key: place for key, place in self.places.items() if place[0] not in gone}

    def add(self, keys: Sequence[bytes], features: torch.Tensor) -> None:
        """Writes one part.

        Raises:
            ValueError: A feature is not finite.
            OSError: The part cannot be written.
        """
        if not bool(torch.isfinite(features).all()):
            raise ValueError("The backbone gives features that are NaN or infinite: check its weights and precision.")
        if not (path := self.folder / "description.json").exists():
            with write_whole(path, shared=True) as temporary:
                temporary.write_text(self.description + "\n", encoding="utf-8")
        table = torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8).view(-1, _KEY_BYTES)
        content = save({"keys": table, "features": features.contiguous()})
        path = self.folder / f"{hashlib.sha256(content).hexdigest()}.safetensors"
        with write_whole(path, shared=True) as temporary:
            temporary.write_bytes(content)


class Parts:
    """Reads rows of parts, which are opened when they are first used; can be passed to other processes."""

    def __init__(self, files: Sequence[str] = ()) -> None:
        self.files = list(files)
        self._open: dict[int, torch.Tensor] = {}

    def __reduce__(self) -> Any:  # the names and not what is mapped
        return type(self), (self.files,)

    def open(self, number: int) -> torch.Tensor:
        """The features in a part, (n, ...)."""
        if number not in self._open:
            with safe_open(self.files[number], framework="pt") as file:
                self._open[number] = file.get_tensor("features")
        return self._open[number]

    def rows(self, parts: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The features in these rows of these parts, (n,) numbers each: (n, ...)."""
        first = self.open(int(parts[0]))
        found = first.new_empty(len(rows), *first.shape[1:])
        for part in set(parts.tolist()):
            here = (parts == part).nonzero()[:, 0]
            found[here] = self.open(part)[rows[here]]
        return found


def _checked_keys(path: Path) -> list[bytes] | None:
    """The keys of a part, or None if it is damaged or another process has just removed it."""
    try:
        if file_sha256(path) == path.stem:
            with safe_open(path, framework="pt") as file:
                table, features = file.get_tensor("keys").numpy().tobytes(), file.get_tensor("features")
            keys = [table[i : i + _KEY_BYTES] for i in range(0, len(table), _KEY_BYTES)]
            # Finite values can have an infinite sum, which takes a tenth of the time.
            finite = bool(torch.isfinite(features.sum())) or bool(torch.isfinite(features).all())
            if finite and len(keys) == len(features):
                return keys
    except FileNotFoundError:
        return None
    except SafetensorError:
        pass
    warnings.warn(f"{path} is damaged: it is removed, and its features are encoded again.", stacklevel=4)
    path.unlink(missing_ok=True)
    return None
