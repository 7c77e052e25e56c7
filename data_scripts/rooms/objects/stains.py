"""Dirt: blots of brown on a face, laid out at random per instance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.meshes import FloatArray
from data_scripts.rooms.pieces import N_BLOTS
from data_scripts.rooms.shapes import Color, Part, Vector, turn_z


@dataclass(frozen=True)
class Stains:
    """Blots on the unit square or disc: place, size (a share of the face), turn, form and colour of each."""

    places: FloatArray
    sizes: FloatArray
    turns: FloatArray
    forms: tuple[int, ...]
    colors: tuple[Color, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator, count: int = 11, disc: bool = False) -> Stains:
        """Lay out blots within -0.5 to 0.5, or within the disc of that radius, that stay inside the edge."""
        sizes = rng.uniform(0.26, 0.46, count)
        sizes[count // 2 :] *= 0.6
        room = 0.5 - 0.5 * sizes
        if disc:
            radius, turn = room * np.sqrt(rng.uniform(0, 1, count)), rng.uniform(0, 2 * np.pi, count)
            places = np.column_stack([np.cos(turn), np.sin(turn)]) * radius[:, None]
        else:
            places = rng.uniform(-1, 1, (count, 2)) * room[:, None]
        forms = tuple(int(i) for i in rng.integers(0, N_BLOTS, count))
        return cls(places, sizes, rng.uniform(0, 360, count), forms, tuple(m.pick(rng, m.DIRT) for _ in range(count)))

    def on(self, part: Part, amount: float, width: float, depth: float, center: Vector = (0.0, 0.0, 0.0),
           turn: FloatArray | None = None, thickness: float = 0.004) -> None:  # fmt: skip
        """Blots on a face of `width` by `depth`, which looks along +z unless turned; more with a larger amount."""
        if amount <= 0:
            return
        flat = part.frame(center, turn)
        count = max(3, round(len(self.sizes) * amount))
        for k in range(count):
            x, y = self.places[k] * (width, depth)
            side = float(self.sizes[k]) * (width * depth) ** 0.5 * 1.1
            # Each blot lies a little higher than the last, so that they do not flicker through each other.
            size = (min(side, width * 0.6), min(side, depth * 0.6), thickness)
            lift = thickness * 0.1 * k
            flat.add(f"blot{self.forms[k]}", (x, y, lift), size, self.colors[k], "dirt", turn_z(float(self.turns[k])))
