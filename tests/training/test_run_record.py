"""What a run says of itself: no secret of the command line."""

import shlex

import pytest

from modeling_cde.training.run_record import command_line


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
