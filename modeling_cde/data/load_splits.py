"""Loads the splits of a training or a test under their report names: in-distribution parts and those of each shift."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import datasets

from .loading import UnknownConfigError, find_files, load_pairs
from .row_checks import check_splits
from .schema import CONFIGS, JOINT_SHIFTS, SHIFTS, SPLITS
from .streaming.pair_stream import PairStream, stream_pairs

Shift = Literal["comp", "syst", "mech", "both", "none"]
_NOT_TRAIN = [name for name in SPLITS if name != "train"]


def load_shifts(
    source: str, view: str = "single", shift: Shift = "both", stream_buffer: int | None = None
) -> dict[str, Any]:
    """Load the splits that one model is trained, validated and tested on.

    Args:
        source: Folder or repository of a data set of pairs.
        view: "single" or "multi", the first half of a configuration's name.
        shift: "comp", "syst", "mech" or "none" for one configuration, "both" where "comp" and "syst" share their
            training part.
        stream_buffer: Make the training part a `PairStream` with this buffer, without copying its files; None loads it
            like the others.

    Returns:
        Data sets by name: "train", "validation" and "test", and for each shift "validation_<shift>" and
        "test_<shift>". With "none" there are at most the first three, and at least "train". Where a data set with a
        shift has no in-distribution validation part (protocol causal_triplet), "validation" is "validation_<shift>", as
        that protocol selects its models, and a warning says so.

    Raises:
        ValueError: "both" is requested from a data set whose two configurations do not share the in-distribution
            parts: one model cannot be tested on both then, because pairs of one's training part are in the other's
            test. Or rows cannot be used, see `check_splits`.
        UnknownConfigError: The data set lacks the view or a shift.
    """
    shifts = JOINT_SHIFTS if shift == "both" else (shift,)
    splits: dict[str, Any] = {}
    for name in shifts:
        try:
            parts = dict(load_pairs(source, f"{view}_{name}", None if stream_buffer is None else _NOT_TRAIN))
            if stream_buffer is not None:
                parts["train"] = stream_pairs(source, f"{view}_{name}", "train", stream_buffer)
        except UnknownConfigError as error:
            advice = " If it has only one shift, choose it by --shift." if shift == "both" else ""
            raise UnknownConfigError(f"{error}{advice}", error.known) from error
        needed = ("train",) if name == "none" else ("train", "test", "validation_ood", "test_ood")
        lacking = [part for part in needed if part not in parts]
        if lacking:
            raise ValueError(f"{source}, {view}_{name} has no split {lacking[0]!r}; build the data set again.")
        for part in (part for part in ("train", "validation", "test") if part in parts):
            _check_shared(splits, part, parts[part], f"{source}: {view}_comp and {view}_syst")
            splits[part] = parts[part]
        if name == "none":
            continue
        splits[f"validation_{name}"] = parts["validation_ood"]
        splits[f"test_{name}"] = parts["test_ood"]
        if "validation" not in parts:
            splits["validation"] = parts["validation_ood"]
    loaded = {name: rows for name, rows in splits.items() if isinstance(rows, datasets.Dataset)}
    check_splits(loaded, source, boxes_needed=view == "single")
    for name in stand_ins(splits):
        warnings.warn(
            f"{source} has no in-distribution validation part (protocol causal_triplet), so the model is selected on "
            f"{name}, as that protocol does.",
            stacklevel=2,
        )
    return splits


def load_tested(
    source: str,
    view: str = "single",
    shift: Shift | None = None,
    config: str | None = None,
    names: Sequence[str] = (),
    with_train: bool = True,
) -> dict[str, datasets.Dataset]:
    """Load what a finished model is tested on: whatever splits a data set has, which need not be those of a training.

    Args:
        source: Folder or repository of a data set of pairs.
        view: "single" or "multi"; a single view needs boxes.
        shift: "comp", "syst", "mech", "both" or "none", which the data set must have then; None for those of "comp" and
            "syst" that it has, or else "mech" or "none". A data set that has no configuration of the known names, but
            one other, is loaded from that.
        config: Name of the one configuration to load, instead of those of view and shift.
        names: Of the splits to load, as they are returned; empty for all.
        with_train: Whether to load "train" beside them, if there is one.

    Returns:
        Data sets by name, those of known configurations under the names of `load_shifts`, without a stand-in for
        "validation"; those of another configuration under their own names. A data set that has nothing but "train",
        which `datasets` calls files without a split's name, is returned as "all": it is no training's bank here.

    Raises:
        ValueError: There is no such split, the two shifts do not share their in-distribution parts, or rows cannot be
            used, see `check_splits`.
        UnknownConfigError: The data set lacks the configuration, or which one is meant is unclear.
    """
    configs = [config] if config else _tested_configs(source, view, shift)
    titles = {found: {part: _title(found, part) for part in find_files(source, found)} for found in configs}
    known = dict.fromkeys(title for parts in titles.values() for title in parts.values())
    if lacking := [name for name in names if name not in known]:
        raise ValueError(f"{source}, {', '.join(configs)} has no split {lacking[0]!r}; it has {', '.join(known)}.")
    wanted = set(names) or set(known) - {"train"} or {"train"}
    wanted |= {"train"} if with_train else set()
    splits: dict[str, datasets.Dataset] = {}
    for found, parts in titles.items():
        chosen = [part for part, title in parts.items() if title in wanted]
        for part, rows in load_pairs(source, found, chosen).items() if chosen else ():
            _check_shared(splits, parts[part], rows, f"{source}: {' and '.join(configs)}")
            splits[parts[part]] = rows
    check_splits(splits, source, boxes_needed=view == "single", trained=False)
    alone = set(splits) == {"train"} and not names
    return {"all": splits["train"]} if alone else splits


def _tested_configs(source: str, view: str, shift: Shift | None) -> list[str]:
    """The configurations of a view and shift, or of the shifts that the data set has, or its only other one."""
    if shift is not None:
        return [f"{view}_{name}" for name in (JOINT_SHIFTS if shift == "both" else (shift,))]
    present: list[str] = []
    known: list[str] = []
    for name in SHIFTS:
        if present and name not in JOINT_SHIFTS:
            continue
        try:
            find_files(source, f"{view}_{name}")
            present.append(f"{view}_{name}")
        except UnknownConfigError as error:
            known = error.known
    if present:
        return present
    others = [name for name in known if name not in CONFIGS]
    if len(known) == len(others) == 1:
        return others
    raise UnknownConfigError(
        f"{source} has no configuration of the view {view}; it has {', '.join(known)}: choose one by --config, or "
        "another --view.",
        known,
    )


def _title(config: str, part: str) -> str:
    """The report name of a stored split, for example "test_syst" for "test_ood" of "single_syst"."""
    return part.replace("ood", config.split("_")[1]) if config in CONFIGS and part.endswith("_ood") else part


def _check_shared(splits: Mapping[str, Any], name: str, rows: Any, where: str) -> None:
    """Raise ValueError if another configuration had other pairs of this split; `where` names the configurations."""
    if name in splits and not _same_pairs(splits[name], rows):
        raise ValueError(
            f"{where} have different {name} parts, so one model cannot be tested on both; choose --shift comp or "
            "--shift syst, or build the data set with shared parts."
        )


def _same_pairs(one: Any, other: Any) -> bool:
    if isinstance(one, PairStream) and one.rows.groups == other.rows.groups:
        return True  # the same files: nothing needs to be read
    return bool(one["pair_id"][:] == other["pair_id"][:])


def stand_ins(splits: Mapping[str, Any]) -> list[str]:
    """The out-of-distribution split that also serves as "validation", if there is one."""
    return [name for name in splits if name != "validation" and splits[name] is splits.get("validation")]


def pairs_used_twice(splits: Mapping[str, datasets.Dataset]) -> dict[str, int]:
    """How many pairs of each test split are also in a validation split, if any are (protocol causal_triplet)."""
    chosen_on = {i for name, rows in splits.items() if name.startswith("validation") for i in rows["pair_id"][:]}
    numbers = {name: len(chosen_on.intersection(splits[name]["pair_id"][:])) for name in splits if name[:4] == "test"}
    return {name: number for name, number in numbers.items() if number}


def reported_splits(splits: Mapping[str, datasets.Dataset]) -> dict[str, datasets.Dataset]:
    """The splits of `load_shifts` to evaluate: without train, and each only once."""
    left_out = {"train", "validation"} if stand_ins(splits) else {"train"}
    return {name: rows for name, rows in splits.items() if name not in left_out}
