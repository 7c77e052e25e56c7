"""A filing cabinet and a desk with a drawer; a sideboard, a curtain and a blind that slide."""

from __future__ import annotations

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.objects.parts import feet, hollow, view_outside
from data_scripts.rooms.objects.registry import State, object_type
from data_scripts.rooms.objects.stains import Stains
from data_scripts.rooms.shapes import Color, Part, turn_x, turn_y


def _drawer(part: Part, size: tuple[float, float, float], out: float, color: Color, material: str, knob: Color) -> Part:
    """A drawer whose front, at y = 0 and from z = 0, has come out; returns its frame, to put something into."""
    w, d, h = size
    box = part.frame((0, -out, 0))
    box.box((0, -0.01, h / 2), (w, 0.024, h), color, material)
    box.box((0, d / 2, 0.01), (w - 0.04, d, 0.012), m.tone(color, 0.6), material)
    for side in (-1, 1):
        box.box((side * (w / 2 - 0.025), d / 2, h * 0.35), (0.012, d, h * 0.6), color, material)
    box.box((0, d, h * 0.35), (w - 0.05, 0.012, h * 0.6), color, material)
    box.box((0, -0.035, h * 0.62), (w * 0.32, 0.025, 0.02), knob, "steel")
    return box


@object_type("FilingCabinet", "floor", {"open": "drawer"}, (22, 42), 40)
def filing_cabinet(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.42, 0.5), rng.uniform(0.46, 0.54), rng.uniform(0.75, 1.15)
    color, knob = m.pick(rng, m.STEEL + m.APPLIANCE + m.GLAZE[:3]), m.pick(rng, m.STEEL + m.DARK)
    rows, moved = (2 if h < 0.9 else 3), int(rng.random() < 0.3)
    files = [m.pick(rng, m.CARDBOARD + m.CERAMIC + m.COVER) for _ in range(6)]

    hollow(part, (w, d, h), 0.02, color, "steel", m.tone(color, 0.3))
    step = (h - 0.05) / rows
    for k in range(rows):
        opened = k == rows - 1 - moved
        out = 0.8 * d * state.get("open", 0.0) if opened else 0.0
        front = part.frame((0, -d / 2, 0.03 + k * step))
        box = _drawer(front, (w - 0.03, d - 0.05, step - 0.015), out, color, "steel", knob)
        box.box((0, -0.024, step * 0.82), (w * 0.28, 0.006, 0.035), m.CERAMIC[0], "plain")
        for i, paper in enumerate(files if opened else ()):
            sheet = (w - 0.1, 0.02, step * 0.8)
            box.box((0, d * (0.1 + 0.13 * i), step * 0.44 + 0.01 * (i % 3)), sheet, paper, "cardboard")


@object_type("Desk", "floor", {"open": "drawer", "dirt": "stain"}, (28, 46), 38)
def desk(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.9, 1.15), rng.uniform(0.5, 0.58), rng.uniform(0.7, 0.76)
    wood, knob = m.pick(rng, m.WOOD[:1] + m.WOOD[3:4] + m.PAINT[:3]), m.pick(rng, m.BRASS + m.STEEL + m.DARK)
    pens, paper = [m.pick(rng, m.COVER) for _ in range(3)], m.pick(rng, m.CERAMIC[:2])
    stains = Stains.draw(rng, 12)

    part.box((0, 0, h - 0.015), (w, d, 0.03), wood, "wood")
    stains.on(part, state.get("dirt", 0.0), w * 0.94, d * 0.92, (0, 0, h + 0.002))
    feet(part, w / 2 - 0.04, d / 2 - 0.04, (0.05, 0.05, h - 0.03), m.tone(wood, 0.8), "wood")
    tall = 0.17
    part.box((0, d / 2 - 0.03, h - 0.03 - tall / 2), (w - 0.08, 0.02, tall), wood, "wood")
    for side in (-1, 1):
        part.box((side * (w / 2 - 0.05), 0, h - 0.03 - tall / 2), (0.02, d - 0.04, tall), wood, "wood")
    front = part.frame((0, -d / 2 + 0.01, h - 0.03 - tall))
    out = 0.85 * d * state.get("open", 0.0)
    box = _drawer(front, (w - 0.12, d - 0.08, tall - 0.005), out, m.tone(wood, 0.9), "wood", knob)
    box.box((-w * 0.22, d * 0.45, 0.03), (w * 0.26, d * 0.6, 0.03), paper)
    box.box((w * 0.04, d * 0.45, 0.035), (w * 0.14, d * 0.45, 0.04), pens[0], "cloth")
    for k, pen in enumerate(pens):
        box.cylinder((w * (0.2 + 0.04 * k), d * 0.45, 0.03), 0.012, d * 0.5, pen, "plastic", turn_x(90))


