"""Things that are switched on and off: lamps, screens, a stove, a candle."""

from __future__ import annotations

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.objects.fragile import crack_pieces
from data_scripts.rooms.objects.parts import glowing, screen
from data_scripts.rooms.objects.registry import State, object_type
from data_scripts.rooms.shapes import Color, Part, turn_x, turn_y

WARM = ((1.0, 0.85, 0.55), (1.0, 0.78, 0.45), (1.0, 0.92, 0.75))


def _lit_shade(rng: np.random.Generator) -> tuple[Color, Color]:
    """The colours of a cloth shade, dark and lit."""
    return m.tone(m.pick(rng, m.SHADE), 0.8), m.pick(rng, ((1.0, 0.93, 0.68), (1.0, 0.86, 0.55)))


def _bulb(part: Part, on: float, z: float, size: float) -> None:
    part.add("sphere", (0, 0, z), size, *glowing(on, (1.0, 0.97, 0.85), (0.75, 0.75, 0.72), "glass"))


@object_type("DeskLamp", "table", {"on": "lamp"}, (5, 28), 180)
def desk_lamp(part: Part, rng: np.random.Generator, state: State) -> None:
    height, radius = rng.uniform(0.34, 0.46), rng.uniform(0.11, 0.15)
    shade, lit = _lit_shade(rng)
    palette, material = (m.GLAZE + m.CERAMIC, "ceramic") if rng.integers(2) else (m.BRASS, "steel")
    foot = m.pick(rng, palette)
    form, body = str(rng.choice(["shade", "drum"])), str(rng.choice(["vase_slim", "cylinder", "vase_round"]))
    warm = m.pick(rng, WARM)

    on = state.get("on", 0.0)
    part.cylinder((0, 0, 0.01), 0.075, 0.02, foot, material)
    wide = 0.04 if body == "cylinder" else 0.1
    part.add(body, (0, 0, height * 0.32), (wide, wide, height * 0.6), foot, material)
    part.cylinder((0, 0, height * 0.6), 0.01, height * 0.3, m.BRASS[0], "steel")
    size = (2 * radius, 2 * radius, height * 0.42)
    part.add(form, (0, 0, height * 0.82), size, *glowing(on, lit, shade, "cloth"))
    _bulb(part, on, height * 0.8, 0.07)
    if on:
        part.shine((0, -0.05, height * 0.62), m.tone(warm, 0.8 * on), 0.5)


@object_type("FloorLamp", "floor", {"on": "lamp"}, (5, 25), 60)
def floor_lamp(part: Part, rng: np.random.Generator, state: State) -> None:
    height, radius = rng.uniform(1.35, 1.65), rng.uniform(0.2, 0.28)
    shade, lit = _lit_shade(rng)
    metal = m.pick(rng, m.BRASS + m.DARK + m.STEEL)
    form, tripod = str(rng.choice(["shade", "drum"])), bool(rng.integers(2))
    warm = m.pick(rng, WARM)

    on = state.get("on", 0.0)
    tall = 0.34
    if tripod:
        for k in range(3):
            c, s = np.cos(2.1 * k + 0.5), np.sin(2.1 * k + 0.5)
            leg = np.array([0.28 * c, 0.28 * s, -(height - tall)])
            length = float(np.linalg.norm(leg))
            axis = leg / length
            side = np.cross(axis, (0, 0, 1.0)) / np.linalg.norm(np.cross(axis, (0, 0, 1.0)))
            turn = np.column_stack([side, np.cross(axis, side), axis])
            part.add("cylinder", (0.14 * c, 0.14 * s, (height - tall) / 2), (0.03, 0.03, length), metal, "wood", turn)
    else:
        part.cylinder((0, 0, 0.015), 0.16, 0.03, metal, "steel")
        part.cylinder((0, 0, height / 2), 0.016, height - 0.1, metal, "steel")
    size = (2 * radius, 2 * radius, tall)
    part.add(form, (0, 0, height - tall / 2), size, *glowing(on, lit, shade, "cloth"))
    _bulb(part, on, height - tall / 2, 0.12)
    if on:
        part.shine((0, -0.1, height - tall - 0.05), m.tone(warm, 0.8 * on), 0.9)


