"""What a training costs on cards that are not here: arithmetic from rates that were measured and from data sheets.

A step's seconds are those of its matrix products, of the optimizer, of the contrastive term, and of what the cards tell
each other and is not hidden behind the backward pass; or those of reading its pairs, if that takes longer, because it
goes on at the same time. Nothing here is a measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PER_NODE = 8  # cards that talk over their own links; more go over the network
BYTES_PER_WEIGHT = 16  # float32: the weight, its gradient, two moments of AdamW
BYTES_PER_UPDATE = 28  # AdamW reads weight, gradient and both moments and writes all but the gradient, 4 bytes each
COLLECTIVES = 4  # of a step: heights, labels, rows, and the gradient of the rows
SECONDS_PER_COLLECTIVE = 50e-6


@dataclass(frozen=True)
class Card:
    """A GPU, by its data sheet.

    Attributes:
        name: Of the card.
        bf16: Operations a second of dense bf16 matrix products.
        float32: Operations a second without the matrix units.
        memory: Bytes.
        memory_rate: Bytes a second.
        link: Bytes a second to the other cards of its node, in one direction.
        network: Bytes a second to other nodes.
        cores: CPU cores for each card.
    """

    name: str
    bf16: float
    float32: float
    memory: float
    memory_rate: float
    link: float
    network: float
    cores: int


CARDS = (
    Card("A100 SXM 80 GB", 312e12, 19.5e12, 80e9, 2.04e12, 300e9, 25e9, 16),  # in a DGX A100
    Card("H100 SXM 80 GB", 989e12, 67e12, 80e9, 3.35e12, 450e9, 50e9, 14),  # in a DGX H100
)


@dataclass(frozen=True)
class Run:
    """A training of the paper.

    Attributes:
        name: How tables call it.
        model: Which of the measured models.
        pictures: Which of the measured kinds of pictures.
        pairs: For training.
        validated: Pairs of all validation parts, which every epoch goes through.
        tested: Pairs that are tested at the end.
        delta_dim: Dimensions of a delta.
        rows: Deltas of a pair that the contrastive term takes: 1, or k.
        epochs: Not published: those of configs/finetune.yaml.
    """

    name: str
    model: str
    pictures: str
    pairs: int
    validated: int
    tested: int
    delta_dim: int = 256
    rows: int = 1
    epochs: int = 30


RUNS = (
    Run("ProcTHOR, single-object, global, ViT-S/16", "ViT-S/16", "PNG 672 px", 5000, 10_000, 10_000),
    Run("ProcTHOR, single-object, global, ViT-B/16", "ViT-B/16", "PNG 672 px", 5000, 10_000, 10_000),
    Run("ProcTHOR, multi-object, patches, ViT-S/16", "ViT-S/16, patches", "PNG 672 px", 5000, 10_000, 10_000, rows=8),
    Run("EPIC-KITCHENS, patches, ViT-S/16", "ViT-S/16, patches", "JPEG 456 x 256 px", 1000, 1000, 1000, 512, rows=8),
    Run("all ProcTHOR houses, patches, ViT-B/16", "ViT-B/16, patches", "PNG 672 px", 250_000, 10_000, 10_000, rows=8),
)


@dataclass(frozen=True)
class Step:
    """The seconds of one step of one card, by what they go into; `seconds` is what it takes."""

    compute: float
    optimizer: float
    contrastive: float
    gathering: float
    gradients: float
    input: float

    @property
    def seconds(self) -> float:
        """Of the whole step."""
        return max(self.compute + self.optimizer + self.contrastive + self.gathering + self.gradients, self.input)

    @property
    def saturated(self) -> list[str]:
        """What takes longest beside the model's own matrix products, in falling order; without what takes nothing."""
        others = {name: value for name, value in vars(self).items() if name != "compute" and value > 0}
        return sorted(others, key=lambda name: -others[name])


def step_of(
    card: Card, run: Run, cards: int, batch: int, rates: Mapping[str, Any], shares: Mapping[str, float]
) -> Step:
    """The seconds of a training step.

    Args:
        card: Which.
        run: What is trained.
        cards: How many.
        batch: Pairs of each card.
        rates: What `benchmarks.speed.cost_model` measured.
        shares: Assumptions: "matmul", the share of the data sheet that a matrix product reaches, and by model the share
            of that which a step reaches.
    """
    model = rates["models"][run.model]
    matmul = card.bf16 * shares["matmul"]
    compute = batch * model["flops_per_pair"] / (matmul * shares[run.model.partition(",")[0]])
    wire = card.link if cards <= PER_NODE else card.network
    rows = batch * run.rows
    local = rows * run.delta_dim * 4  # bytes of the deltas of one card
    gathering, gradients = 0.0, 0.0
    if cards > 1:
        # Everyone gets all deltas, and the gradients of all deltas are added up (a ring: twice).
        gathering = (cards - 1) * local * 3 / wire + COLLECTIVES * SECONDS_PER_COLLECTIVE
        ring = 2 * (cards - 1) / cards * 4 * model["weights"] / wire
        gradients = max(0.0, ring - compute * 2 / 3)  # hidden behind the backward pass, as far as that goes
    products = 6 * rows * rows * cards * run.delta_dim  # forward and backward of all similarities of own anchors
    return Step(
        compute=compute,
        optimizer=BYTES_PER_UPDATE * model["weights"] / (card.memory_rate * rates["optimizer"]["share_of_memory"]),
        contrastive=products / (card.float32 * rates["compute"]["contrastive"]["share_of_matmul"]),
        gathering=gathering,
        gradients=gradients,
        input=batch / (card.cores * rates["input"][run.pictures]),
    )


