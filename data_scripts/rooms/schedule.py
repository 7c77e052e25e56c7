"""Which action on which object each pair of a work unit shows: balanced over the whole data set by counting."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from data_scripts.rooms.objects import ACTIONS, objects_of

PAIRS_PER_SCENE = 4


@dataclass(frozen=True)
class SceneTask:
    """A scene's number, the (action, object) of each of its pairs, and in which of them the action does not happen."""

    number: int
    combinations: tuple[tuple[str, str], ...]
    still: tuple[bool, ...] = field(repr=False)


def combination(index: int, offset: int = 0, kinds: str = "all") -> tuple[str, str]:
    """The `index`-th pair's action and object: actions in turn, and under each action its objects in turn."""
    action = ACTIONS[index % len(ACTIONS)]
    objects = objects_of(action, kinds)
    return action, objects[(index // len(ACTIONS) + offset) % len(objects)]


def unit_tasks(
    seed: int, unit: int, num_pairs: int, pairs_per_unit: int, kinds: str = "all", nothing_share: float = 0
) -> list[SceneTask]:
    """The scenes of the work unit with this number, from 0, in a data set of `num_pairs` pairs.

    Scenes of `PAIRS_PER_SCENE` pairs (the last of a unit may have fewer), numbered through the data set. The share of
    pairs in which nothing happens is spread evenly; they and the others take turns with actions and objects apart.
    """
    start, stop = unit * pairs_per_unit, min((unit + 1) * pairs_per_unit, num_pairs)
    planned = []
    for index in range(start, stop):
        before, after = (int(count * nothing_share + 1e-9) for count in (index, index + 1))
        still = after > before
        planned.append((combination(before if still else index - before, seed, kinds), still))
    rng = np.random.default_rng([seed, unit, 1])
    shuffled = [planned[i] for i in rng.permutation(len(planned))]
    first = unit * -(-pairs_per_unit // PAIRS_PER_SCENE)
    return [
        SceneTask(first + k // PAIRS_PER_SCENE, *zip(*shuffled[k : k + PAIRS_PER_SCENE], strict=True))
        for k in range(0, len(shuffled), PAIRS_PER_SCENE)
    ]
