"""Things with a door, a drawer, a lid or covers: open and close."""

from __future__ import annotations

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.objects.parts import feet, glowing, hollow, screen
from data_scripts.rooms.objects.registry import State, object_type
from data_scripts.rooms.shapes import Part, turn_x, turn_y, turn_z


@object_type("Cabinet", "floor", {"open": "double leaf"}, (12, 32), 42)
def cabinet(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.75, 1.05), rng.uniform(0.4, 0.5), rng.uniform(0.8, 1.5)
    wood, knob = m.pick(rng, m.WOOD + m.PAINT[:2]), m.pick(rng, m.BRASS + m.STEEL)
    dark = m.tone(wood, 0.55)
    shelves, framed = int(rng.integers(1, 4)), bool(rng.integers(2))

    part.box((0, 0, 0.03), (w * 0.96, d * 0.94, 0.06), dark, "wood")
    hollow(part, (w, d, h - 0.06), 0.025, wood, "wood", dark, base=0.06)
    for k in range(shelves):
        z = 0.06 + (h - 0.06) * (k + 1) / (shelves + 1)
        part.box((0, 0.02, z), (w - 0.05, d - 0.08, 0.02), wood, "wood")
        for x, c in ((-0.22, m.COVER[k % 5]), (-0.1, m.CERAMIC[k % 5]), (0.2, m.COVER[(k + 2) % 5])):
            part.box((x * w, 0.05, z + 0.09), (0.09 * w, 0.15, 0.16), c)
    for side in (-1, 1):
        door = part.frame((side * w / 2, -d / 2, 0.07), turn_z(side * 115 * state.get("open", 0.0)))
        dw, dh = w / 2 - 0.005, h - 0.08
        door.box((-side * dw / 2, -0.012, dh / 2), (dw, 0.024, dh), wood, "wood")
        if framed:
            door.box((-side * dw / 2, -0.027, dh / 2), (dw - 0.12, 0.008, dh - 0.14), m.tone(wood, 0.88), "wood")
        door.add("knob", (-side * (dw - 0.04), -0.05, dh * 0.55), 0.04, knob, "steel")


@object_type("Drawer", "floor", {"open": "drawer"}, (22, 45), 40)
def drawer(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.7, 1.1), rng.uniform(0.42, 0.5), rng.uniform(0.6, 0.95)
    wood, knob = m.pick(rng, m.WOOD + m.PAINT[:3]), m.pick(rng, m.BRASS + m.STEEL + m.DARK)
    rows, moved = int(rng.integers(2, 4)), int(rng.integers(0, 2))
    cloth = [m.pick(rng, m.CLOTH) for _ in range(3)]
    dark = m.tone(wood, 0.6)

    feet(part, w / 2 - 0.04, d / 2 - 0.04, (0.06, 0.06, 0.1), dark, "wood")
    hollow(part, (w, d, h - 0.1), 0.025, wood, "wood", m.tone(wood, 0.3), base=0.1)
    part.box((0, -0.01, h + 0.01), (w + 0.04, d + 0.03, 0.03), wood, "wood")
    step = (h - 0.14) / rows
    for k in range(rows):
        out = 0.75 * d * state.get("open", 0.0) if k == rows - 1 - min(moved, rows - 1) else 0.0
        box = part.frame((0, -d / 2 - out, 0.12 + k * step))
        dw, dd, dh = w - 0.06, d - 0.06, step - 0.02
        box.box((0, -0.01, dh / 2), (dw, 0.025, dh), wood, "wood")
        box.box((0, dd / 2, 0.01), (dw - 0.05, dd, 0.012), dark, "wood")
        for side in (-1.0, 1.0):
            box.box((side * (dw / 2 - 0.03), dd / 2, dh * 0.4), (0.015, dd, dh * 0.75), wood, "wood")
        box.box((0, dd, dh * 0.4), (dw - 0.06, 0.015, dh * 0.75), wood, "wood")
        for i, x in enumerate((-0.28, 0.02, 0.3)):
            box.add("rounded", (x * dw, dd * 0.5, dh * 0.35), (dw * 0.27, dd * 0.75, dh * 0.5), cloth[i], "cloth")
        for side in (-0.25, 0.25):
            box.add("knob", (side * dw, -0.045, dh / 2), 0.045, knob, "steel")


