"""What a run says of itself: no secret of the command line."""

import pytest

from modeling_cde.run_record import _without_token


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
    assert _without_token(command) == kept
