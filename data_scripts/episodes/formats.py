"""Reads tables in CSV, TSV, JSON lines and Parquet as column names and numbered rows.

Formats that can run code (pickle) or need another library (HDF, spreadsheets) are refused. Text is UTF-8, with or
without a byte order mark.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_scripts.separators import declared_separator
from modeling_cde.models.limits_cde import LONGEST_NAME, MOST_COLUMNS, MOST_TABLE_BYTES, check_file_size

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")

_REFUSED_FORMATS = {
    **dict.fromkeys((".pkl", ".pickle"), "a pickle can run any code when it is read"),
    **dict.fromkeys((".pt", ".pth"), "such a file is a pickle, which can run any code when it is read"),
    **dict.fromkeys((".npy", ".npz"), "such a file may contain a pickle, which can run any code when it is read"),
    **dict.fromkeys(
        (".h5", ".hdf", ".hdf5"), "tables in HDF files are pickles in part, which can run any code when they are read"
    ),
    **dict.fromkeys((".xlsx", ".xls"), "spreadsheets are not read"),
    ".json": "one JSON value is not a table; write one object per line",
}

#: Row numbers, with the cells by column, or a sentence that says what is wrong with the row.
Cells = Iterator[tuple[int, "Mapping[str, Any] | str"]]


class ListingError(ValueError):
    """A table or folder that cannot be used at all; the message says what is wrong and what to do."""


def read_cells(path: Path, columns: Sequence[str]) -> tuple[list[str], Cells]:
    """The column names of a table in one of `FORMATS`, and its rows; cells outside `columns` may be left out.

    Raises:
        ListingError: The file is missing, in a format that is not supported, or broken.
    """
    suffix = path.suffix.lower()
    if suffix in _REFUSED_FORMATS:
        raise ListingError(f"{path} is refused: {_REFUSED_FORMATS[suffix]}. Save the table as {', '.join(FORMATS)}.")
    if suffix not in FORMATS:
        raise ListingError(f"{path} is not a supported table; the formats are {', '.join(FORMATS)}.")
    if not path.is_file():
        raise ListingError(f"There is no file {path}.")
    if suffix == ".parquet":
        return _parquet(path, columns)
    return _json_lines(path) if suffix == ".jsonl" else _csv(path, "," if suffix == ".csv" else "\t")


def _text(path: Path) -> str:
    try:
        check_file_size(path, MOST_TABLE_BYTES)
    except ValueError as error:
        raise ListingError(str(error)) from error
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ListingError(f"{path} is in UTF-16; save it as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ListingError(f"{path} is not in UTF-8 (line {line}); save it as UTF-8.") from error


def _csv(path: Path, delimiter: str) -> tuple[list[str], Cells]:
    text = io.StringIO(_text(path), newline="")
    first = text.readline()
    if len(first) > MOST_COLUMNS * LONGEST_NAME:
        raise ListingError(
            f"{path} has {len(first):,} characters and {first.count(delimiter) + 1:,} columns, and at most "
            f"{MOST_COLUMNS:,} are read; its first line must name the columns."
        )
    if separator := declared_separator(first):
        delimiter = separator
    else:
        text.seek(0)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    lines = []
    try:
        for line in reader:
            lines.append(line)
            if len(lines[0]) > MOST_COLUMNS:
                break  # the header alone is refused
    except csv.Error as error:
        raise ListingError(
            f"{path} is broken at line {reader.line_num + bool(separator)} ({error}); save it again."
        ) from error
    if not lines:
        raise ListingError(f"{path} is empty; its first line must name the columns.")
    header = [cell.strip() for cell in lines[0]]

    def cells() -> Cells:
        for number, line in enumerate(lines[1:], start=1):
            if not any(cell.strip() for cell in line):
                continue
            if len(line) != len(header):
                yield number, f"it has {len(line)} cells under {len(header)} columns"
            else:
                yield number, dict(zip(header, line, strict=True))

    return header, cells()


def _json_lines(path: Path) -> tuple[list[str], Cells]:
    rows: list[tuple[int, Mapping[str, Any] | str]] = []
    header: dict[str, None] = {}
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            rows.append((number, f"it is not JSON ({shortened(error)})"))
            continue
        if not isinstance(row, dict):
            rows.append((number, "it is not a JSON object"))
            continue
        header |= dict.fromkeys(row)
        if len(header) > MOST_COLUMNS:
            break  # the header alone is refused
        rows.append((number, row))
    return list(header), iter(rows)


def _parquet(path: Path, columns: Sequence[str]) -> tuple[list[str], Cells]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            for name in ("before", "after", "mask_before", "mask_after"):
                kind = schema.field(name).type if name in schema.names else pa.string()
                if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
                    raise ListingError(
                        f"{path} has {kind} in the column {name}, which needs paths; to store the pictures themselves, "
                        "write the columns of modeling_cde.data.pair_features and load the file directly."
                    )
            known = [name for name in schema.names if name in columns]
            table = file.read(columns=known)
    except (pa.ArrowException, OSError) as error:
        raise ListingError(f"{path} cannot be read as Parquet ({shortened(error)}); save it again.") from error
    return list(schema.names), iter(list(enumerate(table.to_pylist(), start=1)))


def shortened(value: Any) -> str:
    """A value or an error for a message: one line, at most 80 characters."""
    text = " ".join(str(value).split()) if isinstance(value, Exception) else repr(value)
    return text if len(text) <= 80 else text[:80] + "…"
