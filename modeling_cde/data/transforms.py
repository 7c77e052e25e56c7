"""Turns encoded pairs into pixel values, with the same random change of both pictures.

Notable:

- What is seen of a picture is decided by `preprocessing_cde`, as for the image processor: without augmentation the
  values of a whole picture are the processor's, bit for bit.
- Of a box, or with augmentation, one PIL call cuts the region out and scales it (`resize(box=...)`), so only what is
  shown is scaled; large JPEGs are decoded at a fraction of their size if that is enough.
- Randomness depends only on (seed, epoch, pair_id): not on the worker, the process, the position in the batch or
  earlier draws. A global generator could not do this: data loaders read ahead of the step whose state a checkpoint
  keeps, so after a resume the same pictures would get other numbers.
- The frames of a pair are always mirrored and coloured together: an action stays that action, and two identical
  pictures stay identical, bit for bit. Only the copies of `swapped_pairs` are swapped, whose labels say so.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
import torch

from ..models.preprocessing_cde import Preprocessing
from ..models.regions_cde import CROP_MARGIN, Region
from .augmentation import Augmentation, jitter, random_region
from .crops import cut_region, open_picture, whole_picture
from .masks import EXTRAS, cut_masks
from .schema import SWAPPED


class PairTransform:
    """Turn rows of a pair data set into pixel values; `transform_pairs` applies it to loaded and streamed pairs.

    Args:
        size: (height, width) of the pixel values.
        mean: Mean of each channel that is subtracted, for colours in [0, 1]; 3 numbers.
        std: Standard deviation of each channel that is divided by; 3 numbers.
        crop: `"box"`: see `box_region`; what is cut out is then seen as a picture of its own would be. `"none"`: the
            whole picture.
        crop_margin: Room around the box on each side, as a share of the longer side of the box, >= 0.
        augment: `True` for `Augmentation()`, an `Augmentation`, or None/False for none (evaluation).
        seed: Of the augmentation.
        resample: PIL's resampling filter; shrinking is antialiased.
        extras: What some methods take besides the pictures (`extra_inputs` of their models):
            `"objects"`: the class id of each pair's object, from the column `object`.
            `"masks"`: where the target is, (2, H, W) float32 of 0 and 1, before and after: the columns `mask_before`
            and `mask_after` with the region, mirroring and size of the pictures, by nearest neighbour. A frame
            without a mask uses that of the other; without masks the filled box is used, without a box ones. All
            zeros: the target is outside the region that is shown.
        resize: (height, width), or the shorter edge, that a picture is scaled to before `size` is cut from its centre;
            default `size`, so that nothing is cut off. A box's region loses its rim in the same way.
        rescale_factor: Maps bytes to colours.

    Call it with a batch of columns: `before`, `after` (dict of bytes and path, bytes, or PIL picture),
    `action` (int), with `crop="box"` also `box` (4 ints, inclusive), with augmentation also `pair_id`. It
    returns `pixel_values`, a list of (2, 3, H, W) float32 tensors, `labels`, a list of int, and the extras: `objects`,
    a list of int, and `masks`, a list of tensors. Where the column `SWAPPED` is true (see `with_swapped`), the frames
    and masks of a pair are exchanged after all other changes. Pass the encoded bytes (`load_pairs` does), so that
    unused masks are not decoded.

    Raises:
        ValueError: An argument is out of range, or a pair has a broken picture, pictures or masks of different sizes,
            or lacks the box, object or pair_id that is needed; the message names the pair.
    """

    def __init__(
        self,
        size: tuple[int, int],
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
        crop: str = "box",
        crop_margin: float = CROP_MARGIN,
        augment: Augmentation | bool | None = None,
        seed: int = 0,
        resample: int = PIL.Image.Resampling.BILINEAR,
        extras: Sequence[str] = (),
        resize: tuple[int, int] | int | None = None,
        rescale_factor: float = 1 / 255,
    ) -> None:
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size is {size}; give (height, width) in pixels.")
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f"mean is {mean} and std {std}; give three numbers each, std above 0.")
        if crop not in ("box", "none"):
            raise ValueError(f"crop is {crop!r}; choose box or none.")
        if crop_margin < 0:
            raise ValueError(f"crop_margin is {crop_margin}; give 0 or more.")
        unknown = [name for name in ([extras] if isinstance(extras, str) else extras) if name not in EXTRAS]
        if isinstance(extras, str) or unknown:
            raise ValueError(f"extras is {extras!r}; give a tuple of some of {', '.join(EXTRAS)}.")
        if isinstance(resize, int) and resize < max(size):
            raise ValueError(
                f"A shorter edge of {resize} pixels leaves too little for a centre of {size[1]}x{size[0]}: resize to "
                "at least its longer side."
            )
        self.extras = tuple(extras)
        self.size = (int(size[0]), int(size[1]))
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))
        kept = None if resize in (None, self.size) else self.size
        self.preprocessing = Preprocessing(resize or self.size, kept, resample, rescale_factor, self.mean, self.std)
        self.crop, self.crop_margin = crop, crop_margin
        self.augment = Augmentation() if augment is True else (augment or None)
        self.seed, self.resample = seed, resample
        # Shared memory, so that data loader workers that outlive an epoch see the next one.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    @classmethod
    def from_processor(cls, processor: Any, **options: Any) -> PairTransform:
        """A transform that shows what an image processor shows, with other `options`.

        The processor is a `CDEImageProcessor`, or a backbone's own of Transformers. With `size` among the options, a
        picture is resized to it and the processor's centre crop left out.

        Raises:
            ValueError: The processor does not resize, or its centre crop is larger than a resized picture.
        """
        seen = Preprocessing.of(processor)
        if seen.resize is None:
            raise ValueError("The image processor has do_resize=False, but pairs need one size: set do_resize=True.")
        if "size" not in options:
            options |= {"size": seen.output, "resize": seen.resize}
        own = {name: getattr(seen, name) for name in ("mean", "std", "resample", "rescale_factor")}
        return cls(**{**own, **options})

    @property
    def epoch(self) -> int:
        """The epoch whose random changes are used."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Use the changes of this epoch from now on; call it before each epoch."""
        self._epoch.fill_(epoch)

    def __deepcopy__(self, memo: dict[int, Any]) -> PairTransform:
        # datasets copies its transform in select(), shuffle() and so on; set_epoch must reach the copies.
        return self

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        number = len(batch["before"])
        boxes = batch.get("box") or [None] * number
        pair_ids = batch.get("pair_id") or [None] * number
        if None in batch["action"]:
            pair_id = (batch.get("pair_id") or batch["action"])[batch["action"].index(None)]
            raise ValueError(f"The action of pair {pair_id} is missing; it must be one of the data set's classes.")
        result: dict[str, list[Any]] = {"pixel_values": [], "labels": [int(action) for action in batch["action"]]}
        if "objects" in self.extras:
            if "object" not in batch:
                raise ValueError("extras=('objects',) needs the column object, which this data set lacks.")
            result["objects"] = [int(kind) for kind in batch["object"]]
        with_masks = "masks" in self.extras
        masks = [batch.get(column) or [None] * number for column in ("mask_before", "mask_after")]
        swapped = batch.get(SWAPPED) or [False] * number
        for i in range(number):
            images = _open_pair(batch["before"][i], batch["after"][i], pair_ids[i])
            pixels, region, mirrored = self._transform(images, boxes[i], pair_ids[i])
            result["pixel_values"].append(pixels.flip(0) if swapped[i] else pixels)
            if with_masks:
                stored = (masks[0][i], masks[1][i])
                cut = cut_masks(stored, boxes[i], images[0].size, region, self.size, mirrored, pair_ids[i])
                result.setdefault("masks", []).append(cut.flip(0) if swapped[i] else cut)
        return result

    def pixel_values(
        self, before: Any, after: Any, box: Sequence[int] | None = None, pair_id: str | None = None
    ) -> torch.Tensor:
        """One pair: (2, 3, H, W) float32, normalised. Arguments and errors as in a call with a batch."""
        return self._transform(_open_pair(before, after, pair_id), box, pair_id)[0]

    def region(self, picture: tuple[int, int], box: Sequence[int] | None, pair_id: str | None = None) -> Region:
        """The part of a picture (width, height) that is shown, before any random change and after a centre crop.

        Raises:
            ValueError: With `crop="box"`, the box (inclusive) is missing or not inside the picture.
        """
        if self.crop == "none":
            return Region(*self.preprocessing.seen(picture[1], picture[0]))
        if box is None:
            raise ValueError(f"Pair {pair_id} has no box to crop to; use crop='none' or store boxes.")
        return self.preprocessing.box_region(box, picture, self.crop_margin, pair_id)

    def pictures(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Turn pixel values (..., 3, H, W) back into colours that can be looked at: (..., H, W, 3) uint8, rounded."""
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.mean, self.std))
        colours = (pixel_values * std + mean) / self.preprocessing.rescale_factor
        return colours.round().clamp(0, 255).to(torch.uint8).movedim(-3, -1).contiguous()

    def _transform(
        self, images: tuple[Any, Any], box: Sequence[int] | None, pair_id: str | None
    ) -> tuple[torch.Tensor, Region, bool]:
        """The pixel values of a pair, the region that they show, and whether they are mirrored."""
        region = self.region(images[0].size, box, pair_id)
        generator = None
        if self.augment is not None:
            if pair_id is None:
                raise ValueError("Augmentation is drawn by pair_id; keep that column.")
            generator = random.Random(f"{self.seed}/{self.epoch}/{pair_id}")
            region = random_region(region, self.augment, generator)
        height, width = self.size
        frames = np.empty((2, height, width, 3), dtype=np.uint8)
        for frame, image, column in zip(frames, images, ("before", "after"), strict=True):
            if self.crop == "none" and generator is None:
                frame[...] = whole_picture(image, self.preprocessing, column, pair_id)
            else:
                frame[...] = cut_region(image, region, (width, height), self.resample, column, pair_id)
        pixels: Any = np.ascontiguousarray(frames.transpose(0, 3, 1, 2))  # (2, H, W, 3) -> (2, 3, H, W), bytes
        mirrored = False
        if generator is not None and self.augment is not None:
            coloured = torch.from_numpy(pixels).float()
            mirrored = generator.random() < self.augment.flip
            if mirrored:
                coloured = coloured.flip(-1)
            pixels = jitter(coloured, self.augment, generator).numpy()
        return torch.from_numpy(self.preprocessing.values(pixels)), region, mirrored


def _open_pair(before: Any, after: Any, pair_id: str | None) -> tuple[Any, Any]:
    """Both pictures of a pair, checked to have one size."""
    images = open_picture(before, "before", pair_id), open_picture(after, "after", pair_id)
    if images[0].size != images[1].size:
        raise ValueError(
            f"The pictures of pair {pair_id} have different sizes, {images[0].size} before and "
            f"{images[1].size} after; store both in one size."
        )
    return images
