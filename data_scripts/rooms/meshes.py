"""Unit solids as triangle meshes. Everything in a room is one of these, stretched, turned and coloured.

A solid is written down as polygons; corner normals are averaged over neighbouring faces that meet at less than
`SMOOTH_DEGREES`, which keeps edges sharp and round things round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
SMOOTH_DEGREES = 50.0
SEGMENTS = 24  # sides of a round solid


@dataclass(frozen=True)
class Mesh:
    """Triangles of a solid, about one unit large, centred on the origin."""

    vertices: FloatArray  # (V, 3) positions
    normals: FloatArray  # (V, 3) unit normals
    uv: FloatArray  # (V, 2) texture coordinates, 0 to 1 over the solid
    faces: NDArray[np.int64]  # (F, 3) indices of the corners, counter-clockwise from outside


def mesh_from_polygons(polygons: Sequence[FloatArray], uvs: Sequence[FloatArray] | None = None) -> Mesh:
    """Triangulate convex polygons (each `(n, 3)`, counter-clockwise from outside) as fans with smooth normals."""
    corners = np.concatenate(polygons)
    sizes = np.array([len(polygon) for polygon in polygons])
    owner = np.repeat(np.arange(len(polygons)), sizes)
    # As long as twice a face's area, so that large faces weigh more in the average.
    face_normals = np.stack([np.cross(polygon, np.roll(polygon, -1, axis=0)).sum(axis=0) for polygon in polygons])
    unit = face_normals / np.maximum(np.linalg.norm(face_normals, axis=1, keepdims=True), 1e-12)
    # Corners at the same place share the normals of those faces that are turned nearly the same way.
    keys = np.unique(np.round(corners, 6), axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(keys, kind="stable")
    normals = np.empty_like(corners)
    for group in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
        faces = owner[group]
        alike = unit[faces] @ unit[faces].T > np.cos(np.radians(SMOOTH_DEGREES))
        normals[group] = alike @ face_normals[faces]
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    uv = np.concatenate(uvs) if uvs is not None else _project_uv(corners, unit[owner])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    triangles = [
        [start, start + i, start + i + 1] for start, n in zip(starts, sizes, strict=True) for i in range(1, n - 1)
    ]
    return Mesh(corners, normals, uv, np.array(triangles))


def _project_uv(points: FloatArray, normals: FloatArray) -> FloatArray:
    """Look along the axis that the face is turned to, so that a texture lies flat on every side."""
    axis = np.abs(normals).argmax(axis=1)
    first, second = np.array([1, 0, 0])[axis], np.array([2, 2, 1])[axis]
    rows = np.arange(len(points))
    return np.stack([points[rows, first], points[rows, second]], axis=1) + 0.5


def prism(outline: FloatArray) -> Mesh:
    """A convex outline `(n, 2)` in x and y, counter-clockwise, extruded from z = -0.5 to 0.5."""
    return mesh_from_polygons(skin([np.column_stack([outline, np.full(len(outline), z)]) for z in (-0.5, 0.5)]))


def skin(rings: Sequence[FloatArray]) -> list[FloatArray]:
    """The polygons between rings of the same number of points, each `(n, 3)`, and the first and the last as ends."""
    n = len(rings[0])
    sides = [
        np.stack([low[i], low[(i + 1) % n], high[(i + 1) % n], high[i]])
        for low, high in zip(rings, rings[1:], strict=False)
        for i in range(n)
    ]
    return [*sides, rings[-1], rings[0][::-1]]


def panel(cells: int) -> Mesh:
    """A square in the plane z = 0 that faces +z, cut into cells since OpenGL computes a lamp's light at corners."""
    ticks = np.linspace(-0.5, 0.5, cells + 1)
    polygons, uvs = [], []
    for i in range(cells):
        for j in range(cells):
            square = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
            polygons.append(np.array([[ticks[a], ticks[b], 0.0] for a, b in square]))
            uvs.append(np.array([[ticks[a] + 0.5, ticks[b] + 0.5] for a, b in square]))
    return mesh_from_polygons(polygons, uvs)


def lathe(profile: Sequence[tuple[float, float]], angles: FloatArray | None = None) -> Mesh:
    """Turn a profile of (radius, height) about z; the outside lies to the right of the way it is drawn.

    Args:
        profile: points from bottom to top for a plain solid; down again on the inside for a vessel.
        angles: the angles of the sides in radians; the whole turn if omitted. A part of a turn is left open.
    """
    whole = angles is None
    around = np.linspace(0, 2 * np.pi, SEGMENTS + 1) if angles is None else angles
    ring = np.column_stack([np.cos(around), np.sin(around)])
    points = np.asarray(profile, dtype=np.float64)
    polygons, uvs = [], []
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    along = lengths / lengths[-1]
    for k in range(len(points) - 1):
        (r0, z0), (r1, z1) = points[k], points[k + 1]
        for i in range(len(ring) - 1):
            a, b = ring[i], (ring[0] if whole and i == len(ring) - 2 else ring[i + 1])
            u0, u1 = i / (len(ring) - 1), (i + 1) / (len(ring) - 1)
            corners = [(r0, a, z0, u0, k), (r0, b, z0, u1, k), (r1, b, z1, u1, k + 1), (r1, a, z1, u0, k + 1)]
            if r0 < 1e-9:
                corners.pop(1)
            elif r1 < 1e-9:
                corners.pop(2)
            polygons.append(np.array([[r * c[0], r * c[1], z] for r, c, z, _, _ in corners]))
            uvs.append(np.array([[u, along[m]] for _, _, _, u, m in corners]))
    return mesh_from_polygons(polygons, uvs)


