"""train.py --classifier lda: the checkpoint is the discriminant analysis, training starts from it, and refusals."""

import io
import json
import re

import PIL.Image
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import pipeline

from modeling_cde import CDEForActionClassification
from modeling_cde.data.splits import OPPOSITES
from modeling_cde.data.swapped_pairs import held_out_combinations, with_swapped
from modeling_cde.data.transforms import PairTransform
from modeling_cde.evaluation.predictions import predict
from modeling_cde.models.load_model import load_action_model
from modeling_cde.training.arguments import ModelArguments
from modeling_cde.training.closed_form import SHRINKAGES, fit_lda
from modeling_cde.training.lda_head import give_lda_head
from tests import small_runs

LDA = ["--freeze_backbone=true", "--augment=false", "--swap_opposites=true", "--classifier=lda"]


def train(*arguments):
    small_runs.train("from_scratch.yaml", *small_runs.TINY, "--precision=float32", *arguments)


@pytest.fixture(scope="module")
def given(data, tmp_path_factory):
    """A run without training, and the store that it has filled."""
    output = tmp_path_factory.mktemp("given")
    store = tmp_path_factory.mktemp("store")
    train(*LDA, "--data", str(data), "--feature_store", str(store), "--num_train_epochs=0", "--output_dir", str(output))
    return output, store


@pytest.fixture(scope="module")
def plain(given, splits):
    """The checkpoint's features by split, as a naive loop reads them: (before and after (n, 2, D_b), actions)."""
    model, processor = load_action_model(str(given[0]))
    transform = PairTransform.from_processor(processor, crop="box")
    swapped = with_swapped(splits["train"], OPPOSITES, held_out_combinations(splits))
    found = {}
    for name, rows in {**splits, "train": swapped}.items():
        pixels = torch.stack([row["pixel_values"] for row in rows.with_transform(transform)])
        with torch.no_grad():
            features = model.cde.encode(pixels)[0].unflatten(0, (-1, 2))
        found[name] = (features, *(torch.tensor(rows.with_format(None)[key][:]) for key in ("action", "object")))
    return model, found


def test_the_checkpoint_is_the_analysis(given, plain):
    model, found = plain
    assert isinstance(model, CDEForActionClassification)
    assert model.config.projector_num_layers == 1 and model.config.delta_dim == 3  # of four actions
    record = json.loads((given[0] / "metrics.json").read_text())["training"]
    features, labels, objects = found["train"]
    head = fit_lda(features[:, 1] - features[:, 0], labels, objects, record["classifier"]["shrinkage"])
    features, labels, _ = found["test_syst"]
    with torch.no_grad():
        logits = model(features=features).logits
    expected = head.scores(features[:, 1] - features[:, 0])
    torch.testing.assert_close(logits.softmax(1), expected.softmax(1).float(), rtol=1e-3, atol=1e-4)
    assert logits.argmax(1).eq(labels).float().mean() > 0.5  # of four actions, on a random backbone


def test_the_shrinkage_is_the_best_on_what_training_does_not_have(given, plain):
    record = json.loads((given[0] / "metrics.json").read_text())["training"]["classifier"]
    assert (record["kind"], record["between"], record["chosen_on"]) == (
        "lda",
        1,
        ["validation_comp", "validation_syst"],
    )
    _, found = plain
    features, labels, objects = found["train"]
    accuracy = {}
    for shrinkage in SHRINKAGES:
        head = fit_lda(features[:, 1] - features[:, 0], labels, objects, shrinkage)
        parts = [found[name] for name in record["chosen_on"]]
        right = [(head.scores(f[:, 1] - f[:, 0]).argmax(1) == y).double().mean().item() for f, y, _ in parts]
        accuracy[str(shrinkage)] = sum(right) / 2
    assert record["validation_accuracy"] == pytest.approx(accuracy, abs=1e-3)
    best = max(record["validation_accuracy"].values())
    assert record["shrinkage"] == max(float(s) for s, value in record["validation_accuracy"].items() if value == best)


def test_a_run_without_training_leaves_what_any_run_leaves(given, splits):
    output, _ = given
    metrics = json.loads((output / "metrics.json").read_text())
    assert set(metrics["splits"]) == set(splits) - {"train"}
    assert metrics["training"]["selected"] == {"step": 0, "epoch": 0.0, "criterion": None}
    with safe_open(output / "deltas.safetensors", "pt") as file:
        assert file.get_tensor("test_syst/delta").shape == (metrics["splits"]["test_syst"]["n"], 3)
    for file in ("training_curve.png", "README.md", "gallery.parquet", "split_single_syst.json"):
        assert (output / file).stat().st_size > 0


