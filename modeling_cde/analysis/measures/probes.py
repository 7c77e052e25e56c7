"""Independence: how well object and scene can be read from a delta by a linear probe, against a state.

The probe is a linear discriminant analysis with a covariance shrunk towards a multiple of the identity. It is that of
scikit-learn's `LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s)`, which takes many times as long for dozens of
classes:
class c with centroid μ_c and share π_c of the n training rows has the score

    s_c(x) = x·w_c + b_c,   w_c = Σ⁻¹ μ_c,   b_c = -½ μ_c·w_c + log π_c
    Σ = (1 - s) S_w / n + s · tr(S_w / n) / D · I,   S_w = Σ_i (x_i - μ_c(i))(x_i - μ_c(i))ᵀ

It is solved in closed form, so no learning rate or stopping point can decide the result. Using this probe rather than
logistic regression, and s = 0.1, are our choices; on the deltas and states of a trained model it was within three
points of logistic regression (C = 1, standardised features) in each of ten comparisons. Accuracy is measured on rows
that the probe was not fitted to.
"""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from ..delta_set import DeltaSet
from ..extra import analysis_extra
from .groups import Ids, Rows, group_means

FOLDS = 5
SHRINKAGE = 0.1
_ROUNDING = 1e-12  # a share of the variance as small as this is rounding, not variation within a class


def probe_scores(rows: npt.NDArray[Any], targets: Ids, new_rows: npt.NDArray[Any], count: int) -> Rows:
    """Fit the probe described at the top of this file and score other rows with it.

    Where no class varies within itself (one row each) there is no covariance to estimate: the nearest centroid then
    scores highest. Where no two rows differ, it is the most frequent class.

    Args:
        rows: (n, D) training rows, n ≥ 1.
        targets: (n,) their classes, in [0, count).
        new_rows: (m, D) rows to score.
        count: number of classes.

    Returns:
        (m, count) scores, -inf for a class without training rows.
    """
    classes, ids = np.unique(targets, return_inverse=True)
    middle = rows.mean(axis=0, dtype=np.float64)
    rows, new_rows = rows - middle, new_rows - middle
    centroids, sizes = group_means(rows, ids, len(classes))
    total, within = (rows**2).sum(), rows - centroids[ids]
    if len(classes) > 1 and (within**2).sum() > _ROUNDING * total:
        covariance = within.T @ within / len(rows)
        spread = np.trace(covariance) / len(covariance)
        covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * spread * np.eye(len(covariance))
        weights = np.linalg.solve(covariance, centroids.T)  # (D, classes)
        found = new_rows @ weights - 0.5 * (centroids.T * weights).sum(axis=0) + np.log(sizes / len(rows))
    else:
        found = new_rows @ centroids.T - 0.5 * (centroids**2).sum(axis=1) + (0 if total else np.log(sizes))
    scores = np.full((len(new_rows), count), -np.inf)
    scores[:, classes] = found
    return scores


