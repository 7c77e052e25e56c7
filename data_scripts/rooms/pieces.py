"""Solids of things broken, cut or stained: shards, jagged bottoms, slices, blots. A fixed pool to choose from."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from data_scripts.rooms.meshes import (
    FloatArray,
    Mesh,
    lathe,
    loaf_polygons,
    mesh_from_polygons,
    plate_profile,
    prism,
    skin,
    sphere_profile,
    unit_meshes,
)

N_BLOTS, N_SHARDS, N_PANE_CRACKS, N_CURVED = 6, 4, 3, 3
PLATE_CUTS = ((0.0, 0.9, 2.3, 3.1, 4.6, 5.3), (0.0, 1.4, 2.0, 3.6, 4.4), (0.0, 0.7, 1.9, 2.8, 3.7, 5.1))
LOAF_CUTS = (-0.5, -0.16, 0.02, 0.16, 0.3, 0.5)
WEDGE_DEGREES = 56
BALL_CUTS = (-0.5, -0.14, 0.04, 0.2, 0.5)


@cache
def all_meshes() -> dict[str, Mesh]:
    """Every solid, whole or in pieces, by name."""
    return unit_meshes() | piece_meshes()


@cache
def outlines() -> dict[str, FloatArray]:
    """By name, the `(26, 3)` vertices of a solid that reach farthest in 26 directions: what it takes up, nearly."""
    ways = np.array([(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if (x, y, z) != (0, 0, 0)])
    return {name: mesh.vertices[(mesh.vertices @ ways.T).argmax(axis=0)] for name, mesh in all_meshes().items()}


def piece_meshes() -> dict[str, Mesh]:
    """Every piece by name; `pane_pieces` tells where the pieces of a cracked pane go."""
    rng = np.random.default_rng(20)  # the pool's own fixed seed: the same solids for every data set
    meshes: dict[str, Mesh] = {}
    for i in range(N_BLOTS):
        meshes[f"blot{i}"] = prism(_blot(rng))
    for i in range(N_SHARDS):
        meshes[f"shard{i}"] = prism(_shard(rng))
    for variant, cuts in enumerate(PLATE_CUTS):
        for i, (start, end) in enumerate(zip(cuts, [*cuts[1:], 2 * np.pi], strict=True)):
            meshes[f"plate{variant}_{i}"] = _plate_sector(start, end)
    for variant in range(N_PANE_CRACKS):
        for i, outline in enumerate(pane_pieces(variant)):
            meshes[f"pane{variant}_{i}"] = prism(outline - outline.mean(axis=0))
    for i in range(N_CURVED):
        meshes[f"curved{i}"] = _curved_shard(rng, rng.uniform(0.9, 1.5))
    meshes["jagged"] = _jagged_bottom(rng, lambda h: 0.34 + 0.16 * float(np.sin(np.pi * h / 1.4)))
    meshes["jagged_tube"] = _jagged_bottom(rng, lambda h: 0.5)
    meshes["half_shell"] = _jagged_bottom(rng, lambda h: 0.5 * float(np.sqrt(max(1 - (1 - h) ** 2, 0.0))))
    for i, (low, high) in enumerate(zip(LOAF_CUTS, LOAF_CUTS[1:], strict=False)):
        meshes[f"loaf{i}"] = mesh_from_polygons(loaf_polygons(low, high))
    meshes["loaf_face"] = mesh_from_polygons(
        [p * np.array([1, 0.9, 0.9]) for p in loaf_polygons(-0.3, 0.3)]
    )  # crumb: within the crust, stretched thin along x
    for i, (low, high) in enumerate(zip(BALL_CUTS, BALL_CUTS[1:], strict=False)):
        inner = sphere_profile(low, high, 6)
        closed = [(0.0, low), *inner, (0.0, high)]
        meshes[f"ball{i}"] = lathe([p for k, p in enumerate(closed) if k == 0 or p != closed[k - 1]])
    # A round cake without its wedge, and the wedge, which points to the front.
    half = np.radians(WEDGE_DEGREES / 2)
    meshes["cake_wedge"] = mesh_from_polygons(_pie(-np.pi / 2 - half, -np.pi / 2 + half))
    rest = np.linspace(-np.pi / 2 + half, 1.5 * np.pi - half, 4)
    meshes["cake_rest"] = mesh_from_polygons([p for a, b in zip(rest, rest[1:], strict=False) for p in _pie(a, b)])
    return meshes


def _pie(start: float, end: float) -> list[FloatArray]:
    """A sector of less than half a disc of diameter and height 1."""
    turn = np.linspace(start, end, 9)
    outline = np.vstack([[[0.0, 0.0]], np.column_stack([np.cos(turn), np.sin(turn)]) / 2])
    return skin([np.column_stack([outline, np.full(len(outline), z)]) for z in (-0.5, 0.5)])


def _blot(rng: np.random.Generator) -> FloatArray:
    """An irregular star-shaped stain, `(n, 2)`, about one unit across."""
    turn = np.linspace(0, 2 * np.pi, 22, endpoint=False)
    waves = [rng.uniform(0.02, 0.07) * np.sin(k * turn + rng.uniform(0, 7)) for k in (2, 3, 5)]
    radius = 0.4 + (waves[0] + waves[1] + waves[2])
    return np.column_stack([np.cos(turn), np.sin(turn)]) * radius[:, None]


def _shard(rng: np.random.Generator) -> FloatArray:
    """A sharp convex polygon of three to five corners, `(n, 2)`."""
    n = int(rng.integers(3, 6))
    turn = np.sort((np.arange(n) + rng.uniform(-0.3, 0.3, n)) * 2 * np.pi / n)
    return np.column_stack([np.cos(turn) * 0.5, np.sin(turn) * rng.uniform(0.25, 0.5)])


def _plate_sector(start: float, end: float) -> Mesh:
    """A piece of the plate of `meshes.unit_meshes`, with its two broken edges closed."""
    profile = plate_profile(0.02)
    angles = np.linspace(start + 0.03, end - 0.03, max(3, int((end - start) * 4)))
    sector = lathe([*profile, profile[0]], angles)
    triangles = [sector.vertices[face] for face in sector.faces]
    lower, upper = profile[:4], profile[:3:-1]
    for angle, flip in ((angles[0], False), (angles[-1], True)):
        direction = np.array([np.cos(angle), np.sin(angle)])
        section = [
            np.array([[r * direction[0], r * direction[1], z] for r, z in (a, b, d, c)])
            for (a, b), (c, d) in zip(
                zip(lower, lower[1:], strict=False), zip(upper, upper[1:], strict=False), strict=False
            )
        ]
        triangles += [quad[::-1] if flip else quad for quad in section]
    return mesh_from_polygons(triangles)


def pane_pieces(variant: int) -> list[FloatArray]:
    """Pieces of the unit square cracked from one point of impact: convex outlines `(n, 2)`, a thin gap between them."""
    rng = np.random.default_rng(100 + variant)
    hit = rng.uniform(-0.15, 0.15, 2)
    rays = np.sort(rng.uniform(0, 2 * np.pi / 9, 9) + np.arange(9) * 2 * np.pi / 9)
    pieces = []
    for start, end in zip(rays, [*rays[1:], rays[0] + 2 * np.pi], strict=True):
        reach = rng.uniform(0.16, 0.3)
        near = [hit + reach * _unit(start), hit + reach * _unit(end)]
        far = _square_edge(hit, start, end)
        pieces.append(np.array([near[0], *far, near[1]]))
        pieces.append(np.array([hit, near[0], near[1]]))
    return [_shrink(piece, 0.93) for piece in pieces]


def _unit(angle: float) -> FloatArray:
    return np.array([np.cos(angle), np.sin(angle)])


def _square_edge(origin: FloatArray, start: float, end: float) -> list[FloatArray]:
    """Where the sector between two rays leaves the square, corners between them included."""

    def leave(angle: float) -> FloatArray:
        direction = _unit(angle)
        with np.errstate(divide="ignore"):
            steps = np.where(direction > 0, (0.5 - origin) / direction, (-0.5 - origin) / direction)
        return origin + direction * steps.min()

    corners = []
    for x, y in ((0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5)):
        angle = float(np.arctan2(y - origin[1], x - origin[0]))
        angle += 2 * np.pi * np.ceil((start - angle) / (2 * np.pi))
        if start < angle < end:
            corners.append((angle, np.array([x, y])))
    return [leave(start), *[corner for _, corner in sorted(corners, key=lambda c: c[0])], leave(end)]


def _shrink(outline: FloatArray, factor: float) -> FloatArray:
    centre = outline.mean(axis=0)
    return centre + (outline - centre) * factor


def _curved_shard(rng: np.random.Generator, width: float) -> Mesh:
    """A piece of a vessel's wall: a curved triangle with an inside and an outside."""
    angles = np.linspace(-width / 2, width / 2, 6)
    tops = 0.5 - 0.9 * np.abs(np.linspace(-1, 1, 6) - rng.uniform(-0.4, 0.4))
    polygons = []
    for i in range(5):
        quads = {
            radius: np.array(
                [
                    [radius * np.cos(angles[k]) - 0.5, radius * np.sin(angles[k]), z]
                    for k, z in ((i, -0.5), (i + 1, -0.5), (i + 1, tops[i + 1]), (i, tops[i]))
                ]
            )
            for radius in (0.5, 0.46)
        }
        outer, inner = quads[0.5], quads[0.46]
        rim = np.stack([outer[3], outer[2], inner[2], inner[3]])
        foot = np.stack([outer[0], inner[0], inner[1], outer[1]])
        polygons += [outer, inner[::-1], rim, foot]
    return mesh_from_polygons(polygons)


