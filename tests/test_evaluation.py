"""Evaluation: the two files say what a naive pass over the pairs says, and every pair is counted once."""

import json

import pytest
import torch
from safetensors import safe_open
from transformers import ViTConfig

from modeling_cde import CDEForActionClassification, CDEImageProcessor
from modeling_cde.data.shifts import load_shifts
from modeling_cde.data.transforms import PairTransform
from modeling_cde.evaluation import evaluate_splits, main, results_table
from tests.drawn_pairs import ACTIONS, OBJECTS, draw_data_set


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw_data_set(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    backbone = ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8
    )
    return CDEForActionClassification.from_backbone(
        backbone, id2label=dict(enumerate(ACTIONS)), delta_dim=16, delta_mode="patch", top_k_patches=3
    )


TRANSFORM = PairTransform(size=(32, 32), crop="box")


def test_files_agree_with_a_naive_pass(data, model, tmp_path):
    splits = load_shifts(str(data))
    chosen = {name: splits[name] for name in ("test", "test_syst")}
    metrics = evaluate_splits(model, chosen, TRANSFORM, tmp_path, batch_size=4, extra={"note": 1})
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert metrics["note"] == 1
    with safe_open(tmp_path / "deltas.safetensors", "pt") as file:
        header = file.metadata()
        stored = {key: file.get_tensor(key) for key in file.keys()}
    assert json.loads(header["actions"]) == ACTIONS and json.loads(header["objects"]) == OBJECTS
    for name, rows in chosen.items():
        hits = 0
        model.eval()
        for index, row in enumerate(rows.with_transform(TRANSFORM)):
            with torch.no_grad():
                outputs = model(pixel_values=row["pixel_values"][None])
            hits += int(outputs.logits.argmax() == row["labels"])
            assert torch.allclose(stored[f"{name}/delta"][index], outputs.delta[0, 0], atol=1e-5)
            assert torch.allclose(stored[f"{name}/states"][index], outputs.states[0], atol=1e-5)
            assert stored[f"{name}/labels"][index] == row["labels"]
        assert metrics["splits"][name]["n"] == len(rows) == index + 1
        assert metrics["splits"][name]["accuracy"] == pytest.approx(hits / len(rows))
        assert stored[f"{name}/patch_indices"].shape == (len(rows), 3)
        assert stored[f"{name}/objects"].tolist() == rows.with_format(None)["object"][:]
        assert json.loads(header["rows"])[name]["pair_id"] == rows.with_format(None)["pair_id"][:]
    lost = metrics["splits"]["test"]["accuracy"] - metrics["splits"]["test_syst"]["accuracy"]
    assert metrics["gap"] == pytest.approx({"test_syst": lost})
    assert f"| test_syst | {len(chosen['test_syst'])} |" in results_table(metrics)


def test_the_batch_size_changes_nothing(data, model, tmp_path):
    rows = {"test": load_shifts(str(data))["test"]}
    one, many = (evaluate_splits(model, rows, TRANSFORM, tmp_path / str(n), batch_size=n) for n in (1, 7))
    assert one["splits"]["test"]["accuracy_by_object"] == many["splits"]["test"]["accuracy_by_object"]
    assert one["splits"]["test"]["cross_entropy"] == pytest.approx(many["splits"]["test"]["cross_entropy"], rel=1e-5)


def test_training_mode_is_given_back(data, model, tmp_path):
    model.train()
    evaluate_splits(model, {"test": load_shifts(str(data))["test"]}, TRANSFORM, tmp_path)
    assert model.training


def test_command_line_on_a_saved_checkpoint(data, model, tmp_path, capsys):
    model.save_pretrained(tmp_path / "model")
    CDEImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "model")
    main(["--model", str(tmp_path / "model"), "--data", str(data), "--output", str(tmp_path / "out")])
    assert "| test_comp |" in capsys.readouterr().out
    assert set(json.loads((tmp_path / "out" / "metrics.json").read_text())["gap"]) == {"test_comp", "test_syst"}


def test_empty_splits_are_named(data, model, tmp_path):
    with pytest.raises(ValueError, match="splits is empty"):
        evaluate_splits(model, {}, TRANSFORM, tmp_path)
    with pytest.raises(ValueError, match="the split 'none' has no pairs"):
        evaluate_splits(model, {"none": load_shifts(str(data))["test"].select([])}, TRANSFORM, tmp_path)


def test_a_bare_backbone_is_no_action_model(model, data, tmp_path):
    model.cde.backbone.save_pretrained(tmp_path / "vit")
    with pytest.raises(ValueError, match="'vit' checkpoint, not a trained action model"):
        main(["--model", str(tmp_path / "vit"), "--data", str(data), "--output", str(tmp_path)])
