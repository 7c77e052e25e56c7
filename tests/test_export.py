"""Models without Python: torch.export and ONNX give what the model gives, for every batch size."""

import json

import onnx
import pytest
import torch

from benchmarks.speed import export_speed, measured
from modeling_cde import CDEConfig, CDEImageProcessor, CDEModel
from modeling_cde.data import PairTransform, load_pairs
from modeling_cde.evaluation import export, onnx_export
from modeling_cde.evaluation.onnx_export import (
    differences,
    export_onnx,
    export_program,
    quantize_onnx,
    run_session,
    start_session,
)
from modeling_cde.evaluation.predictions import predict
from modeling_cde.models.modeling_oracle_mask import OracleMaskForActionClassification
from tests import small_runs
from tests.drawn_pairs import ACTIONS
from tests.tiny_models import FAMILY_NAMES, IMAGE, backbone_config, clips, tiny_cde


@pytest.fixture(scope="module")
def patchwise(tmp_path_factory):
    """A patch-wise ViT in training mode, and its ONNX file."""
    model = tiny_cde("vit", delta_mode="patch").train()
    path = export_onnx(model, tmp_path_factory.mktemp("onnx") / "deep" / "model.onnx", IMAGE, IMAGE, {"note": "n"})
    assert model.training and model.cde.projector.training  # as it was
    assert small_runs.places_in({"model.onnx": path.read_bytes()}) == []  # of the code that was traced
    assert model.cde.backbone.config._attn_implementation == "sdpa"
    return model.eval(), path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The folder of a trained model: a ResNet with the actions of the drawn pairs."""
    folder = tmp_path_factory.mktemp("run")
    tiny_cde("resnet", id2label=dict(enumerate(ACTIONS))).save_pretrained(folder)
    CDEImageProcessor(size=IMAGE).save_pretrained(folder)
    return folder


def check_file(model, path, batches=(1, 2, 5)):
    session = start_session(path, threads=1)
    for batch in batches:
        x = clips(batch, seed=batch)
        with torch.no_grad():
            expected = model(x)
        found = run_session(session, x)
        torch.testing.assert_close(found["logits"], expected.logits, atol=1e-4, rtol=0)
        torch.testing.assert_close(found["delta"], expected.delta[:, 0], atol=1e-4, rtol=0)
        assert ("patch_indices" in found) == (model.config.delta_mode == "patch")
        assert ("patch_weights" in found) == (model.config.pooling == "change")
        if "patch_weights" in found:
            torch.testing.assert_close(found["patch_weights"], expected.patch_weights, atol=1e-5, rtol=0)
        if "patch_indices" in found:
            assert found["patch_indices"].equal(expected.patch_indices[:, 0])
    return session


def test_an_onnx_file_gives_what_the_model_gives_for_every_batch_size(patchwise):
    session = check_file(*patchwise)
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("pixel_values", ["batch", 2, 3, IMAGE, IMAGE])]
    outputs = {output.name: output.shape for output in session.get_outputs()}
    assert outputs == {"logits": ["batch", 3], "delta": ["batch", 16], "patch_indices": ["batch", 4]}
    entries = session.get_modelmeta().custom_metadata_map
    assert json.loads(entries["actions"]) == ["open", "close", "break"] and entries["note"] == "n"


def test_the_check_sees_another_model(patchwise):
    model, path = patchwise
    assert max(differences(model, path, IMAGE, IMAGE).values()) < 1e-5
    other = differences(tiny_cde("vit", seed=1, delta_mode="patch"), path, IMAGE, IMAGE)
    assert min(other.values()) > 0.01
    with torch.no_grad():
        model.classifier.bias[0] = torch.nan
        assert differences(model, path, IMAGE, IMAGE)["logits"] == torch.inf
        model.classifier.bias[0] = 0


@pytest.mark.parametrize("options", [{}, {"delta_mode": "patch"}, {"pooling": "change"}])
@pytest.mark.parametrize("family", ["dinov2", "resnet"])
def test_a_program_reads_layers_where_the_picture_changed(family, options):
    """For each way to pool them; of equal pictures in a batch, too, whose weights would be 0/0."""
    model = tiny_cde(family, feature_layers=[-1, 1], **options)
    program = export_program(model, IMAGE, IMAGE).module()
    for batch in (1, 2, 5):
        x = clips(batch, seed=batch)
        x[-1, 1] = x[-1, 0]
        with torch.no_grad():
            found, expected = program(x), model(x)
        torch.testing.assert_close(found["logits"], expected.logits)
        assert not found["delta"][-1].any() and (batch == 1 or found["delta"][0].any())
        if "pooling" in options:
            torch.testing.assert_close(found["patch_weights"], expected.patch_weights)
            assert torch.allclose(found["patch_weights"][-1], torch.tensor(1 / 16))


@pytest.mark.parametrize("family", ["dinov2", "resnet"])
def test_an_onnx_file_reads_layers_where_the_picture_changed(family, tmp_path):
    model = tiny_cde(family, feature_layers=[-1, 1], pooling="change")
    session = check_file(model, export_onnx(model, tmp_path / "model.onnx", IMAGE, IMAGE))
    outputs = {output.name: output.shape for output in session.get_outputs()}
    assert outputs == {"logits": ["batch", 3], "delta": ["batch", 16], "patch_weights": ["batch", 16]}
    assert max(differences(model, tmp_path / "model.onnx", IMAGE, IMAGE).values()) < 1e-5
    x = clips(3)
    x[1, 1] = x[1, 0]
    found = run_session(session, x)
    assert not found["delta"][1].any() and found["delta"][0].any() and bool(torch.isfinite(found["logits"]).all())
    assert torch.allclose(found["patch_weights"][1], torch.tensor(1 / 16))


def test_a_program_gives_what_the_model_gives_for_every_batch_size():
    model = tiny_cde("dinov3_vit").train()  # in training DINOv3 would jitter its positions
    program = export_program(model, IMAGE, IMAGE).module()
    assert model.training
    model.eval()
    for batch in (1, 2, 5):
        x = clips(batch, seed=batch)
        with torch.no_grad():
            found, expected = program(x), model(x)
        assert set(found) == {"logits", "delta"}
        torch.testing.assert_close(found["logits"], expected.logits)
        torch.testing.assert_close(found["delta"], expected.delta[:, 0])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["global", "patch"])
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_family_exports_in_both_modes(family, mode, tmp_path):
    model = tiny_cde(family, delta_mode=mode)
    check_file(model, export_onnx(model, tmp_path / "model.onnx", IMAGE, IMAGE))


def test_the_command_writes_checks_and_quantises(checkpoint, capsys):
    export.main([str(checkpoint), "--int8", "all"])
    lines = capsys.readouterr().out.splitlines()
    files = [checkpoint / "onnx" / name for name in ("model.onnx", "model_int8.onnx")]
    assert [line.split(":")[0] for line in lines[:2]] == [str(file) for file in files]
    check_file(export_speed.load_action_model(str(checkpoint))[0], files[0])
    settings = start_session(files[1]).get_modelmeta().custom_metadata_map["preprocessor"]
    assert json.loads(settings)["size"] == {"height": IMAGE, "width": IMAGE}
    kinds = {file.name: {node.op_type for node in onnx.load(file).graph.node} for file in files}
    assert {"ConvInteger", "MatMulInteger"} <= kinds["model_int8.onnx"]
    linear = onnx.load(quantize_onnx(files[0], checkpoint / "linear.onnx"))
    assert {"Conv", "MatMulInteger"} <= {node.op_type for node in linear.graph.node}


def test_a_file_that_differs_is_deleted(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "export_onnx", lambda model, path, *rest: path.write_bytes(b"x"))
    monkeypatch.setattr(onnx_export, "differences", lambda *rest: {"logits": 0.0, "delta": 2e-4})
    with pytest.raises(SystemExit, match="PyTorch disagree.*was deleted"):
        export.main([str(checkpoint), "--output", str(tmp_path / "m.onnx")])
    assert not (tmp_path / "m.onnx").exists()


def test_wrong_use_gets_one_sentence(checkpoint, tmp_path, monkeypatch):
    cases = {
        str(tmp_path / "absent"): "there is no folder",
        str(tmp_path): "no config.json",
        "org/name": "with --output",
    }
    for run, message in cases.items():
        with pytest.raises(SystemExit, match=message) as stopped:
            export.main([run])
        assert "\n" not in str(stopped.value)
    with pytest.raises(SystemExit, match="couldn't connect") as stopped:
        export.main(["org/name", "--output", str(tmp_path / "m.onnx")])
    assert "\n" not in str(stopped.value)
    with pytest.raises(SystemExit, match="is a folder: name the file"):
        export.main([str(checkpoint), "--output", str(tmp_path)])
    with pytest.raises(ValueError, match="resize it to multiples of the patch size"):
        export_program(tiny_cde("vit"), IMAGE, IMAGE + 3)
    with pytest.raises(ValueError, match="CDEModel returns no logits"):
        export_program(CDEModel(CDEConfig(backbone_config("resnet"))), IMAGE, IMAGE)
    oracle = OracleMaskForActionClassification.from_backbone(backbone_config("vit"), id2label={0: "open", 1: "close"})
    with pytest.raises(ValueError, match="needs `masks`"):
        export_program(oracle, IMAGE, IMAGE)
    monkeypatch.setattr(onnx_export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"needs onnx, onnxscript, onnxruntime: pip install .*\[export\]"):
        export.main([str(checkpoint)])


def test_the_benchmark_measures_every_engine_on_every_test_split(checkpoint, data, tmp_path, capsys):
    output = tmp_path / "result.json"
    settings = ["--seconds", "0.01", "--turns", "1", "--batch_sizes", "2", "--output", str(output)]
    export_speed.main(["--model", str(checkpoint), "--data", str(data), *settings])
    result = json.loads(output.read_text())
    model, processor = export_speed.load_action_model(str(checkpoint))
    rows = load_pairs(str(data), "single_syst", "test_ood")
    expected = predict(model, rows, PairTransform.from_processor(processor))
    found = result["splits"]["test_syst"]
    assert set(result["splits"]) == {"test", "test_comp", "test_syst"} and found["pairs"] == len(rows)
    engines = found["engines"]
    accuracy = float((expected.logits.argmax(dim=-1) == expected.labels).float().mean())
    assert engines["PyTorch float32"]["accuracy"] == engines["ONNX float32"]["accuracy"] == pytest.approx(accuracy)
    assert engines["ONNX float32"]["largest_logit_difference"] < 1e-4
    assert engines["ONNX int8, convolutions too"]["largest_logit_difference"] > 1e-4
    rates = result["speed"]["2"]
    assert set(rates) == set(engines) and all(rate["pairs_per_second"] > 0 for rate in rates.values())
    assert capsys.readouterr().out.count("| ONNX") == 3


def test_speeds_tell_a_slow_engine_from_a_fast_one(monkeypatch):
    clock = [0.0]

    def engine(cost):
        def run(batch):
            clock[0] += cost * len(batch)

        return run

    monkeypatch.setattr(measured.time, "perf_counter", lambda: clock[0])
    engines = {"PyTorch float32": engine(0.5), "other": engine(0.125)}
    found = export_speed.speeds(engines, torch.zeros(4, 2, 3, 8, 8), seconds=10.0, turns=3)
    assert found["PyTorch float32"] == {"pairs_per_second": 2.0, "ratio": 1.0}
    assert found["other"] == {"pairs_per_second": 8.0, "ratio": 4.0}


def test_accuracies_count_right_and_changed_answers(data):
    rows = load_pairs(str(data), "single_syst", "train")
    labels = torch.tensor(rows.with_format(None)["action"][:])

    def answering(answers):
        parts = iter(torch.nn.functional.one_hot(answers, len(ACTIONS)).float().split(64))
        return lambda pixel_values: {"logits": next(parts)}

    wrong = labels.clone()
    wrong[:3] = (labels[:3] + 1) % len(ACTIONS)
    engines = {"PyTorch float32": answering(labels), "other": answering(wrong)}
    found = export_speed.accuracies(engines, rows, PairTransform((8, 8)))
    assert found["engines"]["PyTorch float32"]["accuracy"] == 1 and found["pairs"] == len(rows)
    other = found["engines"]["other"]
    assert other["accuracy"] == pytest.approx(1 - 3 / len(rows))
    assert other["other_answers"] == pytest.approx(3 / len(rows)) and other["largest_logit_difference"] == 1


def test_the_module_of_the_command_gives_the_functions_too():
    assert export.export_program is export_program
