"""Thresholds for "nothing changed" and "something else", from pairs that heads of the same kind were not fitted to."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..data.chosen_rows import evenly_spaced
from ..evaluation.rejections import answer_shares, answer_still, set_thresholds, still_pairs
from ..models.image_processing_cde import load_picture
from ..models.rejection_cde import action_directions, delta_length, familiarity
from ..models.rejection_cde import set_thresholds as give_thresholds
from . import FOLDS, Head
from .folds import grouped_folds
from .heads import Examples

_FEWEST_OBJECTS = 3
_STILL_PAIRS = 50

# (examples, names of their actions) -> a model with a head that is fitted to them.
FitModel = Callable[[Examples, Sequence[str]], Any]


def calibrate_head(
    model: Any, examples: Examples, actions: Sequence[str], opposites: Mapping[int, int], fit: FitModel, head: Head
) -> dict[str, Any] | None:
    """Sets the thresholds of a fitted model, by folds of kinds of objects, or of pairs where there are too few kinds.

    A trained head takes seconds, and there one fold of many pairs is enough.

    Args:
        model: Fitted to all examples.
        examples: All pairs, without swapped copies.
        actions: Names of their labels.
        opposites: Label -> label of the opposite action.
        fit: Fits a head of this kind.
        head: The kind.

    Returns:
        For `metrics.json`: see `set_thresholds`, and `unknown_actions`: for a head in closed form and at least three
        actions, `answer_shares` of the pairs of each action, by a head that does not know it, with these thresholds.
        None where no pair could be left out, and there are no thresholds.
    """
    kinds = examples.objects.tolist()
    groups = kinds if len(set(kinds)) >= _FEWEST_OBJECTS else list(range(len(examples)))
    folds = grouped_folds(groups, examples.labels.tolist(), min(FOLDS, len(set(groups))), 0)
    lengths, familiarities = [], []
    for fold in folds[: 1 if head == "trained" else None]:
        left = set(fold)
        parts = _parts(examples, [i for i in range(len(examples)) if i not in left], actions, opposites, fit)
        if parts is None:
            continue
        fitted, directions, known = parts
        tested = [i for i in fold if int(examples.labels[i]) in known]
        if tested:
            delta = _deltas(fitted, examples.features[torch.tensor(tested)])
            lengths.append(delta_length(delta))
            familiarities.append(familiarity(delta, directions))
    if not lengths:
        return None
    train = examples.with_swapped(opposites)
    directions = action_directions(_deltas(model, train.features), train.labels, len(actions))
    found = set_thresholds(model, directions, torch.cat(lengths), torch.cat(familiarities))
    if head == "closed_form" and len(actions) > 2:
        found["unknown_actions"] = _unknown_actions(model, examples, actions, opposites, fit)
    return found


def measure_still(classifier: Any, X: Sequence[tuple[Any, Any]]) -> None:
    """Adds to the `rejections_` of a fitted classifier, and so to its card, what it says where nothing happened.

    At most `_STILL_PAIRS` pictures before of the pairs X are paired with what a camera that moved a little would see.
    `still` has the `answer_shares`.
    """
    if not classifier.rejections_:
        return
    processor = classifier.image_processor_
    firsts = [load_picture(X[i][0]) for i in evenly_spaced(len(X), _STILL_PAIRS)]
    pictures = torch.cat([processor(one, one, return_tensors="pt")["pixel_values"][:, 0] for one in firsts])
    pairs = still_pairs(pictures, processor.image_mean, processor.image_std)
    classifier.rejections_["still"] = answer_still(classifier.model_, pairs)


def _unknown_actions(
    model: Any, examples: Examples, actions: Sequence[str], opposites: Mapping[int, int], fit: FitModel
) -> dict[str, Any]:
    found = {}
    for label, action in enumerate(actions):
        own = (examples.labels == label).nonzero().flatten()
        others = (examples.labels != label).nonzero().flatten().tolist()
        without = {a: b for a, b in opposites.items() if label not in (a, b)}
        parts = _parts(examples, others, actions, without, fit)
        if parts is not None:
            fitted, directions, _ = parts
            give_thresholds(fitted, directions, model.config.nothing_below, model.config.else_below)
            found[action] = answer_shares(fitted, _deltas(fitted, examples.features[own]))
    return found


def _parts(
    examples: Examples, rows: Sequence[int], actions: Sequence[str], opposites: Mapping[int, int], fit: FitModel
) -> tuple[Any, torch.Tensor, list[int]] | None:
    """A head that is fitted to some pairs, the directions of its actions, their labels; None if there is only one."""
    train = examples.rows(rows).with_swapped(opposites)
    known = sorted(set(train.labels.tolist()))
    if len(known) < 2:
        return None
    places = {label: place for place, label in enumerate(known)}
    labels = torch.tensor([places[label] for label in train.labels.tolist()])
    fitted = fit(Examples(train.features, labels, train.objects), [actions[label] for label in known])
    return fitted, action_directions(_deltas(fitted, train.features), labels, len(known)), known


@torch.no_grad()
def _deltas(model: Any, features: torch.Tensor) -> torch.Tensor:
    """(n, 2, D_b) -> deltas (n, D)."""
    device = next(model.parameters()).device
    return torch.cat([model(features=part.to(device)).delta[:, 0].cpu() for part in torch.split(features, 1024)])
