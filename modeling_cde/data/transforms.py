"""From encoded pairs to pixel values, with the same random change on both pictures.

Notable:

- One PIL call cuts the region out and scales it (`resize(box=...)`), so nothing is scaled that is thrown
  away; large JPEGs are decoded at a fraction of their size where that is enough.
- What is random depends on (seed, epoch, pair_id) and on nothing else: not on the worker, the process, the
  place in the batch or what was drawn before. A global generator could not give that: data loaders fetch
  ahead of the step whose state a checkpoint keeps, so after a resume the same pictures would meet other
  numbers.
- Frames are never swapped, mirrored apart or coloured apart: an action stays that action, and two identical
  pictures stay identical, bit for bit.
"""

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch

_ORIENTATION = 0x0112  # Exif tag
# Whole words, or run together with a verb; not the "right" of "upright" or "bright".
_SIDED = re.compile(
    r"(?<![a-z])(turn|push|pull|move|rotate|slide|look|counter|anti)?(left|right|clockwise)(wards?)?(?![a-z])"
)
_GRAY = (0.299, 0.587, 0.114)  # ITU-R 601 luma, as in PIL's "L"


class Region(NamedTuple):
    """A rectangle of a picture in pixels: left, top <= x, y < right, bottom; fractions are allowed."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Augmentation:
    """How far a pair is changed at random, both pictures alike. The defaults are ours.

    Attributes:
        min_area: Smallest share of the region's area that a random crop keeps, in (0, 1]; 1 crops nothing.
        max_aspect: Largest change of a crop's aspect ratio, as a factor >= 1.
        flip: Probability of mirroring left and right, in [0, 1]; 0 where actions tell left from right (`for_actions`).
        brightness: Colours are multiplied by a number from 1 ± this, in [0, 1).
        contrast: The distance from the pair's mean grey is multiplied likewise, in [0, 1).
        saturation: The distance from each pixel's grey is multiplied likewise, in [0, 1).
    """

    min_area: float = 0.7
    max_aspect: float = 1.15
    flip: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2

    @classmethod
    def for_actions(cls, actions: Iterable[str]) -> Augmentation:
        """The defaults, without mirroring if an action's name tells sides or a sense of rotation.

        A mirrored "push left" is a push to the right: its picture would carry the opposite action's label. What a name
        does not tell, such as which way a screw closes, is for the caller to know.

        Args:
            actions: Names of the classes, for example "push left", "push_left" or "pushLeft".
        """
        sided = any(_SIDED.search(re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()) for name in actions)
        return cls(flip=0.0) if sided else cls()

    def __post_init__(self) -> None:
        if not 0 < self.min_area <= 1:
            raise ValueError(f"min_area is {self.min_area}; give a share of the area in (0, 1].")
        if self.max_aspect < 1:
            raise ValueError(f"max_aspect is {self.max_aspect}; give a factor of at least 1.")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip is {self.flip}; give a probability in [0, 1].")
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a number in [0, 1).")


class PairTransform:
    """Turn rows of a pair data set into pixel values; `transform_pairs` sets it on loaded and on streamed pairs.

    Args:
        size: (height, width) of the pixel values.
        mean: Mean of each channel that is subtracted, for colours in [0, 1]; 3 numbers.
        std: Standard deviation of each channel that is divided by; 3 numbers.
        crop: `"box"`: see `box_region`. `"none"`: the whole picture, scaled to `size` on each axis.
        crop_margin: Room around the box on each side, as a share of the longer side of the box, >= 0.
        augment: `True` for `Augmentation()`, an `Augmentation`, or None/False for none (evaluation).
        seed: Of the augmentation.
        resample: PIL's resampling filter; shrinking is antialiased.

    Call it with a batch of columns: `before`, `after` (dict of bytes and path, bytes, or PIL picture),
    `action` (int), with `crop="box"` also `box` (4 ints, inclusive), with augmentation also `pair_id`. It
    returns `pixel_values`, a list of (2, 3, H, W) float32 tensors, and `labels`, a list of int. Give it the
    encoded bytes (`load_pairs` does), so that masks are not decoded for nothing.

    Raises:
        ValueError: For an argument out of range, or a pair with a broken picture, pictures of different
            size, or without the box or pair_id that is needed; the sentence names the pair.
    """

    def __init__(
        self,
        size: tuple[int, int],
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
        crop: str = "box",
        crop_margin: float = 0.1,
        augment: Augmentation | bool | None = None,
        seed: int = 0,
        resample: int = PIL.Image.Resampling.BILINEAR,
    ) -> None:
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size is {size}; give (height, width) in pixels.")
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f"mean is {mean} and std {std}; give three numbers each, std above 0.")
        if crop not in ("box", "none"):
            raise ValueError(f"crop is {crop!r}; choose box or none.")
        if crop_margin < 0:
            raise ValueError(f"crop_margin is {crop_margin}; give 0 or more.")
        self.size = (int(size[0]), int(size[1]))
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))
        self.crop, self.crop_margin = crop, crop_margin
        self.augment = Augmentation() if augment is True else (augment or None)
        self.seed, self.resample = seed, resample
        # Shared memory, so that data loader workers that outlive an epoch see the next one begin.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]
        self._scale = torch.tensor([1 / (255 * s) for s in self.std]).view(3, 1, 1)
        self._shift = torch.tensor([m / s for m, s in zip(self.mean, self.std, strict=True)]).view(3, 1, 1)

    @classmethod
    def from_processor(cls, processor: Any, **options: Any) -> PairTransform:
        """A transform with the size, mean, std and filter of a Transformers image processor.

        Args:
            processor: Has `size` with height and width (or shortest_edge, for a square), `image_mean`,
                `image_std`, and may have `do_normalize` and `resample`.
            options: The other arguments of `PairTransform`.
        """
        size = processor.size
        side = size.get("shortest_edge")
        options.setdefault("size", (size.get("height", side), size.get("width", side)))
        normalize = getattr(processor, "do_normalize", True)
        options.setdefault("mean", processor.image_mean if normalize else (0.0, 0.0, 0.0))
        options.setdefault("std", processor.image_std if normalize else (1.0, 1.0, 1.0))
        if getattr(processor, "resample", None) is not None:
            options.setdefault("resample", int(processor.resample))
        return cls(**options)

    @property
    def epoch(self) -> int:
        """The epoch whose random changes are drawn."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw the changes of this epoch from now on; call it before each epoch's iteration begins."""
        self._epoch.fill_(epoch)

    def __deepcopy__(self, memo: dict[int, Any]) -> PairTransform:
        # datasets copies its transform in select(), shuffle() and so on; set_epoch has to reach the copies.
        return self

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        number = len(batch["before"])
        boxes = batch.get("box") or [None] * number
        pair_ids = batch.get("pair_id") or [None] * number
        rows = zip(batch["before"], batch["after"], boxes, pair_ids, strict=True)
        return {
            "pixel_values": [self.pixel_values(*row) for row in rows],
            "labels": [int(action) for action in batch["action"]],
        }

    def pixel_values(
        self, before: Any, after: Any, box: Sequence[int] | None = None, pair_id: str | None = None
    ) -> torch.Tensor:
        """One pair: (2, 3, H, W) float32, normalised. Arguments and errors as in a call with a batch."""
        images = [_open(before, "before", pair_id), _open(after, "after", pair_id)]
        if images[0].size != images[1].size:
            raise ValueError(
                f"The pictures of pair {pair_id} have different sizes, {images[0].size} before and "
                f"{images[1].size} after; store both in one size."
            )
        region = Region(0.0, 0.0, *map(float, images[0].size))
        if self.crop == "box":
            if box is None:
                raise ValueError(f"Pair {pair_id} has no box to crop to; use crop='none' or store boxes.")
            region = box_region(box, images[0].size, self.size, self.crop_margin, pair_id)
        generator = None
        if self.augment is not None:
            if pair_id is None:
                raise ValueError("Augmentation is drawn for each pair by its pair_id; keep that column.")
            generator = random.Random(f"{self.seed}/{self.epoch}/{pair_id}")
            region = random_region(region, self.augment, generator)
        height, width = self.size
        frames = np.empty((2, height, width, 3), dtype=np.uint8)
        for frame, image, column in zip(frames, images, ("before", "after"), strict=True):
            frame[...] = _cut(image, region, (width, height), self.resample, column, pair_id)
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)  # (2, H, W, 3) -> (2, 3, H, W)
        pixels = pixels.to(torch.float32, memory_format=torch.contiguous_format)
        if generator is not None and self.augment is not None:
            if generator.random() < self.augment.flip:
                pixels = pixels.flip(-1)
            pixels = jitter(pixels, self.augment, generator)
        return pixels.mul_(self._scale).sub_(self._shift)


