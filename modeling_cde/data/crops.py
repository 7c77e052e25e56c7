"""Cut regions out of stored pictures, which `modeling_cde.models.pictures_cde` reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models import pictures_cde
from ..models.pictures_cde import BadPictureError
from ..models.preprocessing_cde import Preprocessing
from ..models.regions_cde import Region

__all__ = ["BadPictureError", "cut_region", "head_size", "open_picture", "whole_picture"]


def open_picture(value: Any, column: str, pair_id: str | None) -> Any:
    """A PIL picture, upright RGB; an encoded upright JPEG is not decoded yet, as `cut_region` may need less of it.

    Args:
        value: A PIL picture, encoded bytes, or a dict of `bytes` and `path` as datasets stores it. A path alone is
            refused: it comes from a data set, perhaps a stranger's, and could name any file on this machine.
        column, pair_id: For the error.

    Raises:
        BadPictureError: The picture is refused; the message names pair and column.
    """
    name = _name(column, pair_id)
    image = _opened(value, name)
    # The caller's own picture is decoded completely: a reduced decoding would change it for the caller.
    return pictures_cde.upright_rgb(image, name) if image is value else pictures_cde.opened_to_cut(image, name)


def head_size(value: Any, column: str, pair_id: str | None) -> tuple[int, int]:
    """(width, height) from the head of a picture, before it is turned upright; nothing is decoded.

    Args and errors: as `open_picture`.
    """
    size: tuple[int, int] = _opened(value, _name(column, pair_id)).size
    return size


def cut_region(
    image: Any, region: Region, size: tuple[int, int], resample: int, column: str, pair_id: str | None
) -> NDArray[np.uint8]:
    """A region of a picture from `open_picture`, scaled to a size (width, height): (height, width, 3) uint8.

    See `pictures_cde.cut`; the error names pair and column.
    """
    return pictures_cde.cut(image, region, size, resample, _name(column, pair_id))


def whole_picture(image: Any, preprocessing: Preprocessing, column: str, pair_id: str | None) -> NDArray[np.uint8]:
    """What is seen of a picture from `open_picture`, exactly as the image processor shows it: (H, W, 3) uint8.

    Raises:
        BadPictureError: The picture is damaged.
    """
    return preprocessing.picture(pictures_cde.upright_rgb(image, _name(column, pair_id)))


def _opened(value: Any, name: str) -> Any:
    file = value if isinstance(value, (str, os.PathLike)) else None
    if isinstance(value, Mapping):
        file = value.get("path") if value.get("bytes") is None else None
        value = value.get("bytes")
    if file is not None:
        raise BadPictureError(
            f"{name} cannot be read as an image: the row names a file instead of containing the picture "
            f"({str(file)[:100]!r}), and a data set must not choose which files are read; store the bytes."
        )
    if value is None:
        raise BadPictureError(f"{name} cannot be read as an image: it is missing; give each pair both pictures.")
    return pictures_cde.open_picture(value, name)


def _name(column: str, pair_id: str | None) -> str:
    return f"The picture {column!r} of pair {pair_id}"
