"""Cameras: where they stand, and how they are framed on a set of points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data_scripts.rooms.meshes import FloatArray

NEAR, FAR = 0.03, 30.0  # metres


@dataclass(frozen=True)
class Camera:
    """A square perspective camera."""

    position: FloatArray  # (3,) metres
    forward: FloatArray  # (3,) unit direction of view
    field_of_view: float  # opening in degrees, the same across and down

    @cached_property
    def axes(self) -> tuple[FloatArray, FloatArray]:
        """Unit vectors to the right and up."""
        x, y, z = (float(c) for c in self.forward)
        length = (x * x + y * y) ** 0.5
        right = np.array([y / length, -x / length, 0.0])
        return right, np.array([-x * z / length, -y * z / length, length])

    def project(self, points: FloatArray) -> FloatArray:
        """`(n, 3)` points to `(n, 2)` image positions, -1 to 1, right and up; points behind are put in front."""
        right, up = self.axes
        relative = points - self.position
        depth = np.maximum(relative @ self.forward, 0.05)
        return np.stack([relative @ right, relative @ up], axis=1) / (
            depth[:, None] * np.tan(np.radians(self.field_of_view / 2))
        )

    def sees(self, bodies: FloatArray) -> NDArray[np.bool_]:
        """Which bodies, `(b, n, 3)` by their corners, reach into the picture or a little beside it: `(b,)`."""
        right, up = self.axes
        relative = bodies - self.position
        depth = relative @ self.forward
        reach = np.maximum(depth, 0.0) * np.tan(np.radians(self.field_of_view / 2)) * 1.15 + 0.02
        across, high = relative @ right, relative @ up
        outside = np.all(depth < 0, axis=1)
        for side in (across, high):
            beside = np.all(side > reach, axis=1) | np.all(side < -reach, axis=1)
            outside = outside | beside
        return ~outside

    def jittered(self, rng: np.random.Generator, centimetres: float, degrees: float) -> Camera:
        """Moved by `centimetres` in a random direction and turned by `degrees` about a random axis."""
        step, axis = _unit(rng.standard_normal(3)), _unit(np.cross(self.forward, rng.standard_normal(3)))
        angle = np.radians(degrees)
        forward = self.forward * np.cos(angle) + np.cross(axis, self.forward) * np.sin(angle)
        return replace(self, position=self.position + step * centimetres / 100, forward=_unit(forward))


def frame(points: FloatArray, azimuth: float, elevation: float, fill: float, field_of_view: float,
          offset: tuple[float, float] = (0.0, 0.0)) -> Camera:  # fmt: skip
    """The camera that looks at `points` from one direction and fills a share of the picture with their box.

    Args:
        points: `(n, 3)` world points.
        azimuth: degrees about z from the -y side, counter-clockwise from above.
        elevation: degrees above the horizon.
        fill: length of the box's longer side, as a share of the image's side.
        field_of_view: degrees.
        offset: position of the box's centre, in half images, right and up.
    """
    a, e = np.radians(azimuth), np.radians(elevation)
    backward = np.array([np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), np.sin(e)])
    target = (points.min(axis=0) + points.max(axis=0)) / 2
    distance = 2 * float(np.linalg.norm(np.ptp(points, axis=0))) + 0.1
    camera = Camera(target + backward * distance, -backward, field_of_view)
    for _ in range(5):  # a projection is not linear in the distance; five corrections are within a per cent
        seen = camera.project(points)
        low, high = seen.min(axis=0), seen.max(axis=0)
        distance *= float(np.clip((high - low).max() / (2 * fill), 0.3, 3.0))
        right, up = camera.axes
        shift = ((low + high) / 2 - np.asarray(offset)) * np.tan(np.radians(field_of_view / 2)) * distance
        target = target + right * shift[0] + up * shift[1]
        camera = replace(camera, position=target + backward * distance)
    return camera


def _unit(vector: FloatArray) -> FloatArray:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