def sphere_profile(low: float = -0.5, high: float = 0.5, steps: int = 8) -> list[tuple[float, float]]:
    """(radius, height) of the sphere of radius 0.5 between two heights."""
    angles = np.linspace(np.arcsin(2 * low), np.arcsin(2 * high), steps + 1)
    return [(max(float(np.cos(a)), 0.0) / 2 if abs(np.cos(a)) > 1e-6 else 0.0, float(np.sin(a)) / 2) for a in angles]


def vessel(outer: Callable[[float], float], wall: float = 0.06, steps: int = 8) -> Mesh:
    """An open vessel of height 1 (z from -0.5 to 0.5): `outer` gives the radius at each height fraction 0 to 1."""
    heights = np.linspace(0, 1, steps + 1)
    out = [(outer(float(h)), float(h) - 0.5) for h in heights]
    inside = [(max(outer(float(h)) - wall, 0.02), max(float(h), wall) - 0.5) for h in heights[::-1]]
    return lathe([(0.0, -0.5), *out, *inside, (0.0, wall - 0.5)])


def plate_profile(inner: float) -> list[tuple[float, float]]:
    """(radius, height) of a plate from below, over the rim, to the top; it ends `inner` from its middle."""
    outside = [(inner, -0.5), (0.28, -0.5), (0.34, -0.3), (0.5, 0.5)]
    return [*outside, (0.485, 0.5), (0.33, 0.0), (0.3, -0.2), (inner, -0.2)]


def unit_meshes() -> dict[str, Mesh]:
    """Every solid that is whole; `pieces.piece_meshes` adds the broken and the sliced ones."""
    torus_angles = np.linspace(-np.pi, np.pi, 9)
    return {
        "box": prism(np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])),
        "panel": panel(8),  # walls and floors, which lamps light
        "sheet": panel(1),  # screens, pages, pictures
        "cylinder": lathe([(0, -0.5), (0.5, -0.5), (0.5, 0.5), (0, 0.5)]),
        "sphere": lathe(sphere_profile()),
        "knob": mesh_from_polygons(_sphere_quads(6, 8)),  # for what is too small to need more sides
        "dome": lathe([(0, 0), *sphere_profile(0.0, 0.5, 7)]),
        "frustum": lathe([(0, -0.5), (0.5, -0.5), (0.3, 0.5), (0, 0.5)]),
        "shade": lathe([(0.5, -0.5), (0.3, 0.5), (0.28, 0.5), (0.48, -0.5), (0.5, -0.5)]),
        "drum": lathe([(0.5, -0.5), (0.5, 0.5), (0.48, 0.5), (0.48, -0.5), (0.5, -0.5)]),
        "ring": lathe([(0.43 - 0.07 * np.cos(a), 0.5 * np.sin(-a)) for a in torus_angles]),
        "flame": lathe([(0, -0.5), (0.35, -0.36), (0.5, -0.18), (0.42, 0.0), (0.2, 0.25), (0, 0.5)]),
        "cup": vessel(lambda h: 0.42 + 0.08 * h),
        "bowl": vessel(lambda h: 0.2 + 0.3 * float(np.sqrt(h))),
        "pot": vessel(lambda h: 0.5, wall=0.04),
        "pan": vessel(lambda h: 0.43 + 0.07 * h, wall=0.04),
        "plate": lathe(plate_profile(0)),
        "vase_round": vessel(lambda h: 0.24 + 0.26 * float(np.sin(np.pi * min(1.0, h * 1.15))) ** 1.5, wall=0.04),
        "vase_slim": vessel(lambda h: 0.32 + 0.18 * float(np.cos(2 * np.pi * (h - 0.25))), wall=0.04, steps=12),
        "vase_flared": vessel(lambda h: 0.28 + 0.22 * h**2.5, wall=0.04),
        "bottle": vessel(lambda h: 0.5 if h < 0.55 else 0.18 + 0.32 * max(0.0, 1 - (h - 0.55) / 0.22) ** 1.3, 0.03, 12),
        "egg": lathe([(r * (1 - 0.25 * z), z) for r, z in sphere_profile()]),
        "apple": lathe(_apple_profile()),
        "rounded": _superellipsoid(0.35),
        "pillow": _superellipsoid(0.6),
        "tub": _tub(),
        "loaf": mesh_from_polygons(loaf_polygons(-0.5, 0.5)),
        "lettuce": _ruffled_sphere(),
        "half_round": prism(np.array([[0.5 * np.cos(a), np.sin(a)] for a in np.linspace(0, np.pi, 13)])),
        "rim": _square_with_hole(),
    }


