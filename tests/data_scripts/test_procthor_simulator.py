"""The port to AI2-THOR: every call against the installed package, every failure against a fake that has it."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from data_scripts.procthor import thor
from data_scripts.procthor.actions import ACTIONS, STATE_KEYS
from data_scripts.procthor.failures import explain
from data_scripts.procthor.simulator import Camera, HouseError, Machine, Position, Refusal, SimulatorError, View
from data_scripts.procthor.thor import UNITY_ACTIONS, Ai2Thor, controller_arguments
from tests.data_scripts import fake_ai2thor
from tests.data_scripts.fake_ai2thor import FakeController, FakeEvent, FakeStart, Faults, make_house

ROOT = Path(thor.__file__).parents[2]
CAMERA, HOUSE = Camera(size=360), make_house(4)
ACTION = {action.verb: action for action in ACTIONS}


def start(**times: int) -> Ai2Thor:
    return FakeStart(Faults(None, {name.replace("_", " "): count for name, count in times.items()}))(CAMERA, Machine())


@pytest.fixture
def simulator() -> Any:
    simulator = start()
    simulator.open_house(HOUSE)
    yield simulator
    simulator.stop()


def look(simulator: Ai2Thor) -> View:
    view = simulator.look(Position(0.25, 0.95, 0.5), 30)
    assert not isinstance(view, Refusal)
    return view


def see(simulator: Ai2Thor, kind: str) -> tuple[View, str]:
    """A view in which an object of this kind is visible, and its id."""
    for step in range(8):
        view = simulator.look(Position(0.25 * step, 0.95, 0.5), 30)
        assert not isinstance(view, Refusal)
        for item in view.objects:
            if item.type == kind and item.visible:
                return view, item.id
    raise AssertionError(f"no {kind} in sight")


# --- against the installed package ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ai2thor() -> Any:
    pytest.importorskip("ai2thor", reason="ai2thor is not installed")
    import ai2thor.controller
    import ai2thor.exceptions
    import ai2thor.platform
    import ai2thor.server

    return ai2thor


@pytest.mark.parametrize("machine", [Machine(), Machine("Linux64", 3, "abc", 5.0, 6.0)])
def test_the_constructor_takes_our_arguments(ai2thor: Any, machine: Machine) -> None:
    signature = inspect.signature(ai2thor.controller.Controller.__init__)
    arguments = controller_arguments(Camera(), machine)
    bound = signature.bind(None, **arguments).arguments
    # What the constructor does not name goes to Unity's Initialize.
    assert set(bound["unity_initialization_parameters"]) == {
        "fieldOfView", "visibilityDistance", "renderInstanceSegmentation", "renderDepthImage",
    }  # fmt: skip
    assert bound["width"] == bound["height"] == 672
    assert arguments["platform"] in ai2thor.platform.STR_PLATFORM_MAP
    assert ("gpu_device" in bound) == (machine.gpu_device is not None)
    assert ("commit_id" in bound) == (machine.commit_id is not None)


def test_the_platform_is_given_as_a_class(ai2thor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(ai2thor.controller, "Controller", lambda **arguments: made.append(arguments))
    thor.make_controller(**controller_arguments(Camera(), Machine()))
    assert made[0]["platform"] is ai2thor.platform.CloudRendering


def test_the_installed_build_is_a_commit(ai2thor: Any) -> None:
    assert len(bytes.fromhex(thor.installed_build())) == 20
    real = inspect.signature(ai2thor.controller.Controller.__init__).parameters["commit_id"].default
    assert thor.installed_build() == real


def test_every_method_and_attribute_that_the_port_uses_exists(ai2thor: Any) -> None:
    """Found in the port's source: calls and attributes of a controller and of an event."""
    used: dict[str, set[str]] = {"controller": set(), "event": set()}
    calls: list[ast.Call] = []
    for node in ast.walk(ast.parse(inspect.getsource(thor))):
        if isinstance(node, ast.Attribute):
            owner = (
                node.value.attr.lstrip("_") if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            )
            if owner in used:
                used[owner].add(node.attr)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if isinstance(node.func.value, ast.Attribute) and node.func.value.attr == "_controller":
                calls.append(node)
    used["controller"].remove("Controller")  # of the module ai2thor.controller
    assert used["controller"] == {"step", "reset", "stop", "last_event"}
    assert used["event"] == {"metadata", "frame", "instance_detections2D", "instance_masks"}
    real = ai2thor.controller.Controller
    for call in calls:
        assert isinstance(call.func, ast.Attribute)
        names = [keyword.arg for keyword in call.keywords if keyword.arg]
        inspect.signature(getattr(real, call.func.attr)).bind(None, *call.args, **dict.fromkeys(names))
    inspect.signature(real.stop).bind(None)
    # Attributes are set in the constructors.
    for name in ("last_event", "unity_pid"):
        assert f"self.{name} = " in inspect.getsource(real.__init__)
    event = ai2thor.server.Event({"screenWidth": 4, "screenHeight": 4, "lastActionSuccess": True})
    for name in used["event"]:
        assert hasattr(event, name)
    for key in ("lastActionSuccess", "errorMessage", "errorCode", "actionReturn"):
        assert f'"{key}"' in inspect.getsource(ai2thor.controller) + inspect.getsource(ai2thor.server)


