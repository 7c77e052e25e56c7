"""Directions of the actions: cosines between their centroids, and whether opposites are anti-parallel.

The centroid of an action is the mean of its deltas, c_a = mean of δ_i over the pairs i of action a, and

    cos(a, b) = c_a · c_b / (‖c_a‖ ‖c_b‖)   in [-1, 1]; 0 where a centroid is 0 and so has no direction.

Some unrelated actions are anti-parallel, too, so a cosine of -0.8 of one chosen pair says little. The figure here is
the mean over all opposite pairs, compared with every way of calling as many other pairs opposite (`permutation_test`).
"""

import dataclasses
import itertools
from typing import Any

import numpy as np

from ..delta_set import DeltaSet
from .groups import Rows, directions, group_means
from .permutation_test import PERMUTATIONS, permutation_test

_LOWEST = 5


def centroid_cosines(part: DeltaSet) -> tuple[list[str], Rows]:
    """Cosines between the centroids of the actions that occur in a split.

    Returns:
        The m names, in the order of `part.actions`, and the symmetric (m, m) matrix, in [-1, 1].
    """
    means, sizes = group_means(part.delta, part.labels, len(part.actions))
    present = np.flatnonzero(sizes)
    unit = directions(means[present])
    return [part.actions[i] for i in present], np.clip(unit @ unit.T, -1.0, 1.0)


def measure_cosines(part: DeltaSet) -> dict[str, Any]:
    """`centroid_cosines` as "actions" (m names) and "matrix" (m lists of m numbers in [-1, 1])."""
    names, matrix = centroid_cosines(part)
    return {"actions": names, "matrix": matrix.tolist()}


def measure_opposites(part: DeltaSet, permutations: int = PERMUTATIONS, seed: int = 0) -> dict[str, Any] | None:
    """How anti-parallel opposite actions are, compared with all other pairs of actions.

    Args:
        part: the split.
        permutations: the largest number of arrangements to compare (`permutation_test`).
        seed: seed of the random arrangements.

    Returns:
        None if no two opposite actions occur in the split. Else "pairs": [{"action", "opposite", "cosine"}] with
        cosines in [-1, 1], the lowest first; "mean" of these; "others": {"mean", "std" (of the population), "min",
        "max", "values" (number of pairs), "lowest": the five other pairs of lowest cosine}, figures None where there
        is no other pair; "p_value", "smallest_p", "permutations" and "exact" (`PermutationTest`).
    """
    pairs = part.opposite_pairs()
    if not pairs:
        return None
    names, matrix = centroid_cosines(part)
    place = {name: i for i, name in enumerate(names)}
    index = np.array([(place[a], place[b]) for a, b in pairs])  # (p, 2)
    cosines = matrix[index[:, 0], index[:, 1]]
    is_opposite = {frozenset(pair) for pair in index.tolist()}
    others = [(i, j) for i, j in itertools.combinations(range(len(names)), 2) if frozenset((i, j)) not in is_opposite]
    listed = sorted((float(matrix[i, j]), names[i], names[j]) for i, j in others)
    values = np.array([cosine for cosine, _, _ in listed])
    figures = {name: getattr(values, name) for name in ("mean", "std", "min", "max")}
    return {
        "pairs": [
            {"action": pairs[i][0], "opposite": pairs[i][1], "cosine": float(cosines[i])} for i in np.argsort(cosines)
        ],
        "mean": float(cosines.mean()),
        "others": {
            **{name: float(figure()) if others else None for name, figure in figures.items()},
            "values": len(others),
            "lowest": [{"action": a, "other": b, "cosine": cosine} for cosine, a, b in listed[:_LOWEST]],
        },
        **dataclasses.asdict(permutation_test(matrix, index, permutations, seed)),
    }