def _apple_profile() -> list[tuple[float, float]]:
    """A ball with a dimple at the stalk and a narrower foot."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, 15)
    profile = []
    for a in angles:
        radius = 0.5 * np.cos(a) * (1 + 0.12 * np.sin(a))
        height = 0.46 * np.sin(a) - 0.16 * max(0.0, np.sin(a)) ** 8
        profile.append((0.0 if abs(np.cos(a)) < 1e-6 else float(radius), float(height)))
    return profile


def loaf_polygons(low: float, high: float) -> list[FloatArray]:
    """The loaf between two places along x; its cross-section shrinks towards the ends at -0.5 and 0.5."""
    top = np.linspace(-0.15 * np.pi, 1.15 * np.pi, 15)
    arc = np.column_stack([0.5 * np.cos(top), 0.1 + 0.4 * np.sin(top)])
    outline = np.vstack([[[-0.42, -0.5]], [[0.42, -0.5]], arc])  # in y and z: flat below, round above
    stations = np.unique(np.clip([low, -0.42, -0.3, 0.3, 0.42, high], low, high))
    rings = []
    for x in stations:
        scale = 1 - 0.35 * (np.clip(abs(x) - 0.3, 0, 0.2) / 0.2) ** 2
        ring = outline * scale
        ring[:, 1] += (scale - 1) * 0.5  # stays on the table
        rings.append(np.column_stack([np.full(len(ring), x), ring]))
    return skin(rings)


def _superellipsoid(power: float) -> Mesh:
    """Between a ball (1.0) and a cube (0.0), of side 1: cushions, mattresses, soft edges."""
    polygons = _sphere_quads(10, 20)
    return mesh_from_polygons([np.sign(p) * (np.abs(2 * p) ** power) / 2 for p in polygons])


def _sphere_quads(rows: int, columns: int) -> list[FloatArray]:
    """Quads of the sphere of radius 0.5."""
    tilt = np.linspace(-np.pi / 2, np.pi / 2, rows + 1)
    turn = np.linspace(0, 2 * np.pi, columns + 1)
    turn[-1] = 0.0

    def at(i: int, j: int) -> list[float]:
        return [0.5 * np.cos(tilt[i]) * np.cos(turn[j]), 0.5 * np.cos(tilt[i]) * np.sin(turn[j]), 0.5 * np.sin(tilt[i])]

    return [
        np.array([at(i, j), at(i, j + 1), at(i + 1, j + 1), at(i + 1, j)]) for i in range(rows) for j in range(columns)
    ]


def _ruffled_sphere() -> Mesh:
    """A head of lettuce: a ball with leaf-like folds."""

    def ruffle(points: FloatArray) -> FloatArray:
        x, y, z = (2 * points).T
        turn = np.arctan2(y, x)
        fold = 1 + 0.07 * np.sin(7 * turn + 3 * z) * np.sqrt(np.clip(1 - z**2, 0, 1)) + 0.04 * np.sin(9 * z + 2 * turn)
        return points * fold[:, None]

    return mesh_from_polygons([ruffle(p) for p in _sphere_quads(12, 32)])


def _square_with_hole(radius: float = 0.39) -> Mesh:
    """A flat square of height 1 with a round hole."""
    turn = np.linspace(0, 2 * np.pi, 33)
    circle = np.column_stack([np.cos(turn), np.sin(turn)])
    square = 0.5 * circle / np.abs(circle).max(axis=1, keepdims=True)
    polygons = []
    for i in range(32):
        rings = [(square, -0.5), (square, 0.5), (radius * circle, 0.5), (radius * circle, -0.5), (square, -0.5)]
        for (outer, low), (inner, high) in zip(rings, rings[1:], strict=False):
            corners = ((outer[i], low), (outer[i + 1], low), (inner[i + 1], high), (inner[i], high))
            polygons.append(np.array([[*xy, z] for xy, z in corners]))
    return mesh_from_polygons(polygons)


def _tub() -> Mesh:
    """An oblong open vessel (bathtub, sink): x and y from -0.5 to 0.5, rim at z = 0.5."""

    def ring(half: float, z: float) -> FloatArray:
        turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        xy = np.column_stack([np.cos(turn), np.sin(turn)])
        return np.column_stack([np.sign(xy) * np.abs(xy) ** 0.4 * half, np.full(32, z)])

    rings = [ring(0.38, -0.5), ring(0.47, 0.2), ring(0.5, 0.44), ring(0.5, 0.5), ring(0.44, 0.5), ring(0.36, -0.35)]
    return mesh_from_polygons(skin(rings))
