"""Plates, cups, bowls, pots, pans and bottles: dirty and clean, fill and empty, break."""

from __future__ import annotations

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.objects.fragile import Debris
from data_scripts.rooms.objects.registry import State, object_type
from data_scripts.rooms.objects.stains import Stains
from data_scripts.rooms.pieces import PLATE_CUTS
from data_scripts.rooms.shapes import Color, Part, turn_x, turn_y, turn_z


def _liquid(part: Part, radius: float, z: float, color: Color) -> None:
    part.cylinder((0, 0, z), radius, 0.004, color, "liquid")


@object_type("Plate", "table", {"dirt": "stain", "broken": "shatter"}, (32, 60), 180)
def plate(part: Part, rng: np.random.Generator, state: State) -> None:
    size, tall = rng.uniform(0.24, 0.3), 0.03
    color, rim = m.pick(rng, m.CERAMIC), m.pick(rng, m.GLAZE)
    banded = bool(rng.integers(2))
    stains = Stains.draw(rng, 12, disc=True)
    variant = int(rng.integers(len(PLATE_CUTS)))
    turn, pushes, tilts = rng.uniform(0, 360), rng.uniform(0.5, 1.0, 6), rng.uniform(-14, 14, (6, 3))

    broken = state.get("broken", 0.0)
    if not broken:
        part.add("plate", (0, 0, tall / 2), (size, size, tall), color, "ceramic")
        if banded:
            part.add("ring", (0, 0, tall * 0.8), (size * 0.92, size * 0.92, 0.006), rim, "ceramic")
        stains.on(part, state.get("dirt", 0.0), size * 0.8, size * 0.8, (0, 0, tall * 0.62))
        return
    whole = part.frame(turn=turn_z(turn))
    cuts = [*PLATE_CUTS[variant], 2 * np.pi]
    for i in range(len(cuts) - 1):
        middle = (cuts[i] + cuts[i + 1]) / 2
        away = np.array([np.cos(middle), np.sin(middle), 0]) * size * 0.2 * pushes[i] * (0.5 + 0.5 * broken)
        a, b, c = tilts[i]
        lying = turn_z(2 * c) @ turn_x(a) @ turn_y(b)
        whole.add(f"plate{variant}_{i}", away + (0, 0, tall / 2 + 0.012), (size, size, tall), color, "ceramic", lying)


@object_type("Cup", "table", {"fill": "open liquid", "broken": "shatter"}, (38, 55), 180)
def cup(part: Part, rng: np.random.Generator, state: State) -> None:
    radius, height = rng.uniform(0.045, 0.055), rng.uniform(0.09, 0.12)
    color, drink = m.pick(rng, m.CERAMIC + m.GLAZE), m.LIQUIDS[int(rng.integers(1, len(m.LIQUIDS)))]
    debris = Debris.draw(rng, 7)

    if state.get("broken", 0.0):
        part.add("jagged_tube", (0, 0, height * 0.3), (2 * radius, 2 * radius, height * 0.6), color, "ceramic")
        debris.around(part, state["broken"], radius * 2.6, radius * 1.0, color, "ceramic")
        part.add("ring", (radius * 2.2, -radius, 0.012), (radius * 1.5, radius * 1.1, 0.015), color, "ceramic")
        return
    part.add("cup", (0, 0, height / 2), (2 * radius, 2 * radius, height), color, "ceramic")
    handle = (height * 0.62, radius * 1.3, 0.016)
    part.add("ring", (radius * 1.15, 0, height * 0.5), handle, color, "ceramic", turn_x(90) @ turn_z(90))
    fill = state.get("fill", 0.0)
    if fill:
        level = 0.1 + 0.85 * fill
        _liquid(part, radius * (0.76 + 0.12 * level), height * level, drink)


@object_type("Bowl", "table", {"fill": "open liquid", "dirt": "stain"}, (35, 58), 180)
def bowl(part: Part, rng: np.random.Generator, state: State) -> None:
    size, height = rng.uniform(0.17, 0.22), rng.uniform(0.075, 0.095)
    color, soup = m.pick(rng, m.CERAMIC + m.GLAZE), m.LIQUIDS[int(rng.integers(1, len(m.LIQUIDS)))]
    floor, wall = Stains.draw(rng, 10, disc=True), rng.uniform(0, 360, 6)
    colors = [m.pick(rng, m.DIRT) for _ in wall]

    part.add("bowl", (0, 0, height / 2), (size, size, height), color, "ceramic")
    dirt, fill = state.get("dirt", 0.0), state.get("fill", 0.0)
    if dirt:
        floor.on(part, dirt, size * 0.55, size * 0.55, (0, 0, height * 0.2))
        for k in range(max(2, round(6 * dirt))):
            place, splash = (size * 0.345, 0, height * 0.55), part.frame(turn=turn_z(float(wall[k])))
            splash.add(f"blot{k}", place, (0.06, 0.055, 0.006), colors[k], "dirt", turn_y(-52))
    if fill:
        level = 0.15 + 0.75 * fill
        _liquid(part, size * (0.15 + 0.3 * level**0.5), height * level, soup)


