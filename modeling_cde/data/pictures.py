"""Read stored pictures and cut regions out of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from .regions import Region

_ORIENTATION = 0x0112  # Exif tag


def open_picture(value: Any, column: str, pair_id: str | None) -> Any:
    """A PIL picture, upright, not yet decoded where that can wait.

    Args:
        value: A PIL picture, encoded bytes, or a dict of `bytes` and `path` as datasets stores it.
        column, pair_id: For the error.

    Raises:
        ValueError: If it is no picture.
    """
    if isinstance(value, PIL.Image.Image):
        return value
    try:
        if isinstance(value, Mapping):
            content = value.get("bytes")
            source = io.BytesIO(content) if content is not None else value["path"]
        else:
            source = io.BytesIO(value)
        image = PIL.Image.open(source)
        if image.format != "PNG" and image.getexif().get(_ORIENTATION, 1) != 1:
            image = PIL.ImageOps.exif_transpose(image)
        return image
    except (OSError, SyntaxError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"The picture {column!r} of pair {pair_id} cannot be read ({error}); build the data set again."
        ) from error


def cut_region(
    image: Any, region: Region, size: tuple[int, int], resample: int, column: str, pair_id: str | None
) -> NDArray[np.uint8]:
    """A region scaled to a size.

    Args:
        image: From `open_picture`.
        region: In pixels of the picture.
        size: (width, height) of the result.
        resample: PIL's resampling filter; shrinking is antialiased, but by the nearest neighbour.
        column, pair_id: For the error.

    Returns:
        (height, width, 3) uint8.

    Raises:
        ValueError: If the picture is broken.
    """
    full = image.size
    try:
        if image.format == "JPEG":  # decode at 1/2, 1/4 or 1/8 where the region still has `size` pixels
            wanted = (
                int(full[0] * size[0] / (region.right - region.left)) + 1,
                int(full[1] * size[1] / (region.bottom - region.top)) + 1,
            )
            image.draft("RGB", wanted)
        if image.mode != "RGB":
            image = image.convert("RGB")
        x, y = image.size[0] / full[0], image.size[1] / full[1]
        box = (
            region.left * x,
            region.top * y,
            min(region.right * x, image.size[0]),
            min(region.bottom * y, image.size[1]),
        )
        return np.asarray(image.resize(size, resample, box=box))
    except (OSError, SyntaxError) as error:
        raise ValueError(
            f"The picture {column!r} of pair {pair_id} cannot be decoded ({error}); build the data set again."
        ) from error
