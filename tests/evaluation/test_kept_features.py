"""The evaluation command reads kept features where the store has some of the backbone, or a folder is given."""

import json

import pytest
import torch

from modeling_cde import CDEImageProcessor, JointEncoderForActionClassification
from modeling_cde.data.load_splits import load_tested
from modeling_cde.data.transforms import PairTransform
from modeling_cde.evaluation.__main__ import main
from modeling_cde.features.keep import keep_features
from modeling_cde.features.store import FeatureStore
from tests.drawn_pairs import ACTIONS
from tests.tiny_models import backbone_config, tiny_cde

SHOWN = PairTransform((32, 32), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
LABELS = dict(enumerate(ACTIONS))


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A checkpoint, on a machine with an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = tiny_cde("vit", id2label=LABELS, pooling="change")
    model.save_pretrained(tmp_path / "model")
    size = {"height": 32, "width": 32}
    CDEImageProcessor(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def evaluated(checkpoint, data, *arguments):
    """The metrics of its test split."""
    output = checkpoint.parent / "evaluated"
    main(["--model", str(checkpoint), "--data", str(data), "--output", str(output), "--split", "test", *arguments])
    return json.loads((output / "metrics.json").read_text())


def test_pictures_are_read_where_nothing_is_kept(checkpoint, data, capsys):
    metrics = evaluated(checkpoint, data)
    assert "features" not in metrics and "Reading pictures.\n" in capsys.readouterr().err
    assert not (checkpoint.parent / "cache" / "modeling-cde").exists()


def test_a_given_folder_is_filled_and_read(checkpoint, data, capsys):
    plain, folder = evaluated(checkpoint, data), checkpoint.parent / "store"
    first = evaluated(checkpoint, data, "--feature_store", str(folder))
    number = first["features"]["encoded"]
    assert first["features"] == {"precision": "float32", "encoded": number, "found": 0} and number > 0
    assert f"Reading features in float32 from {folder}.\n" in capsys.readouterr().err
    second = evaluated(checkpoint, data, "--feature_store", str(folder))
    assert second["features"] == {"precision": "float32", "encoded": 0, "found": number}
    assert first["splits"] == second["splits"]
    for name, value in plain["splits"]["test"].items():
        assert first["splits"]["test"][name] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value)


@pytest.mark.parametrize(
    ("kept_in", "native", "asked", "read"),
    [
        ("float32", "0", "auto", "float32"),
        ("float32", "1", "auto", "float32"),
        ("bf16", "1", "auto", "bf16"),
        ("bf16", "0", "auto", None),  # slow here, so that others must not be encoded beside them
        ("bf16", "0", "bf16", "bf16"),
        ("float32", "1", "bf16", None),
    ],
)
def test_a_store_that_has_some_of_the_backbone_is_read(checkpoint, data, monkeypatch, kept_in, native, asked, read):
    monkeypatch.setenv("CDE_NATIVE_BF16", native)
    rows = load_tested(str(data), "single", None, None, (), True)["validation"]
    model = tiny_cde("vit", id2label=LABELS, pooling="change", delta_dim=8)  # another head
    keep_features(model, {"validation": rows}, SHOWN, FeatureStore(), precision=kept_in)
    metrics = evaluated(checkpoint, data, "--feature_precision", asked)
    assert metrics.get("features", {}).get("precision") == read


def test_auto_encodes_in_bf16_where_it_is_fast(checkpoint, data, monkeypatch):
    monkeypatch.setenv("CDE_NATIVE_BF16", "1")
    metrics = evaluated(checkpoint, data, "--feature_store", str(checkpoint.parent / "store"))
    assert (metrics["features"]["precision"], metrics["precision"]) == ("bf16", "float32")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--feature_store=store", "--feature_store_gb=0"], "which needs --feature_store_gb above 0"),
        (["--feature_store_gb=-1"], "--feature_store_gb must be at least 0"),
        (["--feature_store=store", "--feature_store_gb=1e-6"], "raise --feature_store_gb"),
    ],
)
def test_what_cannot_be_kept_is_said(checkpoint, data, arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=sentence) as stopped:
        evaluated(checkpoint, data, *arguments)
    assert "\n" not in str(stopped.value)


def test_a_model_that_cannot_read_features_reads_pictures(checkpoint, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    folder, size = checkpoint.parent / "joint", {"height": 32, "width": 64}
    model = JointEncoderForActionClassification.from_backbone(backbone_config("dinov2"), id2label=LABELS)
    model.save_pretrained(folder)
    CDEImageProcessor(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(folder)
    assert "features" not in evaluated(folder, data)
    with pytest.raises(SystemExit, match="reads where patches are, .* have 64x32 pixels: show it square pictures"):
        evaluated(folder, data, "--feature_store", "store")
