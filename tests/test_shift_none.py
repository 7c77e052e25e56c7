"""Data sets that hold nothing out, end to end: trained with the parts that there are, and described as they were."""

import json
import re
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from data_scripts import splits
from modeling_cde.analysis.__main__ import main as analyse
from modeling_cde.analysis.doctor.diagnosis import examine_run
from modeling_cde.analysis.results import load_results
from modeling_cde.evaluation.__main__ import main as evaluate
from modeling_cde.evaluation.evaluate import evaluate_splits
from modeling_cde.training.closed_form import DEFAULT_SHRINKAGE
from tests import small_runs
from tests.drawn_pairs import draw_data_set

TINY = [*small_runs.TINY, "--delta_dim=16", "--num_train_epochs=1", "--per_device_train_batch_size=16"]
TINY += ["--precision=float32", "--shift=none"]
LDA = ["--freeze_backbone=true", "--augment=false", "--classifier=lda", "--num_train_epochs=0"]
ALL = ["--validation=0", "--test=0", "--cap=0"]


def train(*arguments):
    """Train by a recipe that evaluates each epoch and keeps the best one."""
    small_runs.train("from_scratch.yaml", *TINY, *map(str, arguments))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """200 pairs with a joint split."""
    return draw_data_set(tmp_path_factory.mktemp("drawn"))


def split(drawn, folder, *shares):
    """A copy of the pairs that is also split without a shift."""
    shutil.copytree(drawn, folder)
    splits.main(["--data", str(folder), "--shift", "none", *shares])
    return folder


@pytest.fixture(scope="module")
def everything(drawn, tmp_path_factory):
    return split(drawn, tmp_path_factory.mktemp("all") / "pairs", *ALL)


@pytest.fixture(scope="module")
def run(everything, tmp_path_factory):
    """A model of all pairs and their swapped copies."""
    output = tmp_path_factory.mktemp("run")
    train("--data", everything, "--swap_opposites=true", "--evaluate_last_checkpoint=true", "--output_dir", output)
    return output


def test_all_pairs_train_and_nothing_is_tested(everything, run, tmp_path, capsys):
    capsys.readouterr()
    train("--data", everything, "--swap_opposites=true", "--output_dir", tmp_path)
    said = capsys.readouterr().out
    assert "Training in float32; final scores in float32." in said
    assert "An epoch has 200 training pairs and 200 swapped copies under the opposite action." in said
    assert said.count("There is no validation part: nothing is validated on the way, and the last step is kept.") == 1
    assert "\nAll pairs were trained on, so nothing was tested;" in said and "modeling_cde.analysis" not in said
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["splits"] == metrics["gap"] == {} and metrics["train"]["n"] == 200
    record = metrics["training"]
    assert record["pairs"] == {"train": 200} and record["arguments"]["metric_for_best_model"] is None
    assert record["selected"] == {"step": 25, "epoch": 1.0, "criterion": None}
    assert [Path(path).name for path in record["manifests"]] == ["single_none.json"]
    assert [path.name for path in run.glob("split_*.json")] == ["split_single_none.json"]
    assert not any(
        "eval" in key for log in json.loads((run / "trainer_state.json").read_text())["log_history"] for key in log
    )
    for file in ("deltas.safetensors", "gallery.parquet", "training_curve.png"):
        assert (run / file).is_file()
    assert not (run / "last").exists()  # it is the same epoch


def test_the_card_says_that_nothing_was_tested(run):
    card = ModelCard.load(run / "README.md")
    assert card.data.eval_results is None and "model-index" not in (run / "README.md").read_text()
    assert "All pairs were trained on, so nothing was tested" in card.text and "| split |" not in card.text
    assert "On its training pairs: " in card.text and "Not measured, because no pairs were tested." in card.text
    for false in ("not used for training", "`test_comp`", "a validation split", "one split of the data"):
        assert false not in card.text


def test_analysis_and_doctor_answer_clearly(run, capsys):
    with pytest.raises(SystemExit) as ended:
        analyse([str(run), "--no_umap"])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert f"{run} was trained on all pairs, so there are no scores to report: test the checkpoint on others" in said
    examined = examine_run(run)
    assert "numbers that are not finite" in examined.checked
    assert [finding.sign for finding in examined.findings] == ["too short"]
    (result,) = load_results(run)
    assert result.shift == "none" and result.selected.splits == {}


