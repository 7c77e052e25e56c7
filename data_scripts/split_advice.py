"""What to do where pairs cannot be divided as asked, or where train gets few of them.

Every flag that is named belongs to the command that names it, and was tried on these very pairs.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeling_cde.cli.verbs import command
from modeling_cde.data.splits import (
    JOINT_SHIFTS,
    SHIFTS,
    CausalTripletOptions,
    CleanOptions,
    SplitError,
    SplitManifest,
    divide,
)

if TYPE_CHECKING:
    from modeling_cde.data.building.card import DatasetCard

SMALL = 2000  # pairs; a data set of more has enough for train in any split, and trying takes a while
FEW = 0.5  # share of the pairs in train below which the other ways are named

Annotations = Mapping[str, list[str]]
_Change = tuple[str, str, Any]  # flag as it is written, field, value


@dataclass(frozen=True)
class Asked:
    """A split as a command asks for it."""

    protocol: str
    shift: str
    seed: int
    options: CleanOptions | CausalTripletOptions | None
    all_flags: bool = False  # whether the command has every flag of `data_scripts.splits`

    def train(self, annotations: Annotations, changes: tuple[_Change, ...] = ()) -> int | None:
        """The pairs in train with some changes; None if there is no such split."""
        asked: dict[str, Any] = {name: getattr(self, name) for name in ("protocol", "shift", "seed", "options")}
        try:
            for _, field, value in changes:
                if field in asked:
                    asked[field] = value
                else:
                    asked["options"] = replace(asked["options"], **{field: value})
            if any(field == "protocol" for _, field, _ in changes):
                asked["options"] = None
            manifests = divide(annotations, **asked)
        except ValueError:
            return None
        return len(next(iter(manifests.values())).parts["train"])

    def changes(self, failed: bool) -> Iterator[tuple[_Change, ...]]:
        """What could be asked for instead, the least different first."""
        shifts: list[_Change] = [
            (f"--shift {shift}", "shift", shift)
            for shift in SHIFTS
            if shift != self.shift and (self.protocol == "clean" or shift in JOINT_SHIFTS)
        ]
        if not isinstance(self.options, CleanOptions):
            yield from ((change,) for change in shifts)
            clean = ("--protocol clean", "protocol", "clean")
            yield (clean,)
            yield from ((clean, (f"--shift {shift}", "shift", shift)) for shift in SHIFTS if shift != self.shift)
            return
        ways: list[_Change] = []
        if self.options.group_by:
            ways.append(("--group_by none", "group_by", None))
        if self.shift != "none" and not self.options.share_evaluation_groups:
            ways.append(("--share_evaluation_groups", "share_evaluation_groups", True))
        if self.all_flags and self.shift != "none" and self.options.min_train_objects > 1:
            ways.append(("--min_train_objects 1", "min_train_objects", 1))
        if self.all_flags and self.options.cap is not None:
            ways.append(("--cap 0", "cap", None))
        if self.all_flags and failed:
            ways += [(f"--seed {seed}", "seed", seed) for seed in range(self.seed + 1, self.seed + 4)]
        yield from ((change,) for change in (*ways, *shifts))
        if self.options.group_by:
            yield from ((shift, ways[0]) for shift in shifts)


def split_shards(
    folder: Path, view: str, asked: Asked, *, card: DatasetCard | None = None, rendered: bool = False
) -> None:
    """Divide the shards of a data set, report, and say what else there is.

    `card` is that of `assemble`; `rendered` says that more pairs can be rendered, which is the advice then.

    Raises:
        SplitError: There is no such split; names the flags that give one.
    """
    from modeling_cde.data.building.build import assemble, read_annotations

    shards = folder / "shards" / view
    try:
        manifests = assemble(
            folder, view, seed=asked.seed, protocol=asked.protocol, shift=asked.shift, options=asked.options, card=card
        )
    except SplitError as error:
        _, annotations = read_annotations(sorted(shards.glob("*.parquet")), shards)
        total = len(annotations["pair_id"])
        remedy = (
            f"render more than these {total} pairs"
            if rendered
            else _remedy(annotations, asked, error.more, folder, view)
        )
        both = ", and --shift joint (the default) needs both shifts" if asked.shift == "joint" and not rendered else ""
        raise SplitError(error.problem + both, remedy) from error
    print("\n\n".join(manifest.report() for manifest in manifests.values()))
    if rendered or not manifests:
        return
    _, annotations = read_annotations(sorted(shards.glob("*.parquet")), shards)
    if lines := _hint(next(iter(manifests.values())), annotations, asked, folder, view):
        print("\n" + "\n".join(lines))


def _remedy(annotations: Annotations, asked: Asked, more: str, folder: Path, view: str) -> str:
    total = len(annotations["pair_id"])
    if found := _working(annotations, asked, failed=True):
        listed = ", ".join(f"{flags} ({train})" for flags, train in found.items())
        return f"these flags work, with so many of the {total} pairs in train: {listed}; or add {more}"
    return f"no other split of these {total} pairs works either: add {more}, or test on others and {_all(folder, view)}"


def _hint(manifest: SplitManifest, annotations: Annotations, asked: Asked, folder: Path, view: str) -> list[str]:
    """Lines on how to have more pairs in train, where a small data set has few there."""
    total, train = len(annotations["pair_id"]), len(manifest.parts["train"])
    if total > SMALL or train >= FEW * total:
        return []
    more = {flags: found for flags, found in _working(annotations, asked, failed=False).items() if found > train}
    lines = [f"train has {train} of the {total} pairs."]
    if more:
        lines = [f"{lines[0]} The same command, which builds no pair again, has more there with:"]
        lines += [f"  {flags} ({found} pairs)" for flags, found in more.items()]
    return [*lines, f"To keep none for tests, {_all(folder, view)}."]


def _all(folder: Path, view: str) -> str:
    place = f"--data {shlex.quote(str(folder))} --view {view}"
    return f"train on all: `{command('data_scripts.splits')} {place} --shift none --validation 0 --test 0 --cap 0`"


def _working(annotations: Annotations, asked: Asked, failed: bool) -> dict[str, int]:
    """Flags with which there is a split, and the pairs in train; no two flags where one of them is enough."""
    found: dict[str, int] = {}
    enough: list[tuple[_Change, ...]] = []
    for changes in asked.changes(failed):
        if any(set(less) <= set(changes) or (less[0][1] == "seed" == changes[0][1]) for less in enough):
            continue
        train = asked.train(annotations, changes)
        if train:
            enough.append(changes)
            found[" ".join(flag for flag, _, _ in changes)] = train
    return found
