"""Takes subsets of a data set: fewer training pairs, fewer training objects, fewer actions.

Every choice depends on names and the seed, not on the order of the rows, and choices are nested: a larger number with
the same seed keeps everything that a smaller one keeps.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import datasets

from .splits import OPPOSITES


def take_subsets(
    splits: Mapping[str, datasets.Dataset],
    *,
    train_pairs: int | None = None,
    train_objects: int | None = None,
    num_actions: int | None = None,
    seed: int = 0,
) -> dict[str, datasets.Dataset]:
    """Leave out pairs: by action first, then by training object, then training pairs. None keeps all.

    Class names do not change, so an id means the same in every run.

    Args:
        splits: Of `load_shifts`: "train" and the parts to validate and test on.
        train_pairs: Number of training pairs; each action keeps its share, and at least one pair.
        train_objects: Number of training objects, drawn so that every action has one first; the other splits keep all
            of theirs. Objects that were left out are then unseen on `test_comp`.
        num_actions: Number of actions to train and test on; in the drawn order an action is followed by its opposite.
            A shift's part without any of them is left out, with a warning.
        seed: Of the draws.

    Returns:
        The splits under the same names; two names of one split stay one split.

    Raises:
        ValueError: There are fewer, or a training action or an in-distribution part has no pair left.
    """
    result = dict(splits)
    if num_actions is not None:
        present = _names(splits["train"], "action")
        kept = set(_first(num_actions, _actions_in_order(present, seed), "num_actions", "actions in training"))
        done = {id(rows): _with_names(rows, "action", kept) for rows in splits.values()}
        result = {name: done[id(rows)] for name, rows in splits.items()}
        for name in [name for name, rows in result.items() if len(rows) == 0]:
            said = f"num_actions={num_actions} leaves no pair in {name} ({', '.join(sorted(kept))})"
            if "_" not in name:
                raise ValueError(f"{said}: choose more actions, or another seed.")
            warnings.warn(f"{said}; it is left out.", stacklevel=2)
            del result[name]
    train = result["train"]
    actions = set(_names(train, "action"))
    if train_objects is not None:
        order = _objects_in_order(train, seed)
        train = _with_names(train, "object", set(_first(train_objects, order, "train_objects", "objects in training")))
        if lost := actions - set(_names(train, "action")):
            raise ValueError(
                f"train_objects={train_objects} leaves no training pair of {', '.join(sorted(lost))}: choose more "
                "objects, or another seed."
            )
    if train_pairs is not None:
        if train_pairs < len(actions):
            raise ValueError(f"train_pairs={train_pairs} is less than one pair for each of {len(actions)} actions.")
        train = train.select(sorted(_first(train_pairs, _pairs_in_order(train, seed), "train_pairs", "training pairs")))
    return result | {"train": train}


def _first(number: int, order: list[Any], flag: str, what: str) -> list[Any]:
    if not 1 <= number <= len(order):
        raise ValueError(f"{flag}={number} must be in [1, {len(order)}]: there are {len(order)} {what}.")
    return order[:number]


def _draw(seed: int, *what: str) -> str:
    """A pseudo-random number that depends only on the arguments, as text of fixed length."""
    return hashlib.sha256("/".join([str(seed), *what]).encode()).hexdigest()


def _names(rows: datasets.Dataset, column: str) -> list[str]:
    """The classes that occur in a column, in the order of their ids."""
    return [rows.features[column].int2str(i) for i in sorted(set(rows.with_format(None)[column]))]


def _with_names(rows: datasets.Dataset, column: str, kept: Iterable[str]) -> datasets.Dataset:
    ids = {rows.features[column].str2int(name) for name in kept}
    return rows.select([row for row, number in enumerate(rows.with_format(None)[column]) if number in ids])


def _actions_in_order(actions: list[str], seed: int) -> list[str]:
    def key(action: str) -> tuple[str, str]:
        group = min(action, OPPOSITES.get(action, action))
        return _draw(seed, "actions", group), action

    return sorted(actions, key=key)


def _objects_in_order(rows: datasets.Dataset, seed: int) -> list[str]:
    """The objects in drawn order, except that those with a new action come first."""
    columns = rows.with_format(None)
    actions_of = defaultdict(set)
    for label, action in zip(columns["object"], columns["action"], strict=True):
        actions_of[rows.features["object"].int2str(label)].add(action)
    waiting = sorted(actions_of, key=lambda name: _draw(seed, "object", name))
    order: list[str] = []
    missing = set().union(*actions_of.values())
    while waiting:
        chosen = next((name for name in waiting if actions_of[name] & missing), waiting[0])
        waiting.remove(chosen)
        missing -= actions_of[chosen]
        order.append(chosen)
    return order


def _pairs_in_order(rows: datasets.Dataset, seed: int) -> list[int]:
    """Row numbers, ordered so that every prefix has the actions in their shares; each action's first pair leads."""
    columns = rows.with_format(None)
    by_action = defaultdict(list)
    for row, (action, pair_id) in enumerate(zip(columns["action"], columns["pair_id"], strict=True)):
        by_action[action].append((_draw(seed, "pair", pair_id), row))
    ranked = [
        (rank > 0, (rank + 0.5) / len(members), drawn, row)
        for members in by_action.values()
        for rank, (drawn, row) in enumerate(sorted(members))
    ]
    return [row for *_, row in sorted(ranked)]