def test_such_a_model_is_tested_elsewhere(drawn, everything, run, tmp_path, capsys):
    evaluate(["--model", str(run), "--data", str(drawn), "--output", str(tmp_path / "shifts")])
    evaluate(["--model", str(run), "--data", str(drawn), "--output", str(tmp_path / "both"), "--shift", "both"])
    found = [json.loads((tmp_path / name / "metrics.json").read_text())["splits"] for name in ("shifts", "both")]
    assert found[0] == found[1] and "test_syst" in found[0]
    evaluate(["--model", str(run), "--data", str(everything), "--output", str(tmp_path / "none"), "--shift", "none"])
    assert json.loads((tmp_path / "none" / "metrics.json").read_text())["splits"]["all"]["n"] == 200
    assert "| all | 200 |" in capsys.readouterr().out
    with pytest.raises(ValueError, match="splits is empty"):
        evaluate_splits(None, {}, None, tmp_path)


def test_a_data_set_of_nothing_else_is_evaluated_by_default(drawn, run, tmp_path):
    data = split(drawn, tmp_path / "pairs")
    shutil.rmtree(data / "single")
    for shift in ("comp", "syst"):
        (data / "manifests" / f"single_{shift}.json").unlink()
    splits.main(["--data", str(data), "--shift", "none"])
    evaluate(["--model", str(run), "--data", str(data), "--output", str(tmp_path / "tested")])
    metrics = json.loads((tmp_path / "tested" / "metrics.json").read_text())
    assert set(metrics["splits"]) == {"validation", "test"} and "train" in metrics and metrics["gap"] == {}


def test_with_validation_and_test_it_is_any_training(drawn, tmp_path, capsys):
    data, output = split(drawn, tmp_path / "pairs"), tmp_path / "run"
    train("--data", data, "--compare_with=concatenation", "--output_dir", output)
    said = capsys.readouterr().out
    assert "Training, and validation during it, in float32" in said and "no validation part" not in said
    assert re.search(r"\| IID \| \d+ \| [\d.]+ \| [\d.]+ \|", said) and "| OOD " not in said
    metrics = json.loads((output / "metrics.json").read_text())
    assert set(metrics["splits"]) == {"validation", "test"} and metrics["gap"] == {}
    assert metrics["training"]["selected"]["criterion"] == "eval_validation_cross_entropy"
    card = ModelCard.load(output / "README.md")
    assert [(r.dataset_config, r.dataset_split) for r in card.data.eval_results] == [("single_none", "test")]
    assert "`test_comp`" not in card.text and "No split has objects or action-object combinations that" in card.text


def test_a_test_without_a_validation(drawn, tmp_path, capsys):
    data, output = split(drawn, tmp_path / "pairs", "--validation=0"), tmp_path / "run"
    train("--data", data, "--output_dir", output)
    assert "There is no validation part" in capsys.readouterr().out
    metrics = json.loads((output / "metrics.json").read_text())
    assert set(metrics["splits"]) == {"test"} and metrics["training"]["selected"]["criterion"] is None


@pytest.mark.parametrize(("shares", "chosen_on"), [(ALL, []), ([], ["validation"])])
def test_the_discriminant_analysis_says_where_its_shrinkage_comes_from(drawn, tmp_path, capsys, shares, chosen_on):
    data, output = split(drawn, tmp_path / "pairs", *shares), tmp_path / "run"
    train(*LDA, "--data", data, "--feature_store", tmp_path / "store", "--output_dir", output)
    record = json.loads((output / "metrics.json").read_text())["training"]["classifier"]
    assert record["chosen_on"] == chosen_on and bool(record["validation_accuracy"]) == bool(chosen_on)
    said = capsys.readouterr().out
    if chosen_on:
        assert "which has the best accuracy on validation (" in said
    else:
        assert record["shrinkage"] == DEFAULT_SHRINKAGE == 0.3
        assert "shrinkage 0.3, the default, since there are no validation pairs to choose it by." in said


def test_a_streamed_training_on_all_pairs(everything, tmp_path):
    train("--data", everything, "--streaming=true", "--class_aware_sampling=false", "--output_dir", tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["splits"] == {} and metrics["training"]["pairs"] == {"train": 200}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--compare_with=concatenation"], 'has no test part to compare methods on, so add --compare_with "".'),
        (["--method=difference", "--compare_with=concatenation,cde"], "has no test part to compare methods on"),
        (["--lr_scheduler_type=reduce_lr_on_plateau"], "reduce_lr_on_plateau follows the validation, and"),
    ],
)
def test_what_needs_the_missing_parts_is_refused_before_it_starts(everything, tmp_path, flags, message):
    with pytest.raises(SystemExit) as stopped:
        train("--data", everything, "--output_dir", tmp_path / "run", *flags)
    assert re.fullmatch(rf"train\.py: [^\n]*{re.escape(message)}[^\n]*", str(stopped.value.code))
    assert not (tmp_path / "run").exists()
