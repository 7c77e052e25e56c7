"""Cards say what the two files of a run say, for each method, and carry metadata that the Hub client accepts."""

import json

import pytest
from huggingface_hub import ModelCard

from modeling_cde.cards.model_card import main, write_model_card


def run_folder(folder, model_type="cde", delta_mode="global", data=None, backbone=None):
    """The files of a finished run, with accuracies that no run would give."""
    figures = {"accuracy": 0.12345, "macro_accuracy": 0.5, "n": 7}
    arguments = {"seed": 3, "image_size": 48, "data": data, "backbone": backbone, "method": "cde", "top_k_patches": 2}
    config = {
        "model_type": model_type,
        "id2label": {"1": "close", "0": "open"},
        "backbone_config": {"model_type": "vit"},
        "delta_mode": delta_mode,
        "top_k_patches": 2,
    }
    metrics = {
        "splits": {"validation": figures, "test": figures | {"accuracy": 0.75}, "test_syst": figures},
        "gap": {"test_syst": 0.62655},
        "environment": {"device": "CPU", "cores": 2, "torch": "2", "transformers": "5"},
        "training": {
            "command": "accelerate launch train.py --seed 3",
            "data": data or "data/rooms",
            "minutes": 1.5,
            "pairs": {"train": 9},
            "arguments": arguments,
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_measured_numbers_and_metadata(tmp_path, capsys):
    main([str(run_folder(tmp_path)), "--name", "cde-test"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "README.md")
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.license == "apache-2.0" and card.data.library_name == "transformers"
    assert {r.dataset_split: r.metric_value for r in card.data.eval_results} == {"test": 0.75, "test_syst": 0.1235}
    for text in (
        "# cde-test",
        "2 actions (open, close)",
        "| test_syst | unseen objects | 7 | 0.123 | 0.500 |",
        "0.627 on test_syst",
        "accelerate launch train.py --seed 3",
        "rendered rooms",
        "swapping the two flips the sign",
        "vit, trained from scratch",
        "1.5 minutes on CPU (2 cores)",
    ):
        assert text in card.text, text
    assert "top_k_patches" not in card.text  # no patches in global mode


def test_a_test_that_chose_the_checkpoint_is_not_said_to_be_looked_at_once(tmp_path):
    run_folder(tmp_path)
    assert "was looked at once" in write_model_card(tmp_path).read_text()
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    metrics["training"]["pairs_used_twice"] = {"test_syst": 6}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    text = write_model_card(tmp_path).read_text()
    assert "looked at once" not in text and "6 of the 7 pairs of test_syst stand in `validation*`, too" in text


def test_each_method_is_told_as_it_is(tmp_path):
    text = write_model_card(run_folder(tmp_path, "cde-concatenation", data="org/pairs")).read_text()
    assert "ConcatenationForActionClassification.from_pretrained" in text and "flips the sign" not in text
    assert "rendered rooms" not in text
    assert "| top_k_patches | 2 |" in write_model_card(run_folder(tmp_path, delta_mode="patch")).read_text()


def test_base_model_is_a_repository_and_never_a_folder(tmp_path):
    path = write_model_card(run_folder(tmp_path, backbone="facebook/dino-vits16"))
    assert ModelCard.load(path).data.base_model == "facebook/dino-vits16"
    path = write_model_card(run_folder(tmp_path, backbone=str(tmp_path)))
    assert ModelCard.load(path).data.base_model is None


@pytest.mark.parametrize("missing", ["config.json", "metrics.json"])
def test_an_unfinished_run_is_named(tmp_path, missing):
    (run_folder(tmp_path) / missing).unlink()
    with pytest.raises(FileNotFoundError, match=f"{missing} is missing: give the output folder of a finished run"):
        write_model_card(tmp_path)
