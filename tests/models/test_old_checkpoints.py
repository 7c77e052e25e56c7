"""Checkpoints that were saved when the models' files had other names load, and name today's files when saved again."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModel

from modeling_cde import CDEImageProcessor
from modeling_cde.models.load_model import load_action_model
from modeling_cde.models.methods import METHODS
from modeling_cde.training.new_model import options_from_data
from tests.tiny_models import backbone_config, clips

OLD_FILES = {
    "cde": "modeling_cde",
    "concatenation": "modeling_concatenation",
    "icm": "modeling_baselines",
    "sms": "modeling_baselines",
    "oracle_mask": "modeling_token_baselines",
    "token_matching": "modeling_token_baselines",
}


@pytest.mark.parametrize(("name", "old"), OLD_FILES.items())
def test_a_checkpoint_with_files_of_other_names(name, old, tmp_path):
    method = METHODS[name]
    torch.manual_seed(0)
    options = options_from_data(method.config_class, ["open", "close"], ["cup", "door"])
    model = method.model_class.from_backbone(backbone_config("vit"), delta_dim=8, **options).eval()
    model.save_pretrained(tmp_path)
    CDEImageProcessor(size=32).save_pretrained(tmp_path)
    for file in tmp_path.glob("*.py"):
        file.unlink()
    (tmp_path / f"{old}.py").write_text("raise SystemExit('the code of the checkpoint was run')")
    saved = json.loads((tmp_path / "config.json").read_text())
    now = saved["auto_map"]
    saved["auto_map"] = {auto: f"{old}.{reference.rpartition('.')[2]}" for auto, reference in now.items()}
    (tmp_path / "config.json").write_text(json.dumps(saved))

    extra = {"masks": torch.ones(2, 2, 32, 32)} if method.needs_masks else {}
    assert type(AutoConfig.from_pretrained(tmp_path)) is method.config_class
    found, _ = load_action_model(str(tmp_path))
    encoder = AutoModel.from_pretrained(tmp_path)
    assert type(found) is method.model_class and type(encoder) is method.load(method.auto_model or method.model)
    with torch.no_grad():
        expected = model(clips(), **extra)
        assert torch.equal(found(clips(), **extra).logits, expected.logits)
        assert torch.equal(encoder(clips(), **extra).delta, expected.delta)
    found.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["auto_map"] == now
    for reference in now.values():
        assert (tmp_path / f"{reference.partition('.')[0]}.py").read_text().startswith('"""')
