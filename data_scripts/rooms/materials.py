"""Surfaces: procedural grey-scale textures, how they shine, and palettes of plausible colours."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_scripts.rooms.meshes import FloatArray

TEXTURE_SIZE = 128


@dataclass(frozen=True)
class Material:
    """How a surface looks; its colour comes from the solid. The numbers are from 0 to 1."""

    texture: str | None = None  # name in `textures()`, or None for an even surface
    specular: float = 0.1  # strength of highlights
    shininess: float = 0.3  # sharpness of highlights
    emission: float = 0.0  # light that it sends out itself


N_PICTURES = 6
MATERIALS: dict[str, Material] = {
    "plain": Material(),
    "wood": Material("wood", 0.15, 0.4),
    "planks": Material("planks", 0.1, 0.3),
    "tiles": Material("tiles", 0.3, 0.6),
    "carpet": Material("carpet", 0.0, 0.1),
    "plaster": Material("plaster", 0.0, 0.1),
    "stripes": Material("stripes", 0.0, 0.1),
    "steel": Material("brushed", 0.6, 0.6),
    "ceramic": Material(None, 0.6, 0.8),
    "glass": Material(None, 0.9, 0.9),
    "cloth": Material("weave", 0.0, 0.1),
    "cardboard": Material("cardboard", 0.0, 0.1),
    "plastic": Material(None, 0.3, 0.5),
    "marble": Material("marble", 0.4, 0.7),
    "food": Material("speckle", 0.15, 0.4),
    "glow": Material(None, 0.0, 0.1, 0.6),
    "dirt": Material("speckle", 0.0, 0.1),
    "liquid": Material(None, 0.5, 0.8, 0.15),
    "page": Material("page", 0.0, 0.1),
    "keys": Material("keys", 0.1, 0.3),
    **{f"screen{i}": Material(f"picture{i}", 0.1, 0.5, 0.6) for i in range(N_PICTURES)},
    **{f"picture{i}": Material(f"picture{i}", 0.05, 0.2) for i in range(N_PICTURES)},
}

# Colours in which such things are made; an instance takes one and varies it slightly.
WOOD = ((0.72, 0.52, 0.32), (0.55, 0.36, 0.2), (0.4, 0.25, 0.15), (0.82, 0.68, 0.48), (0.62, 0.42, 0.26))
PAINT = ((0.9, 0.89, 0.85), (0.84, 0.86, 0.88), (0.55, 0.62, 0.6), (0.45, 0.52, 0.6), (0.8, 0.76, 0.66))
STEEL = ((0.72, 0.73, 0.75), (0.6, 0.61, 0.63), (0.5, 0.5, 0.52))
APPLIANCE = ((0.92, 0.92, 0.91), (0.75, 0.76, 0.78), (0.2, 0.2, 0.21), (0.87, 0.84, 0.76))
DARK = ((0.1, 0.1, 0.11), (0.16, 0.16, 0.17), (0.22, 0.22, 0.24))
CERAMIC = ((0.93, 0.92, 0.9), (0.86, 0.88, 0.9), (0.72, 0.8, 0.84), (0.88, 0.82, 0.72), (0.6, 0.7, 0.66))
GLAZE = (
    (0.25, 0.4, 0.55),
    (0.6, 0.3, 0.22),
    (0.3, 0.5, 0.45),
    (0.85, 0.83, 0.78),
    (0.75, 0.6, 0.35),
    (0.5, 0.32, 0.42),
)
CLOTH = (
    (0.75, 0.72, 0.66),
    (0.5, 0.56, 0.64),
    (0.62, 0.45, 0.42),
    (0.48, 0.55, 0.46),
    (0.82, 0.8, 0.78),
    (0.4, 0.42, 0.5),
)
SHADE = ((0.9, 0.85, 0.72), (0.85, 0.82, 0.8), (0.8, 0.68, 0.5), (0.62, 0.68, 0.66))
WALL = (
    (0.86, 0.84, 0.79),
    (0.78, 0.82, 0.83),
    (0.83, 0.78, 0.72),
    (0.74, 0.78, 0.72),
    (0.88, 0.86, 0.86),
    (0.7, 0.72, 0.78),
)
BRASS = ((0.75, 0.62, 0.32), (0.68, 0.52, 0.26))
COVER = ((0.55, 0.16, 0.14), (0.14, 0.26, 0.45), (0.16, 0.36, 0.24), (0.42, 0.3, 0.18), (0.3, 0.2, 0.36))
CARDBOARD = ((0.72, 0.55, 0.36), (0.66, 0.5, 0.33))
DIRT = ((0.3, 0.19, 0.08), (0.36, 0.24, 0.11), (0.25, 0.17, 0.08))
LIQUIDS = (
    (0.25, 0.5, 0.75),
    (0.35, 0.19, 0.08),
    (0.93, 0.9, 0.82),
    (0.88, 0.5, 0.12),
    (0.6, 0.1, 0.16),
    (0.45, 0.55, 0.2),
)
WATER = ((0.25, 0.52, 0.72), (0.2, 0.48, 0.62), (0.3, 0.56, 0.78))


def pick(rng: np.random.Generator, palette: tuple[tuple[float, float, float], ...]) -> tuple[float, float, float]:
    """One colour of a palette, a little lighter or darker and a little warmer or colder."""
    color, light = palette[int(rng.integers(len(palette)))], rng.uniform(0.9, 1.08)
    r, g, b = (
        min(max(c * light + shift, 0.02), 1.0)
        for c, shift in zip(color, rng.uniform(-0.025, 0.025, 3).tolist(), strict=True)
    )
    return r, g, b


def tone(color: Sequence[float], factor: float) -> tuple[float, ...]:
    """A colour made darker or lighter."""
    return tuple(min(1.0, factor * c) for c in color)


def textures() -> dict[str, bytes]:
    """PNG bytes of every texture, the same on every machine: they come from a fixed seed."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[0:TEXTURE_SIZE, 0:TEXTURE_SIZE] / TEXTURE_SIZE
    grey: dict[str, FloatArray] = {
        "wood": _wood(rng, rows, columns),
        "planks": _planks(rng, rows, columns),
        "tiles": np.where((rows * 4 % 1 < 0.06) | (columns * 4 % 1 < 0.06), 0.62, 0.93 + _noise(rng, 4) * 0.06),
        "carpet": 0.86 + 0.14 * rng.standard_normal(rows.shape).clip(-2, 1),
        "plaster": 0.96 + 0.015 * _noise(rng, 24),
        "stripes": np.where(columns * 12 % 1 < 0.5, 0.98, 0.88),
        "brushed": 0.93 + 0.06 * np.repeat(rng.standard_normal((TEXTURE_SIZE, 1)).clip(-2, 1), TEXTURE_SIZE, axis=1),
        "weave": 0.9 + 0.08 * np.sign(np.sin(rows * 200) * np.sin(columns * 200)) + 0.02 * _noise(rng, 8),
        "cardboard": 0.94 + 0.04 * np.sin(rows * 160) + 0.03 * _noise(rng, 6),
        "marble": 0.9 - 0.2 * np.exp(-40 * np.abs(np.sin(5 * (rows + 0.6 * columns) + 1.5 * _noise(rng, 5)))),
        "speckle": 0.88 + 0.12 * _noise(rng, 20),
        "page": np.where((rows * 12 % 1 < 0.4) & (abs(columns - 0.5) < 0.4) & (abs(rows - 0.5) < 0.43), 0.5, 1.0),
        "keys": np.where((rows * 5 % 1 < 0.25) | (columns * 12 % 1 < 0.25), 1.0, 0.35),
    }
    named = {name: _png(np.repeat(values[:, :, None], 3, axis=2)) for name, values in grey.items()}
    return named | {f"picture{i}": _png(_picture(rng, rows, columns)) for i in range(N_PICTURES)}


