"""The folder layout of Causal Triplet's ProcTHOR pairs: its names, and a writer for shards.

    proc_00012/color/00001_first.png                   before
    proc_00012/color/00001_second_Safe_open.png        after
    proc_00012/mask/...                                the same names: 255 on the target, else 0; optional
    proc_00012/bbox/                                   stays empty
    proc_00012/annotations.csv                         no header, two rows per pair:

        proc_00012,1,00001_first,Safe,none,119,287,190,369
        proc_00012,1,00001_second_Safe_open,Safe,open,119,287,190,369

The columns are `FIELDS`, boxes have inclusive bounds, and a figure is a file name without its ending.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import PIL.Image

from data_scripts.stored_views import open_picture
from modeling_cde.whole_files import csv_cell, write_folder_whole

COLOR, MASK, BBOX, ANNOTATIONS = "color", "mask", "bbox", "annotations.csv"
FIELDS = ("scene", "idx", "figure", "noun", "verb", "xmin", "ymin", "xmax", "ymax")
NO_VERB = "none"  # of the row of a before picture

HOUSE = re.compile(r"proc_[0-9]+")
_NUMBER = re.compile(r"[0-9]+$")
_ROWS_AT_ONCE = 100


def house_name(number: int) -> str:
    """The folder and scene of a house."""
    return f"proc_{number:05d}"


def first_of(figure: str) -> str:
    """The before figure of an after figure, by the rule of the original reader."""
    return figure.split("second")[0] + "first"


def write_houses(shards: Sequence[str | os.PathLike[str]], root: str | os.PathLike[str]) -> int:
    """Write the pairs of Parquet shards in this layout; pairs keep their order within a scene.

    A scene becomes a house. Scenes `proc_...` keep their name. If every scene ends in a number of its own
    ("room-00012"), that is the house's number; otherwise houses are numbered from 0 in order of appearance. An
    existing house is replaced once the new one is complete.

    Boxes are those of the masks, before and after; without a mask the pair's box. Other pictures become PNG; PNGs keep
    their bytes.

    The shards, from `modeling_cde.data.building.build.write_shard`, have one `pair_features`. `root`, the folder of the
    houses, is created if absent. The result is the number of pairs.

    Raises:
        ValueError: A pair has neither box nor masks, or a class that cannot be part of a file name.
    """
    files, root = [Path(shard) for shard in shards], Path(root)
    root.mkdir(parents=True, exist_ok=True)
    houses = _house_names(files)
    tables: dict[str, list[tuple[object, ...]]] = {}
    folders: dict[str, Path] = {}
    with ExitStack() as written:
        for row in _rows(files):
            house = houses[row["scene"]]
            if house not in tables:
                tables[house], folders[house] = [], written.enter_context(write_folder_whole(root / house))
                for kind in (COLOR, MASK, BBOX):
                    (folders[house] / kind).mkdir()
            tables[house] += _write_pair(row, folders[house], house, number=len(tables[house]) // 2 + 1)
        for house, table in tables.items():
            with (folders[house] / ANNOTATIONS).open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(table)
    return sum(len(table) // 2 for table in tables.values())


def _house_names(shards: Sequence[Path]) -> dict[str, str]:
    """The house of each scene."""
    import pyarrow.parquet as parquet

    scenes: dict[str, None] = {}
    for shard in shards:
        scenes.update(dict.fromkeys(parquet.read_table(shard, columns=["scene"]).column("scene").to_pylist()))
    if all(HOUSE.fullmatch(scene) for scene in scenes):
        return {scene: scene for scene in scenes}
    numbers = [int(found.group()) for scene in scenes if (found := _NUMBER.search(scene))]
    if len(set(numbers)) < len(scenes):
        numbers = list(range(len(scenes)))
    return {scene: house_name(number) for scene, number in zip(scenes, numbers, strict=True)}


def _rows(shards: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """All rows, classes by name; a few in memory at a time."""
    import pyarrow.parquet as parquet
    from datasets import Features

    for shard in shards:
        with parquet.ParquetFile(shard) as file:
            features = Features.from_arrow_schema(file.schema_arrow)
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    for name in ("action", "object"):
                        row[name] = features[name].int2str(row[name])
                    yield row


def _write_pair(row: dict[str, Any], folder: Path, house: str, number: int) -> list[tuple[object, ...]]:
    """Write a pair's pictures; its two rows of the table."""
    noun, verb = row["object"], row["action"]
    for name in (noun, verb):
        if not name or re.search(r"[/\\\x00-\x1f]", name) or name == NO_VERB or csv_cell(name) != name:
            raise ValueError(f"The class {name!r} of pair {row['pair_id']} cannot be part of a file name there.")
    table: list[tuple[object, ...]] = []
    for when, figure, action in (
        ("before", f"{number:05d}_first", NO_VERB),
        ("after", f"{number:05d}_second_{noun}_{verb}", verb),
    ):
        (folder / COLOR / f"{figure}.png").write_bytes(_as_png(row[when]["bytes"]))
        box = row["box"]
        if row[f"mask_{when}"] is not None:
            content = _as_png(row[f"mask_{when}"]["bytes"])
            (folder / MASK / f"{figure}.png").write_bytes(content)
            box = mask_box(content) or box
        if box is None:
            raise ValueError(f"Pair {row['pair_id']} has neither a box nor a mask {when}; the layout needs its box.")
        table.append((house, number, figure, noun, action, *box))
    return table


def mask_box(content: bytes) -> list[int] | None:
    """The inclusive box of a mask's pixels that are on (above half), or None if there are none."""
    with PIL.Image.open(io.BytesIO(content)) as image:
        bounds = image.convert("L").point([255 * (level > 127) for level in range(256)]).getbbox()
    return bounds and [bounds[0], bounds[1], bounds[2] - 1, bounds[3] - 1]


def _as_png(content: bytes) -> bytes:
    if content.startswith(b"\x89PNG"):
        return content
    buffer = io.BytesIO()
    open_picture(content).pixels.save(buffer, "PNG")
    return buffer.getvalue()
