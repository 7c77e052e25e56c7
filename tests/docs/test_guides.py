"""Every code block of the guides does what the guide says, in order, in a folder where a reader's files lie.

One process reads them all, against a small Hub. Python is executed, commands are run by their own `main`. What is made
smaller for the test stands in SMALL, what is only checked for its flags stands in NOT_RUN with the reason; nothing is
left out otherwise. A `text` block below another one is what that one prints; `...` in it stands for anything.
"""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks_of
from tests.hub_client import HubClient
from tests.hub_server import HubServer, Repository

GUIDES = ["docs/train.md"]
OTHER_PAGES = ["README.md", "docs/analysis.md", "docs/benchmark.md", "docs/data.md", "docs/doctor.md"]

BACKBONE = '{"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}'

# Beginning of a command -> flags that are added to it.
SMALL = {
    "accelerate launch train.py": [
        *("--use_cpu=true", "--image_size=32", "--delta_dim=16", "--max_steps=2", "--per_device_train_batch_size=16"),
        *("--eval_strategy=steps", "--eval_steps=2", "--save_strategy=steps", "--save_steps=2", "--logging_steps=1"),
        *("--dataloader_num_workers=0", f"--backbone_config={BACKBONE}"),
    ],
    "python -m modeling_cde.analysis runs/": ["--no_umap"],
}

# Beginning of a command -> why only its flags are checked.
NOT_RUN: dict[str, str] = {
    "accelerate launch --num_processes": "several processes; tests/test_distributed.py runs them",
}

# Repository on the small Hub -> the reader's folder whose files it has.
REPOSITORIES = {
    "org/cde-rooms-global": "runs/quickstart",
    "org/cde-rooms-patch": "runs/patch",
    "facebook/dino-vits16": "hub/backbone",
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubClient]:
    """A process in the reader's folder whose Hub is a small one."""
    folder = tmp_path_factory.mktemp("reader")
    with HubServer() as hub, HubClient(hub, tmp_path_factory.mktemp("home")) as client:
        ask(client, f"stand_in({str(folder)!r}, {SMALL!r})")
        for name, source in REPOSITORIES.items():
            files = {path.name: path.read_bytes() for path in sorted((folder / source).iterdir()) if path.is_file()}
            repository = Repository()
            repository.commit(files, "the files of the test")
            hub.repositories["model", name] = repository
        yield client


def ask(reader: HubClient, call: str) -> str:
    """What a call of a function of tests/docs/reader.py gives in the reader's process."""
    answer = reader.run(f"from tests.docs import reader\nresult = reader.{call}")
    assert "error" not in answer, f"{answer['error']}: {answer['message']}"
    return str(answer["result"])


def check(block: Block, reader: HubClient) -> None:
    """Run a block and compare what it prints with what the page shows."""
    if block.language == "python":
        printed = ask(reader, f"run_python({block.code!r}, {block.page!r}, {block.line})")
    else:
        printed = ask(reader, f"run_bash({block.code!r}, {SMALL!r}, {NOT_RUN!r})")
    if block.output is not None:
        same = doctest.OutputChecker().check_output
        assert same(block.output, printed, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE), printed


@pytest.mark.parametrize("page", GUIDES)
def test_a_guide_does_what_it_says(page: str, reader: HubClient) -> None:
    blocks = [block for block in blocks_of(page) if block.language in ("python", "bash")]
    assert len(blocks) > 3
    for block in blocks:
        try:
            check(block, reader)
        except AssertionError as error:
            raise AssertionError(f"{block}\n{block.code}\n\n{error}") from None


@pytest.mark.parametrize("page", OTHER_PAGES)
def test_commands_of_the_other_pages_have_flags_that_exist(page: str, reader: HubClient) -> None:
    blocks = [block for block in blocks_of(page) if block.language == "bash"]
    assert blocks
    for block in blocks:
        ask(reader, f"check_all_flags({block.code!r})")
