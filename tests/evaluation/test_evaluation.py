"""Evaluation: the two files say what a naive pass over the pairs says, and every pair is counted once."""

import json
from copy import deepcopy

import pytest
import torch
from safetensors import safe_open
from transformers import ViTConfig

from modeling_cde import CDEForActionClassification, CDEImageProcessor
from modeling_cde.data.coverage import box_coverage
from modeling_cde.data.schema import OPPOSITES
from modeling_cde.data.transforms import PairTransform
from modeling_cde.evaluation.__main__ import main
from modeling_cde.evaluation.evaluate import environment, evaluate_splits, results_table, split_metrics
from modeling_cde.evaluation.metrics import compute_action_metrics
from modeling_cde.evaluation.predictions import Predictions, computing_in, patch_grid, predict
from modeling_cde.features.keep import FeatureKeeper
from modeling_cde.features.store import FeatureStore
from modeling_cde.models.modeling_concatenation import ConcatenationForActionClassification
from modeling_cde.models.modeling_token_matching import TokenMatchingForActionClassification
from modeling_cde.models.regions_cde import box_region
from modeling_cde.training.trainer import CDETrainer
from tests.drawn_pairs import ACTIONS, OBJECTS
from tests.models.auxiliary_model import tiny_auxiliary
from tests.tiny_models import FAMILY_NAMES, GRIDS, backbone_config, tiny_cde
from tests.tiny_pairs import pairs, quick


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


def read(path):
    """The tensors of a file and its header."""
    with safe_open(path, "pt") as file:
        header = {key: json.loads(value) for key, value in file.metadata().items()}
        return {key: file.get_tensor(key) for key in file.keys()}, header


def test_files_agree_with_a_naive_pass(splits, model, tmp_path):
    chosen = {name: splits[name] for name in ("test", "test_syst")}
    metrics = evaluate_splits(model, chosen, TRANSFORM, tmp_path, batch_size=4, extra={"note": 1})
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert metrics["note"] == 1
    stored, header = read(tmp_path / "deltas.safetensors")
    assert header["actions"] == ACTIONS and header["objects"] == OBJECTS and header["patch_grid"] == [4, 4]
    assert header["opposites"] == {"open": "close", "close": "open", "clean": "dirty", "dirty": "clean"}
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
            assert torch.equal(stored[f"{name}/patch_indices"][index], outputs.patch_indices[0, 0])
            assert torch.allclose(stored[f"{name}/patch_delta"][index], outputs.patch_delta[0, 0], atol=1e-5)
            box = rows.with_format(None)[index]["box"]
            covered = box_coverage(box, box_region(box, (32, 32), (32, 32), 0.1), (4, 4))
            assert stored[f"{name}/box_coverage"][index].tolist() == covered.tolist()
        assert metrics["splits"][name]["n"] == len(rows) == index + 1
        assert metrics["splits"][name]["accuracy"] == pytest.approx(hits / len(rows))
        assert stored[f"{name}/patch_indices"].shape == (len(rows), 3)
        assert f"{name}/mask_coverage" not in stored  # the drawn pairs have none
        assert stored[f"{name}/objects"].tolist() == rows.with_format(None)["object"][:]
        assert header["rows"][name]["pair_id"] == rows.with_format(None)["pair_id"][:]
    lost = metrics["splits"]["test"]["accuracy"] - metrics["splits"]["test_syst"]["accuracy"]
    assert metrics["gap"] == pytest.approx({"test_syst": lost})
    assert f"| OOD systematic | {len(chosen['test_syst'])} |" in results_table(metrics)


