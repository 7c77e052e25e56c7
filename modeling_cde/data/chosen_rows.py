"""Chooses rows that represent a split where not all can be shown or kept."""

from __future__ import annotations

from collections.abc import Sequence


def evenly_spaced(number: int, most: int) -> list[int]:
    """At most `most` of `number` rows, evenly spaced and in ascending order; all of them if they are few enough."""
    kept = min(number, most)
    return [i * number // kept for i in range(kept)]


def spread_rows(actions: Sequence[int], objects: Sequence[int], number: int) -> list[int]:
    """Rows that show as many actions as possible, and each action on as many objects as possible.

    The actions take turns, one row each, until there are enough: an action first gives one row of each of its
    objects, in row order, then a second row of each. Nothing is random.

    From the class ids of n actions and objects it chooses min(n, number) different rows, in the order of choice.
    """
    seen: dict[tuple[int, int], int] = {}
    queues: dict[int, list[tuple[int, int]]] = {}
    for row, (action, kind) in enumerate(zip(actions, objects, strict=True)):
        turn = seen.get((action, kind), 0)
        seen[action, kind] = turn + 1
        queues.setdefault(action, []).append((turn, row))
    # The place in its action's queue comes first, so that sorting takes the actions in turn.
    order = [(place, action, row) for action, queue in queues.items() for place, (_, row) in enumerate(sorted(queue))]
    return [row for _, _, row in sorted(order)[:number]]
