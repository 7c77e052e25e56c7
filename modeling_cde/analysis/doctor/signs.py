"""Signs of trouble: each a function from plain numbers to a finding, or to None if there is no such trouble.

Nothing is read here, and no library is needed. `training_log` takes the numbers from a training's log, `diagnosis` from
the files of a finished run. The thresholds and the reasons for them are in `findings`.

In all functions `settings` is what is known of the training (for chance level, weights and advice), `step` the training
step at which the numbers were seen, None for results, `split` the split that they are of, cross-entropies are in nats
and accuracies and shares in [0, 1].
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

from ...data.splits.titles import split_title
from ...evaluation.metrics import wilson_interval
from ..loss_terms import title
from . import findings
from .findings import Finding, Settings

# The flag that sets a term's weight, where there is one.
_FLAGS = {"contrastive": "--contrastive_weight", "sparsity": "--sparsity_weight"}


def not_finite(names: Sequence[str], where: str, step: int | None = None) -> Finding | None:
    """Numbers that are NaN or infinite: `names` such as ["loss", "grad_norm"], `where` such as "in the log"."""
    if not names:
        return None
    advice = "a tenth of --learning_rate and --backbone_learning_rate, a lower --max_grad_norm, --precision float32."
    sentence, subject = f"NaN or infinity {where}: {', '.join(names)}.", where if step is None else ""
    return Finding(findings.NOT_FINITE, "error", sentence, float(len(names)), 0.0, advice, step, subject)


def collapsed(
    length: float,
    reference: float,
    kind: Literal["start", "states"],
    cross_entropy: float | None,
    settings: Settings,
    step: int | None = None,
    split: str = "",
) -> Finding | None:
    """Deltas near zero that do not tell the actions apart.

    Args:
        length: mean length of a delta, or any number proportional to it.
        reference: by `kind` "start" the largest value that `length` had in training, "states" a state's mean length.
    """
    limit = findings.SHRUNKEN if kind == "start" else findings.TINY
    ratio = length / reference if reference > findings.ZERO and length > findings.ZERO else 0.0
    if ratio >= limit or settings.is_learned(cross_entropy):
        return None
    against = "of the longest they were in this training" if kind == "start" else "of the states' length"
    sentence = f"{f'In {split_title(split)} the' if split else 'The'} deltas are only {_percent(ratio)} {against}"
    if cross_entropy is not None and settings.chance() is not None:
        sentence += f", and the cross-entropy is {cross_entropy:.2f} (guessing: {settings.chance():.2f})"
    rate = f"a higher --learning_rate{_now(settings.learning_rate)}"
    if settings.weight("sparsity") == 0:
        advice = f"{rate}; no sparsity term shrinks the deltas. Check that the pictures differ."
    else:
        weight = f"--sparsity_weight{_now(settings.weight('sparsity'))}"
        advice = f"a tenth of {weight}, --sparsity_warmup_ratio 0.3, or {rate}."
    return Finding(findings.COLLAPSED, "error", sentence + ".", ratio, limit, advice, step)


def vanished(
    lengths: Mapping[str, float],
    accuracy: Mapping[str, float],
    pairs: Mapping[str, int],
    split: str,
    settings: Settings,
) -> Finding | None:
    """Actions that are not recognised and whose deltas are near zero, unlike those of the other actions.

    By action: the mean length of the deltas, the share of right predictions and the number of pairs.
    """
    known = sorted(length for action, length in lengths.items() if pairs[action] >= findings.FEWEST_PAIRS)
    if len(known) < 3:
        return None
    limit, median = findings.VANISHED_LENGTH, known[len(known) // 2]
    small = {
        action: length / median
        for action, length in lengths.items()
        if pairs[action] >= findings.FEWEST_PAIRS and length < limit * median and accuracy[action] < 0.5
    }
    if not small:
        return None
    worst = min(small, key=lambda action: small[action])
    others = f" (and {', '.join(sorted(set(small) - {worst}))})" if len(small) > 1 else ""
    sentence = (
        f"In {split_title(split)} the deltas of {worst}{others} are {_percent(small[worst])} as long as the median "
        f"action's, and {_percent(accuracy[worst])} of its pairs are recognised."
    )
    advice = "a lower --sparsity_weight, which takes small changes first; larger pictures (--image_size)."
    if settings.weight("sparsity") == 0:
        advice = "larger pictures (--image_size), more pairs of this action."
    return Finding(findings.VANISHED, "warning", sentence, small[worst], limit, advice, subject=split)


def divergence(
    iid: float,
    ood: float,
    names: tuple[str, str],
    settings: Settings,
    best_before: float | None = None,
    step: int | None = None,
) -> Finding | None:
    """High accuracy in distribution and low accuracy under a shift, on splits of these two `names`.

    `best_before` is the highest accuracy on the shifted split at an earlier evaluation of the same training.
    """
    gap = iid - ood
    if iid < findings.HIGH_ACCURACY or gap < findings.GAP:
        return None
    titles = [split_title(name) for name in names]
    sentence = f"Accuracy is {iid:.2f} in {titles[0]} but {ood:.2f} in {titles[1]}, a gap of {gap:.2f}"
    if best_before is not None and best_before >= ood + 0.05:
        sentence += f"; {titles[1]} was at {best_before:.2f} before"
    advice = "larger batches, more objects in training, a pretrained --backbone."
    if settings.has("contrastive"):
        advice = f"a higher --contrastive_weight or {advice}"
    if settings.has("contrastive") and settings.weight("contrastive") == 0:
        advice = "--contrastive_weight 2.0 (it is 0): without it the head may read what goes along with an action."
    return Finding(findings.DIVERGENCE, "warning", sentence + ".", gap, findings.GAP, advice, step, names[1])


def no_positives(share: float, settings: Settings, step: int | None = None) -> Finding | None:
    """Batches in which many samples have no other sample of their action; `share` is their mean share."""
    if share <= findings.LONELY or settings.weight("contrastive") == 0:
        return None
    whole = share >= 1
    sentence = f"{_percent(share)} of the samples have no other of their action in the batch" + (
        ": the contrastive term is 0 throughout." if whole else " and are left out of the contrastive term."
    )
    sampling = "--class_aware_sampling true with --min_samples_per_class 2, " if not settings.class_aware else ""
    advice = f"{sampling}a larger --per_device_train_batch_size, or fewer actions."
    limit = findings.LONELY
    return Finding(findings.NO_POSITIVES, "error" if whole else "warning", sentence, share, limit, advice, step)


def dead_classes(
    number: int, total: int | None, split: str, names: Sequence[str] = (), step: int | None = None
) -> Finding | None:
    """Actions that occur but are never predicted: how many, of how many and which, if that is known."""
    if number <= 0:
        return None
    shown = f": {', '.join(names)}" if names else ""
    of_all = f" of {total}" if total else ""
    noun = "action" if number == 1 and not total else "actions"
    verb = "is" if number == 1 else "are"
    sentence = f"In {split_title(split)} {number}{of_all} {noun} {verb} never predicted{shown}."
    advice = (
        "more pairs of these actions, --class_aware_sampling true with a higher --min_samples_per_class, more epochs."
    )
    return Finding(findings.DEAD_CLASSES, "warning", sentence, float(number), 0.0, advice, step, split)


def dominant(
    sums: Mapping[str, float], cross_entropy: float | None, settings: Settings, step: int | None = None
) -> Finding | None:
    """One term makes up nearly all of the loss, and the others are not learned, or hardly count.

    `sums` has each weighted term but those of weight 0, summed or averaged over the training so far; the cross-entropy
    is as it is now, None if the loss has no such term.
    """
    sizes = {name: abs(value) for name, value in sums.items() if value != 0}
    whole = sum(sizes.values())
    if len(sizes) < 2 or not whole > 0:
        return None
    name = max(sizes, key=lambda term: sizes[term])
    share, others = sizes[name] / whole, sorted(set(sizes) - {name})
    if share <= findings.DOMINANT_SHARE:
        return None
    sentence = f"The {title(name)} {'' if name == 'cross_entropy' else 'term '}makes up {_percent(share)} of the loss"
    if name == "cross_entropy" or cross_entropy is None:
        sentence += f"; {' and '.join(map(title, others))} hardly count{'s' if len(others) == 1 else ''}."
        advice = " and ".join(f"a higher {_weight_of(term)}" for term in others) + "."
    else:
        if settings.is_learned(cross_entropy):
            return None
        level = "" if settings.chance() is None else f" (guessing: {settings.chance():.2f})"
        sentence += f" while the cross-entropy is at {cross_entropy:.2f}{level}."
        advice = {
            "sparsity": "a tenth of --sparsity_weight, --sparsity_warmup_ratio 0.3, or --sparsity_reduction mean.",
            "contrastive": "a lower --contrastive_weight or a higher --temperature.",
        }.get(name, f"a lower {_weight_of(name)}.")
    return Finding(findings.DOMINANT, "warning", sentence, share, findings.DOMINANT_SHARE, advice, step, name)


def idle_contrastive(
    contrastive: float, cross_entropy: float, settings: Settings, step: int | None = None
) -> Finding | None:
    """The cross-entropy was learned and the contrastive term was not: deltas of one action point anywhere.

    Both are as they are now, the contrastive term without its weight.
    """
    samples = settings.contrastive_samples
    if settings.weight("contrastive") == 0 or samples is None or samples < 3:
        return None
    random = math.log(samples - 1)
    if not settings.is_learned(cross_entropy) or contrastive < findings.IDLE * random:
        return None
    sentence = (
        f"The contrastive term is {contrastive:.2f}, where random directions give {random:.2f}, though the "
        f"cross-entropy has come down to {cross_entropy:.2f}: deltas of one action do not come together."
    )
    advice = "a higher --contrastive_weight, another --temperature (0.1 to 0.5), or larger batches."
    value, limit = contrastive / random, findings.IDLE
    return Finding(findings.IDLE_CONTRASTIVE, "warning", sentence, value, limit, advice, step)


def not_learning(
    cross_entropy: float, settings: Settings, step: int | None = None, finished: bool = True
) -> Finding | None:
    """The training cross-entropy is that of guessing; an error once the training is `finished`."""
    chance = settings.chance()
    if chance is None or cross_entropy < findings.UNLEARNED * chance:
        return None
    guessing = f"guessing among {settings.num_actions} actions gives {chance:.2f}"
    sentence = f"The training cross-entropy is {cross_entropy:.2f}; {guessing}."
    rates = f"another --learning_rate{_now(settings.learning_rate)} and --backbone_learning_rate"
    advice = f"{rates}, ten times higher, then lower; check the labels."
    severity: findings.Severity = "error" if finished else "warning"
    limit = findings.UNLEARNED * chance
    return Finding(findings.NOT_LEARNING, severity, sentence, cross_entropy, limit, advice, step)


def at_chance(accuracy: float, pairs: int, guessing: float, split: str) -> Finding | None:
    """An accuracy that may be that of guessing; `guessing` is the share that one answer to all pairs has right."""
    low, high = wilson_interval(round(accuracy * pairs), pairs)
    if low > guessing:
        return None
    sentence = (
        f"Accuracy is {accuracy:.2f} on {pairs} pairs of {split} (95 % interval {low:.2f} to {high:.2f}), which is not "
        f"above the {guessing:.2f} of guessing."
    )
    advice = (
        "a frozen pretrained backbone (configs/small.yaml), more steps, more pairs; look at the pictures and labels."
    )
    severity: findings.Severity = "error" if accuracy <= guessing and "_" not in split else "warning"
    return Finding(findings.AT_CHANCE, severity, sentence, low, guessing, advice, subject=split)


def too_short(cross_entropies: Sequence[float], steps: int, settings: Settings) -> Finding | None:
    """A finished training of few steps that has not learned its pairs, or one whose loss still falls steeply.

    `cross_entropies` are those of the training that were logged, `steps` all that it had.
    """
    chance = settings.chance()
    if not steps or chance is None:
        return None
    now = cross_entropies[-1] if cross_entropies else None
    before = cross_entropies[-1 - len(cross_entropies) // 3] if len(cross_entropies) >= 3 else None
    fall = 0.0 if now is None or before is None else (before - now) / chance
    short = steps < findings.FEWEST_STEPS and not settings.is_learned(now)
    if not short and fall < findings.FALLING:
        return None
    if now is None:
        seen = f"The training had {steps} steps and logged no cross-entropy."
    elif fall >= findings.FALLING:
        seen = f"The training cross-entropy fell from {before:.2f} to {now:.2f} in the last third of {steps} steps."
    else:
        seen = f"The training had {steps} steps, and its cross-entropy is still {now:.2f}; guessing gives {chance:.2f}."
    advice = f"--max_steps {max(findings.FEWEST_STEPS, 2 * steps)}, with at least three logs (--logging_steps)."
    return Finding(findings.TOO_SHORT, "warning", seen, float(steps), float(findings.FEWEST_STEPS), advice)


def too_small(tested: Mapping[str, tuple[float, int]]) -> Finding | None:
    """Test parts so small that their accuracy says little: name -> accuracy and number of pairs."""
    halves = {}
    for name, (accuracy, pairs) in tested.items():
        low, high = wilson_interval(round(accuracy * pairs), pairs)
        halves[name] = (high - low) / 2
    wide = {name: half for name, half in halves.items() if half > findings.WIDE}
    if not wide:
        return None
    shown = ", ".join(f"{name} ({tested[name][1]} pairs: ± {100 * half:.0f} points)" for name, half in wide.items())
    sentence = f"The 95 % interval of the accuracy is wider than ± {100 * findings.WIDE:.0f} points in {shown}."
    advice = "more pairs, a larger test part of the split, or fit.py, whose cross-validation tests every pair."
    return Finding(findings.TOO_SMALL, "warning", sentence, max(wide.values()), findings.WIDE, advice)


def seed_variance(accuracies: Mapping[str, Sequence[float]], run: str, note: str = "") -> Finding | None:
    """Runs that differ in nothing but the seed, and by much in their accuracy (split -> that of each seed).

    The sentence names what they have in common, `run`, and in a clause what else differs, `note`.
    """
    enough = {split: values for split, values in accuracies.items() if len(values) >= findings.FEWEST_SEEDS}
    spreads = {split: statistics.stdev(values) for split, values in enough.items()}
    wide = {split: spread for split, spread in spreads.items() if spread > findings.SEED_SPREAD}
    if not wide:
        return None
    worst = max(wide, key=lambda split: wide[split])
    values = accuracies[worst]
    others = f"; also in {', '.join(map(split_title, sorted(set(wide) - {worst})))}" if len(wide) > 1 else ""
    sentence = (
        f"{run}: over {len(values)} seeds the accuracy in {split_title(worst)} runs from {min(values):.2f} to "
        f"{max(values):.2f}, a standard deviation of {wide[worst]:.3f}{others}{note}."
    )
    advice = "more positives per action (--min_samples_per_class 4, larger batches), a longer warm-up, more seeds."
    return Finding(findings.SEED_VARIANCE, "warning", sentence, wide[worst], findings.SEED_SPREAD, advice, subject=run)


def _now(value: float | None) -> str:
    """A setting's value, behind its flag."""
    return "" if value is None else f" (now {value:g})"


def _weight_of(term: str) -> str:
    own = "weight of the method's own term (--method_options)" if term == "auxiliary" else f"weight of {title(term)}"
    return _FLAGS.get(term, own)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share == 0 or share >= 0.01 else f"{share:.2%}"
