"""Independence: how well object and scene can be read from a delta by a linear probe, against a state.

The probe is linear discriminant analysis with a covariance shrunk towards a multiple of the identity: class c with
centroid μ_c and share π_c of the n training rows has the score

    s_c(x) = x·w_c + b_c,   w_c = Σ⁻¹ μ_c,   b_c = -½ μ_c·w_c + log π_c
    Σ = (1 - s) S_w / n + s · tr(S_w / n) / D · I,   S_w = Σ_i (x_i - μ_c(i))(x_i - μ_c(i))ᵀ

It is solved in closed form, so it has neither a learning rate nor a stopping point that could decide the result. That
it is this probe and not logistic regression, and s = 0.1, are our choices; on the deltas and states of a trained model
it was within three points of logistic regression (C = 1, standardised features) on each of ten comparisons. Accuracy is
measured on rows that the probe was not fitted to.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..delta_set import DeltaSet
from .groups import Ids, Rows, group_sums

FOLDS = 5
SHRINKAGE = 0.1
_ROUNDING = 1e-12  # a share of the variance as small as this is rounding, not variation within a class


@dataclass(frozen=True)
class LinearProbe:
    """A fitted linear classifier.

    Attributes:
        weights: (D, C).
        bias: (C,).
        classes: (C,) the target that each column stands for.
    """

    weights: Rows
    bias: Rows
    classes: Ids

    def scores(self, rows: npt.NDArray[Any]) -> Rows:
        """(m, D) rows -> (m, C) scores."""
        return np.asarray(rows.astype(np.float64) @ self.weights + self.bias)

    def predict(self, rows: npt.NDArray[Any]) -> Ids:
        """(m, D) rows -> (m,) targets of highest score."""
        best: Ids = self.classes[self.scores(rows).argmax(axis=1)]
        return best


def fit_linear_probe(rows: npt.NDArray[Any], targets: Ids, shrinkage: float = SHRINKAGE) -> LinearProbe:
    """Fit the probe described at the top of this file.

    Args:
        rows: (n, D), n ≥ 1.
        targets: (n,) integers, any values.
        shrinkage: s in (0, 1].
    """
    exact = rows.astype(np.float64)
    middle = exact.mean(axis=0)
    exact = exact - middle  # moves no decision, and keeps the squares below exact
    classes, ids = np.unique(targets, return_inverse=True)
    sums, sizes = group_sums(exact, ids.reshape(-1), len(classes))
    probe = fit_from_moments(sums, sizes, exact.T @ exact, classes, shrinkage)
    return LinearProbe(probe.weights, probe.bias - middle @ probe.weights, classes)


def fit_from_moments(sums: Rows, sizes: Ids, squares: Rows, classes: Ids, shrinkage: float = SHRINKAGE) -> LinearProbe:
    """Fit the probe to sums over the rows, which need not be at hand any more.

    Where no class varies within itself (one row each) there is no covariance to speak of: the probe then picks the
    nearest centroid; and where no row differs from another, the most frequent class.

    Args:
        sums: (C, D) sum of the rows of each class, of rows whose mean is near 0.
        sizes: (C,) rows of each class, at least one.
        squares: (D, D) Σ_i x_i x_iᵀ over all rows.
        classes: (C,) the target that each class stands for.
        shrinkage: s in (0, 1].
    """
    n, dimensions = int(sizes.sum()), sums.shape[1]
    centroids = sums / sizes[:, None]
    log_share = np.log(sizes / n)
    within = (squares - sums.T @ centroids) / n  # S_w / n, as Σ_c n_c μ_c μ_cᵀ = Σ_c sum_c μ_cᵀ
    spread, total = float(np.trace(within)) / dimensions, float(np.trace(squares)) / n / dimensions
    if spread > _ROUNDING * total:
        covariance = (1 - shrinkage) * within
        covariance[np.diag_indices(dimensions)] += shrinkage * spread
        weights = np.linalg.solve(covariance, centroids.T)
    else:
        weights = centroids.T.copy()
        log_share = np.zeros(len(classes)) if total > 0 else log_share
    return LinearProbe(weights, -0.5 * (centroids.T * weights).sum(axis=0) + log_share, classes)


def stratified_folds(targets: Ids, folds: int = FOLDS, seed: int = 0) -> Ids:
    """Deal rows into folds so that every target is spread over as many as it can be.

    Args:
        targets: (n,) integers. A target of r < `folds` rows is in r of the folds, one row each.
        folds: how many.
        seed: of the shuffle before dealing.

    Returns:
        (n,) fold of each row in [0, folds).
    """
    rng = np.random.default_rng(seed)
    dealt = np.empty(len(targets), dtype=np.int64)
    start = 0  # goes on from one target to the next, so that small targets do not all begin in fold 0
    for target in np.unique(targets):
        own = rng.permutation(np.flatnonzero(targets == target))
        dealt[own] = (start + np.arange(len(own))) % folds
        start += len(own)
    return dealt


def probe_accuracy(rows: npt.NDArray[Any], targets: Ids, fold: Ids, shrinkage: float = SHRINKAGE) -> float:
    """Share in [0, 1] of rows whose target is read by a probe fitted to the other folds.

    Args:
        rows: (n, D).
        targets: (n,) integers.
        fold: (n,) from `stratified_folds`.
        shrinkage: see `fit_linear_probe`.
    """
    hits = 0
    for i in np.unique(fold):
        test = fold == i
        probe = fit_linear_probe(rows[~test], targets[~test], shrinkage)
        hits += int((probe.predict(rows[test]) == targets[test]).sum())
    return hits / len(targets)


def accuracy_within_actions(
    rows: npt.NDArray[Any], actions: Ids, targets: Ids, fold: Ids, shrinkage: float = SHRINKAGE
) -> float:
    """Share in [0, 1] of rows whose target is read by a probe that is told the row's true action.

    One probe is fitted to the combinations of action and target, with one covariance for all of them, and chooses
    among those of the true action only: a linear probe for each action that shares its covariance with the others.

    Args:
        rows: (n, D).
        actions: (n,) action ids.
        targets: (n,) integers.
        fold: (n,) from `stratified_folds`.
        shrinkage: see `fit_linear_probe`.
    """
    cells, ids = combinations(actions, targets)
    hits = 0
    for i in np.unique(fold):
        test = fold == i
        probe = fit_linear_probe(rows[~test], ids[~test], shrinkage)
        scores = probe.scores(rows[test])  # (m, C)
        scores[cells[probe.classes, 0][None, :] != actions[test][:, None]] = -np.inf
        hits += int((cells[probe.classes[scores.argmax(axis=1)], 1] == targets[test]).sum())
    return hits / len(targets)


def best_guess(targets: Ids, known: Ids | None = None) -> float:
    """Accuracy of the best guess that sees no picture: the most frequent target.

    It is counted on the very rows that it is said of, so that it is a little high where they are few.

    Args:
        targets: (n,) integers.
        known: (n,) what the guess may know, such as the action: the most frequent target among rows that share it.

    Returns:
        A share in (0, 1]: Σ_a max_t n(a, t) / n.
    """
    cells, ids = combinations(np.zeros_like(targets) if known is None else known, targets)
    most = {action: 0 for action in cells[:, 0].tolist()}
    for (action, _), size in zip(cells.tolist(), np.bincount(ids).tolist(), strict=True):
        most[action] = max(most[action], size)
    return sum(most.values()) / len(targets)


def measure_probe(part: DeltaSet, targets: Ids, folds: int = FOLDS, seed: int = 0) -> dict[str, Any] | None:
    """Read a target from the deltas, and from the states before the action.

    Two things keep "delta" from telling independence by itself. Some objects suffer some actions only, so that a
    delta which holds nothing but the action still tells something of the object ("from_action"). And where opposite
    actions are anti-parallel, the deltas of an object that suffers both have their mean near zero, where a linear probe
    finds nothing. "within_action" is free of both: the probe is told the action, and what it reads above its "chance"
    is what the delta tells beyond it.

    Rows of one scene may stand on both sides of a fold.

    Args:
        part: the split.
        targets: (n,) integers, -1 where not known. Targets of fewer rows than folds are left out.
        folds: folds of the cross-validation.
        seed: of the folds.

    Returns:
        "delta" and "states": accuracy on held-out folds in [0, 1]; "chance": that of always saying the most frequent
        target; "from_action": that of the most frequent target of the pair's true action; "n" rows and "classes"
        (targets) that took part; "within_action": {"delta", "states", "chance", "n"}, the same where the probe knows
        the true action (`accuracy_within_actions`), None where no action has two targets of two rows. None where fewer
        than two targets have as many rows as there are folds.
    """
    used = _frequent(targets, targets >= 0, folds)
    if len(np.unique(targets[used])) < 2:
        return None
    fold = stratified_folds(targets[used], folds, seed)
    return {
        "delta": probe_accuracy(part.delta[used], targets[used], fold),
        "states": probe_accuracy(part.states[used, 0], targets[used], fold),
        "chance": best_guess(targets[used]),
        "from_action": best_guess(targets[used], part.labels[used]),
        "n": int(used.sum()),
        "classes": len(np.unique(targets[used])),
        "within_action": _within_action(part, targets, folds, seed),
    }


def measure_probes(part: DeltaSet, folds: int = FOLDS, seed: int = 0) -> dict[str, Any]:
    """`measure_probe` for "object" and "scene"."""
    _, scenes = np.unique(np.array(part.scenes, dtype=str), return_inverse=True)
    return {
        "object": measure_probe(part, part.objects, folds, seed),
        "scene": measure_probe(part, scenes.reshape(-1).astype(np.int64), folds, seed),
    }


def rows_within_actions(actions: Ids, targets: Ids) -> npt.NDArray[np.bool_]:
    """Rows with which a probe that knows the action can be fitted and tested.

    Returns:
        (n,) True where the target is known, the row's combination of action and target has two rows or more, and the
        action has two such combinations or more.
    """
    _, cells = combinations(actions, targets)
    used = _frequent(cells, targets >= 0, 2)
    kinds, _ = combinations(actions[used], targets[used])
    several = [action for action, count in zip(*np.unique(kinds[:, 0], return_counts=True), strict=True) if count > 1]
    return used & np.isin(actions, several)


def _within_action(part: DeltaSet, targets: Ids, folds: int, seed: int) -> dict[str, Any] | None:
    used = rows_within_actions(part.labels, targets)
    if not used.any():
        return None
    actions, wanted = part.labels[used], targets[used]
    fold = stratified_folds(combinations(actions, wanted)[1], folds, seed)
    return {
        "delta": accuracy_within_actions(part.delta[used], actions, wanted, fold),
        "states": accuracy_within_actions(part.states[used, 0], actions, wanted, fold),
        "chance": best_guess(wanted, actions),
        "n": int(used.sum()),
    }


def combinations(actions: Ids, targets: Ids) -> tuple[Ids, Ids]:
    """The different (action, target), (C, 2), and which of them each row has, (n,)."""
    cells, ids = np.unique(np.stack([actions, targets], axis=1), axis=0, return_inverse=True)
    return cells, ids.reshape(-1)


def _frequent(ids: Ids, among: npt.NDArray[np.bool_], least: int) -> npt.NDArray[np.bool_]:
    """(n,) which rows are `among` and have an id that at least `least` of these have."""
    values, counts = np.unique(ids[among], return_counts=True)
    return among & np.isin(ids, values[counts >= least])
