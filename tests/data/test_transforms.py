"""Pixel values against a naive reference; one random change for both pictures; fixed by (seed, epoch, pair_id)."""

from __future__ import annotations

import copy
import io
import random
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modeling_cde.data.augmentation import Augmentation, jitter, random_region
from modeling_cde.data.collator import PairCollator
from modeling_cde.data.schema import pair_features
from modeling_cde.data.transforms import PairTransform
from modeling_cde.models.regions_cde import Region, box_region
from tests.data.tiny_pairs import picture, rows

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STILL = Augmentation(min_area=1, max_aspect=1, flip=0, brightness=0, contrast=0, saturation=0)


def smooth(width: int, height: int, tint: int = 0) -> Image.Image:
    """A picture without sharp edges, so that resampling details matter little."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 90 * np.sin(x / width * 4 + i + tint) * np.cos(y / height * 3 + i) for i in range(3)]
    return Image.fromarray(np.stack(waves, -1).astype(np.uint8))


def naive(image: Image.Image, region: tuple[int, int, int, int], size: tuple[int, int]) -> torch.Tensor:
    """Crop, resize, scale, normalise, one after another."""
    scaled = image.convert("RGB").crop(region).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    values = (np.asarray(scaled, dtype=np.float64) / 255 - MEAN) / STD
    return torch.tensor(values.transpose(2, 0, 1), dtype=torch.float32)


@pytest.mark.parametrize("size", [(16, 16), (24, 16), (40, 40)])
def test_the_whole_picture_equals_the_reference(size):
    before, after = smooth(32, 20), smooth(32, 20, 1)
    pixels = PairTransform(size, MEAN, STD, crop="none").pixel_values(before, after)
    expected = torch.stack([naive(image, (0, 0, 32, 20), size) for image in (before, after)])
    torch.testing.assert_close(pixels, expected, rtol=0, atol=1e-5)


def test_a_cropped_box_is_near_the_reference():
    # A square box of 20 px and a tenth of margin on each side: 24 px. Pixels at the rim see beyond the crop here.
    before, after = smooth(64, 64), smooth(64, 64, 1)
    pixels = PairTransform((12, 12), MEAN, STD).pixel_values(before, after, [20, 30, 39, 49])
    expected = torch.stack([naive(image, (18, 28, 42, 52), (12, 12)) for image in (before, after)])
    torch.testing.assert_close(pixels, expected, rtol=0, atol=0.1)
    torch.testing.assert_close(pixels[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], rtol=0, atol=1e-5)


def test_region_of_a_box():
    assert box_region([10, 20, 19, 39], (100, 100), (8, 8), 0.0) == Region(5, 20, 25, 40)  # widened to a square
    assert box_region([10, 20, 19, 39], (100, 100), (8, 16), 0.0) == Region(-0 + 0, 20, 40, 40)  # and moved inside
    assert box_region([10, 20, 19, 39], (100, 100), (8, 8), 0.25) == Region(0, 15, 30, 45)
    assert box_region([0, 90, 9, 99], (100, 100), (8, 8), 0.5) == Region(0, 80, 20, 100)
    assert box_region([0, 10, 99, 19], (100, 50), (8, 8), 0.1) == Region(0, 0, 100, 50)  # larger than the picture
    assert box_region([7, 7, 7, 7], (100, 50), (8, 8), 0.0) == Region(7, 7, 8, 8)  # one pixel


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_region_holds_the_box_and_lies_in_the_picture(data):
    width, height = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 300))
    xmin, ymin = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    xmax, ymax = data.draw(st.integers(xmin, width - 1)), data.draw(st.integers(ymin, height - 1))
    size = (data.draw(st.integers(1, 64)), data.draw(st.integers(1, 64)))
    region = box_region([xmin, ymin, xmax, ymax], (width, height), size, data.draw(st.floats(0, 2)))
    slack = 1e-6
    assert -slack <= region.left <= xmin + slack and xmax + 1 - slack <= region.right <= width + slack
    assert -slack <= region.top <= ymin + slack and ymax + 1 - slack <= region.bottom <= height + slack
    part = random_region(region, Augmentation(min_area=0.3, max_aspect=2), random.Random(data.draw(st.integers())))
    assert region.left - slack <= part.left < part.right <= region.right + slack
    assert region.top - slack <= part.top < part.bottom <= region.bottom + slack


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), pair=st.text(max_size=8), size=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_identical_pictures_stay_identical_bit_for_bit(seed, pair, size):
    strong = Augmentation(0.3, 2.0, 0.5, 0.9, 0.9, 0.9)
    image = picture(seed % 7, 31, 23)
    pixels = PairTransform(size, MEAN, STD, "none", augment=strong, seed=seed).pixel_values(image, image, None, pair)
    assert pixels.shape == (2, 3, *size) and pixels.dtype == torch.float32 and pixels.isfinite().all()
    assert torch.equal(pixels[0], pixels[1])


def test_swapping_the_pictures_swaps_the_pixels_and_nothing_else():
    transform = PairTransform((16, 16), MEAN, STD, "none", augment=True)
    one, two = smooth(32, 32), smooth(32, 32, 2)
    forward = transform.pixel_values(one, two, None, "p")
    backward = transform.pixel_values(two, one, None, "p")
    torch.testing.assert_close(forward.flip(0), backward, rtol=0, atol=1e-5)


def test_augmentation_equals_a_naive_reference():
    augment = Augmentation(min_area=1, max_aspect=1, flip=1, brightness=0.3, contrast=0.4, saturation=0.5)
    transform = PairTransform((16, 16), (0, 0, 0), (1, 1, 1), "none", augment=augment, seed=4)
    images = [smooth(16, 16), smooth(16, 16, 1)]
    pixels = transform.pixel_values(*images, None, "p")
    generator = random.Random("4/0/p")
    for _ in range(5):  # area, aspect, left, top, flip
        generator.random()
    b, c, s = generator.uniform(0.7, 1.3), generator.uniform(0.6, 1.4), generator.uniform(0.5, 1.5)
    x = np.stack([np.asarray(image, dtype=np.float64) for image in images])[:, :, ::-1]  # mirrored
    grey = x @ np.array([0.299, 0.587, 0.114])
    x = (x * s + grey[..., None] * (1 - s)) * b
    x = x * c + (1 - c) * (grey * b).mean()  # saturation leaves the mean grey alone
    expected = torch.tensor(np.clip(x, 0, 255).transpose(0, 3, 1, 2) / 255, dtype=torch.float32)
    torch.testing.assert_close(pixels, expected, rtol=0, atol=1e-5)


def test_no_change_is_no_change():
    image = smooth(20, 20)
    plain = PairTransform((16, 16), MEAN, STD, "none").pixel_values(image, image)
    still = PairTransform((16, 16), MEAN, STD, "none", augment=STILL).pixel_values(image, image, None, "p")
    torch.testing.assert_close(plain, still, rtol=0, atol=1e-5)


def places(width: int, height: int, blue: int) -> Image.Image:
    """A picture whose red says where a pixel is from left to right, green from top to bottom; blue says which it is."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([4 * x, 4 * y, np.full_like(x, blue)], -1).astype(np.uint8))


