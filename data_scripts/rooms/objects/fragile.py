"""Things that break: a vase, a window, an egg; and the debris that they leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_scripts.rooms import materials as m
from data_scripts.rooms.meshes import FloatArray
from data_scripts.rooms.objects.registry import Build, State, object_type
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

    def around(self, amount: float, reach: float, size: float, color: Color, material: str) -> Part:
        """Pieces of about `size` metres within `reach` metres; more of them with a larger amount."""
        part = Part()
        for k in range(max(4, round(len(self.forms) * amount))):
            out = reach * float(self.distances[k])
            x, y = out * np.cos(self.angles[k]), out * np.sin(self.angles[k])
            side = size * float(self.sizes[k])
            spin, lean = float(self.turns[k, 0]), float(self.turns[k, 1]) / 12
            if self.forms[k] < N_SHARDS:
                part.add(
                    f"shard{self.forms[k]}",
                    (x, y, 0.008),
                    (side, side, 0.008),
                    color,
                    material,
                    turn_z(spin) @ turn_x(lean),
                )
            else:
                form = f"curved{self.forms[k] - N_SHARDS}"
                part.add(
                    form,
                    (x, y, 0.012),
                    (side * 1.3, side * 1.3, side * 1.3),
                    color,
                    material,
                    turn_z(spin) @ turn_y(80 + lean / 3),
                )
        return part


@object_type("Vase", "table", ("broken",), (12, 34), 180)
def vase(rng: np.random.Generator) -> Build:
    size, height = rng.uniform(0.14, 0.18), rng.uniform(0.24, 0.34)
    form = str(rng.choice(["vase_round", "vase_slim", "vase_flared"]))
    color, band = m.pick(rng, m.GLAZE + m.CERAMIC), m.pick(rng, m.GLAZE)
    flowers, petals = (
        int(rng.integers(0, 4)),
        m.pick(rng, ((0.85, 0.3, 0.35), (0.95, 0.8, 0.3), (0.8, 0.6, 0.85), (0.95, 0.93, 0.9))),
    )
    debris, lean = Debris.draw(rng, 12), rng.uniform(0, 360)

    def build(state: State) -> Part:
        part, broken = Part(), state.get("broken", 0.0)
        if broken:
            part.add("jagged", (0, 0, height * 0.2), (size, size, height * 0.4), color, "ceramic")
            part.attach(debris.around(broken, size * 0.95, size * 0.6, color, "ceramic"))
        else:
            part.add(form, (0, 0, height / 2), (size, size, height), color, "ceramic")
            part.cylinder((0, 0, 0.012), size * 0.28, 0.02, band, "ceramic")
        for k in range(flowers):
            stem = Part()
            long = height * (0.75 + 0.08 * k)
            stem.cylinder((0, 0, long / 2), 0.004, long, (0.25, 0.45, 0.2))
            stem.add("knob", (0, 0, long), 0.045, petals, "cloth")
            stem.add("knob", (0, 0, long + 0.016), 0.022, (0.9, 0.75, 0.2))
            if broken:
                part.attach(stem, (0.05 * k - 0.08, -0.03 * k, 0.025), turn_z(lean + 50 * k) @ turn_x(88))
            else:
                part.attach(stem, (0, 0, height * 0.55), turn_z(lean + 90 * k) @ turn_x(14))
        return part

    return build


def pane(
    part: Part,
    variant: int,
    size: tuple[float, float],
    center: tuple[float, float, float],
    color: Color,
    missing: int,
    tilts: FloatArray,
) -> None:
    """A cracked pane in the plane y = const: pieces with gaps, every `missing`-th fallen out, the rest leaning."""
    for i, outline in enumerate(pane_pieces(variant)):
        if i % missing == 0:
            continue
        middle = outline.mean(axis=0) * size
        turn = turn_x(90 + float(tilts[i, 0])) @ turn_y(float(tilts[i, 1]))
        place = (center[0] + middle[0], center[1], center[2] + middle[1])
        part.add(f"pane{variant}_{i}", place, (size[0], size[1], 0.006), color, "glass", turn)


@object_type("Window", "wall", ("broken", "open"), (-4, 16), 32, (0.85, 1.1))
def window(rng: np.random.Generator) -> Build:
    w, h = rng.uniform(0.7, 0.95), rng.uniform(0.85, 1.1)
    frame = m.pick(rng, m.PAINT[:2] + m.WOOD[:2])
    sky, grass = (
        m.pick(rng, ((0.62, 0.78, 0.92), (0.75, 0.83, 0.9), (0.85, 0.75, 0.68))),
        m.pick(rng, ((0.36, 0.5, 0.28), (0.45, 0.5, 0.3))),
    )
    variant, missing = int(rng.integers(N_PANE_CRACKS)), int(rng.integers(3, 5))
    tilts, debris = rng.uniform(-9, 9, (18, 2)), Debris.draw(rng, 6)
    bars = bool(rng.integers(2))

    def build(state: State) -> Part:
        part, broken, t = Part(), state.get("broken", 0.0), 0.06
        z = h / 2
        part.box((0, -0.004, z + h * 0.14), (w, 0.006, h * 0.72), sky, "glow")
        part.box((0, -0.004, h * 0.11), (w, 0.006, h * 0.24), grass, "glow")
        for x, tall in ((-0.3, 0.3), (0.16, 0.42), (0.36, 0.26)):
            part.add(
                "sphere",
                (x * w * 0.9, -0.008, h * tall),
                (w * 0.26, 0.004, h * 0.26),
                tuple(0.75 * c for c in grass),
                "glow",
            )
        for side in (-1, 1):
            part.box((side * w / 2, -0.05, z), (t, 0.1, h + t), frame, "wood")
            part.box((0, -0.05, z + side * h / 2), (w + t, 0.1, t), frame, "wood")
        part.box((0, -0.09, -0.05), (w + 0.16, 0.2, 0.03), frame, "wood")
        swung = 105 * state.get("open", 0.0)
        for side in (-1, 1):
            leaf, lw, lh = Part(), w / 2 - 0.035, h - t
            for x in (0.02, lw - 0.02):
                leaf.box((-side * x, 0, lh / 2), (0.04, 0.03, lh), frame, "wood")
            for dz in (0.02, lh - 0.02):
                leaf.box((-side * lw / 2, 0, dz), (lw, 0.03, 0.04), frame, "wood")
            if bars:
                leaf.box((-side * lw / 2, 0, lh * 0.5), (lw, 0.025, 0.025), frame, "wood")
            if not broken:
                leaf.box((-side * lw / 2, 0.004, lh / 2), (lw - 0.04, 0.006, lh - 0.06), (0.8, 0.9, 0.95, 0.3), "glass")
            else:
                pane(
                    leaf,
                    variant,
                    (lw - 0.04, lh - 0.06),
                    (-side * lw / 2, 0.0, lh / 2),
                    (0.9, 0.96, 1.0, 0.75),
                    missing,
                    tilts,
                )
                dark = (0.12, 0.14, 0.18)
                leaf.box((-side * lw / 2, 0.012, lh / 2), (lw - 0.04, 0.004, lh - 0.06), dark, "plain")
            part.attach(leaf, (side * (w / 2 - t / 2), -0.06, t / 2), turn_z(side * swung))
        if broken:
            part.attach(
                debris.around(broken, 0.09, 0.1, (0.85, 0.93, 0.97), "glass"),
                (0, -0.11, -0.03),
                np.diag([3.0, 0.8, 1.0]),
            )
        return part

    return build


@object_type("Mirror", "wall", ("dirt", "broken"), (-4, 14), 34, (0.9, 1.2))
def mirror(rng: np.random.Generator) -> Build:
    w, h = rng.uniform(0.5, 0.75), rng.uniform(0.65, 0.95)
    frame, metal = m.pick(rng, m.WOOD + m.BRASS + m.DARK[:1]), bool(rng.integers(2))
    oval = bool(rng.integers(2))
    glass = m.pick(rng, ((0.72, 0.8, 0.86), (0.78, 0.83, 0.86), (0.68, 0.76, 0.84)))
    stains, variant, missing = (
        Stains.draw(rng, 13, disc=oval),
        int(rng.integers(N_PANE_CRACKS)),
        int(rng.integers(4, 6)),
    )
    tilts = rng.uniform(-8, 8, (18, 2))
    streak = rng.uniform(-0.2, 0.2)

    def build(state: State) -> Part:
        part, broken = Part(), state.get("broken", 0.0)
        skin = "steel" if metal else "wood"
        z = h / 2
        if oval and not broken:
            part.cylinder((0, -0.02, z), 0.5, 0.04, frame, skin, turn_x(90) * np.array([w, h, 1.0]))
            part.cylinder((0, -0.042, z), 0.5, 0.006, glass, "glass", turn_x(90) * np.array([w - 0.1, h - 0.1, 1.0]))
        elif oval:
            part.cylinder((0, -0.02, z), 0.5, 0.04, frame, skin, turn_x(90) * np.array([w, h, 1.0]))
            part.cylinder(
                (0, -0.042, z), 0.5, 0.004, (0.16, 0.14, 0.12), "plain", turn_x(90) * np.array([w - 0.1, h - 0.1, 1.0])
            )
        else:
            part.box((0, -0.01, z), (w, 0.02, h), (0.16, 0.14, 0.12))
            for side in (-1, 1):
                part.box((side * (w / 2 - 0.025), -0.025, z), (0.05, 0.05, h), frame, skin)
                part.box((0, -0.025, z + side * (h / 2 - 0.025)), (w, 0.05, 0.05), frame, skin)
            if not broken:
                part.box((0, -0.025, z), (w - 0.1, 0.012, h - 0.1), glass, "glass")
        inset = 0.7 if oval else 1.0
        size = ((w - 0.1) * inset, (h - 0.1) * inset)
        if broken:
            pane(part, variant, size, (0, -0.046, z), glass, missing, tilts)
        else:
            for k, long in enumerate((0.5, 0.34)):
                # A slanting shine says that this is a mirror and not a board.
                place = ((streak + 0.13 * k) * w, -0.047 if oval else -0.0325, z + 0.05 * k)
                part.box(place, (0.025 + 0.02 * k, 0.002, h * long), (0.95, 0.97, 1.0), "glass", turn_y(35))
        part.attach(stains.on(state.get("dirt", 0.0), size[0], size[1], (0, -0.05 if oval else -0.036, z), turn_x(90)))
        return part

    return build


@object_type("Egg", "table", ("broken",), (25, 48), 180)
def egg(rng: np.random.Generator) -> Build:
    size = rng.uniform(0.085, 0.1)
    shell = m.pick(rng, ((0.93, 0.87, 0.78), (0.85, 0.66, 0.5), (0.96, 0.95, 0.92)))
    turn, yolk = rng.uniform(0, 360), m.pick(rng, ((0.98, 0.7, 0.1), (0.97, 0.62, 0.08)))
    puddle = int(rng.integers(0, 6))
    cloth = m.pick(rng, m.CLOTH)

    def build(state: State) -> Part:
        part, broken = Part(), state.get("broken", 0.0)
        if not broken:
            part.add("ring", (0, 0, 0.008), (size * 0.9, size * 0.9, 0.02), cloth, "ceramic")
            part.add(
                "egg",
                (0, 0, size * 0.62),
                (size * 0.8, size * 0.8, size * 1.15),
                shell,
                "ceramic",
                turn_z(turn) @ turn_x(12),
            )
            return part
        wide = size * (1.5 + 0.5 * broken)
        part.add(f"blot{puddle}", (0, 0, 0.004), (wide, wide * 0.85, 0.006), (0.96, 0.95, 0.88), "liquid", turn_z(turn))
        part.add("dome", (0.005, 0, 0.005), (size * 0.6, size * 0.6, size * 0.42), yolk, "ceramic")
        for side in (-1, 1):
            half = Part()
            half.add(
                "half_shell", (0, 0, 0), (size * 0.8, size * 0.8, size * 0.52), shell, "ceramic", turn_x(-side * 50)
            )
            part.attach(half, (0, side * size * 0.8, size * 0.3))
        spun = Part()
        spun.attach(part, (0, 0, 0), turn_z(turn + 90))
        return spun

    return build
