"""k-nearest-neighbour and prototype accuracy of the deltas, and of the states for comparison.

The neighbours are sought in a bank of other pairs by the cosine of the deltas. The bank is a part of the training
pairs where the run kept one, without the pairs that the split holds too; else it is the split itself, and each pair
is compared with all others but itself ("leave-one-out"). The second tells how well actions cluster within the split,
not how well they carry over from training.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..delta_set import TRAIN_SPLIT, DeltaSet
from ..extra import analysis_extra
from .groups import Ids, directions, group_sums

NEIGHBOURS = 5
LEAVE_ONE_OUT = "leave-one-out"


def nearest_neighbour_labels(
    queries: npt.NDArray[Any], bank: npt.NDArray[Any], labels: Ids, k: int = NEIGHBOURS, leave_one_out: bool = False
) -> Ids:
    """Majority vote of the k rows of the bank of highest cosine; equal votes go to the larger sum of cosines.

    Args:
        queries: (n, D).
        bank: (m, D).
        labels: (m,) ids of the bank.
        k: neighbours; all where the bank has fewer.
        leave_one_out: queries and bank are the same rows, and none is its own neighbour.

    Returns:
        (n,) ids.

    Raises:
        ValueError: if the bank is empty, or holds only the query itself.
    """
    with analysis_extra():
        from sklearn import config_context
        from sklearn.neighbors import KNeighborsClassifier

    k = min(k, len(bank) - int(leave_one_out))
    if k < 1:
        raise ValueError(
            f"k-NN needs k ≥ 1 and at least one other row in its bank; k is {k}, the bank has {len(bank)}."
        )
    # A vote weighs 2k + 1 + cosine. Sums of k cosines lie in [-k, k], so they decide between equal votes only.
    classifier = KNeighborsClassifier(k, metric="cosine", weights=lambda distance: 2 * k + 2 - distance)
    classifier.fit(bank.astype(np.float64), labels)
    with config_context(working_memory=64):  # MiB of distances at a time
        found: Ids = classifier.predict(None if leave_one_out else queries.astype(np.float64))
    return found


def prototype_labels(
    queries: npt.NDArray[Any], bank: npt.NDArray[Any], labels: Ids, leave_one_out: bool = False
) -> Ids:
    """The action whose prototype, the mean of its rows of the bank, has the highest cosine with the query.

    Args:
        queries: (n, D).
        bank: (m, D).
        labels: (m,) ids of the bank.
        leave_one_out: queries and bank are the same rows, and each is taken out of its own prototype.

    Returns:
        (n,) ids.

    Raises:
        ValueError: if the bank is empty.
    """
    if not len(bank):
        raise ValueError("prototypes need a bank of at least one row.")
    sums, sizes = group_sums(bank, labels, int(labels.max()) + 1)
    unit = directions(queries)
    cosines = unit @ directions(sums).T  # the direction of a sum is that of the mean
    cosines[:, sizes == 0] = -np.inf
    if leave_one_out:
        rows = np.arange(len(queries))
        without = sums[labels] - queries
        # What rounding leaves of a prototype of one row must not pass for a direction.
        own = (unit * directions(without)).sum(axis=1)
        cosines[rows, labels] = np.where(sizes[labels] > 1, own, -np.inf)
    best: Ids = cosines.argmax(axis=1)
    return best


def measure_neighbours(part: DeltaSet, train: DeltaSet | None = None, k: int = NEIGHBOURS) -> dict[str, Any] | None:
    """Accuracy of k-NN and prototypes.

    Args:
        part: the split.
        train: the bank; None, or one that shares all its pairs with the split: the split itself.
        k: neighbours; the default is ours.

    Returns:
        "k"; "bank": "train" or "leave-one-out"; "bank_n" rows in it; "knn" and "prototype": accuracy on the deltas,
        in [0, 1]; "knn_states": of k-NN on both states side by side, [z before, z after], which is what a method
        without a subtraction compares. None where the bank has no row to compare with.
    """
    own_pairs = set(part.pair_ids)
    bank, fresh, alone = part, np.ones(len(part), dtype=bool), True
    if train is not None:
        unshared = np.array([pair not in own_pairs for pair in train.pair_ids], dtype=bool)
        if unshared.any():
            bank, fresh, alone = train, unshared, False
    size = int(fresh.sum())
    if size - int(alone) < 1:
        return None
    rows, labels = bank.delta[fresh], bank.labels[fresh]
    states, bank_states = part.states.reshape(len(part), -1), bank.states[fresh].reshape(size, -1)
    return {
        "k": k,
        "bank": LEAVE_ONE_OUT if alone else TRAIN_SPLIT,
        "bank_n": size,
        "knn": _accuracy(nearest_neighbour_labels(part.delta, rows, labels, k, alone), part.labels),
        "prototype": _accuracy(prototype_labels(part.delta, rows, labels, alone), part.labels),
        "knn_states": _accuracy(nearest_neighbour_labels(states, bank_states, labels, k, alone), part.labels),
    }


def _accuracy(predicted: Ids, labels: Ids) -> float:
    return float((predicted == labels).mean())
