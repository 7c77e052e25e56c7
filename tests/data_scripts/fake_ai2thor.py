"""A stand-in for `ai2thor.controller.Controller` that behaves like the real one, also where that is unpleasant.

- Same signatures, same answers: events with read-only, bottom-up, four-channel frames; lazy masks; inclusive boxes;
  `lastActionSuccess` false for what is refused; ValueError for unknown actions and bad arguments.
- Its "Unity" is a real child process. Materials and light come from a generator that only SetRandomSeed seeds and
  that no reset clears, as in Unity; InitialRandomSpawn has a seed of its own.
- `Faults` make it crash, freeze, refuse, lose masks or leave its child behind: so many times, counted on disk, across
  all processes of a build.

A house shows its objects in a grid of 3 by 3 cells. Which objects are in view, where and how large, follows from the
agent's place and heading.
"""

from __future__ import annotations

import copy
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_scripts.procthor.simulator import Camera, Machine
from data_scripts.procthor.thor import Ai2Thor

_TYPES = {
    "openable": "Book Box Cabinet Drawer Fridge Laptop Microwave Safe ShowerCurtain Toilet",
    "toggleable": "CellPhone DeskLamp Faucet FloorLamp Laptop Microwave StoveKnob Television Toaster",
    "breakable": "Bowl CellPhone Egg Laptop Mug Plate Statue Television Vase",
    "dirtyable": "Bed Bowl Cloth Mug Pan Plate Pot",
    "sliceable": "Apple Bread Egg Lettuce Potato",
    "canBeUsedUp": "PaperTowelRoll SoapBottle TissueBox",
}
ABILITIES: dict[str, tuple[str, ...]] = {
    name: tuple(ability for ability, names in _TYPES.items() if name in names.split())
    for name in sorted({"Chair", *" ".join(_TYPES.values()).split()})
}
STATES = {
    "openable": "isOpen",
    "toggleable": "isToggled",
    "breakable": "isBroken",
    "dirtyable": "isDirty",
    "sliceable": "isSliced",
    "canBeUsedUp": "isUsedUp",
}
EFFECTS = {
    "OpenObject": ("openable", True),
    "CloseObject": ("openable", False),
    "ToggleObjectOn": ("toggleable", True),
    "ToggleObjectOff": ("toggleable", False),
    "DirtyObject": ("dirtyable", True),
    "CleanObject": ("dirtyable", False),
    "BreakObject": ("breakable", True),
    "SliceObject": ("sliceable", True),
    "UseUpObject": ("canBeUsedUp", True),
}
PARAMETERS: dict[str, set[str]] = {
    "TeleportFull": {"position", "rotation", "horizon", "standing", "forceAction"},
    "GetReachablePositions": {"maxStepCount", "directionsRelativeAgent", "gridSize"},
    "InitialRandomSpawn": {"randomSeed", "forceVisible", "placeStationary", "numPlacementAttempts", "allowFloor"},
    "SetRandomSeed": {"seed"},
    "RandomizeMaterials": {"useTrainMaterials", "useValMaterials", "useTestMaterials", "inRoomTypes"},
    "RandomizeLighting": {"brightness", "randomizeColor", "hue", "saturation", "synchronized"},
    **{name: {"objectId", "forceAction"} for name in EFFECTS},
    "OpenObject": {"objectId", "forceAction", "openness"},
}


class RestartError(RuntimeError):
    """As `ai2thor.exceptions.RestartError`."""


@dataclass(frozen=True)
class Faults:
    """What goes wrong, and how often in a whole build.

    Attributes:
        folder: Where it is counted; None counts nothing, so that every fault stays.
        times: Fault -> how often it happens. Faults: "start crash", "start freeze", "start timeout", "reset restart",
            "house refused", "house invalid", "no positions", "position refused", "action refused",
            "agent in the way", "unknown action", "bad argument", "no effect", "no mask", "no frame", "step timeout",
            "step hang", "die", "leak", "stop hang", "stop error", "materials refused".
        house: The only house that they happen in; None for all.
    """

    folder: Path | None = None
    times: Mapping[str, int] = field(default_factory=dict)
    house: int | None = None

    def strike(self, name: str, house: int | None = None) -> bool:
        if name not in self.times or (self.house is not None and house not in (None, self.house)):
            return False
        if self.folder is None:
            return True
        for count in range(self.times[name]):
            try:
                (self.folder / f"{name} {count}").open("x").close()
            except FileExistsError:
                continue
            return True
        return False


