"""The steps from a picture to what a model sees: one way for the image processor and for the loader of training."""

import io
import json
import warnings

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from modeling_cde import CDEImageProcessor
from modeling_cde.data.augmentation import Augmentation
from modeling_cde.data.schema import pair_features
from modeling_cde.data.transforms import PairTransform
from modeling_cde.evaluation import gallery
from modeling_cde.models.regions_cde import box_region


def noise(height, width, seed):
    """A picture of which every detail of the resampling shows."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image, format):
    buffer = io.BytesIO()
    image.save(buffer, format, quality=90)
    return buffer.getvalue()


STEPS = {
    "a square": {"size": 40},
    "a rectangle": {"size": {"height": 40, "width": 24}},
    "a centre": {"size": {"shortest_edge": 48}, "do_center_crop": True, "crop_size": 40},
    "a flat centre": {"size": {"shortest_edge": 48}, "do_center_crop": True, "crop_size": {"height": 31, "width": 40}},
    "a centre of a square": {"size": 51, "do_center_crop": True, "crop_size": 40},
    "bytes": {"size": 40, "do_rescale": False, "do_normalize": False},
    "colours": {"size": 40, "do_normalize": False},
    "from -1 to 1": {"size": 40, "rescale_factor": 1 / 127.5, "image_mean": 1.0, "image_std": 1.0},
    "normalised bytes": {"size": 40, "do_rescale": False, "image_mean": [1, 2, 3], "image_std": [50, 60, 70]},
    "lanczos": {"size": 40, "resample": 1},
    "nearest": {"size": 40, "resample": 0},
}


@pytest.mark.parametrize("picture", [(50, 70), (80, 50), (40, 40), (33, 91)])
@pytest.mark.parametrize("name", STEPS)
def test_each_step_is_the_processors(name, picture):
    processor = CDEImageProcessor(**STEPS[name])
    before, after = noise(*picture, 0), noise(*picture, 1)
    expected = processor(before, after)["pixel_values"][0]
    transform = PairTransform.from_processor(processor, crop="none")
    assert torch.equal(transform.pixel_values(before, after), expected)
    assert transform.size == expected.shape[-2:] == processor.preprocessing.output
    bytes_seen = CDEImageProcessor(**(STEPS[name] | {"do_rescale": False, "do_normalize": False}))(before, after)
    assert torch.equal(transform.pictures(expected).movedim(-1, 1), bytes_seen["pixel_values"][0].to(torch.uint8))


def places(height, width):
    """Red grows from left to right, green from top to bottom, so that values say where they are from."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([255 * x / (width - 1), 255 * y / (height - 1), 0 * x], -1).astype(np.uint8))


CENTRES = ["a centre", "a flat centre", "a centre of a square"]


@pytest.mark.parametrize("picture", [(150, 210), (260, 150)])
@pytest.mark.parametrize("name", CENTRES)
def test_region_augmentation_and_masks_are_those_of_the_centre(name, picture):
    """The region is what the picture's centre shows; a random change that changes nothing shows it again."""
    processor, still = CDEImageProcessor(**STEPS[name]), Augmentation(1, 1, 0, 0, 0, 0)
    image = places(*picture)
    plain = PairTransform.from_processor(processor, crop="none", extras=("masks",))
    moved = PairTransform.from_processor(processor, crop="none", augment=still)
    expected = plain.pixel_values(image, image)
    assert torch.equal(expected, processor(image, image)["pixel_values"][0])
    torch.testing.assert_close(moved.pixel_values(image, image, None, "p"), expected, atol=0.02, rtol=0)
    left, top, right, bottom = plain.region(image.size, None)
    colours = plain.pictures(expected)[0].float()
    step = max(right - left, bottom - top) / min(plain.size)
    for axis, channel, bounds, length in ((1, 0, (left, right), picture[1]), (0, 1, (top, bottom), picture[0])):
        line = colours[..., channel].mean(1 - axis) * (length - 1) / 255
        assert line[0] == pytest.approx(bounds[0] + step / 2, abs=step) and 0 <= bounds[0]
        assert line[-1] == pytest.approx(bounds[1] - step / 2, abs=step) and bounds[1] <= length
    mask = Image.fromarray(np.uint8(np.asarray(image)[..., 0] > 120) * 255)
    row = {"before": [image], "after": [image], "action": [0], "mask_before": [mask], "mask_after": [mask]}
    seen = plain(row)["masks"][0][0]
    apart = (seen != (colours[..., 0] > 120).float()).float().mean()
    assert 0.2 < seen.mean() < 0.8 and apart < 2.1 / seen.shape[1]  # one column at the mask's edge


@pytest.mark.parametrize("name", CENTRES)
def test_a_box_is_seen_as_its_region_given_as_a_picture(name):
    """In whole pixels; the rest is what a resampling sees beyond the region's rim."""
    processor = CDEImageProcessor(**STEPS[name])
    transform = PairTransform.from_processor(processor, crop="box", crop_margin=0.0)
    image, box = places(240, 300), [60, 50, 60 + 4 * 40 - 1, 50 + 4 * transform.size[0] - 1]
    region = box_region(box, image.size, transform.size, 0.0)
    assert region == (box[0], box[1], box[2] + 1, box[3] + 1)
    given = processor(image.crop(region), image.crop(region))["pixel_values"][0]
    torch.testing.assert_close(transform.pixel_values(image, image, box), given, atol=0.02, rtol=0)
    left, top, right, bottom = transform.region(image.size, box)
    assert region[0] < left < right < region[2] and region[1] < top < bottom < region[3]


