"""Swapped pairs as augmentation: what opens from before to after closes from after to before."""

from __future__ import annotations

from collections.abc import Mapping

import datasets
import numpy as np


def with_swapped(rows: datasets.Dataset, opposites: Mapping[str, str]) -> datasets.Dataset:
    """The pairs, followed by a swapped copy of each pair that can have one.

    A copy has the opposite action and is otherwise the same row: `PairTransform` exchanges its frames. A pair has none
    if no other pair of `rows` has the opposite action on the same object. So irreversible actions have none, and
    training gets no combination of action and object that it did not have: the compositional shift tests those.

    Args:
        rows: Pairs with the columns `action` and `object`; a transform is not kept.
        opposites: Name of an action -> name of its opposite, given both ways.

    Returns:
        The columns of `rows` and `swapped`, a bool. No picture is copied: both halves read the same table.

    Raises:
        ValueError: No pair can have a copy; the message names the actions.
    """
    feature = rows.features["action"]
    ids = {name: i for i, name in enumerate(feature.names)}
    opposite = {i: ids[opposites[name]] for name, i in ids.items() if opposites.get(name) in ids}
    columns = rows.with_format(None).select_columns(["action", "object"])[:]
    combinations = list(zip(columns["action"], columns["object"], strict=True))
    seen = set(combinations)
    copied = [row for row, (action, kind) in enumerate(combinations) if (opposite.get(action), kind) in seen]
    if not copied:
        present = ", ".join(feature.int2str(action) for action in sorted(set(columns["action"])))
        raise ValueError(
            "swap_opposites needs two opposite actions, such as open and close, on the same object, and the training "
            f"pairs have none (their actions: {present}): leave it out."
        )
    # A new column would copy rows that are a selection of a table, so the table gets it and is selected from again.
    table = datasets.Dataset(rows.data, info=rows.info, split=rows.split)
    size = len(table)
    places = np.arange(size) if rows._indices is None else rows._indices.column(0).to_numpy().astype(np.int64)
    actions = table.data.column("action").to_pylist()
    actions += [opposite.get(action, action) for action in actions]
    twice = datasets.concatenate_datasets([table, table]).remove_columns("action")
    twice = twice.add_column("action", actions, feature=feature).add_column("swapped", np.arange(2 * size) >= size)
    return twice.select(np.concatenate([places, size + places[copied]]))
