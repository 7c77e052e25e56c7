"""Linear discriminant analysis of deltas: a head in closed form, without training.

    S = W + between * B                             scatter of the deltas of one action, (D_b, D_b)
    S' = (1 - shrinkage) * S + shrinkage * t * I    with t = trace(S) / D_b
    score of action a = m_a' S'^-1 delta - m_a' S'^-1 m_a / 2

W is the scatter of the pairs around the mean of their action on their object, in which each pair counts alike. B is the
scatter of these means around the mean m_a of their action, in which each of them counts alike. W + B is what deltas of
one action vary by on objects that training did not have, where an action may look like it does on none of the others.
Where all combinations have equally many pairs, it is the plain scatter within actions, and the head is scikit-learn's
`LinearDiscriminantAnalysis(solver="eigen", shrinkage=...)` with equal priors.

The scores follow from at most A - 1 numbers: `directions` (k, D_b) are the discriminant axes, the most telling first,
scaled so that S' becomes the identity. The distance of two projected deltas is their Mahalanobis distance within the
space that tells the actions apart.

Notable:
- A pair and its swapped copy under the opposite action give opposite actions opposite means: the scores of `-delta` are
  those of `delta` with each action and its opposite exchanged.
- One eigendecomposition serves all shrinkages. It is of the smaller one of (D_b, D_b) and (n, n), so that a dozen pairs
  of 1,536 dimensions take milliseconds.

Sources: R. A. Fisher, "The use of multiple measurements in taxonomic problems", 1936; J. H. Friedman, "Regularized
discriminant analysis", 1989, for the shrinkage towards a multiple of the identity. The split of S into W and B, and the
weight between them, are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

# Chosen on the validation objects of 20 splits of rooms: 0 is 5 points worse, and 1 to 3 differ by .1; a prior of the
# actions is .1 worse, and no bias 10 points.
BETWEEN = 1.0
SHRINKAGES = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
# Without validation pairs to choose by: on the validation objects of 8 splits of rooms 0.2 to 0.5 differ by .1 points.
DEFAULT_SHRINKAGE = 0.3
_ROUNDING = 1e-10  # of the largest eigenvalue: below, it is an error of rounding


@dataclass(frozen=True)
class LinearHead:
    """A projection and a linear classifier, float64.

    Attributes:
        directions: (k, D_b).
        weight: (A, k).
        bias: (A,).
    """

    directions: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor

    def scores(self, delta: torch.Tensor) -> torch.Tensor:
        """Action scores (n, A) of differences of features (n, D_b)."""
        return delta.double() @ self.directions.T @ self.weight.T + self.bias


class Discriminant:
    """What the heads of all shrinkages have in common.

    Args:
        delta: Differences of features, (n, D_b).
        labels: Actions, int64 in [0, num_actions), (n,).
        objects: The object of each pair, whole numbers, (n,).
        num_actions: Number of actions A, each with at least one pair.
        between: Weight of the scatter between objects, at least 0.

    Raises:
        ValueError: The shapes do not fit, an action has no pairs, or a number is out of range.
    """

    def __init__(
        self,
        delta: torch.Tensor,
        labels: torch.Tensor,
        objects: torch.Tensor,
        num_actions: int,
        between: float = BETWEEN,
    ) -> None:
        if delta.ndim != 2 or labels.shape != delta.shape[:1] or objects.shape != delta.shape[:1]:
            raise ValueError(
                f"delta must be (n, D_b), and labels and objects (n,), not {tuple(delta.shape)}, "
                f"{tuple(labels.shape)} and {tuple(objects.shape)}."
            )
        if not 0 <= between < float("inf"):
            raise ValueError(f"between={between} must be a finite number of at least 0.")
        pairs = torch.bincount(labels, minlength=num_actions)
        if len(pairs) != num_actions or not bool(pairs.all()):
            missing = (pairs == 0).nonzero().flatten().tolist()
            what = f"action {missing[0]} has none" if missing else f"there are labels up to {len(pairs) - 1}"
            raise ValueError(f"Discriminant analysis needs pairs of each of the {num_actions} actions, and {what}.")
        delta = delta.double()
        action_means = _means(delta, labels, num_actions)
        table = torch.stack([labels, objects], dim=1)
        cells, cell = torch.unique(table, dim=0, return_inverse=True)  # the combinations of action and object
        cell_means = _means(delta, cell, len(cells))
        residuals = torch.cat(
            [
                (delta - cell_means[cell]) / len(delta) ** 0.5,
                (cell_means - action_means[cells[:, 0]]) * (between / len(cells)) ** 0.5,
            ]
        )
        self.values, self.vectors = _decompose(residuals)
        # The mean of all actions adds the same to the scores of each.
        self.origin = action_means.mean(dim=0)
        self.means = action_means - self.origin
        t = float(self.values.sum()) / delta.shape[1]
        self.mean_value = t or float(self.means.square().mean())  # one pair an action: what is left is the nearest mean

    def head(self, shrinkage: float, max_dim: int | None = None) -> LinearHead:
        """The head of a shrinkage in [0, 1], with at most `max_dim` directions; fewer than needed approximate it.

        Raises:
            ValueError: The shrinkage is out of range, or 0 with too few pairs for it.
        """
        if not 0 <= shrinkage <= 1:
            raise ValueError(f"shrinkage={shrinkage} must be in [0, 1].")
        floor = shrinkage * self.mean_value
        whole = len(self.values) == self.means.shape[1]
        if not whole and floor <= 0:
            raise ValueError(
                f"shrinkage={shrinkage} is too little for deltas that vary in {len(self.values)} of their "
                f"{self.means.shape[1]} dimensions: raise it, or give more pairs."
            )
        inside = self.means @ self.vectors.T  # (A, r)
        solved = (inside / ((1 - shrinkage) * self.values + floor)) @ self.vectors  # (A, D_b): m_a' S'^-1
        if not whole:
            solved += (self.means - inside @ self.vectors) / floor
        # Axes of the whitened means, without the square root of S': with K = M S'^-1 M' = U L U', they are
        # L^-1/2 U' M S'^-1, and the means have the coordinates U L^1/2 on them.
        values, axes = torch.linalg.eigh(solved @ self.means.T)
        telling = (values > _ROUNDING * values[-1]).nonzero().flatten().flip(0)[:max_dim]
        lengths = values[telling].sqrt()
        directions = axes[:, telling].T @ solved / lengths.unsqueeze(1)
        largest = directions.abs().argmax(dim=1, keepdim=True)  # the sign of an axis is free: make it a rule
        signs = directions.gather(1, largest).sign()
        directions, weight = directions * signs, axes[:, telling] * lengths * signs.T
        return LinearHead(directions, weight, -weight @ (directions @ self.origin) - weight.square().sum(1) / 2)


def fit_lda(
    delta: torch.Tensor,
    labels: torch.Tensor,
    objects: torch.Tensor,
    shrinkage: float,
    between: float = BETWEEN,
    num_actions: int | None = None,
    max_dim: int | None = None,
) -> LinearHead:
    """The head of one shrinkage; for arguments and errors see `Discriminant`. Default: as many actions as labels."""
    actions = int(labels.max()) + 1 if num_actions is None else num_actions
    return Discriminant(delta, labels, objects, actions, between).head(shrinkage, max_dim)


def choose_shrinkage(
    discriminant: Discriminant,
    parts: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
    shrinkages: tuple[float, ...] = SHRINKAGES,
) -> tuple[float, dict[float, float]]:
    """The shrinkage with the best accuracy on validation pairs, a mean over the parts; of equal ones the largest.

    Args:
        discriminant: Of the training pairs.
        parts: Name -> deltas (n, D_b) and actions (n,) of validation pairs; without any it is `DEFAULT_SHRINKAGE`.
        shrinkages: What is tried.

    Returns:
        The shrinkage, and the accuracy of each.
    """
    if not parts:
        return DEFAULT_SHRINKAGE, {}
    accuracies = {}
    for shrinkage in sorted(shrinkages):
        head = discriminant.head(shrinkage)
        right = [float((head.scores(d).argmax(1) == labels).double().mean()) for d, labels in parts.values()]
        accuracies[shrinkage] = sum(right) / len(right)
    return max(accuracies, key=lambda s: (accuracies[s], s)), accuracies


def _decompose(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The nonzero eigenvalues of rows' rows, (r,), and their eigenvectors, (r, D)."""
    few = len(rows) < rows.shape[1]
    values, vectors = torch.linalg.eigh(rows @ rows.T if few else rows.T @ rows)
    kept = values > _ROUNDING * values[-1].clamp(min=torch.finfo(values.dtype).tiny)
    values, vectors = values[kept], vectors[:, kept].T
    return values, (vectors @ rows) / values.sqrt().unsqueeze(1) if few else vectors


def _means(rows: torch.Tensor, groups: torch.Tensor, number: int) -> torch.Tensor:
    """The mean row of each group, (number, D)."""
    sums = torch.zeros(number, rows.shape[1], dtype=rows.dtype).index_add(0, groups, rows)
    return sums / torch.bincount(groups, minlength=number).unsqueeze(1)
