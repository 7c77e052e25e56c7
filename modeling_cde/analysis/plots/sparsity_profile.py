"""How many dimensions an action moves: the mean size of each dimension, sorted, and how many carry each action."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...data.splits.titles import split_title
from .style import LINES, MARKERS, drawing, paired_order, save, tidy


def plot_sparsity(splits: Mapping[str, Mapping[str, Any]], path: str | Path) -> Path:
    """Draw the sparsity profiles of some splits and the effective dimensions of their actions.

    Args:
        splits: name -> what `geometry.json` holds of the split: `sparsity` with `profile` (D falling values in [0, 1]),
            `threshold` and `effective_dimensions` (action -> number in [1, D]), and `dimensions` (D). Splits without a
            sparsity, such as those of collapsed deltas, are left out.
        path: name of the PNG, which is returned; an SVG lies beside it.

    Raises:
        ValueError: if there is no split with a sparsity.
    """
    splits = {name: measured for name, measured in splits.items() if measured.get("sparsity")}
    if not splits:
        raise ValueError("there is no split with a sparsity to draw.")
    order: list[str] = []
    for measured in splits.values():
        order += [name for name in measured["sparsity"]["effective_dimensions"] if name not in order]
    order = paired_order(order, _opposites(splits))
    path = Path(path)
    with drawing(8.0, max(4.2, 1.7 + 0.3 * len(order))) as figure:
        left, right = figure.subplots(1, 2)
        for (split, measured), colour, marker in zip(splits.items(), LINES, MARKERS, strict=False):
            profile = measured["sparsity"]["profile"]
            left.plot(range(1, len(profile) + 1), profile, color=colour, label=split_title(split), linewidth=1.8)
            effective = measured["sparsity"]["effective_dimensions"]
            drawn = [(effective[name], i) for i, name in enumerate(order) if effective.get(name) is not None]
            if drawn:
                right.scatter(*zip(*drawn, strict=True), color=colour, marker=marker, s=42, zorder=3)
        threshold = next(iter(splits.values()))["sparsity"].get("threshold")
        if threshold is not None:
            left.axhline(threshold, color="black", linewidth=0.9, linestyle=":", label=f"near zero below {threshold:g}")
        left.set(xlabel="dimension, by size", ylabel="mean |δ|, relative to the largest", ylim=(0, 1.03))
        left.set_title("sparsity profile")
        left.legend(loc="upper right")
        dimensions = next(iter(splits.values()))["dimensions"]
        right.set(xlabel=f"effective dimensions, of {dimensions}", xlim=(0, None), ylim=(len(order) - 0.4, -0.6))
        right.set_yticks(range(len(order)), order)
        right.set_title("dimensions that carry an action")
        tidy(left)
        tidy(right)
        return save(figure, path.parent, path.name.removesuffix(".png"))


def _opposites(splits: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    pairs = [row for measured in splits.values() for row in (measured.get("opposites") or {}).get("pairs", [])]
    return {row["action"]: row["opposite"] for row in pairs}
