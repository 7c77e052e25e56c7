"""Splits of a pair data set, as pure functions of (annotations, protocol, seed).

Notable:

- Two shifts. `syst`: the objects of `validation_ood` and `test_ood` are never seen in training. `comp`: their
  (action, object) combinations are never seen, though the action, the object, and the opposite action on that
  object all are.
- The model is selected on parts that share no pair with the parts that are reported: `validation_ood` and
  `test_ood` have different held-out objects (or combinations), and no scene of `train` stands in any other
  part.
- The order of the rows does not matter, global random state is neither read nor changed, and the
  assignment is kept in a manifest that can be saved, reloaded and checked against the annotations.
- Imports nothing local and nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

#: Actions that undo each other, both ways.
OPPOSITES: dict[str, str] = {
    "open": "close",
    "close": "open",
    "turnon": "turnoff",
    "turnoff": "turnon",
    "dirty": "clean",
    "clean": "dirty",
    "fill": "empty",
    "empty": "fill",
}

#: The parts of every split, in the order in which they are reported.
PARTS: tuple[str, ...] = ("train", "validation", "test", "validation_ood", "test_ood")

#: `comp`: (action, object) combinations never seen together. `syst`: objects never seen at all.
SHIFTS: tuple[str, ...] = ("comp", "syst")

_COLUMNS = ("pair_id", "action", "object", "scene")
# How much a part's want of pairs counts: in all, of an action, of a combination. A combination that is served
# must outweigh an action and a total that are not, or early combinations would take the place of late ones.
_WEIGHTS = (1, 1, 3)
_OOD_PARTS = ("test_ood", "validation_ood")  # in the order in which they are served


class Pair(NamedTuple):
    """One row of the annotations; `group` is what must not stand on both sides of the training part."""

    pair_id: str
    action: str
    object: str
    group: str


@dataclass
class SplitManifest:
    """Which pair is in which part, and everything that the assignment came from.

    Attributes:
        protocol: Name of the procedure, `"clean"`.
        shift: `"comp"` or `"syst"`.
        seed: Seed of the local random generators.
        options: The other arguments of the procedure.
        annotations_sha256: Hash of the annotations, independent of the order of their rows.
        parts: Pair ids of each of the five parts, sorted.
        held_out: Of `validation_ood` and `test_ood`: the objects (`syst`) or `[action, object]` combinations
            (`comp`) that stand in no other part.
        unused: Pair ids that are in no part, by reason.
        counts: Of each part: pairs by action, by object, and the number of groups; for the report.
    """

    protocol: str
    shift: str
    seed: int
    options: dict[str, Any]
    annotations_sha256: str
    parts: dict[str, list[str]]
    held_out: dict[str, list[Any]]
    unused: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the manifest as JSON; equal manifests give equal bytes. Written aside and renamed."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SplitManifest:
        """Read a manifest that `save` wrote.

        Raises:
            ValueError: If the file is no JSON, lacks a field or has one that is not known.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is no split manifest: it is not JSON ({error}).") from error
        names = {item.name for item in fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            given = set(values) if isinstance(values, dict) else set()
            differing = ", ".join(sorted(names ^ given))
            raise ValueError(f"{path} is no split manifest of this version: it differs in the fields {differing}.")
        return cls(**values)

    def check(self, annotations: Mapping[str, Sequence[str]]) -> None:
        """Say whether this manifest is a split of these annotations.

        Args:
            annotations: Columns pair_id, action, object, scene (and the column that was grouped by).

        Raises:
            ValueError: If the annotations are not the ones that the split was made from, or if the parts
                overlap or do not cover them.
        """
        found = annotations_sha256(annotations, self.options.get("group_by"))
        if found != self.annotations_sha256:
            raise ValueError(
                f"The {self.shift} manifest (seed {self.seed}) was made from other annotations: their hash "
                f"was {self.annotations_sha256[:12]} and is now {found[:12]}; make the split again."
            )
        assigned = Counter(pair_id for ids in (*self.parts.values(), *self.unused.values()) for pair_id in ids)
        twice = sorted(pair_id for pair_id, number in assigned.items() if number > 1)
        missing = sorted(set(annotations["pair_id"]) ^ set(assigned))
        if twice or missing:
            problem = f"has {twice[0]} in two parts" if twice else f"disagrees about the pair {missing[0]}"
            raise ValueError(f"The {self.shift} manifest (seed {self.seed}) {problem}; make the split again.")

    def report(self) -> str:
        """Sizes, classes per part and what is held out, as plain text."""
        total = sum(map(len, self.parts.values())) + sum(map(len, self.unused.values()))
        lines = [
            f"{self.protocol} split, shift {self.shift}, seed {self.seed}, {total} pairs "
            f"(annotations {self.annotations_sha256[:12]})",
            "",
            f"{'part':<16}{'pairs':>7}{'actions':>9}{'objects':>9}{'groups':>8}",
        ]
        for part, ids in self.parts.items():
            count = self.counts[part]
            lines.append(
                f"{part:<16}{len(ids):>7}{len(count['actions']):>9}{len(count['objects']):>9}{count['groups']:>8}"
            )
        for kind in ("actions", "objects"):
            names = sorted({name for part in self.parts for name in self.counts[part][kind]})
            width = max(len(name) for name in names) + 2
            lines += ["", f"{kind:<{width}}" + "".join(f"{part:>16}" for part in self.parts)]
            for name in names:
                numbers = (self.counts[part][kind].get(name, 0) for part in self.parts)
                lines.append(f"{name:<{width}}" + "".join(f"{number:>16}" for number in numbers))
        lines.append("")
        for part, held in self.held_out.items():
            names = [item if isinstance(item, str) else " ".join(item) for item in held]
            lines.append(f"held out for {part}: {', '.join(names)}")
        lines += [f"unused, {reason}: {len(ids)}" for reason, ids in self.unused.items()]
        return "\n".join(lines)


@dataclass(frozen=True)
class CleanOptions:
    """Options of the clean protocol; the defaults are ours.

    Attributes:
        validation: Share of the pairs that are not held out, in (0, 1).
        test: Likewise.
        ood: Share of the objects (`syst`), or of the combinations whose opposite exists (`comp`), that
            is held out, in (0, 1): half for each OOD part, at least one each, and fewer where
            `min_train_objects` asks for it.
        min_train_objects: So many objects of each action stay in training (if it has them), >= 1.
        cap: The most pairs of one action, as a multiple of the mean number of pairs per action, or None.
        group_by: Column whose values stand on one side only of train | validation | test, and whose
            held-out pairs are used outside train only; None divides pair by pair. The default is the
            scene, since the pairs of one scene share room, light and often the very instance. OOD parts
            may share groups with validation, with test and with each other, never with train.
        ood_objects: `{"validation_ood": [...], "test_ood": [...]}` to hold out just these (`syst`).
        opposites: Actions that undo each other, both ways.
    """

    validation: float = 0.1
    test: float = 0.15
    ood: float = 0.3
    min_train_objects: int = 2
    cap: float | None = 2.0
    group_by: str | None = "scene"
    ood_objects: Mapping[str, Sequence[str]] | None = None
    opposites: Mapping[str, str] = field(default_factory=lambda: dict(OPPOSITES))

    def __post_init__(self) -> None:
        for name in ("validation", "test", "ood"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"The share {name} is {getattr(self, name)}; give one between 0 and 1.")
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation} and test {self.test} leave nothing for train; lower them.")
        if self.min_train_objects < 1:
            raise ValueError(
                f"min_train_objects is {self.min_train_objects}: actions may leave training; give 1 or more."
            )
        if self.cap is not None and self.cap <= 0:
            raise ValueError(f"cap is {self.cap}; give a positive multiple of the mean, or None for no limit.")
        if self.ood_objects is not None and set(self.ood_objects) != set(_OOD_PARTS):
            names = ", ".join(self.ood_objects) or "nothing"
            raise ValueError(f"ood_objects names {names}; give validation_ood and test_ood.")
        for action, opposite in self.opposites.items():
            if self.opposites.get(opposite) != action or action == opposite:
                raise ValueError(f"The opposite of {action!r} is not given both ways; give each both ways.")


