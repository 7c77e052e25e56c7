"""Clear vessels whose content is seen through their side: a jar, a jug, a drinking glass and an aquarium."""

from __future__ import annotations

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.objects.fragile import Debris
from data_scripts.rooms.objects.registry import State, object_type
from data_scripts.rooms.shapes import Color, Part, turn_x, turn_y, turn_z

CLEAR = ((0.78, 0.87, 0.9), (0.7, 0.82, 0.76), (0.8, 0.86, 0.92))


def _column(part: Part, radius: float, height: float, fill: float, color: Color) -> None:
    """The liquid in a straight vessel that stands at z = 0 and is `height` tall."""
    if fill:
        tall = 0.86 * fill * height
        part.cylinder((0, 0, 0.008 + tall / 2), radius * 0.9, tall, color, "liquid")


def _broken(part: Part, radius: float, height: float, debris: Debris, amount: float, tint: Color) -> None:
    """The rest of a straight vessel, standing among its pieces."""
    part.add("jagged_tube", (0, 0, height * 0.25), (2 * radius, 2 * radius, height * 0.5), (*tint, 0.7), "glass")
    debris.around(part, amount, radius * 2.7, radius * 0.9, (*tint, 0.8), "glass")


@object_type("Jar", "table", {"fill": "liquid behind glass", "broken": "shatter"}, (8, 28), 180)
def jar(part: Part, rng: np.random.Generator, state: State) -> None:
    radius, height = rng.uniform(0.06, 0.075), rng.uniform(0.15, 0.2)
    tint, drink = m.pick(rng, CLEAR), m.LIQUIDS[int(rng.integers(0, len(m.LIQUIDS)))]
    lid, debris = m.pick(rng, m.BRASS + m.STEEL + m.COVER), Debris.draw(rng, 9)
    turn = rng.uniform(0, 360)

    if broken := state.get("broken", 0.0):
        _broken(part, radius, height, debris, broken, tint)
        flung = part.frame((0, 0, 0.012), turn_z(turn))
        flung.cylinder((radius * 2.4, 0, 0), radius * 0.85, 0.02, lid, "steel", turn_x(8))
        return
    _column(part, radius, height * 0.9, state.get("fill", 0.0), drink)
    part.cylinder((0, 0, height + 0.008), radius * 0.84, 0.032, lid, "steel")
    part.add("pot", (0, 0, height / 2), (2 * radius, 2 * radius, height), (*tint, 0.3), "glass")


@object_type("Jug", "table", {"fill": "liquid behind glass", "broken": "shatter"}, (8, 28), 180)
def jug(part: Part, rng: np.random.Generator, state: State) -> None:
    radius, height = rng.uniform(0.065, 0.08), rng.uniform(0.2, 0.25)
    tint, drink = m.pick(rng, CLEAR), m.LIQUIDS[int(rng.integers(0, len(m.LIQUIDS)))]
    debris, lean = Debris.draw(rng, 10), rng.uniform(0, 360)

    handle, dim = (height * 0.62, radius * 1.3, 0.022), (*m.tone(tint, 0.85), 0.75)
    if broken := state.get("broken", 0.0):
        _broken(part, radius, height, debris, broken, tint)
        part.add("ring", (radius * 2.3, -radius, 0.014), handle, dim, "glass", turn_z(lean))
        return
    _column(part, radius, height, 0.95 * state.get("fill", 0.0), drink)
    upright = turn_x(90) @ turn_z(90)
    part.add("ring", (radius * 1.2, 0, height * 0.55), handle, dim, "glass", upright)
    part.add("ring", (0, 0, height), (2.04 * radius, 2.04 * radius, 0.012), (*tint, 0.7), "glass")
    part.box((-radius * 1.1, 0, height - 0.012), (0.035, 0.04, 0.012), (*tint, 0.7), "glass", turn_y(25))
    part.add("pot", (0, 0, height / 2), (2 * radius, 2 * radius, height), (*tint, 0.3), "glass")


@object_type("Glass", "table", {"fill": "liquid behind glass", "broken": "shatter"}, (10, 30), 180)
def drinking_glass(part: Part, rng: np.random.Generator, state: State) -> None:
    radius, height = rng.uniform(0.036, 0.044), rng.uniform(0.12, 0.16)
    tint, drink = m.pick(rng, CLEAR), m.LIQUIDS[int(rng.integers(0, len(m.LIQUIDS)))]
    debris, straw = Debris.draw(rng, 8), m.pick(rng, m.COVER + m.BRASS)
    lean = rng.uniform(0, 360)

    if broken := state.get("broken", 0.0):
        _broken(part, radius, height, debris, broken, tint)
        return
    _column(part, radius, height, state.get("fill", 0.0), drink)
    leaning = part.frame((0, 0, 0.01), turn_z(lean) @ turn_y(10))
    leaning.cylinder((0, 0, height * 0.66), 0.004, height * 1.3, straw, "plastic")
    part.add("ring", (0, 0, height), (2.04 * radius, 2.04 * radius, 0.008), (*tint, 0.7), "glass")
    part.add("pot", (0, 0, height / 2), (2 * radius, 2 * radius, height), (*tint, 0.3), "glass")


@object_type("Aquarium", "table", {"fill": "liquid behind glass"}, (6, 26), 40)
def aquarium(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.38, 0.5), rng.uniform(0.22, 0.27), rng.uniform(0.25, 0.31)
    frame, water = m.pick(rng, m.DARK + m.STEEL), m.pick(rng, m.WATER)
    sand, stone = m.pick(rng, ((0.78, 0.68, 0.48), (0.6, 0.55, 0.5))), m.pick(rng, m.STEEL)
    plants, leans = rng.uniform(-0.4, 0.4, 5), rng.uniform(-14, 14, 5)

    part.box((0, 0, 0.01), (w, d, 0.02), frame, "plastic")
    part.box((0, 0, 0.04), (w - 0.014, d - 0.014, 0.04), sand, "food")
    part.add("sphere", (w * 0.2, 0.02, 0.06), (0.11, 0.09, 0.08), stone, "food")
    for k, x in enumerate(plants):
        tall, green = h * (0.4 + 0.08 * (k % 3)), (0.2, 0.45 + 0.05 * (k % 2), 0.2)
        part.add(
            "sphere", (x * w, 0.04 - 0.02 * k, 0.05 + tall / 2), (0.03, 0.02, tall), green, "plain", turn_y(leans[k])
        )
    if fill := state.get("fill", 0.0):
        tall = (h - 0.06) * fill
        part.box((0, 0, 0.06 + tall / 2), (w - 0.014, d - 0.014, tall), (*water, 0.6), "liquid")
        part.box((0, 0, 0.06 + tall), (w - 0.014, d - 0.014, 0.004), (*m.tone(water, 1.25), 0.8), "liquid")
    for x in (-1, 1):
        for y in (-1, 1):
            part.box((x * (w / 2 - 0.004), y * (d / 2 - 0.004), h / 2), (0.01, 0.01, h), frame, "plastic")
        part.box((x * (w / 2 - 0.004), 0, h), (0.014, d + 0.006, 0.016), frame, "plastic")
        part.box((0, x * (d / 2 - 0.004), h), (w + 0.006, 0.014, 0.016), frame, "plastic")
    part.box((0, 0, h / 2), (w - 0.008, d - 0.008, h - 0.01), (0.8, 0.9, 0.95, 0.18), "glass")