def test_the_fake_has_the_signatures_of_the_real_controller(ai2thor: Any) -> None:
    for name in ("__init__", "reset", "step", "stop"):
        real = inspect.signature(getattr(ai2thor.controller.Controller, name)).parameters
        fake = dict(inspect.signature(getattr(FakeController, name)).parameters)
        fake.pop("faults", None)
        assert list(fake) == list(real)
        for parameter in real:
            assert fake[parameter].kind == real[parameter].kind
            if parameter != "depth_format":
                assert fake[parameter].default == real[parameter].default, parameter
    assert issubclass(ai2thor.exceptions.RestartError, fake_ai2thor.RestartError.__mro__[1])


def test_the_fake_gives_the_events_of_the_real_server(ai2thor: Any) -> None:
    controller = FakeController(width=360, height=360, scene="Procedural", platform="CloudRendering")
    try:
        fake = controller.reset(scene=HOUSE)
        real = ai2thor.server.Event(fake.metadata)
        real.add_image(controller.bytes[0])
        real.add_image_ids(controller.bytes[1])
    finally:
        controller.stop()
    assert np.array_equal(real.frame, fake.frame) and real.frame.dtype == fake.frame.dtype
    assert not real.frame.flags.writeable and not fake.frame.flags.writeable
    assert real.frame.flags.c_contiguous == fake.frame.flags.c_contiguous is False
    assert bool(real) == bool(fake)
    assert set(real.instance_masks) == set(fake.instance_masks) and len(fake.instance_masks) > 2
    for name in fake.instance_masks:
        assert np.array_equal(real.instance_masks[name], fake.instance_masks[name])
        assert real.instance_detections2D[name] == fake.instance_detections2D[name]
    hidden = next(item["objectId"] for item in fake.metadata["objects"] if not item["visible"])
    for event in (real, fake):
        assert event.instance_masks.get(hidden) is None and event.instance_detections2D.get(hidden) is None
        with pytest.raises(KeyError):
            event.instance_detections2D[hidden]
    views = [thor._EventView(event) for event in (real, fake)]
    for item in views[1].objects:
        assert views[0].box(item.id) == views[1].box(item.id)
        masks = [view.mask(item.id) for view in views]
        assert (masks[0] is None) == (masks[1] is None) and np.array_equal(masks[0], masks[1])


def test_boxes_of_the_real_server_are_inclusive(ai2thor: Any) -> None:
    ids = np.zeros((6, 8, 4), np.uint8)
    ids[:, :, 3] = 255
    ids[1:4, 2:7, 0] = 9  # rows 1 to 3, columns 2 to 6
    event = ai2thor.server.Event(
        {"screenWidth": 8, "screenHeight": 6, "colors": [{"name": "Safe|1", "color": [9, 0, 0]}], "objects": []}
    )
    event.add_image_ids(np.flip(ids, axis=0).tobytes())
    event.add_image(np.flip(ids, axis=0).tobytes())
    view = thor._EventView(event)
    assert view.box("Safe|1") == (2, 1, 6, 3) and view.box("Bed|1") is None
    assert np.argwhere(view.mask("Safe|1")).min(0).tolist() == [1, 2]


# --- the Unity actions ------------------------------------------------------------------------------------------


