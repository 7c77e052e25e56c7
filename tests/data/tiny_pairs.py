"""Tiny rows, shards and pictures for the tests of the data package."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from modeling_cde.data.building.build import write_shard
from modeling_cde.data.schema import pair_features

ACTIONS = ["open", "close", "break", "turnon", "turnoff"]
OBJECTS = [f"object{i}" for i in range(10)]


def picture(seed: int, width: int = 12, height: int = 12, format: str = "PNG", mode: str = "RGB") -> bytes:
    """An encoded picture of random pixels."""
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode).save(buffer, format)
    return buffer.getvalue()


def rows(number: int, first: int = 0) -> list[dict[str, Any]]:
    """Pairs of every object with every action, three in a scene; every other one without box and masks."""
    made = []
    for i in range(first, first + number):
        marked = i % 2 == 0
        generator = random.Random(i)
        made.append(
            {
                "before": {"bytes": picture(2 * i), "path": None},
                "after": {"bytes": picture(2 * i + 1), "path": None},
                "action": generator.randrange(len(ACTIONS)),
                "object": generator.randrange(len(OBJECTS)),
                "scene": f"scene{i // 3:04d}",
                "pair_id": f"pair{i:05d}",
                "box": [1, 2, 8, 9] if marked else None,
                "mask_before": {"bytes": picture(i, mode="L"), "path": None} if marked else None,
                "mask_after": {"bytes": picture(i, mode="L"), "path": None} if marked else None,
            }
        )
    return made


def write_shards(folder: Path, view: str = "single", units: int = 4, pairs: int = 90, offset: int = 0) -> None:
    """Shards as a source writes them."""
    features = pair_features(ACTIONS, OBJECTS)
    for unit in range(units):
        path = folder / "shards" / view / f"unit-{unit:05d}.parquet"
        write_shard(path, rows(pairs, offset + unit * pairs), features)
