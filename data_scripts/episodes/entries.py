"""The entries of episodes in a folder in the LeRobot format: `meta/episodes.jsonl` (v2) or `meta/episodes/` (v3.0).

An entry that cannot be used, such as that of an episode whose recording was broken off, becomes a `Fault`; the others
are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as parquet

from modeling_cde.models.limits_cde import MOST_TABLE_BYTES, check_file_size, check_within

_DATA_PATH = {
    2: "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    3: "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
}
_VIDEO_PATH = {
    2: "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    3: "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
}
_LFS = b"version https://git-lfs"


class RecordingError(ValueError):
    """A folder of episodes cannot be read; the message says what is wrong and what to do."""


class Episode(NamedTuple):
    """The metadata of an episode; its files are named by their paths below the folder."""

    number: int
    tasks: tuple[str, ...]  # instructions; most episodes have one
    length: int  # in frames
    data: str
    video: str | None  # None if pictures are in the data file
    start: Fraction  # second of the video at which it starts


class Fault(NamedTuple):
    """An episode that cannot be used; `reason` is for counting, `sentence` says why, without a period at its end."""

    number: int  # of the episode; that of its place where the entry does not say
    reason: str
    sentence: str


def read_entries(folder: Path, info: Mapping[str, Any], camera: str, kind: str) -> tuple[list[Episode], list[Fault]]:
    """The episodes of a folder and what is wrong with the others, both in the order of their numbers.

    Episodes have the tasks of their entries, of which some data sets have none (see `tasks`). `info` is what
    `meta/info.json` holds; `kind` says whether the pictures of `camera` are in videos ("video").

    Raises:
        RecordingError: The list of episodes is missing or cannot be read.
    """
    major = int(info["codebase_version"][1])
    episodes: dict[int, Episode] = {}
    faults: list[Fault] = []
    number = -1
    rows = _rows_v2(folder) if major == 2 else _rows_v3(folder, camera if kind == "video" else None)
    for where, row in rows:
        number += 1
        if isinstance(row, str):
            faults.append(Fault(number, "broken entry", f"{where}, {row}"))
            continue
        try:
            number = _whole(row, "episode_index")
            episode = _episode(info, major, camera, kind, row)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            told = f"it has no {error}" if isinstance(error, KeyError) else brief(error)
            faults.append(Fault(number, "broken entry", f"{where}, has no usable entry of an episode ({told})"))
            continue
        if number in episodes:
            faults.append(Fault(number, "listed twice", f"{where}, lists episode {number} once more"))
        episodes.setdefault(number, episode)
    for fault in faults:
        if fault.reason == "listed twice":
            episodes.pop(fault.number, None)  # nothing says which of them is right
    return sorted(episodes.values()), sorted(faults)


def is_pointer(path: Path) -> bool:
    """Whether a file is the pointer that Git LFS leaves for a file that was not downloaded."""
    with path.open("rb") as file:
        return file.read(len(_LFS)) == _LFS


def absent(folder: Path, name: str) -> str | None:
    """Why a file below the folder is missing, or None if it is there."""
    if not (folder / name).is_file():
        return f"there is no {name}"
    if leaves(folder, name):
        return f"{name} is a link to a file outside of the folder; put the file itself there"
    return f"{name} is a Git LFS pointer; download the file itself" if is_pointer(folder / name) else None


def leaves(folder: Path, name: str | PurePosixPath) -> bool:
    """Whether a file below the folder is a link to a file elsewhere."""
    try:
        check_within(folder / name, folder)
    except ValueError:
        return True
    return False


def brief(error: Exception) -> str:
    """A library's error on one line of at most 160 characters."""
    text = " ".join((str(error) or type(error).__name__).split())
    return text if len(text) <= 160 else text[:160] + "…"