def box_region(
    box: Sequence[int],
    picture: tuple[int, int],
    size: tuple[int, int],
    margin: float,
    pair_id: str | None = None,
) -> Region:
    """The part of a picture to show for a target: its box and a margin, in the shape of the output.

    Shapes are not squeezed, unlike in Causal Triplet, which scales the bare box to a square: the shorter
    side is widened until the region has the output's aspect ratio. A region that crosses the picture's
    border is moved inside; where it is larger than the picture it ends at the border, and only then is the
    aspect ratio lost.

    Args:
        box: xmin, ymin, xmax, ymax, inclusive.
        picture: (width, height).
        size: (height, width) of the output; only the ratio matters.
        margin: Room on each side, as a share of the box's longer side.
        pair_id: For the error.

    Raises:
        ValueError: If the box is empty or reaches outside the picture.
    """
    left, top, right, bottom = box
    if not (0 <= left <= right < picture[0] and 0 <= top <= bottom < picture[1]):
        raise ValueError(
            f"The box {list(box)} of pair {pair_id} does not lie in its picture of {picture[0]}x{picture[1]} "
            "pixels; boxes are xmin, ymin, xmax, ymax with inclusive bounds."
        )
    box_width, box_height = right - left + 1, bottom - top + 1  # inclusive bounds
    room = 2 * margin * max(box_width, box_height)
    aspect = size[1] / size[0]
    height = max(box_height + room, (box_width + room) / aspect)
    spans = []
    for start, length, wanted, limit in (
        (left, box_width, height * aspect, picture[0]),
        (top, box_height, height, picture[1]),
    ):
        wanted = min(wanted, limit)
        begin = min(max(start + length / 2 - wanted / 2, 0.0), limit - wanted)
        spans.append((begin, begin + wanted))
    (x0, x1), (y0, y1) = spans
    return Region(x0, y0, x1, y1)


