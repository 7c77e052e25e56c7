"""The log of a training, as numbers to look for signs of trouble in; used while it runs and after it.

A log is the `log_history` of Transformers' trainer state: a list of dictionaries with "step", some of training ("loss"
and its terms), some of an evaluation ("eval_<split>_accuracy" and so on).
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ..loss_terms import logged_terms
from . import signs
from .findings import Finding, Settings

# With fewer logs of training there is no before and now to compare.
FEWEST_LOGS = 3
# "Now" is the mean of this many logs, the last ones.
LAST = 3
# Shares of the training from which a sign counts: the loss, and what takes its time, such as the rarest action.
EARLY = 0.1
LATE = 0.5


class TrainingLog:
    """A training's log up to now: the `log_history` of a trainer state; entries of other kinds are ignored."""

    def __init__(self, history: Sequence[Mapping[str, Any]]) -> None:
        self.training = [entry for entry in history if "loss" in entry]
        self.evaluations = [entry for entry in history if any(key.startswith("eval_") for key in entry)]
        self.losses = ["loss", *logged_terms(self.training + self.evaluations)]  # which must be finite in every log

    @property
    def step(self) -> int:
        """The last step that was logged."""
        return max((int(entry.get("step", 0)) for entry in self.training + self.evaluations), default=0)

    @property
    def is_long_enough(self) -> bool:
        """Whether the loss terms were logged often enough to look for signs in them."""
        return len(self.values("cross_entropy") or self.training) >= FEWEST_LOGS

    def values(self, key: str) -> list[float]:
        """The finite values of a term of the training, in order."""
        return [float(entry[key]) for entry in self.training if key in entry and math.isfinite(entry[key])]

    def evaluated(self, metric: str) -> dict[str, list[tuple[int, float]]]:
        """Split -> (step, value) at each of its evaluations; the split is "" if only one is evaluated."""
        found: dict[str, list[tuple[int, float]]] = {}
        for entry in self.evaluations:
            for key, value in entry.items():
                if key.startswith("eval_") and key.endswith(metric):
                    split = key.removeprefix("eval_").removesuffix(metric)
                    if (not split or split.endswith("_")) and not split.endswith("macro_"):
                        found.setdefault(split.removesuffix("_"), []).append((int(entry.get("step", 0)), float(value)))
        return found

    def broken(self, half_precision: bool = False) -> tuple[int, list[str]] | None:
        """The first step at which something was not finite, and what; None if everything is.

        A gradient alone does not count if gradients are scaled (fp16), nor if the terms are finite in a later log:
        weights that a bad gradient had ruined would show there.
        """
        last_finite = max((int(entry.get("step", 0)) for entry in self.training if not self._ruined(entry)), default=-1)
        for entry in self.training + self.evaluations:
            step, names = int(entry.get("step", 0)), self._ruined(entry)
            if not math.isfinite(entry.get("grad_norm", 0.0)) and not half_precision:
                names += ["grad_norm"] if names or last_finite <= step else []
            if names:
                return step, names
        return None

    def _ruined(self, entry: Mapping[str, Any]) -> list[str]:
        """The losses and terms of one entry that are not finite; the gradient's norm is looked at by itself."""
        evaluated = [key for key in entry if key.startswith("eval_") and key.endswith(tuple(self.losses))]
        return [name for name in (*self.losses, *evaluated) if name in entry and not math.isfinite(entry[name])]


def examine_log(history: Sequence[Mapping[str, Any]], settings: Settings, evaluations: bool = True) -> list[Finding]:
    """Look for every sign that a log can show.

    Args:
        evaluations: whether to look at the evaluations too; not if there are better numbers of the same splits.

    Returns:
        The findings, errors first. If something was not finite: that, and what was found before it.
    """
    broken = TrainingLog(history).broken(settings.half_precision)
    if broken:
        step, names = broken
        before = [entry for entry in history if int(entry.get("step", 0)) < step]
        first = signs.not_finite(names, "in the log", step)
        earlier = _signs(TrainingLog(before), settings, evaluations)
        return [finding for finding in (first, *earlier) if finding]
    return _signs(TrainingLog(history), settings, evaluations)


def _signs(log: TrainingLog, settings: Settings, evaluations: bool) -> list[Finding]:
    found = _of_training(log, settings) + (_of_evaluations(log, settings) if evaluations else [])
    return sorted((finding for finding in found if finding), key=lambda finding: finding.severity != "error")


def _past(share: float, step: int, settings: Settings) -> bool:
    return settings.max_steps is None or step >= share * settings.max_steps


def _of_training(log: TrainingLog, settings: Settings) -> list[Finding | None]:
    cross_entropies = log.values("cross_entropy")
    if not log.is_long_enough or not _past(EARLY, log.step, settings):
        return []
    now, step = statistics.fmean(cross_entropies[-LAST:]) if cross_entropies else None, log.step
    # Only `CDELoss` logs this share; without it a term of one of its names may be anything.
    lonely = log.values("anchors_without_positive")
    contrastive = log.values("contrastive") if lonely else []
    # In older logs, which have no length, the L1 norm takes its place.
    lengths = log.values("delta_norm") or (log.values("sparsity") if lonely else [])
    shrunken = lengths and signs.collapsed(lengths[-1], max(lengths), "start", now, settings, step)
    found = [
        shrunken or None,
        signs.no_positives(statistics.fmean(lonely), settings, step) if lonely else None,
        signs.dominant(_weighted(log, settings), now, settings, step),
    ]
    if now is not None and _past(LATE, log.step, settings):
        if not shrunken:  # which is why nothing is learned, and is reported already
            found.append(signs.not_learning(now, settings, step, finished=_past(1.0, log.step, settings)))
        if contrastive:
            found.append(signs.idle_contrastive(statistics.fmean(contrastive[-LAST:]), now, settings, step))
    return found


def _of_evaluations(log: TrainingLog, settings: Settings) -> list[Finding | None]:
    found: list[Finding | None] = []
    accuracies = log.evaluated("accuracy")
    for split, points in accuracies.items():
        iid = dict(accuracies.get(split.split("_")[0], []))
        step, accuracy = points[-1]
        # In distribution is learned first: an early gap may yet close.
        if "_" in split and step in iid and _past(LATE, step, settings):
            names, before = (split.split("_")[0], split), max((value for _, value in points[:-1]), default=None)
            found.append(signs.divergence(iid[step], accuracy, names, settings, best_before=before, step=step))
    for split, points in log.evaluated("never_predicted").items():
        step, number = points[-1]
        if "_" not in split and _past(LATE, step, settings):
            found.append(signs.dead_classes(int(number), settings.num_actions, split or "the evaluation", step=step))
    return found


def _weighted(log: TrainingLog, settings: Settings) -> dict[str, float]:
    """Each term with its weight, summed over the training; empty if the weights are not known."""
    weights = settings.weights or {}
    warmup = settings.sparsity_warmup_ratio * (settings.max_steps or 0)
    sums = dict.fromkeys((name for name, weight in weights.items() if weight), 0.0)
    for entry in log.training:
        for name in sums:
            value = float(entry.get(name, 0.0))
            scale = min(1.0, int(entry.get("step", 0)) / warmup) if name == "sparsity" and warmup else 1.0
            sums[name] += weights[name] * scale * value if math.isfinite(value) else 0.0
    return sums
