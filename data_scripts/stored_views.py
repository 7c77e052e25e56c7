"""Turns two pictures, masks and a box into what a data set stores: both pictures cropped and scaled down alike.

- The single view keeps the square of the box and a margin, moved inside the picture. With a margin of at least that of
  `modeling_cde.models.regions_cde.box_region`, the crop that a model sees of the stored picture equals that of the
  original, up to resampling (for a target of up to 3 pixels, a filter that scales up may miss a neighbour that was cut
  away).
- Both pictures go through the same steps with the same numbers and one encoding, so identical pictures stay identical,
  bit for bit.
- Pictures are never scaled up, and bytes are kept if nothing has to change.

Stored pictures are always upright RGB, see `data_scripts.picture_files`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from data_scripts.picture_files import SIXTEEN_BITS, BadPictureError, by, decode, encode, open_picture
from modeling_cde.data.schema import VIEWS

__all__ = ["VIEWS", "BadPictureError", "Region", "open_picture", "store_pair"]


class Region(NamedTuple):
    """A rectangle of whole pixels: left, top <= x, y < right, bottom."""

    left: int
    top: int
    right: int
    bottom: int


def store_pair(
    before: bytes | PIL.Image.Image,
    after: bytes | PIL.Image.Image,
    box: Sequence[int] | None,
    mask_before: bytes | PIL.Image.Image | None = None,
    mask_after: bytes | PIL.Image.Image | None = None,
    *,
    view: str,
    image_size: int | None,
    margin: float = 0.25,
    encoding: str | None = None,
) -> dict[str, Any]:
    """The picture columns of a row of `modeling_cde.data.schema.pair_features`.

    Args:
        before, after: Encoded bytes (PNG, JPEG, WebP, BMP, GIF, TIFF) or PIL pictures of one size.
        box: xmin, ymin, xmax, ymax of the target in pixels of the upright pictures, inclusive. None is allowed in
            the multi view.
        mask_before, mask_after: One channel of the pictures' size, on where it is above half of its largest value.
        view: `"single"`: the region of the box and its margin is cut out, see `single_region`. `"multi"`: the
            whole picture is stored.
        image_size: Shorter side of the stored picture, in pixels; smaller pictures keep their size. None: nothing is
            cropped or scaled in any view.
        margin: Room around the box on each side in the single view, as a share of the box's longer side, >= 0.
        encoding: `"png"` or `"jpeg"` to choose; None: JPEG if both pictures are JPEG, else PNG.

    Returns:
        `before`, `after`, `mask_before`, `mask_after`: `{"bytes": ..., "path": None}`, masks are PNG of 0 and 255
        or None; `box`: 4 ints in pixels of the stored pictures, inclusive, or None. It covers all of the target:
        bounds that fall between two pixels are rounded outwards.

    Raises:
        BadPictureError: A picture is broken, of an unknown kind or larger than 64 megapixels; pictures or masks differ
            in size; the box is empty, outside the pictures, or missing in the single view.
        ValueError: An argument is invalid.
    """
    if view not in VIEWS:
        raise ValueError(f"The view is {view!r}; choose single or multi.")
    if image_size is not None and image_size < 1:
        raise ValueError(f"image_size is {image_size}; give a number of pixels, or None for the originals.")
    if not margin >= 0:
        raise ValueError(f"margin is {margin}; give 0 or more.")
    if encoding not in (None, "png", "jpeg"):
        raise ValueError(f"The encoding is {encoding!r}; choose png or jpeg, or None for that of the pictures.")

    first, second = open_picture(before, "before picture"), open_picture(after, "after picture")
    size = first.pixels.size
    if second.pixels.size != size:
        raise BadPictureError(
            f"the pictures differ in size, {by(size)} before and {by(second.pixels.size)} after; they must show "
            "one view in one size",
            "pictures differ in size",
        )
    region = Region(0, 0, *size)
    if box is None:
        if view == "single":
            raise BadPictureError("the pair has no box, which the single view crops to; use the multi view", "no box")
    else:
        box = check_box(box, size)
        if view == "single" and image_size is not None:
            region = single_region(box, size, margin)
    stored = stored_size(region, image_size)

    whole = region == Region(0, 0, *size) and stored == size
    wanted = encoding or ("jpeg" if first.format == second.format == "JPEG" else "png")
    keep = whole and all(picture.plain and picture.format == wanted.upper() for picture in (first, second))
    return {
        "before": _column(first.content if keep else encode(_cut(first.pixels, region, stored), wanted)),
        "after": _column(second.content if keep else encode(_cut(second.pixels, region, stored), wanted)),
        "box": None if box is None else scale_box(box, region, stored),
        "mask_before": _column(_store_mask(mask_before, "before mask", size, region, stored)),
        "mask_after": _column(_store_mask(mask_after, "after mask", size, region, stored)),
    }


def whole_box(picture: bytes | PIL.Image.Image) -> list[int]:
    """The box that covers a whole picture, inclusive; `BadPictureError` if the picture cannot be stored."""
    width, height = open_picture(picture, "before picture").pixels.size
    return [0, 0, width - 1, height - 1]


def check_box(box: Sequence[int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A box as four ints, checked to be inside a picture of `size` (width, height) and not empty; bounds inclusive.

    Raises:
        BadPictureError: It is not.
    """
    if len(box) != 4 or any(int(bound) != bound for bound in box):
        raise BadPictureError(f"the box {list(box)} is not four whole numbers xmin, ymin, xmax, ymax", "bad box")
    left, top, right, bottom = (int(bound) for bound in box)
    if left > right or top > bottom:
        raise BadPictureError(f"the box {[left, top, right, bottom]} (xmin, ymin, xmax, ymax) is empty", "empty box")
    if left < 0 or top < 0 or right >= size[0] or bottom >= size[1]:
        raise BadPictureError(
            f"the box {[left, top, right, bottom]} (xmin, ymin, xmax, ymax, inclusive) reaches outside the picture of "
            f"{by(size)} pixels",
            "box outside the picture",
        )
    return left, top, right, bottom


