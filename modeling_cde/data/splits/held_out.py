"""Chooses what the clean protocol holds out for its OOD parts: objects, combinations with an action, or mechanisms."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .annotations import Pair, SplitError
from .manifest import OOD_PARTS

_LISTED = 12  # actions that a sentence lists


def hold_out_objects(
    pairs: Sequence[Pair], share: float, keep: int, enough: int, generator: random.Random
) -> dict[str, list[Any]]:
    """Choose objects for the two OOD parts, alternately: the next one adds the most actions that its part lacks.

    Arguments: `ood`, `min_train_objects` and `min_ood_pairs` of `CleanOptions`; pairs are sorted by pair_id, and the
    generator draws the order in which the objects are considered.

    Raises:
        ValueError: No two objects can be held out.
    """
    remaining = objects_by_action(pairs)  # action -> objects that stay in training
    actions_of: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        actions_of[pair.object].add(pair.action)
    number = Counter(pair.object for pair in pairs)
    free = sorted(name for name in actions_of if number[name] >= enough)
    generator.shuffle(free)
    wanted = max(2, round(share * len(free)))
    held: dict[str, list[Any]] = {part: [] for part in OOD_PARTS}
    covered: dict[str, set[str]] = {part: set() for part in OOD_PARTS}
    for turn in range(wanted):
        part = OOD_PARTS[turn % 2]
        # An object may be held out if each of its actions still has `keep` others; if not now, it may not later either.
        free = [name for name in free if all(len(remaining[action]) > keep for action in actions_of[name])]
        if not free:
            break
        chosen = max(free, key=lambda name: len(actions_of[name] - covered[part]))
        free.remove(chosen)
        held[part].append(chosen)
        covered[part] |= actions_of[chosen]
        for action in actions_of[chosen]:
            remaining[action].discard(chosen)
    if not all(held.values()):
        if enough > 1:
            return hold_out_objects(pairs, share, keep, 1, generator)
        counts = [f"{action}: {len(names)}" for action, names in sorted(objects_by_action(pairs).items())]
        listed = ", ".join(counts[:_LISTED]) + (f" and {len(counts) - _LISTED} more" if len(counts) > _LISTED else "")
        raise SplitError(
            f"Too few objects for a syst split: of {_number(len(actions_of), 'object')} at least two must be held out "
            f"while each action keeps {keep} in training (objects by action: {listed})",
            "add objects, lower min_train_objects, or hold nothing out (shift none)",
            "pairs of more objects",
        )
    return {part: sorted(names) for part, names in held.items()}


def check_objects(pairs: Sequence[Pair], held: Mapping[str, Sequence[str]]) -> None:
    """Raise if held-out objects do not exist, are held out twice, or take an action out of training."""
    known = {pair.object for pair in pairs}
    names = [name for part in OOD_PARTS for name in held[part]]
    for name in names:
        if name not in known:
            raise ValueError(f"The held-out object {name!r} has no pairs; the objects are {sorted(known)}.")
        if names.count(name) > 1:
            raise ValueError(f"The object {name!r} is held out for two parts; give it to one.")
    for action, objects in sorted(objects_by_action(pairs).items()):
        if objects <= set(names):
            raise ValueError(
                f"The action {action!r} vanishes from training: all its objects "
                f"({', '.join(sorted(objects))}) are held out; leave one of them."
            )


def hold_out_combinations(
    pairs: Sequence[Pair],
    share: float,
    keep: int,
    enough: int,
    opposites: Mapping[str, str],
    generator: random.Random,
    everything: Sequence[Pair],
) -> dict[str, list[Any]]:
    """Choose combinations for the two OOD parts; the opposite action on the same object stays in training.

    The parts take turns; the next combination has the action that its part has fewest of. Arguments as in
    `hold_out_objects`; the share is that of the combinations whose opposite exists. `everything` are the pairs before
    objects were held out of them, for the error.

    Raises:
        ValueError: No two combinations can be held out.
    """
    remaining = objects_by_action(pairs)
    there = Counter((pair.action, pair.object) for pair in pairs)
    groups: dict[tuple[str, str], set[str]] = defaultdict(set)
    for pair in pairs:
        groups[pair.action, pair.object].add(pair.group)
    # Within a single group, one of the two opposites could not be tested, or the other not be in train.
    eligible = sorted(
        (a, o)
        for (a, o), n in there.items()
        if n >= enough and (opposites.get(a), o) in there and len(groups[a, o] | groups[opposites[a], o]) > 1
    )
    wanted = max(2, round(share * len(eligible)))
    generator.shuffle(eligible)
    waiting: dict[str, list[tuple[int, str]]] = defaultdict(list)  # action -> (place in the order, object), last first
    for place, (action, name) in reversed(list(enumerate(eligible))):
        waiting[action].append((place, name))
    held: dict[str, list[Any]] = {part: [] for part in OOD_PARTS}
    times: Counter[tuple[str, str]] = Counter()  # (part, action) -> combinations held out
    for turn in range(wanted):
        part = OOD_PARTS[turn % 2]
        for action, names in list(waiting.items()):
            # What may not be held out now may not later either: training only loses combinations here.
            while names and names[-1][1] not in remaining[opposites[action]]:
                names.pop()
            if not names or len(remaining[action]) <= keep:
                del waiting[action]
        if not waiting:
            break
        action = min(waiting, key=lambda action: (times[part, action], waiting[action][-1]))
        _, name = waiting[action].pop()
        held[part].append([action, name])
        times[part, action] += 1
        remaining[action].discard(name)
    if not all(held.values()):
        if enough > 1:
            return hold_out_combinations(pairs, share, keep, 1, opposites, generator, everything)
        total = len({(pair.action, pair.object) for pair in everything})
        left = (
            f", {len(there)} of them not on objects held out for the shift syst" if len(pairs) < len(everything) else ""
        )
        raise SplitError(
            f"Too few combinations for a comp split: of {_number(total, '(action, object) combination')}"
            f"{left}, {len(eligible)} have their opposite on the same object in another "
            f"group, and at least two must be held out while that opposite and {keep} more objects of the action stay "
            "in training",
            "add objects with both actions, give the opposites, lower min_train_objects, or hold nothing out (shift "
            "none)",
            "pairs of opposite actions (such as open and close) on the same objects",
        )
    return {part: sorted(combinations) for part, combinations in held.items()}


def hold_out_mechanisms(
    pairs: Sequence[Pair],
    share: float,
    keep: int,
    enough: int,
    opposites: Mapping[str, str],
    generator: random.Random,
) -> dict[str, list[Any]]:
    """Choose mechanisms of actions for the two OOD parts: an action and its opposite lose a mechanism together.

    The opposite undoes the action in the same way, so with it in training the way would have been seen. The parts take
    turns; the next mechanism is of the actions that its part has fewest of. Arguments as in `hold_out_combinations`;
    each action keeps another mechanism in training.

    Raises:
        SplitError: No two mechanisms can be held out.
    """
    ways: dict[tuple[str, str], set[str]] = defaultdict(set)  # (first of the opposites, mechanism) -> actions
    objects: dict[tuple[str, str], set[str]] = defaultdict(set)  # (action, mechanism) in training -> its objects
    number: Counter[tuple[str, str]] = Counter()
    for pair in pairs:
        way = (min(pair.action, opposites.get(pair.action, pair.action)), pair.mechanism)
        ways[way].add(pair.action)
        objects[pair.action, pair.mechanism].add(pair.object)
        number[way] += 1
    mechanisms = _mechanisms_by_action(objects)
    free = sorted(way for way in ways if number[way] >= enough)
    # The share is of those that could be held out: an action of one mechanism has none.
    wanted = max(2, round(share * sum(all(len(mechanisms[a]) > 1 for a in ways[way]) for way in free)))
    generator.shuffle(free)
    held: dict[str, list[Any]] = {part: [] for part in OOD_PARTS}
    times: Counter[tuple[str, str]] = Counter()  # (part, first of the opposites) -> mechanisms held out

    def may_leave(way: tuple[str, str]) -> bool:
        for action in ways[way]:
            others = [names for (name, how), names in objects.items() if name == action and how != way[1]]
            if not others or len(set().union(*others)) < keep:
                return False
        return True

    for turn in range(wanted):
        part = OOD_PARTS[turn % 2]
        free = [way for way in free if may_leave(way)]  # training only loses mechanisms
        if not free:
            break
        way = min(free, key=lambda way: times[part, way[0]])  # the first in the order that was drawn
        free.remove(way)
        times[part, way[0]] += 1
        for action in ways[way]:
            held[part].append([action, way[1]])
            del objects[action, way[1]]
    if not all(held.values()):
        if enough > 1:
            return hold_out_mechanisms(pairs, share, keep, 1, opposites, generator)
        counts = [f"{action}: {len(found)}" for action, found in sorted(mechanisms.items())]
        listed = ", ".join(counts[:_LISTED]) + (f" and {len(counts) - _LISTED} more" if len(counts) > _LISTED else "")
        raise SplitError(
            "Too few mechanisms for a mech split: at least two must be held out while each action keeps another one "
            f"and {_number(keep, 'object')} in training (mechanisms by action: {listed})",
            "add mechanisms, lower min_train_objects, or choose the shift comp or syst",
            "pairs of more mechanisms",
        )
    return {part: sorted(items) for part, items in held.items()}


def _mechanisms_by_action(keys: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for action, mechanism in keys:
        found[action].add(mechanism)
    return found


def objects_by_action(pairs: Iterable[Pair]) -> dict[str, set[str]]:
    """The objects of each action."""
    objects: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        objects[pair.action].add(pair.object)
    return objects


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
