"""The splits of one training run under their report names: the in-distribution parts and those of each shift."""

from typing import Literal

import datasets

from .loading import load_pairs

Shift = Literal["comp", "syst", "both"]


def load_shifts(source: str, view: str = "single", shift: Shift = "both") -> dict[str, datasets.Dataset]:
    """Load what one model trains, validates and is tested on.

    Args:
        source: folder or repository of a data set of pairs.
        view: "single" or "multi", the first half of a configuration's name.
        shift: "comp" or "syst" for one configuration, "both" where the two share their training part.

    Returns:
        "train", "validation" (which the causal_triplet protocol does not have) and "test", and for each shift
        "validation_<shift>" and "test_<shift>".

    Raises:
        ValueError: if "both" is asked of a data set whose two configurations do not share the in-distribution parts:
            one model cannot be tested on both then, because pairs of one's training part are in the other's test.
    """
    shifts = ("comp", "syst") if shift == "both" else (shift,)
    splits: dict[str, datasets.Dataset] = {}
    for name in shifts:
        parts = load_pairs(source, f"{view}_{name}")
        for part in (part for part in ("train", "validation", "test") if part in parts):
            if part in splits and splits[part]["pair_id"][:] != parts[part]["pair_id"][:]:
                raise ValueError(
                    f"{source}: {view}_comp and {view}_syst have different {part} parts, so one model cannot be tested "
                    "on both; choose --shift comp or --shift syst, or build the data set with shared parts."
                )
            splits[part] = parts[part]
        splits[f"validation_{name}"] = parts["validation_ood"]
        splits[f"test_{name}"] = parts["test_ood"]
    return splits
