"""Cross-condition generalisation: an action learned on all objects but one, recognised on that one.

A linear probe (`modeling_cde.analysis.probes`) learns the actions from the deltas of all pairs of a split whose object
is another one, and is tested on the object left out. Each object is left out once. After the cross-condition
generalisation performance of Bernardi et al. (2020), with many classes and a discriminant probe.
"""

from typing import Any

import numpy as np

from .delta_set import DeltaSet
from .probes import FOLDS, SHRINKAGE, fit_linear_probe, probe_accuracy, stratified_folds


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
    rows, actions, objects = part.delta[known], part.labels[known], part.objects[known]
    by_object: dict[str, dict[str, Any]] = {}
    tested = np.zeros(len(rows), dtype=bool)
    right, guessed = 0, 0
    for held_out in np.unique(objects):
        other = objects != held_out
        test = ~other & np.isin(actions, actions[other])
        if not test.any():
            continue
        hits = fit_linear_probe(rows[other], actions[other], SHRINKAGE).predict(rows[test]) == actions[test]
        by_object[part.object_names[held_out]] = {"accuracy": float(hits.mean()), "n": int(test.sum())}
        right += int(hits.sum())
        guessed += int((actions[test] == np.bincount(actions[other]).argmax()).sum())
        tested |= test
    if not tested.any():
        return None
    n = int(tested.sum())
    return {
        "accuracy": right / n,
        "chance": guessed / n,
        "within": _within(part, tested, known, folds, seed),
        "by_object": by_object,
        "left_out": len(rows) - n,
    }


def _within(part: DeltaSet, tested: Any, known: Any, folds: int, seed: int) -> float | None:
    """Accuracy of the probe on the tested pairs when they are held out at random."""
    rows, actions = part.delta[known][tested], part.labels[known][tested]
    counts = np.bincount(actions)
    repeated = counts[actions] > 1
    if len(np.unique(actions[repeated])) < 2:
        return None
    fold = stratified_folds(actions[repeated], folds, seed)
    return probe_accuracy(rows[repeated], actions[repeated], fold)
