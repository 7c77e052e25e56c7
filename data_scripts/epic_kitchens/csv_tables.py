"""Reads the official tables as CSV, carefully, as they may come from anywhere; also the tables of classes and videos.

CSV only. EPIC-KITCHENS's tables also circulate as pickles and HDF files, and loading those can run any code that their
author put in. They are refused by name and by their first bytes, and nothing here is ever unpickled.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_scripts.names import is_name, normalized
from data_scripts.separators import LONGEST, declared_separator

_REFUSED = (".pkl", ".pickle", ".p", ".joblib", ".hdf", ".hdf5", ".h5", ".he5", ".npy", ".npz", ".pt", ".pth")
#: First bytes of files that are not text: pickles of protocol 2 and later, HDF5, HDF4, zip, gzip, Parquet.
_MAGIC = {
    **{bytes([0x80, protocol]): "a Python pickle" for protocol in range(2, 6)},
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\x0e\x03\x13\x01": "an HDF4 file",
    b"PK\x03\x04": "a zip",
    b"\x1f\x8b": "a gzip file",
    b"PAR1": "a Parquet file",
}
_CAN_RUN_CODE = "loading one can run any code that its author put in, so only CSV is read"


class TableError(ValueError):
    """A table cannot be used at all; the message names it."""


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    number: int  # line of the file where it ends; the header is line 1
    values: dict[str, str]  # by column, without those that the row lacks
    complete: bool  # whether it has exactly the columns of the header

    def floats(self, *columns: str) -> list[float]:
        """The numbers in columns; all are NaN if one is missing or not a number."""
        try:
            return [float(self.values[column]) for column in columns]
        except (KeyError, ValueError):
            return [math.nan] * len(columns)


@dataclass(frozen=True)
class VideoRow:
    """A video's row of EPIC_100_video_info.csv: its length in seconds and its native frames per second."""

    seconds: float
    fps: float


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Read a CSV file in UTF-8 or, with a byte order mark, UTF-16; it may have more than the required `columns`.

    Raises:
        TableError: It is missing, a pickle, HDF or other binary file, not CSV, badly encoded, or lacks a column.
    """
    encoding = _encoding(path)
    try:
        with path.open(encoding=encoding, newline="") as file:
            separator = declared_separator(file.readline(LONGEST))
            if separator is None:
                file.seek(0)
            reader = csv.reader(file, strict=True, delimiter=separator or ",")
            header = next(reader, [])
            missing = [name for name in columns if name not in header]
            if missing:
                raise TableError(
                    f"{path} has no column {', '.join(missing)}; its first line needs {', '.join(columns)}."
                )
            if len(set(header)) != len(header):
                raise TableError(f"{path} has two columns with the same name.")
            for cells in reader:
                if cells:
                    values = dict(zip(header, cells, strict=False))
                    yield Row(reader.line_num + bool(separator), values, len(cells) == len(header))
    except UnicodeDecodeError as error:
        raise TableError(f"{path} is not text in UTF-8 (byte {error.start} of a block): save it as UTF-8.") from error
    except csv.Error as error:
        raise TableError(f"{path} is not a CSV file, line {reader.line_num} ({error}).") from error
    except OSError as error:
        raise TableError(f"{path} cannot be read ({error.strerror}).") from error


def _encoding(path: Path) -> str:
    """UTF-8 or UTF-16, after checking that the file is text."""
    if path.suffix.lower() in _REFUSED:
        raise TableError(f"{path} is refused by its ending {path.suffix}: {_CAN_RUN_CODE}. Use the table's .csv file.")
    if path.is_dir():
        raise TableError(f"{path} is a folder: name the .csv file in it.")
    if not path.is_file():
        raise TableError(f"There is no table {path}.")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise TableError(f"{path} cannot be read ({error.strerror}).") from error
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            why = f": {_CAN_RUN_CODE}" if "pickle" in kind or "HDF" in kind else ""
            raise TableError(f"{path} is {kind}, whatever its name says{why}. Use the table's .csv file.")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in head:
        raise TableError(f"{path} is a binary file, no CSV. Use the table's .csv file.")
    return "utf-8-sig"


def read_classes(path: Path, first: str | None = None) -> dict[int, str]:
    """Keys of the classes of EPIC_100_verb_classes.csv or EPIC_100_noun_classes.csv, by id.

    `first` is the key that class 0 must have: both tables have the same columns and ids, so confusing them would give
    nearly every segment a wrong name.

    Raises:
        TableError: As `read_rows`, or an id is not a number, an id or key is missing or occurs twice, or class 0 is
            different.
    """
    classes: dict[int, str] = {}
    for row in read_rows(path, ("id", "key")):
        text, key = row.values.get("id", "").removesuffix(".0"), normalized(row.values.get("key", "").strip())
        if not (text.isascii() and text.isdecimal() and len(text) < 7) or not is_name(key):
            raise TableError(f"{path}, line {row.number}: a class needs a number and a key, not {text!r} and {key!r}.")
        if int(text) in classes or key in classes.values():
            raise TableError(f"{path}, line {row.number}: the class {text} {key} occurs twice.")
        classes[int(text)] = key
    if not classes:
        raise TableError(f"{path} has no classes.")
    if first is not None and classes.get(0) != first:
        raise TableError(
            f"{path} is the wrong table: its class 0 is {classes.get(0)!r}, not {first!r}. Give "
            "EPIC_100_verb_classes.csv with --verb_classes and EPIC_100_noun_classes.csv with --noun_classes."
        )
    return classes


def read_instances(path: Path) -> dict[str, str]:
    """The key of the class that each raw verb or noun belongs to, by the table's column `instances` if it has one.

    Raises:
        TableError: As `read_rows`.
    """
    keys: dict[str, str] = {}
    for row in read_rows(path, ("key",)):
        for single, double in re.findall(r"'([^']*)'|\"([^\"]*)\"", row.values.get("instances", "")):
            keys.setdefault(single or double, row.values["key"].strip())
    return keys


def read_videos(path: Path) -> dict[str, VideoRow]:
    """Length and native rate of the videos of EPIC_100_video_info.csv.

    Raises:
        TableError: As `read_rows`, or a length or rate is not a positive number, or a video occurs twice.
    """
    videos: dict[str, VideoRow] = {}
    for row in read_rows(path, ("video_id", "duration", "fps")):
        video_id = row.values["video_id"]
        video = VideoRow(*row.floats("duration", "fps"))
        if not (0 < video.seconds < math.inf and 0 < video.fps < math.inf):
            raise TableError(f"{path}, line {row.number}: {video_id} has no positive duration and fps.")
        if video_id in videos:
            raise TableError(f"{path}, line {row.number}: the video {video_id} occurs twice.")
        videos[video_id] = video
    if not videos:
        raise TableError(f"{path} has no videos.")
    return videos