@object_type("Fridge", "floor", {"open": "door"}, (8, 25), (-8, 45))
def fridge(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.65, 0.8), rng.uniform(0.6, 0.7), rng.uniform(1.55, 1.9)
    color = m.pick(rng, m.APPLIANCE)
    split = rng.uniform(0.28, 0.4) * h
    stock = [(m.GLAZE + m.LIQUIDS)[int(i)] for i in rng.integers(0, 12, 12)]
    white = (0.95, 0.96, 0.98)

    part.box((0, 0, 0.04), (w * 0.94, d * 0.9, 0.08), (0.1, 0.1, 0.1))
    part.box((0, 0, 0.08 + (split - 0.08) / 2), (w, d, split - 0.08), color, "plastic")
    hollow(part, (w, d, h - split), 0.045, color, "plastic", white, base=split)
    part.box((0, d / 2 - 0.055, (h + split) / 2), (w - 0.09, 0.01, h - split - 0.09), white, "glow")
    for k in range(3):
        z = split + (h - split) * (k + 0.35) / 3.3
        part.box((0, 0.03, z), (w - 0.1, d - 0.14, 0.012), (0.75, 0.85, 0.9))
        for i in range(4):
            x, tall = (-0.3 + 0.2 * i) * w, 0.1 + 0.05 * ((i + k) % 3)
            part.cylinder((x, -0.05 + 0.06 * (i % 2), z + tall / 2), 0.045, tall, stock[3 * k + i % 3], "plastic")
    lower = part.frame((-w / 2, -d / 2, 0.08))
    upper = part.frame((-w / 2, -d / 2, split + 0.005), turn_z(-115 * state.get("open", 0.0)))
    for door, height, grip, long in ((lower, split - 0.1, split - 0.25, 0.2), (upper, h - split - 0.01, 0.3, 0.4)):
        door.box((w / 2, -0.03, height / 2), (w, 0.06, height), color, "plastic")
        door.box((w - 0.07, -0.085, grip), (0.025, 0.03, long), m.STEEL[1], "steel")
    upper.box((w / 2, 0.003, (h - split) / 2), (w - 0.1, 0.012, h - split - 0.12), white)
    for k in range(3):
        upper.box((w / 2, 0.05, 0.15 + k * 0.3), (w - 0.14, 0.09, 0.06), (0.8, 0.88, 0.92))


