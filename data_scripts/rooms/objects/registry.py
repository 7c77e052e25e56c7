"""What a kind of thing is, how actions are done to it, and the table of all kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from data_scripts.rooms.shapes import Part

State = Mapping[str, float]  # which properties have changed and how much: 0 is closed, off, clean, whole, empty
Build = Callable[[State], Part]
# Draws an instance's measures and colours, the same in every state, then adds its solids in that state to the part.
Declaration = Callable[[Part, np.random.Generator, State], None]

# action -> (what it changes, whether it ends in the changed state)
ACTION_EFFECTS: dict[str, tuple[str, bool]] = {
    "open": ("open", True),
    "close": ("open", False),
    "turnon": ("on", True),
    "turnoff": ("on", False),
    "dirty": ("dirt", True),
    "clean": ("dirt", False),
    "break": ("broken", True),
    "slice": ("sliced", True),
    "fill": ("fill", True),
    "empty": ("fill", False),
}
ACTIONS = tuple(ACTION_EFFECTS)
# The range of the amount of change; an action and its opposite share it.
AMOUNTS: dict[str, tuple[float, float]] = {
    "open": (0.6, 1.0),
    "on": (0.75, 1.0),
    "dirt": (0.6, 1.0),
    "broken": (0.6, 1.0),
    "sliced": (0.6, 1.0),
    "fill": (0.6, 0.9),
}
# How a change comes about, with at least three kinds each: what a model can learn from one kind for another.
MECHANISMS: dict[str, str] = {
    "door": "a door turns about an upright edge",
    "double leaf": "two leaves turn away from each other",
    "drop door": "a door turns down about its lower edge",
    "lid": "a lid turns up about its rear edge",
    "lid over water": "a lid turns up about its rear edge and uncovers water",
    "cover": "a cover turns over to the other side and lies flat",
    "drawer": "a drawer comes out",
    "slide": "a door, a curtain or a blind moves aside",
    "lamp": "a shade or a globe lights up",
    "heat": "a heating element glows",
    "screen": "a screen shows a picture",
    "flame": "flames burn",
    "stain": "brown blots lie on a surface",
    "shatter": "a thing lies in pieces",
    "crack": "a pane has cracks",
    "slices": "slices lie apart, with their flesh turned up",
    "wedge": "a wedge is cut out and drawn away",
    "open liquid": "liquid in a vessel, seen from above",
    "liquid behind glass": "liquid in a clear vessel, seen through its side",
}


@dataclass(frozen=True)
class ObjectType:
    """A kind of thing.

    Attributes:
        name: its class name.
        place: "floor" (stands with its back to a wall), "table" (stands on a table) or "wall" (hangs on it).
        declaration: draws its measures and colours and adds its solids.
        mechanisms: the properties that can change, keys of `AMOUNTS`, and how each does: a key of `MECHANISMS`.
        elevation: the camera's degrees above the horizon, lowest and highest.
        azimuth: the camera's degrees from its front, lowest and highest; positive is the viewer's right. A door with
            hinges on the left is viewed from the right, because it would hide the inside otherwise.
        height: for "wall": height of its lower edge above the floor in metres, lowest and highest.
    """

    name: str
    place: str
    declaration: Declaration
    mechanisms: Mapping[str, str]
    elevation: tuple[float, float]
    azimuth: tuple[float, float]
    height: tuple[float, float] = (0.0, 0.0)

    @property
    def changes(self) -> tuple[str, ...]:
        """The properties that can change."""
        return tuple(self.mechanisms)

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions that can be done to it."""
        return tuple(action for action, (change, _) in ACTION_EFFECTS.items() if change in self.changes)

    def mechanism(self, action: str) -> str:
        """How an action is done to it."""
        return self.mechanisms[ACTION_EFFECTS[action][0]]

    def draw(self, rng: np.random.Generator) -> Build:
        """Draw one instance; returns its solids as a function of its state. They are kept: attach them, do not add."""
        start = _copy(rng)
        built: dict[tuple[tuple[str, float], ...], Part] = {(): Part()}
        self.declaration(built[()], rng, {})

        def build(state: State) -> Part:
            key = tuple(sorted(state.items()))
            if key not in built:
                built[key] = Part()
                # Every state repeats the draws from the same start, so that the instance stays the same.
                self.declaration(built[key], _copy(start), state)
            return built[key]

        return build


def _copy(rng: np.random.Generator) -> np.random.Generator:
    """The generator as it is now; many times faster than deepcopy."""
    bits = type(rng.bit_generator)(0)
    bits.state = rng.bit_generator.state
    return np.random.Generator(bits)


OBJECT_TYPES: dict[str, ObjectType] = {}


def object_type(
    name: str,
    place: str,
    mechanisms: Mapping[str, str],
    elevation: tuple[float, float],
    azimuth: float | tuple[float, float],
    height: tuple[float, float] = (0.0, 0.0),
) -> Callable[[Declaration], Declaration]:
    """Enter the decorated function into `OBJECT_TYPES`; one number as `azimuth` goes to either side."""
    sides = azimuth if isinstance(azimuth, tuple) else (-azimuth, azimuth)

    def enter(declaration: Declaration) -> Declaration:
        OBJECT_TYPES[name] = ObjectType(name, place, declaration, mechanisms, elevation, sides, height)
        return declaration

    return enter
