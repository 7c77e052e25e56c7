"""A wall lamp, a heater, a toaster, a tablet, a lantern and a fireplace: switched on and off, lit and put out."""

from __future__ import annotations

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.objects.fragile import crack_pieces
from data_scripts.rooms.objects.parts import feet, glowing, screen
from data_scripts.rooms.objects.registry import State, object_type
from data_scripts.rooms.shapes import Part, turn_x, turn_y, turn_z

FLAMES = (((1.0, 0.55, 0.08), 1.0, 0.0), ((1.0, 0.92, 0.55), 0.6, -0.35))


def _flame(part: Part, place: tuple[float, float, float], size: tuple[float, float], lean: float) -> None:
    """A flame of the given width and height that stands at `place`: orange, and yellow before it."""
    wide, tall = size
    for color, scale, forward in FLAMES:
        x, y, z = place
        at = (x, y + forward * wide, z + tall * scale / 2)
        part.add("flame", at, (wide * scale, wide * scale, tall * scale), color, "glow", turn_y(lean))


@object_type("WallLamp", "wall", {"on": "lamp"}, (-6, 16), 45, (1.2, 1.5))
def wall_lamp(part: Part, rng: np.random.Generator, state: State) -> None:
    radius, metal = rng.uniform(0.09, 0.12), m.pick(rng, m.BRASS + m.STEEL + m.DARK)
    form, twin = str(rng.choice(["sphere", "shade", "drum"])), bool(rng.integers(2))
    dark = m.tone(m.pick(rng, m.SHADE), 0.75)
    lit, warm = m.pick(rng, ((1.0, 0.93, 0.68), (1.0, 0.86, 0.55))), m.pick(rng, ((1.0, 0.85, 0.55), (1.0, 0.78, 0.45)))

    on = state.get("on", 0.0)
    part.add("rounded", (0, -0.015, 0.16), (0.12, 0.03, 0.2), metal, "steel")
    for x in (-0.15, 0.15) if twin else (0.0,):
        part.cylinder((x / 2, -0.09, 0.12), 0.012, abs(x) + 0.03, metal, "steel", turn_y(90))
        part.cylinder((x, -0.07, 0.12), 0.012, 0.14, metal, "steel", turn_x(90))
        part.cylinder((x, -0.14, 0.15), 0.03, 0.05, metal, "steel")
        size = (2 * radius, 2 * radius, 1.9 * radius)
        part.add(form, (x, -0.14, 0.17 + 0.9 * radius), size, *glowing(on, lit, dark, "cloth"))
        if form != "sphere":
            bulb = glowing(on, (1.0, 0.97, 0.85), (0.75, 0.75, 0.72), "glass")
            part.add("sphere", (x, -0.14, 0.17 + 0.9 * radius), radius, *bulb)
    if on:
        part.shine((0, -0.2, 0.3), m.tone(warm, 0.7 * on), 0.4)


@object_type("Heater", "floor", {"on": "heat"}, (8, 28), 36)
def heater(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.5, 0.68), rng.uniform(0.16, 0.2), rng.uniform(0.38, 0.5)
    color, chrome = m.pick(rng, m.APPLIANCE + m.GLAZE[:2]), m.pick(rng, m.STEEL[:2])
    bars = int(rng.integers(3, 5))

    on = state.get("on", 0.0)
    feet(part, w / 2 - 0.05, d / 2 - 0.02, (0.05, 0.07, 0.05), m.DARK[0], "plastic")
    part.box((0, d * 0.35, 0.05 + h / 2), (w, d * 0.3, h), color, "steel")
    for side in (-1, 1):
        part.box((side * (w / 2 - 0.015), 0, 0.05 + h / 2), (0.03, d, h), color, "steel")
        part.box((0, 0, 0.05 + h / 2 + side * (h / 2 - 0.015)), (w, d, 0.03), color, "steel")
    back = glowing(on, (0.75, 0.28, 0.1), m.tone(chrome, 0.8), "steel")
    part.box((0, d * 0.19, 0.05 + h / 2), (w - 0.06, 0.006, h - 0.06), *back)
    for k in range(bars):
        z = 0.05 + h * (k + 1) / (bars + 1)
        bar = glowing(on, (1.0, 0.42, 0.1), (0.62, 0.6, 0.57), "ceramic")
        part.cylinder((0, 0.0, z), 0.021, w - 0.08, *bar, turn_y(90))
    for k in range(5):
        part.cylinder((w * (k - 2) * 0.19, -d * 0.45, 0.05 + h / 2), 0.004, h - 0.03, chrome, "steel")
    part.cylinder((w * 0.4, 0, 0.055 + h), 0.025, 0.02, m.DARK[0], "plastic")
    if on:
        part.shine((0, -0.25, 0.2), m.tone((1.0, 0.4, 0.12), 0.6 * on), 0.35)