@settings(max_examples=100, deadline=None)
@given(pair=st.text(max_size=8), epoch=st.integers(0, 50), size=st.tuples(st.integers(2, 40), st.integers(2, 40)))
def test_both_pictures_are_cut_and_mirrored_alike_and_never_swapped(pair, epoch, size):
    turned = Augmentation(min_area=0.3, max_aspect=2, flip=0.5, brightness=0, contrast=0, saturation=0)
    transform = PairTransform(size, (0, 0, 0), (1 / 255,) * 3, "none", augment=turned)
    transform.set_epoch(epoch)
    before, after = transform.pixel_values(places(60, 50, 10), places(60, 50, 200), None, pair)
    assert torch.equal(before[:2], after[:2])  # every pixel shows the same place in both
    assert (before[2].round() == 10).all() and (after[2].round() == 200).all()  # and is of its own picture
    rows, columns = before[1].mean(1), before[0].mean(0)
    assert (rows.diff() >= 0).all() and rows[-1] > rows[0]  # never upside down
    assert columns[0] != columns[-1] and len(set(columns.diff().sign().tolist()) - {0.0}) == 1


def test_mirroring_happens_as_often_as_asked():
    for flip, least, most in ((0.0, 0, 0), (0.5, 70, 130), (1.0, 200, 200)):
        transform = PairTransform((6, 6), crop="none", augment=Augmentation(flip=flip))
        pixels = (transform.pixel_values(places(60, 50, 0), places(60, 50, 0), None, str(i)) for i in range(200))
        assert least <= sum(bool(pair[0, 0, 0, 0] > pair[0, 0, 0, -1]) for pair in pixels) <= most


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.tuples(st.integers(1, 23), st.integers(1, 23)))
def test_what_did_not_change_stays_equal_though_the_rest_changed(seed, size):
    """The colours of both pictures go through one function, however much the pictures differ elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    before, other = (torch.randint(0, 256, (1, 3, *size), generator=generator).float() for _ in range(2))
    same = torch.rand(size, generator=generator) < 0.5
    pair = torch.cat([before, torch.where(same, before, other * 0.2)])
    strong = Augmentation(brightness=0.9, contrast=0.9, saturation=0.9)
    out = jitter(pair, strong, random.Random(seed))
    assert torch.equal(out[0][:, same], out[1][:, same])


@pytest.mark.parametrize(
    ("actions", "mirrored"),
    [
        (["open", "close", "brighten", "set upright", "pick leftover"], True),
        (["open", "push left"], False),
        (["push_right"], False),
        (["moveLeft"], False),
        (["turn clockwise", "turn anticlockwise"], False),
        (["rotate counter-clockwise"], False),
        (["slide rightwards"], False),
    ],
)
def test_actions_that_tell_sides_are_not_mirrored(actions, mirrored):
    assert Augmentation.for_actions(actions) == (Augmentation() if mirrored else Augmentation(flip=0.0))


def test_a_lamp_that_goes_on_stays_brighter():
    dark, bright = torch.full((1, 3, 8, 8), 40.0), torch.full((1, 3, 8, 8), 200.0)
    strong = Augmentation(brightness=0.5, contrast=0.9, saturation=0.9)
    for seed in range(200):
        out = jitter(torch.cat([dark, bright]), strong, random.Random(seed))
        assert out[1].mean() > out[0].mean()


def pairs_dataset(number: int = 24) -> datasets.Dataset:
    features = pair_features(["open", "close", "break", "turnon", "turnoff"], [f"object{i}" for i in range(10)])
    return datasets.Dataset.from_list(rows(number), features=features)


def epoch_of(dataset, workers: int, order: list[int]) -> torch.Tensor:
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=5, sampler=order, num_workers=workers, collate_fn=PairCollator()
    )
    return torch.cat([batch["pixel_values"] for batch in loader])


def test_randomness_is_fixed_by_seed_epoch_and_pair_alone():
    transform = PairTransform((8, 8), crop="none", augment=True, seed=1)
    dataset = pairs_dataset().with_transform(transform)
    order = list(range(24))
    first = epoch_of(dataset, 0, order)
    torch.manual_seed(123)
    random.seed(123)
    states = torch.get_rng_state(), random.getstate()
    assert torch.equal(torch.cat([PairCollator()([dataset[i]])["pixel_values"] for i in order]), first)
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    turned = epoch_of(dataset, 0, order[::-1])
    assert torch.equal(turned.flip(0), first)  # not the place in the batch
    assert torch.equal(epoch_of(dataset, 2, order), first)  # nor the worker
    assert torch.equal(epoch_of(dataset, 0, order[10:]), first[10:])  # nor what was drawn before: a resume
    transform.set_epoch(1)
    second = epoch_of(dataset, 0, order)
    assert not torch.equal(second, first)
    transform.set_epoch(0)
    assert torch.equal(epoch_of(dataset, 0, order), first)
    other = pairs_dataset().with_transform(PairTransform((8, 8), crop="none", augment=True, seed=2))
    assert not torch.equal(epoch_of(other, 0, order), first)


def test_set_epoch_reaches_copies_and_lasting_workers():
    transform = PairTransform((8, 8), crop="none", augment=True)
    dataset = pairs_dataset().with_transform(transform)
    part = dataset.select(range(8))  # datasets copies the transform
    before = part[3]["pixel_values"]
    transform.set_epoch(5)
    assert not torch.equal(part[3]["pixel_values"], before)
    assert copy.deepcopy(transform).epoch == 5
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=6, num_workers=1, persistent_workers=True, collate_fn=PairCollator()
    )
    epochs = []
    for epoch in (0, 1):
        transform.set_epoch(epoch)
        epochs.append(torch.cat([batch["pixel_values"] for batch in loader]))
    assert torch.equal(epochs[1], epoch_of(dataset, 0, list(range(24))))
    assert not torch.equal(epochs[0], epochs[1])


def test_encoded_and_decoded_rows_give_the_same():
    encoded = pairs_dataset()
    for column in ("before", "after"):
        encoded = encoded.cast_column(column, datasets.Image(decode=False))
    transform = PairTransform((8, 8), crop="none", augment=True)
    a, b = (d.with_transform(transform)[:4] for d in (encoded, pairs_dataset()))
    assert a["labels"] == b["labels"] == encoded["action"][:4]
    assert all(torch.equal(x, y) for x, y in zip(a["pixel_values"], b["pixel_values"], strict=True))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_other_modes_become_rgb(mode):
    image = smooth(20, 20).convert(mode)
    pixels = PairTransform((10, 10), MEAN, STD, "none").pixel_values(image, image)
    expected = naive(image, (0, 0, 20, 20), (10, 10))
    torch.testing.assert_close(pixels[0], expected, rtol=0, atol=1e-5)


def jpeg(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


def test_a_large_jpeg_decoded_at_a_fraction_shows_the_same_region():
    before, after = smooth(640, 480), smooth(640, 480, 1)
    box = [100, 200, 499, 399]
    transform = PairTransform((32, 32), MEAN, STD)
    small = transform.pixel_values(jpeg(before), jpeg(after), box)
    torch.testing.assert_close(small, transform.pixel_values(before, after, box), rtol=0, atol=0.15)


def test_a_jpeg_that_the_caller_has_opened_stays_as_large_as_it_is():
    content, box = jpeg(smooth(640, 480)), [500, 300, 599, 399]
    transform = PairTransform((32, 32), MEAN, STD)
    opened = Image.open(io.BytesIO(content))
    expected = transform.pixel_values(content, content, box)
    for _ in range(2):  # one picture twice in a pair, and again in the next epoch
        pixels = transform.pixel_values(opened, opened, box)
        assert opened.size == (640, 480) and torch.equal(pixels[0], pixels[1])
        torch.testing.assert_close(pixels, expected, rtol=0, atol=0.15)


def test_a_rotated_photograph_is_turned_upright():
    upright = smooth(40, 24)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees
    stored = jpeg(upright.transpose(Image.Transpose.ROTATE_90), exif=exif)
    transform = PairTransform((24, 40), MEAN, STD, crop="none")
    pixels = transform.pixel_values(stored, stored)
    torch.testing.assert_close(pixels[0], transform.pixel_values(upright, upright)[0], rtol=0, atol=0.15)


def test_from_processor():
    processor = SimpleNamespace(size={"height": 20, "width": 10}, image_mean=MEAN, image_std=STD, resample=3)
    transform = PairTransform.from_processor(processor, crop="none", augment=True)
    assert (transform.size, transform.mean, transform.std, transform.resample) == ((20, 10), MEAN, STD, 3)
    square = SimpleNamespace(size={"shortest_edge": 30}, image_mean=MEAN, image_std=STD, do_normalize=False)
    transform = PairTransform.from_processor(square)
    assert (transform.size, transform.mean, transform.std) == ((30, 30), (0, 0, 0), (1, 1, 1))


def test_errors_name_the_pair():
    transform = PairTransform((8, 8))
    good = picture(0)
    with pytest.raises(ValueError, match="'after' of pair p1 cannot be read"):
        transform.pixel_values(good, b"no picture", [0, 0, 3, 3], "p1")
    with pytest.raises(ValueError, match="'before' of pair p1 cannot be read"):
        transform.pixel_values({"bytes": None, "path": None}, good, [0, 0, 3, 3], "p1")
    with pytest.raises(ValueError, match="'before' of pair p1 cannot be read as an image: it is damaged"):
        transform.pixel_values(good[: len(good) // 2], good, [0, 0, 3, 3], "p1")
    with pytest.raises(ValueError, match=r"pair p1 have different sizes, \(12, 12\) before and \(12, 13\) after"):
        transform.pixel_values(good, picture(1, 12, 13), [0, 0, 3, 3], "p1")
    with pytest.raises(ValueError, match="Pair p1 has no box"):
        transform.pixel_values(good, good, None, "p1")
    for box in ([0, 0, 12, 3], [-1, 0, 3, 3], [5, 0, 4, 3]):
        with pytest.raises(ValueError, match="of pair p1 is not inside its picture of 12x12"):
            transform.pixel_values(good, good, box, "p1")
    with pytest.raises(ValueError, match="drawn by pair_id"):
        PairTransform((8, 8), crop="none", augment=True).pixel_values(good, good)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"size": (0, 8)}, "size is"),
        ({"std": (1, 1, 0)}, "std above 0"),
        ({"crop": "centre"}, "choose box or none"),
        ({"crop_margin": -0.1}, "crop_margin is -0.1"),
    ],
)
def test_arguments_are_checked(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        PairTransform(**{"size": (8, 8), **arguments})


@pytest.mark.parametrize(
    "wrong", [{"min_area": 0}, {"max_aspect": 0.9}, {"flip": 1.1}, {"brightness": 1}, {"contrast": -0.1}]
)
def test_augmentation_is_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Augmentation(**wrong)