def _jagged_bottom(rng: np.random.Generator, radius: Callable[[float], float]) -> Mesh:
    """The standing rest of a broken vessel: an open wall with a zigzag rim, height about 1."""
    n = 20
    turn = np.linspace(0, 2 * np.pi, n + 1)
    tops = np.where(np.arange(n) % 2 == 0, 1.0, 0.55) * rng.uniform(0.7, 1.0, n)
    tops = np.append(tops, tops[0])
    polygons = []
    steps = np.linspace(0, 1, 6)

    def at(k: int, fraction: float, inset: float) -> list[float]:
        height = tops[k] * fraction
        r = max(radius(height) - inset, 0.0)
        return [r * np.cos(turn[k]), r * np.sin(turn[k]), height - 0.5]

    for i in range(n):
        for low, high in zip(steps, steps[1:], strict=False):
            corners = ((i, low), (i + 1, low), (i + 1, high), (i, high))
            outer, inner = (np.array([at(k, fraction, inset) for k, fraction in corners]) for inset in (0.0, 0.035))
            polygons += [outer, inner[::-1]]
        polygons.append(np.array([at(i, 1, 0.0), at(i + 1, 1, 0.0), at(i + 1, 1, 0.035), at(i, 1, 0.035)]))
        base = max(radius(0.0), 0.05)
        edge = [[base * np.cos(a), base * np.sin(a), -0.48] for a in turn[i : i + 2]]
        polygons.append(np.array([[0, 0, -0.48], *edge]))
    return mesh_from_polygons(polygons)
