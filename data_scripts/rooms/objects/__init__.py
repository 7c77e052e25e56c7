"""The kinds of things, one module a family; importing this package fills `registry.OBJECT_TYPES`."""

from data_scripts.rooms.objects.choices import CHOICES, CLASSIC, objects_of
from data_scripts.rooms.objects.registry import (
    ACTION_EFFECTS,
    ACTIONS,
    AMOUNTS,
    MECHANISMS,
    OBJECT_TYPES,
    Build,
    ObjectType,
    State,
)

OBJECTS = tuple(sorted(OBJECT_TYPES))

__all__ = [
    "ACTIONS",
    "ACTION_EFFECTS",
    "AMOUNTS",
    "Build",
    "CHOICES",
    "CLASSIC",
    "MECHANISMS",
    "OBJECTS",
    "OBJECT_TYPES",
    "ObjectType",
    "State",
    "objects_of",
]
