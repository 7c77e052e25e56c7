"""The interface between generator and simulator, which tests implement with a fake.

Positions are in metres with y up, angles in degrees, pictures `(height, width, 3)` uint8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from data_scripts.procthor.acceptance import Box
from data_scripts.procthor.actions import Action


class SimulatorError(RuntimeError):
    """The simulator is lost: stop it and start another."""


class HouseError(ValueError):
    """The simulator works, but cannot build this house."""


class Position(NamedTuple):
    """A place on the floor where the agent can stand, in metres; y is up."""

    x: float
    y: float
    z: float


@dataclass(frozen=True)
class Refusal:
    """The simulator works, but did not do what it was asked."""

    reason: str  # the simulator's words, on one line

    @property
    def blocked(self) -> bool:
        """Whether the object could not move, mostly because the agent is in its way; another position may work."""
        return "failed to open/close" in self.reason or "agent" in self.reason.lower()


@dataclass(frozen=True)
class SceneObject:
    """What the metadata say about one object."""

    id: str  # for example "Fridge|2|0"
    type: str  # for example "Fridge"
    visible: bool  # in the picture, and near enough to be acted on
    state: Mapping[str, bool]  # the `STATE_KEYS`


class View(Protocol):
    """What the agent sees at one moment; later actions do not change it."""

    @property
    def picture(self) -> NDArray[np.uint8]:
        """`(height, width, 3)`, RGB, own memory."""

    @property
    def objects(self) -> Sequence[SceneObject]:
        """All objects of the house, also those out of sight."""

    def box(self, object_id: str) -> Box | None:
        """Of the object's visible pixels, or None if there are none."""

    def mask(self, object_id: str) -> NDArray[np.bool_] | None:
        """`(height, width)`, the object's visible pixels, or None if there are none."""


class Simulator(Protocol):
    """What the generator needs. Every method may raise `SimulatorError`; then only `stop` may be called."""

    def open_house(self, house: Mapping[str, Any]) -> None:
        """Build a house exactly as described, in place of the previous one. Raises `HouseError`."""

    def rearrange(self, seed: int) -> list[str]:
        """Move small objects and draw materials and light, all from the seed; returns the names of refused steps."""

    def positions(self) -> list[Position]:
        """Where the agent can stand; empty if the agent itself could not be placed."""

    def look(self, position: Position, heading: float) -> View | Refusal:
        """Stand there upright and look in a direction, in degrees clockwise from z."""

    def act(self, action: Action, object_id: str) -> View | Refusal:
        """Do something to a visible object."""

    def stop(self) -> None:
        """End the simulator and all its processes; never raises."""


@dataclass(frozen=True)
class Camera:
    """How a simulator shows a house; the pictures depend on it."""

    size: int = 672  # side of the rendered pictures in pixels
    field_of_view: float = 90.0  # in degrees, vertical (the pictures are square)
    # Downward tilt in degrees. 30 is that of the pose that every ProcTHOR house gives its agent, and the published
    # pictures look down like that.
    horizon: float = 30.0
    visibility_distance: float = 5.0  # in metres; objects further away count as not visible and cannot be acted on


@dataclass(frozen=True)
class Machine:
    """Where and how long a simulator runs; the pictures do not depend on it, except through `commit_id`."""

    platform: str = "CloudRendering"  # "CloudRendering" (no display, by Vulkan) or "Linux64" (needs an X server)
    gpu_device: int | None = None  # None takes the first
    commit_id: str | None = None  # of the Unity build; None takes the one that the installed ai2thor names
    server_timeout: float = 100.0  # seconds for one action
    server_start_timeout: float = 300.0  # seconds for the start, not counting the download of the build before it
