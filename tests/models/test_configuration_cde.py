"""CDEConfig: rules, round trip, nested configuration."""

import json

import pytest
from transformers import AutoConfig, CLIPConfig, ViTConfig

from modeling_cde import CDEConfig, ConcatenationConfig
from tests.tiny_models import FAMILY_NAMES, backbone_config


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delta_mode": "patches"}, "delta_mode must be one of 'global', 'patch'"),
        ({"patch_loss": "mean"}, "patch_loss must be one of"),
        ({"pooling": "max"}, "pooling must be one of"),
        ({"feature_layers": []}, "feature_layers must be a list of whole numbers"),
        ({"feature_layers": [1.5]}, "feature_layers must be a list of whole numbers"),
        ({"delta_dim": 0}, "delta_dim must be a whole number of at least 1"),
        ({"top_k_patches": 2.5}, "top_k_patches must be a whole number"),
        ({"top_k_patches": True}, "top_k_patches must be a whole number"),
        ({"projector_num_layers": 0}, "projector_num_layers"),
        ({"projector_hidden_dim": -1}, "projector_hidden_dim"),
        ({"projector_dropout": 1.0}, "projector_dropout must be in [0, 1)"),
        ({"num_prefix_tokens": -1}, "num_prefix_tokens"),
        ({"backbone_config": {"hidden_size": 8}}, 'no "model_type"'),
        ({"_attn_implementation": "kernels-community/x"}, "_attn_implementation names code of a repository"),
        ({"quantization_config": "x"}, "quantization_config must be a mapping or null"),
        ({"backbone_config": {"model_type": "vit", "attn_implementation": "a/b"}}, "names code of a repository, 'a/b'"),
        ({"backbone_config": {"model_type": "nonesuch"}}, "nonesuch"),
    ],
)
def test_a_broken_rule_is_named(options, words):
    with pytest.raises(ValueError) as error:
        CDEConfig(**options)
    assert words in str(error.value)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_round_trip_through_json(family, tmp_path):
    config = CDEConfig(backbone_config(family), delta_dim=12, id2label={0: "open", 1: "close", 2: "break"})
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert type(again) is CDEConfig
    assert type(again.backbone_config) is type(config.backbone_config)
    assert again.to_diff_dict() == config.to_diff_dict()
    assert again.label2id == {"open": 0, "close": 1, "break": 2} and again.num_labels == 3


def test_a_dict_and_an_object_give_the_same_backbone():
    vit = ViTConfig(hidden_size=32, num_attention_heads=2, patch_size=8)
    assert CDEConfig(vit.to_dict()).backbone_config.to_dict() == CDEConfig(vit).backbone_config.to_dict()
    assert CDEConfig().backbone_config.model_type == "vit"


def test_the_callers_configuration_is_not_changed():
    mae = backbone_config("vit_mae")
    assert CDEConfig(mae).backbone_config.mask_ratio == 0.0
    assert mae.mask_ratio == 0.75


def test_two_towers_become_the_vision_tower():
    assert CDEConfig(CLIPConfig()).backbone_config.model_type == "clip_vision_model"
    assert CDEConfig({"model_type": "siglip"}).backbone_config.model_type == "siglip_vision_model"


def test_a_nested_configuration_names_no_code_to_run(tmp_path):
    hostile = {
        "model_type": "vit",
        "trust_remote_code": True,
        "auto_map": {"AutoModel": "someone/else--evil.Model"},
        "custom_pipelines": {"x": {}},
    }
    as_object = ViTConfig(**{key: value for key, value in hostile.items() if key != "model_type"})
    for given in (hostile, as_object):
        CDEConfig(given).save_pretrained(tmp_path)
        nested = json.loads((tmp_path / "config.json").read_text())["backbone_config"]
        assert not {"trust_remote_code", "auto_map", "custom_pipelines"} & set(nested)


def test_every_saved_configuration_says_where_its_code_is(tmp_path):
    CDEConfig().save_pretrained(tmp_path)
    auto_map = json.loads((tmp_path / "config.json").read_text())["auto_map"]
    assert auto_map["AutoConfig"] == "configuration_cde.CDEConfig"
    assert auto_map["AutoModel"] == "modeling_cde.CDEModel"
    assert "modeling_cde.CDEForActionClassification" in auto_map.values()
    assert not {"AutoModelForImageClassification", "AutoModelForVideoClassification"} & set(auto_map)


def test_concatenation_configuration(tmp_path):
    config = ConcatenationConfig(backbone_config("vit"), head_inputs="z_after", delta_dim=12)
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert type(again) is ConcatenationConfig and again.head_inputs == "z_after" and again.delta_dim == 12
    assert again.to_diff_dict() == config.to_diff_dict()
    with pytest.raises(ValueError, match="head_inputs"):
        ConcatenationConfig(head_inputs="both")
    with pytest.raises(ValueError, match="delta_mode"):
        ConcatenationConfig(delta_mode="patch")
