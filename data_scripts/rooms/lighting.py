"""The light of a room: where it comes from, how strong and how warm it is. Lamps are in `objects/lamps.py`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_scripts.rooms.meshes import FloatArray


@dataclass
class Sun:
    """The room's main light, of parallel rays, which casts shadows; and a fill light against the dark side."""

    direction: FloatArray  # (3,) unit vector in which the rays go
    color: FloatArray  # strength in red, green and blue
    ambient: FloatArray  # light that comes from everywhere
    fill: FloatArray  # strength of the fill light, which casts no shadow

    def scaled(self, factor: float) -> Sun:
        """The same light, brighter or darker."""
        return Sun(self.direction, self.color * factor, self.ambient * factor, self.fill * factor)


def draw_sun(rng: np.random.Generator) -> Sun:
    """Light from above and the front, from one side or the other, warmer or colder, brighter or darker."""
    azimuth, height = np.radians(rng.uniform(-55, 55)), np.radians(rng.uniform(42, 68))
    direction = np.array([np.sin(azimuth) * np.cos(height), np.cos(azimuth) * np.cos(height), -np.sin(height)])
    warmth = rng.uniform(-0.08, 0.1)
    tint = np.array([1 + warmth, 1.0, 1 - warmth])
    strength = rng.uniform(0.45, 0.7)
    return Sun(direction, tint * strength, tint[::-1] * rng.uniform(0.3, 0.4), np.full(3, rng.uniform(0.12, 0.2)))