def test_examples_are_what_the_model_saw(splits, model, tmp_path):
    chosen = {name: splits[name] for name in ("validation", "test", "test_syst")}
    normalised = PairTransform((32, 32), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    evaluate_splits(model, chosen, normalised, tmp_path, examples=6)
    stored, header = read(tmp_path / "deltas.safetensors")
    assert [row["split"] for row in header["examples"]] == ["test"] * 6 + ["test_syst"] * 6
    assert stored["examples/pictures"].shape == (12, 2, 32, 32, 3) and stored["examples/pictures"].dtype == torch.uint8
    bare = PairTransform((32, 32), (0, 0, 0), (1, 1, 1))
    for pictures, example in zip(stored["examples/pictures"], header["examples"], strict=True):
        rows = chosen[example["split"]].with_format(None)
        row = rows[example["row"]]
        assert row["pair_id"] == example["pair_id"] == header["rows"][example["split"]]["pair_id"][example["row"]]
        assert (ACTIONS[row["action"]], OBJECTS[row["object"]]) == (example["action"], example["object"])
        seen = bare.pixel_values(row["before"], row["after"], row["box"]) * 255  # (2, 3, H, W)
        assert torch.equal(pictures, seen.round().to(torch.uint8).permute(0, 2, 3, 1))
    assert {row["action"] for row in header["examples"] if row["split"] == "test"} == set(ACTIONS)
    evaluate_splits(model, chosen, normalised, tmp_path, examples=0)
    assert "examples/pictures" not in read(tmp_path / "deltas.safetensors")[0]


def test_the_bank_is_beside_the_splits(splits, model, tmp_path):
    bank = splits["train"]
    metrics = evaluate_splits(model, {"test": splits["test"]}, TRANSFORM, tmp_path, bank=bank, bank_rows=7)
    assert set(metrics["splits"]) == {"test"} and metrics["train"]["n"] == 7 and metrics["gap"] == {}
    assert "train" not in results_table(metrics)
    stored, header = read(tmp_path / "deltas.safetensors")
    chosen = [i * len(bank) // 7 for i in range(7)]
    assert header["rows"]["train"]["pair_id"] == bank.select(chosen).with_format(None)["pair_id"][:]
    keys = {key.partition("/")[2] for key in stored if key.startswith("test/")}
    assert {key.partition("/")[2] for key in stored if key.startswith("train/")} == keys
    assert stored["train/delta"].shape == (7, 16)
    everything = predict(model, bank, TRANSFORM)
    assert torch.allclose(stored["train/delta"], everything.delta[chosen], atol=1e-5)
    with pytest.raises(ValueError, match="splits has a split 'train'"):
        evaluate_splits(model, {"train": bank}, TRANSFORM, tmp_path, bank=bank)
    with pytest.raises(ValueError, match="the split 'train' has no pairs"):
        evaluate_splits(model, {"test": splits["test"]}, TRANSFORM, tmp_path, bank=bank.select([]))


def test_a_global_model_has_no_patches(splits, tmp_path):
    rows = {"test": splits["test"]}
    names = dict(enumerate(ACTIONS))
    evaluate_splits(tiny_cde("vit", id2label=names), rows, TRANSFORM, tmp_path)
    stored, header = read(tmp_path / "deltas.safetensors")
    expected = {f"test/{key}" for key in ("delta", "states", "logits", "labels", "objects")}
    assert set(stored) == expected | {"examples/pictures"}
    assert "patch_grid" not in header


@pytest.mark.parametrize("model_class", [CDEForActionClassification, ConcatenationForActionClassification])
def test_examples_have_the_weights_of_a_model_that_weighs_patches(splits, model_class, tmp_path):
    chosen = {name: splits[name] for name in ("test", "test_syst")}
    model = model_class.from_backbone(
        backbone_config("resnet"), pooling="change", delta_dim=16, id2label=dict(enumerate(ACTIONS))
    )
    transform = PairTransform(size=(16, 48), crop="box")
    evaluate_splits(model, chosen, transform, tmp_path, examples=6, batch_size=5)
    stored, header = read(tmp_path / "deltas.safetensors")
    assert header["patch_grid"] == [2, 6] and len(header["examples"]) == 12
    assert not [key for key in stored if not key.startswith("examples/") and ("patch" in key or "coverage" in key)]
    for index, example in enumerate(header["examples"]):
        row = chosen[example["split"]].with_format(None)[example["row"]]
        values = transform.pixel_values(row["before"], row["after"], row["box"])
        with torch.no_grad():
            expected = model.eval()(pixel_values=values[None]).patch_weights[0]
        assert torch.allclose(stored["examples/patch_weights"][index], expected, atol=1e-6)
        covered = box_coverage(row["box"], box_region(row["box"], (32, 32), (16, 48), 0.1), (2, 6))
        assert stored["examples/box_coverage"][index].tolist() == covered.tolist()
    assert torch.allclose(stored["examples/patch_weights"].sum(dim=1), torch.ones(12))


def test_weights_of_examples_are_computed_from_pictures_where_features_are_kept(splits, tmp_path):
    rows = {"test": splits["test"]}
    model = tiny_cde("vit", pooling="change", feature_layers=[1, 2], id2label=dict(enumerate(ACTIONS)))
    model.freeze_backbone()
    keeper, found = FeatureKeeper(model, TRANSFORM, FeatureStore(tmp_path / "store")), {}
    for name, keep in (("pictures", None), ("features", keeper)):
        evaluate_splits(model, rows, TRANSFORM, tmp_path / name, examples=6, keep=keep)
        found[name] = read(tmp_path / name / "deltas.safetensors")[0]["examples/patch_weights"]
    assert torch.equal(found["pictures"], found["features"])


def test_a_baseline_that_reads_patches_has_no_deltas_of_patches(splits, tmp_path):
    """It selects none, so that there is nothing to compare with what the target covers."""
    rows = {"test": splits["test"]}
    names = dict(enumerate(ACTIONS))
    model = TokenMatchingForActionClassification.from_backbone(backbone_config("vit"), delta_dim=16, id2label=names)
    evaluate_splits(model, rows, TRANSFORM, tmp_path)
    stored, header = read(tmp_path / "deltas.safetensors")
    assert not [key for key in stored if "patch" in key or "coverage" in key] and "patch_grid" not in header


def test_inputs_beside_the_pictures_reach_the_model(splits, tmp_path):
    rows = splits["test"]
    model = tiny_auxiliary(id2label=dict(enumerate(ACTIONS)))
    seen, forward = [], model.forward
    model.forward = lambda **inputs: seen.append(inputs) or forward(**inputs)
    predict(model, rows, PairTransform((32, 32), extras=("objects", "masks")), batch_size=64)
    assert torch.cat([inputs["objects"] for inputs in seen]).tolist() == rows.with_format(None)["object"][:]
    assert all(set(inputs) == {"pixel_values", "objects"} for inputs in seen)
    with pytest.raises(ValueError, match=r"WithAuxiliary takes objects .* PairTransform with extras=\('objects',\)"):
        predict(model, rows, TRANSFORM)
    with pytest.raises(ValueError, match="changes pictures at random"):
        predict(model, rows, PairTransform((32, 32), extras=("objects",), augment=True))


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_grid_of_every_family(family):
    model = tiny_cde(family, delta_mode="patch").train()
    assert patch_grid(model, (32, 32)) == GRIDS[family] and model.training
    if GRIDS[family] == (1, 1) or family in ("vit", "resnet", "convnext", "dinov2"):  # those that take any size
        rows, columns = GRIDS[family]
        assert patch_grid(model, (32, 96)) == (rows, 3 * columns)
        assert patch_grid(model, (64, 32)) == (2 * rows, columns)
    assert patch_grid(tiny_cde(family, pooling="change"), (32, 32)) == GRIDS[family]
    assert patch_grid(tiny_cde(family), (32, 32)) is None


def test_the_batch_size_changes_nothing(splits, model, tmp_path):
    rows = {"test": splits["test"]}
    one, many = (evaluate_splits(model, rows, TRANSFORM, tmp_path / str(n), batch_size=n) for n in (1, 7))
    assert one["splits"]["test"]["accuracy_by_object"] == many["splits"]["test"]["accuracy_by_object"]
    assert one["splits"]["test"]["cross_entropy"] == pytest.approx(many["splits"]["test"]["cross_entropy"], rel=1e-5)


def test_the_precision_is_the_one_asked_for_whatever_training_left_behind(splits, tmp_path):
    rows = splits["test"]
    trained = tiny_cde("vit", id2label=dict(enumerate(ACTIONS)))
    expected = predict(deepcopy(trained), rows, TRANSFORM).logits
    arguments = quick(tmp_path, precision="bf16", max_steps=1, learning_rate=0.0)
    CDETrainer(trained, arguments, train_dataset=pairs(6)).train()
    wrapped = trained.forward
    assert torch.equal(predict(trained, rows, TRANSFORM).logits, expected)
    assert trained.forward is wrapped  # a training that goes on stays in bf16
    in_bf16 = predict(trained, rows, TRANSFORM, precision="bf16").logits
    assert not torch.equal(in_bf16, expected) and torch.allclose(in_bf16, expected, atol=0.1)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(predict(trained, rows, TRANSFORM).logits, expected)
        with computing_in("float32", trained, "cpu"):
            assert torch.get_float32_matmul_precision() == "highest" and not torch.is_autocast_enabled("cpu")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    with pytest.raises(ValueError, match="precision must be one of float32, bf16, got 'half'"):
        predict(trained, rows, TRANSFORM, precision="half")


def test_the_command_computes_in_float32_also_weights_saved_in_half_precision(data, splits, tmp_path):
    model = tiny_cde("vit", id2label=dict(enumerate(ACTIONS))).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "model")
    CDEImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "model")
    found = {}
    for precision in ("float32", "bf16"):
        options = ["--model", str(tmp_path / "model"), "--data", str(data), "--output", str(tmp_path / precision)]
        main([*options, "--bank_rows=0", *([] if precision == "float32" else ["--precision", precision])])
        found[precision] = json.loads((tmp_path / precision / "metrics.json").read_text())
        assert found[precision]["precision"] == precision
    rows = {"test": splits["test"]}
    halved = evaluate_splits(model, rows, TRANSFORM, tmp_path / "halved")
    whole = evaluate_splits(model.float(), rows, TRANSFORM, tmp_path / "whole")
    assert (halved["precision"], whole["precision"]) == ("bfloat16", "float32")
    computed = (found["float32"], whole, found["bf16"], halved)
    scores = [metrics["splits"]["test"]["cross_entropy"] for metrics in computed]
    assert scores[0] == pytest.approx(scores[1], rel=1e-6) and len(set(scores[1:])) == 3


