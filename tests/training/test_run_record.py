"""What a run says of itself: no secret of the command line, and where its backbone comes from."""

import json
import shlex

import pytest

from modeling_cde.training.run_record import backbone_source, command_line


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
