"""Rows as a shard, in a process that should not spend seconds on importing `modeling_cde`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

# As modeling_cde.data.building.build.write_shard, whose import takes seconds that no worker should spend; a test
# compares them.
ROW_GROUP_ROWS = 100
_NOT_NULL = ("before", "after", "action", "object", "scene", "pair_id")


def encode_shard(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> bytes:
    """A Parquet file of the rows, byte for byte what `modeling_cde.data.building.build.write_shard` writes.

    Args:
        rows: With every column of `schema`.
        schema: `features.arrow_schema`.

    Raises:
        ValueError: A row lacks a column, has one too many, or nothing where something is required.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    for number, row in enumerate(rows):
        if wrong := set(schema.names) ^ set(row):
            raise ValueError(f"Row {number} and the features differ in the columns {', '.join(sorted(wrong))}.")
        if empty := [name for name in _NOT_NULL if row.get(name, "") is None]:
            raise ValueError(f"Row {number} has no {' and no '.join(empty)}.")
    file = io.BytesIO()
    table = pa.Table.from_pylist(list(rows), schema=schema)
    parquet.write_table(table, file, row_group_size=ROW_GROUP_ROWS, use_dictionary=False, write_page_checksum=True)
    return file.getvalue()
