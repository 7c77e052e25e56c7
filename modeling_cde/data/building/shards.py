"""One work unit's rows as a Parquet file; equal rows give equal bytes. A worker of a build imports this quickly."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..schema import REQUIRED_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows in a row group: a stream reads this many at once, and the writer of each part keeps this many in memory.
ROW_GROUP_ROWS = 100


def encode_shard(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> bytes:
    """A Parquet file of the rows: pictures as `{"bytes": ..., "path": None}`, classes as ids.

    All shards of a source have the same schema, `pair_features(...).arrow_schema`.

    Raises:
        ValueError: A row lacks a column, has one too many, or a required value is None.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    for number, row in enumerate(rows):
        if wrong := set(schema.names) ^ set(row):
            raise ValueError(f"Row {number} and the features differ in the columns {', '.join(sorted(wrong))}.")
        if empty := [name for name in REQUIRED_COLUMNS if row.get(name, "") is None]:
            raise ValueError(f"Row {number} has no {' and no '.join(empty)}.")
    file = io.BytesIO()
    table = pa.Table.from_pylist(list(rows), schema=schema)
    # The checksums let an assembly notice damage on the disk.
    parquet.write_table(table, file, row_group_size=ROW_GROUP_ROWS, use_dictionary=False, write_page_checksum=True)
    return file.getvalue()