def test_the_pipeline_gives_the_same_answers(given, splits):
    model, processor = load_action_model(str(given[0]))
    rows = splits["test"].select(range(4))
    logits = predict(model, rows, PairTransform.from_processor(processor, crop="none")).logits
    pipe = pipeline("action-classification", model=str(given[0]), device="cpu")
    for row, expected in zip(rows.with_format(None), logits.softmax(-1), strict=True):
        pictures = (PIL.Image.open(io.BytesIO(row[name]["bytes"])) for name in ("before", "after"))
        found = {answer["label"]: answer["score"] for answer in pipe(*pictures, top_k=4)}
        assert found == pytest.approx(dict(zip(model.config.id2label.values(), expected.tolist(), strict=True)))


def test_training_starts_from_it(given, data, tmp_path, capsys):
    output, store = given
    still = ["--num_train_epochs=1", "--learning_rate=1e-9", "--per_device_train_batch_size=16"]
    train(
        *LDA,
        *still,
        "--compare_with=concatenation",
        "--data",
        str(data),
        "--feature_store",
        str(store),
        "--output_dir",
        str(tmp_path),
    )
    said = capsys.readouterr().out
    assert re.search(r"discriminant analysis with shrinkage [\d.]+, .* validation_comp and validation_syst \(0", said)
    first, second = (load_file(folder / "model.safetensors") for folder in (output, tmp_path))
    assert first.keys() == second.keys()
    for name, weights in first.items():
        torch.testing.assert_close(second[name], weights, rtol=0, atol=1e-4)
    assert json.loads((tmp_path / "trainer_state.json").read_text())["global_step"] > 3
    compared = json.loads((tmp_path / "concatenation" / "metrics.json").read_text())["training"]
    assert compared["arguments"]["classifier"] == "linear" and "classifier" not in compared


def test_a_norm_before_the_projection_is_part_of_it(given, data, tmp_path, caplog):
    """A backbone whose features have no layer norm gets one in the projector."""
    resnet = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    resnet |= {"layer_type": "basic", "hidden_act": "relu"}
    few = [f"--feature_store={given[1]}", "--num_train_epochs=0", f"--output_dir={tmp_path}"]
    train(*LDA, *few, "--data", str(data), "--backbone_config", json.dumps(resnet))
    assert "nothing left to train" not in caplog.text  # which is for a run that is resumed at its end
    model, _ = load_action_model(str(tmp_path))
    assert len(model.cde.projector) == 2 and model.config.projector_input_norm
    record = json.loads((tmp_path / "metrics.json").read_text())
    accuracy = record["training"]["classifier"]["validation_accuracy"][
        str(record["training"]["classifier"]["shrinkage"])
    ]
    measured = [record["splits"][name]["accuracy"] for name in ("validation_comp", "validation_syst")]
    assert accuracy == pytest.approx(sum(measured) / 2, abs=1e-3)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--classifier=magic"], "classifier='magic' is not known; choose one of: linear, lda"),
        (
            [*LDA, "--freeze_backbone=false"],
            "classifier='lda' is computed from kept features, which needs --freeze_bac",
        ),
        ([*LDA, "--augment=true"], "which needs --augment false"),
        ([*LDA, "--feature_store_gb=0"], "which needs --feature_store_gb above 0"),
        ([*LDA, "--delta_mode=patch"], "classifier='lda' needs --delta_mode global, not patch"),
        ([*LDA, "--method=concatenation"], "classifier='lda' needs --method cde, not concatenation"),
        (
            [*LDA, "--num_train_epochs=0", "--compare_with=difference"],
            "--num_train_epochs 0 leaves difference untrained",
        ),
        ([*LDA, "--projector_num_layers=2"], "classifier='lda' needs --projector_num_layers 1, not 2"),
    ],
)
def test_what_does_not_go_with_it_is_refused_at_once(tmp_path, flags, message):
    with pytest.raises(SystemExit) as stopped:
        train("--data", "no/such/folder", "--output_dir", str(tmp_path / "run"), *flags)
    assert re.fullmatch(rf"train\.py: [^\n]*{re.escape(message)}[^\n]*", str(stopped.value.code))


def test_from_python_the_number_of_layers_is_said():
    with pytest.raises(ValueError, match="--projector_num_layers 1, not 2"):
        ModelArguments(backbone="org/a", classifier="lda")
    ModelArguments(backbone="org/a", classifier="lda", projector_num_layers=1)


def test_an_action_without_training_pairs_is_named(splits, plain):
    rows = splits["train"].filter(lambda row: row["action"] != 2)
    with pytest.raises(ValueError, match=r"needs training pairs of every action, and dirty has none"):
        give_lda_head(plain[0], rows, {})
