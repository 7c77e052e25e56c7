"""Things as a source of work units: a unit is one action on one thing on one stage, in several views and lights."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_scripts.builds.work_units import ClassSource, UnitRows, json_sha256
from data_scripts.rooms.objects import ACTION_EFFECTS
from data_scripts.rooms.pairs import Pair, RejectedError
from data_scripts.rooms.units import UnitError, pair_columns
from data_scripts.simulators.models import ModelFiles
from data_scripts.simulators.pairs import draw_stage, make_pair
from data_scripts.simulators.stage import Stage
from data_scripts.simulators.things import LIBERO, THINGS, Simulator, Thing

CAMERA_ATTEMPTS = 40


@dataclass(frozen=True)
class Settings:
    """What the pictures depend on, apart from the table of things; stored beside the units."""

    num_pairs: int  # in total
    image_size: int  # side of the pictures in pixels
    seed: int  # of everything random
    pairs_per_unit: int

    def __post_init__(self) -> None:
        for name, least in (("num_pairs", 1), ("image_size", 32), ("seed", 0), ("pairs_per_unit", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} is {getattr(self, name)}; give at least {least}.")


class SimulatorSource(ClassSource):
    """Renders pairs of things, `unit-00000`, `unit-00001` and so on (see `data_scripts.builds.work_units.Source`)."""

    def __init__(
        self,
        choice: Settings,
        packages: Path | None = None,
        things: Sequence[Thing] = THINGS,
        backgrounds: Simulator = LIBERO,
    ) -> None:
        """Take note of what to render; opens nothing.

        Args:
            choice: See there.
            packages: Folder that keeps the simulators' packages, see `ModelFiles`.
            things: What is shown.
            backgrounds: Whose textures floors and walls have.
        """
        self.choice, self.packages, self.things, self.backgrounds = choice, packages, tuple(things), backgrounds
        changes = {thing.change for thing in things}
        self.actions = [action for action, (change, _) in ACTION_EFFECTS.items() if change in changes]
        self.objects = sorted(thing.name for thing in things)
        self._files: ModelFiles | None = None

    def settings(self) -> dict[str, Any]:
        """The settings as JSON, with the hashes of what is read and of the table."""
        return {
            "source": "simulators",
            "view": "single",
            **asdict(self.choice),
            "packages": {
                package.name: package.sha256 for simulator in self.simulators() for package in simulator.packages
            },
            "things": json_sha256([asdict(thing) for thing in self.things]),
        }

    def units(self) -> list[str]:
        """Names of the units."""
        return [f"unit-{number:05d}" for number in range(-(-self.choice.num_pairs // self.choice.pairs_per_unit))]

    def simulators(self) -> list[Simulator]:
        """The simulators that are read, each once."""
        return list(dict.fromkeys([self.backgrounds, *(thing.simulator for thing in self.things)]))

    def combinations(self) -> list[tuple[str, Thing]]:
        """What the units show, in turn. A scene has one action: so a split can hold out combinations without waste."""
        return [
            (action, thing)
            for forth in (True, False)
            for thing in self.things
            for action in self.actions
            if ACTION_EFFECTS[action] == (thing.change, forth)
        ]

    def files(self) -> ModelFiles:
        """The simulators' files in this process, opened at first use, and downloaded if they are missing."""
        if self._files is None:
            self._files = ModelFiles(self.simulators(), self.packages)
        return self._files

    def build(self, unit: str) -> UnitRows:
        """Render a unit's pairs."""
        choice, number = self.choice, int(unit.removeprefix("unit-"))
        action, thing = self.combinations()[number % len(self.combinations())]
        count = min(choice.pairs_per_unit, choice.num_pairs - number * choice.pairs_per_unit)
        rejected: Counter[str] = Counter()
        rng = np.random.default_rng([choice.seed, number])
        stage = draw_stage(self.files(), self.backgrounds, thing, choice.image_size, rng)
        try:
            rows = []
            for k in range(count):
                pair = accepted_pair(stage, action, rng, rejected)
                pair_id = f"simulators-{number:05d}-{k:02d}"
                rows.append(self.row(pair_columns(pair), action, thing.name, f"stage-{number:05d}", pair_id))
        finally:
            stage.close()
        return UnitRows(rows, dict(rejected))

    def close(self) -> None:
        """Close the packages."""
        if self._files is not None:
            self._files.close()
            self._files = None


def accepted_pair(stage: Stage, action: str, rng: np.random.Generator, rejected: Counter[str]) -> Pair:
    """A pair from one of several cameras; counts rejections.

    Raises:
        UnitError: No camera gave an acceptable pair.
    """
    for _ in range(CAMERA_ATTEMPTS):
        try:
            return make_pair(stage, action, rng)
        except RejectedError as error:
            rejected[error.reason] += 1
    raise UnitError(
        f"{action} {stage.thing.name} gave no acceptable pair from {CAMERA_ATTEMPTS} cameras (rejected: "
        f"{json.dumps(rejected)}): use larger pictures or another seed."
    )
