"""Parts that several kinds share: a hollow body, feet, what glows while it is on."""

from __future__ import annotations

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.shapes import Color, Part, Vector


def hollow(part: Part, size: tuple[float, float, float], wall: float, color: Color, material: str,
           inside: Color | None = None, base: float = 0.0) -> None:  # fmt: skip
    """Five boards that leave the front (-y) open; the lining is a thin layer of another colour."""
    w, d, h = size
    part.box((0, d / 2 - wall / 2, base + h / 2), (w, wall, h), color, material)
    for side in (-1, 1):
        part.box((side * (w - wall) / 2, 0, base + h / 2), (wall, d, h), color, material)
    for z in (wall / 2, h - wall / 2):
        part.box((0, 0, base + z), (w - 2 * wall, d, wall), color, material)
    if inside is not None:
        part.box((0, d / 2 - wall - 0.003, base + h / 2), (w - 2 * wall, 0.004, h - 2 * wall), inside)
        part.box((0, 0.002, base + wall + 0.002), (w - 2 * wall, d - 0.01, 0.004), inside)
        for side in (-1, 1):
            part.box((side * (w / 2 - wall - 0.002), 0.002, base + h / 2), (0.004, d - 0.01, h - 2 * wall), inside)


def feet(part: Part, x: float, y: float, size: Vector, color: Color, material: str, mesh: str = "box") -> None:
    """Four feet that stand on the floor at (±x, ±y)."""
    for left in (-1, 1):
        for front in (-1, 1):
            part.add(mesh, (left * x, front * y, size[2] / 2), size, color, material)


def glowing(on: float, lit: Color, dark: Color, material: str) -> tuple[Color, str]:
    """Colour and material of a surface that shines while the thing is on."""
    return (lit, "glow") if on else (dark, material)


def screen(on: float, picture: str, dark: Color) -> tuple[Color, str]:
    """Colour and material of a screen that shows a picture while it is on."""
    return ((1.0, 1.0, 1.0), picture) if on else (dark, "glass")


def view_outside(
    part: Part, rng: np.random.Generator, w: float, h: float, frame: Color, depth: float, bars: bool = True
) -> None:
    """A window in a wall: the bright view through it, from z = 0 to `h`, in a frame that stands out by `depth`."""
    sky = m.pick(rng, ((0.62, 0.78, 0.92), (0.75, 0.83, 0.9), (0.85, 0.75, 0.68)))
    grass = m.pick(rng, ((0.36, 0.5, 0.28), (0.45, 0.5, 0.3)))
    part.box((0, -0.004, h * 0.62), (w, 0.006, h * 0.76), sky, "glow")
    part.box((0, -0.004, h * 0.12), (w, 0.006, h * 0.24), grass, "glow")
    for x, tall in ((-0.3, 0.3), (0.16, 0.42)):
        part.add("sphere", (x * w * 0.9, -0.008, h * tall), (w * 0.26, 0.004, h * 0.26), m.tone(grass, 0.75), "glow")
    for side in (-1, 1):
        part.box((side * (w / 2 + 0.025), -depth / 2, h / 2), (0.05, depth, h + 0.1), frame, "wood")
        part.box((0, -depth / 2, h / 2 + side * (h / 2 + 0.025)), (w + 0.1, depth, 0.05), frame, "wood")
    if bars:
        part.box((0, -0.02, h / 2), (0.03, 0.02, h), frame, "wood")
        part.box((0, -0.02, h * 0.55), (w, 0.02, 0.03), frame, "wood")
