"""Patch weights as a heat map over a picture. Only NumPy and Pillow draw it, so that the demo can, too.

The scale is the same for every picture: darkest for the average weight 1/N or less, brightest for 16 times as much. It
is logarithmic. As the weights are a softmax (`pool_changed`), brightness rises evenly with the change of a patch, and
pictures without a difference, whose weights are all 1/N, get no mark. The picture itself is grey and dimmed under the
map, so that its colours are not taken for weights.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

#: Ratio of a weight to the average one from which it is brightest.
STRONGEST = 16

# Stops of Matplotlib's inferno: its lightness rises evenly, also in a grey print and for every kind of colour vision.
_COLOURS = np.array(
    [(0, 0, 4), (40, 11, 84), (101, 21, 110), (159, 42, 99), (212, 72, 66), (245, 125, 21), (250, 193, 39)]
)
_OPACITY = 0.6  # the same for all weights: over any picture more weight is brighter


def heat(weights: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """N weights of any shape that sum to 1, on the scale from 0 (1/N or less) to 1 (16/N or more)."""
    ratios = np.asarray(weights, dtype=np.float64) * np.size(weights)
    values: npt.NDArray[np.float32] = (np.log(np.clip(ratios, 1, STRONGEST)) / np.log(STRONGEST)).astype(np.float32)
    return values


def coloured(grey: npt.NDArray[Any], values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Grey pixels (0 to 255) under values of `heat`, of the same shape: red, green and blue, (..., 3) uint8."""
    stops = np.linspace(0, 1, len(_COLOURS))
    colours = np.stack([np.interp(values, stops, channel) for channel in _COLOURS.T], axis=-1)
    mixed = _OPACITY * colours + (1 - _OPACITY) * np.asarray(grey)[..., None]
    pixels: npt.NDArray[np.uint8] = mixed.round().astype(np.uint8)
    return pixels


def with_heat(picture: Image.Image, weights: npt.NDArray[Any], box: Sequence[float] | None = None) -> Image.Image:
    """A picture under the heat map of its patches.

    Args:
        picture: of any mode and size.
        weights: (rows, columns), which sum to 1. Between the centres of patches the heat changes evenly.
        box: left, top, right and bottom edge, in pixels, of the part that the patches divide evenly; None for the whole
            picture. What lies outside has no weight.

    Returns:
        An RGB picture of the same size.
    """
    left, top, right, bottom = (round(edge) for edge in box or (0, 0, *picture.size))
    size = max(1, right - left), max(1, bottom - top)
    smooth = Image.fromarray(heat(weights)).resize(size, resample=Image.Resampling.BILINEAR)
    values = Image.new("F", picture.size)
    values.paste(smooth, (left, top))
    return Image.fromarray(coloured(np.asarray(picture.convert("L")), np.asarray(values)))
