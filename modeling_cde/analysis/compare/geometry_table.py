"""The geometry of several runs side by side: mean and spread over seeds of what `geometry.json` measures."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..results import SPLIT_TITLES, Result, setting_key, setting_value
from .statistics import mean, sample_std

# Title -> where it stands in a split of geometry.json, which says what it is and between which bounds it lies.
MEASURES: dict[str, tuple[str, ...]] = {
    "cosine of opposite actions": ("opposites", "mean"),
    "cosine of other actions": ("opposites", "others", "mean"),
    "p of opposites by chance": ("opposites", "p_value"),
    "variance by action": ("variance", "action"),
    "variance by action, by chance": ("variance_by_chance", "action"),
    "variance by object": ("variance", "object"),
    "variance by object, by chance": ("variance_by_chance", "object"),
    "variance by interaction": ("variance", "interaction"),
    "action on an object held out": ("transfer", "accuracy"),
    "action on pairs held out": ("transfer", "within"),
    "sparsity (Hoyer)": ("sparsity", "hoyer"),
    "dimensions near zero": ("sparsity", "near_zero_share"),
    "object read from delta": ("probes", "object", "delta"),
    "object read from state": ("probes", "object", "states"),
    "object by the best guess": ("probes", "object", "chance"),
    "object read from delta and action": ("probes", "object", "within_action", "delta"),
    "object read from state and action": ("probes", "object", "within_action", "states"),
    "object read from the action alone": ("probes", "object", "within_action", "chance"),
    "scene read from delta": ("probes", "scene", "delta"),
    "scene read from state": ("probes", "scene", "states"),
    "scene by the best guess": ("probes", "scene", "chance"),
    "k-NN on deltas": ("neighbours", "knn"),
    "k-NN on states": ("neighbours", "knn_states"),
    "prototypes": ("neighbours", "prototype"),
    "calibration error (ECE)": ("calibration", "ece"),
    "selected patches in the box": ("patches", "in_box"),
    "patches in the box by chance": ("patches", "in_box_by_chance"),
    "selected patches in the mask": ("patches", "in_mask"),
    "patches in the mask by chance": ("patches", "in_mask_by_chance"),
    "cosine of opposite patches": ("patches", "opposites_mean"),
    "patch variance by action": ("patches", "variance_action"),
    "patch sparsity (Hoyer)": ("patches", "hoyer"),
}


def geometry_splits(results: Sequence[Result]) -> list[str]:
    """The test splits that some result has a geometry of."""
    names = dict.fromkeys(split for result in results for split in (result.geometry or {}).get("splits", {}))
    return [name for name in names if name.startswith("test")]


def geometry_table(results: Sequence[Result], split: str) -> tuple[list[str], list[list[str]]]:
    """A row for each measure, a column for each method and setting.

    Args:
        results: runs of one table.
        split: name of a split.

    Returns:
        Headers and rows of text, "mean ± sample standard deviation (number of runs, where not all)"; measures that no
        run has are left out, "–" where one has none.
    """
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.method, setting_key(result.setting)), []).append(result)
    titles = [_title(runs[0]) for runs in groups.values()]
    rows = []
    for title, place in MEASURES.items():
        found = [
            [value for run in runs if (value := look_up(run, split, place)) is not None] for runs in groups.values()
        ]
        if any(found):
            counts = [_show(values, len(runs)) for values, runs in zip(found, groups.values(), strict=True)]
            rows.append([title, *counts])
    return ["measure", *titles], rows


def look_up(result: Result, split: str, place: Sequence[str]) -> float | None:
    """One number of a run's geometry, None where it was not measured."""
    return measured((result.geometry or {}).get("splits", {}).get(split), place)


def measured(values: Any, place: Sequence[str]) -> float | None:
    """One number of what `geometry.json` holds of a split, by the keys that lead to it; None where it has none."""
    for name in place:
        if not isinstance(values, Mapping) or values.get(name) is None:
            return None
        values = values[name]
    return float(values)


def split_title(split: str) -> str:
    """A split as readers know it."""
    return SPLIT_TITLES.get(split, split)


def _title(result: Result) -> str:
    setting = ", ".join(f"{name} {setting_value(value)}" for name, value in sorted(result.setting.items()))
    return f"{result.title} ({setting})" if setting else result.title


def _show(values: Sequence[float], runs: int) -> str:
    if not values:
        return "–"
    spread = sample_std(values)
    digits = 4 if 0 < abs(mean(values)) < 0.0005 else 3  # a small p is not 0
    text = f"{mean(values):.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")
    return text + (f" ({len(values)} of {runs})" if len(values) < runs else "")
