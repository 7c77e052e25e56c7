"""Work units: a fixed number of pairs, rendered in one process, written under a temporary name and then renamed."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_scripts.rooms.objects import ACTION_EFFECTS
from data_scripts.rooms.pairs import Noise, Pair, RejectedError, make_pair
from data_scripts.rooms.renderer import RoomRenderer
from data_scripts.rooms.scene import NoRoomError, Scene, furnish
from data_scripts.rooms.schedule import SceneTask, unit_tasks
from data_scripts.rooms.writers import LAYOUTS, write_houses, write_shard

SCENE_ATTEMPTS, CAMERA_ATTEMPTS = 25, 10


class UnitError(RuntimeError):
    """A work unit failed; the message names it."""


@dataclass(frozen=True)
class Settings:
    """What a data set's pictures depend on; stored beside the units, so that a rerun cannot mix two data sets.

    Attributes:
        view: "single" (the camera is framed on the target) or "multi" (at least two candidates in view).
        num_pairs: pairs in all.
        image_size: side of the pictures in pixels.
        seed: of everything that is drawn.
        pairs_per_unit: pairs of a work unit.
        layout: "datasets" (Parquet shards) or "causal_triplet" (a folder a scene).
        noise: what else changes between the pictures.
    """

    view: str
    num_pairs: int
    image_size: int
    seed: int
    pairs_per_unit: int
    layout: str = "datasets"
    noise: Noise = Noise()

    def __post_init__(self) -> None:
        if self.view not in ("single", "multi"):
            raise ValueError(f"The view is {self.view!r}; choose single or multi.")
        if self.layout not in LAYOUTS:
            raise ValueError(f"The layout is {self.layout!r}; choose {' or '.join(LAYOUTS)}.")
        for name, least in (("num_pairs", 1), ("image_size", 32), ("seed", 0), ("pairs_per_unit", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least {least}.")

    @property
    def num_units(self) -> int:
        """Number of work units."""
        return -(-self.num_pairs // self.pairs_per_unit)

    def to_dict(self) -> dict[str, object]:
        """As stored in settings.json."""
        return asdict(self)


@dataclass
class UnitReport:
    """What a unit cost: pairs, rejected tries by reason, seconds in all and in OpenGL."""

    unit: int
    pairs: int
    rejected: dict[str, int]
    seconds: float = 0.0
    rendering_seconds: float = 0.0


def report_path(folder: Path, unit: int) -> Path:
    """Where the report of a finished unit stands; it is written last, so that it marks the unit as done."""
    return folder / f"unit-{unit:05d}.json"


def render_scene(renderer: RoomRenderer, task: SceneTask, settings: Settings) -> tuple[list[Pair], Counter[str]]:
    """All pairs of one scene; a room in which one of them cannot be had is drawn anew.

    Raises:
        UnitError: `SCENE_ATTEMPTS` rooms in turn gave no acceptable set of pairs.
    """
    rejected: Counter[str] = Counter()
    view_number = ("single", "multi").index(settings.view)
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
        f"Scene {task.number} ({wanted}) gave no acceptable pairs in {SCENE_ATTEMPTS} rooms, rejected for "
        f"{dict(rejected)}: take larger pictures or another seed."
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
    """A pair from one of several cameras; counts what is rejected and raises the last reason."""
    for attempt in range(CAMERA_ATTEMPTS):
        try:
            return make_pair(renderer, scene, target, action, settings.view, rng, settings.noise)
        except RejectedError as error:
            rejected[error.reason] += 1
            if attempt == CAMERA_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def build_unit(renderer: RoomRenderer, folder: Path, unit: int, settings: Settings, schema: pa.Schema) -> UnitReport:
    """Render a unit and write it; afterwards its report stands in the folder.

    Args:
        renderer: of the settings' picture size.
        folder: of the data set's units.
        unit: its number.
        settings: of the data set.
        schema: `shard_schema()`.

    Raises:
        UnitError: anything went wrong; the message names the unit.
    """
    start, drawn = time.perf_counter(), renderer.seconds
    try:
        pairs: list[Pair] = []
        rejected: Counter[str] = Counter()
        for task in unit_tasks(settings.seed, unit, settings.num_pairs, settings.pairs_per_unit):
            more, reasons = render_scene(renderer, task, settings)
            pairs += more
            rejected += reasons
        if settings.layout == "datasets":
            write_shard(pairs, folder / f"unit-{unit:05d}.parquet", schema)
        else:
            write_houses(pairs, folder)
        report = UnitReport(unit, len(pairs), dict(sorted(rejected.items())))
        temporary = folder / f".unit-{unit:05d}.json.tmp"
        # No times in the file: equal settings give equal files.
        temporary.write_text(json.dumps({"pairs": report.pairs, "rejected": report.rejected}) + "\n")
        os.replace(temporary, report_path(folder, unit))
    except Exception as error:
        raise UnitError(f"Work unit {unit} of {folder} failed: {type(error).__name__}: {error}") from error
    report.seconds = time.perf_counter() - start
    report.rendering_seconds = renderer.seconds - drawn
    return report