def make_house(
    number: int, types: str = "Fridge FloorLamp Bed Apple TissueBox Vase Laptop Mug Drawer"
) -> dict[str, Any]:
    """A house as the file of houses has it, as far as the generator and the fake look at it."""
    objects: list[dict[str, Any]] = [
        {"id": f"{name}|{number}|{index}", "assetId": f"{name}_{index}"} for index, name in enumerate(types.split())
    ]
    # Small things stand on furniture: they are children of what they stand on.
    return {
        "objects": objects[:2] + [{**objects[2], "children": objects[3:]}] if len(objects) > 3 else objects,
        "metadata": {
            "schema": "1.0.0",
            "agent": {
                "position": {"x": 1.0, "y": 0.95, "z": 1.0},
                "rotation": {"x": 0, "y": 90, "z": 0},
                "horizon": 30,
                "standing": True,
            },
        },
        "number": number,
    }


@dataclass(frozen=True)
class FakeStart:
    """Starts `Ai2Thor` on a fake controller; picklable, as a source has to be."""

    faults: Faults = Faults()

    def __call__(self, camera: Camera, machine: Machine) -> Ai2Thor:
        return Ai2Thor(camera, machine, self.make)

    def make(self, **arguments: Any) -> FakeController:
        return FakeController(faults=self.faults, **arguments)


class FakeMasks(Mapping[str, NDArray[np.bool_]]):
    """As `LazyInstanceSegmentationMasks`: an object without a pixel is missing."""

    def __init__(self, image_ids_data: bytes, metadata: dict[str, Any]) -> None:
        shape = (metadata["screenHeight"], metadata["screenWidth"])
        self._ids = np.flip(np.frombuffer(image_ids_data, np.uint32).reshape(shape), axis=0)
        self._colors = {item["name"]: item["color"] for item in metadata["colors"] if "|" in item["name"]}

    def __getitem__(self, key: str) -> NDArray[np.bool_]:
        mask = self._ids == np.array([*self._colors[key], 255], np.uint8).view(np.uint32)[0]
        if not mask.any():
            raise KeyError(key)
        return mask

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._colors if self.get(name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class FakeBoxes(Mapping[str, tuple[int, int, int, int]]):
    """As `LazyInstanceDetections2D`: inclusive bounds."""

    def __init__(self, masks: FakeMasks) -> None:
        self._masks = masks

    def __getitem__(self, key: str) -> tuple[int, int, int, int]:
        rows, columns = np.nonzero(self._masks[key])
        return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)


class FakeEvent:
    """As `ai2thor.server.Event`."""

    def __init__(self, metadata: dict[str, Any]) -> None:
        self.metadata = metadata
        self.screen_width, self.screen_height = metadata["screenWidth"], metadata["screenHeight"]
        self.frame: NDArray[np.uint8] | None = None
        self.instance_detections2D: FakeBoxes | None = None
        self.instance_masks: Mapping[str, NDArray[np.bool_]] = {}

    def add_image(self, image_data: bytes) -> None:
        pixels = np.frombuffer(image_data, np.uint8).reshape(self.screen_height, self.screen_width, -1)
        self.frame = np.flip(pixels, axis=0)[:, :, :3]

    def add_image_ids(self, image_ids_data: bytes) -> None:
        self.instance_masks = FakeMasks(image_ids_data, self.metadata)
        self.instance_detections2D = FakeBoxes(self.instance_masks)

    def __bool__(self) -> bool:
        return bool(self.metadata["lastActionSuccess"])


@dataclass
class _Thing:
    """An object of the opened house."""

    id: str
    type: str
    cell: int
    hue: int
    state: dict[str, bool]
    gone: bool = False


