"""The split procedure of the Causal Triplet benchmark, step by step: the same rows and seed give the same parts.

Kept as published, faults included (see `causal_triplet_split`), so that results can be compared with published ones;
for your own results, `clean_split` is the better choice.

Source: Liu et al., "Causal Triplet: An Open Challenge for Intervention-centric Causal Representation Learning",
CLeaR 2023, and its public code (`main.set_loader` and `dataset.split_df`). Reimplemented from the procedure.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .annotations import Annotations, Pair, SplitError, annotations_sha256, check_opposites, count_pairs, read_pairs
from .manifest import JOINT_SHIFTS, OPPOSITES, PARTS, SplitManifest

#: The opposites in the original, where fill and empty are not opposites.
ORIGINAL_OPPOSITES = {a: b for a, b in OPPOSITES.items() if a not in ("fill", "empty")}

_OBJECT_SHARE, _COMBINATION_SHARE, _CAP_DIVISOR, _MOST_EVALUATED = 0.4, 0.3, 1.5, 5000
_Key = tuple[str, ...]


@dataclass(frozen=True)
class CausalTripletOptions:
    """Options of the causal_triplet protocol; the defaults are those of the original for ProcTHOR.

    Attributes:
        train_size: The most pairs in train, >= 1; the original uses 1000 for EPIC-KITCHENS.
        opposites: Actions that undo each other, given both ways. Only they can be held out in `comp`.
        left_out: Actions whose rows the original drops before anything else.
    """

    train_size: int = 5000
    opposites: Mapping[str, str] = field(default_factory=lambda: dict(ORIGINAL_OPPOSITES))
    left_out: tuple[str, ...] = ("none", "cook")

    def __post_init__(self) -> None:
        if self.train_size < 1:
            raise ValueError(f"train_size is {self.train_size}; give 1 or more.")
        check_opposites(self.opposites)


def causal_triplet_split(
    annotations: Annotations, shift: str, seed: int = 0, options: CausalTripletOptions | None = None
) -> SplitManifest:
    """Divide pairs as the original code does after `random.seed(seed)` and `np.random.seed(seed)`.

    The steps: (1) cap: of each action, in the order in which the actions first appear, int(N/V/1.5) rows are
    drawn (N rows, V actions, both before the cap) and put back in row order; (2) hold out objects or combinations,
    see below; (3) num_valid = max(min(|OOD|, 5000, int(0.5 |IID|)), 1); (4) shuffle the IID rows: the first
    num_valid are test, the next `train_size` train; (5) the last num_valid OOD rows are validation_ood, the first
    num_valid are test_ood.

    `syst`, the original's `noun`: K objects by count, descending and stable; k = max(int(0.4 K), 2); held out are
    those from K//2 - k//2 up to K//2 + k//2, so one less than k where k is odd. `comp`: the combinations by count,
    shuffled; the first int(0.3 P) are candidates, and one after another is held out if its action has an opposite,
    its action and its object occur in what is not held out, and so does its opposite on its object; otherwise it
    joins what is not held out.

    Known faults, kept: validation_ood and test_ood share pairs wherever |OOD| < 2 num_valid (`overlap` of the
    manifest lists them); there is no in-distribution validation part; scenes are on both sides; an action may
    occur in test_ood and not in train. The two shifts have different train parts.

    Args:
        annotations: Columns pair_id, action, object, scene, in row order, on which the split depends.
        shift: `"comp"`, or `"syst"` (also by the original's name `"noun"`).
        seed: 0 to 2**32 - 1, the range of NumPy. The original's default is 2022.
        options: None for `CausalTripletOptions()`.

    Raises:
        ValueError: A column is missing or ragged, a pair_id occurs twice, the seed is out of range, or the original
            would produce no train part, or hold out nothing; the message says which.
    """
    import numpy as np  # here, because whoever reads manifests does without

    shift = "syst" if shift == "noun" else shift
    if shift not in JOINT_SHIFTS:
        raise ValueError(f"The causal_triplet protocol has no shift {shift!r}; choose {' or '.join(JOINT_SHIFTS)}.")
    if not 0 <= seed < 2**32:
        raise ValueError(f"The seed is {seed}; the causal_triplet protocol takes 0 to 2**32 - 1.")
    options = options or CausalTripletOptions()
    drawn = random.Random(seed)
    rows = read_pairs(annotations, "scene")
    kept = [pair for pair in rows if pair.action not in options.left_out]
    if not kept:
        raise ValueError(f"All pairs have actions that the protocol leaves out ({', '.join(options.left_out)}).")
    pairs = _cap(kept, drawn)

    held = _hold_out_objects(pairs) if shift == "syst" else _hold_out_combinations(pairs, options.opposites, drawn)
    inside = [pair for pair in pairs if pair.key(shift) not in held]
    outside = [pair for pair in pairs if pair.key(shift) in held]
    if not outside or not inside:
        raise _one_side_only(pairs, shift)

    num_valid = max(min(len(outside), _MOST_EVALUATED, int(0.5 * len(inside))), 1)
    # What pandas' DataFrame.sample(frac=1) draws from NumPy's global generator.
    shuffled = [inside[i] for i in np.random.RandomState(seed).permutation(len(inside))]
    parts: dict[str, list[Pair]] = {
        "train": shuffled[num_valid:][: options.train_size],
        "validation": [],
        "test": shuffled[:num_valid],
        "validation_ood": outside[-num_valid:],
        "test_ood": outside[:num_valid],
    }
    if not parts["train"]:
        raise SplitError(
            "The causal_triplet protocol leaves train empty: only one pair is not held out, and test takes it",
            "add pairs",
        )
    unused = {
        "an action that the protocol leaves out": _without(rows, kept),
        "over the cap": _without(kept, pairs),
        "beyond the size of train": _without(shuffled[num_valid:], parts["train"]),
        "held out, but beyond the size of the OOD parts": _without(outside, parts["validation_ood"], parts["test_ood"]),
    }
    overlap = {pair.pair_id for pair in parts["validation_ood"]} & {pair.pair_id for pair in parts["test_ood"]}
    names: list[Any] = sorted(key[0] if shift == "syst" else list(key) for key in held)
    return SplitManifest(
        protocol="causal_triplet",
        shift=shift,
        seed=seed,
        options={
            "train_size": options.train_size,
            "opposites": dict(sorted(options.opposites.items())),
            "left_out": list(options.left_out),
        },
        annotations_sha256=annotations_sha256(annotations, "scene", ordered=True),
        parts={part: [pair.pair_id for pair in parts[part]] for part in PARTS},
        held_out={"validation_ood": names, "test_ood": list(names)},
        unused={reason: ids for reason, ids in unused.items() if ids},
        counts=count_pairs(parts),
        overlap=[pair.pair_id for pair in outside if pair.pair_id in overlap],
    )


def _cap(pairs: list[Pair], drawn: random.Random) -> list[Pair]:
    by_action: dict[str, list[int]] = defaultdict(list)  # in the order of first appearance
    for row, pair in enumerate(pairs):
        by_action[pair.action].append(row)
    most = int(len(pairs) / len(by_action) / _CAP_DIVISOR)
    if most < 1:
        raise SplitError(
            f"The causal_triplet protocol keeps int(N/V/1.5) pairs of each action, which is 0 for {len(pairs)} "
            f"pairs of {len(by_action)} actions",
            "add pairs",
        )
    kept: set[int] = set()
    for rows in by_action.values():
        kept.update(drawn.sample(rows, most) if len(rows) > most else rows)
    return [pair for row, pair in enumerate(pairs) if row in kept]


def _by_count(pairs: Sequence[Pair], shift: str) -> list[_Key]:
    """Most frequent first; equally frequent ones in the order of first appearance."""
    return [key for key, _ in Counter(pair.key(shift) for pair in pairs).most_common()]


def _hold_out_objects(pairs: Sequence[Pair]) -> set[_Key]:
    objects = _by_count(pairs, "syst")
    half = max(int(len(objects) * _OBJECT_SHARE), 2) // 2
    middle = len(objects) // 2
    # A single object gives [-1:1], which holds it out: as in the original, and refused by the caller.
    return set(objects[middle - half : middle + half])


def _hold_out_combinations(pairs: Sequence[Pair], opposites: Mapping[str, str], drawn: random.Random) -> set[_Key]:
    combinations = _by_count(pairs, "comp")
    drawn.shuffle(combinations)
    number = int(len(combinations) * _COMBINATION_SHARE)
    inside = set(combinations[number:])
    actions, objects = {action for action, _ in inside}, {name for _, name in inside}
    held: set[_Key] = set()
    for action, name in combinations[:number]:
        known = action in actions and name in objects
        if known and (opposites.get(action), name) in inside:
            held.add((action, name))
        else:
            inside.add((action, name))
            actions.add(action)
            objects.add(name)
    return held


def _one_side_only(pairs: Sequence[Pair], shift: str) -> SplitError:
    """Why everything is held out, or nothing, and what to do."""
    objects, combinations = {pair.object for pair in pairs}, {(pair.action, pair.object) for pair in pairs}
    if shift == "syst":
        return SplitError(
            "The causal_triplet protocol holds out at least two objects, and these pairs only have "
            f"{' and '.join(sorted(objects))}, so nothing is left for train",
            "add objects",
        )
    return SplitError(
        f"The causal_triplet protocol holds out nothing: of {len(combinations)} (action, object) combinations it drew "
        f"{int(len(combinations) * _COMBINATION_SHARE)} candidates, none of which has its opposite on the same object "
        "among the others",
        "take another seed, add objects with both actions, or give the opposites",
    )


def _without(pairs: Sequence[Pair], *others: Sequence[Pair]) -> list[str]:
    taken = {pair.pair_id for other in others for pair in other}
    return [pair.pair_id for pair in pairs if pair.pair_id not in taken]
