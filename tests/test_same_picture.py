"""Training, evaluation, pipeline, demo and export see the same picture, of every family and in every size."""

import importlib
import json
import warnings

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers import pipeline
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

from modeling_cde import ActionClassificationPipeline, CDEForActionClassification, CDEImageProcessor
from modeling_cde.data import load_splits
from modeling_cde.data.schema import pair_features
from modeling_cde.data.transforms import PairTransform
from modeling_cde.evaluation import __main__ as evaluation
from modeling_cde.evaluation import evaluate, onnx_export
from modeling_cde.features.encoder import description
from modeling_cde.models.backbones_cde import FAMILIES
from modeling_cde.training.arguments import DataArguments, ModelArguments
from modeling_cde.training.new_model import make_model
from modeling_cde.training.training_data import training_transforms
from tests.models.test_preprocessing import encoded, noise
from tests.tiny_models import backbone_config, tiny_cde

ACTIONS = ["open", "close"]
# What Transformers does not list under the name of a family.
SAME_AS = {
    "clip_vision_model": "clip",
    "siglip_vision_model": "siglip",
    "dinov2_with_registers": "dinov2",
    "dinov3_convnext": "dinov3_vit",
}
# Of DINOv3's own, whose class needs torchvision.
DINOV3 = {"size": {"height": 224, "width": 224}, "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255}
DINOV3 |= {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "do_normalize": True}
# As on the Hub; the class's default size is the crop's.
DINOV2 = {"size": {"shortest_edge": 256}}


def own_processor(family):
    """The family's own image processor with its default settings; None for DINOv3."""
    found = IMAGE_PROCESSOR_MAPPING_NAMES[SAME_AS.get(family, family)].get("pil")
    return getattr(transformers, found)(**(DINOV2 if "dinov2" in family else {})) if found else None


def backbone(folder, family, **config):
    """A tiny pretrained backbone with its own image processor."""
    transformers.AutoModel.from_config(backbone_config(family, **config)).save_pretrained(folder)
    own = own_processor(family)
    if own is None:
        (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "None", **DINOV3}))
    else:
        own.save_pretrained(folder)
    return folder


def trained(folder, source, image_size, **options):
    """A checkpoint, as train.py saves it; without an image_size, the model and processor of Python's users."""
    if image_size is None:
        names = dict(enumerate(ACTIONS))
        model = CDEForActionClassification.from_backbone(source, id2label=names)
        processor = CDEImageProcessor.from_backbone(source)
    else:
        model, processor = make_model(
            ModelArguments(backbone=str(source), **options), image_size, pair_features(ACTIONS, ["door"])
        )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model, processor