def _png(values: FloatArray) -> bytes:
    data: NDArray[np.uint8] = (values.clip(0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(data).save(buffer, "PNG")
    return buffer.getvalue()


def _noise(rng: np.random.Generator, cells: int) -> FloatArray:
    """Smooth noise of mean 0 and about unit spread, `cells` bumps along a side."""
    coarse = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((TEXTURE_SIZE, TEXTURE_SIZE), Image.Resampling.BICUBIC), dtype=np.float64)


def _wood(rng: np.random.Generator, rows: FloatArray, columns: FloatArray) -> FloatArray:
    """Grain along the columns."""
    bend = rows * 9 + 0.5 * _noise(rng, 3)
    fine = np.repeat(rng.standard_normal((TEXTURE_SIZE, 1)), TEXTURE_SIZE, axis=1)
    return 0.88 + 0.08 * np.sin(2 * np.pi * bend) + 0.03 * fine


def _planks(rng: np.random.Generator, rows: FloatArray, columns: FloatArray) -> FloatArray:
    """Boards of different tones with dark joints and staggered ends."""
    board = (rows * 10).astype(int)
    tone = rng.uniform(0.78, 1.0, 10)[board]
    ends = rng.uniform(0, 1, 10)[board]
    joint = (rows * 10 % 1 < 0.08) | (((columns + ends) * 2) % 1 < 0.015)
    return np.where(joint, 0.5, tone + 0.03 * _noise(rng, 30))


def _picture(rng: np.random.Generator, rows: FloatArray, columns: FloatArray) -> FloatArray:
    """A bright landscape for screens and frames: sky, sun, hills, `(S, S, 3)`."""
    top, bottom = rng.uniform(0.3, 0.7, 3) + np.array([0, 0.1, 0.3]), rng.uniform(0.7, 1.0, 3)
    image = top * (1 - rows[..., None]) + bottom * rows[..., None]
    sun = (rows - rng.uniform(0.15, 0.4)) ** 2 + (columns - rng.uniform(0.2, 0.8)) ** 2 < rng.uniform(0.005, 0.02)
    image[sun] = (1.0, 0.95, 0.7)
    for k in range(3):
        ridge = 0.45 + 0.15 * k + 0.1 * np.sin(columns * rng.uniform(4, 10) + rng.uniform(0, 7))
        image[rows > ridge] = rng.uniform(0.15, 0.6, 3) * np.array([0.6, 1.1, 0.7])
    return image
