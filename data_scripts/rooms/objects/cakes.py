"""Round food from which a wedge is cut: a cake, a cheese and a pie."""

from __future__ import annotations

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.objects.registry import State, object_type
from data_scripts.rooms.shapes import Color, Part, turn_z

# From below to above: share of the height, colour, share of the width.
Layers = tuple[tuple[float, Color, float], ...]


def _round_food(part: Part, state: State, width: float, tall: float, layers: Layers, turn: float) -> list[Part]:
    """A round food in layers, whole or with a wedge drawn out to the front; returns the frames of what lies on it.

    The frames stand in the middle of the food's top: one while it is whole, then one for the rest and one for the
    wedge.
    """
    cut, low = state.get("sliced", 0.0), 0.0
    turned = part.frame(turn=turn_z(turn))
    if not cut:
        pieces = {"cylinder": turned}
    else:
        pieces = {"cake_rest": turned, "cake_wedge": turned.frame((0, -width * (0.26 + 0.14 * cut), 0))}
    for share, color, wide in layers:
        for mesh, frame in pieces.items():
            size = (width * wide, width * wide, tall * share)
            frame.add(mesh, (0, 0, low + tall * share / 2), size, color, "food")
        low += tall * share
    return [frame.frame((0, 0, low)) for frame in pieces.values()]


@object_type("Cake", "table", {"sliced": "wedge"}, (22, 42), 32)
def cake(part: Part, rng: np.random.Generator, state: State) -> None:
    width, tall = rng.uniform(0.22, 0.28), rng.uniform(0.09, 0.12)
    dough, cream = m.pick(rng, ((0.85, 0.66, 0.38), (0.36, 0.2, 0.12), (0.72, 0.3, 0.28))), (0.97, 0.94, 0.86)
    icing = m.pick(rng, ((0.95, 0.72, 0.76), (0.4, 0.22, 0.14), (0.97, 0.95, 0.9), (0.7, 0.82, 0.68)))
    berry, plate = m.pick(rng, ((0.8, 0.1, 0.14), (0.25, 0.16, 0.4))), m.pick(rng, m.CERAMIC)
    turn = rng.uniform(-18, 18)

    part.add("cylinder", (0, 0, 0.006), (width * 1.25, width * 1.25, 0.012), plate, "ceramic")
    body = part.frame((0, 0, 0.012))
    layers: Layers = ((0.3, dough, 1.0), (0.1, cream, 1.0), (0.3, dough, 1.0), (0.1, cream, 1.0), (0.2, icing, 1.01))
    tops = _round_food(body, state, width, tall, layers, turn)
    for k in range(8):
        angle = np.radians(-90 + 45 * k)
        top = tops[-1] if k == 0 else tops[0]
        place = (np.cos(angle) * width * 0.38, np.sin(angle) * width * 0.38, 0.008)
        top.add("knob", place, 0.032, berry, "ceramic")


@object_type("Cheese", "table", {"sliced": "wedge"}, (22, 42), 32)
def cheese(part: Part, rng: np.random.Generator, state: State) -> None:
    width, tall = rng.uniform(0.2, 0.26), rng.uniform(0.07, 0.1)
    rind = m.pick(rng, ((0.8, 0.22, 0.14), (0.86, 0.62, 0.2), (0.25, 0.22, 0.2)))
    inside = m.pick(rng, ((0.98, 0.86, 0.45), (0.97, 0.92, 0.72)))
    board, turn, holes = m.pick(rng, m.WOOD), rng.uniform(-18, 18), rng.uniform(0.1, 0.9, (5, 2))

    part.add("rounded", (0, 0, 0.009), (width * 1.5, width * 1.35, 0.018), board, "wood")
    body = part.frame((0, 0, 0.018))
    shell = part.frame((0, 0, 0.018), turn_z(turn))
    cut = state.get("sliced", 0.0)
    if not cut:
        shell.cylinder((0, 0, tall / 2), width / 2, tall, rind, "ceramic")
    tops = _round_food(body, state, width * 0.985, tall, ((1.0, inside, 1.0),), turn) if cut else []
    for mesh, top in zip(("cake_rest", "cake_wedge"), tops, strict=False):
        top.add(mesh, (0, 0, 0.003), (width, width, 0.008), rind, "ceramic")
        for u, v in holes:
            side = -1 if mesh == "cake_rest" else 1
            angle = np.radians(-90 + side * 28.0)
            reach = 0.44 * width * u
            place = (np.cos(angle) * reach, np.sin(angle) * reach, -tall * v)
            top.add("knob", place, 0.018, m.tone(inside, 0.72), "food")


@object_type("Pie", "table", {"sliced": "wedge"}, (30, 50), 32)
def pie(part: Part, rng: np.random.Generator, state: State) -> None:
    width, tall = rng.uniform(0.24, 0.29), rng.uniform(0.045, 0.06)
    crust = m.pick(rng, ((0.8, 0.58, 0.3), (0.72, 0.48, 0.24)))
    filling = m.pick(rng, ((0.6, 0.1, 0.16), (0.9, 0.6, 0.2), (0.3, 0.14, 0.34)))
    dish, turn = m.pick(rng, m.CERAMIC + m.STEEL), rng.uniform(-18, 18)

    part.add("cylinder", (0, 0, 0.005), (width * 1.18, width * 1.18, 0.01), dish, "ceramic")
    body = part.frame((0, 0, 0.01))
    layers: Layers = ((0.2, crust, 0.96), (0.6, filling, 1.0), (0.2, crust, 1.02))
    tops = _round_food(body, state, width, tall, layers, turn)
    for k in range(16):
        angle = np.radians(-90 + 22.5 * (k + 0.5))
        top = tops[-1] if k in (0, 15) else tops[0]
        top.add("knob", (np.cos(angle) * width * 0.47, np.sin(angle) * width * 0.47, 0.0), 0.034, crust, "food")
    for k in (-1, 0, 1):
        tops[0].add("knob", (0.05 * k, 0.04, 0.002), (0.014, 0.06, 0.004), filling, "food")
