"""Reads the pictures of episodes: single frames of videos, or encoded pictures in data files.

Which frames of a video are an episode's is found by counting (`places`), because time stamps of joined videos drift.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from data_scripts.builds.work_units import BadPairError
from data_scripts.episodes.entries import Episode, absent, brief, leaves
from data_scripts.episodes.places import VideoPlaces
from data_scripts.episodes.recording import Recording

if TYPE_CHECKING:
    from PIL import Image

Found = dict[tuple[int, int], list[bytes]]  # encoded pictures by episode and frame, of which there should be one each


def episode_pictures(
    recording: Recording, frames: Mapping[Episode, tuple[int, ...]], notes: list[str]
) -> Iterator[tuple[Episode, list[Image.Image] | list[bytes] | BadPairError]]:
    """Each episode, in the order given, with its pictures (PIL or encoded) or a `BadPairError`.

    `frames` gives the numbers of the frames that are wanted of each episode, ascending, from 0. Sentences on files
    whose time stamps or numbers of frames are not as listed are added to `notes`.
    """
    videos: dict[str | None, list[Episode]] = {episode.video: [] for episode in frames}
    for episode in recording.episodes:
        if episode.video in videos:
            videos[episode.video].append(episode)
    video: str | None = None
    places: VideoPlaces | BadPairError | None = None
    for episode in frames:
        if episode.video is None:
            continue
        if episode.video != video:
            video = episode.video
            places = _places(recording, video, videos[video])
            notes += places.notes if isinstance(places, VideoPlaces) else []
        assert places is not None
        yield episode, _from_video(recording, video, places, episode, frames[episode])
    # Episodes in one data file follow each other, so the file is read once for all of them.
    data: str | None = None
    found: Found | BadPairError = {}
    for episode in frames:
        if episode.video is not None:
            continue
        if episode.data != data:
            data = episode.data
            found = _from_data(recording, data, {e: both for e, both in frames.items() if e.data == data}, notes)
        yield episode, _chosen(found, episode, frames[episode])


def _places(recording: Recording, video: str, episodes: list[Episode]) -> VideoPlaces | BadPairError:
    from data_scripts.video import VideoError, frame_times

    if (why := absent(recording.folder, video)) is not None:
        return BadPairError("missing video", why)
    try:
        times = frame_times(recording.folder / video)
    except VideoError as error:
        return _broken(recording, video, error)
    return VideoPlaces(video, episodes, times, recording.fps)


def _from_video(
    recording: Recording, video: str, places: VideoPlaces | BadPairError, episode: Episode, frames: tuple[int, ...]
) -> list[Image.Image] | BadPairError:
    from data_scripts.video import VideoError, read_frames

    if isinstance(places, BadPairError):
        return places
    try:
        return read_frames(recording.folder / video, places.frame_times(episode, frames))
    except VideoError as error:
        return _broken(recording, video, error)
    except BadPairError as error:
        return error


def _broken(recording: Recording, video: str, error: Exception) -> BadPairError:
    return BadPairError("broken video", str(error).replace(str(recording.folder / video), video).rstrip("."))


def _chosen(found: Found | BadPairError, episode: Episode, frames: tuple[int, ...]) -> list[bytes] | BadPairError:
    if isinstance(found, BadPairError):
        return found
    pictures = []
    for frame in frames:
        contents = found.get((episode.number, frame), [])
        if len(contents) != 1:
            reason, what = ("frame twice", "several pictures") if contents else ("missing frame", "no picture")
            return BadPairError(reason, f"{episode.data} has {what} of frame {frame}")
        pictures += contents
    return pictures


def _from_data(
    recording: Recording, name: str, frames: Mapping[Episode, tuple[int, ...]], notes: list[str]
) -> Found | BadPairError:
    """Encoded pictures of a data file, without missing ones; reads only the row groups that have some of `frames`."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    path, camera = recording.folder / name, recording.camera
    if (why := absent(recording.folder, name)) is not None:
        return BadPairError("missing data file", why)
    wanted = {(episode.number, frame) for episode, both in frames.items() for frame in both}
    found: Found = {}
    number_of_frames: Counter[int] = Counter()
    try:
        with parquet.ParquetFile(path) as file:
            lacking = {"episode_index", "frame_index", camera} - set(file.schema_arrow.names)
            if lacking:
                return BadPairError("broken data file", f"{name} has no column {', '.join(sorted(lacking))}")
            for group in range(file.num_row_groups):
                index = file.read_row_group(group, columns=["episode_index", "frame_index"])
                numbers, places = (index.column(key).to_pylist() for key in ("episode_index", "frame_index"))
                number_of_frames.update(numbers)
                keys = zip(numbers, places, strict=True)
                rows = {row: key for row, key in enumerate(keys) if key in wanted}
                if rows:
                    column = file.read_row_group(group, columns=[camera]).column(camera).take(list(rows))
                    for key, value in zip(rows.values(), column.to_pylist(), strict=True):
                        if (content := _content(recording.folder, value)) is not None:
                            found.setdefault(key, []).append(content)
    except (pa.ArrowException, OSError) as error:
        return BadPairError("broken data file", f"{name} cannot be read ({brief(error)})")
    for number, length in sorted((episode.number, episode.length) for episode in frames):
        if number_of_frames[number] > length:
            notes.append(
                f"{name} has {number_of_frames[number]} frames of episode {number}, and its entry lists {length}."
            )
    return found


def _content(folder: Path, value: Any) -> bytes | None:
    """The bytes of a stored picture, read from its own file if it is next to the data files."""
    if isinstance(value, bytes) or value is None:
        return value
    if isinstance(value, dict) and value.get("bytes"):
        return bytes(value["bytes"])
    path = PurePosixPath(str(value.get("path") or "/") if isinstance(value, dict) else "/")
    if path.is_absolute() or ".." in path.parts or not (folder / path).is_file():
        return None
    if leaves(folder, path):
        return None
    return (folder / path).read_bytes()
