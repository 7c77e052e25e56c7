"""The rules by which pairs of rooms are accepted, each on both sides of its number, and how much noise there is.

Nothing is rendered: the rules get pictures and segments that are drawn here, at the size that their numbers belong to.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data_scripts.rooms import pairs as rules
from data_scripts.rooms.camera import Camera
from data_scripts.rooms.pairs import Box, Noise, Pair, RejectedError, bounding_box
from data_scripts.rooms.scene import Scene, furnish

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


# --- the camera ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def room() -> Scene:
    return furnish(np.random.default_rng(3), [("Safe", "open")])


def place(scene: Scene, view: str = "single", seed: int = 0) -> tuple[Camera, np.ndarray]:
    item, others = scene.items[0], [other.resting for other in scene.items]
    return rules._place_camera(scene, item, 0, others, item.resting.corners, view, np.random.default_rng(seed))


def test_a_camera_outside_the_walls_is_placed_again_but_not_forever(
    room: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(Scene, "inside", lambda *_: asked.append(True) or len(asked) == 3)
    place(room)
    assert len(asked) == 3
    monkeypatch.setattr(Scene, "inside", lambda *_: asked.append(True))
    asked.clear()
    place(room)
    assert len(asked) == 8


def test_inside_is_between_all_four_walls(room: Scene) -> None:
    x, y = room.half
    for point, inside in (
        ((0, 0), True), ((0.99 * x, -0.99 * y), True), ((1.01 * x, 0), False), ((-1.01 * x, 0), False),
        ((0, 1.01 * y), False), ((0, -1.01 * y), False),
    ):  # fmt: skip
        assert room.inside(np.array([*point, 1.0])) is inside


def test_what_lies_outside_the_picture_is_not_expected_to_be_seen(room: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a target that the picture's edge cuts off would count as hidden."""
    real = rules.frame
    monkeypatch.setattr(rules, "frame", lambda *given: replace(real(*given), field_of_view=15.0))
    camera, (low, high) = place(room)
    seen = camera.project(room.items[0].resting.corners)
    assert np.abs(seen).max() > 1
    np.testing.assert_allclose([low, high], [seen.min(axis=0).clip(-1, 1), seen.max(axis=0).clip(-1, 1)])


def test_the_multi_view_frames_the_nearest_one_or_two_things_beside_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    framed: list[np.ndarray] = []
    real = rules.frame
    monkeypatch.setattr(rules, "frame", lambda points, *more: framed.append(points) or real(points, *more))
    scene = furnish(np.random.default_rng(5), [("Plate", "dirty"), ("Cup", "fill")])
    item = scene.items[0]
    beside = [other for other in scene.items[1:] if other.zone == item.zone]
    near = sorted(beside, key=lambda other: float(np.linalg.norm(other.position - item.position)))
    assert len(near) >= 3 and len(beside) < len(scene.items) - 1
    wanted = [[item.resting.corners, *(other.resting.corners for other in near[:n])] for n in (1, 2)]
    numbers = set()
    for seed in range(12):
        framed.clear()
        place(scene, "multi", seed)
        matches = [
            len(framed[0]) == len(np.concatenate(w)) and np.array_equal(framed[0], np.concatenate(w)) for w in wanted
        ]
        assert sum(matches) == 1
        numbers.add(matches.index(True))
    assert numbers == {0, 1}
    scene.items = [item, *(other for other in scene.items if other.zone != item.zone)]
    assert reason_of(place, scene, "multi") == "candidates"


# --- noise --------------------------------------------------------------------------------------------------------


class NoRenderer:
    """Shows the target, object 1, in one place."""

    image_size = 32

    def __init__(self, seen: bool = True) -> None:
        self.seen, self.cameras = seen, []

    def load(self, stage: Any) -> None:
        self.stage = stage

    def image(self, camera: Camera) -> np.ndarray:
        self.cameras.append(camera)
        return np.full((32, 32, 3), 7, np.uint8)

    def segments(self, camera: Camera) -> np.ndarray:
        self.cameras.append(camera)
        drawn = np.zeros((32, 32), int)
        drawn[4:9, 5:12] = self.seen
        return drawn


