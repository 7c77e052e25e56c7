"""Single pairs: only the target changes, boxes and masks agree, opposite actions are each other's mirror."""

from dataclasses import replace

import numpy as np
import pytest

from data_scripts.rooms import pairs as rules
from data_scripts.rooms.camera import frame
from data_scripts.rooms.objects import ACTION_EFFECTS, OBJECT_TYPES, OBJECTS, objects_of
from data_scripts.rooms.pairs import Noise, Pair, RejectedError, bounding_box, is_candidate, make_pair
from data_scripts.rooms.renderer import RoomRenderer
from data_scripts.rooms.scene import furnish
from data_scripts.rooms.shapes import Part, turn_x, turn_z
from data_scripts.rooms.sheet import example

OPPOSITES = {"open": "close", "turnon": "turnoff", "dirty": "clean", "fill": "empty"}


def first_pair(
    renderer, action: str, name: str, noise: Noise | None = None, view: str = "single", seed: int = 0
) -> Pair:
    """The first accepted pair, all from one seed, so that two actions or noises can be compared."""
    for attempt in range(30):
        rng = np.random.default_rng([seed, attempt])
        try:
            return make_pair(renderer, furnish(rng, [(name, ACTION_EFFECTS[action][0])]), 0, action, view, rng, noise)
        except RejectedError:
            continue
    raise AssertionError(f"no {action} {name}")


def outside(pair: Pair) -> np.ndarray:
    x0, y0, x1, y1 = pair.box
    far = np.ones(pair.before.shape[:2], dtype=bool)
    far[max(y0 - 1, 0) : y1 + 2, max(x0 - 1, 0) : x1 + 2] = False
    return far


def test_some_kinds_change_in_several_ways() -> None:
    assert sum(len(kind.changes) > 1 for kind in OBJECT_TYPES.values()) >= 5


def test_an_instance_is_the_same_in_every_state() -> None:
    for kind in OBJECT_TYPES.values():
        rng = np.random.default_rng(5)
        build, after = kind.draw(rng), rng.bit_generator.state
        for state in ({}, *({change: 0.9} for change in kind.changes)):
            again = np.random.default_rng(5)
            part = Part()
            kind.declaration(part, again, state)
            assert again.bit_generator.state == after, f"{kind.name} draws something else for {state}"
            assert all((a.matrix == b.matrix).all() for a, b in zip(part.shapes, build(state).shapes, strict=True))
        assert rng.bit_generator.state == after, "building must not draw from the room's generator"


def test_a_frame_adds_to_its_part_like_a_part_attached_to_it() -> None:
    at, turn, loose, framed, attached = (1.0, 2.0, 3.0), turn_z(30) @ turn_x(20), Part(), Part(), Part()
    inner = framed.frame(at, turn).frame((0.5, 0, 0), turn_x(70))
    for part in (inner, loose):
        part.box((0.1, 0.2, 0.3), (1, 2, 3), (1, 1, 1))
        part.shine((0.0, 1.0, 0.0), (1, 1, 1), 0.5)
    attached.attach(loose.placed((0.5, 0, 0), turn_x(70)), at, turn)
    for one, other in zip([*framed.shapes, *framed.lights], [*attached.shapes, *attached.lights], strict=True):
        np.testing.assert_array_equal(one.position, other.position)
    np.testing.assert_array_equal(framed.shapes[0].matrix, attached.shapes[0].matrix)
    np.testing.assert_allclose(framed.lights[0].position, turn @ (turn_x(70) @ (0, 1, 0) + (0.5, 0, 0)) + at)


