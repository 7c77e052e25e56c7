"""Placed, coloured solids, and the parts that objects are put together from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from data_scripts.rooms.meshes import FloatArray
from data_scripts.rooms.pieces import outlines

Color = Sequence[float]  # red, green, blue (and opacity), 0 to 1
Vector = Sequence[float] | FloatArray


def turn_x(degrees: float) -> FloatArray:
    """`(3, 3)` rotation about x."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1.0, 0, 0], [0, c, -s], [0, s, c]])


def turn_y(degrees: float) -> FloatArray:
    """`(3, 3)` rotation about y."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s], [0, 1.0, 0], [-s, 0, c]])


def turn_z(degrees: float) -> FloatArray:
    """`(3, 3)` rotation about z; positive turns x towards y."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


@dataclass(slots=True)
class Shape:
    """One solid: `mesh` stretched and turned by `matrix` (3, 3), moved to `position` (3,), in metres."""

    mesh: str
    position: FloatArray
    matrix: FloatArray
    color: tuple[float, float, float, float]
    material: str


@dataclass(slots=True)
class PointLight:
    """A lamp's own light: `color` is its strength in red, green and blue, falling to a quarter at `reach` metres."""

    position: FloatArray
    color: Color
    reach: float


@dataclass
class Part:
    """Solids and lights in one frame: z up, the front towards -y, metres.

    `frames` are the moves and turns, innermost first, from this part to the one whose lists it adds to.
    """

    shapes: list[Shape] = field(default_factory=list)
    lights: list[PointLight] = field(default_factory=list)
    frames: tuple[tuple[FloatArray, FloatArray | None], ...] = ()

    def add(
        self,
        mesh: str,
        center: Vector,
        size: Vector | float,
        color: Color,
        material: str = "plain",
        turn: FloatArray | None = None,
    ) -> None:
        """Add a unit solid stretched to `size` (3 numbers or one), then turned, then moved to `center`."""
        x, y, z = (size, size, size) if isinstance(size, int | float) else size
        if mesh in ("panel", "sheet"):
            z = 0.001 * z  # it is flat, and so are its corners
        stretch = np.array([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, z]])
        matrix = stretch if turn is None else turn @ stretch
        r, g, b, *opacity = color
        tint = (r, g, b, opacity[0] if opacity else 1.0)
        self._put(Shape(mesh, np.array(center, dtype=float), matrix, tint, material))

    def box(
        self, center: Vector, size: Vector, color: Color, material: str = "plain", turn: FloatArray | None = None
    ) -> None:
        """Add a box of the given side lengths."""
        self.add("box", center, size, color, material, turn)

    def cylinder(self, center: Vector, radius: float, height: float, color: Color, material: str = "plain",
                 turn: FloatArray | None = None) -> None:  # fmt: skip
        """Add a cylinder along z."""
        self.add("cylinder", center, (2 * radius, 2 * radius, height), color, material, turn)

    def frame(self, position: Vector = (0.0, 0.0, 0.0), turn: FloatArray | None = None) -> Part:
        """A frame turned and then moved within this part; what is added to it is added here."""
        return Part(self.shapes, self.lights, ((np.asarray(position, dtype=float), turn), *self.frames))

    def attach(self, part: Part, position: Vector = (0.0, 0.0, 0.0), turn: FloatArray | None = None) -> None:
        """Add a part, turned and then moved."""
        frame = self.frame(position, turn)
        for shape in part.shapes:
            frame._put(Shape(shape.mesh, shape.position, shape.matrix, shape.color, shape.material))
        for light in part.lights:
            frame.shine(light.position, light.color, light.reach)

    def placed(self, position: Vector, turn: FloatArray | None = None) -> Part:
        """A copy turned about its origin, then moved."""
        copy = Part()
        copy.attach(self, position, turn)
        return copy

    def shine(self, position: Vector, color: Color, reach: float) -> None:
        """Add a lamp's light."""
        at = np.asarray(position, dtype=float)
        for shift, turn in self.frames:
            at = (at if turn is None else turn @ at) + shift
        self.lights.append(PointLight(at, color, reach))

    def _put(self, shape: Shape) -> None:
        """Add a solid that is given in this frame."""
        for shift, turn in self.frames:
            if turn is not None:
                shape.position, shape.matrix = turn @ shape.position, turn @ shape.matrix
            shape.position = shape.position + shift
        self.shapes.append(shape)

    @cached_property
    def corners(self) -> FloatArray:
        """`(26 n, 3)` outermost points of the solids, what a camera must frame. Ask when the part is complete."""
        positions = np.array([shape.position for shape in self.shapes])
        matrices = np.array([shape.matrix for shape in self.shapes])
        points = np.array([outlines()[shape.mesh] for shape in self.shapes])
        return (points @ matrices.transpose(0, 2, 1) + positions[:, None]).reshape(-1, 3)

    def wider_than(self, pixels: float, eye: FloatArray, pixels_per_radian: float) -> list[Shape]:
        """The solids that appear at least `pixels` wide from a point; a background's small details drop out."""
        distances = np.linalg.norm(self._spans[0] - eye, axis=1)
        wide = self._spans[1] * pixels_per_radian >= pixels * distances
        return [shape for shape, keep in zip(self.shapes, wide, strict=True) if keep]

    @cached_property
    def _spans(self) -> tuple[FloatArray, FloatArray]:
        """Positions `(n, 3)` and lengths of the diagonals `(n,)` of the solids."""
        matrices = np.array([shape.matrix for shape in self.shapes])
        return np.array([shape.position for shape in self.shapes]), np.sqrt((matrices**2).sum(axis=(1, 2)))
