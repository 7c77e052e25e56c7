"""Reads a video's frames from the official tar of frames, a folder of frames, or the video itself.

These places are searched below the folder that the user names, `P01_01` standing for any video:

    frames   P01/rgb_frames/P01_01.tar  P01/rgb_frames/P01_01/  P01_01.tar  P01_01/  (frame_0000000001.jpg and so on)
    videos   P01/videos/P01_01.MP4  P01_01.MP4  (or .mp4, .mkv)

Before a frame is used, the highest number is compared with the length of the video: frames that were extracted at
another rate all have wrong numbers, and are refused.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_scripts.archives.archive import ArchiveError
from data_scripts.archives.folder_files import FolderFiles
from data_scripts.archives.open_files import open_files
from data_scripts.builds.work_units import BadPairError, file_stamp
from data_scripts.epic_kitchens.frame_numbers import frame_time, is_within
from data_scripts.video import VideoError, iterate_frames, video_info
from modeling_cde.models.limits_cde import MOST_FRAME_BYTES

if TYPE_CHECKING:
    from PIL import Image

KINDS = ("frames", "videos")
FRAMES = ("{participant}/rgb_frames/{video}.tar", "{participant}/rgb_frames/{video}", "{video}.tar", "{video}")
VIDEOS = tuple(
    f"{folder}{{video}}{ending}" for folder in ("{participant}/videos/", "") for ending in (".MP4", ".mp4", ".mkv")
)
#: Videos whose official frames are wrong, by EPIC-KITCHENS-100's published erratum; the videos themselves are right.
WRONG_FRAMES = frozenset({"P01_109", "P27_103"})
_FRAME_NAME = re.compile(r"frame_([0-9]{10})\.jpe?g", re.IGNORECASE)
_OTHER_RATES = (1, 2, 5, 8, 10, 12, 15, 23.976, 24, 25, 29.97, 30, 47.952, 48, 50, 59.94, 60, 90, 100, 120)


class FramesError(ValueError):
    """A video's frames cannot be used at all; the message says which and what to do."""


@dataclass(frozen=True)
class Video:
    """What the index says about a video."""

    video_id: str  # `P01_01`
    rate: int  # frames per second of its frame numbers
    seconds: float  # its length
    fps: float  # its native rate


def find(root: Path, video_id: str, kind: str) -> Path | None:
    """The path of a video's frames, or of the video itself, below a folder; None if there is none."""
    for pattern in FRAMES if kind == "frames" else VIDEOS:
        path = root / pattern.format(participant=video_id.split("_")[0], video=video_id)
        if path.is_file() if path.suffix else path.is_dir():
            return path
    return None


def stamps(path: Path, numbers: Container[int]) -> dict[str, Any]:
    """What changes when these frames of a folder, or a tar or video as a whole, are replaced; see `Files.stamps`."""

    def wanted(name: str) -> bool:
        match = _FRAME_NAME.fullmatch(name)
        return match is not None and int(match[1]) in numbers

    return FolderFiles(path).stamps("", wanted) if path.is_dir() else {path.name: file_stamp(path)}


def pictures(
    path: Path, kind: str, video: Video, numbers: Iterable[int]
) -> Iterator[tuple[int, bytes | Image.Image | BadPairError]]:
    """Read frames by their official numbers, in ascending order, with one in memory at a time.

    `path` is from `find`; the kind `"frames"` yields the JPEG bytes, `"videos"` decoded pictures. Each number comes
    once, with its picture or an error that says why there is none.

    Raises:
        FramesError: Nothing can be used: the archive is damaged or cut short, the frames have another rate, or the
            video cannot be opened or is a different one.
    """
    wanted = sorted(set(numbers))
    yield from _from_frames(path, video, wanted) if kind == "frames" else _from_video(path, video, wanted)


