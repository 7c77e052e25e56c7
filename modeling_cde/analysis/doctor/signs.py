"""Signs of trouble: each a function from plain numbers to a finding, or to None where there is no such trouble.

Nothing is read and no library is needed here. `training_log` takes the numbers from a training's log, `doctor` from the
files of a finished run. The thresholds, and the reason of each, are in `findings`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from .findings import (
    COLLAPSED,
    DEAD_CLASSES,
    DIVERGENCE,
    DOMINANT,
    DOMINANT_SHARE,
    FEWEST_PAIRS,
    FEWEST_SEEDS,
    GAP,
    HIGH_ACCURACY,
    IDLE,
    IDLE_CONTRASTIVE,
    LEARNED,
    LONELY,
    NO_POSITIVES,
    NOT_FINITE,
    NOT_LEARNING,
    SEED_SPREAD,
    SEED_VARIANCE,
    SHRUNKEN,
    TINY,
    UNLEARNED,
    VANISHED,
    VANISHED_LENGTH,
    ZERO,
    Finding,
    Settings,
)


def not_finite(names: Sequence[str], where: str, step: int | None = None) -> Finding | None:
    """Numbers that are NaN or infinite.

    Args:
        names: what is not finite, such as ["loss", "grad_norm"].
        where: the place, for the sentence, such as "in the training log".
        step: when.
    """
    if not names:
        return None
    shown = ", ".join(names)
    advice = "a tenth of --learning_rate and --backbone_learning_rate, a lower --max_grad_norm, --precision float32."
    sentence = f"NaN or infinity {where}: {shown}."
    return Finding(NOT_FINITE, "error", sentence, float(len(names)), 0.0, advice, step, where if step is None else "")


def collapsed(
    length: float,
    reference: float,
    kind: Literal["start", "states"],
    cross_entropy: float | None,
    settings: Settings,
    step: int | None = None,
    where: str = "",
) -> Finding | None:
    """Deltas near zero with which the actions are not told apart.

    Args:
        length: mean length of a delta, or any number proportional to it.
        reference: "start": the largest value that `length` had in training; "states": the mean length of a state.
        kind: what `reference` is.
        cross_entropy: in nats; None where it is not known.
        settings: for the chance level and the advice.
        step: when.
        where: the split, for the sentence.
    """
    limit = SHRUNKEN if kind == "start" else TINY
    ratio = length / reference if reference > ZERO and length > ZERO else 0.0
    chance = settings.chance()
    if ratio >= limit or (cross_entropy is not None and chance is not None and cross_entropy < LEARNED * chance):
        return None
    against = "of the longest they were in this training" if kind == "start" else "of the states' length"
    sentence = f"{f'In {where} the' if where else 'The'} deltas are only {_percent(ratio)} {against}"
    if cross_entropy is not None and chance is not None:
        sentence += f", and the cross-entropy is {cross_entropy:.2f} (guessing: {chance:.2f})"
    rate = "" if settings.learning_rate is None else f" (now {settings.learning_rate:g})"
    if settings.sparsity_weight == 0:
        advice = f"a higher --learning_rate{rate}; the sparsity weight is 0 already. Check that the pictures differ."
    else:
        now = "" if settings.sparsity_weight is None else f" (now {settings.sparsity_weight:g})"
        advice = f"a tenth of --sparsity_weight{now}, --sparsity_warmup_ratio 0.3, or a higher --learning_rate{rate}."
    return Finding(COLLAPSED, "error", sentence + ".", ratio, limit, advice, step)


def vanished(
    lengths: Mapping[str, float], accuracy: Mapping[str, float], pairs: Mapping[str, int], split: str
) -> Finding | None:
    """Actions whose deltas are near zero where those of the others are not, and which are not recognised.

    Args:
        lengths: mean length of the deltas by action.
        accuracy: share of right predictions by action.
        pairs: number of pairs by action.
        split: where.
    """
    known = sorted(length for action, length in lengths.items() if pairs[action] >= FEWEST_PAIRS)
    if len(known) < 3:
        return None
    median = known[len(known) // 2]
    small = {
        action: length / median
        for action, length in lengths.items()
        if pairs[action] >= FEWEST_PAIRS and length < VANISHED_LENGTH * median and accuracy[action] < 0.5
    }
    if not small:
        return None
    worst = min(small, key=lambda action: small[action])
    others = f" (and {', '.join(sorted(set(small) - {worst}))})" if len(small) > 1 else ""
    sentence = (
        f"In {split} the deltas of {worst}{others} are {_percent(small[worst])} as long as the median action's, and "
        f"{_percent(accuracy[worst])} of its pairs are recognised."
    )
    advice = "a lower --sparsity_weight, which takes small changes first; larger pictures (--image_size)."
    return Finding(VANISHED, "warning", sentence, small[worst], VANISHED_LENGTH, advice, subject=split)


def divergence(
    iid: float,
    ood: float,
    names: tuple[str, str],
    settings: Settings,
    best_before: float | None = None,
    step: int | None = None,
) -> Finding | None:
    """High accuracy in distribution and low accuracy under a shift.

    Args:
        iid: accuracy on the in-distribution split, in [0, 1].
        ood: accuracy on the shifted split.
        names: the names of the two splits.
        settings: for the advice.
        best_before: the highest accuracy on the shifted split at an earlier evaluation of the same training.
        step: when.
    """
    gap = iid - ood
    if iid < HIGH_ACCURACY or gap < GAP:
        return None
    sentence = f"Accuracy is {iid:.2f} in {names[0]} but {ood:.2f} in {names[1]}, a gap of {gap:.2f}"
    if best_before is not None and best_before >= ood + 0.05:
        sentence += f"; {names[1]} was at {best_before:.2f} before"
    if settings.contrastive_weight == 0:
        advice = "--contrastive_weight 2.0 (it is 0): without it the head may read what goes along with an action."
    else:
        advice = "a higher --contrastive_weight or larger batches, more objects in training, a pretrained --backbone."
    return Finding(DIVERGENCE, "warning", sentence + ".", gap, GAP, advice, step, names[1])


def no_positives(share: float, settings: Settings, step: int | None = None) -> Finding | None:
    """Batches in which many samples have no other sample of their action.

    Args:
        share: mean share of anchors without a positive, in [0, 1].
        settings: for the weight of the contrastive term and the advice.
        step: when.
    """
    if share <= LONELY or settings.contrastive_weight == 0:
        return None
    whole = share >= 1
    sentence = f"{_percent(share)} of the samples have no other of their action in the batch" + (
        ": the contrastive term is 0 throughout." if whole else " and are left out of the contrastive term."
    )
    sampling = "--class_aware_sampling true with --min_samples_per_class 2, " if not settings.class_aware else ""
    advice = f"{sampling}a larger --per_device_train_batch_size, or fewer actions."
    return Finding(NO_POSITIVES, "error" if whole else "warning", sentence, share, LONELY, advice, step)


def dead_classes(
    number: int, total: int | None, split: str, names: Sequence[str] = (), step: int | None = None
) -> Finding | None:
    """Actions that occur but are never predicted.

    Args:
        number: how many.
        total: how many actions there are, if known.
        split: where.
        names: which, where that is known.
        step: when.
    """
    if number <= 0:
        return None
    shown = f": {', '.join(names)}" if names else ""
    of_all = f" of {total}" if total else ""
    noun = "action" if number == 1 and not total else "actions"
    sentence = f"In {split} {number}{of_all} {noun} {'is' if number == 1 else 'are'} never predicted{shown}."
    advice = (
        "more pairs of these actions, --class_aware_sampling true with a higher --min_samples_per_class, more epochs."
    )
    return Finding(DEAD_CLASSES, "warning", sentence, float(number), 0.0, advice, step, split)


def dominant(
    sums: Mapping[str, float], cross_entropy: float, settings: Settings, step: int | None = None
) -> Finding | None:
    """One term makes up nearly all of the loss, and the others are not learned, or hardly count.

    Args:
        sums: each weighted term, summed or averaged over the training so far; terms of weight 0 left out.
        cross_entropy: as it is now, in nats.
        settings: for the chance level.
        step: when.
    """
    sizes = {name: abs(value) for name, value in sums.items() if value != 0}
    whole = sum(sizes.values())
    if len(sizes) < 2 or not whole > 0:
        return None
    name = max(sizes, key=lambda term: sizes[term])
    share, chance = sizes[name] / whole, settings.chance()
    if share <= DOMINANT_SHARE:
        return None
    shown = name.replace("_", "-")
    sentence = f"The {shown} {'' if name == 'cross_entropy' else 'term '}makes up {_percent(share)} of the loss"
    if name == "cross_entropy":
        others = " and ".join(sorted(set(sizes) - {name}))
        sentence += f"; {others} hardly count{'' if ' and ' in others else 's'}."
        advice = " ".join(f"a higher --{term}_weight" for term in sorted(set(sizes) - {name}) if term != "auxiliary")
        advice = (advice.replace(" a higher", " and a higher") or "a higher weight of the method's own term") + "."
    else:
        if chance is not None and cross_entropy < LEARNED * chance:
            return None
        level = "" if chance is None else f" (guessing: {chance:.2f})"
        sentence += f" while the cross-entropy is at {cross_entropy:.2f}{level}."
        advice = {
            "sparsity": "a tenth of --sparsity_weight, --sparsity_warmup_ratio 0.3, or --sparsity_reduction mean.",
            "contrastive": "a lower --contrastive_weight or a higher --temperature.",
        }.get(name, "a lower weight of the method's own term (--method_options).")
    return Finding(DOMINANT, "warning", sentence, share, DOMINANT_SHARE, advice, step, name)


def idle_contrastive(
    contrastive: float, cross_entropy: float, settings: Settings, step: int | None = None
) -> Finding | None:
    """The cross-entropy was learned and the contrastive term was not: deltas of one action point anywhere.

    Args:
        contrastive: contrastive term as it is now, without its weight.
        cross_entropy: as it is now, in nats.
        settings: for the weight, the chance level and the number of deltas that are compared.
        step: when.
    """
    chance, samples = settings.chance(), settings.contrastive_samples
    if settings.contrastive_weight == 0 or chance is None or samples is None or samples < 3:
        return None
    random = math.log(samples - 1)
    if cross_entropy >= LEARNED * chance or contrastive < IDLE * random:
        return None
    sentence = (
        f"The contrastive term is {contrastive:.2f}, where random directions give {random:.2f}, though the "
        f"cross-entropy has come down to {cross_entropy:.2f}: deltas of one action do not come together."
    )
    advice = "a higher --contrastive_weight, another --temperature (0.1 to 0.5), or larger batches."
    return Finding(IDLE_CONTRASTIVE, "warning", sentence, contrastive / random, IDLE, advice, step)


def not_learning(
    cross_entropy: float, settings: Settings, step: int | None = None, finished: bool = True
) -> Finding | None:
    """The training cross-entropy is that of guessing.

    Args:
        cross_entropy: of the last logs, in nats.
        settings: for the chance level and the advice.
        step: when.
        finished: whether no step is left in which it could still be learned.
    """
    chance = settings.chance()
    if chance is None or cross_entropy < UNLEARNED * chance:
        return None
    guessing = f"guessing among {settings.num_actions} actions gives {chance:.2f}"
    sentence = f"The training cross-entropy is {cross_entropy:.2f}; {guessing}."
    rate = "" if settings.learning_rate is None else f" (now {settings.learning_rate:g})"
    advice = (
        f"another --learning_rate{rate} and --backbone_learning_rate, ten times higher, then lower; check the labels."
    )
    value, threshold = cross_entropy, UNLEARNED * chance
    return Finding(NOT_LEARNING, "error" if finished else "warning", sentence, value, threshold, advice, step)


def seed_variance(accuracies: Mapping[str, Sequence[float]], run: str, note: str = "") -> Finding | None:
    """Runs that differ in the seed alone and in their accuracy by much.

    Args:
        accuracies: split -> the accuracy of each seed, in [0, 1].
        run: what the runs have in common, for the sentence.
        note: what else differs among them, as a clause; empty where nothing does.
    """
    spreads = {split: _deviation(values) for split, values in accuracies.items() if len(values) >= FEWEST_SEEDS}
    wide = {split: spread for split, spread in spreads.items() if spread > SEED_SPREAD}
    if not wide:
        return None
    worst = max(wide, key=lambda split: wide[split])
    values = accuracies[worst]
    others = f"; also in {', '.join(sorted(set(wide) - {worst}))}" if len(wide) > 1 else ""
    sentence = (
        f"{run}: over {len(values)} seeds the accuracy in {worst} runs from {min(values):.2f} to {max(values):.2f}, a "
        f"standard deviation of {wide[worst]:.3f}{others}{note}."
    )
    advice = "more positives per action (--min_samples_per_class 4, larger batches), a longer warm-up, more seeds."
    return Finding(SEED_VARIANCE, "warning", sentence, wide[worst], SEED_SPREAD, advice, subject=run)


def _deviation(values: Sequence[float]) -> float:
    """Sample standard deviation (n - 1)."""
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _percent(share: float) -> str:
    return f"{share:.0%}" if share == 0 or share >= 0.01 else f"{share:.2%}"
