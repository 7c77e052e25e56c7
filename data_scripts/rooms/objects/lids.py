"""A chest, a bin and a basket with lids; a washing machine and a cooler whose lid uncovers water."""

from __future__ import annotations

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.objects.parts import feet
from data_scripts.rooms.objects.registry import State, object_type
from data_scripts.rooms.shapes import Color, Part, turn_x, turn_y, turn_z


def _open_box(part: Part, size: tuple[float, float, float], wall: float, color: Color, material: str, base: float = 0.0,
              inside: Color | None = None) -> None:  # fmt: skip
    """Four walls and a floor, open at the top."""
    w, d, h = size
    for side in (-1, 1):
        part.box((side * (w - wall) / 2, 0, base + h / 2), (wall, d, h), color, material)
        part.box((0, side * (d - wall) / 2, base + h / 2), (w - 2 * wall, wall, h), color, material)
    part.box((0, 0, base + wall / 2), (w - 2 * wall, d - 2 * wall, wall), inside or color, material)


@object_type("Chest", "floor", {"open": "lid"}, (20, 40), 42)
def chest(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.7, 0.95), rng.uniform(0.42, 0.5), rng.uniform(0.34, 0.42)
    wood, iron = m.pick(rng, m.WOOD), m.pick(rng, m.DARK + m.BRASS)
    cloth = [m.pick(rng, m.CLOTH + m.COVER) for _ in range(3)]

    _open_box(part, (w, d, h), 0.03, wood, "wood", inside=m.tone(wood, 0.5))
    for k, x in enumerate((-0.3, 0.0, 0.3)):
        part.add("rounded", (x * w, 0, h - 0.08), (w * 0.28, d * 0.82, 0.16), cloth[k], "cloth")
    part.box((0, -d / 2 - 0.008, h - 0.05), (0.09, 0.012, 0.1), iron, "steel")
    lid = part.frame((0, d / 2, h), turn_x(-100 * state.get("open", 0.0)))
    lid.box((0, -d / 2, 0.02), (w, d, 0.04), wood, "wood")
    lid.add("half_round", (0, -d / 2, 0.04), (d, 0.11, w), wood, "wood", turn_y(90) @ turn_z(90))
    for x in (-0.36, 0.36):
        part.box((x * w, -d / 2 - 0.004, h / 2), (0.05, 0.008, h), iron, "steel")
        lid.add("half_round", (x * w, -d / 2, 0.04), (d + 0.012, 0.118, 0.05), iron, "steel", turn_y(90) @ turn_z(90))


@object_type("Bin", "floor", {"open": "lid"}, (24, 44), 45)
def waste_bin(part: Part, rng: np.random.Generator, state: State) -> None:
    radius, height = rng.uniform(0.15, 0.18), rng.uniform(0.42, 0.56)
    color, material = m.pick(rng, m.STEEL + m.GLAZE + m.APPLIANCE), str(rng.choice(["steel", "plastic"]))
    litter = [m.pick(rng, m.CERAMIC + m.GLAZE) for _ in range(4)]

    part.add("pot", (0, 0, height / 2), (2 * radius, 2 * radius, height), color, material)
    part.cylinder((0, 0, 0.015), radius * 1.03, 0.03, m.DARK[0], "plastic")
    part.add("ring", (0, 0, height - 0.012), (2.02 * radius, 2.02 * radius, 0.03), m.DARK[1], "plastic")
    part.cylinder((0, 0, height - 0.1), radius * 0.92, 0.01, (0.06, 0.06, 0.07), "plastic")
    for k, paper in enumerate(litter):
        x, y = 0.5 * radius * np.cos(1.6 * k), 0.5 * radius * np.sin(1.6 * k)
        part.add("knob", (x, y, height - 0.07), (0.12, 0.1, 0.1), paper, "plain", turn_z(50 * k))
    part.box((0, -radius - 0.03, 0.02), (0.09, 0.07, 0.015), m.DARK[0], "plastic")
    lid = part.frame((0, radius, height), turn_x(-85 * state.get("open", 0.0)))
    lid.add("dome", (0, -radius, 0.004), (2.06 * radius, 2.06 * radius, 0.09), color, material)
    lid.cylinder((0, -radius, 0.0), radius * 1.02, 0.012, m.tone(color, 0.7), material)


@object_type("Basket", "table", {"open": "double leaf"}, (26, 46), 40)
def basket(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.36, 0.44), rng.uniform(0.24, 0.29), rng.uniform(0.16, 0.21)
    cane, cloth = m.pick(rng, m.WOOD[:1] + m.WOOD[3:] + m.CARDBOARD), m.pick(rng, m.CLOTH + m.COVER[:3])
    fruit = [m.pick(rng, ((0.8, 0.15, 0.1), (0.85, 0.6, 0.1), (0.45, 0.65, 0.2))) for _ in range(4)]

    _open_box(part, (w, d, h), 0.014, cane, "cloth", inside=m.tone(cane, 0.5))
    part.add("pillow", (0, 0, h * 0.42), (w * 0.94, d * 0.92, 0.1), cloth, "cloth")
    for k, color in enumerate(fruit):
        part.add("sphere", ((k - 1.5) * w * 0.23, 0.03 * (-1) ** k, h * 0.72), 0.085, color, "ceramic")
    part.box((0, 0, h + 0.005), (0.03, d, 0.012), m.tone(cane, 0.75), "wood")
    for side in (-1, 1):
        part.cylinder((0, side * d / 2, h + 0.08), 0.011, 0.17, m.tone(cane, 0.75), "wood")
        lid = part.frame((side * 0.018, 0, h + 0.006), turn_y(-side * 125 * state.get("open", 0.0)))
        lid.box((side * (w / 4 - 0.004), 0, 0.005), (w / 2 - 0.008, d + 0.014, 0.01), m.tone(cane, 0.94), "cloth")
        lid.add("knob", (side * (w / 2 - 0.04), 0, 0.016), 0.026, m.tone(cane, 0.6), "wood")
    part.cylinder((0, 0, h + 0.165), 0.011, d + 0.02, m.tone(cane, 0.75), "wood", turn_x(90))


