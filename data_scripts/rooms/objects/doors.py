"""Things with doors: of glass, in two leaves, and those that turn down."""

from __future__ import annotations

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.objects.fragile import Crack, Debris
from data_scripts.rooms.objects.parts import glowing, hollow, view_outside
from data_scripts.rooms.objects.registry import State, object_type
from data_scripts.rooms.shapes import Part, turn_x, turn_y, turn_z


@object_type("Showcase", "floor", {"open": "door", "broken": "crack"}, (8, 24), (-8, 42))
def showcase(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.5, 0.66), rng.uniform(0.34, 0.4), rng.uniform(0.95, 1.3)
    wood, knob = m.pick(rng, m.WOOD + m.PAINT + m.DARK), m.pick(rng, m.BRASS + m.STEEL)
    goods = [m.pick(rng, m.GLAZE + m.CERAMIC) for _ in range(6)]
    crack, debris = Crack.draw(rng, (3, 5), 8), Debris.draw(rng, 7)

    hollow(part, (w, d, h), 0.03, wood, "wood", m.tone(wood, 0.45))
    part.box((0, -0.01, h + 0.015), (w + 0.04, d + 0.03, 0.03), wood, "wood")
    for k in range(3):
        z = 0.03 + (h - 0.03) * k / 3
        if k:
            part.box((0, 0.02, z), (w - 0.06, d - 0.1, 0.014), m.tone(wood, 0.85), "wood")
        for i, x in enumerate((-0.22, 0.2)):
            tall = h * (0.17 + 0.05 * ((i + k) % 2))
            form = "shade" if (i + k) % 2 else "cylinder"
            part.add(form, (x * w, 0.0, z + 0.007 + tall / 2), (0.12, 0.12, tall), goods[2 * k + i], "ceramic")
    door = part.frame((-w / 2, -d / 2, 0.01), turn_z(-112 * state.get("open", 0.0)))
    dh, rail = h - 0.02, 0.055
    for x in (rail / 2, w - rail / 2):
        door.box((x, -0.014, dh / 2), (rail, 0.028, dh), wood, "wood")
    for z in (rail / 2, dh - rail / 2):
        door.box((w / 2, -0.014, z), (w - 2 * rail, 0.028, rail), wood, "wood")
    door.add("knob", (w - rail / 2, -0.045, dh * 0.52), 0.035, knob, "steel")
    size = (w - 2 * rail, dh - 2 * rail)
    if broken := state.get("broken", 0.0):
        crack.pane(door, size, (w / 2, -0.016, dh / 2), (0.88, 0.95, 1.0, 0.72))
        floor = part.frame((0, -d / 2 - 0.1, 0), np.diag([2.2, 0.8, 1.0]))
        debris.around(floor, broken, 0.1, 0.1, (0.85, 0.93, 0.97), "glass")
    else:
        door.box((w / 2, -0.014, dh / 2), (size[0], 0.006, size[1]), (0.8, 0.9, 0.95, 0.22), "glass")


@object_type("Wardrobe", "floor", {"open": "double leaf"}, (8, 24), 28)
def wardrobe(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.85, 1.05), rng.uniform(0.48, 0.56), rng.uniform(1.55, 1.85)
    wood, knob = m.pick(rng, m.WOOD + m.PAINT), m.pick(rng, m.BRASS + m.STEEL)
    clothes = [m.pick(rng, m.CLOTH + m.COVER) for _ in range(5)]
    lengths = rng.uniform(0.4, 0.62, 5)

    hollow(part, (w, d, h), 0.03, wood, "wood", m.tone(wood, 0.5))
    part.box((0, -0.02, h + 0.02), (w + 0.05, d + 0.07, 0.04), wood, "wood")
    part.cylinder((0, 0, h * 0.86), 0.014, w - 0.06, m.STEEL[0], "steel", turn_y(90))
    for k, (color, long) in enumerate(zip(clothes, lengths, strict=True)):
        x = (k - 2) * w * 0.17
        part.add("rounded", (x, -0.02, h * (0.84 - long / 2)), (0.1, d * 0.66, h * long), color, "cloth")
    part.box((0, 0, h * 0.11), (w * 0.6, d * 0.6, h * 0.12), m.CARDBOARD[0], "cardboard")
    for side in (-1, 1):
        door = part.frame((side * w / 2, -d / 2, 0.05), turn_z(side * 112 * state.get("open", 0.0)))
        dw, dh = w / 2 - 0.004, h - 0.06
        door.box((-side * dw / 2, -0.013, dh / 2), (dw, 0.026, dh), wood, "wood")
        for z in (0.27, 0.74):
            door.box((-side * dw / 2, -0.03, dh * z), (dw * 0.66, 0.01, dh * 0.38), m.tone(wood, 0.86), "wood")
        door.box((-side * (dw - 0.03), -0.045, dh * 0.5), (0.018, 0.03, 0.2), knob, "steel")


