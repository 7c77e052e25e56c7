"""What happens in a sequence of pictures: which actions on which objects, when, and how much of each is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from data_scripts.rooms.objects import ACTION_EFFECTS, CHOICES, OBJECT_TYPES, ObjectType

#: What changes bit by bit; a lamp, a crack and the like are there or not.
GRADUAL = frozenset({"open", "fill", "dirt", "sliced"})
#: How a thing breaks so that nothing is left to see of its other changes: the hard kinds of composition.
HIDING = "shatter"
HARD_KINDS = tuple(
    sorted(name for name, kind in OBJECT_TYPES.items() if HIDING in kind.mechanisms.values() and len(kind.changes) > 1)
)
SHORTEST = 3  # steps that a gradual action takes at least, where there is room

FORTH = {change: action for action, (change, ends_changed) in ACTION_EFFECTS.items() if ends_changed}
BACK = {change: action for action, (change, ends_changed) in ACTION_EFFECTS.items() if not ends_changed}


@dataclass(frozen=True)
class Act:
    """An action on the `target`-th object: frame `onset` is the last without it, frame `end` the first with all."""

    target: int
    action: str
    onset: int
    end: int

    def done(self, frame: int) -> float:
        """How much of it is done in a frame, from 0 to 1."""
        return min(max((frame - self.onset) / (self.end - self.onset), 0.0), 1.0)


@dataclass(frozen=True)
class Script:
    """A sequence before it is rendered.

    Attributes:
        targets: Kinds of the objects that are acted on.
        start: For each of them, its properties that are changed in the first frame.
        acts: One after another in time.
        frames: Number of frames, at least two.
    """

    targets: tuple[str, ...]
    start: tuple[frozenset[str], ...]
    acts: tuple[Act, ...]
    frames: int

    def state(self, target: int, frame: int, full: Mapping[str, float]) -> dict[str, float]:
        """The state of a target in a frame; `full` says how far each property changes."""
        level = dict.fromkeys(self.start[target], 1.0)
        for act in self.acts:
            if act.target == target and frame > act.onset:
                change, ends_changed = ACTION_EFFECTS[act.action]
                level[change] = act.done(frame) if ends_changed else 1 - act.done(frame)
        state = {change: full[change] * value for change, value in level.items() if value > 0}
        if self.targets[target] == "Laptop" and "open" in self.changed(target):
            state.setdefault("open", 0.0)  # without a word on its lid, a laptop stands open
        return state

    def changed(self, target: int) -> set[str]:
        """The properties of a target that are changed at the start or by an action."""
        acted = {ACTION_EFFECTS[act.action][0] for act in self.acts if act.target == target}
        return acted | self.start[target]


def hidden(kind: str, changed: frozenset[str] | set[str], change: str) -> bool:
    """Whether nothing shows of a property while the `changed` ones are.

    So it is with what lies in pieces, a screen that has cracks, and that of a closed laptop.
    """
    if "broken" in changed and change != "broken" and _hides(kind, "broken", change):
        return True
    return kind == "Laptop" and change == "on" and "open" not in changed


def draw_walk(
    rng: np.random.Generator, targets: Sequence[str], frames: int, acts: int, gradual: bool = False
) -> Script:
    """Actions at random steps, each of which shows; idle steps where there are fewer actions than steps.

    Targets take turns. An action changes what no earlier one has changed while there is such a property. There are
    fewer actions than asked for only if no other can be seen, as with a cup in pieces.
    """
    start = tuple(_start(rng, OBJECT_TYPES[name]) for name in targets)
    times = _slots(rng, frames, acts) if gradual else [(int(t), int(t) + 1) for t in _steps(rng, frames, acts)]
    now = [set(changed) for changed in start]
    fresh = [set(OBJECT_TYPES[name].changes) for name in targets]
    first = int(rng.integers(len(targets)))
    found: list[Act] = []
    for k, (onset, end) in enumerate(times):
        target = (first + k) % len(targets)
        name = targets[target]
        open_to = [c for c in OBJECT_TYPES[name].changes if (c not in now[target] or c in BACK)]
        open_to = [c for c in open_to if not hidden(name, now[target], c)]
        last = k + 1 == len(times)
        harmless = {c for c in open_to if last or not any(_hides(name, c, other) for other in fresh[target] - {c})}
        for better in (harmless, fresh[target]):
            open_to = [c for c in open_to if c in better] or open_to
        if not open_to:
            break
        change = str(rng.choice(open_to))
        action = BACK[change] if change in now[target] else FORTH[change]
        now[target] ^= {change}
        fresh[target] -= {change}
        found.append(Act(target, action, onset, end if change in GRADUAL else onset + 1))
    return Script(tuple(targets), start, tuple(found), frames)


def draw_square(rng: np.random.Generator, targets: Sequence[str], changes: tuple[str, str]) -> Script:
    """Four frames that show each of two properties changed and unchanged, each frame a step from the one before.

    With one target, both properties are its own; with two, each has one. What cannot be undone is done once, in the
    middle of the path, so at least one of the two must be something that can.

    Raises:
        ValueError: Neither can be undone.
    """
    undone = [k for k in (0, 1) if changes[k] in BACK]
    if not undone:
        raise ValueError(f"Neither {changes[0]} nor {changes[1]} can be undone: no path shows all four states.")
    a = int(rng.choice(undone))  # done, undone or the other way round
    b = 1 - a
    objects = (0, 0) if len(targets) == 1 else (0, 1)
    start: list[set[str]] = [set() for _ in targets]
    for k, coin in ((a, rng.random() < 0.5), (b, changes[b] in BACK and rng.random() < 0.5)):
        if coin:
            start[objects[k]].add(changes[k])
    now = [set(changed) for changed in start]
    acts = []
    for step, k in enumerate((a, b, a)):
        there = changes[k] in now[objects[k]]
        acts.append(Act(objects[k], BACK[changes[k]] if there else FORTH[changes[k]], step, step + 1))
        now[objects[k]] ^= {changes[k]}
    return Script(tuple(targets), tuple(frozenset(changed) for changed in start), tuple(acts), 4)


def kind_pairs(kinds: str) -> list[tuple[str, str, str]]:
    """Every kind with two properties that can be seen apart or not, and these."""
    found = [(name, *pair) for name in sorted(CHOICES[kinds]) for pair in combinations(OBJECT_TYPES[name].changes, 2)]
    return [(name, a, b) for name, a, b in found if a in BACK or b in BACK]


def _start(rng: np.random.Generator, kind: ObjectType) -> frozenset[str]:
    return frozenset(change for change in kind.changes if change in BACK and rng.random() < 0.5)


def _hides(kind: str, change: str, other: str) -> bool:
    """Whether one property, once changed, hides another."""
    mechanisms = OBJECT_TYPES[kind].mechanisms
    return change == "broken" and (mechanisms["broken"] == HIDING or mechanisms[other] == "screen")


def _steps(rng: np.random.Generator, frames: int, acts: int) -> list[int]:
    return sorted(rng.choice(frames - 1, acts, replace=False).tolist())


def _slots(rng: np.random.Generator, frames: int, acts: int) -> list[tuple[int, int]]:
    """For each action an onset and an end, one action after another, with idle steps between them."""
    slot, found = (frames - 1) // max(acts, 1), []
    for k in range(acts):
        length = int(rng.integers(min(SHORTEST, slot), slot + 1))
        onset = k * slot + int(rng.integers(0, slot - length + 1))
        found.append((onset, onset + length))
    return found
