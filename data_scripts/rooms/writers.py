"""A rendered pair as a row of the columns that all sources share."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_scripts.rooms.objects import ACTIONS, OBJECTS
from data_scripts.rooms.pairs import Pair


def png(pixels: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    """PNG bytes of `(H, W, 3)` colours or of an `(H, W)` mask as 0 and 255."""
    image = Image.fromarray(pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def pair_row(pair: Pair) -> dict[str, Any]:
    """The pair as a row of `pair_features(ACTIONS, OBJECTS)`."""
    pictures = ("before", "after", "mask_before", "mask_after")
    return {
        **{name: {"bytes": png(getattr(pair, name)), "path": None} for name in pictures},
        "action": ACTIONS.index(pair.action),
        "object": OBJECTS.index(pair.object),
        "scene": pair.scene,
        "pair_id": pair.pair_id,
        "box": list(pair.box),
    }
