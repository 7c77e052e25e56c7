"""Where the camera of a room stands, what is drawn of a pair, and how much noise there is. Nothing is rendered."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data_scripts.rooms import pairs as rules
from data_scripts.rooms.camera import Camera
from data_scripts.rooms.pairs import Noise, Pair, RejectedError, bounding_box
from data_scripts.rooms.scene import NoRoomError, Scene, furnish


def reason_of(check: Any, *arguments: Any) -> str | None:
    try:
        check(*arguments)
    except RejectedError as error:
        return error.reason
    return None


# --- the camera ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def room() -> Scene:
    return furnish(np.random.default_rng(3), [("Safe", "open")])


def place(scene: Scene, view: str = "single", seed: int = 0) -> tuple[Camera, np.ndarray]:
    item, others = scene.items[0], [other.resting for other in scene.items]
    return rules.place_camera(scene, item, 0, others, item.resting.corners, view, np.random.default_rng(seed))


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
    picture, mask = np.full((32, 32, 3), 100, np.uint8), np.zeros((32, 32), bool)
    mask[8:20, 8:20] = True
    pair = Pair(picture, picture, mask, mask, bounding_box(mask), bounding_box(mask), "open", "Safe")
    staged: list[Any] = []
    real = rules.stage_of
    monkeypatch.setattr(rules, "stage_of", lambda *given: staged.append(given) or real(*given))
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


# --- what is drawn ------------------------------------------------------------------------------------------------


class Loaded(NoRenderer):
    """Keeps every stage that it is to draw: after and before for the segments, then after for the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: list[Any] = []

    def load(self, stage: Any) -> None:
        self.stages.append(stage)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stages before and after an action, whatever the rules say of their pictures."""
    for rule in ("check_view", "check_change"):
        monkeypatch.setattr(rules, rule, lambda *_: None)

    def draw(scene: Scene, action: str, seed: int = 0) -> tuple[Any, Any]:
        renderer = Loaded()
        rules.make_pair(renderer, scene, 0, action, "single", np.random.default_rng(seed))
        after, before, again = renderer.stages
        assert again is after
        return before, after

    return draw


def shapes_of(group: Any) -> list[tuple[Any, ...]]:
    return [(s.mesh, s.material, s.color, s.position.tolist(), s.matrix.tolist()) for s in group]


def lights_of(lights: Any) -> list[tuple[Any, ...]]:
    return [(light.position.tolist(), tuple(light.color), light.reach) for light in lights]


def lit_room(name: str, change: str) -> Scene:
    """A room in which another lamp is on."""
    for seed in range(200):
        try:
            scene = furnish(np.random.default_rng(seed), [(name, change)])
        except NoRoomError:
            continue
        if any(item.resting.lights for item in scene.items[1:]):
            return scene
    raise AssertionError("no room has another lamp that is on")


def test_only_the_target_is_drawn_otherwise_and_other_lamps_stay_on(drawn: Any) -> None:
    scene = lit_room("DeskLamp", "on")
    others = lights_of(light for item in scene.items[1:] for light in item.resting.lights)
    for action in ("turnon", "turnoff"):
        before, after = drawn(scene, action)
        unlit, lit = (before, after) if action == "turnon" else (after, before)
        assert lights_of(unlit.lights) == others
        assert len(lit.lights) > len(others) and lights_of(lit.lights)[-len(others) :] == others
        assert shapes_of(before.groups[1]) != shapes_of(after.groups[1])
        rest = [[shapes_of(group) for k, group in enumerate(stage.groups) if k != 1] for stage in (before, after)]
        assert rest[0] == rest[1] and before.sun is after.sun is scene.sun


def test_a_laptop_is_opened_from_closed_and_shows_its_screen_while_it_is_turned_on(drawn: Any) -> None:
    scene = furnish(np.random.default_rng(1), [("Laptop", "open")])
    closed = shapes_of(scene.items[0].part({"open": 0.0}).shapes)
    for seed in range(6):
        before, after = drawn(scene, "open", seed)
        assert [shape[3:] for shape in shapes_of(before.groups[1])] == [shape[3:] for shape in closed]
        assert shapes_of(drawn(scene, "close", seed)[1].groups[1]) == shapes_of(before.groups[1])
        assert shapes_of(after.groups[1])[0:1] != [] and shapes_of(after.groups[1]) != shapes_of(before.groups[1])
        for stage in drawn(scene, "turnon", seed):
            assert [shape[3:] for shape in shapes_of(stage.groups[1])] != [shape[3:] for shape in closed]
