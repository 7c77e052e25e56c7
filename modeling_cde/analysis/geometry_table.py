"""The geometry of several runs side by side: mean and spread over seeds of what `geometry.json` measures."""

from collections.abc import Mapping, Sequence
from typing import Any

from .results import SPLIT_TITLES, Result, setting_key, setting_value
from .statistics import mean, sample_std

# Title -> where it stands in a split of geometry.json, which says what it is and between which bounds it lies.
MEASURES: dict[str, tuple[str, ...]] = {
    "cosine of opposites": ("opposites", "mean"),
    "cosine of other pairs": ("opposites", "others", "mean"),
    "p-value": ("opposites", "p_value"),
    "variance by action": ("variance", "action"),
    "variance by object": ("variance", "object"),
    "variance by both": ("variance", "interaction"),
    "transfer to a new object": ("transfer", "accuracy"),
    "transfer, chance": ("transfer", "chance"),
    "Hoyer sparsity": ("sparsity", "hoyer"),
    "near-zero share": ("sparsity", "near_zero_share"),
    "object read from delta": ("probes", "object", "delta"),
    "object read from states": ("probes", "object", "states"),
    "object, chance": ("probes", "object", "chance"),
    "scene read from delta": ("probes", "scene", "delta"),
    "scene read from states": ("probes", "scene", "states"),
    "k-NN on deltas": ("neighbours", "knn"),
    "prototypes": ("neighbours", "prototype"),
    "k-NN on states": ("neighbours", "knn_states"),
    "calibration error": ("calibration", "ece"),
    "patches in box": ("patches", "in_box"),
    "in box by chance": ("patches", "in_box_by_chance"),
    "patches in mask": ("patches", "in_mask"),
    "in mask by chance": ("patches", "in_mask_by_chance"),
}


def geometry_splits(results: Sequence[Result]) -> list[str]:
    """The splits that some result has a geometry of."""
    return list(dict.fromkeys(split for result in results for split in (result.geometry or {}).get("splits", {})))


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
    found: Any = (result.geometry or {}).get("splits", {}).get(split)
    for name in place:
        if not isinstance(found, Mapping) or found.get(name) is None:
            return None
        found = found[name]
    return float(found)


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
    text = f"{mean(values):.3f}" + ("" if spread is None else f" ± {spread:.3f}")
    return text + (f" ({len(values)} of {runs})" if len(values) < runs else "")
