"""Cameras: where they stand, and how they are framed on a set of points."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from data_scripts.rooms.meshes import FloatArray

NEAR, FAR = 0.03, 30.0  # metres


@dataclass(frozen=True)
class Camera:
    """A square perspective camera.

    Attributes:
        position: `(3,)` metres.
        forward: `(3,)` unit direction of view.
        field_of_view: opening in degrees, the same across and down.
    """

    position: FloatArray
    forward: FloatArray
    field_of_view: float

    def axes(self) -> tuple[FloatArray, FloatArray]:
        """Unit vectors to the right and up."""
        right = np.cross(self.forward, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        return right, np.cross(right, self.forward)

    def project(self, points: FloatArray) -> FloatArray:
        """`(n, 3)` points to `(n, 2)` image positions, -1 to 1, right and up; points behind are put in front."""
        right, up = self.axes()
        relative = points - self.position
        depth = np.maximum(relative @ self.forward, 0.05)
        return np.stack([relative @ right, relative @ up], axis=1) / (
            depth[:, None] * np.tan(np.radians(self.field_of_view / 2))
        )

    def jittered(self, rng: np.random.Generator, centimetres: float, degrees: float) -> Camera:
        """Moved by `centimetres` in a random direction and turned by `degrees` about a random axis."""
        step, axis = _unit(rng.standard_normal(3)), _unit(np.cross(self.forward, rng.standard_normal(3)))
        angle = np.radians(degrees)
        forward = self.forward * np.cos(angle) + np.cross(axis, self.forward) * np.sin(angle)
        return replace(self, position=self.position + step * centimetres / 100, forward=_unit(forward))


def frame(points: FloatArray, azimuth: float, elevation: float, fill: float, field_of_view: float,
          offset: tuple[float, float] = (0.0, 0.0)) -> Camera:  # fmt: skip
    """The camera that sees `points` from one direction so that their box takes a share of the picture.

    Args:
        points: `(n, 3)` world points.
        azimuth: degrees about z from the -y side, counter-clockwise from above.
        elevation: degrees above the horizon.
        fill: length of the box's longer side, as a share of the image's side.
        field_of_view: degrees.
        offset: where the box's centre comes to lie, in half images, right and up.
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
        right, up = camera.axes()
        shift = ((low + high) / 2 - np.asarray(offset)) * np.tan(np.radians(field_of_view / 2)) * distance
        target = target + right * shift[0] + up * shift[1]
        camera = replace(camera, position=target + backward * distance)
    return camera


def _unit(vector: FloatArray) -> FloatArray:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
