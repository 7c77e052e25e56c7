"""The object types, one module a family; importing this package fills `registry.OBJECT_TYPES`."""

from data_scripts.rooms.objects import bathroom, containers, food, fragile, furniture, lamps, tableware
from data_scripts.rooms.objects.registry import (
    ACTION_EFFECTS,
    ACTIONS,
    AMOUNTS,
    OBJECT_TYPES,
    Build,
    ObjectType,
    State,
    objects_of,
)

OBJECTS = tuple(sorted(OBJECT_TYPES))

__all__ = [
    "ACTIONS",
    "ACTION_EFFECTS",
    "AMOUNTS",
    "Build",
    "OBJECTS",
    "OBJECT_TYPES",
    "ObjectType",
    "State",
    "bathroom",
    "containers",
    "food",
    "fragile",
    "furniture",
    "lamps",
    "objects_of",
    "tableware",
]
