"""Matches the actions of a data set with those of a model by name, where the two lists differ.

A data set may list some of the model's actions, in any order, and actions that the model does not know. All later steps
see pairs whose labels are ids of the model's own list.
"""

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import datasets
import torch

from ..data.schema import OPPOSITES

# Of two names without case and underscores: "opened" is as near to "open", "turnon" is not to "turnoff".
_NEAR = 0.8


@dataclass(frozen=True, eq=False)
class MatchedActions:
    """Pairs of a data set, labelled with a model's action ids.

    Attributes:
        splits: name -> the pairs whose action the model knows; a split that loses all its pairs is absent. Splits whose
            list of actions is the model's are unchanged.
        own_ids: name -> ids of the model's actions that the data set lists too, for splits whose list differs.
        left_out: name -> action -> number of pairs left out, because the model does not know the action; for each split
            whose list differs.
    """

    splits: dict[str, datasets.Dataset]
    own_ids: dict[str, list[int]] = field(default_factory=dict)
    left_out: dict[str, dict[str, int]] = field(default_factory=dict)


def action_names(model: torch.nn.Module) -> list[str]:
    """The model's actions by id; empty for a model that does not name them."""
    named: Mapping[int, str] = getattr(getattr(model, "config", None), "id2label", None) or {}
    return [named[index] for index in sorted(named)]


def match_actions(known: Sequence[str], splits: Mapping[str, datasets.Dataset]) -> MatchedActions:
    """Label the pairs of all splits with the model's action ids, by name, and leave out those that it has no name for.

    Args:
        known: the model's actions by id; if empty, the ids are taken to be the model's.
        splits: name -> rows with the columns of `modeling_cde.data.schema`.
    """
    matched = MatchedActions({})
    for name, rows in splits.items():
        listed: list[str] = rows.features["action"].names
        if not known or listed == list(known):
            matched.splits[name] = rows
            continue
        ids = rows.with_format(None)["action"][:]
        unknown = {i: action for i, action in enumerate(listed) if action not in known}
        counts = Counter(unknown[i] for i in ids if i in unknown)
        matched.left_out[name] = {action: counts[action] for action in listed if counts[action]}
        matched.own_ids[name] = [i for i, action in enumerate(known) if action in listed]
        if counts.total() < len(ids) or not ids:
            matched.splits[name] = _relabelled(rows, ids, unknown, listed, known)
    return matched


def unknown_rows(known: Sequence[str], splits: Mapping[str, datasets.Dataset]) -> dict[str, datasets.Dataset]:
    """Split -> its pairs that `match_actions` leaves out, with their own ids; splits without any are absent."""
    found = {}
    for name, rows in splits.items():
        listed = rows.features["action"].names
        ids = rows.with_format(None)["action"][:]
        chosen = [row for row, i in enumerate(ids) if known and 0 <= i and listed[i] not in known]
        if chosen:
            found[name] = rows.select(chosen)
    return found


def check_matched(
    matched: MatchedActions, known: Sequence[str], splits: Mapping[str, datasets.Dataset], strict: bool
) -> None:
    """Raise ValueError if no pair of the splits is left, or with `strict` if any pair was left out."""
    if not any(name in matched.splits for name in splits):
        lists = dict.fromkeys(", ".join(rows.features["action"].names) for rows in splits.values())
        raise ValueError(
            f"no pair has an action that the model knows: the data set has {'; '.join(lists)}, but the model has "
            f"{', '.join(known)}; rename the data set's actions after the model's."
        )
    lines = unknown_lines(matched.left_out, known)
    if strict and lines:
        advice = "Rename the data set's actions after the model's, or evaluate without strict."
        raise ValueError(f"{' '.join(lines)} {advice}")


def _relabelled(
    rows: datasets.Dataset, ids: Sequence[int], unknown: Mapping[int, str], listed: Sequence[str], known: Sequence[str]
) -> datasets.Dataset:
    """The rows without those of unknown actions, in the same order, with the model's ids and names of the others."""
    places = {i: known.index(action) for i, action in enumerate(listed) if i not in unknown}
    labels = [places.get(i, -1) for i in ids]
    names = datasets.ClassLabel(names=list(known))
    changed = rows.with_format(None).remove_columns("action").add_column("action", labels, feature=names)
    changed = changed.select_columns(rows.column_names)
    # An id without a name stays, as -1: the metrics refuse it.
    return changed.select([row for row, i in enumerate(ids) if i not in unknown]) if unknown else changed


def unknown_lines(left_out: Mapping[str, Mapping[str, int]], known: Sequence[str]) -> list[str]:
    """What is said of each action that the model does not know: its number of pairs by split, and a near name."""
    lines = []
    for action in dict.fromkeys(action for counts in left_out.values() for action in counts):
        counts = {split: found[action] for split, found in left_out.items() if action in found}
        near = _near_name(action, known)
        lines.append(
            f"The model does not know the action {action!r}{f' (it knows {near!r})' if near else ''}. "
            f"Pairs: {sum(counts.values())} ({', '.join(f'{split} {number}' for split, number in counts.items())})."
        )
    return lines


def _near_name(action: str, known: Sequence[str]) -> str | None:
    """The one of the known names that differs little from an action's, but not its opposite."""
    wanted = _plain(action)
    names = {_plain(name): name for name in known if _plain(name) != OPPOSITES.get(wanted)}
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=_NEAR)
    return names[near[0]] if near else None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def own_accuracy(logits: torch.Tensor, labels: torch.Tensor, own_ids: Sequence[int]) -> float:
    """The accuracy in [0, 1] where only the scores of some actions compete.

    Args:
        logits: (n, A).
        labels: (n,) action ids, all among `own_ids`.
        own_ids: ids of the competing actions.
    """
    competing = torch.tensor(own_ids)
    predicted = competing[logits[:, competing].argmax(dim=-1)]
    return (predicted == labels).double().mean().item()