def read_lines(path: Path) -> Iterator[tuple[int, Any | ValueError]]:
    """The numbered JSON values of a file, one a line, or the error of a line; blank lines are left out.

    Raises:
        RecordingError: The file cannot be read.
    """
    try:
        check_file_size(path, MOST_TABLE_BYTES)
        lines = path.read_bytes().split(b"\n")
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path} cannot be read ({brief(error)}); download it again.") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield number, json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                yield number, ValueError(brief(error))


def _rows_v2(folder: Path) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    path = folder / "meta" / "episodes.jsonl"
    if not path.is_file():
        raise RecordingError(f"There is no {path}, which lists the episodes in v2; download the whole folder meta.")
    for number, row in read_lines(path):
        where = f"{path.relative_to(folder)}, line {number}"
        if isinstance(row, ValueError):
            yield where, f"is not JSON ({row})"
        else:
            yield where, row if isinstance(row, dict) else "is not a JSON object"


def _rows_v3(folder: Path, video: str | None) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    needed = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    # Episodes whose videos were never encoded lack these in a file of their own, or have null in them.
    more = ["tasks", *(f"videos/{video}/{name}" for name in ("chunk_index", "file_index", "from_timestamp"))]
    paths = sorted((folder / "meta" / "episodes").glob("*/*.parquet"))
    if not paths:
        raise RecordingError(
            f"There is no Parquet file in {folder}/meta/episodes/chunk-000, which lists the episodes in v3; "
            "download the whole folder meta."
        )
    for path in paths:
        check_within(path, folder)
        if is_pointer(path):
            raise RecordingError(f"{path} is a Git LFS pointer; download the file itself.")
        try:
            with parquet.ParquetFile(path) as file:
                lacking = [name for name in needed if name not in file.schema_arrow.names]
                if lacking:
                    raise RecordingError(f"{path} has no column {lacking[0]}; download it again.")
                columns = [*needed, *(name for name in more if name in file.schema_arrow.names)]
                rows = file.read(columns=columns).select(columns).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise RecordingError(
                f"{path} cannot be read ({brief(error)}); download it again or, if its recording was broken off, move "
                "it away to use the other episodes."
            ) from error
        for number, row in enumerate(rows):
            yield f"{path.relative_to(folder)}, row {number}", row


def _episode(info: Mapping[str, Any], major: int, camera: str, kind: str, row: Mapping[str, Any]) -> Episode:
    index, length, tasks = _whole(row, "episode_index"), _whole(row, "length"), row.get("tasks") or ()
    tasks = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    if not all(isinstance(task, str) for task in tasks):
        raise ValueError(f"tasks is {tasks}")
    values: dict[str, Any] = {"episode_index": index, "video_key": camera, "total_episodes": info.get("total_episodes")}
    video, start = None, Fraction(0)
    if major == 2:
        values["episode_chunk"] = index // int(info.get("chunks_size") or 1000)
        places = {"data": values, "video": values}
    else:
        places = {"data": values | {name: _whole(row, f"data/{name}") for name in ("chunk_index", "file_index")}}
        if kind == "video":
            own = f"videos/{camera}"
            places["video"] = values | {name: _whole(row, f"{own}/{name}") for name in ("chunk_index", "file_index")}
            stamp = row[f"{own}/from_timestamp"]
            if stamp is None or not 0 <= stamp < float("inf"):
                raise ValueError(f"{own}/from_timestamp is {stamp}")
            start = Fraction(stamp)
    data = _below(info.get("data_path") or _DATA_PATH[major], places["data"])
    if kind == "video":
        video = _below(info.get("video_path") or _VIDEO_PATH[major], places["video"])
    return Episode(index, tasks, length, data, video, start)


def _whole(row: Mapping[str, Any], name: str) -> int:
    """A whole number of a row, which some tools store as a float."""
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value % 1 != 0:
        raise ValueError(f"{name} is {value}")
    return int(value)


def _below(template: str, values: Mapping[str, Any]) -> str:
    path = PurePosixPath(str(template).format(**values))
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"the path {path} leaves the folder")
    return str(path)
