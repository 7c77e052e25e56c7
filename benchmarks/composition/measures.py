"""What is measured of states, deltas and answers; tensors and sets in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

#: Steps of a square of frames (0, 1, 2, 3) in which one thing is done in both of two contexts.
_STEPS = ((0, 1), (3, 2), (1, 2), (0, 3))


def defects(states: torch.Tensor) -> torch.Tensor:
    """The parallelogram defect of squares: ||z_0 - z_1 + z_2 - z_3|| over the mean norm of their four steps.

    It is 0 where each action moves the state in the same way whether or not the other was done, about sqrt(2) where
    the two have nothing to do with each other, and at most 2.

    Args:
        states: (n, 4, ...).

    Returns:
        (n,) float64; NaN where no step moves anything.
    """
    z = states.double().flatten(2)  # (n, 4, D)
    steps = torch.stack([z[:, j] - z[:, i] for i, j in _STEPS]).norm(dim=-1).mean(dim=0)  # (n,)
    found: torch.Tensor = (z[:, 0] - z[:, 1] + z[:, 2] - z[:, 3]).norm(dim=-1) / steps
    return found


def unrelated_defects(states: torch.Tensor, partner: Sequence[int]) -> torch.Tensor:
    """The same with the second context taken from another square: step 0 -> 1 of each against 3 -> 2 of its partner.

    Args:
        states: (n, 4, ...).
        partner: The number of each square's partner, (n,).

    Returns:
        (n,) float64.
    """
    z = states.double().flatten(2)
    one = z[:, 1] - z[:, 0]
    other = (z[:, 2] - z[:, 3])[list(partner)]
    found: torch.Tensor = (one - other).norm(dim=-1) / ((one.norm(dim=-1) + other.norm(dim=-1)) / 2)
    return found


def exact(answers: Sequence[frozenset[str]], truth: Sequence[frozenset[str]]) -> torch.Tensor:
    """Whether each answer is the true set of actions, (n,) float64 of 0 and 1."""
    return torch.tensor([float(a == t) for a, t in zip(answers, truth, strict=True)], dtype=torch.float64)


def first_hits(wanted: torch.Tensor, states: torch.Tensor, before: Sequence[int], after: Sequence[int]) -> torch.Tensor:
    """R@1: whether the true state is nearest to the wanted one among the states of the square but the one before.

    Args:
        wanted: (n, D).
        states: (n, 4, D).
        before, after: Numbers of the frames, (n,).

    Returns:
        (n,) float64 of 0 and 1.
    """
    rows = torch.arange(len(wanted))
    distance = (states - wanted[:, None]).norm(dim=-1)  # (n, 4)
    distance[rows, list(before)] = torch.inf
    hits: torch.Tensor = distance.argmin(dim=1) == torch.tensor(list(after))
    return hits.double()


def interval(values: torch.Tensor, groups: Sequence[object]) -> tuple[float, float]:
    """The mean of values (n,) and half the width of its 95 % interval; values of a group are not independent.

    The error is that of the mean over groups with their sums as draws (the linearised variance of a ratio).
    """
    known = torch.isfinite(values)
    values, groups = values[known].double(), [g for g, k in zip(groups, known.tolist(), strict=True) if k]
    if not len(values):
        return math.nan, math.nan
    mean = values.mean()
    names = {name: k for k, name in enumerate(dict.fromkeys(groups))}
    places = torch.tensor([names[g] for g in groups])
    sums = torch.zeros(len(names), dtype=torch.float64).index_add(0, places, values - mean)
    n = len(names)
    if n < 2:
        return float(mean), math.nan
    return float(mean), 1.96 * math.sqrt(float(sums.square().sum()) * n / (n - 1)) / len(values)