@object_type("Television", "floor", {"on": "screen", "broken": "crack"}, (5, 22), 38)
def television(part: Part, rng: np.random.Generator, state: State) -> None:
    w, h = rng.uniform(0.85, 1.15), rng.uniform(0.5, 0.64)
    wood, frame = m.pick(rng, m.WOOD + m.PAINT[:1]), m.pick(rng, m.DARK)
    picture = f"screen{rng.integers(m.N_PICTURES)}"
    variant, base = int(rng.integers(3)), rng.uniform(0.38, 0.5)

    on = state.get("on", 0.0)
    part.box((0, 0, base / 2 + 0.03), (w * 1.15, 0.4, base - 0.06), wood, "wood")
    part.box((0, 0, 0.03), (w, 0.34, 0.06), m.tone(wood, 0.5), "wood")
    for x in (-0.29, 0.29):
        part.box((x * w * 1.15, -0.202, base / 2 + 0.03), (w * 0.54, 0.01, base * 0.7), m.tone(wood, 0.85), "wood")
    part.box((0, 0, base + 0.01), (0.4, 0.2, 0.02), frame, "plastic")
    part.box((0, 0.02, base + 0.06), (0.1, 0.05, 0.1), frame, "plastic")
    part.box((0, 0, base + 0.1 + h / 2), (w, 0.05, h), frame, "plastic")
    z = base + 0.1 + h / 2
    wide, high = w * 0.95, h * 0.91
    part.add("sheet", (0, -0.026, z), (wide, high, 1), *screen(on, picture, (0.05, 0.055, 0.07)), turn_x(90))
    if state.get("broken", 0.0):
        # White cracks: bright glass behind dark pieces with gaps.
        part.add("sheet", (0, -0.03, z), (wide, high, 1), (0.85, 0.88, 0.9), "plain", turn_x(90))
        for i, (name, place) in enumerate(crack_pieces(variant, (wide, high), (0, -0.03 - 0.004, z))):
            dark = (0.1, 0.11, 0.14) if i % 3 else (0.22, 0.24, 0.3)
            part.add(name, place, (wide * 0.98, high * 0.98, 0.004), dark, "glass", turn_x(90))
    if on:
        part.shine((0, -0.5, z), m.tone((0.7, 0.8, 1.0), 0.35 * on), 0.7)


@object_type("Stove", "floor", {"on": "heat"}, (35, 58), 35)
def stove(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.58, 0.7), rng.uniform(0.56, 0.64), rng.uniform(0.82, 0.9)
    color, knob = m.pick(rng, m.APPLIANCE), m.pick(rng, m.DARK + m.STEEL)
    lit = [bool(x) for x in rng.integers(0, 2, 4)]
    lit[int(rng.integers(4))] = True
    lit[2 if not lit[3] else 3] = True

    on = state.get("on", 0.0)
    part.box((0, 0, h / 2), (w, d, h), color, "plastic")
    part.box((0, 0, h + 0.005), (w, d, 0.015), m.DARK[0], "glass")
    part.box((0, d / 2 - 0.02, h + 0.08), (w, 0.04, 0.16), color, "plastic")
    part.box((0, -d / 2 - 0.006, h * 0.42), (w * 0.82, 0.015, h * 0.42), m.DARK[1], "glass")
    part.box((0, -d / 2 - 0.035, h * 0.68), (w * 0.8, 0.025, 0.025), m.STEEL[0], "steel")
    for k in range(4):
        part.cylinder((w * (-0.3 + 0.2 * k), -d / 2 - 0.02, h * 0.86), 0.03, 0.035, knob, "plastic", turn_x(90))
        x, y, r = w * (-0.24 + 0.48 * (k % 2)), d * (0.18 - 0.42 * (k // 2)), 0.115 if k in (0, 3) else 0.1
        hot = on > 0 and lit[k]
        part.cylinder((x, y, h + 0.014), r, 0.006, *glowing(hot, (0.9, 0.2, 0.06), (0.24, 0.24, 0.25), "plain"))
        ring = glowing(hot, (1.0, 0.5, 0.12), (0.42, 0.42, 0.43), "steel")
        for scale in (1.0, 0.62, 0.28):
            part.add("ring", (x, y, h + 0.018), (2 * r * scale, 2 * r * scale, 0.012), *ring)
    if on:
        part.shine((0, -0.05, h + 0.2), m.tone((1.0, 0.35, 0.12), 0.5 * on), 0.3)


@object_type("Candle", "table", {"on": "flame"}, (8, 30), 180)
def candle(part: Part, rng: np.random.Generator, state: State) -> None:
    height, radius = rng.uniform(0.12, 0.24), rng.uniform(0.03, 0.045)
    wax = m.pick(rng, ((0.93, 0.9, 0.8), (0.75, 0.22, 0.18), (0.9, 0.82, 0.6), (0.55, 0.62, 0.5)))
    holder, metal = str(rng.choice(["plate", "bowl"])), m.pick(rng, m.BRASS + m.STEEL)
    lean = rng.uniform(-6, 6)

    on = state.get("on", 0.0)
    tall = 0.03 if holder == "plate" else 0.06
    part.add(holder, (0, 0, tall / 2), (0.17, 0.17, tall), metal, "steel")
    part.cylinder((0, 0, 0.012 + height / 2), radius, height, wax, "food")
    top = 0.012 + height
    if on:
        part.cylinder((0, 0, top - 0.02), radius * 1.01, 0.045, (1.0, 0.75, 0.4), "glow")
    part.cylinder((0, 0, top + 0.01), 0.004, 0.025, m.DARK[0])
    if on:  # not `lights.FLAMES`, which came later: the pictures of a classic kind stay as they were
        part.add("flame", (0, 0, top + 0.055), (0.055, 0.055, 0.095), (1.0, 0.62, 0.1), "glow", turn_y(lean))
        part.add("flame", (0, -0.012, top + 0.04), (0.036, 0.036, 0.055), (1.0, 0.97, 0.65), "glow", turn_y(lean))
        part.shine((0, -0.08, top + 0.1), m.tone((1.0, 0.65, 0.3), 0.8 * on), 0.3)
