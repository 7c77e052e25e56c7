"""Masks go through the very same cut as the pictures; what stands in for them where they are missing."""

from __future__ import annotations

import io

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modeling_cde.data.augmentation import Augmentation
from modeling_cde.data.collator import PairCollator
from modeling_cde.data.masks import cut_masks, read_masks
from modeling_cde.data.schema import pair_features
from modeling_cde.data.transforms import PairTransform
from modeling_cde.models.regions_cde import Region
from tests.data.tiny_pairs import picture, rows

WIDTH, HEIGHT = 60, 50


def blob(seed: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A random mask of a few rectangles."""
    generator = np.random.default_rng(seed)
    mask = np.zeros((height, width), dtype=bool)
    for _ in range(4):
        x, y = generator.integers(0, width), generator.integers(0, height)
        mask[y : y + generator.integers(1, 20), x : x + generator.integers(1, 20)] = True
    return mask


def stored(mask: np.ndarray) -> dict[str, object]:
    """A mask as a data set has it."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def naive_cut(mask: np.ndarray, region: Region, size: tuple[int, int]) -> np.ndarray:
    """The stored pixel under the centre of each pixel of the result."""
    height, width = size
    cut = np.zeros(size, dtype=np.float32)
    for row in range(height):
        for column in range(width):
            x = region.left + (column + 0.5) * (region.right - region.left) / width
            y = region.top + (row + 0.5) * (region.bottom - region.top) / height
            cut[row, column] = mask[int(y), int(x)]
    return cut


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    # Odd fractions, so that no centre falls on the edge between two stored pixels.
    left=st.integers(0, 20).map(lambda x: x + 0.13),
    top=st.integers(0, 20).map(lambda y: y + 0.29),
    extent=st.tuples(st.floats(3, 29).map(lambda w: w + 0.0007), st.floats(3, 29).map(lambda h: h + 0.0003)),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    mirrored=st.booleans(),
)
def test_a_cut_equals_the_naive_one(seed, left, top, extent, size, mirrored):
    region = Region(left, top, left + extent[0], top + extent[1])
    masks = blob(seed), blob(seed + 1)
    cut = cut_masks((stored(masks[0]), stored(masks[1])), None, (WIDTH, HEIGHT), region, size, mirrored)
    assert cut.shape == (2, *size) and cut.dtype == torch.float32
    for frame, mask in zip(cut.numpy(), masks, strict=True):
        expected = naive_cut(mask, region, size)
        # A centre within rounding of an edge may go either way.
        assert (frame != (expected[:, ::-1] if mirrored else expected)).mean() <= 0.02


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    pair=st.text(max_size=8),
    epoch=st.integers(0, 9),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    crop=st.sampled_from(["box", "none"]),
)
def test_masks_lie_on_the_pictures_through_every_random_change(seed, pair, epoch, size, crop):
    """Pictures that show nothing but their masks, scaled by nearest neighbour too, are the masks, pixel by pixel."""
    turned = Augmentation(min_area=0.3, max_aspect=2, flip=0.5, brightness=0, contrast=0, saturation=0)
    nearest = Image.Resampling.NEAREST
    transform = PairTransform(
        size, (0, 0, 0), (1, 1, 1), crop, augment=turned, seed=seed, resample=nearest, extras=("masks",)
    )
    transform.set_epoch(epoch)
    masks = [stored(blob(seed)), stored(blob(seed + 1))]
    batch = {"before": [masks[0]], "after": [masks[1]], "mask_before": [masks[0]], "mask_after": [masks[1]]}
    batch |= {"action": [0], "box": [[11, 7, 30, 40]], "pair_id": [pair]}
    out = transform(batch)
    assert torch.equal(out["masks"][0], out["pixel_values"][0][:, 0].round())


