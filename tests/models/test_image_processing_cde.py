"""CDEImageProcessor: the values of the backbones' own processors, kinds of input, errors, round trip."""

import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    BeitImageProcessor,
    BitImageProcessor,
    CLIPImageProcessor,
    ConvNextImageProcessor,
    DeiTImageProcessor,
    SiglipImageProcessor,
    ViTImageProcessor,
)

from modeling_cde import CDEConfig, CDEImageProcessor
from tests.tiny_models import backbone_config

logging.getLogger("transformers").setLevel(logging.ERROR)  # each of them says that torchvision is missing


def picture(height: int = 50, width: int = 70, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


OWN = {
    "vit": ViTImageProcessor(),
    "vit_96": ViTImageProcessor(size={"height": 96, "width": 64}, image_mean=[0.4, 0.5, 0.6], resample=3),
    "clip": CLIPImageProcessor(),
    "clip_small": CLIPImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 48, "width": 32}),
    "convnext": ConvNextImageProcessor(size={"shortest_edge": 224}),
    "convnext_384": ConvNextImageProcessor(size={"shortest_edge": 384}),
    "dinov2": BitImageProcessor(size={"shortest_edge": 256}),
    "siglip": SiglipImageProcessor(),
    "deit": DeiTImageProcessor(),
    "beit": BeitImageProcessor(),
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("shape", [(50, 70), (300, 211)])
def test_values_are_those_of_the_backbones_own_processor(name, shape):
    before, after = picture(*shape), picture(*shape, seed=1)
    expected = OWN[name]([before, after], return_tensors="pt")["pixel_values"]
    found = CDEImageProcessor.from_backbone(OWN[name])(before, after)["pixel_values"]
    assert found.dtype == torch.float32 and found.shape == (1, 2, *expected.shape[1:])
    torch.testing.assert_close(found[0], expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", OWN)
def test_round_trip(name, tmp_path):
    OWN[name].save_pretrained(tmp_path / "backbone")
    processor = CDEImageProcessor.from_backbone(tmp_path / "backbone")
    processor.save_pretrained(tmp_path / "pair")
    CDEConfig(backbone_config("vit")).save_pretrained(tmp_path / "pair")
    x, y = picture(), picture(seed=1)
    expected = CDEImageProcessor.from_backbone(OWN[name])(x, y)["pixel_values"]
    for loader in (CDEImageProcessor, AutoImageProcessor):
        again = loader.from_pretrained(tmp_path / "pair")
        assert type(again) is CDEImageProcessor
        assert torch.equal(again(x, y)["pixel_values"], expected)
    saved = json.loads((tmp_path / "pair" / "preprocessor_config.json").read_text())
    assert saved["auto_map"] == {"AutoImageProcessor": "image_processing_cde.CDEImageProcessor"}
    assert torch.equal(CDEImageProcessor.from_backbone(tmp_path / "pair")(x, y)["pixel_values"], expected)


def test_settings_without_a_class_are_read_from_the_file(tmp_path):
    """DINOv3's processor needs torchvision; its settings do not."""
    settings = {"image_processor_type": "NoneSuchFast", "size": {"height": 48, "width": 48}, "resample": 2}
    settings |= {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    processor = CDEImageProcessor.from_backbone(tmp_path)
    assert processor.size == {"height": 48, "width": 48} and processor.image_std == [0.229, 0.224, 0.225]
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(OSError, match=r"no preprocessor_config.json .* CDEImageProcessor\(size=224"):
        CDEImageProcessor.from_backbone(tmp_path)


def test_kinds_of_input_give_equal_values(tmp_path):
    processor = CDEImageProcessor(size={"height": 48, "width": 32}, image_mean=[0.1, 0.2, 0.3], image_std=0.7)
    x, y = picture(), picture(seed=1)
    expected = processor(x, y)["pixel_values"]
    assert expected.shape == (1, 2, 3, 48, 32)
    x.save(tmp_path / "x.png")
    array = np.array(x)
    kinds = {
        "path": tmp_path / "x.png",
        "str": str(tmp_path / "x.png"),
        "array": array,
        "channels first": array.transpose(2, 0, 1),
        "tensor": torch.from_numpy(array),
        "floats": torch.from_numpy(array).permute(2, 0, 1).float() / 255,
        "with alpha": np.concatenate([array, np.full((50, 70, 1), 255, dtype=np.uint8)], axis=2),
    }
    for kind, image in kinds.items():
        assert torch.equal(processor(image, y)["pixel_values"], expected), kind
    batch = processor([x, array], [y, y])["pixel_values"]
    assert torch.equal(batch, expected.expand(2, -1, -1, -1, -1))
    stacked = processor(np.stack([array, array]), [y, y])["pixel_values"]
    assert torch.equal(stacked, batch)
    assert isinstance(processor(x, y, return_tensors="np")["pixel_values"], np.ndarray)
    grey = np.array(x.convert("L"))
    assert torch.equal(processor(grey, grey)["pixel_values"], processor(grey[..., None], grey[None])["pixel_values"])


def test_a_picture_is_turned_upright_whether_its_file_or_itself_is_given(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    picture(20, 30).save(tmp_path / "x.png", exif=exif)
    processor = CDEImageProcessor(size=32)
    with Image.open(tmp_path / "x.png") as opened:
        values = processor(opened, tmp_path / "x.png")["pixel_values"][0]
    assert torch.equal(values[0], values[1])
    assert torch.equal(
        values[0], processor(picture(20, 30).transpose(Image.Transpose.ROTATE_270), picture())["pixel_values"][0, 0]
    )


@pytest.mark.parametrize("name", ["vit", "vit_96", "clip", "convnext", "dinov2"])
@pytest.mark.parametrize("shape", [(50, 70), (300, 211)])
def test_a_box_is_found_again_in_the_picture(name, shape):
    """A white box in the picture, as large as the box that is found for a part of the processed image, fills it."""
    processor = CDEImageProcessor.from_backbone(OWN[name])
    processor.resample = 0  # the nearest pixel: what is white stays white, and what is black black
    height, width = processor(picture(*shape), picture(*shape))["pixel_values"].shape[-2:]
    for part in ((0, 0, width // 4 - 1, height // 4 - 1), (width // 2, height // 3, width // 2 + 7, height // 3 + 9)):
        x0, y0, x1, y1 = processor.original_box(part, (height, width), shape)
        assert 0 <= x0 <= x1 < shape[1] and 0 <= y0 <= y1 < shape[0]
        white = np.zeros((*shape, 3), dtype=np.uint8)
        white[y0 : y1 + 1, x0 : x1 + 1] = 255
        settings = {"do_normalize": False, "do_rescale": False}
        seen = processor(white, white, **settings)["pixel_values"][0, 0, 0]
        assert bool((seen[part[1] : part[3] + 1, part[0] : part[2] + 1] == 255).all())
        resized = processor.preprocessing.resized(*shape)
        size = [-(-side // given) for side, given in zip(resized, shape, strict=True)]
        outside = seen.clone()
        outside[
            max(0, part[1] - size[0]) : part[3] + 1 + size[0], max(0, part[0] - size[1]) : part[2] + 1 + size[1]
        ] = 0
        assert bool((outside == 0).all())


def test_a_box_in_the_border_of_a_crop_is_moved_into_the_picture():
    processor = CDEImageProcessor(size={"shortest_edge": 40}, do_center_crop=True, crop_size=80)
    assert processor.original_box((0, 0, 7, 7), (80, 80), (20, 20)) == (0, 0, 0, 0)
    assert processor.original_box((72, 72, 79, 79), (80, 80), (20, 20)) == (19, 19, 19, 19)
    assert processor.original_box((20, 24, 27, 31), (80, 80), (20, 20)) == (0, 2, 3, 5)


def test_values_are_those_of_the_formula_bit_for_bit():
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    processor = CDEImageProcessor(size=40, image_mean=mean, image_std=std)
    images = [picture(seed=seed) for seed in range(4)]
    found = processor(images[:2], images[2:])["pixel_values"]
    for seed, image in enumerate(images):
        pixels = torch.from_numpy(np.array(image.resize((40, 40), resample=2))).permute(2, 0, 1).float()
        channels = [(channel * (1 / 255) - m) / s for channel, m, s in zip(pixels, mean, std, strict=True)]
        assert torch.equal(found[seed % 2, seed // 2], torch.stack(channels))
        assert torch.equal(processor.process(image), torch.stack(channels))


def test_steps_can_be_left_out():
    x, y = picture(), picture(seed=1)
    raw = CDEImageProcessor(do_resize=False, do_normalize=False, do_rescale=False)(x, y)["pixel_values"]
    assert torch.equal(raw[0, 1], torch.from_numpy(np.array(y)).permute(2, 0, 1).float())
    processor = CDEImageProcessor(size=32)
    assert processor(x, y, size=64)["pixel_values"].shape == (1, 2, 3, 64, 64)
    assert processor.size == {"height": 32, "width": 32}
    small = CDEImageProcessor.from_backbone(OWN["clip"], size=96)
    assert small(x, y)["pixel_values"].shape == (1, 2, 3, 96, 96)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((picture(),), TypeError, r"needs two: call processor\(before, after\)"),
        (([picture()], [picture(), picture()]), ValueError, r"1 before and 2 after images: call processor\("),
        (([], []), ValueError, "0 before and 0 after"),
        ((picture(), 3), TypeError, "int where an image belongs"),
        ((picture(), np.zeros((5, 6, 7), dtype=np.uint8)), ValueError, r"shape \(5, 6, 7\) is not an image"),
        ((picture(), np.full((8, 8, 3), 200.0)), ValueError, r"must be in \[0, 1\]"),
        ((picture(), np.full((8, 8, 3), np.nan)), ValueError, r"must be in \[0, 1\]"),
        ((picture(), np.full((8, 8, 3), 300)), ValueError, "An image of int64 must hold bytes, 0 to 255"),
        ((picture(), "none.png"), OSError, "none.png cannot be read as an image: there is no such file"),
        (
            (picture(), __file__),
            OSError,
            "cannot be read as an image: it is damaged, or in no picture format that is read",
        ),
    ],
)
def test_a_wrong_call_is_answered_with_the_right_one(arguments, error, words):
    with pytest.raises(error, match=words):
        CDEImageProcessor(size=16)(*arguments)


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="keeps the aspect ratio.*do_center_crop=True"):
        CDEImageProcessor(size={"shortest_edge": 32})
    with pytest.raises(ValueError, match="size must be a side"):
        CDEImageProcessor(size={"height": 32})
    with pytest.raises(ValueError, match="give crop_size a height"):
        CDEImageProcessor(size={"shortest_edge": 32}, do_center_crop=True)
    with pytest.raises(ValueError, match="differ in shape"):
        CDEImageProcessor(do_resize=False)(picture(), picture(20, 20))
