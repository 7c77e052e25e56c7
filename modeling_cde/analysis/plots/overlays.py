"""Example pairs as the model saw them: before, after, and the patches that it kept or the weights of all patches."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..delta_set import DeltaSet, Examples
from .heat_map import STRONGEST, coloured, with_heat
from .style import LINES, drawing, save

#: Examples in one picture.
MOST_EXAMPLES = 12
IN_BOX, OUTSIDE = LINES[4], LINES[1]


def examples_of(examples: Examples, split: str) -> list[int]:
    """Positions of a split's examples."""
    return [i for i, row in enumerate(examples.rows) if row["split"] == split]


def patch_squares(indices: Sequence[int], grid: tuple[int, int], size: tuple[int, int]) -> list[tuple[float, ...]]:
    """The squares of patches in a picture.

    Args:
        indices: places in the row-major grid.
        grid: rows and columns of the grid.
        size: height and width of the picture in pixels.

    Returns:
        For each patch left, top, width and height in pixels.
    """
    height, width = size[0] / grid[0], size[1] / grid[1]
    return [(i % grid[1] * width, i // grid[1] * height, width, height) for i in indices]


def plot_examples(examples: Examples, deltas: Mapping[str, DeltaSet], split: str, path: str | Path) -> Path:
    """Draw the examples of one split: before | after, and if the model looks at patches | the picture after with them.

    Wrong predictions are bold and follow an arrow. The frame of a kept patch is solid where the patch touches the
    target's box and dashed where it does not; the rest of the picture is dimmed. The weights of patches
    (`pooling="change"`) are a heat map.

    Args:
        examples: the examples of a run.
        deltas: the splits of the run by name, which hold the predictions and the kept patches.
        split: the split to show.
        path: name of the PNG, which is returned; an SVG lies beside it.

    Raises:
        ValueError: if the split has no example.
    """
    shown = examples_of(examples, split)[:MOST_EXAMPLES]
    if not shown:
        raise ValueError(f"split {split!r} has no example pictures.")
    part = deltas[split]
    third = None if part.patch_indices is None or part.patch_grid is None else "patches"
    third = third if examples.patch_weights is None else "weights"
    columns, wide = (2, 3) if third else (3, 2)
    lines = -(-len(shown) // columns)
    path = Path(path)
    cell = 8.0 / (columns * wide + 0.4)
    with drawing(8.0, lines * (cell + 0.42) + ({None: 0.3, "patches": 0.65, "weights": 0.85}[third])) as figure:
        parts = figure.subfigures(lines, columns, wspace=0.04, squeeze=False)
        for place, position in enumerate(shown):
            axes = _draw_example(parts.flat[place], examples, position, part, third, headed=place < columns)
            if examples.patch_weights is not None:
                picture = Image.fromarray(examples.pictures[position][1])
                axes[2].imshow(with_heat(picture, examples.patch_weights[position]), interpolation="none")
            elif third:
                _draw_patches(axes[2], examples.pictures[position][1], part, examples.rows[position]["row"])
        if third == "weights":
            _draw_scale(figure)
        elif third:
            _draw_legend(figure, part)
        return save(figure, path.parent, path.name.removesuffix(".png"))


def _draw_example(box: Any, examples: Examples, position: int, part: DeltaSet, third: str | None, headed: bool) -> Any:
    """Draw both pictures under what was done and said; returns the axes, the third ones with the picture after."""
    pictures, row = examples.pictures[position], examples.rows[position]
    predicted = part.actions[part.predictions[row["row"]]]
    right = predicted == row["action"]
    said = "" if right else f" → {predicted}"
    box.suptitle(f"{row['action']} {row['object']}{said}", fontsize=9.5, fontweight="normal" if right else "bold")
    axes = box.subplots(1, 3 if third else 2)
    for one, place, name in zip(axes, (0, 1, 1), ("before", "after", third), strict=False):
        one.imshow(pictures[place], interpolation="none")  # an SVG then holds the pixels as they are
        one.set(xticks=[], yticks=[])
        one.spines[:].set_visible(False)
        if headed:
            one.set_xlabel(name, fontsize=9)
            one.xaxis.set_label_position("top")
    return axes


def _draw_patches(axes: Any, picture: Any, part: DeltaSet, row: int) -> None:
    from matplotlib.patches import Rectangle

    assert part.patch_indices is not None and part.patch_grid is not None
    height, width = picture.shape[:2]
    kept = part.patch_indices[row].tolist()
    veil = np.zeros((height, width, 4))
    veil[..., :3], veil[..., 3] = 1.0, 0.55
    squares = patch_squares(kept, part.patch_grid, (height, width))
    for left, top, across, down in squares:
        veil[round(top) : round(top + down), round(left) : round(left + across), 3] = 0
    axes.imshow(veil, interpolation="none")
    for index, (left, top, across, down) in zip(kept, squares, strict=True):
        inside = part.box_coverage is None or part.box_coverage[row, index] > 0
        colour, line = (IN_BOX, "-") if inside else (OUTSIDE, (0, (2, 1.2)))
        corner = left - 0.5, top - 0.5  # pixel 0 reaches from -0.5 to 0.5
        frame = Rectangle(corner, across, down, fill=False, edgecolor=colour, linestyle=line, linewidth=1.6)
        axes.add_patch(frame)


def _draw_legend(figure: Any, part: DeltaSet) -> None:
    from matplotlib.patches import Patch

    kinds = [(IN_BOX, "-", "kept patch, touches the target's box"), (OUTSIDE, "--", "kept patch, outside the box")]
    if part.box_coverage is None:
        kinds = [(IN_BOX, "-", "kept patch")]
    handles = [
        Patch(fill=False, edgecolor=colour, linewidth=1.6, linestyle=line, label=text) for colour, line, text in kinds
    ]
    figure.legend(handles=handles, loc="outside lower center", ncol=2)


def _draw_scale(figure: Any) -> None:
    """Colours of the heat map over a grey picture."""
    from matplotlib.patches import Patch

    ratios = np.array([1, 2, 4, 8, STRONGEST])
    colours = coloured(np.full(len(ratios), 128), np.log(ratios) / np.log(STRONGEST)) / 255
    texts = ["1 or less", *map(str, ratios[1:-1]), f"{STRONGEST} or more"]
    handles = [Patch(color=colour, label=text) for colour, text in zip(colours, texts, strict=True)]
    title = "weight of a patch, as a multiple of the average"
    figure.legend(handles=handles, title=title, title_fontsize=10, loc="outside lower center", ncol=len(ratios))
