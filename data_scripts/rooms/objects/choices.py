"""The kinds of a data set of rooms: all of them, or the 34 with which the first numbers were measured."""

from __future__ import annotations

# Each family enters its kinds into the registry.
import data_scripts.rooms.objects.bathroom
import data_scripts.rooms.objects.cakes
import data_scripts.rooms.objects.containers
import data_scripts.rooms.objects.covers
import data_scripts.rooms.objects.doors
import data_scripts.rooms.objects.food
import data_scripts.rooms.objects.fragile
import data_scripts.rooms.objects.furniture
import data_scripts.rooms.objects.glassware
import data_scripts.rooms.objects.lamps
import data_scripts.rooms.objects.lids
import data_scripts.rooms.objects.lights
import data_scripts.rooms.objects.sliding
import data_scripts.rooms.objects.tableware  # noqa: F401
from data_scripts.rooms.objects.registry import OBJECT_TYPES

# In the order in which they take turns: the pictures of a seed depend on it.
CLASSIC = tuple(
    "Toilet Bathtub Sink Cabinet Drawer Fridge Microwave Safe Box Laptop Book Bread Apple Tomato Potato Lettuce Vase "
    "Window Mirror Egg Table Bed Sofa DeskLamp FloorLamp Television Stove Candle Plate Cup Bowl Pot Pan Bottle".split()
)
# What --kinds names. Classic never changes: earlier numbers are repeated on it.
CHOICES: dict[str, tuple[str, ...]] = {
    "all": (*CLASSIC, *sorted(OBJECT_TYPES.keys() - set(CLASSIC))),
    "classic": CLASSIC,
}


def objects_of(action: str, kinds: str = "all") -> tuple[str, ...]:
    """The kinds that an action can be done to, among those of a key of `CHOICES`."""
    return tuple(name for name in CHOICES[kinds] if action in OBJECT_TYPES[name].actions)