def hours(card: Card, run: Run, cards: int, batch: int, rates: Mapping[str, Any], shares: Mapping[str, float]) -> float:
    """Of the whole training: its steps, a validation after each epoch, and the test; without starting and saving."""
    step = step_of(card, run, cards, batch, rates, shares)
    forward = max(step.compute / 3, step.input) / (batch * cards)  # seconds of a pair that is only looked at
    looked_at = run.epochs * run.validated + run.tested
    return (run.epochs * steps_per_epoch(run, cards, batch) * step.seconds + looked_at * forward) / 3600


def steps_per_epoch(run: Run, cards: int, batch: int) -> int:
    """Full batches of all cards."""
    return run.pairs // (cards * batch)


def memory(run: Run, batch: int, rates: Mapping[str, Any]) -> float:
    """Bytes of one card: weights, gradients and moments in float32, and what a batch leaves for the backward pass."""
    model = rates["models"][run.model]
    return float(BYTES_PER_WEIGHT * model["weights"] + batch * model["activation_bytes_per_pair"])


def cores_wanted(
    card: Card, run: Run, batch: int, rates: Mapping[str, Any], shares: Mapping[str, float], pictures: str | None = None
) -> float:
    """CPU cores for each card with which reading takes as long as computing; `pictures` in place of the run's own."""
    step = step_of(card, run, 1, batch, rates, shares)
    pairs_a_second = batch / (step.compute + step.optimizer + step.contrastive)
    return pairs_a_second / float(rates["input"][pictures or run.pictures])


def hours_table(
    rates: Mapping[str, Any], shares: Mapping[str, float], batch: int, numbers: Sequence[int] = (1, 8, 64)
) -> str:
    """Hours and memory of all runs on all cards, as Markdown."""
    heads = [f"{number} GPU{'s' * (number > 1)}" for number in numbers]
    lines = [f"| run | card | {' | '.join(heads)} | memory |", f"|---|---|{'---:|' * (len(numbers) + 1)}"]
    for run in RUNS:
        for card in CARDS:
            cells = []
            for number in numbers:
                steps = steps_per_epoch(run, number, batch)
                taken = _short(hours(card, run, number, batch, rates, shares))
                cells.append(f"{taken} h, {steps} step{'s' * (steps > 1)}" if steps else "no full batch")
            gigabytes = memory(run, batch, rates) / 1e9
            lines.append(f"| {run.name} | {card.name} | {' | '.join(cells)} | {gigabytes:.0f} GB |")
    return "\n".join(lines)


def steps_table(
    card: Card, rates: Mapping[str, Any], shares: Mapping[str, float], batch: int, numbers: Sequence[int] = (1, 8, 64)
) -> str:
    """What a step's time goes into on one card, and what saturates first, as Markdown; milliseconds."""
    names = ("compute", "optimizer", "contrastive", "gathering", "gradients", "input")
    lines = [f"| run | GPUs | {' | '.join(names)} | first | then |", f"|---|---:|{'---:|' * len(names)}---|---|"]
    for run in RUNS:
        for number in numbers:
            step = step_of(card, run, number, batch, rates, shares)
            cells = [_short(1000 * getattr(step, name)) for name in names]
            lines.append(f"| {' | '.join([run.name, str(number), *cells, *step.saturated[:2]])} |")
    return "\n".join(lines)


def cores_table(rates: Mapping[str, Any], shares: Mapping[str, float], batch: int, stored: str = "PNG 256 px") -> str:
    """CPU cores for each card, so that it does not wait for pictures, as Markdown."""
    heads = [f"{card.name} (has {card.cores})" for card in CARDS]
    lines = [
        f"| run | {' | '.join(f'{head} | stored as {stored}' for head in heads)} |",
        f"|---|{'---:|' * (2 * len(CARDS))}",
    ]
    for run in RUNS:
        cells = []
        for card in CARDS:
            for pictures in (None, stored):
                cells.append(f"{cores_wanted(card, run, batch, rates, shares, pictures):.0f}")
        lines.append(f"| {run.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _short(value: float) -> str:
    """Two digits, or all of those before the point."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
