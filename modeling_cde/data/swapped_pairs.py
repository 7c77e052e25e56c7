"""Swapped pairs as augmentation: what opens from before to after closes from after to before."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import datasets
import numpy as np

from .schema import SWAPPED


def with_swapped(
    rows: datasets.Dataset, opposites: Mapping[str, str], held_out: Collection[tuple[int, int]] = ()
) -> datasets.Dataset:
    """The pairs, followed by a swapped copy of each pair whose action has an opposite.

    A copy has the opposite action and is otherwise the same row: `PairTransform` exchanges its frames. Irreversible
    actions have no copies.

    Args:
        rows: Pairs with the columns `action` and `object`; a transform is not kept.
        opposites: Name of an action -> name of its opposite, given both ways.
        held_out: Combinations (action, object), as class ids, that no copy may have: see `held_out_combinations`.

    Returns:
        The columns of `rows` and `SWAPPED`, a bool. No picture is copied: both halves read the same table.

    Raises:
        ValueError: No pair can have a copy; the message names the actions.
    """
    feature = rows.features["action"]
    ids = {name: i for i, name in enumerate(feature.names)}
    opposite = {i: ids[opposites[name]] for name, i in ids.items() if opposites.get(name) in ids}
    columns = rows.with_format(None).select_columns(["action", "object"])[:]
    combinations = enumerate(zip(columns["action"], columns["object"], strict=True))
    copied = [row for row, (act, kind) in combinations if act in opposite and (opposite[act], kind) not in held_out]
    if not copied:
        present = ", ".join(feature.int2str(action) for action in sorted(set(columns["action"])))
        raise ValueError(
            "swap_opposites needs an action whose opposite is known, such as open and close, and is not held out for a "
            f"test: the training pairs have none (their actions: {present}), so leave it out."
        )
    # A new column would copy rows that are a selection of a table, so the table gets it and is selected from again.
    table = datasets.Dataset(rows.data, info=rows.info, split=rows.split)
    size = len(table)
    places = np.arange(size) if rows._indices is None else rows._indices.column(0).to_numpy().astype(np.int64)
    actions = table.data.column("action").to_pylist()
    actions += [opposite.get(action, action) for action in actions]
    twice = datasets.concatenate_datasets([table, table]).remove_columns("action")
    twice = twice.add_column("action", actions, feature=feature).add_column(SWAPPED, np.arange(2 * size) >= size)
    return twice.select(np.concatenate([places, size + places[copied]]))


def held_out_combinations(splits: Mapping[str, datasets.Dataset]) -> set[tuple[int, int]]:
    """The combinations of action and object, as class ids, that "train" does not have and another split has.

    The compositional shift tests combinations that training never saw, and training has the opposite action on the
    same object: a swapped copy of such a pair would show it what is tested.
    """
    found = {}
    for name, rows in splits.items():
        columns = rows.with_format(None).select_columns(["action", "object"])[:]
        found[name] = set(zip(columns["action"], columns["object"], strict=True))
    return set().union(*found.values()) - found["train"]
