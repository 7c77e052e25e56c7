"""The reliability diagram: accuracy against confidence, bin by bin."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...data.splits.titles import split_title
from .style import LINES, MARKERS, drawing, save, tidy

#: A bin with fewer pairs than this is drawn hollow, because its accuracy is mostly chance.
FEW_PAIRS = 10


def plot_reliability(splits: Mapping[str, Mapping[str, Any]], path: str | Path) -> Path:
    """Draw the reliability diagram of some splits: above the diagonal a model is underconfident, below overconfident.

    Args:
        splits: name -> what `geometry.json` holds of the split: `calibration` with `ece` and `bins` of "n",
            "confidence" and "accuracy", None where a bin is empty.
        path: name of the PNG, which is returned; an SVG lies beside it.

    Raises:
        ValueError: if there is no split.
    """
    if not splits:
        raise ValueError("there is no split with a calibration to draw.")
    path = Path(path)
    with drawing(8.0, 4.4) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="black", linewidth=0.9, linestyle=":", label="calibrated")
        for (split, measured), colour, marker in zip(splits.items(), LINES, MARKERS, strict=False):
            calibration = measured["calibration"]
            many = [row for row in calibration["bins"] if row["n"] >= FEW_PAIRS]
            few = [row for row in calibration["bins"] if 0 < row["n"] < FEW_PAIRS]
            axes.plot(*_points(many), color=colour, linewidth=1.2, zorder=2)
            axes.scatter(*_points(many), marker=marker, s=44, color=colour, zorder=3)
            axes.scatter(*_points(few), marker=marker, s=30, facecolor="none", edgecolor=colour, linewidth=0.8)
            label = f"{split_title(split)}: ECE {calibration['ece']:.3f}"
            axes.plot([], [], color=colour, marker=marker, markersize=6.5, linewidth=1.2, label=label)
        axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.05))
        axes.set_title(f"accuracy against confidence (hollow: fewer than {FEW_PAIRS} pairs)")
        axes.set_aspect("equal")
        figure.legend(loc="outside right center")
        tidy(axes)
        return save(figure, path.parent, path.name.removesuffix(".png"))


def _points(bins: list[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    return [row["confidence"] for row in bins], [row["accuracy"] for row in bins]
