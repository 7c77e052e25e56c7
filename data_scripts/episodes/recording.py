"""Episodes in the LeRobot format, versions v2.0, v2.1 and v3.0: their metadata and files.

v2.0, v2.1                                              v3.0
meta/info.json                                          meta/info.json
meta/episodes.jsonl                                     meta/episodes/chunk-000/file-000.parquet
data/chunk-000/episode_000000.parquet                   data/chunk-000/file-000.parquet
videos/chunk-000/<camera>/episode_000000.mp4            videos/<camera>/chunk-000/file-000.mp4

meta/info.json names version, rate, cameras and path templates. In v3.0 a file contains many episodes: rows are found by
their episode_index, and an episode's part of a video starts near its from_timestamp (`places`). A camera's pictures are
in videos (dtype video) or, encoded, in the data files (dtype image).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from data_scripts.episodes.entries import Episode, Fault, RecordingError, brief, read_entries
from data_scripts.episodes.tasks import fill_tasks
from modeling_cde.models.limits_cde import MOST_JSON_BYTES, check_file_size

VERSIONS = ("v2.0", "v2.1", "v3.0")

#: LeRobot keeps so many entries in memory before it writes them; those of a recording that was broken off are lost.
_UNWRITTEN = 10


@dataclass(frozen=True)
class Recording:
    """A folder of episodes, seen by one camera."""

    folder: Path
    version: str  # of the format
    fps: Fraction  # frames per second
    camera: str  # its key among the features
    robot: str  # its type, or ""
    episodes: list[Episode]  # in the order of their numbers
    faults: list[Fault]  # why others cannot be used, in that order


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
    episodes, faults = read_entries(folder, info, camera, kind)
    listed = {episode.number for episode in episodes} | {fault.number for fault in faults}
    faults += _not_listed(folder, info.get("total_episodes"), listed)
    episodes, without_task = fill_tasks(folder, episodes)
    faults = sorted([*faults, *without_task])
    if not episodes:
        why = f": episode {faults[0].number}, {faults[0].sentence}" if faults else ""
        raise RecordingError(f"{folder}/meta lists no episodes that can be used{why}; download it again.")
    return Recording(folder, version, fps, camera, str(info.get("robot_type") or ""), episodes, faults)


def _not_listed(folder: Path, total: Any, listed: set[int]) -> list[Fault]:
    """The last episodes that info.json counts and that are not listed."""
    if not isinstance(total, int) or not listed or len(listed) >= total:
        return []
    # A number from elsewhere, which is not counted up to before it is known to be near.
    missing = sorted(set(range(total)) - listed) if total <= len(listed) + _UNWRITTEN else []
    if not missing or len(missing) > _UNWRITTEN or missing[0] < max(listed):
        raise RecordingError(
            f"{folder}/meta lists {len(listed)} of the {total} episodes in info.json; download the whole folder meta."
        )
    sentence = f"meta/info.json counts {total} episodes, and meta lists those up to {max(listed)}"
    return [Fault(number, "not listed", sentence) for number in missing]


def _read_info(folder: Path) -> dict[str, Any]:
    path = folder / "meta" / "info.json"
    if not path.is_file():
        raise RecordingError(
            f"There is no {path}; --input must name a folder in the LeRobot format, with meta, data and videos in it."
        )
    try:
        check_file_size(path, MOST_JSON_BYTES)
        info = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
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