def clean_split(
    annotations: Mapping[str, Sequence[str]], shift: str, seed: int = 0, options: CleanOptions | None = None
) -> SplitManifest:
    """Divide pairs into train, validation, test, validation_ood and test_ood.

    The steps, each with a random generator of its own made from the seed: (1) sort by pair_id; (2) draw
    at most `cap` pairs of each action; (3) choose what is held out; (4) divide the groups, and with them
    the other pairs, into train, validation and test, stratified by (action, object), so that every
    combination of validation and test occurs in train; groups with many held-out pairs go to validation
    and test first, because the held-out pairs of a training group are lost; (5) give the held-out pairs
    outside the training groups to the OOD parts.

    Args:
        annotations: Columns of equal length: pair_id, action, object, scene, and the `group_by` column.
        shift: `"comp"` or `"syst"`.
        seed: The split depends on annotations, shift, seed and options only.
        options: None stands for `CleanOptions()`.

    Raises:
        ValueError: If a column is missing or ragged, a pair_id occurs twice, or there is no such split (too
            few objects, an action that vanishes from training, an empty part); the sentence says which.
    """
    if shift not in SHIFTS:
        raise ValueError(f"There is no shift {shift!r}; choose one of {', '.join(SHIFTS)}.")
    return _split(annotations, (shift,), seed, options or CleanOptions())[shift]


