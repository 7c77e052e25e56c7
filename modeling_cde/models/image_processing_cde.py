"""Image processor for pairs: two pictures in, `pixel_values` (B, 2, C, H, W) out; PIL and torch only."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoImageProcessor, BatchFeature
from transformers.image_processing_base import ImageProcessingMixin
from transformers.image_processing_utils import BaseImageProcessor
from transformers.utils import is_vision_available

from .limits_cde import check_config_files
from .pictures_cde import load_picture as load_picture  # the pipeline imports it from here, so this file travels too
from .preprocessing_cde import Preprocessing, plain_settings

if is_vision_available():  # this file travels with every model, also to machines without Pillow
    from PIL import Image

_MOST_STRETCH = 1.02  # between the shapes (width / height) of the two pictures of a pair
_LARGEST_SIDE = 16_384  # of a processed image, in pixels
_CALL = "processor(before, after), with two images, or two lists of images of equal length"


class CDEImageProcessor(BaseImageProcessor):  # type: ignore[misc]
    """Resizes, crops and normalises the before and the after image of pairs in the same way.

    The values equal those of the backbone's own processor for the same picture; `from_backbone` copies its settings.

    Args:
        size: Target of the resize: a side, `{"height": h, "width": w}`, or `{"shortest_edge": s}`, which keeps the
            aspect ratio and so needs a centre crop.
        image_mean, image_std: Per channel, for values in [0, 1]; a number stands for all three.
        resample: PIL's number of the filter: 2 bilinear, 3 bicubic, 1 Lanczos, 0 nearest.
        do_resize, do_center_crop, do_rescale, do_normalize: Which steps are done, in this order.
        crop_size: Size of the centre crop, a side or `{"height": h, "width": w}`; default: `size`.
        rescale_factor: Maps bytes to [0, 1].
        **kwargs: Kept, as in every Transformers image processor.

    Examples:
        >>> processor = CDEImageProcessor(size=96)
        >>> processor(Image.new("RGB", (64, 48)), Image.new("RGB", (64, 48)))["pixel_values"].shape
        torch.Size([1, 2, 3, 96, 96])
    """

    model_input_names = ["pixel_values"]
    _auto_class = "AutoImageProcessor"

    def __init__(
        self,
        size: int | dict[str, int] = 224,
        image_mean: float | Sequence[float] = 0.5,
        image_std: float | Sequence[float] = 0.5,
        resample: int = 2,
        do_resize: bool = True,
        do_center_crop: bool = False,
        crop_size: int | dict[str, int] | None = None,
        do_rescale: bool = True,
        rescale_factor: float = 1 / 255,
        do_normalize: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size = _size(size, "size")
        self.crop_size = _size(crop_size, "crop_size") if crop_size is not None else None
        self.image_mean = _channels(image_mean, "image_mean")
        self.image_std = _channels(image_std, "image_std")
        if min(self.image_std) <= 0:
            raise ValueError(f"CDEImageProcessor.image_std must be above 0, not {image_std!r}.")
        if resample not in range(6):
            raise ValueError(f"CDEImageProcessor.resample must be PIL's number of a filter, 0 to 5, not {resample!r}.")
        if not _is_number(rescale_factor) or not 0 < rescale_factor < float("inf"):
            raise ValueError(f"CDEImageProcessor.rescale_factor must be a number above 0, not {rescale_factor!r}.")
        self.resample = int(resample)
        self.do_resize = do_resize
        self.do_center_crop = do_center_crop
        self.do_rescale = do_rescale
        self.rescale_factor = rescale_factor
        self.do_normalize = do_normalize
        if do_center_crop and "height" not in (self.crop_size or self.size):
            raise ValueError(
                f"CDEImageProcessor cannot crop to {self.crop_size or self.size}: give crop_size a height and a width."
            )
        if do_resize and not do_center_crop and "height" not in self.size:
            raise ValueError(
                f"CDEImageProcessor with size={self.size} keeps the aspect ratio, so that images of a batch may differ "
                'in shape: add do_center_crop=True and crop_size, or give size a "height" and a "width".'
            )
        Preprocessing.of(self)  # what it refuses is refused now

    @classmethod
    def get_image_processor_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reads saved settings; see `transformers.ImageProcessingMixin`. ValueError if the file is too large."""
        check_config_files(pretrained_model_name_or_path)
        return super().get_image_processor_dict(pretrained_model_name_or_path, **kwargs)  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, image_processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Makes a processor from saved settings; see `transformers.ImageProcessingMixin.from_dict`.

        Raises:
            ValueError: They are not settings, or lack one whose default would not fit every model.

        Warns:
            UserWarning: They may be of an early training run, which saved the backbone's centre crop beside the size
                of its own pictures, though it trained on those without a crop. A crop larger than the picture is left
                out; a smaller one may also be meant, and is done.
        """
        if not isinstance(image_processor_dict, dict):
            raise ValueError("preprocessor_config.json does not contain the settings of a processor.")
        for name in ("size", "image_mean", "image_std"):
            if image_processor_dict.get(name) is None and kwargs.get(name) is None:
                raise ValueError(f"preprocessor_config.json lacks {name}: save the processor again by save_pretrained.")
        if image_processor_dict.get("do_center_crop") and not {"size", "do_center_crop"} & set(kwargs):
            image_processor_dict = _without_stray_crop(image_processor_dict)
        return super().from_dict(image_processor_dict, **kwargs)

    @classmethod
    def from_backbone(
        cls, backbone: str | os.PathLike[str] | Any, *, revision: str | None = None, **overrides: Any
    ) -> "CDEImageProcessor":
        """Makes a pair processor with the settings of a backbone's own image processor.

        Args:
            backbone: Hub id, local folder, or an image processor of Transformers.
            revision: Branch, tag or commit of the Hub repository.
            **overrides: Settings of `CDEImageProcessor` that override the backbone's, for example `size=96` (which then
                is the size of the result: no crop follows unless you ask for one).

        Raises:
            OSError: The folder or repository has no image processor.
        """
        if isinstance(backbone, (str, os.PathLike)):
            settings = _read_settings(backbone, revision)
        else:
            settings = {**_class_defaults(backbone), **backbone.to_dict()}
        options = plain_settings(settings)
        if "size" in overrides and "do_center_crop" not in overrides:
            options.update(do_resize=True, do_center_crop=False, crop_size=None)
        return cls(**{**options, **overrides})

    def __call__(
        self, before: Any, after: Any = None, return_tensors: str | None = "pt", box: Any = None, **kwargs: Any
    ) -> BatchFeature:
        """Processes pairs.

        Args:
            before: The first image, or a list of B: PIL images, paths, URLs (http, https), arrays or tensors (H, W, C)
                or (C, H, W), as bytes or as floats in [0, 1].
            after: The second image, or a list of B.
            return_tensors: `"pt"` or `"np"`.
            box: For a model that was trained on crops: xmin, ymin, xmax, ymax of the object in pixels of both pictures,
                bounds inclusive, or a list of B of them. What is seen is then what training saw, the box with a margin
                in the shape of the result.
            **kwargs: Settings that override those of the processor for this call.

        Returns:
            `pixel_values`, float32, (B, 2, C, H, W); B = 1 for a single pair.

        Raises:
            TypeError: `after` is missing, or an input is not an image.
            ValueError: The lists differ in length, an array is not an image, or a box is not inside its pictures.
            BadPictureError: A file or URL does not exist or is not a picture that is accepted, see `pictures_cde`; it
                is an OSError and a ValueError.
        """
        if after is None:
            raise TypeError(f"CDEImageProcessor got one argument with images and needs two: call {_CALL}.")
        settings = type(self)(**{**self.__dict__, **kwargs}) if kwargs else self
        before_list, after_list = _as_list(before), _as_list(after)
        if len(before_list) != len(after_list) or not before_list:
            raise ValueError(
                f"CDEImageProcessor got {len(before_list)} before and {len(after_list)} after images: call {_CALL}."
            )
        boxes = [None] * len(before_list) if box is None else [box] if _is_box(box) else list(box)
        if len(boxes) != len(before_list) or not all(one is None or _is_box(one) for one in boxes):
            raise ValueError(
                f"CDEImageProcessor got {box!r} as the box of {len(before_list)} pairs: give four whole numbers xmin, "
                "ymin, xmax, ymax for each."
            )
        steps = settings.preprocessing
        images = []  # 2B of (C, H, W)
        for first, second, place in zip(before_list, after_list, boxes, strict=True):
            if place is None:
                images += [_values(steps, image) for image in _load_pair(first, second)]
            else:
                images += settings.boxed_pair(load_picture(first, True), load_picture(second, True), place)
        if len(shapes := {image.shape for image in images}) > 1:
            raise ValueError(f"The processed images differ in shape, {sorted(shapes)}: use do_resize=True.")
        pixel_values = torch.from_numpy(np.stack(images)).view(-1, 2, *images[0].shape)  # (B, 2, C, H, W)
        return BatchFeature(data={"pixel_values": pixel_values}, tensor_type=return_tensors)

    @property
    def preprocessing(self) -> Preprocessing:
        """The steps that the settings ask for."""
        return Preprocessing.of(self)

    def process(self, image: Any) -> torch.Tensor:
        """Returns one image as a float32 tensor (C, H, W)."""
        return torch.from_numpy(_values(self.preprocessing, image))

    def boxed_pair(self, before: Any, after: Any, box: Sequence[int]) -> list["np.ndarray[Any, Any]"]:
        """What is seen of a box (inclusive) in two pictures from `load_picture(..., to_cut=True)`: (C, H, W) each.

        Raises:
            ValueError: The pictures differ in size, or the box is not inside them.
        """
        if before.size != after.size:
            sizes = " and ".join(f"{width}x{height}" for width, height in (before.size, after.size))
            raise ValueError(
                f"A box is in pixels of both pictures, but these have {sizes}: scale one to the size of the other."
            )
        steps = self.preprocessing
        region = steps.box_region(box, before.size)
        return [_channels_first(steps, steps.region(image, region, "The picture")) for image in (before, after)]

    def original_box(
        self, box: tuple[int, int, int, int], processed: tuple[int, int], original: tuple[int, int]
    ) -> tuple[int, int, int, int]:
        """Maps a box of a processed image to the picture that it was made from.

        Args:
            box: Left, top, right and bottom pixel, all inclusive, of the processed image.
            processed: Height and width of the processed image.
            original: Height and width of the picture.

        Returns:
            The box in the picture: every pixel that it covers, also in part. Parts outside the picture (a crop larger
            than the picture adds a black border) are cut off, but at least one pixel remains.
        """
        height, width = self.preprocessing.resized(*original)
        top, left = ((height - processed[0]) // 2, (width - processed[1]) // 2) if self.do_center_crop else (0, 0)
        x0, x1 = _stretched(box[0] + left, box[2] + left, width, original[1])
        y0, y1 = _stretched(box[1] + top, box[3] + top, height, original[0])
        return x0, y0, x1, y1


def _values(steps: Preprocessing, image: Any) -> "np.ndarray[Any, Any]":
    """What a model sees of one image: (C, H, W) float32."""
    return _channels_first(steps, steps.picture(load_picture(image)))


def _channels_first(steps: Preprocessing, pixels: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Values (C, H, W), float32, of bytes (H, W, C)."""
    return steps.values(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _stretched(first: int, last: int, from_length: int, to_length: int) -> tuple[int, int]:
    """The pixels of a line of `to_length` that the pixels first ... last of the same line in `from_length` cover."""
    start = first * to_length // from_length
    end = -(-(last + 1) * to_length // from_length) - 1
    return min(max(start, 0), to_length - 1), min(max(end, 0), to_length - 1)


def _without_stray_crop(settings: dict[str, Any]) -> dict[str, Any]:
    """Saved settings without a centre crop that is larger than the picture; see `CDEImageProcessor.from_dict`."""
    size, crop = (_size(settings.get(name) or settings["size"], name) for name in ("size", "crop_size"))
    if crop == size or not {"height", "width"} <= set(size) & set(crop):
        return settings
    sizes = f"{size['width']}x{size['height']} pixels and cuts out the central {crop['width']}x{crop['height']}"
    found = f"preprocessor_config.json resizes pictures to {sizes}"
    if crop["height"] <= size["height"] and crop["width"] <= size["width"]:
        warnings.warn(
            f"{found}: if it is of a training run with an image_size of its own, that saw the whole picture; then load "
            "it with do_center_crop=False and save it again.",
            stacklevel=4,
        )
        return settings
    warnings.warn(
        f"{found}, which would put them into a black frame: the crop is left out, as it was in training; save the "
        "processor again to keep it so.",
        stacklevel=4,
    )
    return {**settings, "do_center_crop": False, "crop_size": None}


def _size(size: int | dict[str, int], name: str) -> dict[str, int]:
    """Sides as a dict with `height` and `width`, or with `shortest_edge`."""
    sides: dict[str, Any] = {}
    if isinstance(size, int):
        sides = {"height": size, "width": size}
    elif isinstance(size, Mapping):
        sides = {key: size[key] for key in ("height", "width", "shortest_edge") if size.get(key)}
    good = set(sides) in ({"height", "width"}, {"shortest_edge"})
    if not good or not all(
        _is_number(side) and 1 <= side <= _LARGEST_SIDE and side == int(side) for side in sides.values()
    ):
        raise ValueError(
            f'CDEImageProcessor.{name} must be a side, {{"height": h, "width": w}} or {{"shortest_edge": s}}, in '
            f"pixels from 1 to {_LARGEST_SIDE}, not {size}."
        )
    return {key: int(side) for key, side in sides.items()}


def _channels(value: float | Sequence[float], name: str) -> list[float]:
    values: list[Any] = list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value] * 3
    if len(values) != 3 or not all(_is_number(item) and abs(item) < float("inf") for item in values):
        raise ValueError(f"CDEImageProcessor.{name} must be a number or three of them, not {value!r}.")
    return [float(item) for item in values]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _is_box(value: Any) -> bool:
    """Whether this is one box, and not a list of them."""
    return (
        isinstance(value, (list, tuple, np.ndarray))
        and len(value) == 4
        and all(_is_number(bound) and bound == int(bound) for bound in value)
    )


def _load_pair(before: Any, after: Any) -> tuple["Image.Image", "Image.Image"]:
    """Loads both pictures of a pair; warns if their shapes show that they cannot be of one view."""
    pictures = load_picture(before), load_picture(after)
    (width, height), (other_width, other_height) = pictures[0].size, pictures[1].size
    stretch = (width * other_height) / (height * other_width)
    if max(stretch, 1 / stretch) > _MOST_STRETCH:
        warnings.warn(
            f"The pictures of a pair differ in shape, {width}x{height} pixels before and {other_width}x{other_height} "
            "after: each is scaled by itself, so places in them do not correspond; use pictures of one view.",
            stacklevel=4,
        )
    return pictures


def _as_list(images: Any) -> list[Any]:
    """A list of images; one image becomes a list of one, a (B, ...) array a list of B."""
    if isinstance(images, (np.ndarray, torch.Tensor)) and images.ndim == 4:
        return list(images)
    return list(images) if isinstance(images, (list, tuple)) else [images]


def _read_settings(backbone: str | os.PathLike[str], revision: str | None) -> dict[str, Any]:
    """Settings of the image processor in a folder or Hub repository."""
    check_config_files(backbone)
    try:
        found = AutoImageProcessor.from_pretrained(backbone, revision=revision, trust_remote_code=False, backend="pil")
        return {**_class_defaults(found), **found.to_dict()}
    except (ImportError, OSError, ValueError) as error:  # DINOv3's has no class without torchvision
        try:
            settings, _ = ImageProcessingMixin.get_image_processor_dict(backbone, revision=revision)
        except OSError:
            raise OSError(
                f"{backbone} has no preprocessor_config.json to take settings from: make the processor by hand, for "
                "example CDEImageProcessor(size=224, image_mean=[...], image_std=[...])."
            ) from error
        return dict(settings)


def _class_defaults(processor: Any) -> dict[str, Any]:
    """Returns the settings that a processor keeps on its class."""
    names = ("size", "image_mean", "image_std", "resample", "do_center_crop", "crop_size", "crop_pct")
    return {name: getattr(processor, name, None) for name in names}
