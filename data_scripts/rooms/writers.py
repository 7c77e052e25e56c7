"""The two forms in which pairs are stored: Parquet shards of a `datasets` data set, and Causal Triplet folders."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from data_scripts.rooms.objects import ACTIONS, OBJECTS
from data_scripts.rooms.pairs import Pair

LAYOUTS = ("datasets", "causal_triplet")


def png(pixels: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    """PNG bytes of `(H, W, 3)` colours or of an `(H, W)` mask as 0 and 255."""
    image = Image.fromarray(pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def shard_schema() -> pa.Schema:
    """The Arrow schema of `modeling_cde.data.schema`, with what `datasets` needs to know its columns again.

    Importing `datasets` takes seconds, so this is asked for once and handed to the workers.
    """
    from modeling_cde.data.schema import pair_features

    return pair_features(ACTIONS, OBJECTS).arrow_schema


def write_shard(pairs: Sequence[Pair], path: Path, schema: pa.Schema) -> None:
    """Write pairs to a Parquet file of `shard_schema()`; it appears whole or not at all."""

    def images(encoded: list[bytes]) -> list[dict[str, bytes | None]]:
        return [{"bytes": data, "path": None} for data in encoded]

    columns = {
        "before": images([png(pair.before) for pair in pairs]),
        "after": images([png(pair.after) for pair in pairs]),
        "action": [ACTIONS.index(pair.action) for pair in pairs],
        "object": [OBJECTS.index(pair.object) for pair in pairs],
        "scene": [pair.scene for pair in pairs],
        "pair_id": [pair.pair_id for pair in pairs],
        "box": [list(pair.box) for pair in pairs],
        "mask_before": images([png(pair.mask_before) for pair in pairs]),
        "mask_after": images([png(pair.mask_after) for pair in pairs]),
    }
    table = pa.table([pa.array(columns[field.name], type=field.type) for field in schema], schema=schema)
    temporary = path.with_name(f".{path.name}.tmp")
    pq.write_table(table, temporary)
    os.replace(temporary, path)


def write_houses(pairs: Sequence[Pair], root: Path) -> None:
    """Write each scene as a Causal Triplet house: `proc_{scene:05d}/{color,mask,bbox}/` and `annotations.csv`.

    A house that is there already is written anew, so that a unit that was cut off leaves nothing behind.
    """
    for scene, group in groupby(pairs, key=lambda pair: pair.scene):
        house = root / f"proc_{scene.rsplit('-', 1)[1]}"
        temporary = root / f".{house.name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        for kind in ("color", "mask", "bbox"):
            (temporary / kind).mkdir(parents=True)
        rows: list[tuple[object, ...]] = []
        for number, pair in enumerate(group, start=1):
            first, second = f"{number:05d}_first.png", f"{number:05d}_second_{pair.object}_{pair.action}.png"
            for name, image, mask in ((first, pair.before, pair.mask_before), (second, pair.after, pair.mask_after)):
                (temporary / "color" / name).write_bytes(png(image))
                (temporary / "mask" / name).write_bytes(png(mask))
            index = int(scene.rsplit("-", 1)[1])
            rows.append((scene, index, first, pair.object, "none", *pair.box_before))
            rows.append((scene, index, second, pair.object, pair.action, *pair.box_after))
        with (temporary / "annotations.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
        shutil.rmtree(house, ignore_errors=True)
        os.replace(temporary, house)
