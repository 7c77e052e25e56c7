"""Cross-condition generalisation: an action learned on all objects but one, recognised on that one.

A linear probe (`measures.probes`) learns the actions from the deltas of all pairs of a split whose
object is another one, and is tested on the object left out. Each object is left out once. After the cross-condition
generalisation performance of Bernardi et al. (2020), with many classes and a discriminant probe.
"""

from typing import Any

import numpy as np

from ..delta_set import DeltaSet
from .groups import Ids, Rows, group_sums
from .probes import FOLDS, fit_from_moments, probe_accuracy, stratified_folds


def measure_transfer(part: DeltaSet, folds: int = FOLDS, seed: int = 0) -> dict[str, Any] | None:
    """Accuracy of a linear action probe on the object that it was not fitted to.

    Args:
        part: the split; pairs whose object is not known take no part.
        folds: folds of the comparison "within".
        seed: of these folds.

    Returns:
        "accuracy" in [0, 1] over all tested pairs; "chance": that of always saying the most frequent action of the
        other objects, on the same pairs; "within": of the same probe where the pairs are held out at random and the
        object is known, so that within - accuracy is what a new object costs; "by_object": object -> {"accuracy",
        "n"}; "left_out": pairs whose action no other object suffers, which no probe could name. None where no pair
        can be tested, as with one object only.
    """
    known = part.objects >= 0
    rows, actions, objects = part.delta[known].astype(np.float64), part.labels[known], part.objects[known]
    rows = rows - rows.mean(axis=0) if len(rows) else rows
    sums, sizes = group_sums(rows, actions, len(part.actions))
    squares = rows.T @ rows
    by_object: dict[str, dict[str, Any]] = {}
    tested = np.zeros(len(rows), dtype=bool)
    right, guessed = 0, 0
    for held_out in np.unique(objects):
        own = objects == held_out
        own_sums, own_sizes = group_sums(rows[own], actions[own], len(part.actions))
        other_sizes = sizes - own_sizes
        classes = np.flatnonzero(other_sizes)
        test = own & np.isin(actions, classes)
        if not test.any():
            continue
        # The sums over all other objects are those over all, less those over this one.
        other_sums, other_squares = (sums - own_sums)[classes], squares - rows[own].T @ rows[own]
        probe = fit_from_moments(other_sums, other_sizes[classes], other_squares, classes)
        correct = probe.predict(rows[test]) == actions[test]
        by_object[part.object_names[held_out]] = {"accuracy": float(correct.mean()), "n": int(test.sum())}
        right += int(correct.sum())
        guessed += int((actions[test] == other_sizes.argmax()).sum())
        tested |= test
    if not tested.any():
        return None
    n = int(tested.sum())
    return {
        "accuracy": right / n,
        "chance": guessed / n,
        "within": _within(rows[tested], actions[tested], folds, seed),
        "by_object": by_object,
        "left_out": len(rows) - n,
    }


def _within(rows: Rows, actions: Ids, folds: int, seed: int) -> float | None:
    """Accuracy of the probe on the tested pairs when they are held out at random."""
    repeated = np.bincount(actions)[actions] > 1
    if len(np.unique(actions[repeated])) < 2:
        return None
    fold = stratified_folds(actions[repeated], folds, seed)
    return probe_accuracy(rows[repeated], actions[repeated], fold)
