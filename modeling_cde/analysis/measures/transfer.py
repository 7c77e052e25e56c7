"""Cross-condition generalisation: an action learned on all objects but one, recognised on that one.

A linear probe (`measures.probes`) learns the actions from the deltas of all pairs of a split with other objects, and is
tested on the object held out. Each object is held out once. After the cross-condition generalisation performance of
Bernardi et al. (2020), with many classes and a discriminant probe.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..delta_set import DeltaSet
from .groups import Ids
from .probes import probe_accuracy, probe_scores, stratified_folds


def measure_transfer(part: DeltaSet, seed: int = 0) -> dict[str, Any] | None:
    """Accuracy of a linear action probe on the object that it was not fitted to.

    Args:
        part: the split; pairs of unknown object are left out.
        seed: of the folds of the comparison "within".

    Returns:
        "accuracy" in [0, 1] over all tested pairs; "chance": accuracy of always naming the most frequent action of the
        other objects, on the same pairs; "within": accuracy of the same probe where pairs are held out at random and
        the object is known, so that within - accuracy is the cost of a new object; "by_object": object -> {"accuracy",
        "n"}; "left_out": number of pairs whose action occurs on no other object, which no probe could name. None where
        no pair can be tested, as with a single object.
    """
    known = part.objects >= 0
    rows, actions, objects = part.delta[known], part.labels[known], part.objects[known]
    by_object: dict[str, dict[str, Any]] = {}
    tested = np.zeros(len(rows), dtype=bool)
    right, guessed = 0, 0
    for held_out in np.unique(objects):
        own = objects == held_out
        test = own & np.isin(actions, actions[~own])
        if not test.any():
            continue
        predicted = probe_scores(rows[~own], actions[~own], rows[test], len(part.actions)).argmax(axis=1)
        correct = predicted == actions[test]
        by_object[part.object_names[held_out]] = {"accuracy": float(correct.mean()), "n": int(test.sum())}
        right += int(correct.sum())
        guessed += int((actions[test] == np.bincount(actions[~own]).argmax()).sum())
        tested |= test
    if not tested.any():
        return None
    n = int(tested.sum())
    return {
        "accuracy": right / n,
        "chance": guessed / n,
        "within": _within(rows[tested], actions[tested], seed),
        "by_object": by_object,
        "left_out": len(rows) - n,
    }


def _within(rows: npt.NDArray[Any], actions: Ids, seed: int) -> float | None:
    """Accuracy of the probe on the tested pairs when they are held out at random."""
    repeated = np.bincount(actions)[actions] > 1
    if len(np.unique(actions[repeated])) < 2:
        return None
    fold = stratified_folds(actions[repeated], seed=seed)
    return probe_accuracy(rows[repeated], actions[repeated], fold)
