"""Rectangles of a picture: the part that is shown of a target, in training, fit, pipeline and demo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

#: Room around a box on each side, as a share of its longer side, unless a transform says otherwise.
CROP_MARGIN = 0.1


class Region(NamedTuple):
    """A rectangle of a picture in pixels: left, top <= x, y < right, bottom; fractions are allowed."""

    left: float
    top: float
    right: float
    bottom: float


def checked_box(box: Sequence[int], picture: tuple[int, int], pair_id: str | None = None) -> tuple[int, int, int, int]:
    """The bounds xmin, ymin, xmax, ymax (inclusive) of a box; `picture` is (width, height).

    Raises:
        ValueError: The box is empty or reaches outside the picture; the message names `pair_id`, if there is one.
    """
    left, top, right, bottom = box
    if not (0 <= left <= right < picture[0] and 0 <= top <= bottom < picture[1]):
        whose = "" if pair_id is None else f" of pair {pair_id}"
        raise ValueError(
            f"The box {list(box)}{whose} is not inside its picture of {picture[0]}x{picture[1]} "
            "pixels; boxes are xmin, ymin, xmax, ymax with inclusive bounds."
        )
    return left, top, right, bottom


def box_region(
    box: Sequence[int],
    picture: tuple[int, int],
    size: tuple[int, int],
    margin: float,
    pair_id: str | None = None,
) -> Region:
    """The part of a picture to show for a target: its box and a margin, in the aspect ratio of the output.

    Shapes are not squeezed, unlike in Causal Triplet, which scales the bare box to a square: the shorter side is
    extended until the region has the output's aspect ratio. A region that crosses the picture's border is moved
    inside. If it is larger than the picture it ends at the border, and only then the aspect ratio is lost.

    Args:
        box, picture, pair_id: See `checked_box`, also for errors.
        size: (height, width) of the output; only the ratio matters.
        margin: Room on each side, as a share of the box's longer side.
    """
    left, top, right, bottom = checked_box(box, picture, pair_id)
    box_width, box_height = right - left + 1, bottom - top + 1  # inclusive bounds
    room = 2 * margin * max(box_width, box_height)
    aspect = size[1] / size[0]
    height = max(box_height + room, (box_width + room) / aspect)
    spans = []
    for start, length, wanted, limit in (
        (left, box_width, height * aspect, picture[0]),
        (top, box_height, height, picture[1]),
    ):
        wanted = min(wanted, limit)
        begin = min(max(start + length / 2 - wanted / 2, 0.0), limit - wanted)
        spans.append((begin, begin + wanted))
    (x0, x1), (y0, y1) = spans
    return Region(x0, y0, x1, y1)