@object_type("Toaster", "table", {"on": "heat"}, (30, 52), 40)
def toaster(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.27, 0.32), rng.uniform(0.18, 0.22), rng.uniform(0.17, 0.2)
    color, trim = m.pick(rng, m.STEEL + m.GLAZE + m.APPLIANCE), m.pick(rng, m.DARK)
    crumb, crust = (0.93, 0.82, 0.6), (0.66, 0.42, 0.2)

    on = state.get("on", 0.0)
    part.box((0, 0, 0.01), (w * 0.94, d * 0.9, 0.02), trim, "plastic")
    part.add("rounded", (0, 0, 0.015 + h / 2), (w, d, h), color, "steel")
    top = 0.015 + h
    part.box((0, 0, top - 0.008), (w * 0.84, d * 0.76, 0.018), trim, "plastic")
    for y in (-0.19 * d, 0.19 * d):
        part.box((0, y, top), (w * 0.74, 0.042, 0.006), *glowing(on, (1.0, 0.42, 0.08), (0.05, 0.05, 0.05), "plain"))
        sunk = 0.02  # the bread is down already: what changes is the glow, and the lever
        part.box((0, y, top + sunk / 2), (w * 0.52, 0.018, sunk), crust, "food")
        part.box((0, y - 0.0095, top + sunk / 2 - 0.003), (w * 0.46, 0.001, sunk - 0.006), crumb, "food")
    part.box((w / 2 + 0.008, 0, 0.015 + h * (0.3 if on else 0.75)), (0.03, 0.05, 0.02), trim, "plastic")
    light = glowing(on, (1.0, 0.3, 0.08), (0.2, 0.2, 0.2), "plastic")
    part.cylinder((w * 0.3, -d / 2 - 0.001, h * 0.35), 0.016, 0.008, *light, turn_x(90))
    if on:
        part.shine((0, -0.03, top + 0.1), m.tone((1.0, 0.45, 0.15), 0.6 * on), 0.2)


@object_type("Tablet", "table", {"on": "screen", "broken": "crack"}, (10, 32), 35)
def tablet(part: Part, rng: np.random.Generator, state: State) -> None:
    w, h = rng.uniform(0.24, 0.3), rng.uniform(0.17, 0.2)
    if rng.random() < 0.3:
        w, h = h, w
    frame, picture = m.pick(rng, m.DARK + m.CERAMIC[:1]), f"screen{rng.integers(m.N_PICTURES)}"
    stand, variant = m.pick(rng, m.WOOD + m.STEEL), int(rng.integers(3))

    on = state.get("on", 0.0)
    part.box((0, 0.05, 0.012), (w * 0.5, 0.14, 0.024), stand, "wood")
    part.box((0, -0.02, 0.028), (w * 0.5, 0.012, 0.02), stand, "wood")
    leaning = part.frame((0, -0.005, 0.022), turn_x(-18))
    leaning.box((0, 0.02, h * 0.3), (w * 0.2, 0.014, h * 0.6), stand, "wood")
    leaning.add("rounded", (0, 0.005, h / 2), (w, 0.014, h), frame, "plastic")
    leaning.box((0, 0.002, h / 2), (w - 0.008, 0.012, h - 0.008), frame, "plastic")
    wide, high = w - 0.034, h - 0.034
    shown = screen(on, picture, (0.05, 0.055, 0.07))
    leaning.add("sheet", (0, -0.0045, h / 2), (wide, high, 1), *shown, turn_x(90))
    if state.get("broken", 0.0):
        leaning.add("sheet", (0, -0.0055, h / 2), (wide, high, 1), (0.85, 0.88, 0.9), "plain", turn_x(90))
        for i, (name, place) in enumerate(crack_pieces(variant, (wide, high), (0, -0.007, h / 2))):
            dark = (0.1, 0.11, 0.14) if i % 3 else (0.22, 0.24, 0.3)
            leaning.add(name, place, (wide * 0.97, high * 0.97, 0.002), dark, "glass", turn_x(90))


