"""One before/after pair: states, camera, pictures, boxes and masks, and the rules by which it is accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from data_scripts.rooms.camera import Camera, frame
from data_scripts.rooms.meshes import FloatArray
from data_scripts.rooms.objects import ACTION_EFFECTS
from data_scripts.rooms.renderer import RoomRenderer, Stage
from data_scripts.rooms.scene import Item, Scene, amount, side_state
from data_scripts.rooms.shapes import Part

REFERENCE_SIZE = 672  # the picture size that the rules' pixel numbers belong to
MIN_BOX, MARGIN, FREE_BOX = 60, 20, 100
MIN_CHANGED_AREA = 1000
SINGLE_CHANGED_SHARE = 0.01
CHANGED = 20  # difference of a channel, of 255, that counts as changed
CHANGED_OUTSIDE = {"on": 90}  # the same outside the target's hull, by what is changed
CHANGED_OUTSIDE_DEFAULT = 40
OUTSIDE_SHARE = 0.03
MIN_VISIBLE = {"single": 0.7, "multi": 0.55}  # area of the target's box, as a share of that of the unhidden one
MIN_SOLID = 2.0  # pixels across, below which a solid of a bystander is not drawn
NOTHING = "nothing"  # the action of a pair in which none happens
REASONS = ("hidden", "small", "margin", "candidates", "unchanged", "outside", "no room")

Box = tuple[int, int, int, int]  # xmin, ymin, xmax, ymax in pixels, bounds inclusive


class RejectedError(Exception):
    """A pair that breaks a rule; `reason` is one of `REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Noise:
    """What changes in the after picture apart from the target."""

    camera_cm: float = 0.0  # how far the camera moves
    camera_deg: float = 0.0  # how far it turns
    object_cm: float = 0.0  # how far one other visible object moves; with no other object in view, nothing moves
    light_percent: float = 0.0  # by how much the room's light gets brighter or darker

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0:
                raise ValueError(f"The noise {name} is {value}; give 0 or more.")

    @property
    def none(self) -> bool:
        """Whether nothing but the target changes."""
        return not any(vars(self).values())


@dataclass
class Pair:
    """A finished pair: `(S, S, 3)` pictures, `(S, S)` masks of the target, its boxes."""

    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    mask_before: NDArray[np.bool_]
    mask_after: NDArray[np.bool_]
    box_before: Box
    box_after: Box
    action: str
    object: str
    scene: str = ""
    pair_id: str = ""

    @property
    def box(self) -> Box:
        """The hull of the boxes before and after."""
        return hull(self.box_before, self.box_after)


def make_pair(renderer: RoomRenderer, scene: Scene, target: int, action: str, view: str,
              rng: np.random.Generator, noise: Noise | None = None, still: bool = False) -> Pair:  # fmt: skip
    """Render an action that `scene.items[target]` knows, at the renderer's picture size; the scene is not changed.

    `rng` draws the amount of change, the camera and the noise. With `still`, the target stays as it was before the
    action, and only the noise tells the pictures apart.

    Raises:
        RejectedError: the pair breaks a rule of `check_view` or `check_change`; try again.
    """
    noise = noise or Noise()
    if still and noise.none:
        raise ValueError("A pair in which nothing happens would be two equal pictures: give some noise.")
    item = scene.items[target]
    change, ends_changed = ACTION_EFFECTS[action]
    plain = side_state(rng, item.kind, change)
    changed = plain | {change: amount(rng, change)}
    if item.kind.name == "Laptop" and change == "open":
        plain = plain | {"open": 0.0}
    parts = [item.part(plain), item.part(changed)]
    if not ends_changed:
        parts.reverse()
    if still:
        parts[1] = parts[0]
    extent = np.concatenate([part.corners for part in parts])
    others = [other.resting for other in scene.items]
    camera, expected = place_camera(scene, item, target, others, extent, view, rng)
    stage = stage_of(scene, others, target, parts[0], camera, extent, renderer.image_size)
    after = replace(stage, groups=[*stage.groups], lights=[*parts[1].lights, *stage.lights[len(parts[0].lights) :]])
    after.groups[target + 1] = parts[1].shapes

    # Where things are is known from the segments alone, which cost a fifth of a picture.
    segments: list[NDArray[np.int64]] = []
    for each in (after, stage):
        renderer.load(each)
        segments.insert(0, renderer.segments(camera))
    number = target + 1
    check_view(segments, number, view, expected)
    before = renderer.image(camera)
    renderer.load(after)
    masks = [segment == number for segment in segments]
    boxes = [bounding_box(mask) for mask in masks]
    pair = Pair(before, renderer.image(camera), masks[0], masks[1], boxes[0], boxes[1], action, item.kind.name)
    if still:
        pair.action = NOTHING
    else:
        check_change(pair, view)
    if not noise.none:
        pair = _disturb(renderer, pair, segments[0], scene, others, target, parts[1], camera, extent, noise, rng)
        if np.array_equal(pair.before, pair.after):
            raise RejectedError("unchanged")
    return pair


def place_camera(scene: Scene, item: Item, target: int, others: list[Part], extent: FloatArray, view: str,
                  rng: np.random.Generator) -> tuple[Camera, FloatArray]:  # fmt: skip
    """The camera, and the box `(2, 2)` that the target would have in its picture if nothing stood before it."""
    points = extent
    if view == "multi":
        near = sorted(
            (float(np.linalg.norm(other.position - item.position)), k)
            for k, other in enumerate(scene.items)
            if k != target and other.zone == item.zone
        )
        if not near:
            raise RejectedError("candidates")
        for _, k in near[: int(rng.integers(1, 3))]:
            points = np.concatenate([points, others[k].corners])
    for _ in range(8):
        azimuth = item.turn + rng.uniform(*np.clip(item.kind.azimuth, -70, 70))
        fill = rng.uniform(0.62, 0.88) if view == "single" else rng.uniform(0.85, 0.98)
        room = 0.9 * (1 - fill)
        offset = (rng.uniform(-room, room), rng.uniform(-room, room))
        camera = frame(points, azimuth, rng.uniform(*item.kind.elevation), fill, rng.uniform(32, 50), offset)
        # From outside, the walls between are not drawn; but then one sees past the room's end. Better avoided.
        if scene.inside(camera.position):
            break
    seen = camera.project(extent).clip(-1, 1)
    return camera, np.stack([seen.min(axis=0), seen.max(axis=0)])


def stage_of(
    scene: Scene, others: list[Part], target: int, part: Part, camera: Camera, extent: FloatArray, size: int
) -> Stage:
    """Everything that the camera can see, the target as `part`. What is hidden from it costs time and is left out."""
    in_view = camera.sees(scene.room.corners.reshape(len(scene.room.shapes), -1, 3))
    room = [shape for shape, seen in zip(scene.room.shapes, in_view, strict=True) if seen]
    opening = np.tan(np.radians(camera.field_of_view / 2))
    shown = [
        part.shapes
        if k == target
        else other.wider_than(MIN_SOLID, camera.position, size / 2 / opening)
        if camera.sees(other.corners[None])[0]
        else []
        for k, other in enumerate(others)
    ]
    focus = (extent.min(axis=0) + extent.max(axis=0)) / 2
    radius = float(np.linalg.norm(camera.position - focus)) * opening * 1.6 + 0.1
    lights = [light for each in [part, *[o for k, o in enumerate(others) if k != target]] for light in each.lights]
    return Stage([room, *shown], lights, scene.sun, focus, radius)


def bounding_box(mask: NDArray[np.bool_]) -> Box:
    """The inclusive box of a mask that has at least one pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def is_candidate(box: Box, size: int) -> bool:
    """Whether a box is large enough, and clear of the picture's edge or larger still."""
    scale = size / REFERENCE_SIZE
    width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
    if min(width, height) < MIN_BOX * scale:
        return False
    margin = MARGIN * scale
    inside = min(box[0], box[1]) >= margin and max(box[2], box[3]) < size - margin
    return inside or min(width, height) > FREE_BOX * scale


def hull(a: Box, b: Box) -> Box:
    """The smallest box around two."""
    return (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))


def check_view(segments: Sequence[NDArray[np.int64]], number: int, view: str, expected: FloatArray) -> None:
    """The rules on what is in view: the target is seen, large enough, and in the multi view not alone.

    A broken rule raises a RejectedError.

    Args:
        segments: `(S, S)` object numbers before and after; `number` is the target's.
        expected: `(2, 2)` the unhidden target's lowest and highest image position, -1 to 1.
    """
    size = segments[0].shape[0]
    masks = [segment == number for segment in segments]
    if not all(mask.any() for mask in masks):
        raise RejectedError("hidden")
    box = hull(bounding_box(masks[0]), bounding_box(masks[1]))
    width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
    wide, tall = (expected[1] - expected[0]) * size / 2
    if width * height < MIN_VISIBLE[view] * wide * tall:
        raise RejectedError("hidden")
    if min(width, height) < MIN_BOX * size / REFERENCE_SIZE:
        raise RejectedError("small")
    if view == "single":
        return
    if not is_candidate(box, size):
        raise RejectedError("margin")
    # In both pictures, so that an action and its opposite are accepted alike.
    for segment in segments:
        others = [n for n in np.unique(segment) if n > 0 and n != number]
        if not any(is_candidate(bounding_box(segment == n), size) for n in others):
            raise RejectedError("candidates")


def check_change(pair: Pair, view: str) -> None:
    """The rules on what has changed, as in Causal Triplet, scaled to the picture's size.

    A pixel counts as changed if a channel differs by more than `CHANGED` of 255. Outside the target's hull the bar is
    higher (`CHANGED_OUTSIDE`) and up to `OUTSIDE_SHARE` of the picture may pass it, because a lamp lights what is
    around it and a door moves its shadow: consequences of the action that belong into the picture, within bounds.
    A broken rule raises a RejectedError.
    """
    size = pair.before.shape[0]
    x0, y0, x1, y1 = pair.box
    apart = np.abs(pair.before.astype(np.int16) - pair.after)
    difference = np.maximum(np.maximum(apart[..., 0], apart[..., 1]), apart[..., 2])  # faster than max(axis=2)
    inside = np.zeros(difference.shape, dtype=bool)
    inside[y0 : y1 + 1, x0 : x1 + 1] = True
    scaled = MIN_CHANGED_AREA * (size / REFERENCE_SIZE) ** 2
    needed = max(scaled, SINGLE_CHANGED_SHARE * size**2) if view == "single" else scaled
    if int((difference[inside] > CHANGED).sum()) < needed:
        raise RejectedError("unchanged")
    bar = CHANGED_OUTSIDE.get(ACTION_EFFECTS[pair.action][0], CHANGED_OUTSIDE_DEFAULT)
    if int((difference[~inside] > bar).sum()) > OUTSIDE_SHARE * size**2:
        raise RejectedError("outside")


def _disturb(
    renderer: RoomRenderer,
    pair: Pair,
    segments: NDArray[np.int64],
    scene: Scene,
    others: list[Part],
    target: int,
    part: Part,
    camera: Camera,
    extent: FloatArray,
    noise: Noise,
    rng: np.random.Generator,
) -> Pair:
    """Draw the accepted pair's after picture once more, disturbed."""
    in_view = [int(number) - 1 for number in np.unique(segments) if number > 0 and number != target + 1]
    if noise.object_cm and in_view:
        moved = int(rng.choice(in_view))
        angle = rng.uniform(0, 2 * np.pi)
        step = np.array([np.cos(angle), np.sin(angle), 0.0]) * noise.object_cm / 100
        others = [other.placed(step) if k == moved else other for k, other in enumerate(others)]
    sun = scene.sun.scaled(1 + float(rng.choice([-1, 1])) * noise.light_percent / 100)
    shaken = camera.jittered(rng, noise.camera_cm, noise.camera_deg)
    renderer.load(stage_of(replace(scene, sun=sun), others, target, part, shaken, extent, renderer.image_size))
    after, mask = renderer.image(shaken), renderer.segments(shaken) == target + 1
    if not mask.any():
        raise RejectedError("hidden")
    return replace(pair, after=after, mask_after=mask, box_after=bounding_box(mask))