@object_type("WashingMachine", "floor", {"open": "lid over water"}, (28, 46), 42)
def washing_machine(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.5, 0.6), rng.uniform(0.52, 0.6), rng.uniform(0.78, 0.88)
    color, water = m.pick(rng, m.APPLIANCE[:2] + m.APPLIANCE[3:]), m.pick(rng, m.WATER)
    cloth = [m.pick(rng, m.CLOTH + m.COVER) for _ in range(3)]
    knob = m.pick(rng, m.STEEL + m.DARK)

    _open_box(part, (w, d, h - 0.06), 0.05, color, "plastic", 0.04)
    feet(part, w / 2 - 0.05, d / 2 - 0.05, (0.06, 0.06, 0.04), m.DARK[0], "plastic")
    top, opening = h - 0.02, 0.39 * w
    part.add("rim", (0, -0.04, top), (w, d - 0.08, 0.02), color, "plastic")
    part.add("pot", (0, -0.04, top - 0.15), (2 * opening, 2 * opening, 0.3), m.STEEL[0], "steel")
    part.cylinder((0, -0.04, top - 0.06), 0.97 * opening, 0.004, water, "liquid")
    for k, color_of in enumerate(cloth):
        x, y = 0.5 * opening * np.cos(2.1 * k + 0.5), 0.5 * opening * np.sin(2.1 * k + 0.5)
        part.add("pillow", (x, y - 0.04, top - 0.062), (0.13, 0.1, 0.05), color_of, "cloth", turn_z(40 * k))
    part.box((0, d / 2 - 0.06, h + 0.06), (w, 0.1, 0.16), color, "plastic")
    for x in (-0.3, 0.3):
        part.cylinder((x * w, d / 2 - 0.12, h + 0.07), 0.035, 0.03, knob, "steel", turn_x(90))
    part.box((0, d / 2 - 0.112, h + 0.07), (w * 0.26, 0.006, 0.06), (0.1, 0.14, 0.16), "glass")
    lid = part.frame((0, d / 2 - 0.12, top + 0.01), turn_x(-95 * state.get("open", 0.0)))
    lid.box((0, -(d - 0.14) / 2, 0.012), (w * 0.92, d - 0.14, 0.024), m.tone(color, 0.93), "plastic")
    lid.box((0, -(d - 0.14) + 0.03, 0.028), (w * 0.3, 0.03, 0.012), knob, "plastic")


@object_type("Cooler", "floor", {"open": "lid over water"}, (26, 46), 42)
def cooler(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.55, 0.72), rng.uniform(0.36, 0.44), rng.uniform(0.34, 0.42)
    color, white = m.pick(rng, m.GLAZE + m.COVER[:3]), m.pick(rng, m.CERAMIC[:2])
    water, cans = m.pick(rng, m.WATER), [m.pick(rng, m.COVER + m.BRASS) for _ in range(3)]
    ice = rng.uniform(-0.4, 0.4, (5, 2))

    _open_box(part, (w, d, h), 0.045, color, "plastic")
    part.box((0, 0, h - 0.065), (w - 0.09, d - 0.09, 0.006), water, "liquid")
    for x, y in ice:
        part.box(
            (x * (w - 0.16), y * (d - 0.16), h - 0.06), (0.05, 0.05, 0.03), (0.9, 0.95, 1.0), "glass", turn_z(90 * x)
        )
    for k, can in enumerate(cans):
        part.cylinder(((k - 1) * w * 0.25, 0.04 * (k % 2), h - 0.055), 0.033, 0.12, can, "steel", turn_y(60 + 25 * k))
    part.box((0, -d / 2 - 0.003, h * 0.5), (w * 0.5, 0.006, h * 0.3), white, "plastic")
    for side in (-1, 1):
        part.box((side * (w / 2 + 0.015), 0, h * 0.62), (0.03, d * 0.4, 0.04), white, "plastic")
    lid = part.frame((0, d / 2, h), turn_x(-100 * state.get("open", 0.0)))
    lid.box((0, -d / 2, 0.025), (w, d, 0.05), white, "plastic")
    lid.add("rounded", (0, -d / 2, 0.05), (w * 0.9, d * 0.86, 0.04), white, "plastic")
    lid.box((0, -d - 0.01, 0.02), (0.12, 0.02, 0.05), color, "plastic")
