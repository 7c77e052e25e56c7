"""Which action on which object each pair of a work unit shows: balanced over the whole data set by counting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_scripts.rooms.objects import ACTIONS, objects_of

PAIRS_PER_SCENE = 4


@dataclass(frozen=True)
class SceneTask:
    """A scene's number and the (action, object) of each of its pairs."""

    number: int
    combinations: tuple[tuple[str, str], ...]


def combination(index: int, offset: int = 0, kinds: str = "all") -> tuple[str, str]:
    """The `index`-th pair's action and object: actions in turn, and under each action its objects in turn."""
    action = ACTIONS[index % len(ACTIONS)]
    objects = objects_of(action, kinds)
    return action, objects[(index // len(ACTIONS) + offset) % len(objects)]


def unit_tasks(seed: int, unit: int, num_pairs: int, pairs_per_unit: int, kinds: str = "all") -> list[SceneTask]:
    """The scenes of the work unit with this number, from 0, in a data set of `num_pairs` pairs.

    Scenes of `PAIRS_PER_SCENE` pairs (the last of a unit may have fewer), numbered through the data set.
    """
    start, stop = unit * pairs_per_unit, min((unit + 1) * pairs_per_unit, num_pairs)
    combinations = [combination(index, seed, kinds) for index in range(start, stop)]
    rng = np.random.default_rng([seed, unit, 1])
    shuffled = [combinations[i] for i in rng.permutation(len(combinations))]
    first = unit * -(-pairs_per_unit // PAIRS_PER_SCENE)
    return [
        SceneTask(first + k // PAIRS_PER_SCENE, tuple(shuffled[k : k + PAIRS_PER_SCENE]))
        for k in range(0, len(shuffled), PAIRS_PER_SCENE)
    ]
