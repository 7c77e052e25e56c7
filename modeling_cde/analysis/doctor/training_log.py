"""The log of a training, as numbers to look for signs of trouble in; used while it runs and after it.

A log is the `log_history` of Transformers' trainer state: a list of dictionaries with "step", some of training ("loss"
and its terms), some of an evaluation ("eval_<split>_accuracy" and so on).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .findings import Finding, Settings
from .signs import (
    collapsed,
    dead_classes,
    divergence,
    dominant,
    idle_contrastive,
    no_positives,
    not_finite,
    not_learning,
)

TERMS = ("cross_entropy", "contrastive", "sparsity", "auxiliary")
# What must be finite in every log; the gradient's norm is looked at by itself.
WATCHED = ("loss", *TERMS, "delta_norm")
# With fewer logs of training there is no before and now to compare.
FEWEST_LOGS = 3
# "Now" is the mean of so many logs, the last ones.
LAST = 3
# Shares of the training from which on a sign counts: the loss, and what takes its time, such as the rarest action.
EARLY = 0.1
LATE = 0.5


class TrainingLog:
    """A training's log up to now.

    Args:
        history: `log_history` of a trainer state; entries of other kinds are passed over.
    """

    def __init__(self, history: Sequence[Mapping[str, Any]]) -> None:
        self.training = [entry for entry in history if "loss" in entry]
        self.evaluations = [entry for entry in history if any(key.startswith("eval_") for key in entry)]

    @property
    def step(self) -> int:
        """The last step that was logged."""
        return max((int(entry.get("step", 0)) for entry in self.training + self.evaluations), default=0)

    @property
    def is_long_enough(self) -> bool:
        """Whether the loss terms were logged often enough to look for signs in them."""
        return len(self.values("cross_entropy")) >= FEWEST_LOGS

    def values(self, key: str) -> list[float]:
        """The finite values of a term of the training, in order."""
        return [float(entry[key]) for entry in self.training if key in entry and math.isfinite(entry[key])]

    def evaluated(self, metric: str) -> dict[str, list[tuple[int, float]]]:
        """Split -> (step, value) at each of its evaluations; the split is "" where only one is evaluated."""
        found: dict[str, list[tuple[int, float]]] = {}
        for entry in self.evaluations:
            for key, value in entry.items():
                if key.startswith("eval_") and key.endswith(metric):
                    split = key.removeprefix("eval_").removesuffix(metric)
                    if (not split or split.endswith("_")) and not split.endswith("macro_"):
                        found.setdefault(split.removesuffix("_"), []).append((int(entry.get("step", 0)), float(value)))
        return found

    def broken(self, half_precision: bool = False) -> tuple[int, list[str]] | None:
        """The first step at which something was not finite, and what; None where all is.

        A gradient alone does not count where gradients are scaled (fp16), nor where the terms are finite in a later
        log: weights that a bad gradient had ruined would show there.
        """
        last_finite = max((int(entry.get("step", 0)) for entry in self.training if not _ruined(entry)), default=-1)
        for entry in self.training + self.evaluations:
            step, names = int(entry.get("step", 0)), _ruined(entry)
            if not math.isfinite(entry.get("grad_norm", 0.0)) and not half_precision:
                names += ["grad_norm"] if names or last_finite <= step else []
            if names:
                return step, names
        return None


def _ruined(entry: Mapping[str, Any]) -> list[str]:
    """The losses and terms of one entry that are not finite."""
    evaluated = [key for key in entry if key.startswith("eval_") and key.endswith(("loss", *TERMS))]
    return [name for name in (*WATCHED, *evaluated) if name in entry and not math.isfinite(entry[name])]


def examine_log(history: Sequence[Mapping[str, Any]], settings: Settings, evaluations: bool = True) -> list[Finding]:
    """Look for every sign that a log can show.

    Args:
        history: see `TrainingLog`.
        settings: what is known of the training.
        evaluations: whether to look at the evaluations too; not where better numbers of the same splits are there.

    Returns:
        The findings, errors first. Of a log in which something was not finite: that, and what came before it.
    """
    broken = TrainingLog(history).broken(settings.half_precision)
    if broken:
        step, names = broken
        before = [entry for entry in history if int(entry.get("step", 0)) < step]
        first = not_finite(names, "in the log", step)
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
    now, step = _mean(cross_entropies[-LAST:]), log.step
    # The L1 norm stands in for the length in logs of before the length was logged.
    lengths = log.values("delta_norm") or log.values("sparsity")
    shrunken = lengths and collapsed(lengths[-1], max(lengths), "start", now, settings, step)
    lonely, contrastive = log.values("anchors_without_positive"), log.values("contrastive")
    found = [
        shrunken or None,
        no_positives(_mean(lonely), settings, step) if lonely else None,
        dominant(_weighted(log, settings), now, settings, step),
    ]
    if _past(LATE, log.step, settings):
        if not shrunken:  # which is why nothing is learned, and is said already
            found.append(not_learning(now, settings, step, finished=_past(1.0, log.step, settings)))
        if contrastive:
            found.append(idle_contrastive(_mean(contrastive[-LAST:]), now, settings, step))
    return found


def _of_evaluations(log: TrainingLog, settings: Settings) -> list[Finding | None]:
    found: list[Finding | None] = []
    accuracies = log.evaluated("accuracy")
    for split, points in accuracies.items():
        iid = dict(accuracies.get(split.split("_")[0], []))
        step, accuracy = points[-1]
        # In distribution is learned first: an early gap may yet close.
        if "_" in split and step in iid and _past(LATE, step, settings):
            before = max((value for _, value in points[:-1]), default=None)
            found.append(
                divergence(iid[step], accuracy, (split.split("_")[0], split), settings, best_before=before, step=step)
            )
    for split, points in log.evaluated("never_predicted").items():
        step, number = points[-1]
        if "_" not in split and _past(LATE, step, settings):
            found.append(dead_classes(int(number), settings.num_actions, split or "the evaluation", step=step))
    return found


def _weighted(log: TrainingLog, settings: Settings) -> dict[str, float]:
    """Each term with its weight, summed over the training; empty where the weights are not known."""
    weights = settings.weights()
    if weights is None:
        return {}
    warmup = settings.sparsity_warmup_ratio * (settings.max_steps or 0)
    sums = dict.fromkeys((name for name, weight in weights.items() if weight), 0.0)
    for entry in log.training:
        for name in sums:
            value = float(entry.get(name, 0.0))
            scale = min(1.0, int(entry.get("step", 0)) / warmup) if name == "sparsity" and warmup else 1.0
            sums[name] += weights[name] * scale * value if math.isfinite(value) else 0.0
    return sums


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
