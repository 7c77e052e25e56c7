"""Splits of a pair data set, as pure functions of (annotations, protocol, seed)."""

from __future__ import annotations

#: Actions that undo each other, both ways.
OPPOSITES: dict[str, str] = {
    "open": "close",
    "close": "open",
    "turnon": "turnoff",
    "turnoff": "turnon",
    "dirty": "clean",
    "clean": "dirty",
    "fill": "empty",
    "empty": "fill",
}

#: The parts of every split, in the order in which they are reported.
PARTS: tuple[str, ...] = ("train", "validation", "test", "validation_ood", "test_ood")

#: `comp`: (action, object) combinations never seen together. `syst`: objects never seen at all.
SHIFTS: tuple[str, ...] = ("comp", "syst")
