"""The store of features: a folder on disk that all splits, seeds, methods and runs share.

    STORE/<reading>/description.json     what all numbers in this folder depend on, except the pictures
    STORE/<reading>/<sha256>.safetensors a part: `keys` (n, 32) uint8 and `features` (n, ...)

Notable:
- A part is named by the SHA-256 of its bytes. It is complete or absent, whenever a process is killed, and a damaged one
  is noticed, removed and encoded again.
- Parts are never changed. Processes write parts of their own, so that any number of them can fill one store.
- Parts are mapped into memory: the operating system reads what is used, so a store may be larger than memory.
"""

import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..whole_files import TEMPORARY, cache_folder, file_sha256, write_text_whole, write_whole

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
        encoded: Pairs that were encoded through this object; found: those that were there; seconds: spent on encoding.
    """

    def __init__(self, folder: str | Path | None = None, limit_gb: float = DEFAULT_GB) -> None:
        self.folder = Path(folder) if folder is not None else cache_folder() / "features"
        self.limit = int(limit_gb * 1e9)
        self.encoded = self.found = 0
        self.seconds = 0.0

    def reading(self, description: Mapping[str, Any]) -> "Reading":
        """The features that `description` tells apart from all others, as plain values."""
        text = json.dumps(description, indent=1, sort_keys=True, default=str)
        return Reading(self.folder / hashlib.sha256(text.encode()).hexdigest()[:20], text)

    def make_room(self, wanted: int, spared: Collection[Path] = ()) -> None:
        """Removes the parts that were not read for the longest time, until `wanted` more bytes are within the limit.

        Parts in `spared` stay.

        Raises:
            ValueError: The limit or the disk has no room for them.
        """
        files = sorted((path for path in self.folder.glob("*/*") if path.is_file()), key=_last_read)
        for path in files:
            if path.name.startswith(TEMPORARY) and time.time() - _last_read(path) > _ABANDONED:
                path.unlink(missing_ok=True)
        kept = [path for path in files if path.suffix == ".safetensors" and path.exists()]
        size = {path: path.stat().st_size for path in kept}
        own = sum(size[path] for path in kept if path in spared)
        if own + wanted > self.limit:
            raise ValueError(
                f"The features of these pairs take {(own + wanted) / 1e9:.2f} GB, and the store {self.folder} may take "
                f"{self.limit / 1e9:g} GB: raise --feature_store_gb, or set it to 0 to keep no features."
            )
        total = sum(size.values())
        for path in kept:
            if total + wanted <= self.limit:
                break
            if path not in spared:
                path.unlink(missing_ok=True)
                total -= size[path]
        existing = next(path for path in (self.folder.absolute(), *self.folder.absolute().parents) if path.exists())
        if wanted > (free := shutil.disk_usage(existing).free):
            raise ValueError(
                f"The features take {wanted / 1e9:.2f} GB, and {existing} has {free / 1e9:.2f} GB left: give another "
                "folder by --feature_store, or keep no features by --feature_store_gb 0."
            )


class Reading:
    """One folder of the store.

    Attributes:
        parts: The files that `refresh` found, in the order that places count them.
        places: Key of a clip -> (number of its part, row in it).
    """

    def __init__(self, folder: Path, description: str) -> None:
        self.folder, self.description = folder, description
        self.parts: list[Path] = []
        self.places: dict[bytes, tuple[int, int]] = {}

    def exists(self) -> bool:
        """Whether anything was ever kept of this reading."""
        return self.folder.is_dir()

    def refresh(self) -> None:
        """Looks for parts that this object does not know yet; warns of damaged ones, and removes them.

        Raises:
            OSError: The folder cannot be read.
        """
        for path in sorted(self.folder.glob("*.safetensors")):
            if path in self.parts:
                continue
            keys = _checked_keys(path)
            if keys is None:
                continue
            path.touch()  # read now: it is the last to be removed
            number = len(self.parts)
            self.parts.append(path)
            for row, key in enumerate(keys):
                self.places.setdefault(key, (number, row))

    def add(self, keys: Sequence[bytes], features: torch.Tensor) -> None:
        """Writes one part.

        Raises:
            ValueError: A feature is not finite.
            OSError: The part cannot be written.
        """
        if not bool(torch.isfinite(features).all()):
            raise ValueError("The backbone gives features that are NaN or infinite: check its weights and precision.")
        if not (path := self.folder / "description.json").exists():
            write_text_whole(path, self.description + "\n")
        table = torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8).view(-1, _KEY_BYTES)
        content = save({"keys": table, "features": features.contiguous()})
        path = self.folder / f"{hashlib.sha256(content).hexdigest()}.safetensors"
        with write_whole(path, shared=True) as temporary:
            temporary.write_bytes(content)


class Parts:
    """Reads rows of parts, which are opened when they are first used; can be passed to other processes."""

    def __init__(self, files: Sequence[str]) -> None:
        self.files = tuple(files)
        self._open: dict[int, torch.Tensor] = {}

    def __reduce__(self) -> Any:  # the names and not what is mapped
        return type(self), (self.files,)

    def open(self) -> None:
        """Opens all parts: what is open can be read even after another process has removed it to make room."""
        for number in range(len(self.files)):
            self._part(number)

    def row(self, part: int, row: int) -> torch.Tensor:
        """The features of one clip."""
        return self._part(part)[row]

    def _part(self, number: int) -> torch.Tensor:
        if number not in self._open:
            with safe_open(self.files[number], framework="pt") as file:
                self._open[number] = file.get_tensor("features")
        return self._open[number]


def _checked_keys(path: Path) -> list[bytes] | None:
    """The keys of a part, or None if it is damaged or another process has just removed it."""
    try:
        if file_sha256(path) == path.stem:
            with safe_open(path, framework="pt") as file:
                table = file.get_tensor("keys").numpy().tobytes()
            return [table[i : i + _KEY_BYTES] for i in range(0, len(table), _KEY_BYTES)]
    except FileNotFoundError:
        return None
    except SafetensorError:
        pass
    warnings.warn(f"{path} is damaged: it is removed, and its features are encoded again.", stacklevel=4)
    path.unlink(missing_ok=True)
    return None


def _last_read(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
