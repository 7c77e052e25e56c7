"""The main job on drawn pairs: what it leaves behind, and what it says of wrong arguments."""

import io
import json
import os
import re
import subprocess
import sys

import PIL.Image
import pytest
from huggingface_hub import ModelCard
from safetensors import safe_open
from transformers import pipeline

from modeling_cde import CDEForActionClassification, CDEImageProcessor
from modeling_cde.data.sampler import seeded
from modeling_cde.data.schema import OPPOSITES
from modeling_cde.data.splits.titles import split_title
from modeling_cde.data.streaming.parquet_rows import ParquetRows, StreamError
from modeling_cde.data.swapped_pairs import held_out_combinations, with_swapped
from modeling_cde.data.transforms import PairTransform
from modeling_cde.evaluation.__main__ import main as evaluate_main
from modeling_cde.evaluation.evaluate import split_metrics
from modeling_cde.evaluation.predictions import PRECISIONS, predict
from modeling_cde.models.load_model import load_action_model
from modeling_cde.models.methods import METHODS
from tests import small_runs

TINY = [*small_runs.TINY, "--delta_dim=16", "--num_train_epochs=1", "--per_device_train_batch_size=16"]
BASELINES = sorted(set(METHODS) - {"cde"})
FEW = ["--max_steps=3", "--eval_strategy=no", "--save_strategy=no", "--load_best_model_at_end=false"]