@object_type("Pot", "table", {"fill": "open liquid"}, (35, 55), 180)
def pot(part: Part, rng: np.random.Generator, state: State) -> None:
    radius, height = rng.uniform(0.11, 0.14), rng.uniform(0.12, 0.16)
    color = m.pick(rng, m.STEEL + ((0.62, 0.2, 0.15), (0.2, 0.3, 0.42)))
    soup, handle = m.LIQUIDS[int(rng.integers(0, len(m.LIQUIDS)))], m.pick(rng, m.DARK)

    part.add("pot", (0, 0, height / 2), (2 * radius, 2 * radius, height), color, "steel")
    part.add("ring", (0, 0, height), (2.08 * radius, 2.08 * radius, 0.012), m.tone(color, 0.8), "steel")
    for side in (-1, 1):
        part.add("ring", (side * radius * 1.12, 0, height * 0.8), (0.07, 0.1, 0.02), handle, "plastic")
    fill = state.get("fill", 0.0)
    if fill:
        _liquid(part, radius * 0.93, height * (0.12 + 0.8 * fill), soup)


@object_type("Pan", "table", {"dirt": "stain"}, (35, 58), 180)
def pan(part: Part, rng: np.random.Generator, state: State) -> None:
    radius, height = rng.uniform(0.13, 0.16), rng.uniform(0.045, 0.06)
    color, handle = m.pick(rng, m.STEEL), m.pick(rng, m.DARK + m.WOOD[2:3])
    stains = Stains.draw(rng, 12, disc=True)

    part.add("pan", (0, 0, height / 2), (2 * radius, 2 * radius, height), color, "steel")
    part.cylinder((0, 0, height * 0.12), radius * 0.84, 0.004, m.tone(color, 1.15), "steel")
    part.add("rounded", (radius * 1.75, 0, height * 0.85), (radius * 1.7, 0.035, 0.022), handle, "plastic", turn_y(-6))
    stains.on(part, state.get("dirt", 0.0), radius * 1.65, radius * 1.65, (0, 0, height * 0.2))


@object_type("Bottle", "table", {"fill": "liquid behind glass", "broken": "shatter"}, (6, 26), 180)
def bottle(part: Part, rng: np.random.Generator, state: State) -> None:
    radius, height = rng.uniform(0.04, 0.05), rng.uniform(0.26, 0.32)
    tint = m.pick(rng, ((0.75, 0.86, 0.88), (0.55, 0.75, 0.6), (0.82, 0.78, 0.66)))
    drink = m.LIQUIDS[int(rng.integers(0, len(m.LIQUIDS)))]
    debris, label = Debris.draw(rng, 8), m.pick(rng, m.GLAZE)
    lying = rng.uniform(0, 360)

    glass = (*tint, 0.3)
    if state.get("broken", 0.0):
        part.add("jagged_tube", (0, 0, height * 0.22), (2 * radius, 2 * radius, height * 0.44), (*tint, 0.7), "glass")
        neck = part.frame((-radius * 2.2, -radius * 1.8, 0.018), turn_z(lying))
        neck.cylinder((0, 0, 0), 0.016, height * 0.3, (*tint, 0.75), "glass", turn_y(90))
        neck.cylinder((height * 0.14, 0, 0), 0.019, 0.025, m.BRASS[0], "steel", turn_y(90))
        debris.around(part, state["broken"], radius * 2.8, radius * 0.9, (*tint, 0.8), "glass")
        return
    fill = state.get("fill", 0.0)
    if fill:
        # A column that ends below the shoulder.
        part.cylinder((0, 0, 0.006 + 0.3 * fill * height), radius * 0.93, 0.6 * fill * height, drink, "liquid")
    part.cylinder((0, 0, height * 1.01), 0.018, 0.022, label, "plastic")
    part.add("bottle", (0, 0, height / 2), (2 * radius, 2 * radius, height), glass, "glass")
