"""What a model sees of a picture. Training, evaluation, processor, pipeline, demo and export all decide it here.

A picture is resized, its centre cut out, its bytes rescaled and normalised: the same operations in the same order, so
that the values of a whole picture are equal bit for bit, whoever computes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

try:  # this file travels with every model, also to where models are loaded without Pillow
    from PIL import Image
except ImportError:
    pass

from .pictures_cde import cut
from .regions_cde import CROP_MARGIN, Region, box_region

#: Of an image processor. `crop_pct` is ConvNeXt's and ResNet's own, see `plain_settings`.
SETTINGS = (
    "size image_mean image_std resample do_resize do_center_crop crop_size do_rescale rescale_factor do_normalize"
).split()


@dataclass(frozen=True)
class Preprocessing:
    """The steps from a picture to what a model sees, in their order.

    Attributes:
        resize: Height and width, or the shorter edge, which keeps the aspect ratio; None: not resized.
        crop: Height and width of the centre that is kept; None: everything is.
        resample: PIL's number of the filter of the resize.
        rescale_factor: Multiplies the bytes.
        mean, std: Per channel; subtracted from the rescaled values, and divided by.

    Raises:
        ValueError: The crop is larger than what the resize leaves of any picture.
    """

    resize: tuple[int, int] | int | None
    crop: tuple[int, int] | None = None
    resample: int = 2
    rescale_factor: float = 1 / 255
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        if (
            isinstance(self.resize, tuple)
            and self.crop
            and not (self.crop[0] <= self.resize[0] and self.crop[1] <= self.resize[1])
        ):
            raise ValueError(
                f"A centre crop of {_by(self.crop)} pixels would put pictures that are resized to {_by(self.resize)} "
                "into a black frame: set do_center_crop=False, or a size that is no smaller than crop_size."
            )

    @classmethod
    def of(cls, processor: Any) -> "Preprocessing":
        """The steps of an image processor: `CDEImageProcessor`, or a backbone's own from Transformers."""
        found = plain_settings({name: getattr(processor, name, None) for name in [*SETTINGS, "crop_pct"]})
        size = _plain_sides(found["size"])
        crop = _plain_sides(found.get("crop_size", found["size"])) if found.get("do_center_crop") else None
        if isinstance(crop, int):
            crop = (crop, crop)
        resize = size if found.get("do_resize", True) else None
        normalize = found.get("do_normalize", True)
        return cls(
            resize=resize,
            crop=None if crop == resize else crop,
            resample=int(found.get("resample", 2)),
            rescale_factor=float(found.get("rescale_factor", 1 / 255)) if found.get("do_rescale", True) else 1.0,
            mean=_per_channel(found.get("image_mean", 0.5) if normalize else 0.0),
            std=_per_channel(found.get("image_std", 0.5) if normalize else 1.0),
        )

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of what is seen.

        Raises:
            ValueError: They depend on the picture, which is not resized.
        """
        if self.crop is not None:
            return self.crop
        if not isinstance(self.resize, tuple):
            raise ValueError(
                "The image processor leaves each picture its own size, and the model needs one size for all: set "
                "do_resize=True and size."
            )
        return self.resize

    def resized(self, height: float, width: float) -> tuple[int, int]:
        """Height and width of a picture after the resize."""
        if self.resize is None:
            return int(height), int(width)
        if isinstance(self.resize, tuple):
            return self.resize
        longer = int(self.resize * max(height, width) / min(height, width))
        return (longer, self.resize) if width <= height else (self.resize, longer)

    def seen(self, height: float, width: float) -> tuple[float, float, float, float]:
        """Left, top, right and bottom, in pixels of the picture, of the part that the crop keeps."""
        if self.crop is None:
            return 0.0, 0.0, float(width), float(height)
        resized = self.resized(height, width)
        top, left = ((whole - kept) // 2 for whole, kept in zip(resized, self.crop, strict=True))
        down, right = height / resized[0], width / resized[1]  # pixels of the picture per resized one
        return left * right, top * down, (left + self.crop[1]) * right, (top + self.crop[0]) * down

    def box_region(
        self,
        box: Sequence[int],
        picture: tuple[int, int],
        margin: float = CROP_MARGIN,
        pair_id: str | None = None,
    ) -> Region:
        """The part of a picture (width, height) that is seen of a box (inclusive): as a picture of its own would be.

        Raises:
            ValueError: The box is not inside the picture, see `checked_box`; or see `output`.
        """
        region = box_region(box, picture, self.output, margin, pair_id)
        if self.crop is None:
            return region
        left, top, right, bottom = self.seen(region.bottom - region.top, region.right - region.left)
        return Region(region.left + left, region.top + top, region.left + right, region.top + bottom)

    def region(self, image: "Image.Image", region: Region, name: str) -> "np.ndarray[Any, Any]":
        """What is seen of a region of a picture from `opened_to_cut`: (H, W, 3) uint8."""
        height, width = self.output
        return cut(image, region, (width, height), self.resample, name)

    def picture(self, image: "Image.Image") -> "np.ndarray[Any, Any]":
        """What is seen of an RGB picture: (H, W, 3) uint8."""
        if self.resize is not None:
            height, width = self.resized(image.height, image.width)
            image = image.resize((width, height), resample=self.resample)
        if self.crop is not None:
            top, left = (image.height - self.crop[0]) // 2, (image.width - self.crop[1]) // 2
            image = image.crop((left, top, left + self.crop[1], top + self.crop[0]))  # black outside of it
        return np.asarray(image)

    def values(self, pixels: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        """Pixel values (..., C, H, W), float32, of bytes, or of float32 in [0, 255], which is overwritten."""
        # By NumPy and in place: faster than by torch, and it takes no threads from a model at work.
        out = pixels if pixels.dtype == np.float32 else None
        values: np.ndarray[Any, Any] = np.multiply(pixels, self.rescale_factor, out=out, dtype=np.float32)
        values -= np.array(self.mean, dtype=np.float32)[:, None, None]
        values /= np.array(self.std, dtype=np.float32)[:, None, None]
        return values


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a backbone's own image processor as settings of `CDEImageProcessor`, without those that are None.

    A `crop_pct` (ConvNeXt, ResNet) becomes a resize and a centre crop. A shortest edge that no crop follows becomes a
    square, the only shape that fits every picture of a batch.
    """
    options = {name: settings[name] for name in SETTINGS if settings.get(name) is not None}
    for name in ("size", "crop_size"):
        if name in options and not isinstance(options[name], int):
            options[name] = {key: int(side) for key, side in dict(options[name]).items() if side is not None}
    edge = options["size"].get("shortest_edge") if isinstance(options.get("size"), dict) else None
    if settings.get("crop_pct") and edge:  # the crop is a share of the resized picture
        if edge < 384:
            options["size"] = {"shortest_edge": int(edge / settings["crop_pct"])}
            options.update(do_center_crop=True, crop_size=edge)
        else:
            options["size"] = edge
    elif edge and not options.get("do_center_crop"):
        options["size"] = edge
    return options


def _plain_sides(size: int | Mapping[str, int]) -> tuple[int, int] | int:
    """Height and width, or the shorter edge as a number."""
    if isinstance(size, int):
        return size, size
    return int(size["shortest_edge"]) if "height" not in size else (int(size["height"]), int(size["width"]))


def _per_channel(value: Any) -> tuple[float, ...]:
    return tuple(map(float, [value] * 3 if isinstance(value, (int, float, np.number)) else value))


def _by(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