@pytest.mark.parametrize("name", OBJECTS)
def test_every_action_on_every_object_gives_a_pair(renderer, name: str) -> None:
    for action in OBJECT_TYPES[name].actions:
        pair = example(renderer, action, name, "single", seed=3)
        assert pair.before.shape == pair.after.shape == (64, 64, 3)
        assert (pair.action, pair.object) == (action, name)
        for mask, box in ((pair.mask_before, pair.box_before), (pair.mask_after, pair.box_after)):
            assert bounding_box(mask) == box
        x0, y0, x1, y1 = pair.box
        assert 0 <= x0 <= x1 < 64 and 0 <= y0 <= y1 < 64
        assert (x0, y0) == tuple(np.minimum(pair.box_before[:2], pair.box_after[:2]))
        assert (x1, y1) == tuple(np.maximum(pair.box_before[2:], pair.box_after[2:]))
        assert 0.5 <= max(x1 - x0 + 1, y1 - y0 + 1) / 64 <= 1.0


def test_multi_view_has_two_candidates_and_a_smaller_target(renderer) -> None:
    pair = example(renderer, "open", "Cabinet", "multi", seed=1)
    assert is_candidate(pair.box, 64)
    x0, y0, x1, y1 = pair.box
    assert (x1 - x0 + 1) * (y1 - y0 + 1) < 64 * 64 / 2


def test_only_the_target_changes(renderer) -> None:
    # Dirt on a table's top casts no shadow and sends out no light: every pixel beside the target is the same.
    pair = first_pair(renderer, "dirty", "Table")
    assert (pair.before[outside(pair)] == pair.after[outside(pair)]).all()
    assert (pair.before != pair.after).any()


def test_a_lamp_lights_what_is_around_it_within_bounds(renderer) -> None:
    pair = first_pair(renderer, "turnon", "DeskLamp")
    difference = pair.after.astype(int) - pair.before
    assert difference[outside(pair)].min() >= -4  # brighter everywhere, but for what an edge is rounded to
    assert (difference[outside(pair)].max(axis=1) > 90).sum() <= rules.OUTSIDE_SHARE * 64 * 64


@pytest.mark.parametrize(("forth", "back"), OPPOSITES.items())
def test_opposite_actions_are_each_other_backwards(renderer, forth: str, back: str) -> None:
    # From one seed the amounts, the room and the camera are the same, so neither picture tells the direction.
    name = objects_of(forth)[2]
    one, other = first_pair(renderer, forth, name), first_pair(renderer, back, name)
    assert (one.before == other.after).all() and (one.after == other.before).all()
    assert one.box_before == other.box_after and one.box == other.box


def test_noise_is_what_it_says(renderer) -> None:
    def pair(noise: Noise | None = None) -> Pair:
        return first_pair(renderer, "dirty", "Plate", noise, "multi", seed=5)

    clean = pair()
    assert (pair(Noise()).after == clean.after).all()
    for noise in (Noise(camera_cm=3), Noise(camera_deg=2), Noise(object_cm=10), Noise(light_percent=20)):
        noisy = pair(noise)
        assert (noisy.before == clean.before).all()
        assert (noisy.after != clean.after).any()
    ratio = pair(Noise(light_percent=20)).after.mean() / clean.after.mean()
    assert 0.1 < abs(ratio - 1) < 0.22
    with pytest.raises(ValueError, match="camera_cm is -1"):
        Noise(camera_cm=-1)


def test_noise_that_leaves_equal_pictures_is_rejected(renderer, monkeypatch) -> None:
    monkeypatch.setattr(rules, "_disturb", lambda _, pair, *__: replace(pair, after=pair.before))
    rejected = []
    for attempt in range(20):
        rng = np.random.default_rng([0, attempt])
        try:
            make_pair(renderer, furnish(rng, [("Safe", "open")]), 0, "open", "single", rng, Noise(camera_cm=1))
        except RejectedError as error:
            rejected.append(error.reason)
    assert len(rejected) == 20 and "unchanged" in rejected


