"""The geometry of several runs side by side: mean and spread over seeds of what `geometry.json` measures."""

from collections.abc import Sequence

from ..measures.figures import MEASURES, measured
from ..results import Result, by_row, name_row
from .statistics import mean, sample_std


def geometry_splits(results: Sequence[Result]) -> list[str]:
    """The test splits whose geometry some result has."""
    names = dict.fromkeys(split for result in results for split in (result.geometry or {}).get("splits", {}))
    return [name for name in names if name.startswith("test")]


def geometry_table(results: Sequence[Result], split: str) -> tuple[list[str], list[list[str]]]:
    """A row for each measure, a column for each method and setting.

    Args:
        results: runs of one table.
        split: name of a split.

    Returns:
        Headers and rows of text, "mean ± sample standard deviation (number of runs, where not all)", and "–" for a
        method without the measure. Measures that no run has are left out.
    """
    columns = by_row(results)
    rows = []
    for title, place in MEASURES.items():
        found = [_figures(runs, split, place) for runs in columns]
        if any(found):
            rows.append([title, *(_show(values, len(runs)) for values, runs in zip(found, columns, strict=True))])
    return ["measure", *(name_row(runs[0].title, runs[0].setting) for runs in columns)], rows


def _figures(runs: Sequence[Result], split: str, place: str) -> list[float]:
    found = (measured((run.geometry or {}).get("splits", {}).get(split), place) for run in runs)
    return [float(value) for value in found if value is not None]


def _show(values: Sequence[float], runs: int) -> str:
    if not values:
        return "–"
    spread = sample_std(values)
    digits = 4 if 0 < abs(mean(values)) < 0.0005 else 3  # a small p is not 0
    text = f"{mean(values):.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")
    return text + (f" ({len(values)} of {runs})" if len(values) < runs else "")