@object_type("Lantern", "table", {"on": "flame"}, (6, 26), 180)
def lantern(part: Part, rng: np.random.Generator, state: State) -> None:
    side, height = rng.uniform(0.13, 0.16), rng.uniform(0.2, 0.27)
    metal, wax = m.pick(rng, m.DARK + m.BRASS + m.PAINT[:1]), m.pick(rng, ((0.93, 0.9, 0.8), (0.9, 0.82, 0.6)))
    lean, turn = rng.uniform(-6, 6), rng.uniform(0, 90)

    on = state.get("on", 0.0)
    body, half = part.frame(turn=turn_z(turn)), side / 2 - 0.006
    body.box((0, 0, 0.012), (side + 0.02, side + 0.02, 0.024), metal, "steel")
    for x in (-half, half):
        for y in (-half, half):
            body.box((x, y, height / 2 + 0.02), (0.012, 0.012, height), metal, "steel")
    body.box((0, 0, height + 0.025), (side + 0.02, side + 0.02, 0.014), metal, "steel")
    body.add("shade", (0, 0, height + 0.06), (side * 0.9, side * 0.9, 0.06), metal, "steel")
    part.add("ring", (0, 0, height + 0.115), (0.07, 0.07, 0.014), metal, "steel", turn_z(turn) @ turn_x(90))
    tall = height * 0.36
    part.cylinder((0, 0, 0.024 + tall / 2), side * 0.24, tall, wax, "food")
    part.cylinder((0, 0, 0.03 + tall), 0.003, 0.02, m.DARK[0])
    if on:
        part.cylinder((0, 0, 0.024 + tall - 0.015), side * 0.245, 0.032, (1.0, 0.75, 0.4), "glow")
        _flame(part, (0, 0, 0.028 + tall), (0.055, height * 0.42), lean)
        part.shine((0, -0.08, tall + 0.12), m.tone((1.0, 0.65, 0.3), 0.8 * on), 0.3)
    glass = (1.0, 0.85, 0.6, 0.2) if on else (0.8, 0.88, 0.92, 0.2)
    body.box((0, 0, height / 2 + 0.02), (side - 0.02, side - 0.02, height - 0.006), glass, "glass")


@object_type("Fireplace", "floor", {"on": "flame"}, (4, 22), 34)
def fireplace(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.95, 1.2), rng.uniform(0.34, 0.42), rng.uniform(0.85, 1.0)
    stone, shelf = m.pick(rng, m.CERAMIC + m.GLAZE[1:2] + m.STEEL[1:]), m.pick(rng, m.WOOD + m.CERAMIC[:2])
    bark, material = m.pick(rng, m.WOOD[1:3] + m.WOOD[4:]), str(rng.choice(["marble", "tiles", "speckle"]))
    leans, talls = rng.uniform(-10, 10, 5), rng.uniform(0.65, 1.0, 5)

    on = state.get("on", 0.0)
    skin = "food" if material == "speckle" else material
    jamb, top = 0.2 * w, 0.32 * h
    for side in (-1, 1):
        part.box((side * (w - jamb) / 2, 0, h / 2), (jamb, d, h), stone, skin)
    part.box((0, 0, h - top / 2), (w - 2 * jamb, d, top), stone, skin)
    part.box((0, -0.02, h + 0.025), (w + 0.14, d + 0.1, 0.05), shelf, "wood")
    part.box((0, -d * 0.2, 0.012), (w + 0.06, d * 1.5, 0.024), m.tone(stone, 0.8), skin)
    wide, high = w - 2 * jamb, h - top
    hearth = (0.36, 0.15, 0.07) if on else (0.1, 0.095, 0.09)
    part.box((0, d / 2 - 0.02, high / 2), (wide, 0.03, high), hearth)
    for side in (-1, 1):
        part.box((side * (wide / 2 - 0.004), 0, high / 2), (0.008, d, high), m.tone(hearth, 0.8))
    part.box((0, 0, 0.03), (wide, d, 0.014), m.tone(hearth, 0.7))
    for x, y, z, turn in ((0, -0.02, 0.075, 4), (0.02, 0.08, 0.075, -6), (0, 0.03, 0.15, 14)):
        log = turn_z(turn) @ turn_y(90)
        part.cylinder((x, y, z), 0.042, wide * 0.68, bark, "wood", log)
        part.cylinder((x, y, z), 0.034, wide * 0.69, (0.82, 0.66, 0.44), "wood", log)
    if on:
        part.add("knob", (0, -0.01, 0.06), (wide * 0.66, d * 0.5, 0.06), (1.0, 0.35, 0.06), "glow")
        for k, x in enumerate((0.0, -0.12, 0.12, -0.23, 0.23)):
            tall = high * (0.82 - 1.2 * abs(x)) * float(talls[k])
            _flame(part, (x * wide, -0.02, 0.11), (wide * 0.24, tall), float(leans[k]))
        part.shine((0, -0.35, 0.3), m.tone((1.0, 0.5, 0.18), 0.8 * on), 0.5)
