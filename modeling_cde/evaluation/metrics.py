"""Accuracy of predicted actions: overall, macro, by action, by object, and how often an error is the opposite action.

Every figure is a ratio of two counts over the whole split, not a mean of batch means, so it does not depend on the
batch size. `metric/action_accuracy` offers the same figures to `evaluate.load`.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


def accuracy_by(groups: Sequence[str], correct: Sequence[bool]) -> dict[str, float]:
    """Share of correct predictions in [0, 1] within each group, groups in alphabetical order."""
    hits = Counter(group for group, hit in zip(groups, correct, strict=True) if hit)
    return {group: hits[group] / total for group, total in sorted(Counter(groups).items())}


def compute_action_metrics(
    predictions: Sequence[int],
    references: Sequence[int],
    action_names: Sequence[str],
    objects: Sequence[str] | None = None,
    opposites: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Metrics of one split.

    Args:
        predictions: n predicted action ids, each in [0, len(action_names)).
        references: n true action ids, each in [0, len(action_names)).
        action_names: name of each action id.
        objects: n object names; None leaves `accuracy_by_object` empty.
        opposites: action name -> name of its opposite; actions without one are absent.

    Returns:
        `n` (int); `accuracy` = correct / n; `macro_accuracy` = mean of the accuracies of the actions that occur in
        `references`; `accuracy_by_action` and `accuracy_by_object` (dicts); `opposite_error_share` = errors that name
        the opposite of the true action / all errors, None without errors; `never_predicted` (list): actions that occur
        in `references` and in no prediction, in the order of their ids.

    Raises:
        ValueError: if the split is empty, the lengths differ or an id has no name.
    """
    n = len(references)
    if n == 0:
        raise ValueError("references is empty, so there is no accuracy: check the split's name.")
    if len(predictions) != n or (objects is not None and len(objects) != n):
        lengths = f"{len(predictions)} predictions, {n} references, {n if objects is None else len(objects)} objects"
        raise ValueError(f"{lengths}: pass equally many of each.")
    highest = max(max(predictions), max(references))
    if min(min(predictions), min(references)) < 0 or highest >= len(action_names):
        raise ValueError(f"action ids must lie in [0, {len(action_names)}), one for each of action_names.")

    correct = [p == r for p, r in zip(predictions, references, strict=True)]
    by_action = accuracy_by([action_names[r] for r in references], correct)
    errors = [(action_names[p], action_names[r]) for p, r in zip(predictions, references, strict=True) if p != r]
    reversed_errors = sum((opposites or {}).get(true) == predicted for predicted, true in errors)
    return {
        "n": n,
        "accuracy": sum(correct) / n,
        "macro_accuracy": sum(by_action.values()) / len(by_action),
        "accuracy_by_action": by_action,
        "accuracy_by_object": accuracy_by(objects, correct) if objects is not None else {},
        "opposite_error_share": reversed_errors / len(errors) if errors else None,
        "never_predicted": [action_names[i] for i in sorted(set(references) - set(predictions))],
    }


def accuracy_gap(in_distribution: float, out_of_distribution: float) -> float:
    """The accuracy, in [-1, 1], that a shift costs: that of the in-distribution test minus that of the shifted one."""
    return in_distribution - out_of_distribution


def wilson_interval(right: int, number: int) -> tuple[float, float]:
    """The 95 % interval of a share, after E. B. Wilson (1927); pairs count as independent."""
    z = 1.959964
    share, spread = right / number, z * z / number
    middle = share + spread / 2
    half = z * math.sqrt((share * (1 - share) + spread / 4) / number)
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))