def test_what_stands_in_for_missing_masks():
    whole = Region(0, 0, WIDTH, HEIGHT)
    box, mask = [10, 5, 29, 24], blob(0)
    filled = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    filled[5:25, 10:30] = 1
    size = (HEIGHT, WIDTH)
    given = {(None, None): (filled, filled), (None, "mask"): (mask, mask), ("mask", None): (mask, mask)}
    for names, expected in given.items():
        columns = tuple(stored(mask) if name else None for name in names)
        cut = cut_masks(columns, box, (WIDTH, HEIGHT), whole, size)
        assert torch.equal(cut, torch.from_numpy(np.stack(expected).astype(np.float32)))
    assert torch.equal(cut_masks((None, None), None, (WIDTH, HEIGHT), whole, (4, 6)), torch.ones(2, 4, 6))
    nothing = np.zeros((HEIGHT, WIDTH), dtype=bool)  # not seen before, which is not the same as not known
    cut = cut_masks((stored(nothing), stored(mask)), box, (WIDTH, HEIGHT), whole, size)
    assert cut[0].sum() == 0 and cut[1].sum() == mask.sum()


def test_masks_of_other_kinds_are_read():
    mask = blob(3)
    for image in (Image.fromarray(mask), Image.fromarray(np.where(mask, 200, 60).astype(np.uint8))):
        before, after = read_masks((image, None), (WIDTH, HEIGHT))
        assert (before == mask).all() and (after == mask).all()


def test_errors_name_the_pair():
    box = [0, 0, 5, 5]
    with pytest.raises(ValueError, match="mask_after of pair p1 has 12x12 pixels and its pictures have 60x50"):
        read_masks((None, picture(0, mode="L")), (WIDTH, HEIGHT), "p1")
    with pytest.raises(ValueError, match="'mask_before' of pair p1 cannot be read"):
        read_masks((b"no picture", None), (WIDTH, HEIGHT), "p1")
    with pytest.raises(ValueError, match="'mask_before' of pair p1 cannot be read as an image: it is damaged"):
        broken = stored(np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.5)["bytes"]
        read_masks((broken[: len(broken) // 2], None), (WIDTH, HEIGHT), "p1")
    with pytest.raises(ValueError, match="box .* of pair p1 is not inside its picture"):
        cut_masks((None, None), [0, 0, 60, 5], (WIDTH, HEIGHT), Region(0, 0, 9, 9), (3, 3), pair_id="p1")
    with pytest.raises(ValueError, match="extras is .'mask',.; give a tuple of some of objects, masks"):
        PairTransform((8, 8), extras=("mask",))
    with pytest.raises(ValueError, match="extras is 'masks'"):
        PairTransform((8, 8), extras="masks")
    with pytest.raises(ValueError, match="needs the column object"):
        batch = {"before": [picture(0)], "after": [picture(0)], "action": [0], "box": [box]}
        PairTransform((8, 8), extras=("objects",))(batch)


def test_a_data_set_gives_batches_with_extras():
    features = pair_features(["open", "close", "break", "turnon", "turnoff"], [f"object{i}" for i in range(10)])
    data = datasets.Dataset.from_list(rows(6), features=features)  # every other pair without box and masks
    for column in ("before", "after", "mask_before", "mask_after"):
        data = data.cast_column(column, datasets.Image(decode=False))
    plain = PairTransform((8, 8), crop="none")
    transform = PairTransform((8, 8), crop="none", extras=("objects", "masks"))
    items = data.with_transform(transform)
    batch = PairCollator()([items[i] for i in range(6)])
    assert set(batch) == {"pixel_values", "labels", "objects", "masks"}
    assert batch["objects"].tolist() == data["object"][:] and batch["objects"].dtype == torch.int64
    assert batch["masks"].shape == (6, 2, 8, 8) and batch["masks"].dtype == torch.float32
    assert (batch["masks"][1] == 1).all() and 0 < batch["masks"][0].mean() < 1
    without = PairCollator()([data.with_transform(plain)[i] for i in range(6)])
    assert set(without) == {"pixel_values", "labels"}
    assert torch.equal(without["pixel_values"], batch["pixel_values"])


def test_pictures_are_the_pixels_before_normalisation():
    before, after = picture(1, 16, 12), picture(2, 16, 12)
    transform = PairTransform((12, 16), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), crop="none")
    pictures = transform.pictures(transform.pixel_values(before, after))
    for found, encoded in zip(pictures, (before, after), strict=True):
        assert (found.numpy() == np.asarray(Image.open(io.BytesIO(encoded)))).all()
    assert pictures.dtype == torch.uint8
    assert transform.pictures(torch.full((1, 3, 2, 2), 99.0)).eq(255).all()
