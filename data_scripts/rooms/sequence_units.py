"""Sequences of rooms as a source of work units of a fixed size, whose content depends on the settings alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from data_scripts.builds.sequence_build import MOST_FRAMES
from data_scripts.builds.work_units import ClassSource, UnitRows
from data_scripts.rooms.objects import ACTIONS, CHOICES, OBJECT_TYPES
from data_scripts.rooms.pairs import RejectedError
from data_scripts.rooms.renderer import RoomRenderer
from data_scripts.rooms.scene import NoRoomError, furnish
from data_scripts.rooms.scripts import BACK, Script, draw_square, draw_walk, kind_pairs
from data_scripts.rooms.sequences import Disturbance, FrameSequence, make_sequence
from data_scripts.rooms.units import UnitError, png
from modeling_cde.data.sequence_schema import sequence_features, step_classes

if TYPE_CHECKING:
    from datasets import Features

ROOMS, CAMERAS = 40, 6  # that are tried for one sequence: rooms, and cameras in each


@dataclass(frozen=True)
class SequenceSettings:
    """What the pictures depend on; stored beside the units, so that a rerun cannot mix two data sets.

    Attributes:
        num: Sequences in total.
        frames: Frames of each.
        acts: Actions in each; the other steps are idle. 0: nothing happens.
        targets: Objects that are acted on, 1 or 2.
        gradual: Whether an action takes several frames, where its object can change bit by bit.
        square: Whether the four frames show each of two properties changed and unchanged.
        image_size: Side of the pictures in pixels.
        seed: Of everything random.
        per_unit: Sequences in a work unit.
        disturbance: What changes although nobody acts.
        kinds: Of things: a key of `CHOICES`.
    """

    num: int
    frames: int = 3
    acts: int = 2
    targets: int = 1
    gradual: bool = False
    square: bool = False
    image_size: int = 128
    seed: int = 0
    per_unit: int = 20
    disturbance: Disturbance = Disturbance()
    kinds: str = "all"

    def __post_init__(self) -> None:
        if self.kinds not in CHOICES:
            raise ValueError(f"The kinds are {self.kinds!r}; choose {' or '.join(CHOICES)}.")
        if self.targets not in (1, 2):
            raise ValueError(f"targets is {self.targets}; choose 1 or 2.")
        if self.square and (self.frames != 4 or self.acts != 3 or self.gradual):
            raise ValueError("A square has 4 frames and 3 actions, each in one step: leave out the other choices.")
        if not 2 <= self.frames <= MOST_FRAMES:
            raise ValueError(f"frames is {self.frames}; give 2 to {MOST_FRAMES}.")
        if not 0 <= self.acts < self.frames:
            raise ValueError(f"acts is {self.acts}; {self.frames} frames have room for 0 to {self.frames - 1}.")
        for name, least in (("num", 1), ("image_size", 32), ("seed", 0), ("per_unit", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least {least}.")


class SequencesSource(ClassSource):
    """Renders sequences, `unit-00000`, `unit-00001` and so on (see `data_scripts.builds.work_units.Source`)."""

    def __init__(self, choice: SequenceSettings) -> None:
        self.actions, self.objects = list(ACTIONS), sorted(CHOICES[choice.kinds])
        self.choice = choice
        self._renderer: RoomRenderer | None = None

    @property
    def features(self) -> Features:
        """The columns, with these classes."""
        return sequence_features(self.actions, self.objects)

    def settings(self) -> dict[str, Any]:
        """The settings as JSON."""
        return {"source": "rooms sequences", **asdict(self.choice)}

    def units(self) -> list[str]:
        """Names of the units."""
        return [f"unit-{number:05d}" for number in range(-(-self.choice.num // self.choice.per_unit))]

    def build(self, unit: str) -> UnitRows:
        """Render a unit's sequences."""
        if self._renderer is None:
            self._renderer = RoomRenderer(self.choice.image_size)
        start = int(unit.removeprefix("unit-")) * self.choice.per_unit
        rows: list[dict[str, Any]] = []
        rejected: Counter[str] = Counter()
        for number in range(start, min(start + self.choice.per_unit, self.choice.num)):
            made, reasons = render_sequence(self._renderer, number, self.choice)
            rows.append(sequence_row(made, self.actions, self.objects))
            rejected += reasons
        return UnitRows(rows, dict(rejected))

    def close(self) -> None:
        """Close the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def draw_script(rng: np.random.Generator, number: int, settings: SequenceSettings) -> Script:
    """The script of the sequence with this number; kinds, or pairs of changes, take turns in a shuffled order."""
    if settings.targets == 1 and (settings.square or settings.acts > 1):
        name, *changes = _turn(settings, number, kind_pairs(settings.kinds))
        if settings.square:
            return draw_square(rng, [name], (changes[0], changes[1]))
        return draw_walk(rng, [name], settings.frames, settings.acts, settings.gradual)
    names = [_turn(settings, number, sorted(CHOICES[settings.kinds]))]
    if settings.targets == 2:
        table = OBJECT_TYPES[names[0]].place == "table"
        beside = [name for name in sorted(CHOICES[settings.kinds]) if (OBJECT_TYPES[name].place == "table") == table]
        names.append(str(rng.choice([name for name in beside if name != names[0]])))
    if settings.square:
        changes = [str(rng.choice(OBJECT_TYPES[name].changes)) for name in names]
        if not set(changes) & BACK.keys():
            return draw_script(rng, number, settings)  # another companion, or another change
        return draw_square(rng, names, (changes[0], changes[1]))
    return draw_walk(rng, names, settings.frames, settings.acts, settings.gradual)


def render_sequence(
    renderer: RoomRenderer, number: int, settings: SequenceSettings
) -> tuple[FrameSequence, Counter[str]]:
    """One sequence, and what was rejected before it; each room is drawn with a script of its own.

    Raises:
        UnitError: None of `ROOMS` rooms gave an acceptable one.
    """
    rejected: Counter[str] = Counter()
    for attempt in range(ROOMS):
        rng = np.random.default_rng([settings.seed, 7, number, attempt])
        script = draw_script(rng, number, settings)
        try:
            scene = furnish(rng, [(name, _widest(name)) for name in script.targets], settings.kinds)
        except NoRoomError:
            rejected["no room"] += 1
            continue
        for _ in range(CAMERAS):
            try:
                made = make_sequence(renderer, scene, script, rng, settings.disturbance)
            except RejectedError as error:
                rejected[error.reason] += 1
                continue
            # Seeds differ in their rooms, so that data sets of several seeds can be used together.
            made.scene = f"room-{settings.seed}-{number:05d}"
            made.sequence_id = f"rooms-sequence-{settings.seed}-{number:05d}"
            return made, rejected
    raise UnitError(
        f"Sequence {number} ({' and '.join(script.targets)}) was not acceptable in any of {ROOMS} rooms (rejected: "
        f"{dict(rejected)}): use larger pictures or another seed."
    )


def sequence_row(made: FrameSequence, actions: list[str], objects: list[str]) -> dict[str, Any]:
    """A row of `sequence_features`, with frames as PNG."""
    script = made.script
    acts = [
        (actions.index(act.action), objects.index(script.targets[act.target]), act.onset, act.end)
        for act in script.acts
    ]
    classes = dict(zip(("actions", "objects", "onset", "end"), step_classes(script.frames, acts), strict=True))
    return classes | {
        "frames": [{"bytes": png(frame), "path": None} for frame in made.frames],
        "amount": [[act.done(t) for t in range(script.frames)] for act in script.acts],
        "box": list(made.box),
        "scene": made.scene,
        "sequence_id": made.sequence_id,
    }


def _turn(settings: SequenceSettings, number: int, choices: list[Any]) -> Any:
    """Each of the choices once in every round, in an order of the round's own."""
    rounds, place = divmod(number, len(choices))
    return choices[int(np.random.default_rng([settings.seed, rounds, 8]).permutation(len(choices))[place])]


def _widest(name: str) -> str:
    """The property whose change needs most room: what opens swings out, what breaks flies apart."""
    changes = OBJECT_TYPES[name].changes
    return next((change for change in ("open", "broken", "sliced") if change in changes), changes[0])