def train(*arguments):
    small_runs.train("from_scratch.yaml", *TINY, *arguments)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """The command that README names, with its launcher, which the other tests here do without; as on bf16 units."""
    output = tmp_path_factory.mktemp("run")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes=1", "train.py"]
    command = [
        *launch,
        "--config",
        "configs/from_scratch.yaml",
        *TINY,
        "--data",
        str(data),
        "--output_dir",
        str(output),
    ]
    environment = os.environ | {"CDE_NATIVE_BF16": "1"}
    done = subprocess.run(command, cwd=small_runs.ROOT, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return output, done.stdout


def test_the_run_leaves_what_it_names(run, data):
    output, printed = run
    model, processor = load_action_model(str(output))
    assert isinstance(model, CDEForActionClassification) and isinstance(processor, CDEImageProcessor)
    assert dict(processor.size) == {"height": 32, "width": 32}
    metrics = json.loads((output / "metrics.json").read_text())
    shifts = ("", "_comp", "_syst")
    assert set(metrics["splits"]) == {part + shift for part in ("validation", "test") for shift in shifts}
    assert metrics["training"]["arguments"]["seed"] == 0 and metrics["training"]["data"] == data.name
    with safe_open(output / "deltas.safetensors", "pt") as file:
        assert file.get_tensor("test_syst/delta").shape == (metrics["splits"]["test_syst"]["n"], 16)
    for shift in ("comp", "syst"):
        manifest = (output / f"split_single_{shift}.json").read_text()
        assert manifest == (data / "manifests" / f"single_{shift}.json").read_text()
    assert (output / "training_curve.png").stat().st_size > 5_000
    assert f"| OOD systematic | {metrics['splits']['test_syst']['n']} |" in printed
    for file in ("metrics.json", "deltas.safetensors", "training_curve.png", "README.md", "model.safetensors"):
        assert file in printed and (output / file).is_file()


def test_nothing_that_is_published_says_where_files_lay(run):
    output, _ = run
    files = small_runs.published(output)
    assert {"README.md", "metrics.json", "config.json", "deltas.safetensors", "gallery.parquet"} < files.keys()
    assert small_runs.places_in(files) == []


def test_scores_are_float32_also_of_a_training_in_bf16(run, splits):
    output, printed = run
    metrics = json.loads((output / "metrics.json").read_text())
    assert (metrics["precision"], metrics["training"]["precision"]) == ("float32", "bf16")
    assert "Training, and validation during it, in bf16; final scores in float32." in printed
    logged = json.loads((output / "trainer_state.json").read_text())["log_history"]
    during = next(log["eval_validation_cross_entropy"] for log in logged if "eval_validation_cross_entropy" in log)
    model, processor = load_action_model(str(output))
    transform, rows = PairTransform.from_processor(processor), splits["validation"]
    scores = {
        precision: split_metrics(predict(model, rows, transform, precision=precision), rows)["cross_entropy"]
        for precision in PRECISIONS
    }
    final = metrics["splits"]["validation"]["cross_entropy"]
    assert scores["float32"] == pytest.approx(final, rel=1e-6) != scores["bf16"]
    assert scores["bf16"] == pytest.approx(during, rel=1e-6) != scores["float32"]


def test_a_frozen_backbone_sees_each_picture_once_in_training_and_all_evaluations(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    output = tmp_path / "run"
    frozen = ["--freeze_backbone=true", "--augment=false", "--swap_opposites=true", "--precision=bf16", *FEW]
    train("--data", str(data), "--output_dir", str(output), *frozen)
    said = (
        "Training, and validation during it, in bf16; final scores in float32, on features that were encoded in bf16."
    )
    assert said in capsys.readouterr().out
    metrics = json.loads((output / "metrics.json").read_text())
    number = metrics["features"]["encoded"]
    assert metrics["features"] == {"precision": "bf16", "encoded": number, "found": 0}
    assert 0 < number <= sum(split["n"] for split in metrics["splits"].values()) + metrics["train"]["n"]
    assert "feature_store" not in metrics["training"]["arguments"] and str(tmp_path) not in json.dumps(
        metrics["features"]
    )
    assert (
        " in bf16. Both read features that the backbone computed once, in bf16.\n" in (output / "README.md").read_text()
    )
    monkeypatch.setenv("CDE_NATIVE_BF16", "1")  # as on the machine that trained
    evaluate_main(
        ["--model", str(output), "--data", str(data), "--view", "single", "--output", str(tmp_path / "again")]
    )
    assert (
        f"Reading features in bf16 from {tmp_path / 'cache' / 'modeling-cde' / 'features'}." in capsys.readouterr().err
    )
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert again["features"] == {"precision": "bf16", "encoded": 0, "found": number}
    assert again["splits"] == metrics["splits"]


def test_a_run_of_fewer_pairs_than_a_batch_records_the_batch_that_it_had(data, tmp_path, caplog):
    few = ["--train_pairs=20", "--per_device_train_batch_size=64", "--max_steps=1", *FEW[1:]]
    train("--data", str(data), "--output_dir", str(tmp_path), *few)
    record = json.loads((tmp_path / "metrics.json").read_text())["training"]
    assert record["arguments"]["per_device_train_batch_size"] == record["pairs"]["train"] == 20
    assert record["smaller_batch"] in caplog.messages
    assert record["smaller_batch"] == "20 training pairs are fewer than a batch of 64, so a batch has 20."
    card = (tmp_path / "README.md").read_text()
    assert re.search(r"\| per_device_train_batch_size\s*\| 20\s*\|", card)


def test_the_pipeline_computes_what_evaluation_computes(run, splits):
    model, processor = load_action_model(str(run[0]))
    rows = splits["test"].select(range(4))
    logits = predict(model, rows, PairTransform.from_processor(processor, crop="none")).logits
    pipe = pipeline("action-classification", model=str(run[0]), device="cpu")
    for row, expected in zip(rows.with_format(None), logits.softmax(-1), strict=True):
        pictures = (PIL.Image.open(io.BytesIO(row[name]["bytes"])) for name in ("before", "after"))
        answers = pipe(*pictures, top_k=4, reject=False)  # evaluation names an action always
        found = {answer["label"]: answer["score"] for answer in answers}
        assert found == pytest.approx(dict(zip(model.config.id2label.values(), expected.tolist(), strict=True)))


def test_the_same_seed_gives_the_same_bits_also_under_another_launcher(run, data, tmp_path):
    output, _ = run
    with seeded(5):  # as if other things had been drawn before
        train("--data", str(data), "--precision=bf16", "--output_dir", str(tmp_path))
    assert (tmp_path / "model.safetensors").read_bytes() == (output / "model.safetensors").read_bytes()
    first, second = (json.loads((folder / "metrics.json").read_text())["splits"] for folder in (output, tmp_path))
    assert first == second


def test_the_card_holds_the_measured_numbers(run):
    output, _ = run
    metrics = json.loads((output / "metrics.json").read_text())
    card = ModelCard.load(output / "README.md")
    measured = [(r.dataset_config, r.dataset_split, r.metric_value) for r in card.data.eval_results]
    accuracy = {name: round(values["accuracy"], 4) for name, values in metrics["splits"].items()}
    assert measured[0][1:] == ("test", accuracy["test"]) and measured[1:] == [
        (f"single_{shift}", "test_ood", accuracy[f"test_{shift}"]) for shift in ("comp", "syst")
    ]  # as load_dataset names them
    for name, values in metrics["splits"].items():
        assert f"| {split_title(name)} |" in card.text and f"{values['accuracy']:.3f}" in card.text
    assert metrics["training"]["command"] in card.text
    assert "Scores were computed in float32; training ran in bf16." in card.text
    assert "rendered rooms" not in card.text  # these pairs were not rendered


def test_the_last_epoch_is_evaluated_beside_the_selected_one(data, tmp_path):
    """Validation selects the first of three epochs, because the learning rate of the others ruins the weights."""
    train(
        "--data", str(data), "--output_dir", str(tmp_path), "--num_train_epochs=3", "--learning_rate=3",
        "--backbone_learning_rate=3", "--warmup_steps=0.7", "--evaluate_last_checkpoint=true", "--save_total_limit=1",
        "--precision=float32",  # else validation and final scores differ by rounding
    )  # fmt: skip
    selected, last = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("", "last"))
    state = json.loads((tmp_path / "trainer_state.json").read_text())
    losses = {
        e["epoch"]: e["eval_validation_cross_entropy"]
        for e in state["log_history"]
        if "eval_validation_cross_entropy" in e
    }
    best = min(losses, key=losses.get)
    assert best < 3 and selected["training"]["selected"] == {
        "step": state["best_global_step"], "epoch": best, "criterion": "eval_validation_cross_entropy",
    }  # fmt: skip
    assert last["training"]["selected"] == {"step": state["global_step"], "epoch": 3, "criterion": None}
    for metrics, epoch in ((selected, best), (last, 3)):
        assert metrics["splits"]["validation"]["cross_entropy"] == pytest.approx(losses[epoch], rel=1e-4)


def test_a_training_that_is_lost_stops_with_an_error(data, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        train(
            "--data", str(data), "--output_dir", str(tmp_path), "--learning_rate=1e30", "--backbone_learning_rate=1e30",
            "--num_train_epochs=3", "--logging_steps=1", "--warmup_steps=0", "--max_grad_norm=0",
        )  # fmt: skip
    sentence = r"train\.py: stopped \(.*\) and not evaluated; .* keeps its checkpoints\."
    assert re.fullmatch(sentence, str(stopped.value.code))
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize(
    ("method", "precision"),
    [*((name, "bf16") for name in BASELINES), ("difference", "float32"), ("oracle_mask", "float32")],
)
def test_every_method_trains_evaluates_and_reloads(data, splits, tmp_path, method, precision):
    train("--data", str(data), "--method", method, "--precision", precision, *FEW, "--output_dir", str(tmp_path))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["precision"], metrics["training"]["precision"]) == ("float32", precision)
    given = metrics["training"]["arguments"]
    # A baseline brings weights of 0; the variants of CDE keep those of the recipe.
    weights = (2.0, 0.01) if method in ("low_rank", "prototypes") else (0, 0)
    assert (given["contrastive_weight"], given["sparsity_weight"]) == weights
    model, processor = load_action_model(str(tmp_path))
    assert type(model) is METHODS[method].model_class and model.config.num_labels == 4
    if method == "oracle_mask":  # by the command, with a method that takes more than pictures
        evaluate_main(["--model", str(tmp_path), "--data", str(data), "--output", str(tmp_path / "again")])
        again = json.loads((tmp_path / "again" / "metrics.json").read_text())["splits"]
        assert again.keys() == metrics["splits"].keys()
    else:
        transform = PairTransform.from_processor(processor, extras=model.extra_inputs)
        names = ("test", "test_comp", "test_syst")
        again = {name: split_metrics(predict(model, splits[name], transform), splits[name]) for name in names}
    for name, figures in again.items():
        assert metrics["splits"][name]["accuracy"] == figures["accuracy"]
        assert metrics["splits"][name]["cross_entropy"] == pytest.approx(figures["cross_entropy"], rel=1e-5)


@pytest.mark.parametrize("method", ["cde", "oracle_mask"])
def test_a_run_on_swapped_pairs_tests_and_records_what_any_run_does(data, splits, tmp_path, capsys, method):
    few = [flag for flag in FEW if "max_steps" not in flag]
    train("--data", str(data), "--swap_opposites=true", "--method", method, *few, "--output_dir", str(tmp_path))
    number = len(splits["train"])
    copies = len(with_swapped(splits["train"], OPPOSITES, held_out_combinations(splits))) - number
    said = f"An epoch has {number} training pairs and {copies} swapped copies under the opposite action."
    assert said in capsys.readouterr().out and copies > number / 2
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["training"]["arguments"]["swap_opposites"] is True
    assert metrics["training"]["pairs"] == {name: len(rows) for name, rows in splits.items()}
    assert {name: part["n"] for name, part in metrics["splits"].items()} == {
        name: len(rows) for name, rows in splits.items() if name != "train"
    }
    steps = json.loads((tmp_path / "trainer_state.json").read_text())["global_step"]
    assert steps == (number + copies) // 16


def test_a_streamed_run_leaves_what_any_run_leaves(data, splits, tmp_path):
    with pytest.warns(UserWarning, match="not class-aware"):
        train("--data", str(data), "--streaming=true", "--stream_buffer=20", *FEW, "--output_dir", str(tmp_path))
    record = json.loads((tmp_path / "metrics.json").read_text())["training"]
    assert record["pairs"]["train"] == len(splits["train"])
    assert record["arguments"]["streaming"] and not record["arguments"]["class_aware_sampling"]
    for file in ("deltas.safetensors", "gallery.parquet", "README.md", "model.safetensors"):
        assert (tmp_path / file).is_file()


def test_a_stream_that_breaks_off_gets_one_sentence(data, tmp_path, monkeypatch):
    def broken(self, group, columns, closing=None):
        raise StreamError(f"{group.path} could not be read (the way is cut).")

    monkeypatch.setattr(ParquetRows, "read", broken)
    flags = ["--streaming=true", "--class_aware_sampling=false", "--dataloader_num_workers=1", *FEW]
    with pytest.raises(SystemExit) as stopped:
        train("--data", str(data), "--output_dir", str(tmp_path), *flags)
    sentence = r"train\.py: \S*\.parquet could not be read \(the way is cut\); .* --resume_from_checkpoint true\."
    assert re.fullmatch(sentence, str(stopped.value.code))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sparsity_wieght=1"], "unknown argument '--sparsity_wieght'; did you mean '--sparsity_weight'?"),
        (["--metric_for_best_model=eval_test_accuracy"], "test split"),
        (["--method=magic"], "method='magic' is not known; choose one of: concatenation, icm, sms"),
        (["--data=no/such/folder"], "no/such/folder"),
        (["--method_options={"], "method_options is not JSON"),
        (['--method_options={"critic": 1}'], "CDEConfig has no field 'critic'"),
        (["--train_objects=99"], "train_objects=99 must be in [1, "),
        (["--streaming=true", "--train_objects=3"], "train_objects needs a list of all pairs"),
        (["--streaming=true", "--stream_buffer=0"], "stream_buffer=0 must be at least 1"),
        (["--streaming=true", "--swap_opposites=true"], "swap_opposites needs pairs that are loaded as a whole"),
        (["--feature_store=store"], "feature_store says where features are kept, which needs --freeze_backbone true"),
        (["--compare_with=magic"], "compare_with='magic' is not known"),
        (["--evaluate_last_checkpoint=true", "--save_strategy=best"], "evaluate_last_checkpoint needs save_strategy"),
    ],
)
def test_wrong_arguments_get_one_sentence(data, tmp_path, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        train("--data", str(data), "--output_dir", str(tmp_path / "run"), *arguments)
    assert re.fullmatch(rf"train\.py: [^\n]*{re.escape(message)}[^\n]*", str(stopped.value.code))
    assert not (tmp_path / "run").exists()  # nothing was begun
