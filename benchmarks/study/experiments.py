"""What the study asks: for each experiment, the heads that are trained, and what each of them is trained on."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.study.pairs import Pairs

_AS_MANY_STEPS = {"max_steps": 195}


@dataclass(frozen=True)
class Fit:
    """One head.

    Attributes:
        row: Of the table; heads of one row differ in their seed.
        seed: Of the split, of what is drawn from it, and of the training.
        reading: What it reads of the backbone; see `benchmarks.study.pairs`.
        method: A value of `--method`.
        flags: Of train.py.
        train: What of the split it is trained on: "train" for all of its training part; "kinds N" for 500 pairs (or
            all, if there are fewer) of N kinds that test_syst lacks, and only test_syst is tested then; "pairs N" for N
            pairs; "share P" for P percent of the labels; "without KIND" for all pairs of the data set but those of a
            kind, on which it is then tested; "all" for all pairs of the data set and "all N" for 500 pairs of N kinds,
            tested elsewhere.
        actions: How many actions there are to tell apart, in training and tests; None for all.
    """

    row: str
    seed: int
    reading: str
    method: str = "cde"
    flags: Mapping[str, Any] = field(default_factory=dict)
    train: str = "train"
    actions: int | None = None


PAIRS_OF_KINDS = 500
_BASES = (
    ("CLS, concatenation", "cls", "concatenation"),
    ("CLS, CDE", "cls", "cde"),
    ("changed patches, concatenation", "change", "concatenation"),
    ("changed patches, CDE", "change", "cde"),
)


def methods(pairs: Pairs, seeds: Sequence[int]) -> list[Fit]:
    """Every method that reads one vector of a picture, and the closed form, on both readings."""
    rows: list[tuple[str, str, dict[str, Any]]] = [
        *((name, name, {}) for name in ("concatenation", "difference", "icm", "sms", "neighbours")),
        ("CDE", "cde", {}),
        ("CDE, swapped pairs", "cde", {"swap_opposites": True}),
        ("closed form (LDA)", "cde", {"classifier": "lda"}),
        ("closed form (LDA), swapped pairs", "cde", {"classifier": "lda", "swap_opposites": True}),
    ]
    titles = {"cls": "CLS", "change": "changed patches"}
    return [
        Fit(f"{titles[reading]}, {row}", seed, reading, method, flags)
        for reading in titles
        for row, method, flags in rows
        for seed in seeds
    ]


def bases(pairs: Pairs, seeds: Sequence[int]) -> list[Fit]:
    """Two methods on both readings: a short `methods`, for other data sets."""
    return [Fit(row, seed, reading, method) for row, reading, method in _BASES for seed in seeds]


def choices(pairs: Pairs, seeds: Sequence[int]) -> list[Fit]:
    """How to train the head: what configs/quickstart.yaml and configs/dino_global.yaml were chosen by."""
    first = {"contrastive_weight": 2.0, "sparsity_weight": 0.01}  # where the choosing began
    without_norm = {"method_options": '{"projector_input_norm": false}'}
    longer = {"max_steps": 810, "per_device_train_batch_size": 64}
    weights = [(c, s) for c in (2.0, 8.0) for s in (0.0, 0.001, 0.01) if (c, s) != (2.0, 0.01)]
    rows: list[tuple[str, str, str, dict[str, Any]]] = [
        *((row, reading, method, first if method == "cde" else {}) for row, reading, method in _BASES),
        ("CLS, CDE, no input norm", "cls", "cde", first | without_norm),
        ("CLS, CDE, 810 steps of 64 pairs", "cls", "cde", first | longer),
        ("CLS, CDE, no input norm, 810 steps of 64 pairs", "cls", "cde", first | longer | without_norm),
        *(
            (f"{title}, CDE, contrastive {c:g}, sparsity {s:g}", reading, "cde", _weights(c, s))
            for title, reading in (("CLS", "cls"), ("changed patches", "change"))
            for c, s in weights
        ),
        ("changed patches, CDE, twice the epochs", "change", "cde", first | {"num_train_epochs": 30}),
        ("changed patches, CDE, swapped pairs", "change", "cde", first | {"swap_opposites": True}),
        ("changed patches, closed form (LDA)", "change", "cde", {"classifier": "lda"}),
    ]
    return [Fit(row, seed, reading, method, flags) for row, reading, method, flags in rows for seed in seeds]


def _weights(contrastive: float, sparsity: float) -> dict[str, Any]:
    return {"contrastive_weight": contrastive, "sparsity_weight": sparsity}


def losses(pairs: Pairs, seeds: Sequence[int]) -> list[Fit]:
    """Each loss left out, on both readings."""
    rows: list[tuple[str, str, dict[str, Any]]] = [
        ("concatenation", "concatenation", {}),
        ("concatenation + contrastive", "concatenation", _weights(2.0, 0.0)),
        ("concatenation + contrastive + L1", "concatenation", _weights(2.0, 0.01)),
        ("difference", "cde", _weights(0.0, 0.0)),
        ("difference + L1", "cde", _weights(0.0, 0.01)),
        ("difference + contrastive", "cde", _weights(2.0, 0.0)),
        ("difference + contrastive + L1", "cde", _weights(2.0, 0.01)),
    ]
    return [
        Fit(f"{title}, {row}", seed, reading, method, flags)
        for reading, title in (("cls", "CLS"), ("change", "changed patches"))
        for row, method, flags in rows
        for seed in seeds
    ]


def weights(pairs: Pairs, seeds: Sequence[int]) -> list[Fit]:
    """The two weights on a grid, up to the published 1.0 of the sparsity term."""
    return [
        Fit(f"contrastive {c:g}, sparsity {s:g}", seed, "change", "cde", _weights(c, s))
        for c in (0.0, 0.5, 2.0, 8.0)
        for s in (0.0, 0.01, 0.1, 0.3, 1.0)
        for seed in seeds
    ]


def kinds(pairs: Pairs, seeds: Sequence[int]) -> list[Fit]:
    """The number of training kinds, with 500 pairs whatever it is (all pairs, where so many kinds have fewer)."""
    most = min(len(_not_tested(pairs, pairs.split(seed))) for seed in seeds)
    counts = [n for n in (8, 12, 16, 20, 24, 28, 32, 40, 48, 56) if n <= most]
    return [
        Fit(f"{title}, {n} kinds", seed, reading, method, {}, f"kinds {n}")
        for title, reading, method in (_BASES[0], _BASES[1], _BASES[3])
        for n in counts
        for seed in seeds
    ]


def numbers(pairs: Pairs, seeds: Sequence[int]) -> list[Fit]:
    """The number of training pairs, of the same kinds, in equally many steps."""
    return [
        Fit(f"{title}, {n} pairs", seed, reading, method, _AS_MANY_STEPS, f"pairs {n}")
        for title, reading, method in (_BASES[0], _BASES[1], _BASES[3])
        for n in (100, 200, 400, 800, 1600)
        for seed in seeds
    ]


def labels(pairs: Pairs, seeds: Sequence[int]) -> list[Fit]:
    """The share of the training pairs that is labelled, in equally many steps."""
    return [
        Fit(f"{title}, {p} %", seed, reading, method, _AS_MANY_STEPS, f"share {p}")
        for title, reading, method in _BASES
        for p in (1, 10, 100)
        for seed in seeds
    ]


def layers(pairs: Pairs, seeds: Sequence[int]) -> list[Fit]:
    """One layer at a time, and sets of layers, where the picture changed."""
    names = [f"layer{n}" for n in range(1, 13)] + ["change", "cls4", "mean4", "cls"]
    return [Fit(name, seed, name) for name in names for seed in seeds]


def actions(pairs: Pairs, seeds: Sequence[int]) -> list[Fit]:
    """The number of actions that have to be told apart."""
    return [
        Fit(f"{title}, {n} actions", seed, reading, method, actions=n)
        for title, reading, method in (_BASES[0], _BASES[1], _BASES[3])
        for n in (4, 6, 8, 10)
        for seed in seeds
    ]


def left_out(pairs: Pairs, seeds: Sequence[int]) -> list[Fit]:
    """Each kind left out of the training, and tested; as many steps as elsewhere, of more pairs."""
    return [
        Fit(row, seeds[0], reading, method, _AS_MANY_STEPS, f"without {kind}")
        for row, reading, method in (_BASES[0], _BASES[2], _BASES[3])
        for kind in pairs.kinds
    ]


def transfer(pairs: Pairs, seeds: Sequence[int]) -> list[Fit]:
    """All pairs of the data set in training, tested on pairs from elsewhere, `--elsewhere`."""
    return [
        Fit(row, seed, reading, method, flags, "all")
        for row, reading, method, flags in _trained_on_all()
        for seed in seeds
    ]


def transfer_kinds(pairs: Pairs, seeds: Sequence[int]) -> list[Fit]:
    """The number of training kinds, with 500 pairs whatever it is, tested on pairs from elsewhere, `--elsewhere`."""
    counts = [n for n in (8, 16, 24, 32, 40, 48, 56, 64) if n <= len(pairs.kinds)]
    return [
        Fit(f"{title}, {n} kinds", seed, reading, method, {}, f"all {n}")
        for title, reading, method in (_BASES[0], _BASES[3])
        for n in counts
        for seed in seeds
    ]


def _trained_on_all() -> list[tuple[str, str, str, dict[str, Any]]]:
    rows = [(row, reading, method, _AS_MANY_STEPS) for row, reading, method in _BASES]
    lda = {"classifier": "lda", "swap_opposites": True}
    return [*rows, ("changed patches, closed form (LDA), swapped pairs", "change", "cde", lda)]


EXPERIMENTS: dict[str, Callable[[Pairs, Sequence[int]], list[Fit]]] = {
    question.__name__: question
    for question in (
        *(methods, bases, choices, losses, weights, kinds, numbers, labels, layers, actions),
        *(left_out, transfer, transfer_kinds),
    )
}


def parts_of(fit: Fit, pairs: Pairs) -> dict[str, list[int]]:
    """The pairs that a head is trained on ("train"), and those that it is tested on by the names of the splits."""
    draw = random.Random(f"{fit.train}/{fit.seed}")
    word, _, value = fit.train.partition(" ")
    if word == "without":
        left = pairs.of_kinds([value])
        return {"train": [i for i in range(len(pairs)) if pairs.object[i] != value], "left_out": left}
    if word == "all":
        train = _of_kinds(pairs, pairs.kinds, int(value), draw) if value else list(range(len(pairs)))
        return {"train": train}
    parts = pairs.split(fit.seed)
    if word == "kinds":
        # Of any scene, else 8 kinds would have too few pairs: what the other parts have may be among them.
        train = _of_kinds(pairs, _not_tested(pairs, parts), int(value), draw)
        parts = {"train": train, "test_syst": parts["test_syst"]}
    elif word in ("pairs", "share"):
        number = int(value) if word == "pairs" else round(len(parts["train"]) * int(value) / 100)
        parts["train"] = _spread(pairs, parts["train"], number, draw)
    if fit.actions is not None:
        kept = _actions(pairs, fit.actions)
        parts = {name: [i for i in rows if pairs.action[i] in kept] for name, rows in parts.items()}
    return {name: rows for name, rows in parts.items() if rows}


def _of_kinds(pairs: Pairs, kinds: Sequence[str], number: int, draw: random.Random) -> list[int]:
    """500 pairs of so many of these kinds, or all if there are fewer, of any scene, with each action there is."""
    if number > len(kinds):
        raise ValueError(f"There are {len(kinds)} kinds to train on, and {number} are asked for: ask for fewer.")
    every = set(pairs.action)
    for _ in range(10_000):
        drawn = draw.sample(list(kinds), number)
        found = _spread(pairs, pairs.of_kinds(drawn), PAIRS_OF_KINDS, draw)
        if {pairs.action[i] for i in found} == every and {pairs.object[i] for i in found} == set(drawn):
            return found
    raise ValueError(f"No {number} of the {len(kinds)} kinds to train on have all actions: ask for more.")


def _not_tested(pairs: Pairs, parts: Mapping[str, Sequence[int]]) -> list[str]:
    """The kinds that test_syst does not have."""
    tested = {pairs.object[i] for i in parts["test_syst"]}
    return [kind for kind in pairs.kinds if kind not in tested]


def _spread(pairs: Pairs, rows: Sequence[int], number: int, draw: random.Random) -> list[int]:
    """So many of these pairs, at random, with each action there is."""
    shuffled = draw.sample(list(rows), len(rows))
    first = set({pairs.action[i]: i for i in reversed(shuffled)}.values())
    chosen = [*first, *(i for i in shuffled if i not in first)]
    return sorted(chosen[: max(number, len(first))])


def _actions(pairs: Pairs, number: int) -> set[str]:
    """The first so many actions, opposites together."""
    from modeling_cde.data.splits import OPPOSITES

    names = sorted(set(pairs.action))
    both = [(one, OPPOSITES[one]) for one in names if OPPOSITES.get(one) in names]
    return set(list(dict.fromkeys([name for pair in both for name in pair] + names))[:number])
