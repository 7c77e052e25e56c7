"""The cosines between actions: all of them as a matrix, and those of opposites against those of all other pairs.

A picture of selected pairs would prove nothing about opposites, so the second panel shows every pair, and the matrix
every number.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .style import DIVERGING, LINES, OTHER, drawing, paired_order, save

#: The numbers in the cells are not legible for more actions than this.
MOST_NUMBERS = 16


def plot_cosines(measured: Mapping[str, Any], path: str | Path) -> Path:
    """Draw the cosines between the mean deltas of the actions.

    Args:
        measured: what `geometry.json` holds of one split: `cosines` with `actions` (A names) and `matrix` (A×A, in
            [-1, 1], None where a cosine is not defined), and `opposites`, which may be None.
        path: name of the PNG, which is returned; an SVG lies beside it.

    Raises:
        ValueError: if there is no action.
    """
    names = list(measured["cosines"]["actions"])
    if not names:
        raise ValueError("the geometry has no action, so there is no cosine to draw.")
    pairs = [(row["action"], row["opposite"]) for row in (measured.get("opposites") or {}).get("pairs", [])]
    partner = {first: second for first, second in pairs} | {second: first for first, second in pairs}
    order = paired_order(names, partner)
    place = [names.index(name) for name in order]
    matrix = np.array(measured["cosines"]["matrix"], dtype=float)[np.ix_(place, place)]
    path = Path(path)

    side = min(max(0.52 * len(order), 2.6), 6.4)
    with drawing(8.0, side + (2.6 if pairs else 0.9)) as figure:
        if pairs:
            top, bottom = figure.subplots(2, 1, height_ratios=(side, 1.35))
            _draw_strip(bottom, order, matrix, partner, measured["opposites"])
        else:
            top = figure.subplots()
        _draw_matrix(figure, top, order, matrix, partner)
        return save(figure, path.parent, path.name.removesuffix(".png"))


def _draw_matrix(figure: Any, axes: Any, order: list[str], matrix: Any, partner: Mapping[str, str]) -> None:
    from matplotlib.patches import Rectangle

    image = axes.imshow(matrix, cmap=DIVERGING, vmin=-1, vmax=1)
    axes.set_xticks(range(len(order)), order, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(order)), order)
    axes.tick_params(length=0)
    for row, first in enumerate(order):
        for column, second in enumerate(order):
            value = matrix[row, column]
            if len(order) <= MOST_NUMBERS and np.isfinite(value):
                text = f"{value:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")
                colour = "white" if abs(value) > 0.62 else "black"
                axes.text(column, row, text, ha="center", va="center", fontsize=8.5, color=colour)
            if partner.get(first) == second:
                axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.8))
    title = "cosine between the mean deltas of two actions" + ("; framed: opposites" if partner else "")
    figure.suptitle(title, fontsize=12)  # of the figure, because the axes of few actions are narrower than the title
    figure.colorbar(image, ax=axes, ticks=[-1, -0.5, 0, 0.5, 1], shrink=0.8, pad=0.02)


def _draw_strip(axes: Any, order: list[str], matrix: Any, partner: Mapping[str, str], opposites: Any) -> None:
    """Every pair of actions as a mark at its cosine: opposites above, all others below."""
    opposite: list[float] = []
    others: list[float] = []
    for row in range(len(order)):
        for column in range(row):
            if np.isfinite(matrix[row, column]):
                group = opposite if partner.get(order[row]) == order[column] else others
                group.append(float(matrix[row, column]))
    spread = np.random.default_rng(0).uniform(-0.22, 0.22, len(others))
    axes.scatter(others, spread, s=36, color=OTHER, edgecolor="#6e6e6e", linewidth=0.8)
    axes.scatter(opposite, np.ones(len(opposite)), s=60, color=LINES[0], marker="D")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(xlim=(-1.05, 1.05), ylim=(-0.6, 1.6), xlabel="cosine")
    axes.set_yticks([0, 1], [f"all other pairs ({len(others)})", f"opposites ({len(opposite)})"])
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    title = "opposites against all other pairs"
    if opposites.get("p_value") is not None:
        title += f": permutation p = {opposites['p_value']:.2g}"
    axes.set_title(title)
