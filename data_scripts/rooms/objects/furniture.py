"""Large pieces that get dirty: a table and a bed, a sofa."""

from __future__ import annotations

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.objects.parts import feet
from data_scripts.rooms.objects.registry import State, object_type
from data_scripts.rooms.objects.stains import Stains
from data_scripts.rooms.shapes import Color, Part, turn_x


def legged_table(
    part: Part, size: tuple[float, float, float], color: Color, material: str, round_top: bool = False
) -> None:
    """A table of the given width, depth and height; its top ends at the height."""
    w, d, h = size
    if round_top:
        part.add("cylinder", (0, 0, h - 0.02), (w, d, 0.04), color, material)
        part.cylinder((0, 0, h / 2), 0.05, h - 0.04, color, material)
        part.add("cylinder", (0, 0, 0.02), (w * 0.45, d * 0.45, 0.04), color, material)
        return
    part.box((0, 0, h - 0.02), (w, d, 0.04), color, material)
    part.box((0, 0, h - 0.08), (w - 0.14, d - 0.14, 0.08), m.tone(color, 0.85), material)
    feet(part, w / 2 - 0.05, d / 2 - 0.05, (0.06, 0.06, h - 0.04), color, material)


@object_type("Table", "floor", {"dirt": "stain"}, (26, 45), 42)
def table(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.9, 1.2), rng.uniform(0.65, 0.85), rng.uniform(0.68, 0.76)
    color, round_top = m.pick(rng, m.WOOD[:1] + m.WOOD[3:4] + m.PAINT[:3]), bool(rng.integers(2))
    stains = Stains.draw(rng, 13, disc=round_top)

    legged_table(part, (w, d, h), color, "wood", round_top)
    stains.on(part, state.get("dirt", 0.0), w * 0.94, d * 0.94, (0, 0, h + 0.002))


@object_type("Bed", "floor", {"dirt": "stain"}, (26, 45), 48)
def bed(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d = rng.uniform(1.0, 1.4), rng.uniform(1.75, 1.95)
    wood, sheet = m.pick(rng, m.WOOD), m.pick(rng, m.CLOTH[:2] + m.CLOTH[4:5])
    pillows, single = m.pick(rng, ((0.92, 0.91, 0.88), (0.85, 0.87, 0.9))), w < 1.15
    stains = Stains.draw(rng, 13)

    part.box((0, 0, 0.18), (w, d, 0.14), wood, "wood")
    part.box((0, d / 2 - 0.03, 0.45), (w + 0.06, 0.06, 0.9), wood, "wood")
    part.box((0, -d / 2 + 0.02, 0.25), (w + 0.06, 0.05, 0.4), wood, "wood")
    feet(part, w / 2 - 0.05, d / 2 - 0.06, (0.08, 0.08, 0.12), wood, "wood")
    part.add("pillow", (0, -0.02, 0.33), (w - 0.02, d - 0.08, 0.3), (0.93, 0.92, 0.9), "cloth")
    part.box((0, -d * 0.13, 0.4), (w + 0.02, d * 0.66, 0.16), sheet, "cloth")
    part.box((0, d * 0.19, 0.485), (w + 0.025, d * 0.09, 0.02), m.tone(sheet, 1.15), "cloth")
    for x in (0.0,) if single else (-0.24, 0.24):
        part.add("pillow", (x * w, d * 0.37, 0.52), (w * (0.6 if single else 0.42), 0.34, 0.15), pillows, "cloth")
    stains.on(part, state.get("dirt", 0.0), w * 0.9, d * 0.58, (0, -d * 0.14, 0.484))


@object_type("Sofa", "floor", {"dirt": "stain"}, (18, 38), 42)
def sofa(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d = rng.uniform(1.25, 1.6), rng.uniform(0.78, 0.88)
    color, wood = m.pick(rng, m.CLOTH), m.pick(rng, m.WOOD)
    seats = int(rng.integers(1, 3)) + (w > 1.4)
    seat, back = Stains.draw(rng, 11), Stains.draw(rng, 9)

    dirt = state.get("dirt", 0.0)
    part.box((0, 0, 0.2), (w, d, 0.2), m.tone(color, 0.9), "cloth")
    part.box((0, d / 2 - 0.1, 0.5), (w, 0.2, 0.6), color, "cloth")
    for x in (-1.0, 1.0):
        part.add("rounded", (x * (w / 2 - 0.08), 0, 0.36), (0.18, d, 0.5), color, "cloth")
        for y in (-1, 1):
            part.box((x * (w / 2 - 0.08), y * (d / 2 - 0.08), 0.05), (0.06, 0.06, 0.1), wood, "wood")
    for k in range(seats):
        x = (k + 0.5) / seats - 0.5
        cushion = ((w - 0.36) / seats, d - 0.26, 0.17)
        part.add("rounded", (x * (w - 0.34), -0.06, 0.37), cushion, m.tone(color, 1.06), "cloth")
    seat.on(part, dirt, w - 0.5, d - 0.4, (0, -0.08, 0.453))
    back.on(part, dirt, w - 0.5, 0.3, (0, d / 2 - 0.205, 0.64), turn_x(90))
