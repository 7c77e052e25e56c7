"""k-nearest-neighbour and prototype accuracy of the deltas, and of the states for comparison.

Neighbours are searched by the cosine of the deltas in a bank of other pairs. The bank is the part of the training pairs
that the run kept, without the pairs of the split. Without such a part it is the split itself, and each pair is compared
with all others ("leave-one-out"), which shows how well actions cluster within the split, not how well they carry over
from training.
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
    """Majority vote of the k rows of the bank with the highest cosine; the larger sum of cosines decides equal votes.

    Args:
        queries: (n, D).
        bank: (m, D).
        labels: (m,) ids of the bank.
        k: number of neighbours; all rows where the bank has fewer.
        leave_one_out: queries and bank are the same rows, and none is its own neighbour.

    Returns:
        (n,) ids.

    Raises:
        ValueError: if the bank is empty or contains only the query itself.
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
        raise ValueError("prototypes need a bank with at least one row.")
    sums, sizes = group_sums(bank, labels, int(labels.max()) + 1)
    unit = directions(queries)
    cosines = unit @ directions(sums).T  # the direction of a sum is that of the mean
    cosines[:, sizes == 0] = -np.inf
    if leave_one_out:
        rows = np.arange(len(queries))
        without = sums[labels] - queries
        # The rounding error that remains of a prototype of one row is not a direction.
        own = (unit * directions(without)).sum(axis=1)
        cosines[rows, labels] = np.where(sizes[labels] > 1, own, -np.inf)
    best: Ids = cosines.argmax(axis=1)
    return best


def measure_neighbours(part: DeltaSet, train: DeltaSet | None = None, k: int = NEIGHBOURS) -> dict[str, Any] | None:
    """Accuracy of k-NN and prototypes.

    Args:
        part: the split.
        train: the bank; the split itself if it is None or all of its pairs are in the split.
        k: number of neighbours; the default is our choice.

    Returns:
        "k"; "bank": "train" or "leave-one-out"; "bank_n" rows in it; "knn" and "prototype": accuracy on the deltas,
        in [0, 1]; "knn_states": accuracy of k-NN on both states side by side, [z before, z after], which a method
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
