"""Loads the splits of a training run under their report names: in-distribution parts and those of each shift."""

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import datasets

from .loading import UnknownConfigError, load_pairs
from .row_checks import check_splits
from .schema import SPLITS
from .streaming.pair_stream import PairStream, stream_pairs

Shift = Literal["comp", "syst", "both"]
_NOT_TRAIN = [name for name in SPLITS if name != "train"]


def load_shifts(
    source: str, view: str = "single", shift: Shift = "both", stream_buffer: int | None = None
) -> dict[str, Any]:
    """Load the splits that one model is trained, validated and tested on.

    Args:
        source: Folder or repository of a data set of pairs.
        view: "single" or "multi", the first half of a configuration's name.
        shift: "comp" or "syst" for one configuration, "both" where the two share their training part.
        stream_buffer: Make the training part a `PairStream` with this buffer, without copying its files; None loads it
            like the others.

    Returns:
        Data sets by name: "train", "validation" and "test", and for each shift "validation_<shift>" and
        "test_<shift>". Where the data set has no in-distribution validation part (protocol causal_triplet),
        "validation" is "validation_<shift>", as that protocol selects its models, and a warning says so.

    Raises:
        ValueError: "both" is requested from a data set whose two configurations do not share the in-distribution
            parts: one model cannot be tested on both then, because pairs of one's training part are in the other's
            test. Or rows cannot be used, see `check_splits`.
        UnknownConfigError: The data set lacks the view or a shift.
    """
    shifts = ("comp", "syst") if shift == "both" else (shift,)
    splits: dict[str, Any] = {}
    for name in shifts:
        try:
            parts = dict(load_pairs(source, f"{view}_{name}", None if stream_buffer is None else _NOT_TRAIN))
            if stream_buffer is not None:
                parts["train"] = stream_pairs(source, f"{view}_{name}", "train", stream_buffer)
        except UnknownConfigError as error:
            advice = " If it has only one shift, choose it by --shift." if shift == "both" else ""
            raise UnknownConfigError(f"{error}{advice}") from error
        lacking = [part for part in ("train", "test", "validation_ood", "test_ood") if part not in parts]
        if lacking:
            raise ValueError(f"{source}, {view}_{name} has no split {lacking[0]!r}; build the data set again.")
        for part in (part for part in ("train", "validation", "test") if part in parts):
            if part in splits and not _same_pairs(splits[part], parts[part]):
                raise ValueError(
                    f"{source}: {view}_comp and {view}_syst have different {part} parts, so one model cannot be tested "
                    "on both; choose --shift comp or --shift syst, or build the data set with shared parts."
                )
            splits[part] = parts[part]
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