def random_region(region: Region, augment: Augmentation, generator: random.Random) -> Region:
    """A random part of a region: area and aspect ratio within `augment`, place uniform."""
    width, height = region.right - region.left, region.bottom - region.top
    area = generator.uniform(augment.min_area, 1.0)
    aspect = augment.max_aspect ** generator.uniform(-1.0, 1.0)
    new_width = min(width, width * (area * aspect) ** 0.5)
    new_height = min(height, height * (area / aspect) ** 0.5)
    left = region.left + generator.random() * (width - new_width)
    top = region.top + generator.random() * (height - new_height)
    return Region(left, top, left + new_width, top + new_height)


def jitter(pixels: torch.Tensor, augment: Augmentation, generator: random.Random) -> torch.Tensor:
    """Brightness, saturation and contrast by one function of the colour for both pictures.

    The pivot of the contrast is the mean grey of the pair, not of each picture: with a pivot of its own, a
    picture in which a lamp goes on would be darkened against its partner.

    Args:
        pixels: (2, 3, H, W) float32 in [0, 255]; may be changed.
        augment: The ranges.
        generator: Three numbers are drawn.

    Returns:
        (2, 3, H, W) float32 in [0, 255].
    """
    brightness, contrast, saturation = (
        generator.uniform(1 - reach, 1 + reach) for reach in (augment.brightness, augment.contrast, augment.saturation)
    )
    # grey of each pixel (2, 1, H, W); plain products, so that equal pixels stay equal in every memory layout
    red, green, blue = (pixels[:, channel : channel + 1] for channel in range(3))
    grey = red * _GRAY[0] + green * _GRAY[1] + blue * _GRAY[2]
    pivot = float(grey.mean()) * brightness * (1 - contrast)
    # (x·s + g·(1-s))·b·c + pivot: saturation, brightness and contrast folded into one step
    pixels = pixels.mul_(saturation * brightness * contrast)
    return pixels.add_(grey.mul_((1 - saturation) * brightness * contrast)).add_(pivot).clamp_(0, 255)


def _open(value: Any, column: str, pair_id: str | None) -> Any:
    """A PIL picture, upright, not yet decoded where that can wait."""
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


def _cut(
    image: Any, region: Region, size: tuple[int, int], resample: int, column: str, pair_id: str | None
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A region scaled to size (width, height): (height, width, 3) uint8."""
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
