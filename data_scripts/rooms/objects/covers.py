"""A notebook and a game board that unfold: a cover turns over and lies beside the rest."""

from __future__ import annotations

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.objects.registry import State, object_type
from data_scripts.rooms.shapes import Part, turn_x, turn_y


def _turned(amount: float) -> float:
    """Degrees of a cover: flat on the other side if wide open, a little above it if less."""
    return 150 + 30 * (amount - 0.6) / 0.4 if amount else 0.0


@object_type("Notebook", "table", {"open": "cover"}, (32, 58), 35)
def notebook(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, h = rng.uniform(0.17, 0.21), rng.uniform(0.22, 0.28), rng.uniform(0.016, 0.024)
    color, paper = m.pick(rng, m.COVER + m.GLAZE), m.pick(rng, ((0.95, 0.93, 0.86), (0.97, 0.96, 0.92)))
    metal, label = m.pick(rng, m.STEEL + m.DARK), m.pick(rng, m.CERAMIC[:2])

    part.box((0, 0, 0.002), (w, d, 0.004), m.tone(color, 0.7), "cardboard")
    part.box((0, 0, 0.004 + h / 2), (w - 0.01, d - 0.01, h), paper)
    part.add("sheet", (0.004, 0, 0.0045 + h), (w - 0.02, d - 0.014, 1), paper, "page")
    for k in range(9):
        y = d * (k - 4) * 0.105
        part.cylinder((-w / 2 - 0.004, y, h / 2 + 0.003), h / 2 + 0.009, 0.008, metal, "steel", turn_x(90))
    cover = part.frame((-w / 2 - 0.004, 0, 0.005 + h), turn_y(-_turned(state.get("open", 0.0))))
    cover.box((w / 2 + 0.004, 0, 0.002), (w, d, 0.004), color, "cardboard")
    cover.box((w / 2 + 0.004, 0, -0.0005), (w - 0.006, d - 0.006, 0.002), m.tone(paper, 0.92), "cardboard")
    cover.box((w * 0.5, d * 0.18, 0.0045), (w * 0.56, d * 0.2, 0.001), label, "plain")
    for k in range(2):
        line = (w * 0.4, 0.004, 0.001)
        cover.box((w * 0.5, d * (0.2 - 0.05 * k), 0.0055), line, m.DARK[0], "plain")


@object_type("GameBoard", "table", {"open": "cover"}, (34, 58), 32)
def game_board(part: Part, rng: np.random.Generator, state: State) -> None:
    w, d, t = rng.uniform(0.18, 0.22), rng.uniform(0.34, 0.42), rng.uniform(0.026, 0.034)
    wood, felt = m.pick(rng, m.WOOD), m.pick(rng, m.COVER[:3] + m.GLAZE[2:3])
    light, dark = m.pick(rng, m.CERAMIC[3:4] + m.PAINT[4:]), m.pick(rng, m.COVER[:1] + m.DARK)
    brass, men = m.pick(rng, m.BRASS), rng.integers(1, 3, 6)

    def half(frame: Part, side: float) -> None:
        """A tray that opens upwards, from x = 0 to one side, with points and men in it."""
        frame.box((side * w / 2, 0, 0.005), (w, d, 0.01), felt, "cloth")
        for x in (0.008, w - 0.008):
            frame.box((side * x, 0, t / 2), (0.016, d, t), wood, "wood")
        for end in (-1, 1):
            frame.box((side * w / 2, end * (d / 2 - 0.008), t / 2), (w, 0.016, t), wood, "wood")
        for k in range(6):
            y, color = (k - 2.5) * (d - 0.05) / 6, light if k % 2 else dark
            frame.box((side * w * 0.34, y, 0.0105), (w * 0.42, 0.028, 0.002), color, "cloth")
            for i in range(int(men[k]) if k % 3 != 1 else 0):
                man = light if k % 2 else dark
                frame.cylinder((side * (w - 0.036 - 0.034 * i), y, 0.016), 0.016, 0.01, m.tone(man, 0.9), "plastic")

    half(part.frame((-w / 2, 0, 0)), 1.0)
    cover = part.frame((-w / 2, 0, t), turn_y(-_turned(state.get("open", 0.0))))
    half(cover.frame((0, 0, t), np.diag([1.0, -1.0, -1.0])), 1.0)
    cover.box((w / 2, 0, t + 0.001), (w, d, 0.002), wood, "wood")
    cover.box((w / 2, 0, t + 0.0025), (w * 0.6, d * 0.5, 0.001), m.tone(wood, 0.6), "wood")
    cover.box((w + 0.004, 0, 0.0), (0.008, 0.04, 0.02), brass, "steel")
