"""A toilet, a bathtub and a sink: open and close, fill and empty, dirty and clean."""

from __future__ import annotations

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.objects.parts import feet
from data_scripts.rooms.objects.registry import State, object_type
from data_scripts.rooms.objects.stains import Stains
from data_scripts.rooms.shapes import Color, Part, turn_x, turn_y


@object_type("Toilet", "floor", {"open": "lid over water"}, (22, 42), 42)
def toilet(part: Part, rng: np.random.Generator, state: State) -> None:
    color = m.pick(rng, m.CERAMIC[:3])
    w, tank = rng.uniform(0.36, 0.42), rng.uniform(0.34, 0.4)
    lid_color = color if rng.integers(2) else m.pick(rng, m.WOOD[:2])
    skin = "ceramic" if lid_color == color else "wood"

    part.add("frustum", (0, -0.1, 0.1), (w * 0.75, 0.48, 0.25), color, "ceramic")
    part.add("bowl", (0, -0.12, 0.28), (w, 0.5, 0.26), color, "ceramic")
    part.add("cylinder", (0, -0.12, 0.3), (w * 0.72, 0.36, 0.004), m.WATER[0], "liquid")
    part.add("ring", (0, -0.12, 0.415), (w * 1.02, 0.52, 0.025), m.tone(color, 0.93), "ceramic")
    part.box((0, 0.1, 0.3), (w * 0.7, 0.2, 0.25), color, "ceramic")
    part.add("rounded", (0, 0.22, 0.42 + tank / 2), (w * 1.1, 0.2, tank), color, "ceramic")
    part.box((0, 0.22, 0.43 + tank), (w * 1.12, 0.22, 0.03), color, "ceramic")
    part.cylinder((0, 0.22, 0.45 + tank), 0.025, 0.015, m.STEEL[0], "steel")
    lid = part.frame((0, 0.135, 0.43), turn_x(-98 * state.get("open", 0.0)))
    lid.add("cylinder", (0, -0.26, 0.012), (w * 1.0, 0.52, 0.024), lid_color, skin)


def _water(
    part: Part, size: tuple[float, float, float], bottom: float, level: float, thickness: float, color: Color
) -> None:
    """The surface of the water in a tub of the given size, filled to a share `level` of its depth."""
    w, d, h = size
    width = 0.73 + 0.14 * level
    part.add("rounded", (0, 0, bottom + h * level), (w * width * 1.02, d * width * 1.02, thickness), color, "liquid")


@object_type("Bathtub", "floor", {"fill": "open liquid", "dirt": "stain"}, (30, 48), 40)
def bathtub(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(1.4, 1.65), rng.uniform(0.68, 0.78), rng.uniform(0.5, 0.6)
    color, metal, water = m.pick(rng, m.CERAMIC[:3]), m.pick(rng, m.STEEL + m.BRASS), m.pick(rng, m.WATER)
    floor, wall, front = (Stains.draw(rng, 11) for _ in range(3))

    part.add("tub", (0, 0, h / 2 + 0.05), (w, d, h), color, "ceramic")
    feet(part, w * 0.32, d * 0.3, (0.1, 0.1, 0.1), metal, "steel", "sphere")
    part.cylinder((-w * 0.44, 0, h + 0.14), 0.02, 0.2, metal, "steel")
    part.cylinder((-w * 0.40, 0, h + 0.22), 0.018, 0.14, metal, "steel", turn_y(90))
    fill, dirt = state.get("fill", 0.0), state.get("dirt", 0.0)
    if fill:
        _water(part, (w, d, h), 0.05, 0.2 + 0.65 * fill, 0.006, water)
    floor.on(part, dirt, w * 0.62, d * 0.6, (0, 0, 0.052 + h * 0.155))
    wall.on(part, dirt, w * 0.66, h * 0.5, (0, d * 0.394, 0.05 + h * 0.6), turn_x(83))
    front.on(part, dirt, w * 0.62, h * 0.55, (0, -d * 0.432, 0.05 + h * 0.36), turn_x(99))


@object_type("Sink", "floor", {"fill": "open liquid", "dirt": "stain"}, (46, 62), 40)
def sink(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.65, 0.8), rng.uniform(0.52, 0.6), rng.uniform(0.74, 0.84)
    top, body = m.pick(rng, m.CERAMIC[:3] + m.WOOD[:2]), m.pick(rng, m.WOOD + m.PAINT)
    bowl, metal, water = m.pick(rng, m.CERAMIC[:2] + m.STEEL[:1]), m.pick(rng, m.STEEL + m.BRASS), m.pick(rng, m.WATER)
    floor_stains, wall_stains = Stains.draw(rng, 12), Stains.draw(rng, 11)

    part.box((0, 0, (h - 0.16) / 2), (w, d, h - 0.16), body, "wood")
    for x in (-1, 1):
        place = (x * w * 0.245, -d / 2 - 0.008, (h - 0.14) / 2)
        part.box(place, (w * 0.47, 0.016, h - 0.26), m.tone(body, 0.92), "wood")
        part.add("knob", (x * 0.05, -d / 2 - 0.03, h * 0.6), 0.03, metal, "steel")
    bw, bd, deep = w * 0.74, d * 0.66, 0.17
    for x in (-1, 1):
        part.box((x * (w + bw * 0.94) / 4, 0, h - 0.08), ((w - bw * 0.94) / 2, d, 0.16), top, "marble")
        part.box((0, x * (d + bd * 0.94) / 4, h - 0.08), (bw, (d - bd * 0.94) / 2, 0.16), top, "marble")
    part.add("tub", (0, 0, h - deep / 2 + 0.012), (bw, bd, deep), bowl, "ceramic")
    part.cylinder((0, d * 0.41, h + 0.1), 0.018, 0.2, metal, "steel")
    part.cylinder((0, d * 0.28, h + 0.19), 0.015, d * 0.28, metal, "steel", turn_x(90))
    for x in (-1, 1):
        part.cylinder((x * 0.09, d * 0.41, h + 0.03), 0.02, 0.05, metal, "steel")
    fill, dirt = state.get("fill", 0.0), state.get("dirt", 0.0)
    floor = h - deep + 0.012 + deep * 0.15
    part.cylinder((0, 0, floor + 0.002), 0.025, 0.004, m.DARK[1], "steel")
    floor_stains.on(part, dirt, bw * 0.74, bd * 0.74, (0, 0, floor + 0.003))
    wall_stains.on(part, dirt, bw * 0.75, deep * 0.75, (0, bd * 0.4, floor + deep * 0.42), turn_x(78))
    if fill:
        _water(part, (bw, bd, deep), h - deep + 0.012, 0.25 + 0.6 * fill, 0.004, water)
