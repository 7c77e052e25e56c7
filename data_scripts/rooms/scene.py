"""A furnished room: walls, furniture along them, a laid table, lights; the targets first, then things to fill up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.lighting import Sun, draw_sun
from data_scripts.rooms.meshes import FloatArray
from data_scripts.rooms.objects import AMOUNTS, CHOICES, OBJECT_TYPES, Build, ObjectType
from data_scripts.rooms.objects.furniture import legged_table
from data_scripts.rooms.shapes import Part, turn_x, turn_z

WALL_HEIGHT = 2.8
TABLE_ITEMS, WALL_ITEMS = 5, 5  # about how many things stand on the table and along the walls
# Changes that show in one another's pictures: (the one acted on, the one that may be there already).
# Dirt under a liquid is left out: emptying would uncover it and look like dirtying.
COMBINED = {("open", "on"): 0.4}


class NoRoomError(Exception):
    """The targets do not fit into the drawn room; draw another."""


@dataclass
class Item:
    """An object in its place."""

    kind: ObjectType
    build: Build  # its solids as a function of its state
    position: FloatArray  # (3,) metres
    turn: float  # degrees about z; 0 looks towards -y
    zone: str  # what it stands on: "table", or a wall's name
    state: dict[str, float]  # while no action is applied to it

    @cached_property
    def resting(self) -> Part:
        """Its solids while no action is applied to it."""
        return self.part(self.state)

    def part(self, state: dict[str, float]) -> Part:
        """Its solids in the room's frame."""
        return self.build(state).placed(self.position, turn_z(self.turn))


@dataclass
class Scene:
    """A room with everything in it; `items[:n]` are the n requested targets, `half` its half width and half depth."""

    room: Part
    items: list[Item]
    sun: Sun
    half: tuple[float, float]

    def inside(self, point: FloatArray) -> bool:
        """Whether a point lies between the walls."""
        return bool(abs(point[0]) < self.half[0] and abs(point[1]) < self.half[1])


def amount(rng: np.random.Generator, change: str) -> float:
    """How much a changed state is changed; the same distribution whichever way the action goes."""
    return float(rng.uniform(*AMOUNTS[change]))


def side_state(rng: np.random.Generator, kind: ObjectType, change: str) -> dict[str, float]:
    """Other states that the object may show, both before and after, while `change` is acted on."""
    state = {
        other: amount(rng, other)
        for (acted, other), chance in COMBINED.items()
        if acted == change and other in kind.changes and rng.random() < chance
    }
    if kind.name == "Laptop" and change == "on":
        state["open"] = amount(rng, "open")
    return state


def furnish(rng: np.random.Generator, targets: Sequence[tuple[str, str]], kinds: str = "all") -> Scene:
    """Draw a room that holds the targets, each an (object type, what is changed of it), and some more things.

    Args:
        rng: draws everything.
        targets: what must be there.
        kinds: of the other things: a key of `CHOICES`.

    Raises:
        NoRoomError: the targets do not fit; call again with the generator as it is now.
    """
    half_x, half_y = rng.uniform(2.3, 3.0), rng.uniform(2.0, 2.6)
    names = [name for name, _ in targets]
    for places, wanted in ((("table",), TABLE_ITEMS), (("floor", "wall"), WALL_ITEMS)):
        pool = sorted(name for name in CHOICES[kinds] if OBJECT_TYPES[name].place in places)
        have = sum(OBJECT_TYPES[name].place in places for name in names)
        names += [str(name) for name in rng.choice(pool, max(0, wanted - have), replace=False)]
    pieces = []
    for k, name in enumerate(names):
        kind = OBJECT_TYPES[name]
        build, state = kind.draw(rng), _rest(rng, kind)
        shown = [state, {}, {targets[k][1]: 1.0}] if k < len(targets) else [state]
        pieces.append(_Piece(kind, build, state, shown, k < len(targets)))
    top, table = _table(rng, half_y, sum(piece.kind.place == "table" and piece.target for piece in pieces))
    places_found = _lay_table(rng, pieces, top) | _line_walls(rng, pieces, (half_x, half_y))
    if any(k not in places_found for k in range(len(targets))):
        raise NoRoomError("no room")
    room = _walls(rng, half_x, half_y)
    room.attach(table)
    _decorate(rng, room, half_x, half_y)
    items = [places_found[k] for k in range(len(pieces)) if k in places_found]
    return Scene(room, items, draw_sun(rng), (half_x, half_y))


