"""Parquet files of tiny pairs whose row groups are uneven, and what a loader makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
from torch.utils.data import DataLoader

from modeling_cde.data.schema import pair_features
from modeling_cde.data.streaming.batches import StreamedBatches
from modeling_cde.data.streaming.pair_stream import PairStream
from modeling_cde.data.streaming.parquet_rows import ParquetRows
from modeling_cde.data.transforms import PairTransform
from tests.data.tiny_pairs import ACTIONS, OBJECTS, rows

#: Rows of the row groups of each file: 53 pairs.
SIZES = ((7, 7, 3), (10, 1), (6, 6, 6, 7))


def write_files(folder: Path, sizes: tuple[tuple[int, ...], ...] = SIZES) -> list[str]:
    """Files `folder/train-<n>.parquet` with these row groups."""
    paths, first = [], 0
    schema = pair_features(ACTIONS, OBJECTS).arrow_schema
    folder.mkdir(parents=True, exist_ok=True)
    for number, groups in enumerate(sizes):
        path = folder / f"train-{number}.parquet"
        with parquet.ParquetWriter(path, schema) as writer:
            for size in groups:
                writer.write_table(pa.Table.from_pylist(rows(size, first), schema=schema), row_group_size=size)
                first += size
        paths.append(str(path))
    return paths


def stream_of(paths: list[str], buffer: int = 10, augment: bool = True) -> PairStream:
    """A stream with a transform to 32 pixels."""
    transform = PairTransform((32, 32), crop="none", augment=augment)
    return PairStream(ParquetRows(paths), pair_features(ACTIONS, OBJECTS), buffer=buffer).with_transform(transform)


def named(items: Any) -> list[str]:
    """A `collate` that gives the names of pairs."""
    return [item["pair_id"] for item in items]


def batches_of(
    stream: PairStream,
    batch_size: int = 4,
    process: int = 0,
    processes: int = 1,
    workers: int = 0,
    epoch: int = 0,
    resumed: tuple[int, int, dict[str, Any]] | None = None,
) -> tuple[list[list[str]], dict[str, Any]]:
    """The pairs of each batch of one process in one epoch, and the state of the stream."""
    plain = PairStream(stream.rows, stream.features, buffer=stream.buffer)
    batches = StreamedBatches(plain, named, batch_size, 0, process, processes, workers)
    if resumed is not None:
        batches.go_on(*resumed)
    batches.set_epoch(epoch)
    return list(DataLoader(batches, batch_size=None, num_workers=workers)), batches.state()
