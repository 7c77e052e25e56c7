"""Things that are sliced: bread, apple, tomato, potato, lettuce. After the cut the flesh shows."""

from __future__ import annotations

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.meshes import FloatArray
from data_scripts.rooms.objects.registry import State, object_type
from data_scripts.rooms.pieces import BALL_CUTS, LOAF_CUTS
from data_scripts.rooms.shapes import Color, Part, turn_y, turn_z


@object_type("Bread", "table", {"sliced": "slices"}, (22, 42), 40)
def bread(part: Part, rng: np.random.Generator, state: State) -> None:
    long, wide, tall = rng.uniform(0.26, 0.32), rng.uniform(0.12, 0.14), rng.uniform(0.11, 0.14)
    crust = m.pick(rng, ((0.66, 0.4, 0.18), (0.55, 0.32, 0.14), (0.74, 0.5, 0.26)))
    crumb = m.pick(rng, ((0.95, 0.87, 0.68), (0.9, 0.78, 0.56)))
    leans = rng.uniform(18, 40, 5)

    cut = state.get("sliced", 0.0)
    size = np.array([long, wide, tall])
    if not cut:
        part.add("loaf", (0, 0, tall / 2), size, crust, "food")
        for x in (-0.24, 0.0, 0.24):
            score = (0.012, wide * 0.55, 0.012)
            part.add("rounded", (x * long, 0, tall * 0.99), score, m.tone(crust, 1.35), "food", turn_z(25))
        return
    turned = part.frame(turn=turn_z(-58))
    spread = long * (0.16 + 0.08 * cut)
    for i in range(len(LOAF_CUTS) - 1):
        low, high = LOAF_CUTS[i] * long, LOAF_CUTS[i + 1] * long
        middle, thick = (low + high) / 2, high - low
        # Slices lean back on the loaf, so that their cut faces are turned up.
        lean = 0.0 if i == 0 else -float(leans[i])
        lift = thick / 2 * np.sin(np.radians(-lean))
        piece = turned.frame((middle + spread * (i - 0.8) * 0.75 - long * 0.12, 0, lift), turn_y(lean))
        piece.add(f"loaf{i}", (-middle, 0, tall / 2), size, crust, "food")
        for side in (-1, 1):
            if (i, side) not in ((0, -1), (len(LOAF_CUTS) - 2, 1)):
                piece.add("loaf_face", (side * (thick / 2 + 0.001), 0, tall / 2), (0.004, wide, tall), crumb, "food")


def _in_slices(part: Part, state: State, size: tuple[float, float, float], skin: Color, kind: str,
               flesh: list[tuple[float, Color]], leans: FloatArray) -> bool:  # fmt: skip
    """If it is cut, a round fruit in slices set apart and leaning, concentric rings of flesh on the cut faces."""
    cut = state.get("sliced", 0.0)
    if not cut:
        return False
    x_size, y_size, z_size = size
    turned, gap = part.frame(turn=turn_z(-62)), x_size * (0.26 + 0.14 * cut)
    along = turn_y(90)  # the pieces are turned about z; here they lie along x
    for i, (low, high) in enumerate(zip(BALL_CUTS, BALL_CUTS[1:], strict=False)):
        middle = (low + high) / 2
        lean = 0.0 if i == 0 else float(leans[i])
        lift = 0.5 * (high - low) * x_size * np.sin(np.radians(lean))
        piece = turned.frame((middle * x_size + (i - 1.2) * gap, 0, lift), turn_y(-lean))
        stretch = along @ np.diag([z_size, y_size, x_size])
        piece.add(f"ball{i}", (-middle * x_size, 0, z_size / 2), (1, 1, 1), skin, kind, stretch)
        for side, at in ((-1, low), (1, high)):
            if abs(at) > 0.49:
                continue
            radius = float(np.sqrt(0.25 - at**2))
            for layer, (share, color) in enumerate(flesh):
                face = along @ np.diag([2 * radius * share * z_size, 2 * radius * share * y_size, 0.002])
                depth = (at - middle) * x_size + side * (0.001 + 0.0006 * layer)
                piece.add("cylinder", (depth, 0, z_size / 2), (1, 1, 1), color, "food", face)
    return True