class FakeController:
    """As `ai2thor.controller.Controller`; `faults` is its only own argument."""

    def __init__(
        self,
        quality: str = "Ultra",
        fullscreen: bool = False,
        headless: bool = False,
        port: int = 0,
        start_unity: bool = True,
        local_executable_path: str | None = None,
        local_build: bool = False,
        commit_id: str | None = "f0825767cd50d69f666c7f282e54abfe58f1e917",
        branch: str | None = None,
        width: int = 300,
        height: int = 300,
        x_display: str | None = None,
        host: str = "127.0.0.1",
        scene: Any = None,
        image_dir: str = ".",
        save_image_per_frame: bool = False,
        depth_format: Any = None,
        add_depth_noise: bool = False,
        download_only: bool = False,
        include_private_scenes: bool = False,
        server_class: Any = None,
        gpu_device: int | None = None,
        platform: Any = None,
        server_timeout: float | None = 100.0,
        server_start_timeout: float = 300.0,
        *,
        faults: Faults = Faults(),
        **unity_initialization_parameters: Any,
    ) -> None:
        assert scene == "Procedural" and platform in ("CloudRendering", "Linux64")
        self.width, self.height, self.faults = width, height, faults
        self.initialization_parameters = unity_initialization_parameters
        self.scene: Any = None
        self.last_event: FakeEvent | None = None
        self.steps: list[dict[str, Any]] = []
        self._unity = _start_unity(faults)
        self.unity_pid: int | None = self._unity.pid
        self._random = random.Random(os.urandom(8))
        self._things: list[_Thing] = []
        self._pose = (0.0, 0.0, 0.0)
        self._tint = 0
        if faults.strike("start crash"):
            raise Exception("Unity process has exited - check Player.log for errors. returncode=-11")
        if faults.strike("start timeout"):
            raise TimeoutError("Reading from AI2-THOR backend timed out (using 300.0s) timeout.")
        if faults.strike("start freeze"):
            _hang()

    def reset(self, scene: Any = None, **init_params: Any) -> FakeEvent:
        house = self.scene if scene is None else scene
        number = house["number"]
        if self.faults.strike("die", number):
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.faults.strike("reset restart", number):
            # The library starts another Unity by itself, and then raises.
            self._unity.kill()
            self._unity.wait()
            self._unity = _start_unity(self.faults)
            self.unity_pid = self._unity.pid
            raise RestartError("Restarting unity due to crash when when running action {'action': 'CreateHouse'}")
        self.initialization_parameters.update(init_params)
        if self.faults.strike("house invalid", number):
            self._answer("CreateHouse", False, "Value cannot be null", "InvalidArgument")
            raise ValueError("Value cannot be null")
        if self.faults.strike("house refused", number):
            return self._answer("CreateHouse", False, "Asset 'Fridge_99' not found in the asset database.")
        self.scene = house
        waiting, self._things = list(house["objects"]), []
        while waiting:
            item = waiting.pop(0)
            waiting += item.get("children", [])
            kind, index = item["id"].split("|")[0], len(self._things)
            state = {STATES[ability]: False for ability in ABILITIES[kind]}
            self._things.append(_Thing(item["id"], kind, index % 9, 20 * index % 160, state))
        return self._answer("CreateHouse", True)

    def step(self, action: str | dict[str, Any] | None = None, **action_args: Any) -> FakeEvent:
        request = copy.deepcopy(action) if isinstance(action, dict) else {"action": action}
        action_args.pop("raise_for_failure", None)
        request.update(copy.deepcopy(action_args))
        self.steps.append(request)
        name, number = str(request["action"]), self.scene["number"]
        if self.faults.strike("step timeout", number):
            self._unity.kill()
            raise TimeoutError(f"Error encountered when running action {request} in scene Procedural.")
        if self.faults.strike("step hang", number):
            _hang()
        if name not in PARAMETERS or self.faults.strike("unknown action", number):
            self._answer(name, False, f"Invalid action: {name}", "InvalidAction")
            raise ValueError(f"Invalid action: {name}")
        unknown = set(request) - {"action"} - PARAMETERS[name]
        if unknown:
            self._answer(name, False, f"invalid argument {unknown}", "InvalidArgument")
            raise ValueError(f"invalid argument {unknown}")
        if name in EFFECTS:
            return self._act(name, str(request["objectId"]), number)
        return getattr(self, f"_{name}")(request, number)  # type: ignore[no-any-return]

    def stop(self) -> None:
        if self.faults.strike("stop hang"):
            _hang()
        if self.faults.strike("stop error"):
            raise BrokenPipeError("the pipe is closed")
        if not self.faults.strike("leak"):
            self._unity.kill()
            self._unity.wait()

    def _TeleportFull(self, request: dict[str, Any], number: int) -> FakeEvent:
        assert set(request) == {"action", "position", "rotation", "horizon", "standing"}
        if self.faults.strike("position refused", number):
            return self._answer("TeleportFull", False, "Collided with: Wall.")
        self._pose = (request["position"]["x"], request["position"]["z"], request["rotation"]["y"])
        return self._answer("TeleportFull", True)

    def _GetReachablePositions(self, request: dict[str, Any], number: int) -> FakeEvent:
        if self.faults.strike("no positions", number):
            return self._answer("GetReachablePositions", False, "No reachable position", returns=None)
        grid = [{"x": 0.25 * x, "y": 0.95, "z": 0.25 * z} for x in range(8) for z in range(8)]
        random.shuffle(grid)  # the order is nowhere promised
        return self._answer("GetReachablePositions", True, returns=grid)

    def _InitialRandomSpawn(self, request: dict[str, Any], number: int) -> FakeEvent:
        cells = list(range(9))
        random.Random(request["randomSeed"]).shuffle(cells)
        for index, thing in enumerate(self._things):
            thing.cell = cells[index % 9]
        return self._answer("InitialRandomSpawn", True)

    def _SetRandomSeed(self, request: dict[str, Any], number: int) -> FakeEvent:
        self._random = random.Random(request["seed"])
        return self._answer("SetRandomSeed", True)

    def _RandomizeMaterials(self, request: dict[str, Any], number: int) -> FakeEvent:
        if self.faults.strike("materials refused", number):
            return self._answer("RandomizeMaterials", False, "no materials")
        for thing in self._things:
            thing.hue = self._random.randrange(160)
        return self._answer("RandomizeMaterials", True)

    def _RandomizeLighting(self, request: dict[str, Any], number: int) -> FakeEvent:
        self._tint = self._random.randrange(60)
        return self._answer("RandomizeLighting", True)

    def _act(self, name: str, object_id: str, number: int) -> FakeEvent:
        thing = next(thing for thing in self._things if thing.id == object_id)
        ability, goal = EFFECTS[name]
        if ability not in ABILITIES[thing.type] or self.faults.strike("bad argument", number):
            self._answer(name, False, f"{object_id} is not {ability}", "InvalidArgument")
            raise ValueError(f"{object_id} is not {ability}")
        if self.faults.strike("agent in the way", number):
            return self._answer(name, False, "Object failed to open/close successfully.")
        if self.faults.strike("action refused", number) or not self._visible(thing):
            return self._answer(name, False, f"{object_id} must be visible")
        if not self.faults.strike("no effect", number):
            thing.state[STATES[ability]] = goal
        if name == "SliceObject":
            thing.gone = True
            for piece in (1, 2):
                self._things.append(_Thing(f"{thing.id}|{thing.type}Sliced_{piece}", "Piece", thing.cell, 200, {}))
        if self.faults.strike("no mask", number):
            thing.gone = True
        return self._answer(name, True)

    def _visible(self, thing: _Thing) -> bool:
        x, z, heading = self._pose
        return not thing.gone and (int(4 * x) + int(4 * z) + int(heading) // 60 + thing.cell) % 3 != 0

    def _area(self, thing: _Thing) -> tuple[slice, slice]:
        """Rows and columns of an object: its size varies with the place that it is seen from."""
        size, cell = self.width, self.width // 3
        row, column = divmod(thing.cell, 3)
        side = min(cell - 8, 50 + (int(8 * self._pose[0]) * 7 + thing.cell * 13) % 70)
        side = min(side + 20 * thing.state.get("isOpen", False), cell)
        top, left = row * cell + (cell - side) // 2, column * cell + (cell - side) // 2
        if thing.type == "Piece":
            half = side // 2
            left += half * (thing.id[-1] == "2")
            return slice(top, min(top + side, size)), slice(left, left + half)
        return slice(top, min(top + side, size)), slice(left, min(left + side, size))

    def _answer(self, name: str, success: bool, message: str = "", code: str = "", returns: Any = None) -> FakeEvent:
        """An event, with the bytes that Unity would send: RGBA, the last row first."""
        pixels = np.full((self.height, self.width, 4), 255, np.uint8)
        # A television that is on lights the room.
        lit = any(thing.type == "Television" and thing.state["isToggled"] for thing in self._things)
        pixels[:, :, :3] = 90 + self._tint + 20 * lit
        ids = np.zeros((self.height, self.width, 4), np.uint8)
        ids[:, :, 3] = 255
        objects, colors = [], [{"name": "Wall", "color": [0, 0, 0]}]
        for index, thing in enumerate(self._things):
            color = [index + 1, 7, 3 * index]
            colors.append({"name": thing.id, "color": color})
            visible = self._visible(thing)
            if visible:
                rows, columns = self._area(thing)
                pixels[rows, columns, :3] = (thing.hue, 250 - thing.hue, 40 + 30 * sum(thing.state.values()))
                ids[rows, columns, :3] = color
            abilities = ABILITIES.get(thing.type, ())
            objects.append(
                {
                    "objectId": thing.id,
                    "objectType": thing.type,
                    "visible": visible,
                    **{ability: ability in abilities for ability in STATES},
                    **{state: thing.state.get(state, False) for state in STATES.values()},
                }
            )
        self.last_event = FakeEvent(
            {
                "lastAction": name,
                "lastActionSuccess": success,
                "errorMessage": message,
                "errorCode": code,
                "actionReturn": returns,
                "screenWidth": self.width,
                "screenHeight": self.height,
                "objects": objects,
                "colors": colors,
            }
        )
        self.bytes = np.flip(pixels, axis=0).tobytes(), np.flip(ids, axis=0).tobytes()
        if not self.faults.strike("no frame"):
            self.last_event.add_image(self.bytes[0])
        self.last_event.add_image_ids(self.bytes[1])
        return self.last_event


def _start_unity(faults: Faults) -> subprocess.Popen[bytes]:
    """A process that can be told by the folder of its faults; it does not end with its parent."""
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", f"import time; time.sleep(600)  # {faults.folder}"])


def _hang() -> None:
    time.sleep(600)
