"""Writes the files of a split's parts from the shards in one pass, in row groups, with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet
from datasets import Features
from datasets.utils import tqdm

from ...whole_files import file_sha256
from .shards import ROW_GROUP_ROWS


def write_parts(
    shards: Sequence[Path],
    stored: Features,
    features: Features,
    parts: Mapping[str, Sequence[str]],
    folder: Path,
    rows_per_file: int,
    progress: bool,
) -> None:
    """Write every pair to its part or parts, in the order of the shards, into an existing folder.

    The files are `<part>-00000-of-00002.parquet` and so on; a part without pairs gets none. Shards are read once, a row
    group at a time. `parts` maps names to pair ids. The shards have the features `stored`; `features`, those of the
    files, may lack classes that no pair has.
    """
    parts_of: dict[str, list[str]] = {}
    for part, ids in parts.items():
        for pair_id in ids:
            parts_of.setdefault(pair_id, []).append(part)
    writers = {part: _PartWriter(folder, part, len(ids), features, rows_per_file) for part, ids in parts.items()}
    try:
        with tqdm(total=sum(map(len, parts.values())), desc="writing pairs", unit="pair", disable=not progress) as bar:
            for batch in _batches(shards):
                batch = _renumbered(batch, stored, features)
                rows_of: dict[str, list[int]] = {}
                for row, pair_id in enumerate(batch.column("pair_id").to_pylist()):
                    for part in parts_of.get(pair_id, ()):  # rows that no part uses are dropped
                        rows_of.setdefault(part, []).append(row)
                for part, rows in rows_of.items():
                    writers[part].add(batch.take(rows))
                    bar.update(len(rows))
    finally:
        for writer in writers.values():
            writer.close()


def file_checksums(folder: Path) -> list[str]:
    """The lines of `SHA256SUMS`, computed from the Parquet files in a folder."""
    return [f"{file_sha256(path)}  {path.name}" for path in sorted(folder.glob("*.parquet"))]


def unreadable(shard: Path, error: Exception) -> ValueError:
    """The error for a damaged shard."""
    reason = " ".join(str(error).split()).rstrip(".")
    return ValueError(f"{shard} is not a readable shard ({reason}); delete it and run the source again.")


def _batches(shards: Sequence[Path]) -> Iterator[pa.Table]:
    for shard in shards:
        try:
            with parquet.ParquetFile(shard, page_checksum_verification=True) as file:
                for batch in file.iter_batches(batch_size=ROW_GROUP_ROWS):
                    yield pa.Table.from_batches([batch])
        except (pa.ArrowInvalid, OSError) as error:
            raise unreadable(shard, error) from error


def _renumbered(table: pa.Table, stored: Features, features: Features) -> pa.Table:
    """The rows with the class ids of `features`."""
    for column in ("action", "object"):
        old, new = stored[column].names, features[column].names
        if old != new:
            ids = {name: number for number, name in enumerate(new)}
            of_old = pa.array([ids.get(name) for name in old], pa.int64())
            table = table.set_column(
                table.schema.get_field_index(column), column, pc.take(of_old, table.column(column))
            )
    return table


class _PartWriter:
    """Writes one part to files of `rows_per_file` rows, in row groups of equal size."""

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
        # The next row group is full, or what fits in the file.
        while self._waiting_rows >= (limit := min(ROW_GROUP_ROWS, self._rows_per_file - self._file_rows)):
            self._flush(limit)

    def close(self) -> None:
        if self._waiting_rows:
            self._flush(self._waiting_rows)
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _flush(self, rows: int) -> None:
        table = pa.concat_tables(self._waiting)
        group, rest = table.slice(0, rows), table.slice(rows)
        self._waiting, self._waiting_rows = ([rest] if rest.num_rows else []), rest.num_rows
        if self._writer is None:
            name = f"{self._part}-{self._number:05d}-of-{self._files:05d}.parquet"
            # Pictures do not repeat, so a dictionary would only cost memory.
            self._writer = parquet.ParquetWriter(self._folder / name, self._schema, use_dictionary=False)
        self._writer.write_table(group.select(self._schema.names).cast(self._schema), row_group_size=rows)
        self._file_rows += rows
        if self._file_rows == self._rows_per_file:
            self._writer.close()
            self._writer = None
            self._number, self._file_rows = self._number + 1, 0
