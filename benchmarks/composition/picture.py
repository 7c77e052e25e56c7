"""Parallelograms as a picture: the states of squares in the plane of their two steps, beside where these add up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch


def in_plane(states: torch.Tensor) -> torch.Tensor:
    """States (4, D) in the plane of the first two steps from frame 0, (4, 2).

    The first axis goes along the step to frame 1, and the unit of length is the mean norm of the four steps. What
    leaves the plane is not shown.
    """
    z = (states - states[0]).double()
    first = z[1] / z[1].norm().clamp(min=1e-12)
    second = z[3] - (z[3] @ first) * first
    second = second / second.norm().clamp(min=1e-12)
    steps = [(z[j] - z[i]).norm() for i, j in ((0, 1), (1, 2), (3, 2), (0, 3))]
    unit = torch.stack(steps).mean().clamp(min=1e-12)
    return torch.stack([z @ first, z @ second], dim=1) / unit


def draw_parallelograms(
    squares: Sequence[tuple[torch.Tensor, str, Sequence[Any], tuple[str, str], float]], file: Path
) -> None:
    """Draw squares, one below the other: their four frames, and their states in the plane.

    Args:
        squares: Of each: states (4, D), its title, its four pictures (PIL), its two actions, its defect.
        file: PNG or SVG to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(squares), 5, figsize=(11, 2.3 * len(squares)), squeeze=False)
    for line, (states, title, pictures, (a, b), defect) in zip(axes, squares, strict=True):
        for place, (axis, picture) in enumerate(zip(line[:4], pictures, strict=True)):
            axis.imshow(picture)
            axis.set_axis_off()
            axis.set_title((f"{title}: start", a, f"{a}, {b}", b)[place], fontsize=8)
        points, axis = in_plane(states), line[4]
        z = points.numpy()
        for i, j, color in ((0, 1, "#2166ac"), (3, 2, "#2166ac"), (0, 3, "#b2182b"), (1, 2, "#b2182b")):
            axis.annotate("", z[j], z[i], arrowprops={"arrowstyle": "->", "color": color, "lw": 1.4})
        wanted = z[1] + z[3]
        axis.plot(*wanted, "o", mfc="none", color="black", label="sum of the steps")
        axis.plot([z[2][0], wanted[0]], [z[2][1], wanted[1]], ":", color="black", lw=1)
        axis.scatter(z[:, 0], z[:, 1], s=10, color="black")
        axis.set_title(f"defect {defect:.2f}", fontsize=8)
        axis.set_aspect("equal", "datalim")
        axis.tick_params(labelsize=6)
    axes[0][4].legend(fontsize=6)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=80)
    pyplot.close(figure)


def draw(recipe: Any, file: Path, count: int = 4) -> None:
    """Draw squares of the first seed: of objects of their own, those of least and of largest defect among them."""
    from benchmarks.composition.experiment import states_of
    from benchmarks.composition.measures import defects
    from benchmarks.composition.squares import open_squares, open_training
    from benchmarks.study import heads
    from modeling_cde.data import load_sequences

    seed, reading = (
        recipe.seeds[0],
        recipe.readings[-1 if "change" not in recipe.readings else recipe.readings.index("change")],
    )
    folder = Path(recipe.squares, f"one-{seed}")
    squares, pairs = open_squares(folder), open_training(recipe.data, recipe.pairs, [reading])
    model = heads.fit(pairs, reading, range(len(pairs)), "cde", seed, max_steps=recipe.max_steps).eval()
    states = states_of(model, reading, squares)
    found = defects(states)
    order = found.argsort().tolist()
    chosen: list[int] = []
    for place in torch.linspace(0, len(order) - 1, 4 * count).long().tolist():
        if squares.objects[order[place]][0] not in {squares.objects[k][0] for k in chosen}:
            chosen.append(order[place])
    chosen = [chosen[k] for k in torch.linspace(0, len(chosen) - 1, count).long().tolist()]
    rows = load_sequences(folder, decode=True)
    drawn = [
        (states[k], squares.objects[k][0], rows[k]["frames"], squares.acts[k][:2], float(found[k])) for k in chosen
    ]
    draw_parallelograms(drawn, file)
