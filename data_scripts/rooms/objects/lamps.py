"""Things that are switched on and off: lamps, screens, a stove, a candle."""

from __future__ import annotations

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.objects.registry import Build, State, object_type
from data_scripts.rooms.pieces import pane_pieces
from data_scripts.rooms.shapes import Color, Part, PointLight, turn_x, turn_y

WARM = ((1.0, 0.85, 0.55), (1.0, 0.78, 0.45), (1.0, 0.92, 0.75))


def _lit_shade(rng: np.random.Generator) -> tuple[Color, Color]:
    """The colours of a cloth shade, dark and lit."""
    return tuple(0.8 * c for c in m.pick(rng, m.SHADE)), m.pick(rng, ((1.0, 0.93, 0.68), (1.0, 0.86, 0.55)))


def _shine(part: Part, at: tuple[float, float, float], color: Color, strength: float, reach: float) -> None:
    r, g, b = (float(strength * c) for c in color)
    part.lights.append(PointLight(np.array(at), (r, g, b), reach))


@object_type("DeskLamp", "table", ("on",), (5, 28), 180)
def desk_lamp(rng: np.random.Generator) -> Build:
    height, radius = rng.uniform(0.34, 0.46), rng.uniform(0.11, 0.15)
    shade, lit = _lit_shade(rng)
    foot, material = (
        (m.pick(rng, m.GLAZE + m.CERAMIC), "ceramic") if rng.integers(2) else (m.pick(rng, m.BRASS), "steel")
    )
    form, body = str(rng.choice(["shade", "drum"])), str(rng.choice(["vase_slim", "cylinder", "vase_round"]))
    warm = m.pick(rng, WARM)

    def build(state: State) -> Part:
        part, on = Part(), state.get("on", 0.0)
        part.cylinder((0, 0, 0.01), 0.075, 0.02, foot, material)
        wide = 0.04 if body == "cylinder" else 0.1
        part.add(body, (0, 0, height * 0.32), (wide, wide, height * 0.6), foot, material)
        part.cylinder((0, 0, height * 0.6), 0.01, height * 0.3, m.BRASS[0], "steel")
        part.add(
            form,
            (0, 0, height * 0.82),
            (2 * radius, 2 * radius, height * 0.42),
            lit if on else shade,
            "glow" if on else "cloth",
        )
        part.add(
            "sphere",
            (0, 0, height * 0.8),
            0.07,
            (1.0, 0.97, 0.85) if on else (0.75, 0.75, 0.72),
            "glow" if on else "glass",
        )
        if on:
            _shine(part, (0, -0.05, height * 0.62), warm, 0.8 * on, 0.5)
        return part

    return build


@object_type("FloorLamp", "floor", ("on",), (5, 25), 60)
def floor_lamp(rng: np.random.Generator) -> Build:
    height, radius = rng.uniform(1.35, 1.65), rng.uniform(0.2, 0.28)
    shade, lit = _lit_shade(rng)
    metal = m.pick(rng, m.BRASS + m.DARK + m.STEEL)
    form, tripod = str(rng.choice(["shade", "drum"])), bool(rng.integers(2))
    warm = m.pick(rng, WARM)

    def build(state: State) -> Part:
        part, on = Part(), state.get("on", 0.0)
        tall = 0.34
        if tripod:
            for k in range(3):
                c, s = np.cos(2.1 * k + 0.5), np.sin(2.1 * k + 0.5)
                leg = np.array([0.28 * c, 0.28 * s, -(height - tall)])
                length = float(np.linalg.norm(leg))
                axis = leg / length
                side = np.cross(axis, (0, 0, 1.0)) / np.linalg.norm(np.cross(axis, (0, 0, 1.0)))
                turn = np.column_stack([side, np.cross(axis, side), axis])
                part.add(
                    "cylinder", (0.14 * c, 0.14 * s, (height - tall) / 2), (0.03, 0.03, length), metal, "wood", turn
                )
        else:
            part.cylinder((0, 0, 0.015), 0.16, 0.03, metal, "steel")
            part.cylinder((0, 0, height / 2), 0.016, height - 0.1, metal, "steel")
        part.add(
            form,
            (0, 0, height - tall / 2),
            (2 * radius, 2 * radius, tall),
            lit if on else shade,
            "glow" if on else "cloth",
        )
        part.add(
            "sphere",
            (0, 0, height - tall / 2),
            0.12,
            (1.0, 0.97, 0.85) if on else (0.75, 0.75, 0.72),
            "glow" if on else "glass",
        )
        if on:
            _shine(part, (0, -0.1, height - tall - 0.05), warm, 0.8 * on, 0.9)
        return part

    return build


@object_type("Television", "floor", ("on", "broken"), (5, 22), 38)
def television(rng: np.random.Generator) -> Build:
    w, h = rng.uniform(0.85, 1.15), rng.uniform(0.5, 0.64)
    wood, frame = m.pick(rng, m.WOOD + m.PAINT[:1]), m.pick(rng, m.DARK)
    picture = f"screen{rng.integers(m.N_PICTURES)}"
    variant, base = int(rng.integers(3)), rng.uniform(0.38, 0.5)

    def build(state: State) -> Part:
        part, on = Part(), state.get("on", 0.0)
        part.box((0, 0, base / 2 + 0.03), (w * 1.15, 0.4, base - 0.06), wood, "wood")
        part.box((0, 0, 0.03), (w, 0.34, 0.06), tuple(0.5 * c for c in wood), "wood")
        for x in (-0.29, 0.29):
            part.box(
                (x * w * 1.15, -0.202, base / 2 + 0.03),
                (w * 0.54, 0.01, base * 0.7),
                tuple(0.85 * c for c in wood),
                "wood",
            )
        part.box((0, 0, base + 0.01), (0.4, 0.2, 0.02), frame, "plastic")
        part.box((0, 0.02, base + 0.06), (0.1, 0.05, 0.1), frame, "plastic")
        part.box((0, 0, base + 0.1 + h / 2), (w, 0.05, h), frame, "plastic")
        z = base + 0.1 + h / 2
        screen = ((1.0, 1.0, 1.0), picture) if on else ((0.05, 0.055, 0.07), "glass")
        part.add("sheet", (0, -0.026, z), (w * 0.95, h * 0.91, 1), *screen, turn_x(90))
        if state.get("broken", 0.0):
            _cracked_screen(part, variant, (0, -0.03, z), w * 0.95, h * 0.91)
        if on:
            _shine(part, (0, -0.5, z), (0.7, 0.8, 1.0), 0.35 * on, 0.7)
        return part

    return build


