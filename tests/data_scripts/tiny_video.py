"""Small videos whose frames carry their own number as squares, so that a test reads which one it got."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS = 16


def numbered(number: int, width: int = 128, height: int = 64) -> NDArray[np.uint8]:
    """An `(height, width, 3)` picture with the bits of `number` in a row of squares, twice (the second inverted)."""
    pixels = np.full((height, width, 3), 128, np.uint8)
    side = width // BITS
    for bit in range(BITS):
        value = 235 if number >> bit & 1 else 20
        pixels[: height // 2, bit * side : (bit + 1) * side] = value
        pixels[height // 2 :, bit * side : (bit + 1) * side] = 255 - value
    return pixels


def number_of(picture: Image.Image) -> int:
    """The number that `numbered` wrote, from a picture of any size; fails where the two rows disagree."""
    pixels = np.asarray(picture.convert("L").resize((BITS * 4, 8), Image.Resampling.BOX), np.float64)
    upper, lower = (
        pixels[rows].reshape(-1, BITS, 4)[:, :, 1:3].mean(axis=(0, 2)) for rows in (slice(1, 3), slice(5, 7))
    )
    bits = upper > 128
    assert ((lower > 128) == ~bits).all(), "the picture is a mixture of frames"
    return int((bits * (1 << np.arange(BITS))).sum())


def fps_filter(path: Path, rate: int) -> list[int]:
    """Numbers of the frames that FFmpeg's own `fps` filter makes of a video, in their order from the start on.

    Time stamps are shifted by the start of the file and the first slots filled, as the `ffmpeg` command does.
    """
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        source = graph.add_buffer(template=stream)
        fps = graph.add("fps", f"fps={rate}:round=near:start_time=0")
        sink = graph.add("buffersink")
        source.link_to(fps)
        fps.link_to(sink)
        graph.configure()
        numbers: list[int] = []

        def pull() -> None:
            while True:
                try:
                    numbers.append(number_of(graph.pull().to_image()))
                except (av.BlockingIOError, av.EOFError):
                    return

        for frame in container.decode(stream):
            frame.pts -= stream.start_time
            graph.push(frame)
            pull()
        graph.push(None)
        pull()
    return numbers


def write_video(
    path: Path,
    frames: int,
    rate: Fraction | int,
    *,
    start: Fraction | int = 0,
    key_interval: int = 1000,
    b_frames: int = 2,
    size: tuple[int, int] = (128, 64),
    times: list[Fraction] | None = None,
    options: dict[str, str] | None = None,
) -> list[Fraction]:
    """Write an H.264 video of numbered frames.

    Args:
        path: file; its ending chooses the container.
        frames: their number.
        rate: native frames per second.
        start: time of the first frame in seconds.
        key_interval: frames from one key frame to the next, at most.
        b_frames: in a row.
        size: width and height in pixels.
        times: of the frames, for a variable rate; else `start + k / rate`.
        options: further ones of x264 or of the container (names that begin with "container_").

    Returns:
        The time of each frame in seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    times = times or [Fraction(start) + k / Fraction(rate) for k in range(frames)]
    container_options = {k[10:]: v for k, v in (options or {}).items() if k.startswith("container_")}
    codec_options = {k: v for k, v in (options or {}).items() if not k.startswith("container_")}
    base = Fraction(1, 90_000)
    with av.open(str(path), "w", options=container_options) as container:
        stream = container.add_stream("libx264", rate=Fraction(rate))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = base
        stream.codec_context.gop_size = key_interval
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.thread_count = 1
        stream.options = {
            "preset": "veryfast",
            "crf": "24",
            "sc_threshold": "0",
            "b_strategy": "0",
            **codec_options,
        }
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered(number, *size), format="rgb24")
            frame.pts = round(time / base)
            frame.time_base = base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return [Fraction(round(time / base)) * base for time in times]