@pytest.fixture
def disturb(room: Scene, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Disturbs an accepted pair in which things 1, 3 and 4 are in view; returns what is drawn, and the pair."""
    camera, _ = place(room)
    others = [item.resting for item in room.items]
    pair = drawn_pair(9000)
    staged: list[Any] = []
    real = rules._stage
    monkeypatch.setattr(rules, "_stage", lambda *given: staged.append(given) or real(*given))
    in_view = np.array([[0, 1], [3, 4]])

    def run(noise: Noise, seed: int, renderer: NoRenderer) -> tuple[Any, Pair]:
        rng = np.random.default_rng(seed)
        given = (renderer, pair, in_view, room, others, 0, others[0], camera, others[0].corners, noise, rng)
        found = rules._disturb(*given)
        scene, parts, _, _, shaken, *_ = staged[-1]
        moves = {k: part.corners - old.corners for k, (part, old) in enumerate(zip(parts, others, strict=True))}
        return (scene.sun, {k: move for k, move in moves.items() if np.abs(move).max() > 0}, shaken), found

    run.camera, run.pair = camera, pair
    return run


def test_light_gets_brighter_or_darker_by_the_stated_amount(room: Scene, disturb: Any) -> None:
    factors = set()
    for seed in range(12):
        (sun, moved, camera), _ = disturb(Noise(light_percent=20), seed, NoRenderer())
        assert not moved and camera.position == pytest.approx(disturb.camera.position)
        ratios = [getattr(sun, name) / getattr(room.sun, name) for name in ("color", "ambient", "fill")]
        np.testing.assert_allclose(ratios, ratios[0][0])
        np.testing.assert_array_equal(sun.direction, room.sun.direction)
        factors.add(round(float(ratios[0][0]), 9))
    assert factors == {0.8, 1.2}


def test_one_thing_in_view_moves_by_the_stated_amount_along_the_floor(room: Scene, disturb: Any) -> None:
    chosen, ways = set(), []
    for seed in range(24):
        (sun, moved, _), _ = disturb(Noise(object_cm=10), seed, NoRenderer())
        np.testing.assert_array_equal(sun.color, room.sun.color)
        [(number, move)] = moved.items()
        np.testing.assert_allclose(move, np.tile(move[0], (len(move), 1)), atol=1e-12)
        assert np.linalg.norm(move[0]) == pytest.approx(0.1) and move[0][2] == pytest.approx(0)
        chosen.add(number)
        ways.append(move[0][:2])
    assert chosen == {2, 3}  # things 3 and 4; never the target, nor what is out of view
    assert (np.min(ways, axis=0) < -0.05).all() and (np.max(ways, axis=0) > 0.05).all()


def test_the_camera_moves_and_turns_by_the_stated_amounts(disturb: Any) -> None:
    for seed in range(4):
        renderer = NoRenderer()
        (_, moved, shaken), found = disturb(Noise(camera_cm=3, camera_deg=2), seed, renderer)
        assert not moved and np.linalg.norm(shaken.position - disturb.camera.position) == pytest.approx(0.03)
        assert np.degrees(np.arccos(shaken.forward @ disturb.camera.forward)) == pytest.approx(2, rel=1e-3)
        assert renderer.cameras == [shaken, shaken]  # picture and mask of the same view
        np.testing.assert_array_equal(found.before, disturb.pair.before)
        assert found.after.shape == (32, 32, 3) and found.box_before == disturb.pair.box_before
        assert found.box_after == (5, 4, 11, 8) == bounding_box(found.mask_after)


def test_a_target_that_noise_moves_out_of_view_is_rejected(disturb: Any) -> None:
    assert reason_of(disturb, Noise(camera_deg=2), 0, NoRenderer(seen=False)) == "hidden"
