"""Wrong use is answered with the right call: inputs, labels, and checkpoints where others were meant."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification

from modeling_cde import CDEConfig, CDEForActionClassification, CDEImageProcessor, CDEModel
from modeling_cde import ConcatenationForActionClassification as Concatenation
from modeling_cde.models.load_model import load_action_model
from tests.tiny_models import backbone_config, clips, tiny_cde


@pytest.fixture(scope="module")
def model():
    return tiny_cde("vit")


@pytest.fixture(scope="module")
def folders(tmp_path_factory, model):
    """A saved CDE model, a baseline and a bare ViT."""
    folder = tmp_path_factory.mktemp("checkpoints")
    model.save_pretrained(folder / "cde")
    Concatenation.from_backbone(backbone_config("vit"), delta_dim=8).save_pretrained(folder / "baseline")
    torch.manual_seed(0)
    AutoModel.from_config(backbone_config("vit")).save_pretrained(folder / "vit")
    return folder


@pytest.mark.parametrize(
    ("pixel_values", "error", "words"),
    [
        (
            torch.zeros(4, 3, 32, 32),
            ValueError,
            r"not \(4, 3, 32, 32\): stack a pair by torch.stack\(\[before, after\]",
        ),
        (torch.zeros(2, 3, 32, 32), ValueError, r"add the batch to one pair by pixel_values.unsqueeze\(0\), or stack"),
        (torch.zeros(3, 32, 32), ValueError, r"not \(3, 32, 32\): stack a pair"),
        (clips(2, 1), ValueError, r"not \(2, 1, 3, 32, 32\): one image does not show what happened"),
        (clips().transpose(1, 2), ValueError, r"to the third place by pixel_values.transpose\(1, 2\)"),
        (clips().permute(0, 1, 3, 4, 2), ValueError, r"to the third place by pixel_values.permute\(0, 1, 4, 2, 3\)"),
        (clips()[:, :, :1], ValueError, r"not \(2, 2, 1, 32, 32\): the backbone reads 3 channels"),
        (clips().byte(), ValueError, r"must be normalised floats, not torch.uint8: call model\(\*\*processor\("),
        ({"pixel_values": clips()}, TypeError, r"must be a tensor .*, not dict: call model\(\*\*processor\("),
        (clips(2, 2, 30, 32), ValueError, "30x32 pixels, which patches of 8x8 do not fill"),
    ],
)
def test_inputs_that_are_no_clips(model, pixel_values, error, words):
    with pytest.raises(error, match=words):
        model(pixel_values)


def test_an_unknown_argument_is_named(model):
    """`forward` passes on what it does not name itself."""
    for inputs in ({"pixel_values": clips()}, {"features": torch.zeros(2, 2, 32)}):
        with pytest.raises(TypeError, match="unexpected keyword argument 'label'"):
            model(**inputs, label=torch.tensor([0, 1]))


def test_the_right_call_of_a_message_is_right(model):
    """What the messages say to do works."""
    x = clips()
    with torch.no_grad():
        expected = model(x).logits
        assert torch.equal(model(torch.stack([x[:, 0], x[:, 1]], dim=1)).logits, expected)
        torch.testing.assert_close(model(x[0].unsqueeze(0)).logits, expected[:1])
        assert torch.equal(model(x.transpose(1, 2).transpose(1, 2)).logits, expected)
        assert torch.equal(model(x.permute(0, 1, 3, 4, 2).permute(0, 1, 4, 2, 3)).logits, expected)


def test_one_image_in_place_of_two():
    with pytest.raises(TypeError, match=r"needs two: call processor\(before, after\)"):
        CDEImageProcessor(size=32)(torch.zeros(3, 8, 8))


@pytest.mark.parametrize("mode", ["global", "patch"])
def test_labels_of_another_data_set(mode):
    model = tiny_cde("vit", delta_mode=mode)
    for labels in ([0, 3], [-1, 0]):
        with pytest.raises(ValueError, match=r"labels must be in \[0, 3\), the ids of config.id2label, not (3|-1)"):
            model(clips(), labels=torch.tensor(labels))
    with pytest.raises(ValueError, match=r"whole numbers in \[0, 3\), not torch.float32: use labels.long\(\)"):
        model(clips(), labels=torch.zeros(2))
    ignored, alone = model(clips(), labels=torch.tensor([1, -100])), model(clips()[:1], labels=torch.tensor([1]))
    torch.testing.assert_close(ignored.loss, alone.loss)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"id2label": {0: "open", 2: "close"}}, r"the ids must be 0, 1, ... without a gap, not \[0, 2\]"),
        ({"id2label": {1: "open", 2: "close"}}, r"without a gap, not \[1, 2\]"),
        ({"id2label": {}}, r"without a gap, not \[\]"),
        ({"id2label": {0: "open", 1: "open"}}, "'open' names more than one id"),
        ({"id2label": ["open", "close"]}, r"dict\(enumerate\(names\)\) makes it, not \['open', 'close'\]"),
        ({"id2label": {"open": 0, "close": 1}}, "its ids must be whole numbers"),
        ({"id2label": {0: "open", 1: "close"}, "num_labels": 3}, "num_labels=3 contradicts id2label, which names 2"),
        ({"id2label": {0: "open"}, "label2id": {"close": 0}}, "is not the inverse of id2label"),
        ({"label2id": {"open": 0, "close": 2}}, r"without a gap, not \[0, 2\]"),
    ],
)
def test_labels_that_do_not_match(options, words):
    with pytest.raises(ValueError, match=words):
        CDEConfig(backbone_config("vit"), **options)
    with pytest.raises(ValueError, match=words):
        CDEForActionClassification.from_backbone(backbone_config("vit"), **options)


def test_labels_that_match(folders):
    for options in ({"id2label": {"0": "open", "1": "close"}}, {"label2id": {"open": 0, "close": 1}}):
        config = CDEConfig(backbone_config("vit"), **options)
        assert (config.id2label, config.label2id) == ({0: "open", 1: "close"}, {"open": 0, "close": 1})
    assert CDEConfig(backbone_config("vit"), num_labels=5).num_labels == 5
    config = CDEConfig.from_pretrained(folders / "cde", id2label={0: "push", 1: "pull", 2: "lift"})
    assert config.label2id == {"push": 0, "pull": 1, "lift": 2}
    with pytest.raises(ValueError, match="num_labels=5 contradicts id2label, which names 3 actions"):
        CDEConfig.from_pretrained(folders / "cde", num_labels=5)
    with pytest.raises(ValueError, match="weights of other shapes .* or add ignore_mismatched_sizes=True"):
        CDEForActionClassification.from_pretrained(folders / "cde", id2label={0: "push", 1: "pull"})
    two = CDEForActionClassification.from_pretrained(
        folders / "cde", id2label={0: "push", 1: "pull"}, ignore_mismatched_sizes=True
    )
    assert two(clips(), labels=torch.tensor([0, 1])).logits.shape == (2, 2) and two.config.num_labels == 2
    config = CDEConfig(backbone_config("vit"), id2label={0: "open", 1: "close"})
    config.id2label = {0: "open"}
    with pytest.raises(ValueError, match="is not the inverse of id2label"):
        CDEModel(config)


def test_a_checkpoint_where_another_was_meant(folders):
    words = (
        r"is a 'vit' checkpoint, not a trained 'cde' model: make a new model on it by CDEForAction.*from_backbone\('"
    )
    for kind in (CDEForActionClassification, CDEModel, CDEConfig):
        with pytest.raises(ValueError, match=words):
            kind.from_pretrained(folders / "vit")
    with pytest.raises(
        ValueError, match="is a 'cde-concatenation' checkpoint, .* load it by AutoModel.from_pretrained"
    ):
        CDEForActionClassification.from_pretrained(folders / "baseline")
    with pytest.raises(ValueError, match="is a 'cde' checkpoint, not a 'cde-concatenation' one"):
        Concatenation.from_pretrained(folders / "cde")
    for kind in (CDEForActionClassification, Concatenation):
        for folder in ("cde", "baseline"):
            with pytest.raises(ValueError, match=f"{folder} is a CDE checkpoint: load it by {kind.__name__}.from_pre"):
                kind.from_backbone(folders / folder)
    with pytest.raises(ValueError, match="Unrecognized configuration class"):  # Transformers' own words
        AutoModelForImageClassification.from_pretrained(folders / "cde")


def test_a_backbone_that_needs_its_own_code_is_refused(folders, tmp_path):
    """Its code is not even looked at, and none of it comes along where Transformers knows the model itself."""
    shutil.copytree(folders / "vit", tmp_path / "vit")
    file = tmp_path / "vit" / "config.json"
    own = {"auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (tmp_path / "vit" / "evil.py").write_text("raise SystemExit('remote code was run')")
    file.write_text(json.dumps(json.loads(file.read_text()) | own))
    model = CDEForActionClassification.from_backbone(tmp_path / "vit", num_labels=3)
    assert not hasattr(model.config.backbone_config, "auto_map") and model.config.backbone_revision is None
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_type": "evil"}))
    with pytest.raises(ValueError, match="needs code of its own, which CDEForActionClassification never runs"):
        CDEForActionClassification.from_backbone(tmp_path / "vit")


def test_a_loaded_configuration_names_our_code_only(folders, tmp_path):
    """Whatever code a checkpoint names, the one that the installed package saves names its own."""
    config = json.loads((folders / "cde" / "config.json").read_text())
    own = {"auto_map": config["auto_map"], "custom_pipelines": config["custom_pipelines"]}
    evil = {
        "auto_map": {"AutoModel": "x/y--evil.Model"},
        "custom_pipelines": {"action-classification": {"impl": "evil.P"}},
    }
    (tmp_path / "config.json").write_text(json.dumps(config | evil))
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert not hasattr(loaded, "custom_pipelines")
    loaded.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()).items() >= own.items()


def test_pickled_weights_are_not_read(folders, tmp_path):
    shutil.copytree(folders / "vit", tmp_path / "vit")
    weights = AutoModel.from_pretrained(folders / "vit").state_dict()
    (tmp_path / "vit" / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "vit" / "pytorch_model.bin")
    with pytest.raises(
        OSError, match=r"has no model.safetensors, and pickled .*AutoModel.from_pretrained\(\".*/vit\"\)"
    ):
        CDEModel.from_backbone(tmp_path / "vit")
    AutoModel.from_pretrained(tmp_path / "vit").save_pretrained(tmp_path / "converted")  # what the message says
    found = CDEModel.from_backbone(tmp_path / "converted").backbone.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in found.items()) and found
    shutil.copytree(folders / "cde", tmp_path / "cde")
    (tmp_path / "cde" / "model.safetensors").unlink()
    with pytest.raises(OSError, match=r"has no model.safetensors.* save the model again by save_pretrained"):
        CDEModel.from_pretrained(tmp_path / "cde")


def test_an_index_that_names_pickled_shards_is_refused(folders, tmp_path):
    for name in ("vit", "cde"):
        shutil.copytree(folders / name, tmp_path / name)
        torch.save(load_file(tmp_path / name / "model.safetensors"), tmp_path / name / "pytorch_model.bin")
        (tmp_path / name / "model.safetensors").unlink()
        index = {"metadata": {}, "weight_map": {"classifier.weight": "pytorch_model.bin"}}
        (tmp_path / name / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(OSError, match="cde has weights in 'pytorch_model.bin', and only safetensors are read"):
        CDEModel.from_pretrained(tmp_path / "cde")
    with pytest.raises(OSError, match="vit has weights in 'pytorch_model.bin', and only safetensors are read"):
        CDEModel.from_backbone(tmp_path / "vit")


def test_a_folder_that_is_not_there_or_is_empty_is_named(tmp_path):
    for call in (CDEModel.from_backbone, CDEModel.from_pretrained):
        with pytest.raises(
            OSError, match="There is no folder .*/nowhere, and a repository on the Hub would be named ORG"
        ):
            call(str(tmp_path / "nowhere"))
        with pytest.raises(OSError, match="There is no folder ./nowhere, and"):
            call("./nowhere")
    with pytest.raises(OSError, match="nowhere has no preprocessor_config.json"):
        CDEImageProcessor.from_backbone(tmp_path / "nowhere")
    with pytest.raises(OSError, match="has no config.json: give the folder or repository that a model was saved in"):
        CDEModel.from_pretrained(tmp_path)
    with pytest.raises(OSError, match="has no config.json: give the folder or repository of a vision model"):
        CDEModel.from_backbone(tmp_path)


def test_options_that_no_configuration_has():
    with pytest.raises(TypeError, match="CDEConfig has no field 'delta_size'; its own fields are .*delta_dim"):
        CDEModel.from_backbone(backbone_config("vit"), delta_size=3)
    assert isinstance(CDEModel.from_backbone(backbone_config("vit"), delta_dim=3), nn.Module)


def test_an_encoder_is_no_trained_action_model(folders, tmp_path):
    """Its classifier would be random numbers, and so would every score."""
    whole = CDEForActionClassification.from_pretrained(folders / "cde")
    for name, saved in (("encoder", whole.cde), ("headless", whole)):
        saved.save_pretrained(tmp_path / name)
        CDEImageProcessor(size=32).save_pretrained(tmp_path / name)
    file = tmp_path / "headless" / "model.safetensors"
    weights = load_file(file)
    save_file({name: weights[name] for name in weights if "classifier" not in name}, file, {"format": "pt"})
    with pytest.raises(ValueError, match="headless lacks the weight classifier.bias and 1 more: config.json and"):
        load_action_model(str(tmp_path / "headless"))
    with pytest.raises(ValueError, match="encoder is an encoder without an action classifier, so its scores would be"):
        load_action_model(str(tmp_path / "encoder"))
    again, _ = load_action_model(str(tmp_path / "encoder"), encoder_will_do=True)
    with torch.no_grad():
        assert torch.equal(again(clips()).delta, whole.eval()(clips()).delta)


def test_weights_that_the_configuration_has_no_place_for(folders, tmp_path):
    """Of a deeper backbone: the first layers alone would give other features."""
    shutil.copytree(folders / "cde", tmp_path / "cde")
    file = tmp_path / "cde" / "config.json"
    config = json.loads(file.read_text())
    config["backbone_config"]["num_hidden_layers"] = 1
    file.write_text(json.dumps(config))
    for kind in (CDEForActionClassification, CDEModel):
        with pytest.raises(
            ValueError, match="has no place in its configuration for the weight .*layers?.1.* and 15 more"
        ):
            kind.from_pretrained(tmp_path / "cde")
