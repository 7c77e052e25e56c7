"""AI2-THOR 5 behind the interface of `simulator`.

Nothing else in the project imports `ai2thor`.

What the library leaves to its callers (read in the source of 5.0.0), and what this file does:

- An action that Unity refuses returns normally with `lastActionSuccess` false, also the `CreateHouse` inside
  `reset`: every answer is checked. Only unknown actions and bad arguments raise, as ValueError.
- A crash of Unity comes as `RestartError` or `UnityCrashException`, and, because reading a closed pipe only waits
  for the time-out, mostly as TimeoutError after `server_timeout` seconds. After any of them the simulator counts as
  lost: the caller stops it and starts another.
- Opening and writing the pipes has no time-out at all (a start-up that freezes, a house larger than the pipe's
  buffer): only a watchdog outside this process ends that, see `data_scripts.builds.worker`.
- `stop()` does not always end Unity, and a constructor that fails leaves it running: this file kills what was started.
- Frames are read-only views of a message: they are copied. Masks are looked up lazily; an object that is not in the
  picture has none. Boxes are inclusive.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_scripts.procthor.acceptance import Box
from data_scripts.procthor.actions import STATE_KEYS, Action
from data_scripts.procthor.failures import explain
from data_scripts.procthor.simulator import (
    Camera,
    HouseError,
    Machine,
    Position,
    Refusal,
    SceneObject,
    SimulatorError,
    View,
)

_DOCS = "https://ai2thor.allenai.org/ithor/documentation"
_STATES, _RANDOM = f"{_DOCS}/object-state-changes/", f"{_DOCS}/objects/domain-randomization/"
_SOURCE = "https://github.com/allenai/ai2thor, unity/Assets/Scripts/"
_ONE_OBJECT = frozenset({"objectId", "forceAction"})

#: Every Unity action that is asked for: the parameters that are given, and where they are documented. Which actions
#: there are is decided in Unity, so that no Python signature tells.
UNITY_ACTIONS: dict[str, tuple[frozenset[str], str]] = {
    "TeleportFull": (frozenset({"position", "rotation", "horizon", "standing"}), f"{_DOCS}/navigation/"),
    "GetReachablePositions": (frozenset(), f"{_SOURCE}BaseFPSAgentController.cs"),
    "InitialRandomSpawn": (
        frozenset({"randomSeed", "forceVisible", "numPlacementAttempts", "placeStationary"}),
        f"{_DOCS}/objects/object-randomization/#initial-random-spawn",
    ),
    "SetRandomSeed": (frozenset({"seed"}), "https://github.com/allenai/ai2thor/pull/823"),
    "RandomizeMaterials": (frozenset(), _RANDOM),
    "RandomizeLighting": (
        frozenset({"brightness", "randomizeColor", "hue", "saturation", "synchronized"}),
        f"{_SOURCE}BaseFPSAgentController.cs",
    ),
    "OpenObject": (_ONE_OBJECT | {"openness"}, _STATES),
    **{f"{verb}Object": (_ONE_OBJECT, _STATES) for verb in ("Close", "Dirty", "Clean", "Break", "Slice", "UseUp")},
    "ToggleObjectOn": (_ONE_OBJECT, _STATES),
    "ToggleObjectOff": (_ONE_OBJECT, _STATES),
}

STOP_SECONDS = 15.0  # that stop() gets before what is left is killed
_log = logging.getLogger(__name__)


def controller_arguments(camera: Camera, machine: Machine) -> dict[str, Any]:
    """Keyword arguments of `ai2thor.controller.Controller`; `platform` by name."""
    arguments: dict[str, Any] = {
        "scene": "Procedural",  # the empty scene that houses are built in
        "platform": machine.platform,
        "width": camera.size,
        "height": camera.size,
        "server_timeout": machine.server_timeout,
        "server_start_timeout": machine.server_start_timeout,
        # From here on parameters of Unity's Initialize.
        "fieldOfView": camera.field_of_view,
        "visibilityDistance": camera.visibility_distance,
        "renderInstanceSegmentation": True,
        "renderDepthImage": False,
    }
    if machine.gpu_device is not None:
        arguments["gpu_device"] = machine.gpu_device
    if machine.commit_id is not None:
        arguments["commit_id"] = machine.commit_id
    return arguments


def make_controller(**arguments: Any) -> Any:
    """An `ai2thor.controller.Controller`, started; the platform is given by name."""
    import ai2thor.controller
    import ai2thor.platform

    platform = ai2thor.platform.STR_PLATFORM_MAP[arguments.pop("platform")]
    return ai2thor.controller.Controller(platform=platform, **arguments)


def installed_build() -> str:
    """Commit of the Unity build that the installed ai2thor starts by default."""
    import ai2thor.build

    return str(ai2thor.build.COMMIT_ID)


class Ai2Thor:
    """AI2-THOR 5 as a `Simulator`; tests pass a fake controller as `make`.

    Raises:
        SimulatorError: It could not start; the message names cause and remedy, if known.
    """

    def __init__(self, camera: Camera, machine: Machine, make: Callable[..., Any] = make_controller) -> None:
        self._camera = camera
        self._controller: Any = None
        present = _children()
        try:
            self._controller = make(**controller_arguments(camera, machine))
        except Exception as error:
            raise SimulatorError(explain("starting", error)) from error
        finally:
            self._processes = _children() - present
            if self._controller is None:
                _kill(self._processes)

    def open_house(self, house: Mapping[str, Any]) -> None:
        def call() -> Any:
            try:
                return self._controller.reset(scene=dict(house))
            except ValueError:  # Unity did not take what the house says; the library raises before it answers
                event = self._controller.last_event
                if event is None or event.metadata["lastAction"] != "CreateHouse":
                    raise
                return event

        event = self._ask("opening a house", call)
        if not event.metadata["lastActionSuccess"]:
            raise HouseError(f"AI2-THOR cannot build the house: {_reason(event)}")
        pose = house.get("metadata", {}).get("agent", {})
        if {"position", "rotation"} <= pose.keys():  # where its makers put the agent: inside, not in a wall
            self._stand(pose["position"], pose["rotation"])

    def rearrange(self, seed: int) -> list[str]:
        # The values are the published ones. Materials and light are drawn from Unity's own random numbers, which the
        # published code left unseeded: the spawn's seed is not, or not in every house, theirs.
        steps: tuple[tuple[str, dict[str, Any]], ...] = (
            (
                "InitialRandomSpawn",
                {"randomSeed": seed, "forceVisible": True, "numPlacementAttempts": 5, "placeStationary": True},
            ),
            ("SetRandomSeed", {"seed": seed}),
            ("RandomizeMaterials", {}),
            (
                "RandomizeLighting",
                {
                    "brightness": (1.0, 1.5),
                    "randomizeColor": True,
                    "hue": (0, 1),
                    "saturation": (0.5, 1),
                    "synchronized": False,
                },
            ),
        )
        return [name for name, parameters in steps if isinstance(self._step(name, **parameters), Refusal)]

    def positions(self) -> list[Position]:
        event = self._step("GetReachablePositions")
        if isinstance(event, Refusal):
            return []
        found = event.metadata["actionReturn"] or []
        return [Position(float(item["x"]), float(item["y"]), float(item["z"])) for item in found]

    def look(self, position: Position, heading: float) -> View | Refusal:
        event = self._stand(position._asdict(), {"x": 0.0, "y": float(heading), "z": 0.0})
        return event if isinstance(event, Refusal) else self._view(event)

    def act(self, action: Action, object_id: str) -> View | Refusal:
        event = self._step(action.unity, objectId=object_id, forceAction=False, **action.parameters)
        return event if isinstance(event, Refusal) else self._view(event)

    def stop(self) -> None:
        controller, self._controller = self._controller, None
        if controller is None:
            return
        # stop() itself may hang, so it runs in a thread that is left behind, and what it leaves is killed.
        thread = threading.Thread(target=_stop, args=(controller,), daemon=True)
        thread.start()
        thread.join(STOP_SECONDS)
        if thread.is_alive():
            _log.warning("AI2-THOR did not stop within %g seconds; killing its processes.", STOP_SECONDS)
        # A crash makes the library start a second Unity, which was not there after the constructor.
        _kill(self._processes | _process(getattr(controller, "unity_pid", None)))

    def _ask(self, doing: str, call: Callable[[], Any]) -> Any:
        if self._controller is None:
            raise SimulatorError("AI2-THOR has been stopped.")
        try:
            return call()
        except Exception as error:  # the library raises errors of many classes, bare Exception among them
            raise SimulatorError(explain(doing, error)) from error

    def _stand(self, position: Mapping[str, float], rotation: Mapping[str, float]) -> Any:
        where = {"position": position, "rotation": rotation, "horizon": self._camera.horizon, "standing": True}
        return self._step("TeleportFull", **where)

    def _step(self, name: str, **parameters: Any) -> Any:
        """The event of an action that was done, or a refusal."""

        def call() -> Any:
            try:
                return self._controller.step(action=name, **parameters)
            except ValueError:
                # Unity did not take the action as it was asked. Of these answers only a bad argument can be due to
                # one object; an unknown action or parameter means that the build is another than this was written for.
                event = self._controller.last_event
                if event is None or event.metadata.get("errorCode") != "InvalidArgument":
                    raise
                return event

        event = self._ask(name, call)
        return event if event.metadata["lastActionSuccess"] else Refusal(_reason(event))

    def _view(self, event: Any) -> View:
        size = (self._camera.size, self._camera.size, 3)
        if event.frame is None or event.frame.shape != size or event.instance_detections2D is None:
            shown = "no picture" if event.frame is None else f"a picture of shape {event.frame.shape}"
            parts = "" if event.instance_detections2D is not None else " without instance segmentation"
            raise SimulatorError(f"AI2-THOR gave {shown}{parts} instead of one of shape {size} with instances.")
        return _EventView(event)


class _EventView:
    """A `View` of an `ai2thor.server.Event`."""

    def __init__(self, event: Any) -> None:
        self.picture: NDArray[np.uint8] = np.array(event.frame, dtype=np.uint8, order="C")
        self.objects: Sequence[SceneObject] = [
            SceneObject(
                item["objectId"],
                item["objectType"],
                bool(item["visible"]),
                {key: bool(item.get(key, False)) for key in STATE_KEYS},
            )
            for item in event.metadata["objects"]
        ]
        self._boxes, self._masks = event.instance_detections2D, event.instance_masks

    def box(self, object_id: str) -> Box | None:
        # `get` and not `in`: a mask that exists but is empty has no box either.
        bounds = self._boxes.get(object_id)
        return None if bounds is None else Box(*(int(bound) for bound in bounds))

    def mask(self, object_id: str) -> NDArray[np.bool_] | None:
        mask = self._masks.get(object_id)
        return None if mask is None else np.array(mask, dtype=bool, order="C")


def _reason(event: Any) -> str:
    return " ".join(str(event.metadata.get("errorMessage") or "no reason given").split())


def _stop(controller: Any) -> None:
    try:
        controller.stop()
    except Exception as error:
        _log.debug("AI2-THOR's stop failed: %r", error)


def _children() -> set[Any]:
    """Processes below this one."""
    import psutil

    try:
        return set(psutil.Process().children(recursive=True))
    except psutil.Error:
        return set()


def _process(pid: int | None) -> set[Any]:
    import psutil

    # Only below this process: the number may belong to another process by now.
    return {process for process in _children() if process.pid == pid} if pid and psutil.pid_exists(pid) else set()


def _kill(processes: set[Any]) -> None:
    import psutil

    for process in list(processes):
        try:
            processes |= set(process.children(recursive=True))
        except psutil.Error:
            continue
    for process in processes:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(list(processes), timeout=5.0)