def test_the_metrics_of_a_split_are_those_of_its_rows(splits):
    """Scores that know nothing of the pairs: which rows are right, and by how much, is computed here once more."""
    rows = splits["test"]
    labels = torch.tensor(rows.with_format(None)["action"][:])
    logits = torch.randn(len(rows), len(ACTIONS), generator=torch.Generator().manual_seed(0))
    found = split_metrics(Predictions(logits, torch.zeros(0), torch.zeros(0), labels), rows)
    likelihood = [float(score.softmax(0)[label].log()) for score, label in zip(logits.double(), labels, strict=True)]
    assert found["cross_entropy"] == pytest.approx(-sum(likelihood) / len(rows), rel=1e-5)
    guessed = [score.index(max(score)) for score in logits.tolist()]
    objects = [OBJECTS[i] for i in rows.with_format(None)["object"][:]]
    metrics = compute_action_metrics(guessed, labels.tolist(), ACTIONS, objects, OPPOSITES)
    assert {name: found[name] for name in metrics} == metrics and set(found) == {*metrics, "cross_entropy"}
    assert 0 < metrics["opposite_error_share"] < 0.5


def test_threads_are_those_of_the_process_and_cores_those_of_the_machine(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    found = environment()
    assert (found["threads"], found["cores"], found["torch"]) == (3, 64, torch.__version__)


def test_training_mode_is_given_back(splits, model, tmp_path):
    model.train()
    evaluate_splits(model, {"test": splits["test"]}, TRANSFORM, tmp_path)
    assert model.training


def test_command_line_on_a_saved_checkpoint(data, splits, model, tmp_path, capsys):
    model.save_pretrained(tmp_path / "model")
    CDEImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "model")
    main(["--model", str(tmp_path / "model"), "--data", str(data), "--output", str(tmp_path / "out")])
    assert "| OOD compositional |" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert set(metrics["gap"]) == {"test_comp", "test_syst"}
    stored, _ = read(tmp_path / "out" / "deltas.safetensors")
    assert metrics["train"]["n"] == len(stored["train/labels"]) == len(splits["train"])
    options = ["--model", str(tmp_path / "model"), "--data", str(data), "--bank_rows", "0"]
    main([*options, "--output", str(tmp_path / "out")])
    assert "train" not in json.loads((tmp_path / "out" / "metrics.json").read_text())


def test_empty_splits_are_named(splits, model, tmp_path):
    with pytest.raises(ValueError, match="splits is empty"):
        evaluate_splits(model, {}, TRANSFORM, tmp_path)
    with pytest.raises(ValueError, match="the split 'none' has no pairs"):
        evaluate_splits(model, {"none": splits["test"].select([])}, TRANSFORM, tmp_path)


def test_a_bare_backbone_is_no_action_model(model, data, tmp_path):
    model.cde.backbone.save_pretrained(tmp_path / "vit")
    with pytest.raises(SystemExit, match="'vit' checkpoint, not a trained action model"):
        main(["--model", str(tmp_path / "vit"), "--data", str(data), "--output", str(tmp_path)])


def test_missing_data_is_said_in_one_sentence(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    CDEImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "model")
    with pytest.raises(SystemExit, match="there is no folder .*nowhere; give a run's folder"):
        main(["--model", str(tmp_path / "nowhere"), "--data", str(tmp_path), "--output", str(tmp_path)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="empty does not contain a finished data set"):
        main(["--model", str(tmp_path / "model"), "--data", str(tmp_path / "empty"), "--output", str(tmp_path)])
