"""Loads sequences from a folder, turns them into clips of pixel values and pads these into batches."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as parquet
import torch

from .augmentation import jitter, random_region
from .crops import cut_region, open_picture, whole_picture
from .loading import uncounted
from .sequence_schema import SEQUENCE_COLUMNS, SEQUENCE_FOLDER
from .transforms import PairTransform

#: The label of a step in which nothing happens, and of padding: what a cross-entropy leaves out.
NOTHING = -100


@uncounted()
def load_sequences(
    folder: str | os.PathLike[str], *, decode: bool = False, cache_dir: str | os.PathLike[str] | None = None
) -> datasets.Dataset:
    """Load a data set of sequences, such as `python -m data_scripts.rooms sequences` makes.

    Args:
        folder: Of the data set.
        decode: Return frames as PIL images, to look at them. By default they stay encoded, for `SequenceTransform`.
        cache_dir: Where datasets keeps its copy.

    Returns:
        Rows with the columns of `sequence_features`, in order of their files.

    Raises:
        FileNotFoundError: The folder has no sequences.
        ValueError: A file is damaged, lacks a column, or names other classes than the first.
    """
    files = sorted(Path(folder, SEQUENCE_FOLDER).glob("*.parquet"))
    if not files:
        raise FileNotFoundError(
            f"{folder} has no sequences: build them by `python -m data_scripts.rooms sequences --output {folder}`."
        )
    features = None
    for path in files:
        try:
            found = datasets.Features.from_arrow_schema(parquet.read_schema(path))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} cannot be read as Parquet; build it again.") from error
        if missing := [name for name in SEQUENCE_COLUMNS if name not in found]:
            raise ValueError(f"{path} has no column {', '.join(missing)}, so it holds no sequences.")
        if features is not None and found != features:
            raise ValueError(f"{path} has other columns or classes than {files[0].name}: build the data set in one go.")
        features = found
    loaded: Any = datasets.load_dataset(
        "parquet",
        data_files=[str(path) for path in files],
        split="train",
        cache_dir=None if cache_dir is None else str(cache_dir),
    )
    return loaded.cast_column("frames", datasets.List(datasets.Image(decode=decode)))


class SequenceTransform:
    """Turn rows of sequences into clips, each frame as a `PairTransform` shows the pictures of a pair.

    All frames of a sequence show one region and get one random change, drawn by (seed, epoch, sequence_id).

    Args:
        pictures: Size, normalisation, crop and augmentation. With `crop="box"` the region is that of the row's box.

    Call it with a batch of columns (`dataset.with_transform`). It returns lists of:

    - `pixel_values`: (T, 3, H, W) float32.
    - `labels`, `objects`: (T - 1,) int64, the action and the object of each step; `NOTHING` where nothing happens.
    - `onset`, `end`: (K,) int64.
    - `amount`: (K, T) float32; all NaN where it is unknown.

    Raises:
        ValueError: A sequence has fewer than two frames, frames of different sizes or a broken one, or lacks the box
            that is needed; the message names the sequence.
    """

    def __init__(self, pictures: PairTransform) -> None:
        self.pictures = pictures

    def __deepcopy__(self, memo: dict[int, Any]) -> SequenceTransform:
        return self  # datasets copies its transform, and an epoch that is set must reach the copies

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[torch.Tensor]]:
        rows = [{name: batch[name][i] for name in batch} for i in range(len(batch["frames"]))]
        result: dict[str, list[torch.Tensor]] = {}
        for row in rows:
            for name, value in self.row(row).items():
                result.setdefault(name, []).append(value)
        return result

    def row(self, row: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """One row as in a call with a batch."""
        clip = self.clip(row["frames"], row.get("box"), row.get("sequence_id"))
        frames, acts = len(clip), len(row["onset"])
        amount = row.get("amount")
        return {
            "pixel_values": clip,
            "labels": _classes(row["actions"]),
            "objects": _classes(row["objects"]),
            "onset": torch.tensor(row["onset"], dtype=torch.int64),
            "end": torch.tensor(row["end"], dtype=torch.int64),
            "amount": torch.full((acts, frames), float("nan"))
            if amount is None
            else torch.tensor(amount, dtype=torch.float32).reshape(acts, frames),
        }

    def clip(
        self, frames: Sequence[Any], box: Sequence[int] | None = None, sequence_id: str | None = None
    ) -> torch.Tensor:
        """T frames (encoded, as datasets gives them, or PIL pictures) as (T, 3, H, W) float32, normalised."""
        show = self.pictures
        if len(frames) < 2:
            raise ValueError(f"The sequence {sequence_id} has {len(frames)} frames; it needs at least 2.")
        images = [open_picture(frame, f"frame {t}", sequence_id) for t, frame in enumerate(frames)]
        sizes = {image.size for image in images}
        if len(sizes) > 1:
            raise ValueError(f"The frames of sequence {sequence_id} have different sizes, {sizes}: store them in one.")
        region = show.region(images[0].size, box, sequence_id)
        generator = None
        if show.augment is not None:
            generator = random.Random(f"{show.seed}/{show.epoch}/{sequence_id}")
            region = random_region(region, show.augment, generator)
        height, width = show.size
        shown = np.empty((len(images), height, width, 3), dtype=np.uint8)
        for t, image in enumerate(images):
            column = f"frame {t}"
            if show.crop == "none" and generator is None:
                shown[t] = whole_picture(image, show.preprocessing, column, sequence_id)
            else:
                shown[t] = cut_region(image, region, (width, height), show.resample, column, sequence_id)
        pixels: Any = np.ascontiguousarray(shown.transpose(0, 3, 1, 2))  # (T, H, W, 3) -> (T, 3, H, W), bytes
        if generator is not None and show.augment is not None:
            coloured = torch.from_numpy(pixels).float()
            if generator.random() < show.augment.flip:
                coloured = coloured.flip(-1)
            pixels = jitter(coloured, show.augment, generator).numpy()
        return torch.from_numpy(show.preprocessing.values(pixels))


class SequenceCollator:
    """Stack the items of `SequenceTransform`, padded at their ends to the longest clip and the most actions.

    Returns:
        - `pixel_values` (B, T, 3, H, W), zeros after the end; `frame_mask` (B, T) bool, true for frames that are there.
        - `labels`, `objects` (B, T - 1), `NOTHING` after the end.
        - `onset`, `end` (B, K), -1 where a sequence has fewer actions; `amount` (B, K, T), NaN there and after the end.

    Raises:
        ValueError: The batch is empty, or pictures differ in size.
    """

    def __call__(self, items: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        if not items:
            raise ValueError("The batch is empty; give at least one sequence.")
        sizes = {tuple(item["pixel_values"].shape[1:]) for item in items}
        if len(sizes) > 1:
            raise ValueError(
                f"The frames of the batch have different sizes, {sorted(sizes)}: give one in PairTransform."
            )
        frames = max(len(item["pixel_values"]) for item in items)
        acts = max(len(item["onset"]) for item in items)
        lengths = torch.tensor([len(item["pixel_values"]) for item in items])
        return {
            "pixel_values": _padded(items, "pixel_values", (frames, *next(iter(sizes))), 0.0),
            "frame_mask": torch.arange(frames) < lengths[:, None],
            "labels": _padded(items, "labels", (frames - 1,), NOTHING),
            "objects": _padded(items, "objects", (frames - 1,), NOTHING),
            "onset": _padded(items, "onset", (acts,), -1),
            "end": _padded(items, "end", (acts,), -1),
            "amount": _padded(items, "amount", (acts, frames), float("nan")),
        }


def _classes(values: Sequence[int | None]) -> torch.Tensor:
    return torch.tensor([NOTHING if value is None else value for value in values], dtype=torch.int64)


def _padded(
    items: Sequence[Mapping[str, torch.Tensor]], name: str, shape: tuple[int, ...], fill: float
) -> torch.Tensor:
    """The tensors of that name in one of the given shape for each item, (B, *shape), at its beginning."""
    whole = torch.full((len(items), *shape), fill, dtype=items[0][name].dtype)
    for row, item in zip(whole, items, strict=True):
        row[tuple(slice(0, size) for size in item[name].shape)] = item[name]
    return whole