def _cracked_screen(part: Part, variant: int, center: tuple[float, float, float], w: float, h: float) -> None:
    """White cracks: bright glass behind dark pieces with gaps."""
    x, y, z = center
    part.add("sheet", center, (w, h, 1), (0.85, 0.88, 0.9), "plain", turn_x(90))
    for i, outline in enumerate(pane_pieces(variant)):
        middle = outline.mean(axis=0)
        tone = (0.1, 0.11, 0.14) if i % 3 else (0.22, 0.24, 0.3)
        size = (w * 0.98, h * 0.98, 0.004)
        part.add(
            f"pane{variant}_{i}", (x + middle[0] * w, y - 0.004, z + middle[1] * h), size, tone, "glass", turn_x(90)
        )


@object_type("Stove", "floor", ("on",), (35, 58), 35)
def stove(rng: np.random.Generator) -> Build:
    w, d, h = rng.uniform(0.58, 0.7), rng.uniform(0.56, 0.64), rng.uniform(0.82, 0.9)
    color, knob = m.pick(rng, m.APPLIANCE), m.pick(rng, m.DARK + m.STEEL)
    lit = [bool(x) for x in rng.integers(0, 2, 4)]
    lit[int(rng.integers(4))] = True
    lit[2 if not lit[3] else 3] = True

    def build(state: State) -> Part:
        part, on = Part(), state.get("on", 0.0)
        part.box((0, 0, h / 2), (w, d, h), color, "plastic")
        part.box((0, 0, h + 0.005), (w, d, 0.015), m.DARK[0], "glass")
        part.box((0, d / 2 - 0.02, h + 0.08), (w, 0.04, 0.16), color, "plastic")
        part.box((0, -d / 2 - 0.006, h * 0.42), (w * 0.82, 0.015, h * 0.42), m.DARK[1], "glass")
        part.box((0, -d / 2 - 0.035, h * 0.68), (w * 0.8, 0.025, 0.025), m.STEEL[0], "steel")
        for k in range(4):
            part.cylinder((w * (-0.3 + 0.2 * k), -d / 2 - 0.02, h * 0.86), 0.03, 0.035, knob, "plastic", turn_x(90))
            x, y, r = w * (-0.24 + 0.48 * (k % 2)), d * (0.18 - 0.42 * (k // 2)), 0.115 if k in (0, 3) else 0.1
            hot = on > 0 and lit[k]
            part.cylinder(
                (x, y, h + 0.014), r, 0.006, (0.9, 0.2, 0.06) if hot else (0.24, 0.24, 0.25), "glow" if hot else "plain"
            )
            for scale in (1.0, 0.62, 0.28):
                ring = (1.0, 0.5, 0.12) if hot else (0.42, 0.42, 0.43)
                part.add(
                    "ring", (x, y, h + 0.018), (2 * r * scale, 2 * r * scale, 0.012), ring, "glow" if hot else "steel"
                )
        if on:
            _shine(part, (0, -0.05, h + 0.2), (1.0, 0.35, 0.12), 0.5 * on, 0.3)
        return part

    return build


@object_type("Candle", "table", ("on",), (8, 30), 180)
def candle(rng: np.random.Generator) -> Build:
    height, radius = rng.uniform(0.12, 0.24), rng.uniform(0.03, 0.045)
    wax = m.pick(rng, ((0.93, 0.9, 0.8), (0.75, 0.22, 0.18), (0.9, 0.82, 0.6), (0.55, 0.62, 0.5)))
    holder, metal = str(rng.choice(["plate", "bowl"])), m.pick(rng, m.BRASS + m.STEEL)
    lean = rng.uniform(-6, 6)

    def build(state: State) -> Part:
        part, on = Part(), state.get("on", 0.0)
        tall = 0.03 if holder == "plate" else 0.06
        part.add(holder, (0, 0, tall / 2), (0.17, 0.17, tall), metal, "steel")
        part.cylinder((0, 0, 0.012 + height / 2), radius, height, wax, "food")
        top = 0.012 + height
        if on:
            part.cylinder((0, 0, top - 0.02), radius * 1.01, 0.045, (1.0, 0.75, 0.4), "glow")
        part.cylinder((0, 0, top + 0.01), 0.004, 0.025, m.DARK[0])
        if on:
            part.add("flame", (0, 0, top + 0.055), (0.055, 0.055, 0.095), (1.0, 0.62, 0.1), "glow", turn_y(lean))
            part.add("flame", (0, -0.012, top + 0.04), (0.036, 0.036, 0.055), (1.0, 0.97, 0.65), "glow", turn_y(lean))
            _shine(part, (0, -0.08, top + 0.1), (1.0, 0.65, 0.3), 0.8 * on, 0.3)
        return part

    return build
