"""The rules by which pairs of rooms are accepted, each on both sides of its number.

Nothing is rendered: the rules get pictures and segments that are drawn here, at the size that their numbers belong to.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data_scripts.rooms import pairs as rules
from data_scripts.rooms.pairs import Box, Pair, RejectedError, bounding_box

SIZE = rules.REFERENCE_SIZE
TARGET = (200, 200, 499, 499)  # of the pairs that are drawn here


def reason_of(check: Any, *arguments: Any) -> str | None:
    try:
        check(*arguments)
    except RejectedError as error:
        return error.reason
    return None


# --- what has changed ---------------------------------------------------------------------------------------------


def drawn_pair(inside: int, outside: int = 0, by: int = 21, by_outside: int = 91, channel: int = 0,
               action: str = "open", size: int = SIZE) -> Pair:  # fmt: skip
    """Pictures of which this many pixels of the target's box, and outside of it, differ by this much in a channel."""
    picture, mask = np.full((size, size, 3), 100, np.uint8), np.zeros((size, size), bool)
    x0, y0, x1, y1 = (side * size // SIZE for side in TARGET)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    after = picture.copy()
    for where, number, change in ((mask, inside, by), (~mask, outside, by_outside)):
        rows, columns = (places[:number] for places in np.nonzero(where))
        after[rows, columns, channel] = 100 + change
    box = bounding_box(mask)
    return Pair(picture, after, mask, mask, box, box, action, "Box")


ONE_PERCENT, THREE_PERCENT = 4516, 13547  # of 672 x 672 pixels: at least, and at most


@pytest.mark.parametrize(
    ("view", "pair", "reason"),
    [
        ("multi", drawn_pair(1000), None),
        ("multi", drawn_pair(999), "unchanged"),
        ("multi", drawn_pair(9000, by=20), "unchanged"),
        ("multi", drawn_pair(1000, by=-21), None),
        ("multi", drawn_pair(9000, by=-20), "unchanged"),
        ("single", drawn_pair(ONE_PERCENT), None),
        ("single", drawn_pair(ONE_PERCENT - 1), "unchanged"),
        ("multi", drawn_pair(0, 20_000), "unchanged"),
        ("multi", drawn_pair(250, size=336), None),
        ("multi", drawn_pair(249, size=336), "unchanged"),
        ("single", drawn_pair(1129, size=336), None),
        ("single", drawn_pair(1128, size=336), "unchanged"),
        ("multi", drawn_pair(1000, THREE_PERCENT, by_outside=41), None),
        ("multi", drawn_pair(1000, THREE_PERCENT + 1, by_outside=41), "outside"),
        ("single", drawn_pair(5000, THREE_PERCENT + 1, by_outside=-41), "outside"),
        ("multi", drawn_pair(1000, 50_000, by_outside=40), None),
        ("multi", drawn_pair(1000, 50_000, by_outside=90, action="turnon"), None),
        ("multi", drawn_pair(1000, THREE_PERCENT + 1, by_outside=91, action="turnoff"), "outside"),
        ("multi", drawn_pair(1000, THREE_PERCENT, by_outside=91, action="turnoff"), None),
    ],
)
def test_a_change_is_neither_too_small_nor_elsewhere(view: str, pair: Pair, reason: str | None) -> None:
    assert reason_of(rules.check_change, pair, view) == reason


@pytest.mark.parametrize("channel", range(3))
def test_a_change_of_any_channel_counts(channel: int) -> None:
    assert reason_of(rules.check_change, drawn_pair(1000, channel=channel), "multi") is None
    assert reason_of(rules.check_change, drawn_pair(1000, 20_000, channel=channel), "multi") == "outside"


def test_what_lies_in_the_hull_of_both_boxes_is_inside() -> None:
    """A door that has swung out of its first box: the change is where it is now."""
    pair = drawn_pair(90_000)
    apart = replace(pair, box_before=(100, 200, 199, 499))
    assert reason_of(rules.check_change, apart, "single") is None
    assert reason_of(rules.check_change, replace(apart, box_after=apart.box_before), "single") == "unchanged"


# --- what is in view ----------------------------------------------------------------------------------------------


def segments(*boxes: Box) -> np.ndarray:
    """Objects 1, 2, ... in their boxes, before nothing."""
    drawn = np.zeros((SIZE, SIZE), int)
    for number, (x0, y0, x1, y1) in enumerate(boxes, 1):
        drawn[y0 : y1 + 1, x0 : x1 + 1] = number
    return drawn


def expected(width: int, height: int) -> np.ndarray:
    """The place of an unhidden target of this many pixels."""
    return np.array([[0.0, 0.0], [width * 2 / SIZE, height * 2 / SIZE]])


def wide(width: int, height: int = 100, x: int = 200) -> Box:
    return (x, 200, x + width - 1, 200 + height - 1)


OTHER = (350, 350, 449, 449)


@pytest.mark.parametrize(
    ("view", "width", "reason"),
    [("single", 85, None), ("single", 83, "hidden"), ("multi", 67, None), ("multi", 65, "hidden")],
)
def test_enough_of_the_target_is_seen(view: str, width: int, reason: str | None) -> None:
    """Of 120 x 100 pixels 0.7 alone, 0.55 among others."""
    seen = segments(wide(width), OTHER)
    assert reason_of(rules.check_view, [seen, seen], 1, view, expected(120, 100)) == reason


def test_what_either_picture_shows_of_the_target_is_seen() -> None:
    """Whichever picture hides more of it: a door in front of its cabinet, say."""
    left, right, both = segments(wide(43)), segments(wide(42, x=243)), segments(wide(85))
    for pictures in ([left, right], [right, left], [left, both], [both, right]):
        assert reason_of(rules.check_view, pictures, 1, "single", expected(120, 100)) is None
    for pictures in ([left, left], [right, right]):
        assert reason_of(rules.check_view, pictures, 1, "single", expected(120, 100)) == "hidden"
    for pictures in ([both, segments()], [segments(), both]):
        assert reason_of(rules.check_view, pictures, 1, "single", expected(120, 100)) == "hidden"


@pytest.mark.parametrize("view", ["single", "multi"])
@pytest.mark.parametrize(("width", "height", "reason"), [(60, 60, None), (59, 200, "small"), (200, 59, "small")])
def test_the_target_is_large_enough(view: str, width: int, height: int, reason: str | None) -> None:
    seen = segments(wide(width, height), (450, 450, 549, 549))
    assert reason_of(rules.check_view, [seen, seen], 1, view, expected(width, height)) == reason


@pytest.mark.parametrize(
    ("box", "fits"),
    [
        ((20, 20, 119, 119), True),
        ((19, 20, 118, 119), False),
        ((20, 19, 119, 118), False),
        ((552, 552, 651, 651), True),
        ((553, 552, 652, 651), False),
        ((552, 553, 651, 652), False),
        ((0, 0, 100, 100), True),  # reaches the edge, but is more than 100 pixels wide and high
        ((0, 0, 99, 300), False),
        ((0, 0, 300, 99), False),
        ((300, 300, 359, 359), True),
        ((300, 300, 358, 399), False),
        ((300, 300, 399, 358), False),
    ],
)
def test_candidates_are_large_and_clear_of_every_edge(box: Box, fits: bool) -> None:
    assert rules.is_candidate(box, SIZE) is fits
    half = (box[0] // 2, box[1] // 2, (box[2] + 1) // 2 - 1, (box[3] + 1) // 2 - 1)
    if all(side % 2 == 0 for side in (box[0], box[1], box[2] + 1, box[3] + 1)):
        assert rules.is_candidate(half, SIZE // 2) is fits  # numbers of pixels go with the size
    target, other = segments(box), segments(OTHER, box)
    size = expected(box[2] - box[0] + 1, box[3] - box[1] + 1)
    small = min(box[2] - box[0], box[3] - box[1]) < 59
    found = reason_of(rules.check_view, [target, target], 1, "multi", size)
    assert found == ("candidates" if fits else "small" if small else "margin")
    assert reason_of(rules.check_view, [other, other], 1, "multi", expected(100, 100)) == (
        None if fits else "candidates"
    )


def test_another_candidate_is_in_both_pictures() -> None:
    alone, together = segments(wide(100)), segments(wide(100), OTHER)
    for pictures, reason in (
        ([together, together], None),
        ([together, alone], "candidates"),
        ([alone, together], "candidates"),
    ):
        assert reason_of(rules.check_view, pictures, 1, "multi", expected(100, 100)) == reason
        assert reason_of(rules.check_view, pictures, 1, "single", expected(100, 100)) is None