def joint_split(
    annotations: Mapping[str, Sequence[str]], seed: int = 0, options: CleanOptions | None = None
) -> dict[str, SplitManifest]:
    """Both shifts around one training part: `{"comp": ..., "syst": ...}` share train, validation, test.

    Objects are held out first, then combinations among the other objects, so that one model answers for
    both shifts. The pairs held out for one shift are listed as unused in the manifest of the other.
    Arguments and errors are those of `clean_split`.
    """
    return _split(annotations, ("syst", "comp"), seed, options or CleanOptions())


def annotations_sha256(annotations: Mapping[str, Sequence[str]], group_by: str | None = "scene") -> str:
    """Hash of the annotation rows in the order of their pair ids, over the four columns and `group_by`."""
    names = [*_COLUMNS, *([group_by] if group_by and group_by not in _COLUMNS else [])]
    _check_columns(annotations, names)
    digest = hashlib.sha256(json.dumps(names).encode())
    for row in sorted(zip(*(annotations[name] for name in names), strict=True)):
        digest.update(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n")
    return digest.hexdigest()


def _check_columns(annotations: Mapping[str, Sequence[str]], names: Sequence[str]) -> None:
    missing = [name for name in names if name not in annotations]
    if missing:
        known = ", ".join(annotations)
        raise ValueError(f"The annotations have no column {', '.join(missing)} (they have {known}); add it.")
    lengths = {name: len(annotations[name]) for name in names}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"The annotation columns have different lengths ({lengths}); give every pair every value.")
    if not lengths["pair_id"]:
        raise ValueError("The annotations have no rows; there is nothing to split.")
    for name in names:
        for value in annotations[name]:
            if not isinstance(value, str) or not value:
                raise ValueError(f"The annotation column {name} holds {value!r}; every value has to be a name.")


def _read(annotations: Mapping[str, Sequence[str]], group_by: str | None) -> list[Pair]:
    """The rows, checked and sorted by pair_id."""
    group_column = group_by or "pair_id"
    _check_columns(annotations, [*_COLUMNS, group_column])
    columns = (annotations[name] for name in ("pair_id", "action", "object", group_column))
    pairs = sorted(Pair(*row) for row in zip(*columns, strict=True))
    for first, second in zip(pairs, pairs[1:], strict=False):
        if first.pair_id == second.pair_id:
            raise ValueError(f"The pair_id {first.pair_id!r} occurs twice; give every pair its own.")
    return pairs