def test_every_unity_action_is_in_the_table_with_its_parameters(simulator: Ai2Thor) -> None:
    simulator.rearrange(5)
    simulator.positions()
    view = look(simulator)
    for action in ACTIONS:
        # Refused for what the action cannot be done to; it is asked for all the same.
        simulator.act(action, view.objects[0].id)
    steps = simulator._controller.steps
    assert {step["action"] for step in steps} == set(UNITY_ACTIONS)
    for step in steps:
        assert set(step) - {"action"} == UNITY_ACTIONS[step["action"]][0]
        assert UNITY_ACTIONS[step["action"]][0] <= fake_ai2thor.PARAMETERS[step["action"]]
    assert all(where.startswith("https://") for _, where in UNITY_ACTIONS.values())
    asked = {step["action"]: step for step in steps}
    assert asked["OpenObject"]["openness"] == 0.8 and asked["OpenObject"]["forceAction"] is False
    assert asked["InitialRandomSpawn"]["randomSeed"] == asked["SetRandomSeed"]["seed"] == 5
    names = [step["action"] for step in steps]
    assert names.index("SetRandomSeed") < names.index("RandomizeMaterials") < names.index("RandomizeLighting")
    assert asked["TeleportFull"]["rotation"] == {"x": 0.0, "y": 30.0, "z": 0.0}
    assert asked["TeleportFull"]["horizon"] == 30.0 and asked["TeleportFull"]["standing"] is True
    # The agent is first put where the house says.
    assert steps[0]["action"] == "TeleportFull" and steps[0]["position"] == HOUSE["metadata"]["agent"]["position"]


# --- answers ----------------------------------------------------------------------------------------------------


def test_a_view_is_a_copy_that_later_actions_do_not_change(simulator: Ai2Thor) -> None:
    before, target = see(simulator, "Fridge")
    kept = before.picture.copy(), before.mask(target), before.box(target)
    assert before.picture.flags.writeable and before.picture.flags.c_contiguous and before.picture.flags.owndata
    after = simulator.act(ACTION["open"], target)
    assert not isinstance(after, Refusal)
    simulator._controller.last_event.frame = None
    assert np.array_equal(before.picture, kept[0]) and not np.array_equal(before.picture, after.picture)
    assert np.array_equal(before.mask(target), kept[1]) and before.box(target) == kept[2] != after.box(target)
    assert not next(item for item in before.objects if item.id == target).state["isOpen"]
    assert next(item for item in after.objects if item.id == target).state["isOpen"]
    assert set(after.objects[0].state) == set(STATE_KEYS)


def test_refusals_come_back_with_their_reason() -> None:
    simulator = start(action_refused=1)
    simulator.open_house(HOUSE)
    _, target = see(simulator, "Fridge")
    refused = simulator.act(ACTION["open"], target)
    assert refused == Refusal(f"{target} must be visible") and not refused.blocked
    simulator.stop()
    simulator = start(agent_in_the_way=1)
    simulator.open_house(HOUSE)
    refused = simulator.act(ACTION["open"], target)
    assert isinstance(refused, Refusal) and refused.blocked
    simulator.stop()


def test_a_bad_argument_is_a_refusal_and_an_unknown_action_an_error(simulator: Ai2Thor) -> None:
    _, target = see(simulator, "Fridge")
    refused = simulator.act(ACTION["slice"], target)  # raises ValueError in the library
    assert refused == Refusal(f"{target} is not sliceable")
    simulator.stop()
    simulator = start(unknown_action=1)
    with pytest.raises(
        SimulatorError, match="Invalid action: TeleportFull - the Unity build does not know this action"
    ):
        simulator.open_house(HOUSE)
    simulator.stop()


@pytest.mark.parametrize("fault", ["house refused", "house invalid"])
def test_a_house_that_cannot_be_built_leaves_the_simulator_usable(fault: str, tmp_path: Path) -> None:
    simulator = FakeStart(Faults(tmp_path, {fault: 1}))(CAMERA, Machine())
    with pytest.raises(HouseError, match="cannot build the house: (Asset 'Fridge_99' not found|Value cannot be null)"):
        simulator.open_house(HOUSE)
    simulator.open_house(HOUSE)
    assert len(simulator.positions()) == 64
    simulator.stop()


def test_refused_positions_steps_and_places() -> None:
    simulator = start(position_refused=1, materials_refused=1, no_positions=1)
    simulator.open_house(HOUSE)
    assert simulator.rearrange(1) == ["RandomizeMaterials"]
    assert simulator.positions() == []
    assert simulator.look(Position(0, 0, 0), 0) == Refusal("Collided with: Wall.")
    simulator.stop()


def test_a_house_without_a_pose_is_opened(simulator: Ai2Thor) -> None:
    simulator.open_house({**HOUSE, "metadata": {}})
    simulator.open_house({key: value for key, value in HOUSE.items() if key != "metadata"})


# --- failures ---------------------------------------------------------------------------------------------------


