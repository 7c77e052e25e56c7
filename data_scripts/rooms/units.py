"""Rooms as a source of work units: a unit is a fixed number of pairs, whose scenes depend on the settings alone."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_scripts.builds.work_units import ClassSource, UnitRows
from data_scripts.rooms.objects import ACTION_EFFECTS, ACTIONS, CHOICES, OBJECT_TYPES
from data_scripts.rooms.pairs import NOTHING, Noise, Pair, RejectedError, make_pair
from data_scripts.rooms.renderer import RoomRenderer
from data_scripts.rooms.scene import NoRoomError, Scene, furnish
from data_scripts.rooms.schedule import SceneTask, unit_tasks
from modeling_cde.data.schema import VIEWS

if TYPE_CHECKING:
    from datasets import Features

SCENE_ATTEMPTS, CAMERA_ATTEMPTS = 25, 10


class UnitError(RuntimeError):
    """A scene could not be rendered; the message names it."""


@dataclass(frozen=True)
class Settings:
    """What the pictures depend on; stored beside the units, so that a rerun cannot mix two data sets."""

    view: str  # "single" (the camera is framed on the target) or "multi" (at least two candidates in view)
    num_pairs: int  # in total
    image_size: int  # side of the pictures in pixels
    seed: int  # of everything random
    pairs_per_unit: int
    noise: Noise = Noise()
    kinds: str = "all"  # of things: a key of `CHOICES`
    nothing_share: float = 0.0  # of the pairs: those in which nothing happens, and only the noise is to be seen

    def __post_init__(self) -> None:
        if self.view not in VIEWS:
            raise ValueError(f"The view is {self.view!r}; choose single or multi.")
        if self.kinds not in CHOICES:
            raise ValueError(f"The kinds are {self.kinds!r}; choose {' or '.join(CHOICES)}.")
        for name, least in (("num_pairs", 1), ("image_size", 32), ("seed", 0), ("pairs_per_unit", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least {least}.")
        if not 0 <= self.nothing_share <= 1:
            raise ValueError(f"nothing_share is {self.nothing_share}; give a share from 0 to 1.")
        if self.nothing_share and self.noise.none:
            raise ValueError(
                "Pairs in which nothing happens would be equal pictures: give noise beside nothing_share, such as "
                "--camera_cm 1 --light_percent 10."
            )

    @property
    def num_units(self) -> int:
        """Number of work units."""
        return -(-self.num_pairs // self.pairs_per_unit)


class RoomsSource(ClassSource):
    """Renders pairs of rooms, `unit-00000`, `unit-00001` and so on (see `data_scripts.builds.work_units.Source`)."""

    def __init__(self, choice: Settings) -> None:
        self.actions, self.objects = list(ACTIONS), sorted(CHOICES[choice.kinds])
        if choice.nothing_share:
            self.actions.append(NOTHING)
        self.choice = choice
        self._renderer: RoomRenderer | None = None

    @property
    def renderer(self) -> RoomRenderer:
        """The renderer of this process, created at first use."""
        if self._renderer is None:
            self._renderer = RoomRenderer(self.choice.image_size)
        return self._renderer

    @property
    def features(self) -> Features:
        """The columns, with these classes and the mechanism."""
        from modeling_cde.data.schema import pair_features

        return pair_features(self.actions, self.objects, mechanism=True)

    def settings(self) -> dict[str, Any]:
        """The settings as JSON; a share of 0 is left out, as folders from before there was a share lack it."""
        chosen = asdict(self.choice)
        return {"source": "rooms", **{key: value for key, value in chosen.items() if key != "nothing_share" or value}}

    def units(self) -> list[str]:
        """Names of the units."""
        return [f"unit-{number:05d}" for number in range(self.choice.num_units)]

    def build(self, unit: str) -> UnitRows:
        """Render a unit's pairs."""
        choice = self.choice
        rows: list[dict[str, Any]] = []
        rejected: Counter[str] = Counter()
        number = int(unit.removeprefix("unit-"))
        plan = (choice.seed, number, choice.num_pairs, choice.pairs_per_unit, choice.kinds, choice.nothing_share)
        for task in unit_tasks(*plan):
            pairs, reasons = render_scene(self.renderer, task, choice)
            for p in pairs:
                mechanism = NOTHING if p.action == NOTHING else OBJECT_TYPES[p.object].mechanism(p.action)
                columns = pair_columns(p) | {"mechanism": mechanism}
                rows.append(self.row(columns, p.action, p.object, p.scene, p.pair_id))
            rejected += reasons
        return UnitRows(rows, dict(rejected))

    def close(self) -> None:
        """Close the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def pair_columns(pair: Pair) -> dict[str, Any]:
    """The picture columns of a row: pictures and masks as PNG, and the box."""
    pictures = ("before", "after", "mask_before", "mask_after")
    stored: dict[str, Any] = {name: {"bytes": png(getattr(pair, name)), "path": None} for name in pictures}
    return stored | {"box": list(pair.box)}


def png(pixels: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    """PNG bytes of `(H, W, 3)` colours or of an `(H, W)` mask as 0 and 255."""
    image = Image.fromarray(pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


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
            targets = [(name, ACTION_EFFECTS[action][0]) for action, name in task.combinations]
            scene = furnish(rng, targets, settings.kinds)
            pairs = []
            for target, ((action, _), still) in enumerate(zip(task.combinations, task.still, strict=True)):
                pair = _try_pair(renderer, scene, target, action, settings, rng, rejected, still)
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
    still: bool,
) -> Pair:
    """A pair from one of several cameras; counts rejections and raises the last one."""
    for attempt in range(CAMERA_ATTEMPTS):
        try:
            return make_pair(renderer, scene, target, action, settings.view, rng, settings.noise, still)
        except RejectedError as error:
            rejected[error.reason] += 1
            if attempt == CAMERA_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")
