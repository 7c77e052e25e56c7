"""Reads the pictures at given times of a video file, exact to the frame, by PyAV (the libraries of FFmpeg).

The picture at a time is the one that a player shows: the last frame whose time stamp is not later. Time 0 is the start
of the file, which is the start of its first stream; before the first frame, that frame is shown. Time stamps are
compared as fractions, never as floats, and frames are never counted, so that a variable rate, B-frames, a start other
than zero and rates such as 60000/1001 work. To choose frames by number, ask for their `frame_times`.

The video is read once, forwards. If the container's index has a key frame well ahead of the current position and not
after the wanted time, the reader seeks to it and checks the time stamp of the decoded frame. Memory holds two frames,
whatever the length of the video.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from modeling_cde.models.limits_cde import MOST_FRAME_PIXELS

SEEK_GAIN = Fraction(1, 2)  # seconds that a seek must save, as it discards the decoder's frames
BLIND_GAIN = 10  # the same without an index, where the end of a seek is unknown
SEEK_BACK = (0, 1, 5, 20)  # seconds to seek further back until a frame is not too late
# Containers with a time stamp for each frame (AVI has none); play lists and the like would open further files.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts"


class VideoError(ValueError):
    """A video, or the picture at one of its times, cannot be read; the message names both."""


@dataclass(frozen=True)
class VideoInfo:
    """A video's header: length of the file, mean frames per second (None if unknown), size of a frame as stored."""

    seconds: Fraction | None
    rate: Fraction | None
    width: int
    height: int


def video_info(video: Path) -> VideoInfo:
    """Read the header of a video; nothing is decoded.

    Raises:
        VideoError: The file is missing or not a video, or its frames are larger than `MOST_FRAME_PIXELS`.
    """
    with _open(video) as (container, stream):
        seconds = None if container.duration is None else Fraction(container.duration, 1_000_000)
        rate = stream.average_rate
        context = stream.codec_context
        return VideoInfo(seconds, Fraction(rate) if rate else None, context.width, context.height)


def frame_times(video: Path) -> list[Fraction]:
    """Seconds from the file's start at which each frame is shown, ascending; nothing is decoded.

    A file that was cut off gives those up to there.

    Raises:
        VideoError: The video cannot be opened, or holds frames without time stamps.
    """
    import av

    with _open(video) as (container, stream):
        base = Fraction(stream.time_base)
        origin = _origin(container, stream, base)
        stamps: set[int] = set()
        packets, decoded = 0, None  # decoded: time stamp up to which all frames were seen
        try:
            for packet in container.demux(stream):
                if packet.size and packet.pts is None:
                    raise _unstamped(video)
                if packet.size:
                    packets, decoded = packets + 1, packet.dts
                    stamps |= set() if packet.is_discard else {packet.pts}
        except (av.FFmpegError, OSError):
            packets = -1
        if decoded is not None and packets < stream.frames:  # of the frames at the cut, some are missing
            stamps = {stamp for stamp in stamps if stamp < decoded}
        return [(stamp - origin) * base for stamp in sorted(stamps)]


def read_frames(video: Path, seconds: Sequence[float | Fraction]) -> list[Image.Image]:
    """Read the pictures of a video, RGB and upright if the file says how, at ascending times from the file's start.

    Raises:
        VideoError: The video cannot be read, or has no intact picture at one of the times; the message says which.
    """
    pictures = []
    for picture in iterate_frames(video, seconds):
        if isinstance(picture, VideoError):
            raise picture
        pictures.append(picture)
    return pictures


def iterate_frames(video: Path, seconds: Iterable[float | Fraction]) -> Iterator[Image.Image | VideoError]:
    """Like `read_frames`, one picture after the other.

    A time without a picture (after the end, in a damaged stretch) yields a `VideoError` in its place, and the other
    times still work. Damage extends to the next key frame. The decoder notices nearly all of it: with random bytes
    written into small H.264 videos, 14 of 20,393 pictures were silently wrong, as that format has no checksums.

    Raises:
        VideoError: The video cannot be opened, or the times do not ascend.
    """
    with _open(video) as (container, stream):
        reader = _Reader(video, container, stream)
        previous = Fraction(0)
        for second in seconds:
            time = Fraction(second)
            if time < previous:
                raise VideoError(f"Times of {video} must ascend from 0; {float(time):g} s comes too late in the list.")
            previous = time
            yield reader.picture(time)


