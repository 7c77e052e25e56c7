"""Cross-validation of a head on one's own pairs: in new scenes, and on objects that are left out.

    new scenes          folds of whole scenes
    new pairs           folds of single pairs, where scenes are not given
    left-out objects    folds of whole kinds of objects; the scenes of a fold may be known from other objects

Every head is fitted anew on the pairs of the other folds, as the final one is on all pairs, with one exception: nothing
is chosen. A pair whose action the other folds do not show is not tested, and a sentence says so.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..evaluation.metrics import compute_action_metrics, wilson_interval
from . import FOLDS, Head
from .folds import grouped_folds
from .heads import Examples

# (examples, names of their actions) -> the scores (m, A) that the head fitted to them gives to features (m, 2, D_b).
Fit = Callable[[Examples, Sequence[str]], Callable[[torch.Tensor], torch.Tensor]]

SCENES, PAIRS, OBJECTS = "new scenes", "new pairs", "left-out objects"
# A head in closed form takes milliseconds for up to so many pairs: there each kind of object is left out by itself, or
# where there are more, in so many folds.
_QUICK_PAIRS, _MOST_FOLDS = 400, 20
_FEWEST_OBJECTS = 3


@dataclass
class CrossValidation:
    """What cross-validation found.

    Attributes:
        parts: Name, as in the head of this file -> metrics of `compute_action_metrics` over all folds, and `interval`
            (95 %, as two accuracies) and `folds` (their number). A part that cannot be tested is absent.
        says: Sentences about what was done otherwise than asked for.
    """

    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    says: list[str] = field(default_factory=list)

    def table(self) -> str:
        """A Markdown table of the parts."""
        lines = ["| tested on | pairs | folds | accuracy | 95 % interval |", "|---|---:|---:|---:|---:|"]
        for name, found in self.parts.items():
            low, high = found["interval"]
            lines.append(
                f"| {name} | {found['n']} | {found['folds']} | {100 * found['accuracy']:.1f} % | "
                f"{100 * low:.0f} to {100 * high:.0f} % |"
            )
        return "\n".join(lines)


def cross_validate(
    examples: Examples,
    actions: Sequence[str],
    scenes: Sequence[Any] | None,
    objects: Sequence[str] | None,
    opposites: Mapping[str, str],
    fit: Fit,
    head: Head,
    folds: int = FOLDS,
    seed: int = 0,
) -> CrossValidation:
    """Cross-validates heads of one kind.

    Args:
        examples: All pairs.
        actions: Names of their labels.
        scenes, objects: Of each pair; None where they are not known.
        opposites: Action -> its opposite, for `with_swapped` and for the share of errors that name the opposite.
        fit: Fits a head.
        head: Its kind.
        folds: Of new scenes.
        seed: Of the folds.
    """
    if folds < 2:
        raise ValueError(f"folds={folds} must be at least 2.")
    found, number = CrossValidation(), len(examples)
    first, groups = SCENES, scenes
    if groups is None or len(set(groups)) < 2:
        first, groups = PAIRS, range(number)
        why = "Scenes are not given" if scenes is None else "All pairs are of one scene"
        found.says.append(f"{why}, so single pairs are left out: the accuracy in a new scene may be lower.")
    if (possible := len(set(groups))) < folds:
        what = first.removeprefix("new ")
        found.says.append(f"There are only {possible} {what}, so there are {possible} folds instead of {folds}.")
        folds = possible
    plan = {first: grouped_folds(groups, examples.labels.tolist(), folds, seed)}
    kinds = [] if objects is None else sorted(set(objects))
    if objects is None:
        found.says.append("Objects are not given, so no object is left out.")
    elif len(kinds) < _FEWEST_OBJECTS:
        only = ", ".join(kinds)
        found.says.append(f"There are only {len(kinds)} kinds of objects ({only}), so none is left out.")
    else:
        quick = head == "closed_form" and number <= _QUICK_PAIRS
        many = min(len(kinds), _MOST_FOLDS if quick else FOLDS)
        plan[OBJECTS] = grouped_folds(objects, examples.labels.tolist(), many, seed)
    ids = {name: i for i, name in enumerate(actions)}
    pairs = {ids[a]: ids[b] for a, b in opposites.items() if a in ids and b in ids}
    for part, divided in plan.items():
        said = _answers(examples, actions, pairs, divided, fit)
        tested = [i for i in range(number) if i in said]
        _say_untested(found, part, Counter(actions[int(examples.labels[i])] for i in range(number) if i not in said))
        if tested:
            metrics = compute_action_metrics(
                [said[i] for i in tested],
                examples.labels[tested].tolist(),
                actions,
                None if objects is None else [objects[i] for i in tested],
                opposites,
            )
            interval = wilson_interval(round(metrics["accuracy"] * metrics["n"]), metrics["n"])
            found.parts[part] = metrics | {"interval": list(interval), "folds": len(divided)}
    return found


def _answers(
    examples: Examples, actions: Sequence[str], opposites: Mapping[int, int], folds: Sequence[Sequence[int]], fit: Fit
) -> dict[int, int]:
    """The action that is named for each pair that can be tested."""
    from datasets.utils import tqdm

    found: dict[int, int] = {}
    for fold in tqdm(folds, desc="cross-validating", unit="fold", leave=False):
        left = set(fold)
        train = examples.rows([i for i in range(len(examples)) if i not in left]).with_swapped(opposites)
        known = sorted(set(train.labels.tolist()))
        tested = [i for i in fold if int(examples.labels[i]) in known]
        if len(known) < 2 or not tested:
            continue
        places = {label: place for place, label in enumerate(known)}
        labels = torch.tensor([places[label] for label in train.labels.tolist()])
        scores = fit(Examples(train.features, labels, train.objects), [actions[label] for label in known])
        best = scores(examples.features[torch.tensor(tested)]).argmax(dim=1).tolist()
        found |= {i: known[place] for i, place in zip(tested, best, strict=True)}
    return found


def _say_untested(found: CrossValidation, part: str, counts: Counter[str]) -> None:
    if not counts:
        return
    names = ", ".join(f"{action} ({number})" for action, number in sorted(counts.items()))
    more = {SCENES: "scenes", PAIRS: "pairs", OBJECTS: "kinds of objects"}[part]
    found.says.append(f"Not tested on {part}: {names}, since no other fold has the action; show it on more {more}.")