@object_type("Microwave", "table", {"open": "door", "on": "heat"}, (8, 30), (-8, 40))
def microwave(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.46, 0.55), rng.uniform(0.32, 0.38), rng.uniform(0.27, 0.32)
    color = m.pick(rng, m.APPLIANCE)
    food = m.pick(rng, m.GLAZE)
    cavity = w * 0.7

    on = state.get("on", 0.0)
    box = part.frame((-(w - cavity) / 2, 0, 0.015))
    inner = (0.95, 0.75, 0.4) if on else (0.55, 0.55, 0.52)
    hollow(box, (cavity, d, h), 0.02, color, "plastic", inner)
    if on:
        box.box((0, d / 2 - 0.03, h / 2), (cavity - 0.05, 0.01, h - 0.05), (1.0, 0.75, 0.3), "glow")
    box.cylinder((0, 0, 0.035), 0.13, 0.012, (0.8, 0.85, 0.88), "ceramic")
    box.add("bowl", (0, 0, 0.08), (0.14, 0.14, 0.08), food, "ceramic")
    x = w / 2 - (w - cavity) / 2
    part.box((x, 0, h / 2 + 0.015), (w - cavity, d, h), color, "plastic")
    part.box((x, -d / 2 - 0.004, h / 2 + 0.015), (w - cavity - 0.02, 0.012, h - 0.02), m.DARK[0], "plastic")
    clock = glowing(on, (0.2, 1.0, 0.4), (0.05, 0.08, 0.06), "plastic")
    part.box((x, -d / 2 - 0.011, h * 0.85), (0.09, 0.006, 0.04), *clock)
    for k in range(9):
        place = (x + (k % 3 - 1) * 0.032, -d / 2 - 0.011, h * 0.6 - k // 3 * 0.04)
        part.box(place, (0.022, 0.006, 0.022), (0.6, 0.6, 0.62))
    door = part.frame((-w / 2, -d / 2, 0.015), turn_z(-110 * state.get("open", 0.0)))
    glass = glowing(on, (1.0, 0.7, 0.25, 0.55), (0.05, 0.05, 0.06, 0.8), "glass")
    for dx, sx in ((0.02, 0.04), (cavity - 0.02, 0.04)):
        door.box((dx, -0.012, h / 2), (sx, 0.025, h), color, "plastic")
    for dz in (0.025, h - 0.025):
        door.box((cavity / 2, -0.012, dz), (cavity - 0.08, 0.025, 0.05), color, "plastic")
    door.box((cavity / 2, -0.015, h / 2), (cavity - 0.08, 0.008, h - 0.1), *glass)
    door.box((cavity - 0.02, -0.04, h / 2), (0.018, 0.025, h * 0.7), m.STEEL[1], "steel")


@object_type("Safe", "floor", {"open": "door"}, (12, 32), (-8, 45))
def safe(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.42, 0.56), rng.uniform(0.38, 0.46), rng.uniform(0.46, 0.66)
    color = m.pick(rng, ((0.25, 0.28, 0.3), (0.2, 0.27, 0.24), (0.34, 0.34, 0.36)))
    steel, gold = m.pick(rng, m.STEEL), (0.95, 0.75, 0.2)

    hollow(part, (w, d, h), 0.05, color, "steel", (0.5, 0.16, 0.14))
    part.box((0, 0.02, h * 0.5), (w - 0.1, d - 0.12, 0.012), steel, "steel")
    for k in range(5):
        part.box(((k % 3 - 1) * 0.09, -0.04, 0.075 + 0.04 * (k // 3)), (0.08, 0.14, 0.035), gold, "steel")
    part.box((-0.06, 0, h * 0.5 + 0.05), (0.16, 0.1, 0.07), (0.45, 0.6, 0.42))
    door = part.frame((-w / 2, -d / 2, 0), turn_z(-115 * state.get("open", 0.0)))
    door.box((w / 2, -0.03, h / 2), (w, 0.06, h), color, "steel")
    door.box((w / 2, -0.062, h / 2), (w - 0.09, 0.012, h - 0.09), m.tone(color, 1.25), "steel")
    door.cylinder((w * 0.62, -0.09, h * 0.55), 0.055, 0.05, steel, "steel", turn_x(90))
    door.cylinder((w * 0.62, -0.12, h * 0.55), 0.02, 0.03, m.DARK[0], "steel", turn_x(90))
    for k in range(3):
        door.box((w * 0.3, -0.085, h * 0.55), (0.15, 0.022, 0.022), steel, "steel", turn_y(60 * k))
    door.box((w / 2, 0.015, h / 2), (w - 0.14, 0.03, h - 0.14), steel, "steel")


@object_type("Box", "table", {"open": "double leaf"}, (28, 50), 40)
def carton(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.28, 0.4), rng.uniform(0.24, 0.32), rng.uniform(0.18, 0.28)
    color, tape = m.pick(rng, m.CARDBOARD), m.pick(rng, ((0.8, 0.72, 0.5), (0.85, 0.82, 0.75)))
    inside = m.tone(color, 0.45)

    t = 0.008
    for side in (-1.0, 1.0):
        part.box((side * w / 2, 0, h / 2), (t, d, h), color, "cardboard")
        part.box((0, side * d / 2, h / 2), (w, t, h), color, "cardboard")
    part.box((0, 0, 0.02), (w - t, d - t, 0.02), inside, "cardboard")
    part.box((0, -d / 2 - 0.005, h * 0.5), (0.05, 0.003, h), tape)
    for side in (-1, 1):
        amount = state.get("open", 0.0)
        flap = part.frame((0, side * d / 2, h + 0.004), turn_x(-side * 215 * amount))
        flap.box((0, -side * d / 4, 0.004), (w, d / 2 - 0.002, 0.006), color, "cardboard")
        flap.box((0, -side * (d / 2 - 0.014), 0.008), (w, 0.024, 0.003), tape)
        ear = part.frame((side * w / 2, 0, h - 0.004), turn_y(side * 190 * amount))
        ear.box((-side * w / 8, 0, 0), (w / 4, d - 0.01, 0.006), color, "cardboard")


@object_type("Laptop", "table", {"open": "lid", "on": "screen"}, (14, 38), 38)
def laptop(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d = rng.uniform(0.32, 0.4), rng.uniform(0.22, 0.27)
    color = m.pick(rng, m.STEEL + m.DARK)
    picture = f"screen{rng.integers(m.N_PICTURES)}"

    # A laptop that is only switched on or off stands open; one that is opened is asleep.
    amount = state.get("open", 0.85)
    part.box((0, 0, 0.01), (w, d, 0.02), color, "steel")
    part.add("sheet", (0, 0.02, 0.0215), (w * 0.9, d * 0.55, 1), (0.3, 0.3, 0.32), "keys")
    part.box((0, -d * 0.34, 0.021), (w * 0.3, d * 0.24, 0.002), m.tone(color, 0.8))
    lid = part.frame((0, d / 2, 0.022), turn_x(-125 * amount))
    lid.box((0, -d / 2, 0.008), (w, d, 0.014), color, "steel")
    lid.box((0, -d / 2, 0.0005), (w * 0.97, d * 0.96, 0.002), m.DARK[0], "plastic")
    shown = screen(state.get("on", 0.0), picture, (0.07, 0.08, 0.1))
    lid.add("sheet", (0, -d / 2, -0.001), (w * 0.9, d * 0.85, 1), *shown, turn_x(180) @ turn_z(180))
    lid.cylinder((0, -d / 2, 0.0155), 0.02, 0.002, (0.85, 0.85, 0.87), "steel")


@object_type("Book", "table", {"open": "cover"}, (32, 58), 35)
def book(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.17, 0.22), rng.uniform(0.24, 0.3), rng.uniform(0.03, 0.05)
    color, paper = m.pick(rng, m.COVER), m.pick(rng, ((0.95, 0.93, 0.86), (0.97, 0.96, 0.92)))
    gold = m.pick(rng, m.BRASS)

    amount = state.get("open", 0.0)
    part.box((0, 0, 0.003), (w, d, 0.006), color, "cloth")
    thick = h / 2 if amount else h
    part.box((0, 0, 0.006 + thick / 2), (w - 0.012, d - 0.016, thick), paper)
    part.add("sheet", (0, 0, 0.0065 + thick), (w - 0.012, d - 0.016, 1), paper, "page")
    angle = -(150 + 30 * (amount - 0.6) / 0.4) if amount else 0
    cover = part.frame((-w / 2, 0, 0.006 + thick), turn_y(angle))
    cover.box((w / 2, 0, 0.003), (w, d, 0.006), color, "cloth")
    if amount:
        cover.box((w / 2, 0, -thick / 2), (w - 0.012, d - 0.016, thick), paper)
        cover.add("sheet", (w / 2, 0, -thick - 0.0005), (w - 0.012, d - 0.016, 1), paper, "page", turn_y(180))
    cover.box((w / 2, d * 0.2, 0.0065), (w * 0.6, 0.03, 0.001), gold)
    cover.box((w / 2, -d * 0.05, 0.0065), (w * 0.45, 0.012, 0.001), gold)
    cover.box((w / 2, -d * 0.36, 0.0065), (w * 0.7, 0.01, 0.001), gold)
    part.box((-w / 2, 0, thick / 2 + 0.003), (0.006, d, thick + 0.006), color, "cloth")
