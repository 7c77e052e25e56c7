"""From the shards of a source to a folder that `datasets.load_dataset(folder, "single_syst")` reads as it is.

    folder/shards/<view>/*.parquet      in: one file per work unit of the source, rows of `pair_features`
    folder/<view>/<part>-*.parquet      out: train, validation, test, {validation,test}_{comp,syst}
    folder/<view>/SHA256SUMS            of these files; `sha256sum -c` checks them
    folder/manifests/<view>_<shift>.json
    folder/README.md                    configurations -> splits -> files

Notable: shards are read once, and written in row groups, so memory stays flat; equal shards, seed and options
give equal bytes (fixed row groups, no time stamps); everything is written aside and renamed, and the manifests
come last: an assembly that was killed is run again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
from datasets import ClassLabel, Features
from datasets.utils import tqdm

from .card import CHECKSUMS, DatasetCard, render_readme
from .schema import COLUMNS, SHIFTS, VIEWS, pair_features
from .splits import CleanOptions, SplitManifest, clean_split, joint_split

#: Rows in a row group: what a stream reads at once, and what the writer of each part holds in memory.
ROW_GROUP_ROWS = 100


def write_shard(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]], features: Features) -> None:
    """Write one work unit's pairs as a shard, aside and then renamed; equal rows give equal bytes.

    Args:
        path: `<folder>/shards/<view>/<unit>.parquet`.
        rows: With every column of `features`; pictures as `{"bytes": ..., "path": None}`, classes as ids.
        features: From `pair_features`, the same for all shards of a source.
    """
    table = pa.Table.from_pylist(list(rows), schema=features.arrow_schema)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    parquet.write_table(table, temporary, row_group_size=ROW_GROUP_ROWS, use_dictionary=False)
    os.replace(temporary, path)


def assemble(
    folder: str | os.PathLike[str],
    view: str,
    seed: int = 0,
    *,
    shift: str = "joint",
    options: CleanOptions | None = None,
    rows_per_file: int = 5000,
    card: DatasetCard | None = None,
    progress: bool = True,
) -> dict[str, SplitManifest]:
    """Split the pairs of the shards and write them as a data set.

    Args:
        folder: Of the data set; its shards lie in `shards/<view>`.
        view: `"single"` or `"multi"`. What the folder holds of the other view stays.
        seed: Of the split.
        shift: `"joint"` for both shifts around one training part, or `"comp"` or `"syst"` alone.
        options: Of the split.
        rows_per_file: Pairs in one output file.
        card: What README.md says of the pairs: what they are, where they come from, their licence.
        progress: Show a progress bar.

    Returns:
        The manifest of each shift.

    Raises:
        FileNotFoundError: If there are no shards.
        ValueError: If the shards do not have one and the same schema, or cannot be split so; says which.
    """
    if view not in VIEWS:
        raise ValueError(f"There is no view {view!r}; choose one of {', '.join(VIEWS)}.")
    if shift not in ("joint", *SHIFTS):
        raise ValueError(f"There is no shift {shift!r}; choose joint, {' or '.join(SHIFTS)}.")
    if rows_per_file < 1:
        raise ValueError(f"rows_per_file is {rows_per_file}; give 1 or more.")
    folder = Path(folder)
    shards = sorted((folder / "shards" / view).glob("*.parquet"))
    features, annotations = read_annotations(shards, folder / "shards" / view)
    manifests = (
        joint_split(annotations, seed, options)
        if shift == "joint"
        else {shift: clean_split(annotations, shift, seed, options)}
    )
    building = folder / f".{view}.tmp"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    _write_parts(shards, features, file_parts(manifests), building, rows_per_file, progress)
    _write_checksums(building)

    # From here on only renames and small files. A view is finished when its manifests are there: they go first
    # and come last, so whoever looks for them after a kill sees that the assembly has to be run again.
    paths = {name: folder / "manifests" / f"{view}_{name}.json" for name in SHIFTS}
    for path in paths.values():
        path.unlink(missing_ok=True)
    shutil.rmtree(folder / view, ignore_errors=True)
    os.replace(building, folder / view)
    finished = {path.stem: SplitManifest.load(path) for path in (folder / "manifests").glob("*.json")}
    finished |= {paths[name].stem: manifest for name, manifest in manifests.items()}
    temporary = folder / "README.md.tmp"
    temporary.write_text(render_readme(folder, finished, card or DatasetCard()), encoding="utf-8")
    os.replace(temporary, folder / "README.md")
    for name, manifest in manifests.items():
        manifest.save(paths[name])
    return manifests


def read_annotations(shards: Sequence[Path], where: Path) -> tuple[Features, dict[str, list[str]]]:
    """The shards' features, and the columns that a split depends on with classes by name.

    Raises:
        FileNotFoundError: If there are no shards.
        ValueError: If a shard is no Parquet file, or its columns or classes are not those of `pair_features`.
    """
    if not shards:
        raise FileNotFoundError(f"{where} holds no *.parquet shards; run the source that writes them first.")
    features: Features | None = None
    annotations: dict[str, list[str]] = {name: [] for name in ("pair_id", "action", "object", "scene")}
    for shard in shards:
        try:
            found = Features.from_arrow_schema(parquet.read_schema(shard))
            table = parquet.read_table(shard, columns=list(annotations))
        except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
            raise ValueError(f"{shard} is no readable shard ({error}); delete it and run the source again.") from error
        if features is None:
            features = found
            named = all(isinstance(found.get(name), ClassLabel) for name in ("action", "object"))
            if not named or pair_features(found["action"].names, found["object"].names) != found:
                raise ValueError(
                    f"{shard} has the columns {', '.join(found)}; needed are {', '.join(COLUMNS)}, as in pair_features."
                )
        elif found != features:
            raise ValueError(
                f"{shard} has other columns or class names than {shards[0].name}; write all shards with one "
                "pair_features, or delete those of an older run."
            )
        for name, values in annotations.items():
            column = table.column(name).to_pylist()
            values += [features[name].names[i] for i in column] if name in ("action", "object") else column
    assert features is not None
    return features, annotations


def file_parts(manifests: Mapping[str, SplitManifest]) -> dict[str, list[str]]:
    """Pair ids of each group of files: train, validation, test, then validation_<shift> and test_<shift>.

    The shifts of a joint split share the first three.
    """
    parts: dict[str, list[str]] = {}
    for shift, manifest in manifests.items():
        for part, ids in manifest.parts.items():
            parts[part.replace("_ood", f"_{shift}")] = ids
    return parts


def _write_parts(
    shards: Sequence[Path],
    features: Features,
    parts: Mapping[str, Sequence[str]],
    folder: Path,
    rows_per_file: int,
    progress: bool,
) -> None:
    """Write every pair to its part, in the order of the shards."""
    part_of = {pair_id: part for part, ids in parts.items() for pair_id in ids}
    writers = {part: _PartWriter(folder, part, len(ids), features, rows_per_file) for part, ids in parts.items()}
    try:
        with tqdm(total=len(part_of), desc="writing pairs", unit="pair", disable=not progress) as bar:
            for batch in _batches(shards):
                # pair_id -> part; rows that no part uses are dropped
                places = [part_of.get(pair_id) for pair_id in batch.column("pair_id").to_pylist()]
                for part, writer in writers.items():
                    rows = [row for row, place in enumerate(places) if place == part]
                    if rows:
                        writer.add(batch.take(rows))
                        bar.update(len(rows))
    finally:
        for writer in writers.values():
            writer.close()


def _write_checksums(folder: Path) -> None:
    lines = []
    for path in sorted(folder.glob("*.parquet")):
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        lines.append(f"{digest.hexdigest()}  {path.name}\n")
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def _batches(shards: Sequence[Path]) -> Iterator[pa.Table]:
    for shard in shards:
        with parquet.ParquetFile(shard) as file:
            for batch in file.iter_batches(batch_size=ROW_GROUP_ROWS):
                yield pa.Table.from_batches([batch])


class _PartWriter:
    """Writes one part to files of `rows_per_file` rows, in row groups of one size."""

    def __init__(self, folder: Path, part: str, rows: int, features: Features, rows_per_file: int) -> None:
        self._folder, self._part, self._rows_per_file = folder, part, rows_per_file
        self._files = -(-rows // rows_per_file)
        self._schema = features.arrow_schema
        self._waiting: list[pa.Table] = []
        self._waiting_rows = self._file_rows = self._number = 0
        self._writer: Any = None

    def add(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        while self._waiting_rows >= (limit := self._limit()):
            self._flush(limit)

    def close(self) -> None:
        if self._waiting_rows:
            self._flush(self._waiting_rows)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _limit(self) -> int:
        """Rows of the next row group: full, or what fits in the file."""
        return min(ROW_GROUP_ROWS, self._rows_per_file - self._file_rows)

    def _flush(self, rows: int) -> None:
        table = pa.concat_tables(self._waiting)
        group, rest = table.slice(0, rows), table.slice(rows)
        self._waiting, self._waiting_rows = ([rest] if rest.num_rows else []), rest.num_rows
        if self._writer is None:
            name = f"{self._part}-{self._number:05d}-of-{self._files:05d}.parquet"
            # Pictures do not repeat: a dictionary would only cost memory.
            self._writer = parquet.ParquetWriter(self._folder / name, self._schema, use_dictionary=False)
        self._writer.write_table(group.select(self._schema.names).cast(self._schema), row_group_size=rows)
        self._file_rows += rows
        if self._file_rows == self._rows_per_file:
            self._writer.close()
            self._writer = None
            self._number, self._file_rows = self._number + 1, 0