def leftovers(folder: Path) -> list[psutil.Process]:
    """Processes of the fake's Unity."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(str(folder) in part and "time.sleep" in part for part in process.cmdline()):
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("fault", ["leak", "stop hang", "stop error"])
def test_stop_is_not_trusted(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thor, "STOP_SECONDS", 0.2)
    simulator = FakeStart(Faults(tmp_path, {fault: 1}))(CAMERA, Machine())
    assert len(leftovers(tmp_path)) == 1
    simulator.stop()
    assert leftovers(tmp_path) == []
    simulator.stop()  # again is harmless
    with pytest.raises(SimulatorError, match="has been stopped"):
        simulator.positions()


def test_stop_leaves_other_processes_alone(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"])
    try:
        FakeStart(Faults(tmp_path))(CAMERA, Machine()).stop()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_crash_during_reset_loses_the_simulator_and_both_of_its_processes(tmp_path: Path) -> None:
    simulator = FakeStart(Faults(tmp_path, {"reset restart": 1, "leak": 1}))(CAMERA, Machine())
    with pytest.raises(SimulatorError, match="RestartError: Restarting unity due to crash.* is tried again"):
        simulator.open_house(HOUSE)
    assert len(leftovers(tmp_path)) == 1  # the one that the library started by itself
    simulator.stop()
    assert leftovers(tmp_path) == []


def test_a_timeout_loses_the_simulator() -> None:
    simulator = start(step_timeout=1)
    with pytest.raises(SimulatorError, match="AI2-THOR failed while TeleportFull: TimeoutError"):
        simulator.open_house(HOUSE)
    simulator.stop()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("start crash", "failed while starting: Exception: .*returncode=-11 - Vulkan does not work here: .*vulkaninfo"),
        ("start timeout", "failed while starting: TimeoutError: .*Unity froze or crashed.*Player.log"),
    ],
)
def test_a_start_that_fails_leaves_nothing_behind(fault: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SimulatorError, match=message):
        FakeStart(Faults(tmp_path, {fault: 1}))(CAMERA, Machine())
    assert leftovers(tmp_path) == []


def test_a_picture_that_is_missing_or_of_another_size_loses_the_simulator(simulator: Ai2Thor) -> None:
    broken = start(no_frame=1)
    broken.open_house(HOUSE)
    with pytest.raises(SimulatorError, match="gave no picture instead of one of shape"):
        broken.look(Position(0, 0, 0), 0)
    broken.stop()
    simulator._camera = Camera(size=200)
    with pytest.raises(SimulatorError, match=r"a picture of shape \(360, 360, 3\)"):
        simulator.look(Position(0, 0, 0), 0)


def test_missing_segmentation_is_named(simulator: Ai2Thor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeEvent, "add_image_ids", lambda self, data: None)
    with pytest.raises(SimulatorError, match="without instance segmentation"):
        look(simulator)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (Exception("Unity process has exited ... returncode=-11"), "libvulkan1"),
        (Exception("Platform CloudRendering failed validation: Vulkan API driver missing."), "libvulkan1"),
        (RuntimeError("vulkaninfo failed to run, please ask your administrator"), "vulkan-tools"),
        (RuntimeError("`nvidia-smi` failed to run. To use CloudRendering"), "NVIDIA GPUs"),
        (ValueError("Invalid gpu_device: '7'. gpu_device must less than"), "--gpu_device that exists"),
        (Exception("Linux64 requires a X11 server to be running with GLX."), "CloudRendering"),
        (ValueError("Invalid commit_id: abc - no build exists for arch=Linux"), "leave out --commit_id"),
        (OSError("HTTPConnectionPool: Max retries exceeded with url"), "check the network"),
        (OSError(28, "No space left on device"), "disk is full"),
        (TimeoutError("Reading from AI2-THOR backend timed out"), "tried again"),
        (RuntimeError("Restarting unity due to crash"), "tried again"),
        (ValueError("Invalid action: OpenObject"), "ai2thor 5.0.0"),
        (KeyError("strange"), ""),
    ],
)
def test_known_failures_come_with_their_remedy(error: Exception, remedy: str) -> None:
    text = explain("starting", error)
    assert text.startswith(f"AI2-THOR failed while starting: {type(error).__name__}") and "\n" not in text
    assert remedy in text and (" - " in text) == bool(remedy)


def test_a_long_message_is_cut() -> None:
    text = explain("CreateHouse", RuntimeError("Error when running {'house': " + "x" * 100_000 + "}\n timed out"))
    assert len(text) < 700


def test_nothing_else_imports_ai2thor() -> None:
    for path in [*ROOT.glob("data_scripts/**/*.py"), *ROOT.glob("modeling_cde/**/*.py")]:
        if path.name != "thor.py":
            assert "import ai2thor" not in path.read_text() and "from ai2thor" not in path.read_text(), path


def test_a_worker_imports_nothing_heavy() -> None:
    heavy = ("ai2thor", "torch", "datasets", "pyarrow")
    code = f"import sys, data_scripts.procthor.source; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