def test_a_gallery_shows_what_the_model_saw(tmp_path):
    processor = CDEImageProcessor(**STEPS["a centre"])
    transform = PairTransform.from_processor(processor, crop="none")
    image = {"bytes": encoded(places(150, 300), "PNG"), "path": None}
    row = {"pair_id": "p", "before": image, "after": image, "action": 0, "object": 0, "scene": "s"}
    features = pair_features(["open", "close"], ["door"])
    pairs = datasets.Dataset.from_list([{**dict.fromkeys(features), **row}], features=features)
    gallery.write_gallery(None, pairs, transform, tmp_path / "gallery.parquet", side=80, delta=torch.ones(1, 4))
    shown = np.asarray(gallery.read_gallery(tmp_path / "gallery.parquet")[0]["before"]).astype(int)
    left, _, right, _ = transform.region((300, 150), None)
    assert 80 < left < right < 220
    assert shown.shape == (80, 80, 3)
    assert shown[40, 2, 0] == pytest.approx(255 * left / 300, abs=8)
    assert shown[40, -3, 0] == pytest.approx(255 * right / 300, abs=8)


def saved(folder, **settings):
    """A processor's file as earlier versions wrote it, whatever its settings."""
    CDEImageProcessor(size=224, image_mean=0.4).save_pretrained(folder)
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


def test_a_saved_black_frame_is_left_out_and_said(tmp_path):
    crop = {"do_center_crop": True, "crop_size": {"height": 224, "width": 224}}
    saved(tmp_path, size={"height": 126, "width": 126}, **crop)
    with pytest.warns(
        UserWarning, match="126x126 .* 224x224, which would put them into a black frame: the crop is left"
    ):
        processor = CDEImageProcessor.from_pretrained(tmp_path)
    x, y = noise(128, 128, 0), noise(128, 128, 1)
    assert torch.equal(
        processor(x, y)["pixel_values"], CDEImageProcessor(size=126, image_mean=0.4)(x, y)["pixel_values"]
    )
    processor.save_pretrained(tmp_path / "again")
    saved(tmp_path / "centre", size={"height": 256, "width": 256}, **crop)
    with pytest.warns(UserWarning, match="256x256 .* 224x224: if it is of a training run .* do_center_crop=False"):
        centre = CDEImageProcessor.from_pretrained(tmp_path / "centre")
    assert centre.preprocessing.output == (224, 224)  # it may be meant
    saved(tmp_path / "edge", size={"shortest_edge": 256}, **crop)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CDEImageProcessor.from_pretrained(tmp_path / "again").size == {"height": 126, "width": 126}
        assert CDEImageProcessor.from_pretrained(tmp_path / "edge").preprocessing.output == (224, 224)
        whole = CDEImageProcessor.from_pretrained(tmp_path / "centre", do_center_crop=False)
    assert whole.preprocessing.output == (256, 256)


def test_what_cannot_be_one_picture_is_refused():
    dino = CDEImageProcessor(size={"shortest_edge": 256}, do_center_crop=True, crop_size=224)
    x, y = noise(64, 64, 0), noise(64, 64, 1)
    for wrong in (
        lambda: CDEImageProcessor(size=126, do_center_crop=True, crop_size=224),
        lambda: dino(x, y, size=126),
    ):
        with pytest.raises(
            ValueError, match="224x224 pixels would put .* 126x126 into a black frame: set do_center_crop"
        ):
            wrong()
    dino.size = {"height": 126, "width": 126}
    with pytest.raises(ValueError, match="into a black frame"):
        PairTransform.from_processor(dino)
    with pytest.raises(ValueError, match="shorter edge of 40 pixels leaves too little for a centre of 32x48"):
        PairTransform((48, 32), resize=40)
    unsized = CDEImageProcessor(do_resize=False)
    with pytest.raises(ValueError, match="do_resize=False, but pairs need one size"):
        PairTransform.from_processor(unsized)
    with pytest.raises(ValueError, match="leaves each picture its own size"):
        _ = unsized.preprocessing.output
    assert CDEImageProcessor.from_backbone(unsized, size=32)(x, y)["pixel_values"].shape[-2:] == (32, 32)


def test_pixel_values_are_those_of_earlier_versions_but_for_rounding():
    """Earlier, bytes were multiplied by 1 / (255 std) and mean / std was subtracted, in float32."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    image, box = noise(128, 128, 0), [31, 12, 99, 110]
    scale = torch.tensor([1 / (255 * s) for s in std]).view(3, 1, 1)
    shift = torch.tensor([m / s for m, s in zip(mean, std, strict=True)]).view(3, 1, 1)
    for crop, region in (("none", (0, 0, 128, 128)), ("box", box_region(box, (128, 128), (96, 96), 0.1))):
        found = PairTransform((96, 96), mean, std, crop=crop).pixel_values(image, image, box)
        pixels = np.array(image.resize((96, 96), Image.Resampling.BILINEAR, box=region))
        expected = torch.from_numpy(pixels).permute(2, 0, 1).float() * scale - shift
        torch.testing.assert_close(found[0], expected, atol=1e-6, rtol=0)
