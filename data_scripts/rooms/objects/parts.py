"""Parts that several kinds share: a hollow body, feet, what glows while it is on."""

from __future__ import annotations

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
