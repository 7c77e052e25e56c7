"""EPIC-KITCHENS-100's frame numbers: the rate at which they count, and the moment of the video that each one shows.

Numbers start at 1 and count at a nominal rate F, 60 per second in the videos PXX_YY of 2018 and 50 in the videos
PXX_1YY of 2020, whatever rate a video was recorded at (59.94 and 50 mostly; also 29.97, 47.95 and 90).

The official frames were written by `ffmpeg -i VIDEO -vf scale=-2:256 -q:v 4 -r F frame_%010d.jpg` (the annotations'
repositories give it; 2018 with NVIDIA's decoder and scaler, 2020 with `-r 50`). FFmpeg's conversion to a constant
rate gives each native frame, which is shown from time t on, to the slot round(t·F), halves upwards, and repeats it
until the next one's slot. So frame n, the slot n − 1, shows the last native frame with t < (n − 1/2)/F: the picture
in the middle of the slot. This is what `frame_time` stands for, and what FFmpeg's `fps` filter does.

Not reproduced: FFmpeg's versions differ by one slot where they repeat a frame, and the official tars hold up to
some 14 more frames than duration·F (0.2 s in half an hour), which cannot be told from a video. A picture from a video
can therefore be a few native frames off the tar's picture of the same number.
"""

from __future__ import annotations

import re
from fractions import Fraction

VIDEO_ID = re.compile(r"(P[0-9]{2})_(1[0-9]{2}|[0-9]{2})")
_TIMESTAMP = re.compile(r"([0-9]{2,}):([0-5][0-9]):([0-5][0-9](?:\.[0-9]+)?)")
_BEFORE_A_HALF = Fraction(1, 10**9)  # seconds; less than the clock of any container resolves


def nominal_rate(video_id: str) -> int:
    """Frames per second of a video's frame numbers: 50 for PXX_1YY, 60 for PXX_YY; others raise ValueError."""
    match = VIDEO_ID.fullmatch(video_id)
    if not match:
        raise ValueError(f"{video_id!r} is not a video id such as P01_05 or P01_105")
    return 50 if len(match[2]) == 3 else 60


def timestamp_seconds(timestamp: str) -> float:
    """Seconds of `HH:MM:SS.ss`; other formats raise ValueError."""
    match = _TIMESTAMP.fullmatch(timestamp)
    if not match:
        raise ValueError(f"the time {timestamp!r} is not written HH:MM:SS.ss")
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])


def start_frame(seconds: float, rate: int) -> int:
    """The number that the official tables give to a segment's start."""
    return max(1, int(seconds * rate))


def stop_frame(seconds: float, rate: int) -> int:
    """The number that the official tables give to a segment's end."""
    return int(seconds * rate)


def is_within(number: int, seconds: float, rate: int) -> bool:
    """Whether a video of a stated length has the frame of a number: its slot begins before the end.

    The slot itself may end later, so a good segment can stop up to one frame after the stated end (P29_05_563 does).
    """
    return number - 1 < seconds * rate


def frame_time(number: int, rate: int) -> Fraction:
    """The time in seconds at which a video shows the frame of a number, to be looked up as "the last frame not later".

    A nanosecond before the middle of the slot: a native frame that begins exactly there belongs to the next slot.
    """
    return Fraction(2 * number - 1, 2 * rate) - _BEFORE_A_HALF
