"""One before/after pair of a thing: camera, light, states, and the rules of the rooms by which it is accepted."""

from __future__ import annotations

import numpy as np

from data_scripts.rooms.camera import frame
from data_scripts.rooms.lighting import draw_sun
from data_scripts.rooms.objects import ACTION_EFFECTS
from data_scripts.rooms.pairs import Pair, bounding_box, check_change, check_view
from data_scripts.simulators.models import ModelFiles
from data_scripts.simulators.stage import Stage
from data_scripts.simulators.things import Simulator, Thing

OPENED = (0.65, 1.0)  # share of the way that a joint goes; what is on is on altogether
BRIGHTNESS = (0.55, 0.65), (0.85, 1.0)  # of floor and wall, lowest and highest
SUN = 1.2  # the strength of the light against that in the rooms: these things are darker
FLOORS, WALLS = ("floor.png", "tile.png", "wood.png", "table.png"), ("wall.png", "plaster.png")  # their last words


def make_pair(stage: Stage, action: str, rng: np.random.Generator) -> Pair:
    """Draw a pair; before and after differ in the thing's state alone.

    Raises:
        RejectedError: The pair breaks a rule of `check_view` or `check_change`; try again.
    """
    thing = stage.thing
    names = [str(rng.choice(list(thing.joints)))] if thing.one_of else list(thing.joints)
    share = rng.uniform(*OPENED) if thing.change == "open" else 1.0
    changed = {name: rest + share * (end - rest) for name, (rest, end) in thing.joints.items() if name in names}
    states = [({}, False), (changed, True)]
    if not ACTION_EFFECTS[action][1]:
        states.reverse()
    points = []
    for state in states:
        stage.set(*state)
        points.append(stage.points())
    extent = np.concatenate(points)
    shades = rng.uniform(*BRIGHTNESS)[:, None] * rng.uniform(0.92, 1.08, (2, 3))
    stage.light(draw_sun(rng).scaled(SUN), shades)
    fill = rng.uniform(0.62, 0.88)
    room = 0.9 * (1 - fill)
    offset = (rng.uniform(-room, room), rng.uniform(-room, room))
    azimuth = thing.facing + rng.uniform(*thing.azimuth)
    camera = frame(extent, azimuth, rng.uniform(*thing.elevation), fill, rng.uniform(32, 50), offset)
    seen = camera.project(extent).clip(-1, 1)
    pictures, masks = [], []
    for state in states:
        stage.set(*state)
        pictures.append(stage.image(camera))
        masks.append(stage.mask(camera))
    check_view([mask.astype(np.int64) for mask in masks], 1, "single", np.stack([seen.min(axis=0), seen.max(axis=0)]))
    (before, after), (first, second) = pictures, masks
    pair = Pair(before, after, first, second, bounding_box(first), bounding_box(second), action, thing.name)
    check_change(pair, "single")
    return pair


def draw_stage(
    files: ModelFiles, backgrounds: Simulator, thing: Thing, image_size: int, rng: np.random.Generator
) -> Stage:
    """A stage for a thing, with a floor and a wall out of the textures of `backgrounds`."""
    textures = {}
    for name, ends in (("floor", FLOORS), ("wall", WALLS)):
        known = files.named(f"{backgrounds.folder}/textures/", ends)
        textures[name] = files.read(str(rng.choice(known)))
    return Stage(files, thing, image_size, textures)
