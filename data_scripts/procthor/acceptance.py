"""Which objects may be targets and which pairs are kept: the published rules of Causal Triplet, as pure functions.

Boxes are xmin, ymin, xmax, ymax in pixels with inclusive bounds, so that a box of one pixel is one pixel wide; the
published code took the difference of the bounds for the width, and asked for one free pixel more on the left and above
than on the right and below. Pictures are `(height, width, 3)` uint8.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Boxes narrower or lower than this show too little of the target.
MIN_SIDE = 60
#: A box with this many pixels free on all four sides shows the whole target.
MARGIN = 20
#: One nearer to the border is kept only if both its sides are larger than this: it shows most of the target.
BORDER_SIDE = 100
#: Views with fewer candidates are passed over: the multi-object setting needs a choice.
MIN_CANDIDATES = 2
#: More pixels than this have to change where both boxes are: the action is visible.
MIN_CHANGED = 1000
#: Fewer pixels than this may change outside the hull of both boxes: nothing else happened.
MAX_OUTSIDE = 20

NO_OVERLAP = "the target left its box"
TOO_LITTLE = "too little changed"
TOO_MUCH_OUTSIDE = "something else changed"


class Box(NamedTuple):
    """Inclusive bounds in pixels."""

    xmin: int
    ymin: int
    xmax: int
    ymax: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.xmax - self.xmin + 1

    @property
    def height(self) -> int:
        """Rows."""
        return self.ymax - self.ymin + 1

    def of(self, pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The part of an `(height, width)` array that lies in the box."""
        return pixels[self.ymin : self.ymax + 1, self.xmin : self.xmax + 1]


def large_enough(box: Box) -> bool:
    """Both sides have at least `MIN_SIDE` pixels."""
    return box.width >= MIN_SIDE and box.height >= MIN_SIDE


def inside_margin(box: Box, width: int, height: int) -> bool:
    """At least `MARGIN` pixels of the picture are free on every side of the box."""
    free = (box.xmin, box.ymin, width - 1 - box.xmax, height - 1 - box.ymax)
    return min(free) >= MARGIN


def mostly_visible(box: Box, width: int, height: int) -> bool:
    """The box lies inside the margin, or is larger than `BORDER_SIDE` on both sides."""
    return inside_margin(box, width, height) or (box.width > BORDER_SIDE and box.height > BORDER_SIDE)


def suitable(box: Box, width: int, height: int) -> bool:
    """Whether a visible, actionable object with this box is a candidate in a picture of that size."""
    return large_enough(box) and mostly_visible(box, width, height)


def changed_pixels(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """`(height, width)`, true where any channel differs."""
    changed: NDArray[np.bool_] = (before != after).any(axis=2)
    return changed


def intersection(first: Box, second: Box) -> Box | None:
    """What lies in both boxes, or None."""
    box = Box(
        max(first.xmin, second.xmin),
        max(first.ymin, second.ymin),
        min(first.xmax, second.xmax),
        min(first.ymax, second.ymax),
    )
    return box if box.width > 0 and box.height > 0 else None


def hull(first: Box, second: Box) -> Box:
    """The smallest box around both."""
    return Box(
        min(first.xmin, second.xmin),
        min(first.ymin, second.ymin),
        max(first.xmax, second.xmax),
        max(first.ymax, second.ymax),
    )


def refusal(changed: NDArray[np.bool_], box_before: Box, box_after: Box) -> str | None:
    """Why a pair is not kept, or None, by its `changed_pixels` and the target's boxes."""
    common = intersection(box_before, box_after)
    if common is None:
        return NO_OVERLAP
    if int(common.of(changed).sum()) <= MIN_CHANGED:
        return TOO_LITTLE
    if int(changed.sum()) - int(hull(box_before, box_after).of(changed).sum()) >= MAX_OUTSIDE:
        return TOO_MUCH_OUTSIDE
    return None


def mask_box(mask: NDArray[np.bool_]) -> Box | None:
    """The smallest box around the true pixels of an `(height, width)` mask, or None if there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1]))


def rules() -> dict[str, int]:
    """All thresholds by name, for the record of a build."""
    return {
        "min_side": MIN_SIDE,
        "margin": MARGIN,
        "border_side": BORDER_SIDE,
        "min_candidates": MIN_CANDIDATES,
        "min_changed": MIN_CHANGED,
        "max_outside": MAX_OUTSIDE,
    }
