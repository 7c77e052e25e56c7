"""ProcTHOR houses as work units: one house is one unit, and a worker keeps one simulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import PIL.Image

from data_scripts.builds.work_units import BadPairError, ClassSource, UnitRows
from data_scripts.causal_triplet_layout import house_name
from data_scripts.procthor.acceptance import rules
from data_scripts.procthor.actions import VERBS, object_classes
from data_scripts.procthor.generator import Pair, Quota, generate_house
from data_scripts.procthor.houses import HouseFile, HouseReader
from data_scripts.procthor.simulator import Camera, HouseError, Machine, Simulator, SimulatorError
from data_scripts.procthor.thor import Ai2Thor
from data_scripts.stored_views import store_pair


def start_ai2thor(camera: Camera, machine: Machine) -> Simulator:
    """AI2-THOR, started; see `Ai2Thor`."""
    return Ai2Thor(camera, machine)


@dataclass
class GeneratedHouses(ClassSource):
    """A `data_scripts.builds.work_units.Source` that takes pairs in a simulator.

    If a simulator is lost, its unit fails; `run_units` kills the process group and tries the unit again in a fresh
    process.

    Attributes:
        houses: From `scan_houses`.
        numbers: The houses to use, ascending.
        view: "single" or "multi"; the same pairs are taken for both, and stored differently.
        seed: Of everything random.
        image_size: Shorter side of the stored pictures, in pixels.
        camera: See there.
        machine: See there; `gpu_devices` replace its GPU.
        quota: See there.
        gpu_devices: Simulators are spread over these; if empty, AI2-THOR chooses.
        build_info: Name -> version of what renders, for the record.
        start: Starts a simulator; a function of a module, or another object that can be pickled.
    """

    houses: HouseFile
    numbers: tuple[int, ...]
    view: str
    seed: int
    image_size: int | None
    camera: Camera = field(default_factory=Camera)
    machine: Machine = field(default_factory=Machine)
    quota: Quota = field(default_factory=Quota)
    gpu_devices: tuple[int, ...] = ()
    build_info: Mapping[str, str] = field(default_factory=dict)
    start: Callable[[Camera, Machine], Simulator] = start_ai2thor

    def __post_init__(self) -> None:
        self._reader: HouseReader | None = None
        self._simulator: Simulator | None = None
        # The verbs are fixed; objects are the types that occur anywhere in the file, and their parts.
        self.actions, self.objects = list(VERBS), object_classes(self.houses.object_types)

    def settings(self) -> dict[str, Any]:
        """Everything that the pairs depend on, except which houses: more can be added later."""
        return {
            "source": "procthor generate",
            "houses_sha256": self.houses.sha256,
            "houses_revision": self.houses.revision,
            **self.build_info,
            "platform": self.machine.platform,
            "view": self.view,
            "seed": self.seed,
            "image_size": self.image_size,
            "camera": asdict(self.camera),
            "rules": rules(),
            "quota": asdict(self.quota),
            "actions": self.actions,
            "objects": self.objects,
        }

    def units(self) -> list[str]:
        return [house_name(number) for number in self.numbers]

    def build(self, unit: str) -> UnitRows:
        """The pairs of a house.

        Raises:
            SimulatorError: The simulator was lost; the message names the house.
            HousesError: The file of houses is not the one that was scanned.
        """
        number = int(unit.removeprefix("proc_"))
        if number in self.houses.problems:
            return UnitRows([], {"bad house": 1}, [self.houses.problems[number]])
        if self._reader is None:
            self._reader = HouseReader(self.houses)
        house = self._reader.read(number)
        try:
            if self._simulator is None:
                self._simulator = self.start(self.camera, self.machine_for(number))
            harvest = generate_house(self._simulator, house, number, self.seed, self.quota)
        except HouseError as error:
            return UnitRows([], {"house refused": 1}, [f"{unit}: {error}"])
        except SimulatorError as error:
            self.close()
            raise SimulatorError(f"{unit}: {error}") from error
        rows: list[dict[str, Any]] = []
        rejected = dict(harvest.rejected)
        for pair in harvest.pairs:
            reason = f"{pair.noun} is not among the object classes"
            if pair.noun in self.objects:
                try:
                    rows.append(self._row(pair, number, len(rows) + 1))
                    continue
                except BadPairError as error:  # small changes can vanish in what is stored
                    reason = error.reason
            rejected[reason] = rejected.get(reason, 0) + 1
        return UnitRows(rows, rejected)

    def close(self) -> None:
        """End the simulator and close the file."""
        if self._simulator is not None:
            self._simulator.stop()
            self._simulator = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def machine_for(self, number: int) -> Machine:
        """The machine for a simulator that starts with this house."""
        # By house: workers do not know of each other, but start with houses that follow each other.
        if not self.gpu_devices:
            return self.machine
        device = self.gpu_devices[self.numbers.index(number) % len(self.gpu_devices)]
        return replace(self.machine, gpu_device=device)

    def _row(self, pair: Pair, number: int, count: int) -> dict[str, Any]:
        # The published single-object setting cuts both pictures by the box after the action.
        before, after, *masks = map(PIL.Image.fromarray, (pair.before, pair.after, pair.mask_before, pair.mask_after))
        stored = store_pair(before, after, pair.box_after, *masks, view=self.view, image_size=self.image_size)
        name = f"procthor-{self.view}-{number:05d}-{count:05d}"
        return self.row(stored, pair.verb, pair.noun, house_name(number), name)
