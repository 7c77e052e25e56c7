"""The permutation p-value of opposite actions: how often chance alone makes as many pairs as anti-parallel.

The names of the actions are exchanged at random while the cosines stay where they are, so that as many pairs, sharing
actions or not as the real ones do, are called opposite:

    p = share of the arrangements whose mean cosine is ≤ the observed one, the observed one among them

Few actions cannot give a small p: with two opposite pairs among four actions there are 3 arrangements, so p ≥ 1/3
whatever the cosines.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .groups import Rows

PERMUTATIONS = 10_000
_TIE = 1e-9  # two arrangements of the same cosines may differ by rounding; they count as equal


@dataclass(frozen=True)
class PermutationTest:
    """A p-value and how it was found.

    Attributes:
        p_value: in (0, 1].
        smallest_p: the smallest p-value that was possible.
        permutations: number of arrangements that were compared.
        exact: whether these are all different arrangements; otherwise they were drawn at random.
    """

    p_value: float
    smallest_p: float
    permutations: int
    exact: bool


def permutation_test(
    cosines: Rows, pairs: npt.NDArray[np.int64], permutations: int = PERMUTATIONS, seed: int = 0
) -> PermutationTest:
    """Test whether the mean cosine of some pairs is lower than that of as many pairs chosen at random.

    It is exact, over all different arrangements, where there are at most `permutations` of them; otherwise p is
    estimated from that many random ones, p = (1 + hits) / (1 + permutations).

    Args:
        cosines: (m, m), symmetric.
        pairs: (p, 2) indices of the pairs.
        permutations: the largest number of arrangements to compare.
        seed: seed of the random arrangements.
    """
    observed = cosines[pairs[:, 0], pairs[:, 1]].mean()
    m, p = len(cosines), len(pairs)
    disjoint = len(np.unique(pairs)) == 2 * p
    different = math.factorial(m) // (math.factorial(m - 2 * p) * 2**p * math.factorial(p)) if disjoint else math.inf
    if different <= permutations:
        means = np.array([np.mean([cosines[i, j] for i, j in chosen]) for chosen in _matchings(list(range(m)), p)])
        return PermutationTest(float((means <= observed + _TIE).mean()), 1 / len(means), len(means), exact=True)
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(np.arange(m), (permutations, 1)), axis=1)  # (permutations, m)
    means = cosines[shuffled[:, pairs[:, 0]], shuffled[:, pairs[:, 1]]].mean(axis=1)
    hits = int((means <= observed + _TIE).sum())
    return PermutationTest((1 + hits) / (1 + permutations), 1 / (1 + permutations), permutations, exact=False)


def _matchings(items: list[int], count: int) -> Iterator[list[tuple[int, int]]]:
    """Every set of `count` pairs of different items without a common item."""
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