@object_type("Shutter", "wall", {"open": "double leaf"}, (-4, 16), 32, (0.85, 1.1))
def shutter(part: Part, rng: np.random.Generator, state: State) -> None:
    w, h = rng.uniform(0.7, 0.95), rng.uniform(0.8, 1.05)
    color, frame = m.pick(rng, m.PAINT + m.WOOD + m.GLAZE), m.pick(rng, m.PAINT[:2] + m.WOOD[:2])
    slats = int(rng.integers(5, 8))

    view_outside(part, rng, w, h, frame, depth=0.07)
    for side in (-1, 1):
        leaf = part.frame((side * w / 2, -0.075, 0.0), turn_z(side * 118 * state.get("open", 0.0)))
        lw = w / 2 - 0.004
        for x in (0.025, lw - 0.025):
            leaf.box((-side * x, -0.015, h / 2), (0.05, 0.03, h), color, "wood")
        for k in range(slats):
            z, tall = h * (k + 0.5) / slats, h / slats
            slat = (lw - 0.08, 0.012, tall * 1.02)
            leaf.box((-side * lw / 2, -0.015, z), slat, m.tone(color, 0.9), "wood", turn_x(-14))


@object_type("Oven", "floor", {"open": "drop door", "on": "heat"}, (14, 34), 38)
def oven(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.56, 0.66), rng.uniform(0.52, 0.6), rng.uniform(0.8, 0.9)
    color, steel = m.pick(rng, m.APPLIANCE), m.pick(rng, m.STEEL)
    food = m.pick(rng, ((0.66, 0.4, 0.18), (0.8, 0.55, 0.3), (0.6, 0.3, 0.2)))

    on, low, high = state.get("on", 0.0), h * 0.16, h * 0.76
    part.box((0, 0, low / 2), (w, d, low), color, "plastic")
    part.box((0, 0, (h + high) / 2), (w, d, h - high), color, "plastic")
    inner = (0.75, 0.32, 0.1) if on else (0.2, 0.2, 0.22)
    hollow(part, (w, d, high - low), 0.035, color, "plastic", inner, base=low)
    for z in (low + 0.06, high - 0.06):
        for y in (-0.14, 0.0, 0.14):
            bar = glowing(on, (1.0, 0.5, 0.12), (0.35, 0.35, 0.36), "steel")
            part.cylinder((0, y, z), 0.011, w - 0.1, *bar, turn_y(90))
    part.box((0, 0, (low + high) / 2 - 0.04), (w - 0.08, d - 0.08, 0.012), steel, "steel")
    part.add("rounded", (0, -0.03, (low + high) / 2 + 0.02), (w * 0.42, d * 0.5, 0.1), food, "food")
    for k in range(4):
        x = w * (-0.36 + 0.13 * k)
        part.cylinder((x, -d / 2 - 0.02, (h + high) / 2), 0.028, 0.04, m.DARK[1], "plastic", turn_x(90))
    shown = glowing(on, (1.0, 0.45, 0.15), (0.06, 0.07, 0.07), "glass")
    part.box((w * 0.3, -d / 2 - 0.004, (h + high) / 2), (w * 0.22, 0.008, 0.05), *shown)
    door = part.frame((0, -d / 2, low + 0.005), turn_x(92 * state.get("open", 0.0)))
    dh = high - low - 0.01
    for z, tall in ((0.05, 0.1), (dh - 0.06, 0.12)):
        door.box((0, -0.016, z), (w, 0.032, tall), color, "plastic")
    for x in (-1, 1):
        door.box((x * (w / 2 - 0.05), -0.016, dh / 2), (0.1, 0.032, dh), color, "plastic")
    glass = glowing(on, (1.0, 0.5, 0.15, 0.5), (0.05, 0.05, 0.06, 0.85), "glass")
    door.box((0, -0.016, dh / 2 - 0.01), (w - 0.19, 0.012, dh - 0.2), *glass)
    door.box((0, -0.06, dh - 0.05), (w * 0.8, 0.025, 0.025), steel, "steel")