@dataclass
class _Piece:
    """Something to be placed: `shown` are the states for which there must be room."""

    kind: ObjectType
    build: Build
    state: dict[str, float]
    shown: list[dict[str, float]]
    target: bool

    def corners(self, turn: float = 0.0) -> FloatArray:
        """`(n, 3)` corners of its solids in the states for which there must be room."""
        return np.concatenate([self.build(state).corners for state in self.shown]) @ turn_z(turn).T


def _rest(rng: np.random.Generator, kind: ObjectType) -> dict[str, float]:
    """A bystander is changed in one way or not at all."""
    if rng.random() < 0.6:
        return {}
    change = str(rng.choice(kind.changes))
    return {change: amount(rng, change)} | side_state(rng, kind, change)


def _table(rng: np.random.Generator, half_y: float, targets: int) -> tuple[FloatArray, Part]:
    """A table or counter near the front of the room; returns its top as (x, y, z, half width, half depth)."""
    w, d, h = rng.uniform(1.4, 1.7) + 0.1 * targets, rng.uniform(0.85, 1.0), rng.uniform(0.7, 0.85)
    x, y = rng.uniform(-0.4, 0.4), -half_y + rng.uniform(0.7, 1.0)
    part = Part()
    wood = m.pick(rng, m.WOOD + m.PAINT[:1])
    if rng.random() < 0.6:
        legged_table(part, (w, d, h), wood, "wood")
    else:
        part.box((0, 0, (h - 0.04) / 2), (w - 0.06, d - 0.06, h - 0.04), m.pick(rng, m.PAINT + m.WOOD), "wood")
        part.box((0, 0, h - 0.02), (w, d, 0.04), m.pick(rng, m.CERAMIC[:4] + m.DARK[2:]), "marble")
    # A thin cloth of many cells takes up a lamp's glow, which a box of six faces cannot.
    top = part.shapes[-1] if part.shapes[-1].material == "marble" else part.shapes[0]
    part.add("panel", (0, 0, h + 0.0008), (w, d, 1), top.color, top.material)
    return np.array([x, y, h + 0.001, w / 2, d / 2]), part.placed((x, y, 0))


def _lay_table(rng: np.random.Generator, pieces: list[_Piece], top: FloatArray) -> dict[int, Item]:
    """Put the things for the table down one by one where they touch no other; leave out what finds no place."""
    turns, low, high = {}, {}, {}
    for k, piece in enumerate(pieces):
        if piece.kind.place == "table":
            turns[k] = float(rng.uniform(-30, 30))
            corners = piece.corners(turns[k])[:, :2]
            low[k], high[k] = corners.min(axis=0) - 0.01, corners.max(axis=0) + 0.01
    # The targets before the rest and the large before the small, while there is still room.
    order = sorted(turns, key=lambda k: (not pieces[k].target, -float(np.ptp([low[k], high[k]], axis=0).max())))
    places: dict[int, FloatArray] = {}
    for _ in range(10):
        places = {}
        for k in order:
            first, last = -top[3:] - low[k], top[3:] - high[k]
            for _ in range(30):
                xy = np.where(first < last, rng.uniform(first, np.maximum(first, last)), (first + last) / 2)
                if not any(
                    (xy + low[k] < other + high[j]).all() and (other + low[j] < xy + high[k]).all()
                    for j, other in places.items()
                ):
                    places[k] = xy
                    break
        if all(k in places for k in order if pieces[k].target):
            break
    return {
        k: Item(pieces[k].kind, pieces[k].build, top[:3] + np.array([*xy, 0.0]), turns[k], "table", pieces[k].state)
        for k, xy in places.items()
    }