def single_region(box: Sequence[int], size: tuple[int, int], margin: float) -> Region:
    """The region of the single view: the box and a margin, widened to a square, moved inside the picture.

    If the square is larger than the picture, it ends at the border. It contains every region that `box_region` of the
    model's transform gives for a square output and a margin up to this one.

    The box is inside the picture of `size` (width, height); for `margin` see `store_pair`. Bounds are rounded outwards.
    """
    left, top, right, bottom = box
    side = max(right - left + 1, bottom - top + 1) * (1 + 2 * margin)
    spans = []
    for center, limit in (((left + right + 1) / 2, size[0]), ((top + bottom + 1) / 2, size[1])):
        begin = min(max(center - side / 2, 0.0), max(limit - side, 0.0))
        spans.append((math.floor(begin), min(math.ceil(begin + side), limit)))
    (x0, x1), (y0, y1) = spans
    return Region(x0, y0, x1, y1)


def stored_size(region: Region, image_size: int | None) -> tuple[int, int]:
    """(width, height) of a region whose shorter side is scaled down to image_size, never up."""
    width, height = region.right - region.left, region.bottom - region.top
    shorter = min(width, height)
    if image_size is None or shorter <= image_size:
        return width, height
    return round(width * image_size / shorter), round(height * image_size / shorter)


def scale_box(box: Sequence[int], region: Region, stored: tuple[int, int]) -> list[int]:
    """A box inside a region in pixels of the region's stored picture; inclusive, rounded outwards."""
    width, height = region.right - region.left, region.bottom - region.top
    # Integers only: a bound on a pixel's edge must not be rounded across it.
    return [
        (box[0] - region.left) * stored[0] // width,
        (box[1] - region.top) * stored[1] // height,
        -(-(box[2] + 1 - region.left) * stored[0] // width) - 1,
        -(-(box[3] + 1 - region.top) * stored[1] // height) - 1,
    ]


def _store_mask(
    value: bytes | PIL.Image.Image | None, name: str, size: tuple[int, int], region: Region, stored: tuple[int, int]
) -> bytes | None:
    """A mask cropped and scaled like its picture: PNG bytes of one channel of 0 and 255."""
    if value is None:
        return None
    image, format, content = decode(value, name)
    if image.size != size:
        raise BadPictureError(f"the {name} has {by(image.size)} pixels, its picture {by(size)}", "mask of another size")
    try:
        grey = np.asarray(image if image.mode in SIXTEEN_BITS else image.convert("L")).astype(np.int64)
    except ValueError as error:
        raise BadPictureError(f"the {name} has unsupported colours ({error})", "broken mask") from error
    on = 2 * grey > grey.max(initial=0)
    if format == "PNG" and image.mode == "L" and region == Region(0, 0, *size) and stored == size:
        if np.array_equal(grey, 255 * on):
            return content
    # A stored pixel is on if at least half of its area is.
    scaled = PIL.Image.fromarray((255 * on).astype(np.uint8)).resize(stored, PIL.Image.Resampling.BOX, box=region)
    return encode(scaled.point([255 * (level > 127) for level in range(256)]), "png")


def _cut(image: PIL.Image.Image, region: Region, stored: tuple[int, int]) -> PIL.Image.Image:
    if stored == (region.right - region.left, region.bottom - region.top):
        return image.crop(region)
    return image.resize(stored, PIL.Image.Resampling.BICUBIC, box=region)


def _column(content: bytes | None) -> dict[str, Any] | None:
    return None if content is None else {"bytes": content, "path": None}
