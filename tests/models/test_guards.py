"""What every method refuses: labels, objects, features and backbones that do not fit."""

import pytest
import torch

from modeling_cde import CDEConfig
from modeling_cde.models.methods import METHODS
from tests.tiny_models import backbone_config, clips, tiny_cde

OPTIONS = {
    "icm": {"num_objects": 5},
    "sms": {"action_blocks": [0, 0, 1]},
    "neighbours": {"bank_size": 8},
    "cde": {"delta_mode": "patch", "top_k_patches": 4},
}


def of(method, family="vit"):
    options = {"id2label": {0: "open", 1: "close", 2: "break"}, "delta_dim": 16} | OPTIONS.get(method, {})
    return METHODS[method].model_class.from_backbone(backbone_config(family), **options)


@pytest.mark.parametrize("method", METHODS)
def test_labels_and_objects_of_other_lengths_are_refused_by_every_method(method):
    """Also where there are as many of them, or one that would be repeated for all."""
    model = of(method).eval()
    extra = {"masks": torch.ones(4, 2, 32, 32), "objects": torch.zeros(4).long()}
    given = {name: extra[name] for name in model.extra_inputs}
    wrong = [(2, 2), (1,), (3,), (1, 4), ()]
    for shape in wrong:
        with pytest.raises(ValueError, match="labels must have "):
            model(clips(4), labels=torch.zeros(shape).long(), **given)
    assert model(clips(4), labels=torch.zeros(4).long(), **given).loss.isfinite()
    with pytest.raises(ValueError, match=r"labels must have the shape \(2, 2\) for 3 frames, not \(4,\)"):
        longer = {"masks": torch.ones(2, 3, 32, 32), "objects": torch.zeros(2).long()}
        model(clips(2, 3), labels=torch.zeros(4).long(), **{name: longer[name] for name in given})
    for shape in wrong if "objects" in given else ():
        with pytest.raises(ValueError, match="objects must have the shape"):
            model(clips(4), labels=torch.zeros(4).long(), objects=torch.zeros(shape).long())


@pytest.mark.parametrize("method", METHODS)
def test_gradient_checkpointing_is_what_the_backbone_has(method):
    model = of(method)
    assert model.supports_gradient_checkpointing and model.base_model.supports_gradient_checkpointing
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing
    for without in (of(method, "resnet"), of(method, "resnet").base_model):
        with pytest.raises(ValueError, match="does not support"):
            without.gradient_checkpointing_enable()


@pytest.mark.parametrize(
    ("family", "sizes", "words"),
    [
        ("vit", {"num_attention_heads": 3}, "hidden_size=32 must be a multiple of num_attention_heads=3"),
        ("resnet", {"depths": [1, 2, 3]}, r"as many hidden_sizes as depths, not \[8, 32\] and \[1, 2, 3\]"),
        ("resnet", {"hidden_sizes": [8, 0]}, "hidden_sizes must be a whole number of at least 1 .*, not 0"),
        ("vit", {"hidden_size": 0}, "hidden_size must be a whole number of at least 1 .*, not 0"),
        ("vit", {"num_hidden_layers": -1}, "num_hidden_layers must be a whole number of at least 0 .*, not -1"),
        ("vit", {"patch_size": 0}, "patch_size must be a whole number of at least 1 .*, not 0"),
    ],
)
def test_sizes_of_a_backbone_that_do_not_fit_together(family, sizes, words):
    config = backbone_config(family)
    for name, value in sizes.items():
        setattr(config, name, value)
    with pytest.raises(ValueError, match=words):
        CDEConfig(config)
    with pytest.raises(ValueError, match=words):
        CDEConfig(config.to_dict())
    assert CDEConfig(backbone_config("vit", num_hidden_layers=0)).backbone_config.num_hidden_layers == 0


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (torch.zeros(2, 2, 31), r"must be \(batch, frames >= 2, 32\), as .* not \(2, 2, 31\)"),
        (torch.zeros(2, 1, 32), r".* not \(2, 1, 32\)"),
        (torch.zeros(2, 2, 16, 32), r".* not \(2, 2, 16, 32\)"),
        (torch.zeros(2, 32), r".* not \(2, 32\)"),
        (torch.zeros(2, 2, 32).long(), "must be a tensor .* of floats, not torch.int64"),
        ([[0.0] * 32] * 2, ".* of floats, not list"),
    ],
)
def test_features_of_another_backbone(features, words):
    model = tiny_cde("vit")
    with pytest.raises(ValueError, match=f"features {words}"):
        model(features=features)
    with pytest.raises(ValueError, match="features replace pixel_values"):
        model(clips(2), features=torch.zeros(2, 2, 32))