def _line_walls(rng: np.random.Generator, pieces: list[_Piece], half: tuple[float, float]) -> dict[int, Item]:
    """Stand furniture along the back and the side walls, side by side."""
    half_x, half_y = half
    # wall -> (usable length, turn, start, direction along it); corners stay free for doors to swing
    walls = {
        "back": (2 * half_x - 0.3, 0.0, np.array([-half_x + 0.15, half_y]), np.array([1.0, 0.0])),
        "left": (2 * half_y - 1.3, 90.0, np.array([-half_x, -half_y + 0.3]), np.array([0.0, 1.0])),
        "right": (2 * half_y - 1.3, -90.0, np.array([half_x, half_y - 1.0]), np.array([0.0, -1.0])),
    }
    rows: dict[str, list[tuple[int, FloatArray]]] = {name: [] for name in walls}
    free = {name: wall[0] for name, wall in walls.items()}
    for k, piece in enumerate(pieces):
        if piece.kind.place == "table":
            continue
        corners = piece.corners()
        bounds = np.array([corners[:, 0].min() - 0.08, corners[:, 0].max() + 0.08, piece.build({}).corners[:, 1].max()])
        for name in ("back", *rng.permutation(["left", "right"])):
            if bounds[1] - bounds[0] <= free[name]:
                rows[name].append((k, bounds))
                free[name] -= bounds[1] - bounds[0]
                break
    items: dict[int, Item] = {}
    for name, row in rows.items():
        _, turn, start, along = walls[name]
        inward = np.array([np.sin(np.radians(turn)), -np.cos(np.radians(turn))])
        # What is left of the wall is shared out as gaps, at random, not all of it.
        gaps = rng.dirichlet(np.ones(len(row) + 1)) * free[name] * rng.uniform(0.3, 1.0)
        at = 0.0
        for gap, slot in zip(gaps, rng.permutation(len(row)), strict=False):
            k, (left, right, back) = row[slot]
            kind = pieces[k].kind
            off = 0.001 if kind.place == "wall" else back + rng.uniform(0.02, 0.06)
            xy = start + along * (at + gap - left) + inward * off
            at += gap + right - left
            position = np.array([*xy, rng.uniform(*kind.height)])
            items[k] = Item(kind, pieces[k].build, position, turn, name, pieces[k].state)
    return items


def _walls(rng: np.random.Generator, half_x: float, half_y: float) -> Part:
    """Floor, ceiling and four walls, which are seen from inside only, skirting boards."""
    room = Part()
    floor = str(rng.choice(["planks", "tiles", "carpet", "wood"]))
    tone = m.pick(rng, m.WOOD if floor in ("planks", "wood") else m.CERAMIC[:4] if floor == "tiles" else m.CLOTH)
    paper, color = str(rng.choice(["plaster", "plaster", "stripes"])), m.pick(rng, m.WALL)
    for i in (-1, 1):
        for j in (-1, 1):
            room.add("panel", (i * half_x / 2, j * half_y / 2, 0), (half_x, half_y, 1), tone, floor)
    board = m.pick(rng, m.PAINT[:2] + m.WOOD[2:3])
    room.add("panel", (0, 0, WALL_HEIGHT), (2 * half_x, 2 * half_y, 1), (0.93, 0.93, 0.92), "plain", turn_x(180))
    for turn in (0, 90, 180, -90):
        distance, length = (half_x, half_y) if turn in (90, -90) else (half_y, half_x)
        wall, size = room.frame(turn=turn_z(turn)), (length, WALL_HEIGHT, 1)
        for i in (-1, 1):
            wall.add("panel", (i * length / 2, distance, WALL_HEIGHT / 2), size, color, paper, turn_x(90))
        if turn != 180:
            wall.box((0, distance - 0.006, 0.05), (2 * length, 0.012, 0.1), board, "wood")
    return room


def _decorate(rng: np.random.Generator, room: Part, half_x: float, half_y: float) -> None:
    """Pictures high on the walls and sometimes a rug: things that no action changes."""
    for x in rng.uniform(-0.8, 0.8, int(rng.integers(0, 3))) * half_x:
        w, h = rng.uniform(0.25, 0.5), rng.uniform(0.25, 0.4)
        z = rng.uniform(2.15, 2.3)
        room.box((x, half_y - 0.012, z), (w + 0.05, 0.024, h + 0.05), m.pick(rng, m.WOOD + m.DARK), "wood")
        picture = f"picture{rng.integers(m.N_PICTURES)}"
        room.add("sheet", (x, half_y - 0.026, z), (w, h, 1), (0.95, 0.95, 0.95), picture, turn_x(90))
    if rng.random() < 0.5:
        x, y = rng.uniform(-0.5, 0.5), rng.uniform(-0.2, 0.4)
        size = (rng.uniform(1.2, 2.2), rng.uniform(0.9, 1.4), 1.0)
        color = m.pick(rng, m.CLOTH + m.COVER)
        room.add("sheet", (x, y, 0.004), size, m.tone(color, 0.75), "carpet")
        room.add("sheet", (x, y, 0.007), (size[0] - 0.2, size[1] - 0.2, 1.0), color, "carpet")
