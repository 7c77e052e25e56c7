"""One sequence of pictures: a room under one camera while actions are done in it, and what may disturb the view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from data_scripts.rooms import materials as m
from data_scripts.rooms.camera import Camera
from data_scripts.rooms.meshes import FloatArray
from data_scripts.rooms.objects import ACTION_EFFECTS, OBJECT_TYPES
from data_scripts.rooms.pairs import (
    Box,
    Pair,
    RejectedError,
    bounding_box,
    check_change,
    check_view,
    hull,
    place_camera,
    stage_of,
)
from data_scripts.rooms.renderer import RoomRenderer, Stage
from data_scripts.rooms.scene import Scene, amount
from data_scripts.rooms.scripts import Act, Script, hidden
from data_scripts.rooms.shapes import Part, Shape

OCCLUDER_DEPTH = 0.5  # of the way from the camera to the objects


@dataclass(frozen=True)
class Disturbance:
    """What changes from frame to frame although nobody acts on the objects.

    Attributes:
        drift_cm: How far the camera has moved in the last frame, on a straight line from the first.
        drift_deg: How far it has turned by then.
        occluder: Width of a board that passes before the objects, as a share of the width of their box; 0 for none.
    """

    drift_cm: float = 0.0
    drift_deg: float = 0.0
    occluder: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0:
                raise ValueError(f"{name} is {value}; give 0 or more.")
        if self.occluder > 1:
            raise ValueError(f"occluder is {self.occluder}; give a share of the objects' width, at most 1.")

    @property
    def none(self) -> bool:
        """Whether only actions change the pictures."""
        return not any(vars(self).values())


@dataclass
class FrameSequence:
    """A finished sequence: T pictures `(S, S, 3)`, what happens in them, and the box around the objects acted on."""

    frames: list[NDArray[np.uint8]]
    script: Script
    box: Box
    scene: str = ""
    sequence_id: str = ""
    masks: list[list[NDArray[np.bool_]]] = field(default_factory=list)  # of each frame, of each target, undisturbed


def make_sequence(
    renderer: RoomRenderer,
    scene: Scene,
    script: Script,
    rng: np.random.Generator,
    disturbance: Disturbance | None = None,
) -> FrameSequence:
    """Render a script in a room; `scene.items[k]` is the script's k-th target. The scene is not changed.

    What must be seen of a pair must be seen of each action, in the pictures before and after it, without disturbance:
    the targets, large enough, and a change. Only what `hidden` names may stay unseen.

    Raises:
        RejectedError: a rule of `check_view` or `check_change` is broken, or two targets stand apart; try again.
    """
    disturbance = disturbance or Disturbance()
    numbers = range(len(script.targets))
    if len({scene.items[k].zone for k in numbers}) > 1:
        raise RejectedError("candidates")
    full = [{change: amount(rng, change) for change in OBJECT_TYPES[name].changes} for name in script.targets]
    states = [[script.state(k, t, full[k]) for k in numbers] for t in range(script.frames)]
    parts = [[scene.items[k].part(state) for k, state in enumerate(frame)] for frame in states]
    extents = [np.concatenate([frame[k].corners for frame in parts]) for k in numbers]
    everything = np.concatenate(extents)
    others = [item.resting for item in scene.items]
    camera, _ = place_camera(scene, scene.items[0], 0, others, everything, "single", rng)
    stages = [_stage(scene, others, frame, camera, everything, renderer.image_size) for frame in parts]

    # As in a pair, the segments come first: they are cheap, and most of what is rejected is seen in them.
    masks: list[list[NDArray[np.bool_]]] = []
    segments: list[NDArray[np.int64]] = []
    for t, stage in enumerate(stages):
        if t and states[t] == states[t - 1]:
            segments.append(segments[-1])
        else:
            renderer.load(stage)
            segments.append(renderer.segments(camera))
        masks.append([segments[-1] == k + 1 for k in numbers])
    view = "single" if len(script.targets) == 1 else "multi"
    for k in numbers:
        seen = camera.project(extents[k]).clip(-1, 1)
        check_view([segments[0], segments[-1]], k + 1, view, np.stack([seen.min(axis=0), seen.max(axis=0)]))
    if any(not mask.any() for frame in masks for mask in frame):
        raise RejectedError("hidden")

    frames = _draw(renderer, stages, [camera] * script.frames, states)
    for act in script.acts:
        if not hidden(
            script.targets[act.target], _changed(states[act.onset][act.target]), ACTION_EFFECTS[act.action][0]
        ):
            check_change(_pair(frames, masks, act, script), view)
    boxes = [bounding_box(mask) for frame in masks for mask in frame]
    box = boxes[0]
    for other in boxes[1:]:
        box = hull(box, other)
    if not disturbance.none:
        cameras = _cameras(camera, script.frames, disturbance, rng)
        size = renderer.image_size
        stages = [_stage(scene, others, *each, everything, size) for each in zip(parts, cameras, strict=True)]
        if disturbance.occluder:
            color, back = m.pick(rng, m.WOOD + m.DARK), bool(rng.integers(2))
            for t, stage in enumerate(stages):
                way = t / (script.frames - 1)
                board = _board(camera, everything, disturbance.occluder, 1 - way if back else way, color)
                stage.groups[0] = [*stage.groups[0], board]
        frames = _draw(renderer, stages, cameras, None)
    return FrameSequence(frames, script, box, masks=masks)


def _stage(
    scene: Scene, others: Sequence[Part], targets: Sequence[Part], camera: Camera, extent: FloatArray, size: int
) -> Stage:
    """What the camera can see, with the targets as they are in a frame, drawn in full detail."""
    placed = [*targets, *others[len(targets) :]]
    stage = stage_of(scene, placed, 0, targets[0], camera, extent, size)
    for k, part in enumerate(targets):
        stage.groups[k + 1] = part.shapes
    return stage


def _draw(
    renderer: RoomRenderer,
    stages: Sequence[Stage],
    cameras: Sequence[Camera],
    states: Sequence[list[dict[str, float]]] | None,
) -> list[NDArray[np.uint8]]:
    """The picture of each stage; with `states`, frames in which nothing has changed are one picture."""
    frames: list[NDArray[np.uint8]] = []
    for t, (stage, camera) in enumerate(zip(stages, cameras, strict=True)):
        if states is not None and t and states[t] == states[t - 1]:
            frames.append(frames[-1])
            continue
        renderer.load(stage)
        frames.append(renderer.image(camera))
    return frames


def _cameras(camera: Camera, frames: int, disturbance: Disturbance, rng: np.random.Generator) -> list[Camera]:
    """The camera of each frame: in the last one as far off as was asked for."""
    way = int(rng.integers(2**63))  # every frame draws the same directions
    shares = [t / (frames - 1) for t in range(frames)]
    return [
        camera.jittered(np.random.default_rng(way), disturbance.drift_cm * share, disturbance.drift_deg * share)
        for share in shares
    ]


def _board(camera: Camera, extent: FloatArray, share: float, way: float, color: tuple[float, float, float]) -> Shape:
    """An upright board that faces the camera and covers a share of the width of what it looks at.

    `way` says where: from 0, the left edge of the box, to 1, the right one.
    """
    seen = camera.project(extent)[:, 0].clip(-1, 1)
    width = float(np.ptp(seen)) * share
    across = seen.min() + width / 2 + way * (np.ptp(seen) - width)
    focus = (extent.min(axis=0) + extent.max(axis=0)) / 2
    distance = float((focus - camera.position) @ camera.forward) * OCCLUDER_DEPTH
    scale = float(np.tan(np.radians(camera.field_of_view / 2))) * distance  # of half a picture at that distance
    right, up = camera.axes
    part = Part()
    center = camera.position + camera.forward * distance + right * across * scale
    # A panel lies flat and is seen from above: its y goes up in the picture, its z towards the camera.
    turn = np.stack([right, up, -camera.forward], axis=1)
    part.add("panel", tuple(center), (width * scale, 2.4 * scale, 1.0), color, "plain", turn)
    return part.shapes[0]


def _pair(frames: Sequence[NDArray[np.uint8]], masks: list[list[NDArray[np.bool_]]], act: Act, script: Script) -> Pair:
    before, after = masks[act.onset][act.target], masks[act.end][act.target]
    boxes = bounding_box(before), bounding_box(after)
    name = script.targets[act.target]
    return Pair(frames[act.onset], frames[act.end], before, after, *boxes, act.action, name)


def _changed(state: dict[str, float]) -> set[str]:
    return {change for change, value in state.items() if value > 0}
