"""What the doctor finds, and the number from which it is a sign of trouble.

The reason for each threshold stands beside it; docs/doctor.md shows all of them. They are ours, none is the paper's.
"Measured" below means: on `configs/from_scratch.yaml` (rooms, a ResNet from scratch, ten actions) and on tiny ViTs and
ResNets whose trouble was provoked. Nothing was measured with a pretrained backbone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..loss_terms import loss_weights

NOT_FINITE = "numbers that are not finite"
COLLAPSED = "collapsed deltas"
VANISHED = "vanished action"
DIVERGENCE = "IID/OOD divergence"
NO_POSITIVES = "batches without positives"
DEAD_CLASSES = "dead classes"
DOMINANT = "one term dominates"
IDLE_CONTRASTIVE = "idle contrastive term"
NOT_LEARNING = "nothing learned"
SEED_VARIANCE = "seed variance"
AT_CHANCE = "at chance"
TOO_SHORT = "too short"
TOO_SMALL = "too small to judge"

# Deltas have shrunk to this share of the longest they were. Measured: 0.5 in the healthy quickstart run, 0.3 with a
# sparsity weight that is high but survived, 0.08 and less where the sparsity term left nothing.
SHRUNKEN = 0.1
# Mean length of a delta over mean length of a state. Measured: 0.6 to 1.1 in the quickstart run, 0.18 and more in
# untrained encoders, 0.02 and less in collapsed ones.
TINY = 0.05
# The loss counts a delta of this length or less as zero: it has no direction.
ZERO = 1e-6
# The cross-entropy of A actions is log A by chance. Under half of it something was learned that reads the deltas, so
# small deltas, or a large other term, do no harm; at 0.95 of it and above nothing was.
LEARNED = 0.5
UNLEARNED = 0.95
# An action's deltas against the median action's. Measured: the shortest is 0.79 in distribution and 0.49 under a shift.
VANISHED_LENGTH = 0.1
# Fewer pairs of an action than this say nothing about the action.
FEWEST_PAIRS = 5
# Between the gaps that the paper reports for CDE (0.21) and for the best other method (0.42), rounded up to a 0.05.
GAP = 0.35
# An accuracy over fewer pairs than this has a standard error of 0.11 and more.
FEWEST_IN_SPLIT = 20
# "High" accuracy: below it the first trouble is the training, not the shift.
HIGH_ACCURACY = 0.7
# Share of anchors without a positive. Class-aware batches have none; a quarter of a batch idle is worth a change.
LONELY = 0.25
# Share of the whole loss. The contrastive term cannot reach 0 and had 0.83 at the end of the healthy quickstart run.
DOMINANT_SHARE = 0.9
# The contrastive term against log(n - 1), what deltas of random directions give in a batch of n. Measured: 0.49 at the
# end of the quickstart run; two perfectly separated actions in a batch of 64 can reach log(31) / log(63) = 0.83.
IDLE = 0.9
# Standard deviation of an accuracy over seeds. The paper's ablations differ by 0.02 to 0.08: three seeds that spread
# more than this cannot tell them apart. Measured: 0.01 to 0.05 over three seeds of one split.
SEED_SPREAD = 0.05
# Heads on frozen features need 100 to 300 steps: 24 steps of 62 own pairs gave .39 where 300 gave over .9.
FEWEST_STEPS = 300
# The cross-entropy fell by this share of guessing's in the last third of the steps. Measured: 0.00 in both runs of
# 180 steps on frozen DINOv2.
FALLING = 0.1
# Half the width of the 95 % interval of a test's accuracy: 40 pairs at 0.5, or 20 at 0.87, have it.
WIDE = 0.15
# Two seeds give no standard deviation worth a warning.
FEWEST_SEEDS = 3

Severity = Literal["warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One sign of trouble.

    Attributes:
        sign: one of the names above.
        severity: "error" if the result is worthless as it is, else "warning".
        sentence: what was seen, with its number.
        value: the number.
        threshold: the number from which it is a sign.
        advice: what to try.
        step: the training step at which it was seen; None for a finished run's results.
        subject: what distinguishes two findings of one sign, such as a split; empty if there is only one.
    """

    sign: str
    severity: Severity
    sentence: str
    value: float
    threshold: float
    advice: str
    step: int | None = None
    subject: str = ""

    def line(self) -> str:
        """The finding on one line."""
        when = "" if self.step is None else f" at step {self.step}"
        return f"{self.severity}{when}, {self.sign}: {self.sentence} Try: {self.advice}"

    def much_worse_than(self, said: "Finding") -> bool:
        """Whether to report it again after `said`, a finding of the same sign and subject.

        Yes, if it became an error, or is at least twice as far from the threshold and has moved by half of it.
        """
        if self.severity != said.severity:
            return self.severity == "error"
        now, then = abs(self.value - self.threshold), abs(said.value - said.threshold)
        return now >= 2 * then and now - then >= 0.5 * abs(self.threshold) and now > then


@dataclass(frozen=True)
class Settings:
    """What is known about a training besides its numbers; None if unknown.

    Attributes:
        weights: the weight of each term of the loss, by name.
        sparsity_warmup_ratio: share of the steps over which the sparsity weight grows from 0.
        num_actions: number of action classes.
        max_steps: steps of the whole training.
        learning_rate: peak learning rate of everything but the backbone.
        class_aware: whether batches are class-aware.
        contrastive_samples: how many deltas are compared in a batch: of all processes and, if the loss is taken per
            patch, all selected patches.
        half_precision: whether gradients are scaled (fp16), which overflow now and then by design.
    """

    weights: Mapping[str, float] | None = None
    sparsity_warmup_ratio: float = 0.0
    num_actions: int | None = None
    max_steps: int | None = None
    learning_rate: float | None = None
    class_aware: bool | None = None
    contrastive_samples: int | None = None
    half_precision: bool = False

    @classmethod
    def of(cls, arguments: Mapping[str, Any], kept: Mapping[str, Any], processes: int = 1, **known: Any) -> "Settings":
        """What the arguments of a training, those of its model among them, and its trainer state say.

        `kept` is `stateful_callbacks` of that state, `processes` train together, `known` are the other attributes.
        """
        samples = arguments.get("per_device_train_batch_size")
        if samples is not None:
            per_patch = arguments.get("delta_mode") == "patch" and arguments.get("patch_loss") == "per_patch"
            samples = int(samples) * processes * (int(arguments.get("top_k_patches", 1)) if per_patch else 1)
        return cls(
            weights=loss_weights(kept, arguments),
            sparsity_warmup_ratio=arguments.get("sparsity_warmup_ratio") or 0.0,
            learning_rate=arguments.get("learning_rate"),
            class_aware=arguments.get("class_aware_sampling"),
            contrastive_samples=samples,
            half_precision=bool(arguments.get("fp16")),
            **known,
        )

    def chance(self) -> float | None:
        """Cross-entropy, in nats, of guessing evenly among the actions; None if their number is not known."""
        return math.log(self.num_actions) if self.num_actions and self.num_actions > 1 else None

    def is_learned(self, cross_entropy: float | None) -> bool:
        """Whether a cross-entropy is far below that of guessing; False if one of them is not known."""
        chance = self.chance()
        return chance is not None and cross_entropy is not None and cross_entropy < LEARNED * chance

    def has(self, term: str) -> bool:
        """Whether the loss has a term, or may have it."""
        return self.weights is None or term in self.weights

    def weight(self, term: str) -> float | None:
        """The weight of a term, 0 for one that the loss does not have."""
        return None if self.weights is None else self.weights.get(term, 0.0)
