"""Random changes of a pair in training, the same for both pictures."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from ..models.regions_cde import Region

# Whole words, or run together with a verb; not the "right" of "upright" or "bright".
_SIDED = re.compile(
    r"(?<![a-z])(turn|push|pull|move|rotate|slide|look|counter|anti)?(left|right|clockwise)(wards?)?(?![a-z])"
)
_GRAY = (0.299, 0.587, 0.114)  # ITU-R 601 luma, as in PIL's "L"


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes of a pair, the same for both pictures. The defaults are ours.

    Attributes:
        min_area: Smallest share of the region's area that a random crop keeps, in (0, 1]; 1 crops nothing.
        max_aspect: Largest change of a crop's aspect ratio, as a factor >= 1.
        flip: Probability of mirroring left and right, in [0, 1]; 0 if actions have sides (`for_actions`).
        brightness: Colours are multiplied by a random number in 1 ± this, in [0, 1).
        contrast: The distance from the pair's mean grey is multiplied in the same way, in [0, 1).
        saturation: The distance from each pixel's grey is multiplied in the same way, in [0, 1).
    """

    min_area: float = 0.7
    max_aspect: float = 1.15
    flip: float = 0.5
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2

    @classmethod
    def for_actions(cls, actions: Iterable[str]) -> Augmentation:
        """The defaults, without mirroring if an action's name mentions a side or a direction of rotation.

        A mirrored "push left" (or "push_left", "pushLeft") is a push to the right, so its label would be wrong. The
        caller must know what a name does not say, such as which way a screw closes.
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


def random_region(region: Region, augment: Augmentation, generator: random.Random) -> Region:
    """A random part of a region: area and aspect ratio within `augment`, uniform position."""
    width, height = region.right - region.left, region.bottom - region.top
    area = generator.uniform(augment.min_area, 1.0)
    aspect = augment.max_aspect ** generator.uniform(-1.0, 1.0)
    new_width = min(width, width * (area * aspect) ** 0.5)
    new_height = min(height, height * (area / aspect) ** 0.5)
    left = region.left + generator.random() * (width - new_width)
    top = region.top + generator.random() * (height - new_height)
    return Region(left, top, left + new_width, top + new_height)


def jitter(pixels: torch.Tensor, augment: Augmentation, generator: random.Random) -> torch.Tensor:
    """Change brightness, saturation and contrast by one function of the colour for both pictures.

    The pivot of the contrast is the mean grey of the pair, not of each picture: with its own pivot, a picture in
    which a lamp is switched on would become darker relative to its partner.

    `pixels` and the result are (2, 3, H, W) float32 in [0, 255]; the input may be changed. Three numbers are drawn.
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
