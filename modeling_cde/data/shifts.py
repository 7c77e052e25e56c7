"""The splits of one training run under their report names: the in-distribution parts and those of each shift."""

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import datasets

from .loading import UnknownConfigError, load_pairs

Shift = Literal["comp", "syst", "both"]


def load_shifts(source: str, view: str = "single", shift: Shift = "both") -> dict[str, datasets.Dataset]:
    """Load what one model trains, validates and is tested on.

    Args:
        source: folder or repository of a data set of pairs.
        view: "single" or "multi", the first half of a configuration's name.
        shift: "comp" or "syst" for one configuration, "both" where the two share their training part.

    Returns:
        "train", "validation" and "test", and for each shift "validation_<shift>" and "test_<shift>". Where the data
        set has no in-distribution validation part (protocol causal_triplet), "validation" is "validation_<shift>", as
        that protocol selects its models, and a warning says so.

    Raises:
        ValueError: if "both" is asked of a data set whose two configurations do not share the in-distribution parts:
            one model cannot be tested on both then, because pairs of one's training part are in the other's test.
            UnknownConfigError: if the data set lacks the view or a shift.
    """
    shifts = ("comp", "syst") if shift == "both" else (shift,)
    splits: dict[str, datasets.Dataset] = {}
    for name in shifts:
        try:
            parts = load_pairs(source, f"{view}_{name}")
        except UnknownConfigError as error:
            advice = " Where it has one shift only, choose it by --shift." if shift == "both" else ""
            raise UnknownConfigError(f"{error}{advice}") from error
        for part in (part for part in ("train", "validation", "test") if part in parts):
            if part in splits and splits[part]["pair_id"][:] != parts[part]["pair_id"][:]:
                raise ValueError(
                    f"{source}: {view}_comp and {view}_syst have different {part} parts, so one model cannot be tested "
                    "on both; choose --shift comp or --shift syst, or build the data set with shared parts."
                )
            splits[part] = parts[part]
        splits[f"validation_{name}"] = parts["validation_ood"]
        splits[f"test_{name}"] = parts["test_ood"]
        if "validation" not in parts:
            splits["validation"] = parts["validation_ood"]
    for name in stand_ins(splits):
        warnings.warn(
            f"{source} has no in-distribution validation part (protocol causal_triplet), so the model is selected on "
            f"{name}, as that protocol does.",
            stacklevel=2,
        )
    return splits


def stand_ins(splits: Mapping[str, Any]) -> list[str]:
    """The out-of-distribution split that "validation" is, if it is one."""
    return [name for name in splits if name != "validation" and splits[name] is splits.get("validation")]


def pairs_used_twice(splits: Mapping[str, datasets.Dataset]) -> dict[str, int]:
    """How many pairs of each test split are in a validation split, too, where any are (protocol causal_triplet)."""
    chosen_on = {i for name, rows in splits.items() if name.startswith("validation") for i in rows["pair_id"][:]}
    numbers = {name: len(chosen_on.intersection(splits[name]["pair_id"][:])) for name in splits if name[:4] == "test"}
    return {name: number for name, number in numbers.items() if number}


def reported_splits(splits: Mapping[str, datasets.Dataset]) -> dict[str, datasets.Dataset]:
    """The splits of `load_shifts` to evaluate: without train, and nothing twice under two names."""
    left_out = {"train", "validation"} if stand_ins(splits) else {"train"}
    return {name: rows for name, rows in splits.items() if name not in left_out}
