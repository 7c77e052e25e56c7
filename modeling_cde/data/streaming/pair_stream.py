"""The pairs of one split as a stream: what is in which file, and how it is read (`order` decides the order).

`datasets` streams too, but loses the content of its shuffle buffer when a run stops, and lets processes with unequal
shares wait for each other forever. Here the numbers of rows in the footers give every process equal shares, and any
batch is found again without reading the earlier ones.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from ..chosen_rows import evenly_spaced
from ..loading import check_class_names, check_columns, features_of, find_files
from .order import Piece
from .parquet_rows import ParquetRows


class PairStream:
    """The pairs of one split in their files; only what `StreamedBatches` needs is read.

    Args:
        rows: The files.
        features: Of their columns.
        transform: As in `transform_pairs`; None returns the columns.
        buffer: Pairs of a block, at least one; rounded up to whole batches.

    Raises:
        ValueError: buffer is below 1, or there are no pairs.
    """

    def __init__(
        self,
        rows: ParquetRows,
        features: datasets.Features,
        transform: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
        buffer: int = 512,
    ) -> None:
        if buffer < 1:
            raise ValueError(f"stream_buffer={buffer} must be at least 1: it is the number of pairs that are shuffled.")
        if not any(group.rows for group in rows.groups):
            raise ValueError("The files of the training part contain no pairs; build the data set with more pairs.")
        self.rows, self.features, self.transform, self.buffer = rows, features, transform, buffer

    def __len__(self) -> int:
        return sum(group.rows for group in self.rows.groups)

    def __getitem__(self, column: str) -> list[Any]:
        """A column of all pairs, in the order of the files; for a small one, such as `pair_id`.

        Raises:
            TypeError: The key is the number of a pair, as if a stream was to be evaluated.
        """
        if not isinstance(column, str):
            raise TypeError(
                "A stream gives no pair by number: use it for training, and load evaluation data by load_pairs."
            )
        tables = [self.rows.read(group, [column]) for group in self.rows.groups]
        return list(pa.concat_tables(tables).column(column).to_pylist())

    def with_transform(self, transform: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> PairStream:
        """The same pairs with a transform."""
        return PairStream(self.rows, self.features, transform, self.buffer)

    def sample(self, number: int) -> datasets.Dataset:
        """Load at most this number of pairs into memory, from evenly spaced row groups, which are read as a whole."""
        groups = [group for group in self.rows.groups if group.rows]
        largest = max(group.rows for group in groups)
        chosen = [groups[i] for i in evenly_spaced(len(groups), math.ceil(number / largest))]
        table = pa.concat_tables([self.rows.read(group, list(self.features)) for group in chosen])
        table = table.take(evenly_spaced(len(table), number))
        self._check_actions(table.select(["action", "pair_id"]).to_pylist(), chosen[0].path)
        return datasets.Dataset(table.cast(self.features.arrow_schema))

    @property
    def fingerprint(self) -> str:
        """Identifies the files' names and the rows and bytes of all row groups; folders do not count."""
        groups = [(Path(group.path).name, *group[1:]) for group in self.rows.groups]
        return hashlib.sha256(repr(groups).encode()).hexdigest()[:16]

    @property
    def columns(self) -> list[str]:
        """The columns to read: all but those that the transform does not use."""
        extras = getattr(self.transform, "extras", None)
        if extras is None:
            return list(self.features)
        wanted = {"before", "after", "action", "pair_id", "box"}
        wanted |= {"object"} if "objects" in extras else set()
        wanted |= {"mask_before", "mask_after"} if "masks" in extras else set()
        return [name for name in self.features if name in wanted]

    def read(self, pieces: Sequence[Piece], closing: threading.Event | None = None) -> list[dict[str, Any]]:
        """Read the rows of some pieces as they are stored.

        Raises:
            ValueError: An action is missing or out of range; see also `ParquetRows.read`.
        """
        rows: list[dict[str, Any]] = []
        for number, first, end in pieces:
            group = self.rows.groups[number]
            table = self.rows.read(group, self.columns, closing)
            rows += table.slice(first, end - first).to_pylist()
            self._check_actions(rows[first - end :], group.path)
        return rows

    def _check_actions(self, rows: Sequence[dict[str, Any]], path: str) -> None:
        known = range(len(self.features["action"].names))
        for row in rows:
            if row["action"] not in known:
                raise ValueError(
                    f"{path}: the action of pair {row['pair_id']} is {row['action']}; it must be one of the "
                    f"{len(known)} classes, 0 to {len(known) - 1}."
                )

    def transformed(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Apply the transform to some rows."""
        if self.transform is None:
            return list(rows)
        result = self.transform({name: [row[name] for row in rows] for name in rows[0]})
        return [dict(zip(result, values, strict=True)) for values in zip(*result.values(), strict=True)]


def stream_pairs(
    source: str | os.PathLike[str],
    config: str,
    split: str = "train",
    buffer: int = 512,
    *,
    revision: str | None = None,
    token: str | None = None,
) -> PairStream:
    """Open one split of a folder or of a repository as a stream.

    Args:
        source, config, revision, token: See `modeling_cde.data.loading.load_pairs`.
        split: Its name, without a slice.
        buffer: See `PairStream`.

    Raises:
        FileNotFoundError: The source is neither a folder with data nor a repository.
        ValueError: The configuration or the split does not exist, a file is damaged or not Parquet, the columns are
            wrong, or the files disagree about the class names.
        StreamError: A file cannot be reached.
    """
    data_files = find_files(source, config, revision=revision, token=token)
    if split not in data_files:
        raise ValueError(f"{source}, {config} has no split {split!r}; it has {', '.join(data_files)}.")
    paths = data_files[split]
    if other := [path for path in paths if not path.endswith(".parquet")]:
        raise ValueError(
            f"{source}: {other[0]} is not a Parquet file, and only those can be streamed; leave out --streaming."
        )
    rows = ParquetRows(paths, token)
    check_class_names(str(source), zip(paths, rows.schemas, strict=True))
    features = features_of(rows.schemas[0], paths[0])
    check_columns(features, f"{source}, {config}, {split}")
    images = {name: datasets.Image(decode=False) for name, kind in features.items() if isinstance(kind, datasets.Image)}
    return PairStream(rows, datasets.Features({**features, **images}), buffer=buffer)
