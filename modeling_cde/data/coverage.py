"""How much of each patch that a model sees belongs to the target: measures where a patch-wise model looks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

from ..models.regions_cde import Region, checked_box
from .crops import open_picture
from .masks import read_masks
from .transforms import PairTransform


def target_coverage(
    pairs: datasets.Dataset, transform: PairTransform, grid: tuple[int, int]
) -> dict[str, NDArray[np.float32]]:
    """The share of each patch that the target covers, for every pair, as the transform shows it.

    Args:
        pairs: n rows with the columns of `modeling_cde.data.schema`.
        transform: Decides which part of a picture is shown; its random changes are ignored.
        grid: Rows and columns of the model's N patches.

    Returns:
        `box_coverage` (n, N) and `mask_coverage` (n, N), float32 in [0, 1], patches row by row: the share of a
        patch's area inside the target's box, and under the union of its masks before and after. NaN for pairs
        without box or mask; left out if no pair has one.

    Raises:
        ValueError: A picture, mask or box is broken; the message names the pair.
    """
    found = {
        name: np.full((len(pairs), grid[0] * grid[1]), np.nan, dtype=np.float32)
        for name in ("box_coverage", "mask_coverage")
    }
    wanted = ("before", "pair_id", "box", "mask_before", "mask_after")
    columns = [name for name in wanted if name in pairs.column_names]
    for index, row in enumerate(pairs.with_format(None).select_columns(columns)):
        box, masks = row.get("box"), (row.get("mask_before"), row.get("mask_after"))
        if box is None and masks == (None, None):
            continue
        pair_id: Any = row.get("pair_id")
        size = open_picture(row["before"], "before", pair_id).size
        region = transform.region(size, box, pair_id)
        if box is not None:
            found["box_coverage"][index] = box_coverage(checked_box(box, size, pair_id), region, grid)
        if (stored := read_masks(masks, size, pair_id)) is not None:
            found["mask_coverage"][index] = mask_coverage(stored[0] | stored[1], region, grid)
    return {name: shares for name, shares in found.items() if not np.isnan(shares).all()}


def box_coverage(box: Sequence[int], region: Region, grid: tuple[int, int]) -> NDArray[np.float32]:
    """The share of each patch inside a box; exact even if a bound crosses a patch.

    The region is divided into rows x columns equal patches. A box of inclusive pixel bounds covers the rectangle from
    xmin to xmax + 1, the same in y, and its share of a patch is (overlap in x) * (overlap in y) / (area of a patch).

    Args:
        box: xmin, ymin, xmax, ymax in pixels of the stored picture, inclusive.
        region: The part of that picture that is shown.
        grid: Rows and columns of the patches.

    Returns:
        (rows * columns,) float32 in [0, 1], row by row.
    """
    left, top, right, bottom = box
    rows = _overlaps(np.array([[top, bottom + 1.0]]), region.top, region.bottom, grid[0])  # (rows, 1)
    columns = _overlaps(np.array([[left, right + 1.0]]), region.left, region.right, grid[1])  # (columns, 1)
    shares: NDArray[np.float32] = (rows @ columns.T).ravel().astype(np.float32)
    return shares


def mask_coverage(mask: NDArray[np.bool_], region: Region, grid: tuple[int, int]) -> NDArray[np.float32]:
    """The share of each patch's area that a mask covers; exact even if a patch ends inside a pixel.

    Args:
        mask: (height, width), True on the target, in pixels of the stored picture.
        region, grid: As in `box_coverage`, and so is the result.
    """
    height, width = mask.shape
    rows = _overlaps(_pixels(height), region.top, region.bottom, grid[0])  # (rows, height)
    columns = _overlaps(_pixels(width), region.left, region.right, grid[1])  # (columns, width)
    weighed = rows @ mask.astype(np.float64) @ columns.T  # (rows, columns)
    # A sum of many shares may exceed 1 by its last bit.
    shares: NDArray[np.float32] = np.minimum(weighed, 1.0).ravel().astype(np.float32)
    return shares


def _pixels(length: int) -> NDArray[np.float64]:
    """(length, 2): where each pixel of a side begins and ends."""
    return np.arange(length, dtype=np.float64)[:, None] + [0.0, 1.0]


def _overlaps(spans: NDArray[np.float64], begin: float, end: float, parts: int) -> NDArray[np.float64]:
    """(parts, n): the share of each equal part of [begin, end] that each of n spans (n, 2) covers."""
    edges = np.linspace(begin, end, parts + 1)
    first = np.maximum(edges[:-1, None], spans[None, :, 0])
    last = np.minimum(edges[1:, None], spans[None, :, 1])
    shares: NDArray[np.float64] = np.clip(last - first, 0.0, None) / ((end - begin) / parts)
    return np.minimum(shares, 1.0)