def _split(
    annotations: Mapping[str, Sequence[str]], shifts: Sequence[str], seed: int, options: CleanOptions
) -> dict[str, SplitManifest]:
    """The steps of `clean_split`, for one shift or for several around one training part."""
    rows = _read(annotations, options.group_by)
    pairs, over_cap = _cap(rows, options.cap, _generator(seed, "cap"))
    keep, opposites = options.min_train_objects, options.opposites

    held: dict[str, dict[str, list[Any]]] = {}
    place: dict[str, tuple[str, str]] = {}  # pair_id of a held-out pair -> (shift, part)
    rest = pairs
    for shift in shifts:
        generator = _generator(seed, shift)
        if shift == "syst":
            given = options.ood_objects
            held[shift] = (
                {part: sorted(given[part]) for part in _OOD_PARTS}
                if given
                else _hold_out_objects(rest, options.ood, keep, generator)
            )
            _check_objects(rest, held[shift])
        else:
            held[shift] = _hold_out_combinations(rest, options.ood, keep, opposites, generator)
        lookup = {_key(item): part for part, items in held[shift].items() for item in items}
        for pair in rest:
            part = lookup.get((pair.object,)) or lookup.get((pair.action, pair.object))
            if part:
                place[pair.pair_id] = (shift, part)
        rest = [pair for pair in rest if pair.pair_id not in place]

    sides = _divide_groups(
        pairs,
        set(place),
        {"validation": options.validation, "test": options.test},
        _generator(seed, "groups"),
    )
    digest = annotations_sha256(annotations, options.group_by)
    manifests = {}
    for shift in shifts:
        parts: dict[str, list[Pair]] = {part: [] for part in PARTS}
        unused: dict[str, list[str]] = {"over the cap": [pair.pair_id for pair in over_cap]}
        unused["held out, but in a training group"] = []
        for pair in pairs:
            pair_shift, part = place.get(pair.pair_id, (shift, sides[pair.group]))
            if pair_shift != shift:
                unused.setdefault(f"held out for {pair_shift}", []).append(pair.pair_id)
            elif pair.pair_id in place and sides[pair.group] == "train":
                unused["held out, but in a training group"].append(pair.pair_id)
            else:
                parts[part].append(pair)
        for part, members in parts.items():
            if not members:
                raise ValueError(
                    f"The {shift} split leaves {part} empty: {len(rows)} pairs in "
                    f"{len({pair.group for pair in rows})} groups (by {options.group_by or 'pair'}) are too "
                    "few to be divided so; add pairs, raise the shares, or set group_by to None."
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
            counts={part: _count(members) for part, members in parts.items()},
        )
    return manifests


def _plain(options: CleanOptions) -> dict[str, Any]:
    """The options as JSON gives them back."""
    values = asdict(options)
    if options.ood_objects is not None:
        values["ood_objects"] = {part: sorted(names) for part, names in options.ood_objects.items()}
    values["opposites"] = dict(sorted(options.opposites.items()))
    return values


def _generator(seed: int, step: str) -> random.Random:
    """One generator for each step, so that an option of one step leaves the other choices alone."""
    return random.Random(f"{seed}/{step}")  # strings are seeded by SHA-512: the same on every machine


def _key(item: str | Sequence[str]) -> tuple[str, ...]:
    return (item,) if isinstance(item, str) else tuple(item)


def _count(pairs: Sequence[Pair]) -> dict[str, Any]:
    return {
        "actions": dict(sorted(Counter(pair.action for pair in pairs).items())),
        "objects": dict(sorted(Counter(pair.object for pair in pairs).items())),
        "groups": len({pair.group for pair in pairs}),
    }


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


def _objects_by_action(pairs: Iterable[Pair]) -> dict[str, set[str]]:
    objects: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        objects[pair.action].add(pair.object)
    return objects


def _hold_out_objects(pairs: Sequence[Pair], share: float, keep: int, generator: random.Random) -> dict[str, list[Any]]:
    """Objects for the two OOD parts, alternately: the next one adds the most actions that its part lacks."""
    remaining = _objects_by_action(pairs)  # action -> objects that stay in training
    objects = sorted({pair.object for pair in pairs})
    generator.shuffle(objects)
    actions_of = {name: {a for a, names in remaining.items() if name in names} for name in objects}
    wanted = max(2, round(share * len(objects)))
    held: dict[str, list[Any]] = {part: [] for part in _OOD_PARTS}
    covered: dict[str, set[str]] = {part: set() for part in _OOD_PARTS}
    for turn in range(wanted):
        part = _OOD_PARTS[turn % 2]
        # An object may go if each of its actions still has `keep` others.
        free = [n for n in objects if all(len(remaining[a]) > keep for a in actions_of[n])]
        if not free:
            break
        chosen = max(free, key=lambda name: len(actions_of[name] - covered[part]))
        objects.remove(chosen)
        held[part].append(chosen)
        covered[part] |= actions_of[chosen]
        for action in actions_of[chosen]:
            remaining[action].discard(chosen)
    if not all(held.values()):
        few = ", ".join(f"{action}: {len(names)}" for action, names in sorted(_objects_by_action(pairs).items()))
        raise ValueError(
            f"Too few objects for a syst split: of {len(actions_of)} objects at least two must be held out "
            f"while each action keeps {keep} in training (objects by action: {few}); add objects or lower "
            "min_train_objects."
        )
    return {part: sorted(names) for part, names in held.items()}


