"""Writes a copy of a data set in the LeRobot format with the columns of labels; see `label`."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as parquet

from data_scripts.episodes.judgement import Label
from modeling_cde.whole_files import write_folder_whole

#: As `meta/info.json` describes them; one value for each frame.
COLUMNS = {"cde.action": "string", "cde.success": "float32", "cde.progress": "float32"}


def check_copy(folder: Path, output: Path) -> None:
    """Checks, before long work, that a copy can be written.

    Raises:
        ValueError: The output exists, or lies within the folder.
    """
    if output.exists():
        raise ValueError(f"{output} exists; give --output a new folder, as the whole data set is copied there.")
    if output.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{output} lies within {folder}, which is copied; give --output another place.")


def write_labelled(folder: Path, output: Path, labels: Sequence[Label]) -> None:
    """Copy the data set; frames of episodes without a label get "" and NaN. Large files become links where they can.

    Raises:
        ValueError: The data set has such columns already.
    """
    info = json.loads((folder / "meta" / "info.json").read_text(encoding="utf-8"))
    if there := COLUMNS.keys() & info["features"].keys():
        raise ValueError(f"{folder} has a column {min(there)} already: label the original data set.")
    info["features"] |= {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in COLUMNS.items()}
    of = {label.episode.number: label for label in labels}
    with write_folder_whole(output) as temporary:
        shutil.copytree(folder, temporary, copy_function=_linked, dirs_exist_ok=True)
        _replace(temporary / "meta" / "info.json").write_text(json.dumps(info, indent=4), encoding="utf-8")
        for path in sorted((temporary / "data").rglob("*.parquet")):
            table = _with_columns(parquet.read_table(path), of)
            parquet.write_table(table, _replace(path))


def _with_columns(table: pa.Table, of: dict[int, Label]) -> pa.Table:
    places = zip(table["episode_index"].to_pylist(), table["frame_index"].to_pylist(), strict=True)
    rows = [_values(of.get(number), frame) for number, frame in places]
    features = datasets.Features.from_arrow_schema(table.schema)
    for name, kind in COLUMNS.items():
        values = pa.array([row[name] for row in rows], type=pa.string() if kind == "string" else pa.float32())
        table = table.append_column(name, values)
        features[name] = datasets.Value(kind)
    return table.replace_schema_metadata(features.arrow_schema.metadata)


def _values(label: Label | None, frame: int) -> dict[str, Any]:
    if label is None:
        return {"cde.action": "", "cde.success": math.nan, "cde.progress": math.nan}
    progress = label.progress[frame] if frame < len(label.progress) else math.nan
    return {"cde.action": label.seen, "cde.success": label.success, "cde.progress": progress}


def _linked(source: str, target: str) -> str:
    """A second name for a file, or a copy where the file system has none."""
    try:
        os.link(Path(source).resolve(), target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _replace(path: Path) -> Path:
    """The path, free to be written: what was linked there keeps its content under its first name."""
    path.unlink()
    return path
