"""The first command, on drawn pairs and a tiny pretrained backbone: two methods on features that are computed once."""

import json

import pytest
from transformers import AutoModel

from modeling_cde.data.splits.titles import split_title
from modeling_cde.features import encoder
from modeling_cde.models.load_model import load_action_model
from tests import small_runs
from tests.tiny_models import backbone_config

SMALL = ["--image_size=32", "--use_cpu=true", "--num_train_epochs=2", "--per_device_train_batch_size=16"]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A folder of a backbone with as many layers as the recipe reads, and DINOv2's own processor, which crops."""
    folder = tmp_path_factory.mktemp("backbone")
    AutoModel.from_config(backbone_config("dinov2", num_hidden_layers=12, hidden_size=16)).save_pretrained(folder)
    settings = {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256}, "resample": 3}
    settings |= {"do_center_crop": True, "crop_size": {"height": 224, "width": 224}}
    settings |= {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture
def train(data, backbone, tmp_path):
    """Runs the recipe; returns the folder of the run."""

    def run(*arguments):
        output = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
        places = [f"--backbone={backbone}", f"--data={data}", f"--feature_store={tmp_path / 'store'}"]
        small_runs.train("quickstart.yaml", *places, f"--output_dir={output}", *SMALL, *arguments)
        return output

    return run


def test_both_methods_are_printed_and_read_features_that_were_encoded_once(train, capsys, monkeypatch):
    seen = []
    encode = encoder.Encoder.__call__
    monkeypatch.setattr(encoder.Encoder, "__call__", lambda self, clips: seen.append(len(clips)) or encode(self, clips))
    output = train()
    printed = capsys.readouterr().out
    metrics, plain = (json.loads((output / name / "metrics.json").read_text()) for name in ("", "concatenation"))
    assert metrics["training"]["arguments"]["method"] == "cde"
    assert plain["training"]["arguments"]["method"] == "concatenation"
    assert plain["training"]["arguments"]["contrastive_weight"] == 0
    assert "| split | pairs | concatenation, cross-entropy (vanilla) | CDE |" in printed
    for name, values in metrics["splits"].items():
        cells = f"| {values['n']} | {plain['splits'][name]['accuracy']:.3f} | {values['accuracy']:.3f} |"
        assert (f"| {split_title(name)} {cells}" in printed) == name.startswith("test")
    pairs = sum(metrics["training"]["pairs"].values())
    assert 0 < sum(seen) <= pairs + 1  # one more clip shows how large features are
    model, processor = load_action_model(str(output))
    assert (model.config.pooling, model.config.feature_layers) == ("change", [6, 8, 10, 12])
    assert dict(processor.size) == {"height": 32, "width": 32}
    seen.clear()
    again = train("--seed=1", "--compare_with=cde", "--max_steps=1")  # itself: nothing to compare with
    assert not seen and not list(again.glob("*/metrics.json"))


def test_an_unknown_method_is_refused_before_anything_is_rendered(train, tmp_path):
    with pytest.raises(SystemExit, match="compare_with='magic' is not known"):
        train("--compare_with", "magic")
    assert not (tmp_path / "store").exists()