@object_type("Apple", "table", {"sliced": "slices"}, (20, 42), 35)
def apple(part: Part, rng: np.random.Generator, state: State) -> None:
    size, tall = rng.uniform(0.1, 0.12), rng.uniform(0.095, 0.11)
    skin = m.pick(rng, ((0.72, 0.12, 0.1), (0.5, 0.66, 0.2), (0.82, 0.32, 0.16)))
    leans = rng.uniform(10, 30, 4)
    flesh: list[tuple[float, Color]] = [(0.93, (0.97, 0.93, 0.76)), (0.3, (0.9, 0.82, 0.58)), (0.12, (0.3, 0.18, 0.1))]

    if _in_slices(part, state, (size, size, tall), skin, "ceramic", flesh, leans):
        return
    part.add("apple", (0, 0, tall * 0.46), (size, size, tall), skin, "ceramic")
    part.cylinder((0, 0, tall * 0.95), 0.004, tall * 0.28, (0.3, 0.2, 0.1), "plain", turn_y(12))
    part.add("knob", (0.016, 0, tall), (0.035, 0.018, 0.004), (0.3, 0.5, 0.2), "plain", turn_y(-25))


@object_type("Tomato", "table", {"sliced": "slices"}, (22, 45), 35)
def tomato(part: Part, rng: np.random.Generator, state: State) -> None:
    size, tall = rng.uniform(0.1, 0.12), rng.uniform(0.08, 0.09)
    skin = m.pick(rng, ((0.85, 0.16, 0.1), (0.88, 0.25, 0.12), (0.78, 0.12, 0.1)))
    leans = rng.uniform(10, 32, 4)
    flesh: list[tuple[float, Color]] = [(0.92, (0.95, 0.42, 0.3)), (0.7, (0.85, 0.55, 0.2)), (0.45, (0.97, 0.6, 0.48))]

    if _in_slices(part, state, (size, size, tall), skin, "ceramic", flesh, leans):
        return
    part.add("sphere", (0, 0, tall * 0.5), (size, size, tall), skin, "ceramic")
    for k in range(5):
        leaf = part.frame((0, 0, tall * 1.0), turn_z(72 * k))
        leaf.add("knob", (0.02, 0, 0), (0.042, 0.012, 0.005), (0.25, 0.5, 0.16), "plain", turn_y(15))
    part.cylinder((0, 0, tall * 1.05), 0.004, 0.02, (0.3, 0.45, 0.15))


@object_type("Potato", "table", {"sliced": "slices"}, (22, 45), 40)
def potato(part: Part, rng: np.random.Generator, state: State) -> None:
    long, size, tall = rng.uniform(0.14, 0.17), rng.uniform(0.085, 0.1), rng.uniform(0.075, 0.09)
    skin = m.pick(rng, ((0.62, 0.46, 0.28), (0.55, 0.4, 0.24), (0.7, 0.54, 0.34)))
    leans, eyes = rng.uniform(10, 30, 4), rng.uniform(-1, 1, (7, 2))
    flesh: list[tuple[float, Color]] = [(0.94, (0.95, 0.88, 0.6)), (0.72, (0.97, 0.91, 0.68))]

    if _in_slices(part, state, (long, size, tall), skin, "food", flesh, leans):
        return
    part.add("sphere", (0, 0, tall * 0.5), (long, size, tall), skin, "food")
    part.add("sphere", (long * 0.14, 0, tall * 0.48), (long * 0.7, size * 0.96, tall * 0.93), skin, "food")
    for u, v in eyes:
        x, y = u * 0.3, v * 0.3
        z = 0.5 + float(np.sqrt(max(0.25 - x**2 - y**2, 0)))
        part.add("sphere", (x * long, y * size, z * tall), (0.012, 0.012, 0.005), m.tone(skin, 0.6), "plain")


@object_type("Lettuce", "table", {"sliced": "slices"}, (22, 45), 40)
def lettuce(part: Part, rng: np.random.Generator, state: State) -> None:
    size, tall = rng.uniform(0.16, 0.2), rng.uniform(0.14, 0.17)
    skin = m.pick(rng, ((0.42, 0.62, 0.22), (0.36, 0.56, 0.2), (0.5, 0.68, 0.3)))
    leans, turn = rng.uniform(8, 26, 4), rng.uniform(0, 360)
    green, pale = (0.6, 0.76, 0.36), (0.85, 0.92, 0.6)
    flesh: list[tuple[float, Color]] = [
        (0.94, pale),
        (0.78, green),
        (0.66, pale),
        (0.45, green),
        (0.32, (0.96, 0.97, 0.8)),
    ]

    if _in_slices(part, state, (size, size, tall), skin, "food", flesh, leans):
        return
    part.add("lettuce", (0, 0, tall * 0.5), (size, size, tall), skin, "food", turn_z(turn))
    for k in range(5):
        leaf = part.frame((0, 0, tall * 0.42), turn_z(72 * k + turn))
        blade = (size * 0.1, size * 0.6, tall * 0.8)
        leaf.add("sphere", (size * 0.42, 0, 0), blade, m.tone(skin, 0.85), "food", turn_y(22))
