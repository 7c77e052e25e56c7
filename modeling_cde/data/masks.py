"""Where the target of an action is in the pixels that a model is shown; `coverage` computes it for patches.

Masks are stored as pictures of the size of their pair's, 255 on the target and 0 elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray

from ..models.regions_cde import Region, checked_box
from .crops import open_picture

#: What `PairTransform` can return besides pixel values and labels.
EXTRAS: tuple[str, ...] = ("objects", "masks")


def read_masks(
    masks: tuple[Any, Any], picture: tuple[int, int], pair_id: str | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """The target's pixels before and after.

    Args:
        masks: `mask_before` and `mask_after` as they are stored (see `open_picture`), or None.
        picture: (width, height) of the pair's pictures.

    Returns:
        Two arrays (height, width), True on the target. If one mask is None, the other stands for both; None if both
        are None.

    Raises:
        ValueError: A mask is broken or differs in size from the pictures; the message names `pair_id`.
    """
    found: list[NDArray[np.bool_] | None] = []
    for value, column in zip(masks, ("mask_before", "mask_after"), strict=True):
        if value is None:
            found.append(None)
            continue
        image = open_picture(value, column, pair_id)
        if image.size != picture:
            raise ValueError(
                f"{column} of pair {pair_id} has {image.size[0]}x{image.size[1]} pixels and its pictures have "
                f"{picture[0]}x{picture[1]}; store masks in the size of their pictures."
            )
        try:
            found.append(np.asarray(image.convert("L")) > 127)
        except (OSError, SyntaxError) as error:
            raise ValueError(
                f"The picture {column!r} of pair {pair_id} cannot be decoded ({error}); build the data set again."
            ) from error
    before, after = found
    if before is None or after is None:
        one = after if before is None else before
        return None if one is None else (one, one)
    return before, after


def cut_masks(
    masks: tuple[Any, Any],
    box: Sequence[int] | None,
    picture: tuple[int, int],
    region: Region,
    size: tuple[int, int],
    mirrored: bool = False,
    pair_id: str | None = None,
) -> torch.Tensor:
    """The target's pixels in the part of a pair that a model is shown.

    Args:
        masks: See `read_masks`. Without masks the filled box is used, without a box the whole picture.
        box: xmin, ymin, xmax, ymax of the target, inclusive, or None.
        picture: (width, height) of the stored pictures.
        region: The part of them that is shown.
        size: (height, width) of the result; each pixel is the stored mask's pixel under its centre.
        mirrored: Whether left and right are swapped.

    Returns:
        (2, H, W) float32 of 0 and 1, before and after.

    Raises:
        ValueError: See `read_masks`; or the box is not inside the picture.
    """
    stored = read_masks(masks, picture, pair_id)
    if stored is None:
        filled = np.ones((picture[1], picture[0]), dtype=np.bool_)
        if box is not None:
            left, top, right, bottom = checked_box(box, picture, pair_id)
            filled[:] = False
            filled[top : bottom + 1, left : right + 1] = True
        stored = (filled, filled)
    # Rounding may move a region past the picture's edge, which PIL refuses.
    inside = (region.left, region.top, min(region.right, picture[0]), min(region.bottom, picture[1]))
    height, width = size
    cut = np.empty((2, height, width), dtype=np.float32)
    for frame, mask in zip(cut, stored, strict=True):
        image = PIL.Image.fromarray(mask.astype(np.uint8))
        frame[...] = np.asarray(image.resize((width, height), PIL.Image.Resampling.NEAREST, box=inside))
    return torch.from_numpy(cut[..., ::-1].copy() if mirrored else cut)
