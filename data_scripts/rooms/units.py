"""Rooms as a source of work units: a unit is a fixed number of pairs, whose scenes depend on the settings alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from data_scripts.builds.work_units import UnitRows
from data_scripts.rooms.objects import ACTION_EFFECTS, ACTIONS, OBJECTS
from data_scripts.rooms.pairs import Noise, Pair, RejectedError, make_pair
from data_scripts.rooms.renderer import RoomRenderer
from data_scripts.rooms.scene import NoRoomError, Scene, furnish
from data_scripts.rooms.schedule import SceneTask, unit_tasks
from data_scripts.rooms.writers import pair_row
from modeling_cde.data.schema import VIEWS

if TYPE_CHECKING:
    from datasets import Features

SCENE_ATTEMPTS, CAMERA_ATTEMPTS = 25, 10


class UnitError(RuntimeError):
    """A scene could not be rendered; the message names it."""


@dataclass(frozen=True)
class Settings:
    """What the pictures depend on; stored beside the units, so that a rerun cannot mix two data sets.

    Attributes:
        view: "single" (the camera is framed on the target) or "multi" (at least two candidates in view).
        num_pairs: pairs in total.
        image_size: side of the pictures in pixels.
        seed: of everything random.
        pairs_per_unit: pairs in a work unit.
        noise: what changes between the pictures apart from the target.
    """

    view: str
    num_pairs: int
    image_size: int
    seed: int
    pairs_per_unit: int
    noise: Noise = Noise()

    def __post_init__(self) -> None:
        if self.view not in VIEWS:
            raise ValueError(f"The view is {self.view!r}; choose single or multi.")
        for name, least in (("num_pairs", 1), ("image_size", 32), ("seed", 0), ("pairs_per_unit", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least {least}.")

    @property
    def num_units(self) -> int:
        """Number of work units."""
        return -(-self.num_pairs // self.pairs_per_unit)


class RoomsSource:
    """Renders pairs of rooms, `unit-00000`, `unit-00001` and so on (see `data_scripts.builds.work_units.Source`).

    Args:
        choice: The settings.
    """

    def __init__(self, choice: Settings) -> None:
        self.choice = choice
        self._renderer: RoomRenderer | None = None

    @property
    def features(self) -> Features:
        """The columns; a property, because workers get a copy of this source and need not import `datasets`."""
        from modeling_cde.data.schema import pair_features

        return pair_features(ACTIONS, OBJECTS)

    @property
    def renderer(self) -> RoomRenderer:
        """The renderer of this process, created at first use."""
        if self._renderer is None:
            self._renderer = RoomRenderer(self.choice.image_size)
        return self._renderer

    def settings(self) -> dict[str, Any]:
        """The settings as JSON."""
        return {"source": "rooms", **asdict(self.choice)}

    def units(self) -> list[str]:
        """Names of the units."""
        return [f"unit-{number:05d}" for number in range(self.choice.num_units)]

    def build(self, unit: str) -> UnitRows:
        """Render a unit's pairs.

        Raises:
            UnitError: A scene gave no acceptable pairs.
        """
        choice = self.choice
        rows: list[dict[str, Any]] = []
        rejected: Counter[str] = Counter()
        number = int(unit.removeprefix("unit-"))
        for task in unit_tasks(choice.seed, number, choice.num_pairs, choice.pairs_per_unit):
            pairs, reasons = render_scene(self.renderer, task, choice)
            rows += [pair_row(pair) for pair in pairs]
            rejected += reasons
        return UnitRows(rows, dict(rejected))

    def close(self) -> None:
        """Close the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def render_scene(renderer: RoomRenderer, task: SceneTask, settings: Settings) -> tuple[list[Pair], Counter[str]]:
    """All pairs of one scene; if one of them is not acceptable in a room, another room is drawn.

    Raises:
        UnitError: None of `SCENE_ATTEMPTS` rooms gave an acceptable set of pairs.
    """
    rejected: Counter[str] = Counter()
    view_number = VIEWS.index(settings.view)
    for attempt in range(SCENE_ATTEMPTS):
        rng = np.random.default_rng([settings.seed, view_number, task.number, attempt])
        try:
            scene = furnish(rng, [(name, ACTION_EFFECTS[action][0]) for action, name in task.combinations])
            pairs = []
            for target, (action, _) in enumerate(task.combinations):
                pair = _try_pair(renderer, scene, target, action, settings, rng, rejected)
                pair.scene = f"room-{task.number:05d}"
                pair.pair_id = f"rooms-{settings.view}-{task.number:05d}-{target:02d}"
                pairs.append(pair)
            return pairs, rejected
        except NoRoomError:
            rejected["no room"] += 1
        except RejectedError:
            continue
    wanted = ", ".join(f"{action} {name}" for action, name in task.combinations)
    raise UnitError(
        f"Scene {task.number} ({wanted}) gave no acceptable pairs in {SCENE_ATTEMPTS} rooms (rejected: "
        f"{dict(rejected)}): use larger pictures or another seed."
    )


def _try_pair(
    renderer: RoomRenderer,
    scene: Scene,
    target: int,
    action: str,
    settings: Settings,
    rng: np.random.Generator,
    rejected: Counter[str],
) -> Pair:
    """A pair from one of several cameras; counts rejections and raises the last one."""
    for attempt in range(CAMERA_ATTEMPTS):
        try:
            return make_pair(renderer, scene, target, action, settings.view, rng, settings.noise)
        except RejectedError as error:
            rejected[error.reason] += 1
            if attempt == CAMERA_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")