def what_is_seen(folder, model, processor, files, monkeypatch):
    """Who sees a pair of pictures -> the pixel values (2, 3, H, W) that its model gets."""
    shown = [{"bytes": file.read_bytes(), "path": None} for file in files]
    data = DataArguments(data="none", view="multi", augment=False)
    plain, training = training_transforms(data, model, processor, ACTIONS, seed=0)
    found = {"training": training.pixel_values(*shown), "validation": plain.pixel_values(*shown)}

    caught = {}
    monkeypatch.setattr(load_splits, "load_tested", lambda *_: {})
    monkeypatch.setattr(
        evaluate, "evaluate_splits", lambda _, splits, transform, *__, **___: caught.update(e=transform)
    )
    monkeypatch.setattr(evaluate, "results_table", lambda _: "")
    evaluation.main(["--model", str(folder), "--data", "x", "--view", "multi", "--output", "x", "--bank_rows", "0"])
    found["evaluation"] = caught["e"].pixel_values(*shown)

    def seen_by(pipe, use):
        hook = pipe.model.register_forward_pre_hook(
            lambda _, __, inputs: caught.update(p=inputs["pixel_values"]), with_kwargs=True
        )
        use()
        hook.remove()
        return caught.pop("p")[0]

    pipe = pipeline("action-classification", model=str(folder))
    found["pipeline"] = seen_by(pipe, lambda: pipe(*map(str, files)))
    found["pipeline, list"] = seen_by(pipe, lambda: pipe([tuple(map(Image.open, files))]))

    monkeypatch.syspath_prepend(str(load_splits.__file__).partition("modeling_cde")[0] + "space")
    checkpoint = importlib.import_module("checkpoint").Checkpoint.load(str(folder))
    before, after, _ = importlib.import_module("given_pictures").open_pair(*map(str, files))
    found["demo"] = seen_by(checkpoint.pipeline, lambda: checkpoint.read(before, after))

    monkeypatch.setattr(onnx_export, "require", lambda *_: None)
    monkeypatch.setattr(onnx_export, "export_onnx", lambda _, path, *about: caught.update(x=about) or path.touch())
    monkeypatch.setattr(onnx_export, "differences", lambda *_, **__: {"logits": 0.0})
    onnx_export.export_checkpoint(str(folder), folder / "model.onnx")
    height, width, metadata = caught["x"]
    exported = CDEImageProcessor.from_dict(json.loads(metadata["preprocessor"]))
    found["export"] = exported(*files)["pixel_values"][0]
    assert found["export"].shape[-2:] == (height, width)  # what the graph takes
    return found


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("image_size", [None, 48, 256])  # below and above the centre crop of 224
@pytest.mark.parametrize("family", FAMILIES)
def test_everyone_sees_the_same(family, image_size, tmp_path, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Transformers, about classes
        source = backbone(tmp_path / "backbone", family)
    model, processor = trained(tmp_path / "model", source, image_size)
    if family == "deit" and image_size is None:  # a square's centre, which an early training run could have left behind
        warnings.filterwarnings("ignore", "preprocessor_config.json resizes pictures to 256x256")
    pictures = noise(150, 211, 0), noise(150, 211, 1)
    files = [tmp_path / "before.png", tmp_path / "after.png"]
    for picture, file in zip(pictures, files, strict=True):
        picture.save(file)
    found = what_is_seen(tmp_path / "model", model, processor, files, monkeypatch)
    settings = DINOV3 if (own := own_processor(family)) is None else own.to_dict()
    if image_size is None:
        side = own.size.get("shortest_edge") if family in ("resnet", "convnext", "convnextv2") else 224
        if own is not None:
            expected = torch.as_tensor(np.stack(own(list(pictures), return_tensors="np")["pixel_values"]))
            torch.testing.assert_close(found["training"], expected, atol=2e-6, rtol=0)
    else:
        side = image_size
        whole = [picture.resize((side, side), resample=settings["resample"]) for picture in pictures]
        colours = np.stack([np.asarray(picture, dtype=np.float64) for picture in whole]) / 255
        expected = torch.tensor((colours - settings["image_mean"]) / settings["image_std"]).movedim(-1, 1)
        torch.testing.assert_close(found["training"], expected.float(), atol=2e-6, rtol=0)
        assert processor.do_center_crop is False
    assert found["training"].shape == (2, 3, side, side)
    for who, values in found.items():
        assert torch.equal(values, found["training"]), who


def test_dinov2_at_a_size_of_its_own_has_no_black_frame(tmp_path, monkeypatch):
    """126 pixels, which its patches of 14 divide: the pipeline showed them amid 224 black ones."""
    source = backbone(tmp_path / "backbone", "dinov2", image_size=70, patch_size=14)
    model, processor = trained(tmp_path / "model", source, 126)
    files = [tmp_path / "before.png", tmp_path / "after.png"]
    for file in files:
        noise(128, 128, len(file.name)).save(file)
    found = what_is_seen(tmp_path / "model", model, processor, files, monkeypatch)
    assert {values.shape for values in found.values()} == {(2, 3, 126, 126)}
    assert all(torch.equal(values, found["training"]) for values in found.values())


@pytest.mark.parametrize("picture", [(480, 640), (1000, 700)])
@pytest.mark.parametrize("family", ["vit", "dinov2"])
def test_a_large_jpeg_is_the_same_picture_too(family, picture, tmp_path):
    """The loader decodes one at a fraction where that is enough, but only where the picture is changed at random."""
    processor = CDEImageProcessor.from_backbone(own_processor(family), **({"size": 96} if family == "vit" else {}))
    content = [encoded(noise(*picture, seed), "JPEG") for seed in range(2)]
    for place, file in zip(("0", "1"), content, strict=True):
        (tmp_path / place).write_bytes(file)
    seen = PairTransform.from_processor(processor, crop="none").pixel_values(*content)
    assert torch.equal(seen, processor(tmp_path / "0", tmp_path / "1")["pixel_values"][0])


def test_kept_features_are_told_apart_by_all_that_decides_the_picture():
    """Else a run would read the features of other pictures than its own."""
    model, steps = tiny_cde("vit").base_model, {"size": {"shortest_edge": 48}, "do_center_crop": True, "crop_size": 40}
    changes = [
        {},
        {"size": 40, "do_center_crop": False},
        {"size": {"shortest_edge": 47}},
        {"size": 48},
        {"resample": 3},
    ]
    changes += [{"crop_size": 32}, {"rescale_factor": 1 / 127.5}, {"do_rescale": False}, {"image_std": 0.2}]
    transforms = [PairTransform.from_processor(CDEImageProcessor(**(steps | change))) for change in changes]
    transforms += [PairTransform.from_processor(CDEImageProcessor(**steps), crop="none")]
    transforms += [PairTransform.from_processor(CDEImageProcessor(**steps), crop_margin=0.2)]
    found = {json.dumps(description(model, transform, "float32", "cpu"), sort_keys=True) for transform in transforms}
    assert len(found) == len(transforms)


@pytest.mark.parametrize(
    "steps", [{"size": 32}, {"size": {"shortest_edge": 40}, "do_center_crop": True, "crop_size": 32}]
)
@pytest.mark.parametrize("encoding", ["PNG", "JPEG"])
def test_a_box_is_seen_as_in_training(encoding, steps, tmp_path):
    """Also of a large JPEG, of which training decodes no more than it needs."""
    processor, box = CDEImageProcessor(**steps), [50, 40, 289, 219]
    content = [encoded(noise(400, 300, seed), encoding) for seed in range(2)]
    files = [tmp_path / "before", tmp_path / "after"]
    for file, one in zip(files, content, strict=True):
        file.write_bytes(one)
    seen = PairTransform.from_processor(processor, crop="box").pixel_values(*content, box)
    assert torch.equal(seen, processor(*files, box=box)["pixel_values"][0])
    assert torch.equal(seen, processor([files[0]], [files[1]], box=[box])["pixel_values"][0])
    pipe = ActionClassificationPipeline(model=tiny_cde("vit"), image_processor=processor)
    rows = {name: {"bytes": one, "path": None} for name, one in zip(("before", "after"), content, strict=True)}
    shown = []
    pipe.model.register_forward_pre_hook(lambda _, given, named: shown.append(named["pixel_values"]), with_kwargs=True)
    pipe(*map(str, files), box=box)
    pipe([rows], box=[box])
    assert all(torch.equal(seen, one[0]) for one in shown) and len(shown) == 2