def _from_frames(path: Path, video: Video, wanted: list[int]) -> Iterator[tuple[int, bytes | BadPairError]]:
    try:
        files = open_files(path)
        names = _numbered(files.names(), path)
    except ArchiveError as error:
        raise FramesError(str(error)) from error
    try:
        last = max(names, default=0)
        check_rate(path, video, last)
        files.prefetch([names[number] for number in wanted if number in names], MOST_FRAME_BYTES)
        for number in wanted:
            if number not in names:
                end = f", whose last one is {last}" if number > last else ""
                yield number, BadPairError("frame missing", f"frame {number} is missing in {path}{end}")
                continue
            try:
                content = files.read(names[number], MOST_FRAME_BYTES)
            except (ArchiveError, OSError) as error:
                yield number, BadPairError("frame unreadable", f"frame {number} cannot be read: {error}".rstrip("."))
            else:
                yield number, content
    finally:
        files.close()


def _numbered(names: Iterable[str], path: Path) -> dict[int, str]:
    """File names by frame number; other files are ignored."""
    found: dict[int, str] = {}
    for name in names:
        match = _FRAME_NAME.fullmatch(name.rsplit("/", 1)[-1])
        if match:
            number = int(match[1])
            if number in found:
                raise FramesError(
                    f"{path} has two frames {number} ({found[number]} and {name}): keep those of one video."
                )
            found[number] = name
    if 0 in found:
        raise FramesError(
            f"{path} counts its frames from 0 ({found[0]}), but the annotations count from 1: all would be wrong. Use "
            "the official frames, or extract them with ffmpeg, which counts from 1."
        )
    if not found:
        raise FramesError(f"{path} has no frames named like frame_0000000001.jpg: download or extract them again.")
    return found


def check_rate(path: Path, video: Video, last: int) -> None:
    """Refuse frames whose highest number, `last`, indicates another rate than that of the annotations.

    The official tars end up to 14 frames after length·rate. A copy that ends where another rate would end, or far
    later, has wrong numbers; one that ends too early elsewhere is cut short, which its missing frames show. A
    difference of ten frames (0.2 s) proves nothing: in a video of under three minutes, 59.94 and 60 per second look
    the same.

    Raises:
        FramesError: The message says which rate it seems to be.
    """
    expected = video.seconds * video.rate
    slack = 2 + 0.0005 * expected
    if last > expected + 30 + 0.005 * expected:
        found = min((*_OTHER_RATES, video.fps), key=lambda rate: abs(rate * video.seconds - last))
        seems = f"as at about {found:.5g} per second" if abs(found * video.seconds - last) < slack else "too many"
    elif last < expected - max(10.0, 0.0005 * expected):
        near = [rate for rate in (video.fps, *_OTHER_RATES) if abs(rate * video.seconds - last) <= 1 + 0.0002 * last]
        if not near:
            return
        seems = f"as at {near[0]:.5g} per second"
    else:
        return
    raise FramesError(
        f"The frames of {path} end at number {last}, {seems}; {video.video_id} has {video.seconds:.2f} s and its "
        f"numbers count {video.rate} per second. Use the official ones, or extract them with ffmpeg -r {video.rate}."
    )


def _from_video(path: Path, video: Video, wanted: list[int]) -> Iterator[tuple[int, Image.Image | BadPairError]]:
    try:
        seconds = video_info(path).seconds
        if seconds is not None and abs(float(seconds) - video.seconds) > 1 + 0.001 * video.seconds:
            raise FramesError(
                f"{path} is {float(seconds):.2f} s long and {video.video_id} {video.seconds:.2f} s, so it is "
                "another video or cut short: download it again."
            )
        found = iterate_frames(path, (_time(number, video) for number in wanted))
        for number, picture in zip(wanted, found, strict=True):
            if isinstance(picture, VideoError):
                sentence = f"frame {number} cannot be read: {picture}".rstrip(".")
                yield number, BadPairError("frame not in the video", sentence)
            else:
                yield number, picture
    except VideoError as error:
        raise FramesError(str(error)) from error


def _time(number: int, video: Video) -> Fraction:
    """`frame_time`; in the last slot, whose middle may lie after the stated end, that of the last native frame."""
    time = frame_time(number, video.rate)
    if time >= video.seconds and is_within(number, video.seconds, video.rate):
        return Fraction(video.seconds) - 1 / (2 * Fraction(video.fps))
    return time