@object_type("Sideboard", "floor", {"open": "slide"}, (10, 28), 36)
def sideboard(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.95, 1.25), rng.uniform(0.4, 0.46), rng.uniform(0.6, 0.8)
    wood, front = m.pick(rng, m.WOOD), m.pick(rng, m.PAINT + m.WOOD + m.GLAZE)
    right = bool(rng.integers(2))
    goods = [m.pick(rng, m.COVER + m.GLAZE + m.CERAMIC) for _ in range(8)]

    feet(part, w / 2 - 0.06, d / 2 - 0.06, (0.05, 0.05, 0.1), m.tone(wood, 0.7), "wood")
    hollow(part, (w, d, h - 0.1), 0.025, wood, "wood", m.tone(wood, 0.45), base=0.1)
    middle = 0.1 + (h - 0.1) / 2
    part.box((0, 0.03, middle), (w - 0.05, d - 0.1, 0.018), wood, "wood")
    part.box((0, 0.04, middle), (0.02, d - 0.12, h - 0.15), wood, "wood")
    for k, color in enumerate(goods):
        x, shelf = ((k % 4) - 1.5) * w * 0.24, 0.125 if k < 4 else middle + 0.01
        tall = (h - 0.1) * (0.26 + 0.04 * (k % 3))
        if (k + k // 4) % 2:
            part.cylinder((x, 0.0, shelf + tall / 2), 0.045, tall, color, "ceramic")
        else:
            part.box((x, 0.02, shelf + tall / 2), (0.1, 0.2, tall), color, "cloth")
    dw, dh, side = w / 2, h - 0.155, 1 if right else -1
    for place, y in ((-side, -d / 2 + 0.012), (side, -d / 2 - 0.012)):
        x = place * (w / 4 - 0.006)
        if place == side:  # the front one slides before the other
            x -= side * 0.95 * dw * state.get("open", 0.0)
        part.box((x, y, 0.1 + (h - 0.1) / 2), (dw, 0.02, dh), front, "wood")
        part.cylinder((x + place * dw * 0.36, y - 0.012, middle), 0.035, 0.006, m.DARK[0], "plain", turn_x(90))


@object_type("Curtain", "wall", {"open": "slide"}, (-4, 14), 30, (0.7, 0.95))
def curtain(part: Part, rng: np.random.Generator, state: State) -> None:
    w, h = rng.uniform(0.75, 1.0), rng.uniform(0.9, 1.1)
    cloth, frame, metal = m.pick(rng, m.CLOTH + m.COVER), m.pick(rng, m.PAINT[:2] + m.WOOD[:2]), m.pick(rng, m.BRASS)
    folds = int(rng.integers(5, 8))

    view_outside(part, rng, w, h, frame, depth=0.05)
    rod = h + 0.12
    part.cylinder((0, -0.1, rod), 0.014, w + 0.34, metal, "steel", turn_y(90))
    for side in (-1, 1):
        part.add("knob", (side * (w / 2 + 0.18), -0.1, rod), 0.05, metal, "steel")
        wide = (w / 2 + 0.12) * (1 - 0.78 * state.get("open", 0.0))
        for k in range(folds):
            x = side * (w / 2 + 0.12 - wide * (k + 0.5) / folds)
            deep = 0.05 + 0.03 * state.get("open", 0.0)
            tint = m.tone(cloth, 1.0 if k % 2 else 0.86)
            fold = (wide / folds * 1.35, deep, h + 0.22)
            part.add("cylinder", (x, -0.1 - 0.012 * (k % 2), rod - 0.02 - h / 2 - 0.09), fold, tint, "cloth")


@object_type("Blind", "wall", {"open": "slide"}, (-4, 14), 30, (0.85, 1.1))
def blind(part: Part, rng: np.random.Generator, state: State) -> None:
    w, h = rng.uniform(0.65, 0.95), rng.uniform(0.8, 1.05)
    cloth, frame = m.pick(rng, m.CLOTH + m.PAINT + m.GLAZE), m.pick(rng, m.PAINT[:2] + m.WOOD[:2])
    bands = int(rng.integers(0, 2))

    view_outside(part, rng, w, h, frame, depth=0.05)
    opened = state.get("open", 0.0)
    long = h * (0.99 - 0.85 * opened)
    part.cylinder((0, -0.085, h + 0.02), 0.03 + 0.012 * opened, w + 0.06, m.tone(cloth, 0.9), "cloth", turn_y(90))
    part.box((0, -0.075, h - long / 2), (w + 0.02, 0.008, long), cloth, "cloth")
    for k in range(3 * bands):
        z = h - long * (k + 0.7) / 3.2
        part.box((0, -0.0795, z), (w + 0.02, 0.003, long * 0.1), m.tone(cloth, 0.7), "cloth")
    part.box((0, -0.08, h - long), (w + 0.03, 0.02, 0.03), m.tone(cloth, 0.6), "wood")
    part.cylinder((w * 0.42, -0.1, h - long - 0.08), 0.006, 0.16, m.CERAMIC[0])
    part.add("knob", (w * 0.42, -0.1, h - long - 0.17), 0.03, m.CERAMIC[0], "plastic")
