"""Features on disk: a folder of parts of at most 64 MiB, each whole or absent, that are mapped into memory."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..whole_files import write_whole

PART_BYTES = 64 * 2**20
ROW = "row_of_features"  # the column with the place of a row's features


class FeatureFiles:
    """One folder of parts.

    Args:
        folder: Of all caches.
        description: What the numbers depend on; its hash names the folder.
        rows: Their number.
        first: The features of one row, which say shape and dtype.
    """

    def __init__(self, folder: Path, description: Mapping[str, Any], rows: int, first: torch.Tensor) -> None:
        self.description = json.dumps(description, indent=1, sort_keys=True, default=str)
        self.folder = folder / hashlib.sha256(self.description.encode()).hexdigest()[:20]
        self.rows, self.shape, self.dtype = rows, tuple(first.shape), first.dtype
        self.bytes_per_row = first.numel() * first.element_size()
        self.rows_per_part = max(1, PART_BYTES // self.bytes_per_row)

    def parts(self) -> list[range]:
        """The rows of each part."""
        starts = range(0, self.rows, self.rows_per_part)
        return [range(start, min(start + self.rows_per_part, self.rows)) for start in starts]

    def path(self, part: range) -> Path:
        """Where the features of these rows are."""
        return self.folder / f"{part.start:09d}.safetensors"

    def read(self, part: range) -> torch.Tensor | None:
        """The features of these rows, mapped into memory; None where the part is absent or damaged."""
        try:
            with safe_open(self.path(part), framework="pt") as file:
                features: torch.Tensor = file.get_tensor("features")
        except (OSError, SafetensorError):
            return None
        return features if features.shape == (len(part), *self.shape) and features.dtype == self.dtype else None

    def missing(self) -> list[range]:
        """The parts that are not there."""
        return [part for part in self.parts() if self.read(part) is None]

    def write(self, part: range, features: torch.Tensor) -> None:
        """Writes one part, which is there as a whole or not at all."""
        self._place(self.path(part), lambda path: save_file({"features": features}, path))

    def describe(self) -> None:
        """Writes what the name of the folder stands for."""
        if not (path := self.folder / "description.json").exists():
            self._place(path, lambda own: own.write_text(self.description + "\n", encoding="utf-8"))

    def _place(self, path: Path, write: Callable[[Path], Any]) -> None:
        with write_whole(path, shared=True) as temporary:  # two runs may fill one cache at the same time
            write(temporary)


class CachedFeatures:
    """The transform of rows whose features are on disk; each process opens the files by itself.

    Args:
        files: The parts, in order.
        rows_per_part: Rows in each but the last.
        objects: Whether the class id of the object is asked for.
    """

    def __init__(self, files: Sequence[str], rows_per_part: int, objects: bool) -> None:
        self.files, self.rows_per_part, self.objects = tuple(files), rows_per_part, objects
        self._open: dict[int, torch.Tensor] = {}

    def __reduce__(self) -> Any:  # the names and not what is mapped: for worker processes, and for fingerprints
        return type(self), (self.files, self.rows_per_part, self.objects)

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        result: dict[str, list[Any]] = {"features": [self._features(row) for row in batch[ROW]]}
        result["labels"] = [int(action) for action in batch["action"]]
        if self.objects:
            result["objects"] = [int(kind) for kind in batch["object"]]
        return result

    def _features(self, row: int) -> torch.Tensor:
        part, place = divmod(row, self.rows_per_part)
        if part not in self._open:
            with safe_open(self.files[part], framework="pt") as file:
                self._open[part] = file.get_tensor("features")
        return self._open[part][place]
