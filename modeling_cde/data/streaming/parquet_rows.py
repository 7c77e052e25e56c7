"""Reads row groups of Parquet files, local or on the Hub, and retries if the network fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as parquet

Result = TypeVar("Result")

#: Seconds between the attempts to read a remote file: at least five minutes in all. In each attempt the client of the
#: Hub retries by itself.
WAITS: tuple[float, ...] = (1, 2, 5, 10, 20, 40, 60, 60, 60, 60)

# Footers are small, so reading them mostly waits for the Hub.
_FOOTERS_AT_ONCE = 16


class StreamError(ConnectionError):
    """A file could not be read during streaming; the message names it."""


class RowGroup(NamedTuple):
    """A part of a Parquet file that is read as a whole: the file, its index, and its numbers of rows and bytes."""

    path: str
    place: int
    rows: int
    size: int


class ParquetRows:
    """The rows of Parquet files, by row group.

    Args:
        paths: Local files, or addresses that fsspec knows, such as `hf://datasets/org/name@commit/x.parquet`.
        token: For addresses of private repositories of the Hub.

    Attributes:
        groups: The row groups of all files, in order.
        schemas: The Arrow schema of each file, in order.

    Raises:
        ValueError: A file is damaged or not Parquet.
        StreamError: A file cannot be reached.
    """

    def __init__(self, paths: Sequence[str], token: str | None = None) -> None:
        self.token = token
        with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
            footers = list(pool.map(lambda path: _patiently(path, lambda: self._open(path).metadata), paths))
        self.schemas = [footer.schema.to_arrow_schema() for footer in footers]
        self.groups = [
            RowGroup(path, index, footer.row_group(index).num_rows, footer.row_group(index).total_byte_size)
            for path, footer in zip(paths, footers, strict=True)
            for index in range(footer.num_row_groups)
        ]
        self._file: tuple[str, Any] = ("", None)
        self._last: tuple[Any, pa.Table | None] = (None, None)

    def read(self, group: RowGroup, columns: Sequence[str], closing: threading.Event | None = None) -> pa.Table:
        """Read one row group; a read that fails is repeated, so nothing is lost or duplicated.

        The last group is kept in memory: the next block of a stream often continues in it.

        Set `closing` to stop further attempts.

        Raises:
            ValueError: The file is damaged.
            StreamError: It cannot be read; a remote file, after several attempts.
        """

        def attempt() -> pa.Table:
            if self._file[0] != group.path:
                self._file = (group.path, self._open(group.path))
            try:
                return self._file[1].read_row_group(group.place, columns=list(columns))
            except BaseException:
                self._file = ("", None)  # the next attempt opens it again
                raise

        if self._last[0] != (group, tuple(columns)):
            self._last = (None, None)  # free it before the next one is read
            self._last = ((group, tuple(columns)), _patiently(group.path, attempt, closing))
        return self._last[1]

    def _open(self, path: str) -> parquet.ParquetFile:
        if "://" not in path:
            return parquet.ParquetFile(path)
        import fsspec  # type: ignore[import-untyped]

        options = {"token": self.token} if path.startswith("hf://") and self.token else {}
        system, name = fsspec.core.url_to_fs(path, **options)
        # Arrow reads whole column chunks: a cache in between would read more.
        return parquet.ParquetFile(system.open(name, cache_type="none"), pre_buffer=True)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": ("", None), "_last": (None, None)}  # open files stay in their process


def _patiently(path: str, read: Callable[[], Result], closing: threading.Event | None = None) -> Result:
    """The result of `read`, after several attempts if the file is remote."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    remote, began, attempts = "://" in path, time.monotonic(), 0
    while True:
        try:
            return read()
        except (OSError, HTTPError, pa.ArrowException) as error:
            attempts += 1
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            if isinstance(error, pa.ArrowException) and not isinstance(error, OSError) and not remote:
                raise ValueError(
                    f"{path} is damaged or not a Parquet file ({reason}); build or download the data set again."
                ) from error
            if not remote or _is_lasting(error) or attempts > len(WAITS):
                minutes = (time.monotonic() - began) / 60
                tried = f" {attempts} times in {minutes:.1f} minutes" if attempts > 1 else ""
                raise StreamError(f"{path} could not be read{tried} ({reason}).") from error
            if (closing or threading.Event()).wait(WAITS[attempts - 1]):
                raise StreamError(f"{path} could not be read before the stream was closed ({reason}).") from error


def _is_lasting(error: BaseException) -> bool:
    """Whether another attempt would fail too: the file does not exist, or access is denied."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return isinstance(error, (FileNotFoundError, PermissionError)) or (
        status is not None and 400 <= status < 500 and status not in (408, 429)
    )
