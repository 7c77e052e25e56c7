"""What a run says of itself: no secret of the command line, and where its backbone comes from."""

import json
import shlex

import pytest

from modeling_cde.training.arguments import DataArguments, ModelArguments
from modeling_cde.training.lora import add_lora, description
from modeling_cde.training.run_record import RECORDED, backbone_source, command_line, run_record, run_settings
from tests.tiny_models import tiny_cde
from tests.tiny_pairs import quick


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (["--seed", "1"], ["--seed", "1"]),
        (["--hub_token=hf_secret", "--seed=1"], ["--hub_token=...", "--seed=1"]),
        (["--hub_token", "hf_secret", "--seed", "1"], ["--hub_token=...", "--seed", "1"]),
        (["--hub_token"], ["--hub_token"]),
        (["--hub_token", "hf_secret", "--hub_token", "hf_second"], ["--hub_token=...", "--hub_token=..."]),
    ],
)
def test_a_token_is_not_recorded(command, kept):
    assert shlex.split(command_line(command))[3:] == kept


def test_the_recorded_command_is_one_that_a_shell_reads():
    command = ["--backbone_config", '{"model_type": "resnet"}', "--hub_token", "hf_secret", "--output_dir", "my runs/1"]
    recorded = command_line(command)
    assert shlex.split(recorded)[3:] == [*command[:2], "--hub_token=...", *command[4:]]
    assert command_line([]) == "accelerate launch train.py"


def test_the_recorded_command_names_files_without_their_places():
    recorded = command_line(["--config", "/home/ann/own.yaml", "--data=/home/ann/pairs", "--output_dir", "runs/1"])
    assert recorded == "accelerate launch train.py --config own.yaml --data=pairs --output_dir runs/1"


def test_a_backbone_is_recorded_with_its_source(tmp_path):
    assert backbone_source("org/vit", "c0ffee") == {"source": "org/vit", "revision": "c0ffee"}
    folder = tmp_path / "vit-copy"
    folder.mkdir()
    assert backbone_source(str(folder), None) == {"source": "vit-copy"}
    told = {"source": "ViT as packed in x 1", "version": "1", "licence": "MIT", "sha256": "ab"}
    (folder / "SOURCE.json").write_text(json.dumps({**told, "size": 3}))
    assert backbone_source(str(folder), None) == told
    (folder / "SOURCE.json").write_text("{")
    with pytest.raises(ValueError, match=r"SOURCE\.json is not JSON"):
        backbone_source(str(folder), None)


def recorded(tmp_path, splits, command=(), model=None, **options):
    model_args = ModelArguments(backbone_config='{"model_type": "resnet"}')
    data_args = DataArguments(data=str(tmp_path / "pairs"), **options.pop("data", {}))
    vars(model_args).update(options.pop("model_args", {}))
    arguments = (model_args, data_args, quick(tmp_path, **options))
    return run_record(list(command), arguments, splits, model or tiny_cde()), arguments


def test_the_record_says_what_decides_the_result(tmp_path, splits):
    record, (model_args, data_args, train_args) = recorded(tmp_path, splits, ["--seed", "3"], seed=3, temperature=0.3)
    assert record["command"] == "accelerate launch train.py --seed 3"
    assert record["data"] == str(tmp_path / "pairs") and record["manifests"] == [] and "lora" not in record
    assert list(record["pairs"])[0] == "train"
    assert record["pairs"] == {name: len(rows) for name, rows in splits.items() if name in record["pairs"]}
    assert set(record["pairs"]) >= set(splits) - {"validation"} and record["pairs_used_twice"] == {}
    kept = {**vars(model_args), **vars(data_args)}
    del kept["feature_store"], kept["feature_store_gb"]
    kept |= {name: getattr(train_args, name) for name in RECORDED}
    assert record["arguments"] == kept and kept["seed"] == 3 and kept["temperature"] == 0.3
    assert "backbone_source" not in record


@pytest.mark.parametrize(("precision", "said"), [("float32", "float32"), ("bf16", "bf16")])
def test_the_record_says_in_which_precision_the_training_was(tmp_path, splits, precision, said):
    assert recorded(tmp_path, splits, precision=precision)[0]["precision"] == said


@pytest.mark.parametrize(
    ("shift", "view", "names"),
    [
        ("both", "single", ["single_comp", "single_syst"]),
        ("comp", "multi", ["multi_comp", "multi_syst"]),
        ("none", "multi", ["multi_none"]),
        ("mech", "single", ["single_mech"]),
    ],
)
def test_the_record_names_the_manifests_that_there_are(tmp_path, splits, shift, view, names):
    folder = tmp_path / "pairs" / "manifests"
    folder.mkdir(parents=True)
    for of_view in ("single", "multi"):
        for of_shift in ("comp", "syst", "mech", "none"):
            (folder / f"{of_view}_{of_shift}.json").touch()
    record, _ = recorded(tmp_path, splits, data={"shift": shift, "view": view})
    assert record["manifests"] == [str(folder / f"{name}.json") for name in names]


def test_a_backbone_and_its_adapters_are_recorded_without_places(tmp_path, splits):
    (tmp_path / "vit-copy").mkdir()
    model = add_lora(tiny_cde(), rank=2)
    found = recorded(tmp_path, splits, model=model, model_args={"backbone": str(tmp_path / "vit-copy")})[0]
    assert found["arguments"]["backbone"] == "vit-copy" and found["backbone_source"] == {"source": "vit-copy"}
    assert found["lora"] == description(model)
    model.config.backbone_revision = "c0ffee"
    found = recorded(tmp_path, splits, model=model, model_args={"backbone": "org/vit"})[0]
    assert found["arguments"]["backbone"] == "org/vit"
    assert found["backbone_source"] == {"source": "org/vit", "revision": "c0ffee"}


def test_settings_of_a_run_leave_out_what_others_say():
    model_args, data_args = ModelArguments(backbone="x"), DataArguments(data="pairs")
    found = run_settings(model_args, data_args)
    left_out = {"backbone", "backbone_revision", "backbone_config", "feature_store", "feature_store_gb"}
    assert found == {f"run.{n}": v for n, v in {**vars(model_args), **vars(data_args)}.items() if n not in left_out}
    assert model_args.backbone == "x"  # as it was
