"""The clean protocol: disjoint, stratified, seeded splits by groups, for one shift or both at once."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .annotations import Annotations, Pair, SplitError, annotations_sha256, check_opposites, count_pairs, read_pairs
from .groups import GroupDivision
from .held_out import check_objects, hold_out_combinations, hold_out_mechanisms, hold_out_objects
from .manifest import OOD_PARTS, OOD_SHIFTS, OPPOSITES, PARTS, SHIFTS, SplitManifest, key_of


@dataclass(frozen=True)
class CleanOptions:
    """Options of the clean protocol; the defaults are ours.

    Attributes:
        validation: Share of the pairs that are not held out, in (0, 1); for the shift `none` also 0, for no such part.
        test: The same for test.
        ood: Share of the objects (`syst`), of the combinations whose opposite exists (`comp`), or of the mechanisms
            (`mech`) that is held out, in (0, 1): half for each OOD part, at least one each, and fewer if
            `min_train_objects` requires it.
        min_train_objects: Number of objects of each action that stay in training (if it has them), >= 1.
        min_ood_pairs: Objects, combinations or mechanisms with fewer pairs stay in training, unless no two others can
            be held out, >= 1. An OOD part with fewer pairs takes in more groups.
        cap: The most pairs of one action, as a multiple of the mean number of pairs per action, or None.
        group_by: Column whose values (houses, kitchens, participants) are on one side only: train, or the parts that
            select the model (validation, validation_ood), or those that report on it (test, test_ood). Held-out
            pairs in groups of another side are unused. The default is the scene, since the pairs of one scene share
            room, light and often the same instance; None divides pair by pair.
        share_evaluation_groups: Give held-out pairs to their OOD part in any group outside train: larger OOD parts,
            which may share groups with validation, with test and with each other, but never with train.
        ood_objects: `{"validation_ood": [...], "test_ood": [...]}` to hold out exactly these (`syst`).
        opposites: Actions that undo each other, given both ways.
    """

    validation: float = 0.1
    test: float = 0.15
    ood: float = 0.3
    min_train_objects: int = 2
    min_ood_pairs: int = 5
    cap: float | None = 2.0
    group_by: str | None = "scene"
    share_evaluation_groups: bool = False
    ood_objects: Mapping[str, Sequence[str]] | None = None
    opposites: Mapping[str, str] = field(default_factory=lambda: dict(OPPOSITES))

    def __post_init__(self) -> None:
        for name in ("validation", "test", "ood"):
            share = getattr(self, name)
            if not 0 <= share < 1 or (name == "ood" and share == 0):
                raise ValueError(f"The share {name} is {share}; give one between 0 and 1.")
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation} and test {self.test} leave nothing for train; lower them.")
        if self.min_ood_pairs < 1:
            raise ValueError(f"min_ood_pairs is {self.min_ood_pairs}; give 1 or more.")
        if self.min_train_objects < 1:
            raise ValueError(
                f"min_train_objects is {self.min_train_objects}: actions could leave training; give 1 or more."
            )
        if self.cap is not None and not 0 < self.cap < float("inf"):
            raise ValueError(f"cap is {self.cap}; give a positive multiple of the mean, or None for no limit.")
        if self.ood_objects is not None and set(self.ood_objects) != set(OOD_PARTS):
            names = ", ".join(self.ood_objects) or "nothing"
            raise ValueError(f"ood_objects names {names}; give validation_ood and test_ood.")
        if self.ood_objects is not None and not all(self.ood_objects.values()):
            raise ValueError("ood_objects leaves a part without objects; give each part at least one.")
        check_opposites(self.opposites)


def clean_split(
    annotations: Annotations, shift: str, seed: int = 0, options: CleanOptions | None = None
) -> SplitManifest:
    """Divide pairs into train, validation, test, validation_ood and test_ood.

    The steps, each with its own random generator made from the seed: (1) sort by pair_id; (2) draw
    at most `cap` pairs of each action; (3) choose what is held out; (4) divide the groups, and with them
    the other pairs, into train, validation and test, stratified by (action, object), so that every
    combination of validation and test occurs in train; groups with many held-out pairs go to validation
    and test first, because the held-out pairs of a training group are lost; (5) give the held-out pairs
    outside the training groups to the OOD parts. If groups are large and combinations rare, pairs of a combination
    that no training group has are unused. The shift `none` leaves out steps 3 and 5.

    Args:
        annotations: Columns of equal length: pair_id, action, object, scene, the `group_by` column, and for the shift
            `mech` the column mechanism.
        shift: `"comp"`, `"syst"`, `"mech"` or `"none"`.
        seed: The split depends only on annotations, shift, seed and options.
        options: None for `CleanOptions()`.

    Raises:
        ValueError: A column is missing or ragged, a pair_id occurs twice, or there is no such split (too few objects,
            an action that vanishes from training, an empty part); the message says which.
    """
    if shift not in SHIFTS:
        raise ValueError(f"There is no shift {shift!r}; choose one of {', '.join(SHIFTS)}.")
    options = options or CleanOptions()
    if shift != "syst" and options.ood_objects is not None:
        what = {"comp": "combinations", "mech": "mechanisms"}.get(shift, "nothing")
        raise ValueError(
            f"ood_objects holds out objects, but the {shift} split holds out {what}; use syst, or leave it out."
        )
    return _split(annotations, (shift,), seed, options)[shift]


def joint_split(
    annotations: Annotations, seed: int = 0, options: CleanOptions | None = None
) -> dict[str, SplitManifest]:
    """Both shifts around one training part: `{"comp": ..., "syst": ...}` share train, validation, test.

    Objects are held out first, then combinations of the other objects, so that one model can be tested on both shifts.
    The pairs held out for one shift are listed as unused in the manifest of the other. Arguments and errors are those
    of `clean_split`.
    """
    return _split(annotations, ("syst", "comp"), seed, options or CleanOptions())


def _split(
    annotations: Annotations, shifts: Sequence[str], seed: int, options: CleanOptions
) -> dict[str, SplitManifest]:
    """The steps of `clean_split`, for one shift or for several around one training part."""
    shares = {part: share for part in ("validation", "test") if (share := getattr(options, part))}
    if shifts[0] != "none" and (lacking := [part for part in ("validation", "test") if part not in shares]):
        raise ValueError(
            f"The share {lacking[0]} is {getattr(options, lacking[0])}; give one between 0 and 1, or the shift none."
        )
    rows = sorted(read_pairs(annotations, options.group_by, "mech" in shifts))
    pairs, over_cap = _cap(rows, options.cap, _generator(seed, "cap"))
    held, place = _hold_out(pairs, shifts, seed, options)
    division = GroupDivision(
        pairs,
        place,
        shares,
        _generator(seed, "groups"),
        keep=options.min_train_objects,
        needed={(options.opposites[action], name) for items in held.get("comp", {}).values() for action, name in items},
        enough=options.min_ood_pairs,
        share_evaluation_groups=options.share_evaluation_groups,
    )
    known = division.combinations_in_train()
    digest = annotations_sha256(annotations, options.group_by, mechanisms="mech" in shifts)
    manifests = {}
    for shift in shifts:
        parts: dict[str, list[Pair]] = {part: [] for part in PARTS}
        unused: dict[str, list[str]] = defaultdict(list, {"over the cap": [pair.pair_id for pair in over_cap]})
        for pair in pairs:
            side = division.sides[pair.group]
            pair_shift, part = place.get(pair.pair_id, (shift, side))
            if pair_shift != shift:
                unused[f"held out for {pair_shift}"].append(pair.pair_id)
            elif part in OOD_PARTS and side == "train":
                unused["held out, but in a training group"].append(pair.pair_id)
            elif part in OOD_PARTS and not division.is_used(pair.group, part):
                unused["held out, but in a group of the other evaluation part"].append(pair.pair_id)
            elif part not in OOD_PARTS and (pair.action, pair.object) not in known:
                unused["a combination that no training group has"].append(pair.pair_id)
            else:
                parts[part].append(pair)
        asked = {"train", *shares, *(OOD_PARTS if shift in OOD_SHIFTS else ())}
        for part, members in parts.items():
            if part in asked and not members:
                groups = len({pair.group for pair in rows})
                ways = ["take another seed", "add pairs", "raise the shares"]
                if shift == "none":
                    ways.append(f"do without {part} (share 0)")
                if options.group_by:
                    ways.append("divide pair by pair (group_by None)")
                raise SplitError(
                    f"The {shift} split (seed {seed}) leaves {part} empty: {len(rows)} pairs in {groups} groups "
                    f"(by {options.group_by or 'pair'}) could not be divided",
                    f"{', '.join(ways[:-1])} or {ways[-1]}",
                )
        manifests[shift] = SplitManifest(
            protocol="clean",
            shift=shift,
            seed=seed,
            options={**_plain(options), "shifts": list(shifts)},
            annotations_sha256=digest,
            parts={part: [pair.pair_id for pair in members] for part, members in parts.items()},
            held_out={part: held[shift][part] for part in PARTS if part in held[shift]},
            unused={reason: ids for reason, ids in unused.items() if ids},
            counts=count_pairs(parts),
        )
    return manifests


def _hold_out(
    pairs: Sequence[Pair], shifts: Sequence[str], seed: int, options: CleanOptions
) -> tuple[dict[str, dict[str, list[Any]]], dict[str, tuple[str, str]]]:
    """What each shift holds out for each OOD part, and the shift and part of each held-out pair."""
    held: dict[str, dict[str, list[Any]]] = {}
    place: dict[str, tuple[str, str]] = {}
    rest = pairs
    for shift in shifts:
        if shift == "none":
            held[shift] = {}
            continue
        limits = (options.ood, options.min_train_objects, options.min_ood_pairs)
        generator = _generator(seed, shift)
        if shift == "comp":
            held[shift] = hold_out_combinations(rest, *limits, options.opposites, generator, pairs)
        elif shift == "mech":
            held[shift] = hold_out_mechanisms(rest, *limits, options.opposites, generator)
        elif options.ood_objects:
            held[shift] = {part: sorted(options.ood_objects[part]) for part in OOD_PARTS}
            check_objects(rest, held[shift])
        else:
            held[shift] = hold_out_objects(rest, *limits, generator)
        lookup: dict[tuple[str, ...], str] = {}
        for part, items in held[shift].items():
            lookup |= {key_of(item): part for item in items}
        place |= {pair.pair_id: (shift, lookup[key]) for pair in rest if (key := pair.key(shift)) in lookup}
        rest = [pair for pair in rest if pair.pair_id not in place]
    return held, place


def _plain(options: CleanOptions) -> dict[str, Any]:
    """The options as they are after a round trip through JSON."""
    values = asdict(options) | {"opposites": dict(sorted(options.opposites.items()))}
    if options.ood_objects is not None:
        values["ood_objects"] = {part: sorted(names) for part, names in options.ood_objects.items()}
    return values


def _generator(seed: int, step: str) -> random.Random:
    """A generator per step, so that an option of one step does not change the choices of another."""
    return random.Random(f"{seed}/{step}")  # strings are seeded by SHA-512: the same on every machine


def _cap(pairs: list[Pair], cap: float | None, generator: random.Random) -> tuple[list[Pair], list[Pair]]:
    """At most `cap` times the mean number of pairs of each action, and the pairs beyond that."""
    if cap is None:
        return pairs, []
    by_action: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_action[pair.action].append(pair)
    limit = max(1, int(cap * len(pairs) / len(by_action)))
    kept: set[Pair] = set()
    for _, members in sorted(by_action.items()):
        kept.update(members if len(members) <= limit else generator.sample(members, limit))
    return [pair for pair in pairs if pair in kept], [pair for pair in pairs if pair not in kept]
