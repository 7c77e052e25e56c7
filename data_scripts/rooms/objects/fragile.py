"""Things that break: a vase, a window, an egg; and the debris that they leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.meshes import FloatArray
from data_scripts.rooms.objects.registry import State, object_type
from data_scripts.rooms.objects.stains import Stains
from data_scripts.rooms.pieces import N_CURVED, N_PANE_CRACKS, N_SHARDS, pane_pieces
from data_scripts.rooms.shapes import Color, Part, turn_x, turn_y, turn_z


@dataclass(frozen=True)
class Debris:
    """Pieces that lie around: angle and distance (0 to 1), size, turn and form of each."""

    angles: FloatArray
    distances: FloatArray
    sizes: FloatArray
    turns: FloatArray
    forms: tuple[int, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator, count: int) -> Debris:
        """Lay out `count` pieces, evenly all round but for chance."""
        angles = (np.arange(count) + rng.uniform(-0.4, 0.4, count)) * 2 * np.pi / count
        forms = tuple(int(i) for i in rng.integers(0, N_SHARDS + N_CURVED, count))
        return cls(
            angles, rng.uniform(0.55, 1.0, count), rng.uniform(0.6, 1.2, count), rng.uniform(0, 360, (count, 2)), forms
        )

    def around(self, part: Part, amount: float, reach: float, size: float, color: Color, material: str) -> None:
        """Pieces of about `size` metres within `reach` metres; more of them with a larger amount."""
        for k in range(max(4, round(len(self.forms) * amount))):
            out = reach * float(self.distances[k])
            x, y = out * np.cos(self.angles[k]), out * np.sin(self.angles[k])
            side, form = size * float(self.sizes[k]), self.forms[k]
            spin, lean = turn_z(float(self.turns[k, 0])), float(self.turns[k, 1]) / 12
            if form < N_SHARDS:
                part.add(f"shard{form}", (x, y, 0.008), (side, side, 0.008), color, material, spin @ turn_x(lean))
            else:
                turn = spin @ turn_y(80 + lean / 3)
                part.add(f"curved{form - N_SHARDS}", (x, y, 0.012), side * 1.3, color, material, turn)


@dataclass(frozen=True)
class Crack:
    """How a pane is cracked: one of the layouts of `pane_pieces`, and how its pieces have come loose."""

    variant: int
    missing: int  # every so many-th piece has fallen out
    tilts: FloatArray

    @classmethod
    def draw(cls, rng: np.random.Generator, missing: tuple[int, int], tilt: float) -> Crack:
        """Pieces that lean by up to `tilt` degrees; one in `missing` (lowest, highest + 1) has fallen out."""
        variant = int(rng.integers(N_PANE_CRACKS))
        return cls(variant, int(rng.integers(*missing)), rng.uniform(-tilt, tilt, (18, 2)))

    def pane(self, part: Part, size: tuple[float, float], center: tuple[float, float, float], color: Color) -> None:
        """What is left of a glass pane in the plane y = const."""
        for i, (name, place) in enumerate(crack_pieces(self.variant, size, center)):
            if i % self.missing:
                turn = turn_x(90 + float(self.tilts[i, 0])) @ turn_y(float(self.tilts[i, 1]))
                part.add(name, place, (*size, 0.006), color, "glass", turn)


def crack_pieces(variant: int, size: tuple[float, float],
                 center: tuple[float, float, float]) -> list[tuple[str, tuple[float, float, float]]]:  # fmt: skip
    """Name and place of every piece of a cracked pane in the plane y = const."""
    x, y, z = center
    middles = [outline.mean(axis=0) * size for outline in pane_pieces(variant)]
    return [(f"pane{variant}_{i}", (x + across, y, z + up)) for i, (across, up) in enumerate(middles)]


@object_type("Vase", "table", {"broken": "shatter"}, (12, 34), 180)
def vase(part: Part, rng: np.random.Generator, state: State) -> None:
    size, height = rng.uniform(0.14, 0.18), rng.uniform(0.24, 0.34)
    form = str(rng.choice(["vase_round", "vase_slim", "vase_flared"]))
    color, band = m.pick(rng, m.GLAZE + m.CERAMIC), m.pick(rng, m.GLAZE)
    flowers = int(rng.integers(0, 4))
    petals = m.pick(rng, ((0.85, 0.3, 0.35), (0.95, 0.8, 0.3), (0.8, 0.6, 0.85), (0.95, 0.93, 0.9)))
    debris, lean = Debris.draw(rng, 12), rng.uniform(0, 360)

    broken = state.get("broken", 0.0)
    if broken:
        part.add("jagged", (0, 0, height * 0.2), (size, size, height * 0.4), color, "ceramic")
        debris.around(part, broken, size * 0.95, size * 0.6, color, "ceramic")
    else:
        part.add(form, (0, 0, height / 2), (size, size, height), color, "ceramic")
        part.cylinder((0, 0, 0.012), size * 0.28, 0.02, band, "ceramic")
    for k in range(flowers):
        if broken:
            stem = part.frame((0.05 * k - 0.08, -0.03 * k, 0.025), turn_z(lean + 50 * k) @ turn_x(88))
        else:
            stem = part.frame((0, 0, height * 0.55), turn_z(lean + 90 * k) @ turn_x(14))
        long = height * (0.75 + 0.08 * k)
        stem.cylinder((0, 0, long / 2), 0.004, long, (0.25, 0.45, 0.2))
        stem.add("knob", (0, 0, long), 0.045, petals, "cloth")
        stem.add("knob", (0, 0, long + 0.016), 0.022, (0.9, 0.75, 0.2))


@object_type("Window", "wall", {"broken": "crack", "open": "double leaf"}, (-4, 16), 32, (0.85, 1.1))
def window(part: Part, rng: np.random.Generator, state: State) -> None:
    w, h = rng.uniform(0.7, 0.95), rng.uniform(0.85, 1.1)
    frame = m.pick(rng, m.PAINT[:2] + m.WOOD[:2])
    sky = m.pick(rng, ((0.62, 0.78, 0.92), (0.75, 0.83, 0.9), (0.85, 0.75, 0.68)))
    grass = m.pick(rng, ((0.36, 0.5, 0.28), (0.45, 0.5, 0.3)))
    crack, debris = Crack.draw(rng, (3, 5), 9), Debris.draw(rng, 6)
    bars = bool(rng.integers(2))

    broken, t = state.get("broken", 0.0), 0.06
    z = h / 2
    # Not `view_outside`, which came later: the pictures of a classic kind stay as they were.
    part.box((0, -0.004, z + h * 0.14), (w, 0.006, h * 0.72), sky, "glow")
    part.box((0, -0.004, h * 0.11), (w, 0.006, h * 0.24), grass, "glow")
    for x, tall in ((-0.3, 0.3), (0.16, 0.42), (0.36, 0.26)):
        part.add("sphere", (x * w * 0.9, -0.008, h * tall), (w * 0.26, 0.004, h * 0.26), m.tone(grass, 0.75), "glow")
    for side in (-1, 1):
        part.box((side * w / 2, -0.05, z), (t, 0.1, h + t), frame, "wood")
        part.box((0, -0.05, z + side * h / 2), (w + t, 0.1, t), frame, "wood")
    part.box((0, -0.09, -0.05), (w + 0.16, 0.2, 0.03), frame, "wood")
    for side in (-1, 1):
        leaf = part.frame((side * (w / 2 - t / 2), -0.06, t / 2), turn_z(side * 105 * state.get("open", 0.0)))
        lw, lh = w / 2 - 0.035, h - t
        for x in (0.02, lw - 0.02):
            leaf.box((-side * x, 0, lh / 2), (0.04, 0.03, lh), frame, "wood")
        for dz in (0.02, lh - 0.02):
            leaf.box((-side * lw / 2, 0, dz), (lw, 0.03, 0.04), frame, "wood")
        if bars:
            leaf.box((-side * lw / 2, 0, lh * 0.5), (lw, 0.025, 0.025), frame, "wood")
        if not broken:
            leaf.box((-side * lw / 2, 0.004, lh / 2), (lw - 0.04, 0.006, lh - 0.06), (0.8, 0.9, 0.95, 0.3), "glass")
        else:
            crack.pane(leaf, (lw - 0.04, lh - 0.06), (-side * lw / 2, 0.0, lh / 2), (0.9, 0.96, 1.0, 0.75))
            dark = (0.12, 0.14, 0.18)
            leaf.box((-side * lw / 2, 0.012, lh / 2), (lw - 0.04, 0.004, lh - 0.06), dark, "plain")
    if broken:
        sill = part.frame((0, -0.11, -0.03), np.diag([3.0, 0.8, 1.0]))
        debris.around(sill, broken, 0.09, 0.1, (0.85, 0.93, 0.97), "glass")


@object_type("Mirror", "wall", {"dirt": "stain", "broken": "crack"}, (-4, 14), 34, (0.9, 1.2))
def mirror(part: Part, rng: np.random.Generator, state: State) -> None:
    w, h = rng.uniform(0.5, 0.75), rng.uniform(0.65, 0.95)
    frame, metal = m.pick(rng, m.WOOD + m.BRASS + m.DARK[:1]), bool(rng.integers(2))
    oval = bool(rng.integers(2))
    glass = m.pick(rng, ((0.72, 0.8, 0.86), (0.78, 0.83, 0.86), (0.68, 0.76, 0.84)))
    stains, crack = Stains.draw(rng, 13, disc=oval), Crack.draw(rng, (4, 6), 8)
    streak = rng.uniform(-0.2, 0.2)

    broken = state.get("broken", 0.0)
    skin = "steel" if metal else "wood"
    z = h / 2
    back = (0.16, 0.14, 0.12)
    if oval:
        face = (0.004, back, "plain") if broken else (0.006, glass, "glass")
        part.cylinder((0, -0.02, z), 0.5, 0.04, frame, skin, turn_x(90) * np.array([w, h, 1.0]))
        part.cylinder((0, -0.042, z), 0.5, *face, turn_x(90) * np.array([w - 0.1, h - 0.1, 1.0]))
    else:
        part.box((0, -0.01, z), (w, 0.02, h), back)
        for side in (-1, 1):
            part.box((side * (w / 2 - 0.025), -0.025, z), (0.05, 0.05, h), frame, skin)
            part.box((0, -0.025, z + side * (h / 2 - 0.025)), (w, 0.05, 0.05), frame, skin)
        if not broken:
            part.box((0, -0.025, z), (w - 0.1, 0.012, h - 0.1), glass, "glass")
    inset = 0.7 if oval else 1.0
    size = ((w - 0.1) * inset, (h - 0.1) * inset)
    if broken:
        crack.pane(part, size, (0, -0.046, z), glass)
    else:
        for k, long in enumerate((0.5, 0.34)):
            # A slanting shine says that this is a mirror and not a board.
            place = ((streak + 0.13 * k) * w, -0.047 if oval else -0.0325, z + 0.05 * k)
            part.box(place, (0.025 + 0.02 * k, 0.002, h * long), (0.95, 0.97, 1.0), "glass", turn_y(35))
    stains.on(part, state.get("dirt", 0.0), size[0], size[1], (0, -0.05 if oval else -0.036, z), turn_x(90))


@object_type("Egg", "table", {"broken": "shatter"}, (25, 48), 180)
def egg(part: Part, rng: np.random.Generator, state: State) -> None:
    size = rng.uniform(0.085, 0.1)
    shell = m.pick(rng, ((0.93, 0.87, 0.78), (0.85, 0.66, 0.5), (0.96, 0.95, 0.92)))
    turn, yolk = rng.uniform(0, 360), m.pick(rng, ((0.98, 0.7, 0.1), (0.97, 0.62, 0.08)))
    puddle = int(rng.integers(0, 6))
    cloth = m.pick(rng, m.CLOTH)

    broken = state.get("broken", 0.0)
    if not broken:
        part.add("ring", (0, 0, 0.008), (size * 0.9, size * 0.9, 0.02), cloth, "ceramic")
        upright = (size * 0.8, size * 0.8, size * 1.15)
        part.add("egg", (0, 0, size * 0.62), upright, shell, "ceramic", turn_z(turn) @ turn_x(12))
        return
    spun, wide = part.frame(turn=turn_z(turn + 90)), size * (1.5 + 0.5 * broken)
    spun.add(f"blot{puddle}", (0, 0, 0.004), (wide, wide * 0.85, 0.006), (0.96, 0.95, 0.88), "liquid", turn_z(turn))
    spun.add("dome", (0.005, 0, 0.005), (size * 0.6, size * 0.6, size * 0.42), yolk, "ceramic")
    for side in (-1, 1):
        place, stretch = (0, side * size * 0.8, size * 0.3), (size * 0.8, size * 0.8, size * 0.52)
        spun.add("half_shell", place, stretch, shell, "ceramic", turn_x(-side * 50))