@object_type("Dishwasher", "floor", {"open": "drop door"}, (18, 38), 38)
def dishwasher(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.54, 0.62), rng.uniform(0.52, 0.58), rng.uniform(0.78, 0.86)
    color, steel = m.pick(rng, m.APPLIANCE), m.pick(rng, m.STEEL[:2])
    dishes = [m.pick(rng, m.CERAMIC + m.GLAZE) for _ in range(5)]

    part.box((0, 0, 0.04), (w * 0.94, d * 0.9, 0.08), (0.1, 0.1, 0.1))
    hollow(part, (w, d, h - 0.08), 0.03, color, "plastic", (0.74, 0.76, 0.78), base=0.08)
    for z in (0.3, 0.62):
        part.box((0, -0.02, h * z), (w - 0.08, d - 0.1, 0.012), m.STEEL[2], "steel")
    for k, dish in enumerate(dishes):
        x = (k - 2) * w * 0.17
        part.cylinder((x, -0.03, h * 0.3 + 0.11), 0.1, 0.014, dish, "ceramic", turn_y(80))
        part.cylinder((x, -0.06 + 0.1 * (k % 2), h * 0.62 + 0.05), 0.037, 0.09, dish, "ceramic")
    door = part.frame((0, -d / 2, 0.08), turn_x(88 * state.get("open", 0.0)))
    dh = h - 0.08
    door.box((0, -0.02, dh / 2), (w, 0.04, dh), color, "plastic")
    door.box((0, 0.001, dh / 2), (w - 0.06, 0.006, dh - 0.06), steel, "steel")
    door.box((0, -0.043, dh - 0.06), (w, 0.01, 0.11), m.tone(color, 0.75), "plastic")
    door.box((0, -0.065, dh - 0.13), (w * 0.7, 0.03, 0.025), steel, "steel")


@object_type("Mailbox", "wall", {"open": "drop door"}, (2, 22), 36, (1.0, 1.3))
def mailbox(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.3, 0.38), rng.uniform(0.16, 0.2), rng.uniform(0.34, 0.44)
    color, metal = m.pick(rng, m.COVER + m.GLAZE + m.APPLIANCE), m.pick(rng, m.BRASS + m.STEEL)
    letters = [m.pick(rng, m.CERAMIC[:2] + m.CERAMIC[3:4] + m.CARDBOARD) for _ in range(4)]
    leans = rng.uniform(-7, 7, 4)

    box = part.frame((0, -d / 2, 0))
    hollow(box, (w, d, h), 0.015, color, "steel", m.tone(color, 0.3))
    box.add("half_round", (0, 0, h), (w + 0.03, 0.09, d + 0.03), color, "steel", turn_x(90))
    for k, paper in enumerate(letters):
        long = w * (0.72 + 0.06 * (k % 2))
        box.box(
            (0.01 * (k - 1.5), -0.05 + 0.03 * k, h * 0.36 + 0.02 * k),
            (long, 0.006, h * 0.62),
            paper,
            "plain",
            turn_y(leans[k]),
        )
    box.box((w * 0.2, -0.0535, h * 0.52), (0.045, 0.004, 0.05), (0.75, 0.25, 0.2))
    door = box.frame((0, -d / 2, 0.012), turn_x(112 * state.get("open", 0.0)))
    dh = h - 0.02
    door.box((0, -0.008, dh / 2), (w, 0.016, dh), color, "steel")
    door.box((0, -0.018, dh * 0.8), (w * 0.7, 0.006, 0.03), m.tone(color, 0.4), "plain")
    door.box((0, -0.018, dh * 0.42), (w * 0.42, 0.006, h * 0.2), m.CERAMIC[0], "plain")
    door.add("knob", (0, -0.028, dh * 0.66), 0.03, metal, "steel")