def _check_objects(pairs: Sequence[Pair], held: Mapping[str, Sequence[str]]) -> None:
    """Raise if held-out objects are not there, are held out twice, or take an action out of training."""
    known = {pair.object for pair in pairs}
    names = [name for part in _OOD_PARTS for name in held[part]]
    for name in names:
        if name not in known:
            raise ValueError(f"The object {name!r} is to be held out but has no pair; the objects are {sorted(known)}.")
        if names.count(name) > 1:
            raise ValueError(f"The object {name!r} is to be held out for two parts; give it to one.")
    for action, objects in sorted(_objects_by_action(pairs).items()):
        if objects <= set(names):
            raise ValueError(
                f"The action {action!r} vanishes from training: all its objects "
                f"({', '.join(sorted(objects))}) are held out; leave one of them."
            )


def _hold_out_combinations(
    pairs: Sequence[Pair], share: float, keep: int, opposites: Mapping[str, str], generator: random.Random
) -> dict[str, list[Any]]:
    """Combinations for the two OOD parts; the opposite action on the same object stays in training."""
    remaining = _objects_by_action(pairs)
    there = {(pair.action, pair.object) for pair in pairs}
    eligible = sorted((a, o) for a, o in there if a in opposites and (opposites[a], o) in there)
    wanted = max(2, round(share * len(eligible)))
    generator.shuffle(eligible)
    held: dict[str, list[Any]] = {part: [] for part in _OOD_PARTS}
    times: Counter[tuple[str, str]] = Counter()  # (part, action) -> combinations held out
    for turn in range(wanted):
        part = _OOD_PARTS[turn % 2]
        free = [(a, o) for a, o in eligible if len(remaining[a]) > keep and o in remaining[opposites[a]]]
        if not free:
            break
        action, name = min(free, key=lambda item: times[part, item[0]])
        eligible.remove((action, name))
        held[part].append([action, name])
        times[part, action] += 1
        remaining[action].discard(name)
    if not all(held.values()):
        raise ValueError(
            f"Too few combinations for a comp split: of {len(there)} (action, object) combinations at least "
            f"two must be held out whose opposite on the same object, and {keep} more objects of the action, "
            "stay in training; add objects with both actions, give the opposites, or lower min_train_objects."
        )
    return {part: sorted(combinations) for part, combinations in held.items()}


def _divide_groups(
    pairs: Sequence[Pair], held_out: set[str], shares: Mapping[str, float], generator: random.Random
) -> dict[str, str]:
    """Give each group to train, validation or test.

    Greedy: groups come in random order, those with the largest share of held-out pairs first; each goes
    to the evaluation part whose wanted numbers (of pairs in all, by action, and by combination) it brings
    nearest, or to train if it brings none nearer. The last pair of a combination always stays in train.
    """
    members: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        members[pair.group].append(pair)
    order = sorted(members)
    generator.shuffle(order)
    held_share = {g: sum(p.pair_id in held_out for p in members[g]) / len(members[g]) for g in order}
    order.sort(key=lambda group: -held_share[group])

    free = [pair for pair in pairs if pair.pair_id not in held_out]
    # Of a combination: how many pairs could still come into train.
    left = Counter((pair.action, pair.object) for pair in free)
    wanting = {  # of a part: how many pairs of each stratum it still wants
        part: {stratum: share * number for stratum, number in Counter(_strata(free)).items()}
        for part, share in shares.items()
    }
    sides = {}
    for group in order:
        ours = [pair for pair in members[group] if pair.pair_id not in held_out]
        if not ours:  # held-out pairs only: on the test side, where they can be used
            sides[group] = "test"
            continue
        combinations = Counter((pair.action, pair.object) for pair in ours)
        strata = Counter(_strata(ours))
        best, side = (0.0, 0.0), "train"
        if all(left[combination] > number for combination, number in combinations.items()):
            for part, wanted in wanting.items():
                gain = sum(
                    _WEIGHTS[len(s)] * (abs(wanted[s]) - abs(wanted[s] - number)) for s, number in strata.items()
                )
                urgency = wanted[()] / shares[part]  # among equals, the part that is further behind
                if gain > 0 and (gain, urgency) > best:
                    best, side = (gain, urgency), part
        sides[group] = side
        if side != "train":
            left.subtract(combinations)
            for stratum, number in strata.items():
                wanting[side][stratum] -= number
    return sides


def _strata(pairs: Iterable[Pair]) -> Iterable[tuple[str, ...]]:
    """Three strata for each pair: all, its action, and its combination."""
    for pair in pairs:
        yield ()
        yield (pair.action,)
        yield (pair.action, pair.object)
