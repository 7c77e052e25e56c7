"""What can be done to an object: verbs, what they need in the simulator's metadata, and their Unity actions.

The verbs are those of Causal Triplet, without "cook", which its readers drop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

OPENNESS = 0.8  # share of the way that "open" opens; as published

#: Types that are never acted on, as published: what they do changes other objects, or hardly anything.
NEVER_TARGETS = frozenset({"StoveKnob", "Toaster", "CoffeeMachine", "Kettle", "Doorway"})

#: Types that houses do not list, because they are parts of what houses list (a Dresser's Drawer), and that can be
#: acted on. They belong to the classes of every data set.
PART_TYPES = ("Cabinet", "Drawer", "Faucet", "LightSwitch", "Mirror", "ShowerCurtain", "ShowerDoor", "ShowerGlass",
              "ShowerHead", "StoveBurner", "Window")  # fmt: skip


@dataclass(frozen=True)
class Action:
    """One verb; it can be done while the metadata key `state` is not yet `goal`."""

    verb: str  # name of the class
    unity: str  # name of the simulator's action
    ability: str  # metadata key that is true of objects which it can be done to
    state: str  # metadata key that it sets ...
    goal: bool  # ... to this value
    parameters: Mapping[str, float] = field(default_factory=dict)  # further arguments of the simulator's action
    opposite: str | None = None  # verb that undoes it


ACTIONS: tuple[Action, ...] = (
    Action("break", "BreakObject", "breakable", "isBroken", True),
    Action("clean", "CleanObject", "dirtyable", "isDirty", False, opposite="dirty"),
    Action("close", "CloseObject", "openable", "isOpen", False, opposite="open"),
    Action("dirty", "DirtyObject", "dirtyable", "isDirty", True, opposite="clean"),
    Action("open", "OpenObject", "openable", "isOpen", True, {"openness": OPENNESS}, opposite="close"),
    Action("slice", "SliceObject", "sliceable", "isSliced", True),
    Action("turnoff", "ToggleObjectOff", "toggleable", "isToggled", False, opposite="turnon"),
    Action("turnon", "ToggleObjectOn", "toggleable", "isToggled", True, opposite="turnoff"),
    Action("use", "UseUpObject", "canBeUsedUp", "isUsedUp", True),
)

VERBS: tuple[str, ...] = tuple(action.verb for action in ACTIONS)

#: Metadata keys of an object that say what can be done to it and what was done: all that the generator reads of it
#: besides its id, its type and whether it is visible.
STATE_KEYS: tuple[str, ...] = tuple(sorted({key for action in ACTIONS for key in (action.ability, action.state)}))


def actionable(state: Mapping[str, bool]) -> bool:
    """Whether anything can be done to an object of this kind, now or in another state."""
    return any(state.get(action.ability) for action in ACTIONS)


def possible_actions(state: Mapping[str, bool]) -> list[Action]:
    """What can be done to an object in its present state, in the order of `ACTIONS`."""
    return [
        action for action in ACTIONS if state.get(action.ability) and bool(state.get(action.state)) is not action.goal
    ]


def object_classes(house_types: Sequence[str]) -> list[str]:
    """Names of the object classes: the types that houses list and their parts, without `NEVER_TARGETS`; sorted."""
    return sorted({*house_types, *PART_TYPES} - NEVER_TARGETS)
