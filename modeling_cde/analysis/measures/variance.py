"""Invariance: how much of the deltas' variance comes from the action, from the object, and from their combination.

A delta that is the same on every object varies by action alone. The sum of squares about the mean is split as in a
two-way analysis of variance, summed over the D dimensions:

    SS(total) = SS(A + O) + [SS(cells) - SS(A + O)] + [SS(total) - SS(cells)]
                 additive         interaction              residual

SS(A + O) is what the least-squares fit "mean + effect of the action + effect of the object" explains, SS(cells) what
the mean of each combination of action and object explains. Where the combinations are equally frequent
SS(A + O) = SS(A) + SS(O). Where they are not, action and object explain some of the same variance, and the order in
which they are fitted decides which gets it. Each then gets the mean over both orders (the average over orderings of
Lindeman, Merenda and Gold, 1980, which is the Shapley value):

    action = ½ [SS(A) + SS(A + O) - SS(O)],   object = ½ [SS(O) + SS(A + O) - SS(A)]

All four are divided by SS(total): they sum to 1 and each is in [0, 1], except the two above, which can fall below 0
where one factor hides the other. Where each action has an object of its own (as in a small compositional split), the
two factors cannot be distinguished and get equal shares.

The same with the mechanism in place of the object: where opening moves a door in one direction and a drawer in another,
and closing moves each back, the mean of a mechanism is near zero, and what the two differ in is the interaction.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .groups import Ids, group_means

SHARES = ("action", "object", "interaction", "residual")


def mechanism_shares(
    rows: npt.NDArray[Any], actions: Ids, mechanisms: Sequence[str] | None
) -> tuple[dict[str, float] | None, dict[str, float] | None]:
    """Shares of variance by action and mechanism, with those of noise.

    Args:
        rows: (n, D) deltas.
        actions: (n,) action ids.
        mechanisms: n names of how the action is done.

    Returns:
        The results of `variance_shares` and `shares_by_chance` with "mechanism" in place of "object"; None and None
        where there are no mechanisms or the rows do not vary.
    """
    if mechanisms is None:
        return None, None
    ids = np.unique(np.asarray(mechanisms), return_inverse=True)[1].reshape(-1).astype(np.int64)
    if (shares := variance_shares(rows, actions, ids)) is None:
        return None, None
    both = (shares, shares_by_chance(actions, ids) or {})
    named, chance = ({"mechanism" if name == "object" else name: value for name, value in x.items()} for x in both)
    return named, chance


def variance_shares(rows: npt.NDArray[Any], actions: Ids, objects: Ids) -> dict[str, float] | None:
    """Shares of variance; the formula is at the top of this file.

    Args:
        rows: (n, D) deltas.
        actions: (n,) action ids.
        objects: (n,) object ids.

    Returns:
        "action", "object", "interaction" and "residual", which sum to 1; None where the rows do not vary.
    """
    if not len(rows):
        return None
    exact = rows.astype(np.float64)
    exact = exact - exact.mean(axis=0)
    total = float((exact**2).sum())
    # The rounding of float32 rows alone gives about 1e-14 of their squares; so small a variance means nothing.
    if total <= 1e-12 * float((rows.astype(np.float64) ** 2).sum()):
        return None
    cells, cell_actions, cell_objects = _cells(actions, objects)
    means, sizes = group_means(exact, cells, len(cell_actions))
    of_actions, of_objects = _dummies(cell_actions), _dummies(cell_objects)
    designs = (of_actions, of_objects, np.hstack([of_actions, of_objects]))
    action, obj, both = (_explained(means, sizes, design) for design in designs)
    return _split(action, obj, both, float((sizes[:, None] * means**2).sum()), total)


def shares_by_chance(actions: Ids, objects: Ids) -> dict[str, float] | None:
    """The mean shares of deltas that do not depend on action or object, for these numbers of pairs.

    Combinations of few pairs fit noise: with two pairs in each, half of pure noise looks like a difference between
    combinations. Dealing the rows out at random gives each part the share degrees of freedom / (n - 1) on average.

    Args:
        actions: (n,) action ids.
        objects: (n,) object ids.

    Returns:
        The same keys as `variance_shares`; None for fewer than two rows.
    """
    if len(actions) < 2:
        return None
    _, cell_actions, cell_objects = _cells(actions, objects)
    of_actions, of_objects = _dummies(cell_actions), _dummies(cell_objects)
    both = int(np.linalg.matrix_rank(np.hstack([of_actions, of_objects])))
    ranks = (of_actions.shape[1], of_objects.shape[1], both, len(cell_actions), len(actions))
    return _split(*(rank - 1 for rank in ranks))  # degrees of freedom: the mean takes one


def _split(action: float, obj: float, both: float, cells: float, total: float) -> dict[str, float]:
    """The shares, from the sums of squares that action, object, both and the cells explain, and the total."""
    parts = ((action + both - obj) / 2, (obj + both - action) / 2, cells - both, total - cells)
    return {name: value / total for name, value in zip(SHARES, parts, strict=True)}


def _cells(actions: Ids, objects: Ids) -> tuple[Ids, Ids, Ids]:
    """The cell of each row (n,), and the action and the object of each cell."""
    pairs, cells = np.unique(np.stack([actions, objects], axis=1), axis=0, return_inverse=True)
    return cells.reshape(-1), pairs[:, 0], pairs[:, 1]


def _dummies(ids: Ids) -> npt.NDArray[np.float64]:
    """(c,) ids -> (c, groups) with a 1 in the column of each row's group."""
    return np.asarray(ids[:, None] == np.unique(ids)[None, :], dtype=np.float64)


def _explained(means: npt.NDArray[np.float64], sizes: Ids, design: npt.NDArray[np.float64]) -> float:
    """Sum of squares of the weighted least-squares fit to cell means (c, D) whose weighted mean is 0."""
    weights = np.sqrt(sizes)[:, None]
    solution, *_ = np.linalg.lstsq(weights * design, weights * means, rcond=None)
    return float(((weights * (design @ solution)) ** 2).sum())
