"""Divides pairs into folds: whole groups, and the actions spread evenly."""

import random
from collections import Counter
from collections.abc import Hashable, Sequence


def grouped_folds(groups: Sequence[Hashable], labels: Sequence[int], folds: int, seed: int) -> list[list[int]]:
    """The pairs that each fold tests, as sorted numbers; every pair is in one fold, and a group in one only.

    Groups are dealt one after another, the largest first and equals in an order drawn from the seed. Each goes where
    the fold has the fewest pairs of the group's actions, as shares of all pairs of an action.

    Args:
        groups: The group of each pair, such as its scene.
        labels: The action of each pair.
        folds: How many, in [2, number of groups].
        seed: Of the order.

    Raises:
        ValueError: There are fewer groups than folds.
    """
    members: dict[Hashable, list[int]] = {}
    for number, group in enumerate(groups):
        members.setdefault(group, []).append(number)
    if not 2 <= folds <= len(members):
        raise ValueError(f"{len(members)} groups cannot be divided into {folds} folds.")
    order = list(members)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda group: -len(members[group]))  # stable: equals stay as they were drawn
    total = Counter(labels)
    counts: list[Counter[int]] = [Counter() for _ in range(folds)]
    found: list[list[int]] = [[] for _ in range(folds)]
    for group in order:
        own = Counter(labels[number] for number in members[group])
        fold = min(
            range(folds),
            key=lambda f: (sum(counts[f][a] * k / total[a] for a, k in own.items()), len(found[f])),
        )
        counts[fold] += own
        found[fold] += members[group]
    return [sorted(fold) for fold in found]
