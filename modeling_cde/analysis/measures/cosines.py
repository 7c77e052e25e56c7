"""Directions of the actions: cosines between their centroids, and whether opposites are anti-parallel.

The centroid of an action is the mean of its deltas, c_a = mean of δ_i over the pairs i of action a, and

    cos(a, b) = c_a · c_b / (‖c_a‖ ‖c_b‖)   in [-1, 1]; 0 where a centroid is 0 and so has no direction.

Some unrelated actions come out anti-parallel too, so that a cosine of -0.8 of one chosen pair says little. The figure
here is the mean over all opposite pairs, against every way of calling as many other pairs opposite.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..delta_set import DeltaSet
from .groups import Rows, directions, group_means

PERMUTATIONS = 10_000
_TIE = 1e-9  # two arrangements of the same cosines may differ by rounding; they count as equal
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
    """How anti-parallel opposite actions are, against all other pairs of actions.

    The p-value is that of a permutation test: the names of the actions are exchanged at random while the cosines stay
    where they are, so that as many pairs, sharing actions or not as the real ones do, are called opposite.

        p = share of the arrangements whose mean cosine is ≤ the observed one, the observed one among them

    It is exact, over all different arrangements, where there are at most `permutations` of them; else it is estimated
    from that many random ones, p = (1 + hits) / (1 + permutations). Few actions cannot give a small p: with two
    opposite pairs among four actions there are 3 arrangements, so p ≥ 1/3 whatever the cosines ("smallest_p").

    Args:
        part: the split.
        permutations: most arrangements to look at.
        seed: of the random arrangements.

    Returns:
        None if no two opposite actions occur in the split. Else "pairs": [{"action", "opposite", "cosine"}] with
        cosines in [-1, 1], the lowest first; "mean" of these; "others": {"mean", "std" (of the population), "min",
        "max", "values" (how many pairs), "lowest": the five other pairs of lowest cosine}, figures None where there
        is no other pair; "p_value" in (0, 1]; "smallest_p"; "permutations" (arrangements looked at); "exact".
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
    p_value, smallest, arrangements, exact = _permutation_test(matrix, index, permutations, seed)
    return {
        "pairs": [
            {"action": pairs[i][0], "opposite": pairs[i][1], "cosine": float(cosines[i])} for i in np.argsort(cosines)
        ],
        "mean": float(cosines.mean()),
        "others": {
            "mean": float(values.mean()) if others else None,
            "std": float(values.std()) if others else None,
            "min": float(values.min()) if others else None,
            "max": float(values.max()) if others else None,
            "values": len(others),
            "lowest": [{"action": a, "other": b, "cosine": cosine} for cosine, a, b in listed[:_LOWEST]],
        },
        "p_value": p_value,
        "smallest_p": smallest,
        "permutations": arrangements,
        "exact": exact,
    }


def _permutation_test(
    matrix: Rows, index: npt.NDArray[np.int64], permutations: int, seed: int
) -> tuple[float, float, int, bool]:
    """p-value, the smallest that could have come out, arrangements looked at, and whether these are all."""
    observed = matrix[index[:, 0], index[:, 1]].mean()
    m, p = len(matrix), len(index)
    disjoint = len(np.unique(index)) == 2 * p
    different = math.factorial(m) // (math.factorial(m - 2 * p) * 2**p * math.factorial(p)) if disjoint else math.inf
    if different <= permutations:
        means = np.array([np.mean([matrix[i, j] for i, j in chosen]) for chosen in _matchings(list(range(m)), p)])
        return float((means <= observed + _TIE).mean()), 1 / len(means), len(means), True
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(np.arange(m), (permutations, 1)), axis=1)  # (permutations, m)
    means = matrix[shuffled[:, index[:, 0]], shuffled[:, index[:, 1]]].mean(axis=1)
    hits = int((means <= observed + _TIE).sum())
    return (1 + hits) / (1 + permutations), 1 / (1 + permutations), permutations, False


def _matchings(items: list[int], count: int) -> Iterator[list[tuple[int, int]]]:
    """Every set of `count` pairs of different items that share none."""
    if count == 0:
        yield []
        return
    if len(items) < 2 * count:
        return
    first, rest = items[0], items[1:]
    yield from _matchings(rest, count)  # the first item in no pair
    for i, partner in enumerate(rest):
        for others in _matchings(rest[:i] + rest[i + 1 :], count - 1):
            yield [(first, partner), *others]
