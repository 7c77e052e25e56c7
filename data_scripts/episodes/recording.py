"""Episodes in the LeRobot format, versions v2.0, v2.1 and v3.0: their metadata and files.

v2.0, v2.1                                              v3.0
meta/info.json                                          meta/info.json
meta/episodes.jsonl                                     meta/episodes/chunk-000/file-000.parquet
data/chunk-000/episode_000000.parquet                   data/chunk-000/file-000.parquet
videos/chunk-000/<camera>/episode_000000.mp4            videos/<camera>/chunk-000/file-000.mp4

meta/info.json names version, rate, cameras and path templates. In v3.0 a file contains many episodes: rows are found by
their episode_index, and an episode's part of a video starts at its from_timestamp. A camera's pictures are in videos
(dtype video) or, encoded, in the data files (dtype image).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as parquet

VERSIONS = ("v2.0", "v2.1", "v3.0")

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


@dataclass(frozen=True)
class Recording:
    """A folder of episodes, seen by one camera."""

    folder: Path
    version: str  # of the format
    fps: Fraction  # frames per second
    camera: str  # its key among the features
    robot: str  # its type, or ""
    episodes: list[Episode]  # in the order of their numbers


def read_recording(folder: Path, camera: str | None = None) -> Recording:
    """Read the metadata of a folder of episodes; `camera` is the key of one, None for the only one.

    Raises:
        RecordingError: Metadata are missing, broken or of an unknown version, or there is no such camera.
    """
    info = _read_info(folder)
    version = info.get("codebase_version")
    if version not in VERSIONS:
        raise RecordingError(
            f"{folder} is in version {version} of the LeRobot format; supported are {', '.join(VERSIONS)}. LeRobot's "
            "own scripts convert others."
        )
    try:
        fps = Fraction(str(info["fps"]))
        features = dict(info["features"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise RecordingError(f"{folder}/meta/info.json has no usable fps and features; download it again.") from error
    if fps <= 0:
        raise RecordingError(f"{folder}/meta/info.json gives {fps} frames per second, which is impossible.")
    camera = _choose_camera(folder, features, camera)
    kind = features[camera]["dtype"]
    own = features[camera].get("info") or features[camera].get("video_info") or {}
    rate = own.get("video.fps", fps) if isinstance(own, Mapping) else fps
    if kind == "video" and abs(float(rate) - float(fps)) > 0.01:
        raise RecordingError(
            f"{folder}/meta/info.json gives {float(fps):g} frames per second and {float(rate):g} for the videos of "
            f"{camera}; so frames cannot be found by number."
        )
    major = int(version[1])
    rows = _rows_v2(folder) if major == 2 else _rows_v3(folder, camera if kind == "video" else None)
    episodes = []
    for where, row in rows:
        try:
            episodes.append(_episode(info, major, camera, kind, row))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise RecordingError(
                f"{where} has no usable entry of an episode ({brief(error)}); download it again."
            ) from error
    episodes.sort(key=lambda episode: episode.number)
    for one, other in zip(episodes, episodes[1:], strict=False):
        if one.number == other.number:
            raise RecordingError(f"{folder}/meta lists episode {one.number} twice; download it again.")
    if not episodes:
        raise RecordingError(f"{folder}/meta lists no episodes.")
    total = info.get("total_episodes")
    if isinstance(total, int) and len(episodes) < total:
        raise RecordingError(
            f"{folder}/meta lists {len(episodes)} of the {total} episodes in info.json; download the whole folder meta."
        )
    return Recording(folder, version, fps, camera, str(info.get("robot_type") or ""), episodes)


def is_pointer(path: Path) -> bool:
    """Whether a file is the pointer that Git LFS leaves for a file that was not downloaded."""
    with path.open("rb") as file:
        return file.read(len(_LFS)) == _LFS


def _read_info(folder: Path) -> dict[str, Any]:
    path = folder / "meta" / "info.json"
    if not path.is_file():
        raise RecordingError(
            f"There is no {path}; --input must name a folder in the LeRobot format, with meta, data and videos in it."
        )
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path} cannot be read ({brief(error)}); download it again.") from error
    if not isinstance(info, dict):
        raise RecordingError(f"{path} does not contain a JSON object; download it again.")
    return info


def _choose_camera(folder: Path, features: Mapping[str, Any], camera: str | None) -> str:
    kinds = {key: feature.get("dtype") for key, feature in features.items() if isinstance(feature, Mapping)}
    cameras = sorted(key for key, kind in kinds.items() if kind in ("video", "image"))
    if not cameras:
        raise RecordingError(f"{folder} was recorded without a camera: no feature is a video or an image.")
    if camera is None and len(cameras) == 1:
        return cameras[0]
    if camera not in cameras:
        said = f"{folder} has no camera {camera!r}" if camera else f"{folder} has several cameras"
        raise RecordingError(f"{said}; choose with --camera: {', '.join(cameras)}.")
    return camera


def _rows_v2(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    path = folder / "meta" / "episodes.jsonl"
    if not path.is_file():
        raise RecordingError(f"There is no {path}, which lists the episodes in v2; download the whole folder meta.")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path} cannot be read ({brief(error)}); download it again.") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield f"{path}, line {number},", json.loads(line)
            except ValueError as error:
                raise RecordingError(
                    f"{path}, line {number}, is not JSON ({brief(error)}); download it again."
                ) from error


def _rows_v3(folder: Path, video: str | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    wanted = ["episode_index", "tasks", "length", "data/chunk_index", "data/file_index"]
    if video is not None:
        wanted += [f"videos/{video}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
    paths = sorted((folder / "meta" / "episodes").glob("*/*.parquet"))
    if not paths:
        raise RecordingError(
            f"There is no Parquet file in {folder}/meta/episodes/chunk-000, which lists the episodes in v3; "
            "download the whole folder meta."
        )
    for path in paths:
        if is_pointer(path):
            raise RecordingError(f"{path} is a Git LFS pointer; download the file itself.")
        try:
            with parquet.ParquetFile(path) as file:
                lacking = [name for name in wanted if name not in file.schema_arrow.names]
                if lacking:
                    raise RecordingError(f"{path} has no column {lacking[0]}; download it again.")
                rows = file.read(columns=wanted).select(wanted).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise RecordingError(f"{path} cannot be read ({brief(error)}); download it again.") from error
        for number, row in enumerate(rows):
            yield f"{path}, row {number},", row


def _episode(info: Mapping[str, Any], major: int, camera: str, kind: str, row: Mapping[str, Any]) -> Episode:
    index, length, tasks = int(row["episode_index"]), int(row["length"]), row["tasks"]
    tasks = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    if index < 0 or length < 0 or not all(isinstance(task, str) for task in tasks):
        raise ValueError(f"episode_index {index}, length {length}, tasks {tasks}")
    values: dict[str, Any] = {"episode_index": index, "video_key": camera, "total_episodes": info.get("total_episodes")}
    video, start = None, Fraction(0)
    if major == 2:
        values["episode_chunk"] = index // int(info.get("chunks_size") or 1000)
        places = {"data": values, "video": values}
    else:
        places = {"data": values | {name: int(row[f"data/{name}"]) for name in ("chunk_index", "file_index")}}
        if kind == "video":
            places["video"] = values | {
                name: int(row[f"videos/{camera}/{name}"]) for name in ("chunk_index", "file_index")
            }
            start = Fraction(row[f"videos/{camera}/from_timestamp"])
    data = _below(info.get("data_path") or _DATA_PATH[major], places["data"])
    if kind == "video":
        video = _below(info.get("video_path") or _VIDEO_PATH[major], places["video"])
    return Episode(index, tasks, length, data, video, start)


def _below(template: str, values: Mapping[str, Any]) -> str:
    path = PurePosixPath(str(template).format(**values))
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"the path {path} leaves the folder")
    return str(path)


def brief(error: Exception) -> str:
    """A library's error on one line of at most 160 characters."""
    text = " ".join((str(error) or type(error).__name__).split())
    return text if len(text) <= 160 else text[:160] + "…"