@contextmanager
def _open(video: Path) -> Iterator[tuple[Any, Any]]:
    """A container and its first video stream; FFmpeg's own errors become `VideoError`."""
    import av

    if not video.is_file():
        raise VideoError(f"There is no video {video}.")
    try:
        options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
        container = av.open(f"file:{video}", options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(
            f"{video} cannot be opened as an MP4, Matroska or transport stream video ({_reason(error)}): download "
            "it again, or convert it."
        ) from error
    with container:
        if not container.streams.video:
            raise VideoError(f"{video} has no video stream.")
        stream = container.streams.video[0]
        context = stream.codec_context
        if context is None:
            raise VideoError(f"The installed PyAV cannot decode {video}.")
        if context.width * context.height > MOST_FRAME_PIXELS:
            raise VideoError(f"The frames of {video} are {context.width}x{context.height}, more than can be handled.")
        # Damaged frames must fail instead of being repaired from their neighbours.
        context.options = {"max_pixels": str(MOST_FRAME_PIXELS), "err_detect": "explode"}
        context.thread_type = "NONE"  # errors then belong to their own packet; videos are read in parallel instead
        yield container, stream


def _unstamped(video: Path) -> VideoError:
    return VideoError(f"{video} holds frames without time stamps: convert it to MP4 first.")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class _Reader:
    """A position in a video that only moves forwards.

    `self.shown` is the newest frame that is not later than the last wanted time, `self.coming` the one after it.
    """

    def __init__(self, video: Path, container: Any, stream: Any) -> None:
        self.video, self.container, self.stream = video, container, stream
        self.base = Fraction(stream.time_base)
        self.origin = _origin(container, stream, self.base)
        self.keys = _key_frames(stream)
        self.seekable = True
        self.shown: Any = None
        self.coming: Any = None
        # Stretches of time stamps without reliable frames, as open intervals; the last one may have no end yet.
        self.damage: list[tuple[Fraction | int, Fraction | int | None]] = []
        self.frames = self._decode()
        self.ended = False

    def picture(self, time: Fraction) -> Image.Image | VideoError:
        """The picture at a time, which must not be earlier than the time before."""
        wanted = self.origin + time / self.base
        self._go_to(wanted)
        for start, end in self.damage:
            if start < wanted and (end is None or wanted < end):
                return VideoError(f"{self.video} is damaged at {float(time):.3f} s: download it again.")
        frame = self.shown or self.coming
        if frame is None:
            return VideoError(f"{self.video} has no frame that can be decoded: download it again.")
        if self.coming is None and wanted >= (end_of_last := self._end()):
            length = float((end_of_last - self.origin) * self.base)
            header = (self.container.duration or 0) / 1e6
            cut = f", though its header says {header:.3f} s: download it again" if header > length + 1 else ""
            return VideoError(
                f"{self.video} has no frame at {float(time):.3f} s, its last one ends at {length:.3f} s{cut}."
            )
        picture = frame.to_image()
        return picture.rotate(frame.rotation, expand=True) if frame.rotation % 360 else picture

    def _go_to(self, wanted: Fraction) -> None:
        if (self.coming is None or self.coming.pts <= wanted) and not self.ended and self._worth_seeking(wanted):
            self._seek(wanted)
        while not self.ended and (self.coming is None or self.coming.pts <= wanted):
            self.shown = self.coming or self.shown
            self.coming = next(self.frames, None)
            self.ended = self.coming is None

    def _worth_seeking(self, wanted: Fraction) -> bool:
        """Whether a key frame lies far enough ahead and not after the wanted time."""
        position = self.coming.pts if self.coming is not None else self.origin
        if not self.seekable:
            return False
        if self.keys is None:
            return (wanted - position) * self.base > BLIND_GAIN
        number = bisect_right(self.keys, wanted)
        return number > 0 and (self.keys[number - 1] - position) * self.base > SEEK_GAIN

    def _seek(self, wanted: Fraction) -> None:
        """Go to a frame that is not later than wanted; where that fails, the reader starts again at the beginning."""
        import av

        for back in SEEK_BACK:
            if not self.seekable:
                break
            target = int(wanted - back / self.base)
            if target <= self.origin:
                break
            try:
                self.container.seek(target, backward=True, stream=self.stream)
            except av.FFmpegError:
                break
            self.frames = self._decode(from_key_frame=True)
            frame = next(self.frames, None)
            if frame is not None and frame.pts <= wanted:
                self.shown, self.coming = None, frame
                return
        self._restart()

    def _restart(self) -> None:
        """Read on from the beginning and seek no more: this container's index is wrong."""
        import av

        self.seekable = False
        try:
            self.container.seek(int(self.origin), backward=True, stream=self.stream)
        except av.FFmpegError as error:
            raise VideoError(f"{self.video} cannot be searched ({_reason(error)}): fetch it again.") from error
        self.frames = self._decode()
        self.shown, self.coming = None, next(self.frames, None)
        self.ended = self.coming is None

    def _decode(self, from_key_frame: bool = False) -> Iterator[Any]:
        """Frames from the current position on, in the order of their time stamps; notes what is damaged.

        After a seek, `from_key_frame` leaves out all that comes before the first key frame. Frames that depend on what
        came before it (an open group of pictures) follow it in the file and are shown before it.
        """
        import av

        last: Any = None
        first: int | None = None
        broken = False
        packets = self.container.demux(self.stream)
        while True:
            frames: list[Any] = []
            packet = None
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                if from_key_frame and first is None:
                    if not packet.is_keyframe or packet.pts is None:
                        continue
                    first = packet.pts
                if broken and packet.is_keyframe and packet.pts is not None:
                    self.damage[-1] = (self.damage[-1][0], packet.pts)
                    broken = False
                frames = packet.decode()
                failed = packet.is_corrupt
            except av.EOFError:
                return
            except (av.FFmpegError, OSError):
                if first is not None and packet is not None and packet.pts is not None and packet.pts < first:
                    self.seekable = False  # open groups of pictures: H.264 decoders stumble after a seek
                    return
                failed = True
            for frame in frames:
                if frame.pts is None:
                    raise _unstamped(self.video)
                if first is not None and frame.pts < first:
                    continue
                failed = failed or frame.is_corrupt
                last = frame
                yield frame
            if failed and not broken:
                self.damage.append((last.pts if last is not None else first or self.origin - 1, None))
                broken = True

    def _end(self) -> Fraction:
        """The time stamp at which the last frame stops being shown."""
        assert self.shown is not None
        rate = self.stream.average_rate
        duration = self.shown.duration or (1 / (Fraction(rate) * self.base) if rate else 1)
        return Fraction(self.shown.pts) + Fraction(duration)


def _key_frames(stream: Any) -> list[int] | None:
    """Time stamps of the key frames in ascending order, or None where the index does not hold them all.

    MP4 has the whole index in its header; Matroska and transport streams fill theirs while they are read.
    """
    entries = getattr(stream, "index_entries", ())
    if len(entries) < 2:
        return None
    return sorted(entry.timestamp for entry in entries if entry.is_keyframe)


def _origin(container: Any, stream: Any, base: Fraction) -> Fraction:
    """Time 0 in units of the stream: the start of the file, exact where the video stream itself starts first."""
    if stream.start_time is None:
        return Fraction(0)
    start = Fraction(stream.start_time)
    if container.start_time is None:
        return start
    earliest = Fraction(container.start_time, 1_000_000) / base
    # The container's start is rounded to microseconds.
    return earliest if (start - earliest) * base > Fraction(2, 1_000_000) else start