def test_camera_noise_has_the_stated_amount() -> None:
    camera = frame(np.eye(3), 20, 30, 0.7, 40)
    moved = camera.jittered(np.random.default_rng(0), centimetres=4, degrees=3)
    assert np.linalg.norm(moved.position - camera.position) == pytest.approx(0.04)
    assert np.degrees(np.arccos(moved.forward @ camera.forward)) == pytest.approx(3, rel=1e-3)


@pytest.mark.parametrize("fill", [0.55, 0.9])
def test_the_camera_fills_the_picture_as_asked(fill: float) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3)) * (1.0, 0.3, 0.6)
    seen = frame(points, -35, 25, fill, 45, (0.05, -0.02)).project(points)
    low, high = seen.min(axis=0), seen.max(axis=0)
    assert (high - low).max() / 2 == pytest.approx(fill, rel=0.02)
    assert (low + high) / 2 == pytest.approx([0.05, -0.02], abs=0.03)


def make_flat_pair(**changes: object) -> Pair:
    image, mask = np.full((96, 96, 3), 100, np.uint8), np.zeros((96, 96), bool)
    mask[20:80, 20:80] = True
    after = image.copy()
    after[30:70, 30:70] = 200
    values = {"before": image, "after": after, "mask_before": mask, "mask_after": mask} | changes
    boxes = {f"box_{when}": bounding_box(values[f"mask_{when}"]) for when in ("before", "after")}
    return Pair(**values, **boxes, action="open", object="Box")


def segments_of(box: tuple[int, int, int, int]) -> list[np.ndarray]:
    segment = np.zeros((96, 96), int)
    segment[box[1] : box[3] + 1, box[0] : box[2] + 1] = 1
    return [segment, segment]


def test_views_are_rejected_that_should_be() -> None:
    box, whole = (20, 20, 79, 79), np.array([[-0.6, -0.6], [0.6, 0.6]])
    rules.check_view(segments_of(box), 1, "single", whole)
    for reason, segments, view, expected in (
        ("hidden", segments_of(box), "single", whole * 1.6),
        ("hidden", [segments_of(box)[0], np.zeros((96, 96), int)], "single", whole),
        ("small", segments_of((20, 50, 79, 54)), "single", np.array([[-0.6, 0.0], [0.6, 0.05]])),
        ("margin", segments_of((0, 20, 11, 79)), "multi", np.array([[-1.0, -0.6], [-0.8, 0.6]])),
        ("candidates", segments_of(box), "multi", whole),
    ):
        with pytest.raises(RejectedError) as caught:
            rules.check_view(segments, 1, view, expected)
        assert caught.value.reason == reason and reason in rules.REASONS


def test_changes_are_rejected_that_should_be() -> None:
    rules.check_change(make_flat_pair(), "single")
    spilt = make_flat_pair().after.copy()
    spilt[:10] = 0
    for reason, after in (("unchanged", make_flat_pair().before), ("outside", spilt)):
        with pytest.raises(RejectedError) as caught:
            rules.check_change(make_flat_pair(after=after), "single")
        assert caught.value.reason == reason and reason in rules.REASONS


def test_candidates_are_large_and_clear_of_the_edge() -> None:
    assert is_candidate((20, 20, 79, 79), 672)
    assert not is_candidate((20, 20, 78, 79), 672)  # 59 pixels wide
    assert not is_candidate((5, 20, 80, 79), 672)  # reaches into the margin
    assert is_candidate((0, 0, 100, 100), 672)  # but it may if it is larger than 100


def test_renderers_of_one_process_do_not_disturb_each_other(renderer):
    """OpenGL draws into the context that was made current last, whoever asks."""
    alone = first_pair(renderer, "open", "Drawer")
    other = RoomRenderer(48)
    try:
        first_pair(other, "open", "Drawer")
        again = first_pair(renderer, "open", "Drawer")
    finally:
        other.close()
    after = first_pair(renderer, "open", "Drawer")
    for pair in (again, after):
        np.testing.assert_array_equal(pair.before, alone.before)
        np.testing.assert_array_equal(pair.after, alone.after)
