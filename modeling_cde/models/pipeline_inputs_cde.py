"""What a call of the pipeline is about, pairs or a clip, and pictures of any kind."""

import os
from collections.abc import Sequence
from types import GeneratorType
from typing import Any, NamedTuple

import numpy as np
import torch

from .image_processing_cde import load_picture
from .limits_cde import MOST_CLIP_FRAMES
from .pictures_cde import BadPictureError, open_picture, opened_to_cut, upright_rgb
from .video_cde import is_video, read_video

CALL = "pipe(before, after), or pipe([(before, after), ...]), or pipe(frames=[...])"


class Boxed(NamedTuple):
    """A pair whose box is looked at; `pair` is (before, after) or a row."""

    pair: Any
    box: Sequence[int]


class Clip:
    """The frames of a clip, or the path of a video; and the box that is looked at, if any."""

    def __init__(self, frames: Any, box: Any = None) -> None:
        self.frames, self.box = frames, None if box is None else _checked_bounds(box)

    def prepared(
        self, processor: Any, dtype: torch.dtype, open_paths: bool | None, frames_per_second: float
    ) -> dict[str, torch.Tensor]:
        """Frames (T, C, H, W), and their times in seconds, (T,), or none."""
        pictures = self.frames
        seconds: list[float] = []
        if is_video(pictures):
            pictures, seconds = read_video(pictures, frames_per_second, MOST_CLIP_FRAMES)
            if len(pictures) < 2:
                raise ValueError(
                    f"{self.frames} gives one frame: read more by frames_per_second={frames_per_second * 10:g}."
                )
        elif len(pictures) > MOST_CLIP_FRAMES:  # before any is opened
            raise ValueError(
                f"The clip has {len(pictures)} frames, and at most {MOST_CLIP_FRAMES} are read: give parts of it."
            )
        if open_paths is None:  # the caller's own words name files, a row its author's
            may_open = [not isinstance(picture, dict) for picture in pictures]
        else:
            may_open = [open_paths] * len(pictures)
        read = [picture_of(*each) for each in zip(pictures, may_open, strict=True)]
        if self.box is None:
            shown = [processor.process(picture) for picture in read]
        else:
            shown = [torch.from_numpy(processor.boxed_pair(read[0], picture, self.box)[1]) for picture in read]
        if len(shapes := {tuple(frame.shape) for frame in shown}) > 1:
            raise ValueError(f"The frames of the clip differ in shape, {sorted(shapes)}: give frames of one size.")
        return {"frames": torch.stack(shown).to(dtype), "seconds": torch.tensor(seconds, dtype=torch.float64)}


def find_clip(before: Any, after: Any, frames: Any, box: Any) -> Clip | None:
    """The clip of a call, or None if it is of pairs.

    Raises:
        TypeError: Both are given, or neither, or a clip of less than two frames.
    """
    if (before is None) == (frames is None):
        raise TypeError(f"The pipeline needs either pairs or frames: call {CALL}.")
    if frames is None and after is None:
        pictures = several(before)
        many = isinstance(pictures, (list, tuple)) and len(pictures) > 2 and not any(map(_is_pair, pictures))
        frames = pictures if many or is_video(before) else None
    if frames is None:
        return None
    if after is not None:
        raise TypeError(f"A clip has no image after: call {CALL}.")
    pictures = several(frames)
    if not is_video(pictures) and (not isinstance(pictures, (list, tuple)) or len(pictures) < 2):
        raise TypeError("A clip is a list of at least two images, an array of them, or the path of a video.")
    return Clip(pictures, box)


def _is_pair(item: Any) -> bool:
    return isinstance(item, (list, tuple)) or (isinstance(item, dict) and "before" in item)


def several(images: Any) -> Any:
    """Turns an array (B, ...) into a list of images; returns anything else unchanged."""
    return list(images) if getattr(images, "ndim", 0) == 4 else images


def boxed(pairs: Any, box: Any) -> Any:
    """One pair or a list of pairs, each with its box."""
    if not isinstance(pairs, list):
        if isinstance(pairs, (GeneratorType, torch.utils.data.Dataset)):
            raise TypeError(
                "The pipeline takes boxes with a pair or a list of pairs, not with a generator or data set."
            )
        return Boxed(pairs, _checked_bounds(box))
    boxes = list(box)
    if len(boxes) != len(pairs):
        raise ValueError(f"The pipeline got {len(boxes)} boxes for {len(pairs)} pairs: give a list with one for each.")
    return [Boxed(pair, _checked_bounds(one)) for pair, one in zip(pairs, boxes, strict=True)]


def _checked_bounds(box: Any) -> Sequence[int]:
    values = np.asarray(box).tolist() if isinstance(box, (list, tuple, np.ndarray)) else box
    if not isinstance(values, list) or len(values) != 4 or not all(isinstance(one, int) for one in values):
        raise ValueError(f"The box is {box!r}: give xmin, ymin, xmax and ymax as whole numbers, bounds inclusive.")
    return values


def picture_of(image: Any, open_paths: bool, to_cut: bool = False) -> Any:
    """Reads a picture of any kind, also as rows store it: bytes, or a dict of bytes and path; see `load_picture`."""
    if isinstance(image, dict) and "bytes" in image:
        image = image.get("path") if image["bytes"] is None else image["bytes"]
    if isinstance(image, bytes):
        opened = open_picture(image, name := "The picture of a row")
        return opened_to_cut(opened, name) if to_cut else upright_rgb(opened, name)
    if isinstance(image, (str, os.PathLike)) and not open_paths:
        raise BadPictureError(
            f"A row names {str(image)[:100]!r} instead of containing the picture: pass open_paths=True if you trust "
            "whoever wrote it to choose which files are read and which addresses are asked."
        )
    return load_picture(image, to_cut)


def pair_of(item: Any) -> tuple[Any, Any]:
    """Returns (before, after) of a pair or a row."""
    item = item.pair if isinstance(item, Boxed) else item
    if isinstance(item, dict) and {"before", "after"} <= set(item):
        return item["before"], item["after"]
    if isinstance(item, (list, tuple)) and len(item) == 2:
        return item[0], item[1]
    raise TypeError(f"The pipeline got {type(item).__name__} instead of a pair of images: call {CALL}.")