def stratified_folds(targets: Ids, folds: int = FOLDS, seed: int = 0) -> Ids:
    """Deal rows into folds at random so that every target is spread over as many as possible.

    Args:
        targets: (n,) integers, one of which at least occurs twice.
        folds: how many; at most as many as the most frequent target has rows.
        seed: of the shuffle.

    Returns:
        (n,) the fold of each row. A target of fewer rows than folds has one row in each of as many folds.
    """
    with analysis_extra():
        from sklearn.model_selection import StratifiedKFold

    folds = min(folds, int(np.unique(targets, return_counts=True)[1].max()))
    dealt = np.empty(len(targets), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some targets have fewer rows than there are folds
        splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
        for fold, (_, test) in enumerate(splitter.split(targets, targets)):
            dealt[test] = fold
    return dealt


def probe_accuracy(rows: npt.NDArray[Any], targets: Ids, fold: Ids, actions: Ids | None = None) -> float:
    """Share of rows whose target is read by a probe fitted to the other folds.

    A probe that is told the row's true action is fitted to the combinations of action and target, with one covariance
    for all of them, and chooses among those of the true action only: a linear probe for each action that shares its
    covariance with the others.

    Args:
        rows: (n, D).
        targets: (n,) integers.
        fold: (n,) from `stratified_folds`.
        actions: (n,) the true action of each row, for a probe that is told it.

    Returns:
        A number in [0, 1].
    """
    actions = np.zeros_like(targets) if actions is None else actions
    cells, ids = combinations(actions, targets)
    hits = 0
    for i in np.unique(fold):
        test = fold == i
        scores = probe_scores(rows[~test], ids[~test], rows[test], len(cells))
        scores[cells[None, :, 0] != actions[test][:, None]] = -np.inf
        hits += int((cells[scores.argmax(axis=1), 1] == targets[test]).sum())
    return hits / len(targets)


def best_guess(targets: Ids, known: Ids | None = None) -> float:
    """Accuracy of the best guess that sees no picture: the most frequent target.

    It is counted on the same rows that it describes, so it is a little high where they are few.

    Args:
        targets: (n,) integers.
        known: (n,) what the guess may know, such as the action: the most frequent target among rows that share it.

    Returns:
        A share in (0, 1]: Σ_a max_t n(a, t) / n.
    """
    cells, ids = combinations(np.zeros_like(targets) if known is None else known, targets)
    most = np.zeros(int(cells[:, 0].max()) + 1, dtype=np.int64)
    np.maximum.at(most, cells[:, 0], np.bincount(ids))
    return float(most.sum() / len(targets))


def measure_probe(part: DeltaSet, targets: Ids, seed: int = 0) -> dict[str, Any] | None:
    """Read a target from the deltas, and from the states before the action.

    "delta" alone does not show independence, for two reasons. Some objects undergo some actions only, so a delta that
    holds nothing but the action still says something about the object ("from_action"). And where opposite actions are
    anti-parallel, the deltas of an object that undergoes both have a mean near zero, where a linear probe finds
    nothing. "within_action" is free of both: the probe is told the action, and what it reads above its "chance" is
    what the delta says beyond the action.

    Rows of one scene may be on both sides of a fold.

    Args:
        part: the split.
        targets: (n,) integers, -1 where not known. Targets with fewer rows than folds are left out.
        seed: of the folds of the cross-validation.

    Returns:
        "delta" and "states": accuracy on held-out folds in [0, 1]; "chance": accuracy of always naming the most
        frequent target; "from_action": of naming the most frequent target of the pair's true action; "n" rows and
        "classes" (targets) that took part; "within_action": {"delta", "states", "chance", "n"}, the same for a probe
        that is told the true action, None where no action has two targets of two rows. None where fewer than two
        targets have as many rows as there are folds.
    """
    used = _frequent(targets, targets >= 0, FOLDS)
    if len(np.unique(targets[used])) < 2:
        return None
    within = rows_within_actions(part.labels, targets)
    return {
        **_read(part, targets, used, seed),
        "from_action": best_guess(targets[used], part.labels[used]),
        "classes": len(np.unique(targets[used])),
        "within_action": _read(part, targets, within, seed, told=True) if within.any() else None,
    }


def _read(part: DeltaSet, targets: Ids, used: npt.NDArray[np.bool_], seed: int, told: bool = False) -> dict[str, Any]:
    wanted, actions = targets[used], part.labels[used] if told else None
    fold = stratified_folds(wanted if actions is None else combinations(actions, wanted)[1], seed=seed)
    return {
        "delta": probe_accuracy(part.delta[used], wanted, fold, actions),
        "states": probe_accuracy(part.states[used, 0], wanted, fold, actions),
        "chance": best_guess(wanted, actions),
        "n": int(used.sum()),
    }


def measure_probes(part: DeltaSet, seed: int = 0) -> dict[str, Any]:
    """`measure_probe` for "object" and "scene"."""
    _, scenes = np.unique(np.array(part.scenes, dtype=str), return_inverse=True)
    return {
        "object": measure_probe(part, part.objects, seed),
        "scene": measure_probe(part, scenes.reshape(-1).astype(np.int64), seed),
    }


def rows_within_actions(actions: Ids, targets: Ids) -> npt.NDArray[np.bool_]:
    """Rows with which a probe that is told the action can be fitted and tested.

    Returns:
        (n,) True where the target is known, the row's combination of action and target has two rows or more, and the
        action has two such combinations or more.
    """
    used = _frequent(combinations(actions, targets)[1], targets >= 0, 2)
    kinds, _ = combinations(actions[used], targets[used])
    values, counts = np.unique(kinds[:, 0], return_counts=True)
    return used & np.isin(actions, values[counts > 1])


def combinations(actions: Ids, targets: Ids) -> tuple[Ids, Ids]:
    """The different (action, target), (C, 2), and which of them each row has, (n,)."""
    cells, ids = np.unique(np.stack([actions, targets], axis=1), axis=0, return_inverse=True)
    return cells, ids.reshape(-1)


def _frequent(ids: Ids, among: npt.NDArray[np.bool_], least: int) -> npt.NDArray[np.bool_]:
    """(n,) which rows are `among` and have an id that at least `least` of these have."""
    values, counts = np.unique(ids[among], return_counts=True)
    return among & np.isin(ids, values[counts >= least])
