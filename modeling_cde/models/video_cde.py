"""Reads the frames of a video file with PyAV, where that is installed."""

import os
from importlib import import_module
from typing import Any

from .limits_cde import MOST_FRAME_PIXELS
from .pictures_cde import BadPictureError

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts")
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts"  # the others may name further files


def is_video(path: Any) -> bool:
    """Whether it is a path that ends as videos do."""
    return isinstance(path, (str, os.PathLike)) and os.fspath(path).lower().endswith(SUFFIXES)


def read_video(path: str | os.PathLike[str], frames_per_second: float, most: int) -> tuple[list[Any], list[float]]:
    """The frames of a video at even times, as PIL images, and these times in seconds from the first frame.

    Args:
        path: Of a file.
        frames_per_second: How many are read; all of them if the video has fewer.
        most: More frames than this are an error.

    Raises:
        BadPictureError: The file does not exist or is no video that can be read, or has too many or too large frames.
        ImportError: PyAV is not installed.
    """
    if not os.path.isfile(path):
        raise BadPictureError(f"There is no video {os.fspath(path)!r}: give the path of a file.")
    try:
        av: Any = import_module("av")
    except ImportError as error:
        raise ImportError(
            "Videos are read by PyAV, which is not installed: run `pip install av`, or give the frames as pictures."
        ) from error
    pictures: list[Any] = []
    seconds: list[float] = []
    try:
        options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
        with av.open(f"file:{os.fspath(path)}", options=options, metadata_errors="replace") as container:
            if not container.streams.video:
                raise BadPictureError(f"{path} has no pictures: give a video.")
            stream = container.streams.video[0]
            size = stream.codec_context.width, stream.codec_context.height
            if size[0] * size[1] > MOST_FRAME_PIXELS:
                raise BadPictureError(f"The frames of {path} have {size[0]}x{size[1]} pixels; give smaller ones.")
            stream.codec_context.options = {"max_pixels": str(MOST_FRAME_PIXELS)}
            first = None
            for frame in container.decode(stream):
                if frame.pts is None:
                    raise BadPictureError(f"{path} has frames without a time: convert it to MP4.")
                time = float(frame.pts * stream.time_base)
                first = time if first is None else first
                # A time stamp is rounded, so the one that is due may be a little early.
                if time - first < len(pictures) / frames_per_second - 1e-3:
                    continue
                if len(pictures) == most:
                    raise BadPictureError(
                        f"{path} has more than {most} frames at {frames_per_second:g} a second: give a lower "
                        "frames_per_second, or a part of the video."
                    )
                picture = frame.to_image()
                pictures.append(picture.rotate(frame.rotation, expand=True) if frame.rotation % 360 else picture)
                seconds.append(time - first)
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, BadPictureError):
            raise
        raise BadPictureError(
            f"{path} cannot be read as an MP4, Matroska or transport stream video: convert it to MP4."
        ) from error
    return pictures, seconds
