"""Which pair is in which part of a split, and everything that the assignment came from: saved, reloaded, checked."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ...models.limits_cde import MOST_JSON_BYTES, check_file_size
from ...whole_files import write_text_whole
from .annotations import Annotations, Pair, annotations_sha256, count_pairs, read_pairs

#: Actions that undo each other, given both ways.
OPPOSITES: dict[str, str] = {
    action: opposite
    for pair in (("open", "close"), ("turnon", "turnoff"), ("dirty", "clean"), ("fill", "empty"))
    for action, opposite in (pair, pair[::-1])
}

#: The parts of every split, in reporting order: validation parts select a model, test parts report on it.
PARTS: tuple[str, ...] = ("train", "validation", "test", "validation_ood", "test_ood")

#: The out-of-distribution parts, in the order in which they receive what is held out.
OOD_PARTS: tuple[str, ...] = ("test_ood", "validation_ood")

#: `comp`: (action, object) combinations never seen together. `syst`: objects never seen at all. A joint split has both.
JOINT_SHIFTS: tuple[str, ...] = ("comp", "syst")

#: `mech`: ways to do an action (a drawer comes out, a door turns) never seen at all; the clean protocol alone has it.
OOD_SHIFTS: tuple[str, ...] = (*JOINT_SHIFTS, "mech")

#: `none` holds nothing out: its out-of-distribution parts are empty, and the clean protocol alone has it.
SHIFTS: tuple[str, ...] = (*OOD_SHIFTS, "none")

#: `clean`: disjoint parts, ours. `causal_triplet`: the procedure of the published benchmark, faults included.
PROTOCOLS: tuple[str, ...] = ("clean", "causal_triplet")


@dataclass
class SplitManifest:
    """Which pair is in which part, and everything that the assignment depends on.

    Attributes:
        protocol: Name of the procedure, see `PROTOCOLS`.
        shift: `"comp"`, `"syst"`, `"mech"` or `"none"`.
        seed: Seed of the local random generators.
        options: The other arguments of the procedure.
        annotations_sha256: Hash of the annotations; of their order too if the protocol depends on it.
        parts: Pair ids of each of the five parts: `clean` sorts them, `causal_triplet` keeps its own order
            (shuffled train and test, the rows' order elsewhere) and leaves validation empty.
        held_out: The objects (`syst`), `[action, object]` combinations (`comp`) or `[action, mechanism]` (`mech`) of
            `validation_ood` and `test_ood`, which do not occur in train, validation and test; empty for `none`.
        unused: Pair ids that are in no part, by reason.
        counts: Of each part: pairs by action and by object, groups, and groups that are also in train; for the report.
        overlap: Pair ids in both OOD parts; empty except in `causal_triplet`.
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
    overlap: list[str] = field(default_factory=list)

    @property
    def joint(self) -> bool:
        """Whether the other shift's manifest has the same train, validation and test."""
        return len(self.options.get("shifts", ())) > 1

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the manifest as JSON; equal manifests give equal bytes."""
        write_text_whole(path, json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SplitManifest:
        """Read a manifest that `save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is not JSON, lacks a field, or has a field or a value that a manifest cannot have.
        """
        try:
            check_file_size(path, MOST_JSON_BYTES)
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise FileNotFoundError(f"There is no split manifest {path}; split the data set, or check the name.") from (
                error
            )
        except (ValueError, RecursionError) as error:  # also bad UTF-8
            raise ValueError(f"{path} is not a split manifest: it is not JSON ({error}).") from error
        known = {item.name for item in fields(cls)}
        needed = {item.name for item in fields(cls) if item.default_factory is MISSING}
        if not isinstance(values, dict):
            raise ValueError(f"{path} is not a split manifest: it contains {_shown(values)} instead of named fields.")
        if differing := sorted((needed - set(values)) | (set(values) - known)):
            raise ValueError(
                f"{path} is not a split manifest of this version: it differs in the fields {', '.join(differing)}; "
                "make the split again."
            )
        manifest = cls(**values)
        for problem in _problems(manifest):
            raise ValueError(f"{path} is not a split manifest: {problem}; make the split again.")
        return manifest

    def check(self, annotations: Annotations) -> None:
        """Check that this manifest is a split of these annotations and follows the rules of its protocol.

        Args:
            annotations: Columns pair_id, action, object, scene (and the column that was grouped by); for the
                protocol `causal_triplet` in the order of the rows.

        Raises:
            ValueError: The split was made from other annotations, parts overlap (`causal_triplet`: other than its OOD
                parts) or do not cover them, something held out is in train, validation or test, or a group is on both
                sides; the message says which.
        """
        ordered = self.protocol == "causal_triplet"
        group_by = "scene" if ordered else self.options.get("group_by")
        mechanisms = self.shift == "mech"
        rows = read_pairs(annotations, group_by, mechanisms)
        found = annotations_sha256(annotations, group_by, ordered, mechanisms)
        if found != self.annotations_sha256:
            other = "other annotations, or from the same ones in another order" if ordered else "other annotations"
            self._refuse(f"was made from {other}: their hash was {self.annotations_sha256[:12]} and is {found[:12]}")
        pairs = {pair.pair_id: pair for pair in rows}
        self._check_cover(set(pairs))
        members = {part: [pairs[pair_id] for pair_id in ids] for part, ids in self.parts.items()}
        self._check_held_out(members)
        if not ordered:
            self._check_groups(members)
        for part, counted in count_pairs(members).items():
            if any(counted[kind] != number for kind, number in self.counts.get(part, {}).items()):
                self._refuse(f"miscounts {part}")

    def _refuse(self, problem: str) -> None:
        raise ValueError(f"The {self.shift} manifest (seed {self.seed}) {problem}; make the split again.")

    def _check_cover(self, known: set[str]) -> None:
        assigned = Counter(pair_id for ids in (*self.parts.values(), *self.unused.values()) for pair_id in ids)
        both = set(self.parts["validation_ood"]) & set(self.parts["test_ood"])
        if self.protocol == "causal_triplet" and both == set(self.overlap):
            assigned.subtract(both)  # this protocol has them in both, and lists them
        if twice := sorted(pair_id for pair_id, number in assigned.items() if number > 1):
            self._refuse(f"has {twice[0]} in two parts")
        if missing := sorted(known ^ set(assigned)):
            self._refuse(f"disagrees about the pair {missing[0]}")

    def _check_held_out(self, members: Mapping[str, Sequence[Pair]]) -> None:
        held = {part: {key_of(item) for item in self.held_out.get(part, ())} for part in OOD_PARTS}
        everything = set().union(*held.values())
        for part, pairs in members.items():
            for pair in pairs:
                key = pair.key(self.shift)
                if part in OOD_PARTS and key not in held[part]:
                    self._refuse(f"has {pair.pair_id} in {part}, though {' '.join(key)} is not held out for it")
                if part not in OOD_PARTS and key in everything:
                    self._refuse(f"has {pair.pair_id} in {part}, though {' '.join(key)} is held out")

    def _check_groups(self, members: Mapping[str, Sequence[Pair]]) -> None:
        groups = {part: {pair.group for pair in pairs} for part, pairs in members.items()}
        for first, second in apart(bool(self.options.get("share_evaluation_groups", True))):
            if both := sorted(groups[first] & groups[second]):
                self._refuse(f"has the {self.options.get('group_by') or 'pair'} {both[0]} in {first} and in {second}")

    def report(self) -> str:
        """Sizes, classes per part, what is held out, and warnings, as plain text."""
        used = {pair_id for ids in self.parts.values() for pair_id in ids}
        total = len(used) + sum(map(len, self.unused.values()))
        by = "scene" if self.protocol == "causal_triplet" else self.options.get("group_by") or "pair"
        lines = [
            f"{self.protocol} split, shift {self.shift}, seed {self.seed}, {total} pairs "
            f"(annotations {self.annotations_sha256[:12]}), groups by {by}",
            "",
            f"{'part':<16}{'pairs':>7}{'actions':>9}{'objects':>9}{'groups':>8}{'also in train':>15}",
        ]
        for part in self._reported_parts():
            ids, count = self.parts[part], self.counts.get(part, {})
            numbers = [len(count.get(kind, ())) for kind in ("actions", "objects")]
            shared = "" if part == "train" else count.get("groups_in_train", "?")
            lines.append(
                f"{part:<16}{len(ids):>7}{numbers[0]:>9}{numbers[1]:>9}{count.get('groups', 0):>8}{shared:>15}"
            )
        for kind in ("actions", "objects"):
            lines += ["", *self._table(kind)]
        lines += ["", *self._held_out_lines()]
        lines += [f"unused, {reason}: {len(ids)}" for reason, ids in self.unused.items()]
        return "\n".join([*lines, *(["", *self.warnings()] if self.warnings() else [])])

    def warnings(self) -> list[str]:
        """What to know before reporting numbers on this split, one sentence each."""
        sentences = []
        if self.overlap:
            sentences.append(
                f"{len(self.overlap)} of the {len(self.parts['test_ood'])} pairs of test_ood are also in "
                "validation_ood, by this protocol: a model that is selected on validation_ood is selected on the "
                "test; the clean protocol separates them."
            )
        if self.protocol == "causal_triplet":
            sentences.append("There is no in-distribution validation part in this protocol.")
        for part in ("test", *OOD_PARTS):
            there = self.counts.get(part, {}).get("actions", {})
            if missing := sorted(set(there) - set(self.counts.get("train", {}).get("actions", {}))):
                sentences.append(f"{part} has actions that train lacks: {', '.join(missing)}.")
        if shared := {p: n for p in PARTS[1:] if (n := self.counts.get(p, {}).get("groups_in_train", 0))}:
            listed = ", ".join(f"{number} of {part}" for part, number in shared.items())
            sentences.append(f"Scenes that are also in train: {listed}; the clean protocol separates them.")
        return sentences

    def _table(self, kind: str) -> Iterator[str]:
        counts = {part: self.counts.get(part, {}).get(kind, {}) for part in self._reported_parts()}
        names = sorted({name for count in counts.values() for name in count})
        width = max(len(name) for name in [kind, *names]) + 2
        yield f"{kind:<{width}}" + "".join(f"{part:>16}" for part in counts)
        for name in names:
            yield f"{name:<{width}}" + "".join(f"{count.get(name, 0):>16}" for count in counts.values())

    def _reported_parts(self) -> list[str]:
        return [part for part in self.parts if self.shift != "none" or part not in OOD_PARTS]

    def _held_out_lines(self) -> Iterator[str]:
        if self.shift == "none":
            yield "nothing is held out"
        shown = {part: ", ".join(" ".join(key_of(item)) for item in held) for part, held in self.held_out.items()}
        if len(shown) > 1 and len(set(shown.values())) == 1:
            shown = {" and ".join(shown): next(iter(shown.values()))}
        for part, names in shown.items():
            yield f"held out for {part}: {names}"


def apart(share_evaluation_groups: bool) -> list[tuple[str, str]]:
    """The pairs of parts that share no group in the clean protocol."""
    pairs = [("train", part) for part in PARTS[1:]] + [("validation", "test")]
    if not share_evaluation_groups:  # parts that select a model, and parts that report on it
        pairs += [("validation", "test_ood"), ("validation_ood", "test"), ("validation_ood", "test_ood")]
    return pairs


def key_of(item: str | Sequence[str]) -> tuple[str, ...]:
    """The `Pair.key` that an entry of `held_out` stands for."""
    return (item,) if isinstance(item, str) else tuple(item)


def _problems(manifest: SplitManifest) -> Iterator[str]:
    """The faults in the fields of a manifest that was read from a file."""
    if manifest.protocol not in PROTOCOLS:
        yield f"its protocol is {_shown(manifest.protocol)}, not one of {', '.join(PROTOCOLS)}"
    if manifest.shift not in SHIFTS:
        yield f"its shift is {_shown(manifest.shift)}, not one of {', '.join(SHIFTS)}"
    if not isinstance(manifest.seed, int) or isinstance(manifest.seed, bool):
        yield f"its seed is {_shown(manifest.seed)}, not a whole number"
    if not isinstance(manifest.annotations_sha256, str):
        yield f"its annotations_sha256 is {_shown(manifest.annotations_sha256)}, not a hash"
    ids, items = _list_of(_is_name), _list_of(lambda value: _is_name(value) or (ids(value) and len(value) == 2))
    for name, fits in (("parts", ids), ("unused", ids), ("held_out", items), ("counts", _is_count), ("options", None)):
        value = getattr(manifest, name)
        if not isinstance(value, dict):
            yield f"its {name} are {_shown(value)}, not a table"
        elif fits and (wrong := sorted(key for key, item in value.items() if not fits(item))):
            yield f"its {name} of {wrong[0]!r} are {_shown(value[wrong[0]])}"
        elif name in ("parts", "held_out", "counts") and (wrong := sorted(set(value) - set(PARTS))):
            yield f"its {name} name {wrong[0]!r}, which is not a part of a split"
        elif name == "parts" and (lacking := [part for part in PARTS if part not in value]):
            yield f"it lacks the part {lacking[0]}"
    if not ids(manifest.overlap):
        yield f"its overlap is {_shown(manifest.overlap)}, not a list of pair ids"
    if manifest.overlap and manifest.protocol != "causal_triplet":
        yield "its OOD parts overlap, which only the causal_triplet protocol has"


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_count(value: object) -> bool:
    def fits(kind: str, item: object) -> bool:
        if kind in ("actions", "objects"):
            return isinstance(item, dict) and all(isinstance(number, int) for number in item.values())
        return kind in ("groups", "groups_in_train") and isinstance(item, int)

    return isinstance(value, dict) and all(fits(kind, item) for kind, item in value.items())


def _list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
