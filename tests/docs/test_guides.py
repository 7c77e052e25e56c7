"""Every code block of the guides does what the guide says, in order, in a folder where a reader's files lie.

One process reads them all, against a small Hub. Python is executed, commands are run by their own `main`. What is made
smaller for the test stands in SMALL, what is only checked for its flags stands in NOT_RUN with the reason; nothing is
left out otherwise. A `text` block below another one is what that one prints; `...` in it stands for anything.
"""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Block, blocks_of
from tests.docs.reader import commands
from tests.docs.reader_folder import lay_out_checkout
from tests.hub_client import HubClient
from tests.hub_server import HubServer, Repository

GUIDES = ["docs/use.md", "docs/train.md", "docs/fit.md", "docs/publish.md", "docs/reproduce.md", "docs/extend.md"]
NOTEBOOKS = ["docs/notebooks/a_pair_from_nothing.ipynb", "docs/notebooks/own_photos.ipynb"]
OTHER_PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/analysis.md",
    "docs/benchmark.md",
    "docs/data.md",
    "docs/doctor.md",
]
OTHER_PAGES += ["docs/gallery.md"]

BACKBONE = '{"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}'

# Command, `*` standing for anything -> flags that are added to it.
SMALL = {
    "accelerate launch train.py *": [
        *("--use_cpu=true", "--image_size=32", "--delta_dim=16", "--max_steps=2", "--per_device_train_batch_size=16"),
        *("--eval_strategy=steps", "--eval_steps=2", "--save_strategy=steps", "--save_steps=2", "--logging_steps=1"),
        *("--dataloader_num_workers=0", f"--backbone_config={BACKBONE}"),
    ],
    # The recipes read four of twelve layers; exporting those alone takes ten seconds.
    "accelerate launch train.py --config configs/quickstart.yaml *": ["--feature_layers", "1", "2"],
    "accelerate launch train.py --config configs/small.yaml *": ["--feature_layers", "1", "2"],
    "python -m modeling_cde.analysis runs/*": ["--no_umap"],
    "python fit.py *": ["--image_size=32"],
    "python -m data_scripts.* --output *": ["--workers=1"],
}

# Command -> why only its flags are checked.
NOT_RUN = {
    "accelerate launch train.py --config configs/quickstart.yaml": "it is run before all guides, on drawn pairs",
    "accelerate launch train.py --config configs/finetune.yaml --data data/procthor": "docs/train.md runs this recipe",
    "python -m data_scripts.procthor * --protocol causal_triplet *": "as the command before it",
    "hf auth login": "it asks a person",
    "pip install *": "that its extras and files exist is checked, and nothing is installed",
    "pytest *": "these are the tests themselves",
    "python space/app.py *": "it serves until it is stopped; tests/space runs it",
    "python -m benchmarks.causal_triplet * --results mine": "nine trainings; its plan is made",
}

# Repository on the small Hub -> the reader's folder whose files it has.
REPOSITORIES = {
    "org/cde-dino-change": "runs/quickstart",
    "org/cde-rooms-patch": "runs/patch",
    "facebook/dino-vits16": "hub/vit",
    "facebook/dinov2-small": "hub/dinov2",
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubClient]:
    """A process in the reader's folder whose Hub is a small one."""
    with HubServer() as hub, HubClient(hub, tmp_path_factory.mktemp("home")) as client:
        set_up(client, hub, tmp_path_factory.mktemp("reader"))
        yield client


def set_up(reader: HubClient, hub: HubServer, folder: Path) -> None:
    """The reader's files, and the repositories of the small Hub."""
    lay_out_checkout(folder)
    ask(reader, f"stand_in({str(folder)!r}, {SMALL!r})")
    for name, source in REPOSITORIES.items():
        files = {path.name: path.read_bytes() for path in sorted((folder / source).iterdir()) if path.is_file()}
        repository = Repository()
        repository.commit(files, "the files of the test")
        hub.repositories["model", name] = repository


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


@pytest.mark.parametrize("page", [*GUIDES, *NOTEBOOKS])
def test_a_guide_does_what_it_says(page: str, reader: HubClient) -> None:
    blocks = [block for block in blocks_of(page) if block.language in ("python", "bash")]
    assert len(blocks) > 3
    for block in blocks:
        try:
            check(block, reader)
        except AssertionError as error:
            raise AssertionError(f"{block}\n{block.code}\n\n{error}") from None


@pytest.mark.parametrize("page", OTHER_PAGES)
def test_flags_and_imports_of_the_other_pages_exist(page: str, reader: HubClient) -> None:
    """Their commands need hours or data of others, their Python what stands around it."""
    blocks = blocks_of(page)
    assert blocks
    for block in blocks:
        if block.language in ("bash", "python"):
            ask(reader, f"check_{block.language}({block.code!r})")


def test_flags_in_tables_of_the_guide_to_training_exist(reader: HubClient) -> None:
    rows = re.findall(r"^\|[^|]+\| `(--[^`]+)`", (ROOT / "docs/train.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 3
    recipe = "accelerate launch train.py --config configs/finetune.yaml"
    ask(reader, f"check_bash({chr(10).join(f'{recipe} {flags}' for flags in rows)!r})")


def test_the_table_of_pictures_that_a_guide_shows_is_one(reader: HubClient) -> None:
    (table,) = (block.code for block in blocks_of("docs/train.md") if block.language == "csv")
    printed = ask(reader, f"listed({table!r})")
    assert printed == "[('open', 'door', 'kitchen-1'), ('close', 'drawer', 'kitchen-2')]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accelerate launch train.py --config configs/quickstart.yaml --sparsity_wieght 1", "--sparsity_wieght"),
        ("accelerate launch train.py --config configs/quick.yaml", "there is no such file"),
        ("accelerate launch train.py --config configs/quickstart.yaml --method magic", "no such method"),
        ("python -m data_scripts.rooms --output data/rooms --side 5", "unrecognized arguments: --side"),
        ("python -m modeling_cde.evaluate --model runs/quickstart", "no such module"),
        ("python -m modeling_cde.evaluation --model runs/quickstart --batch 3", "required: --data"),
        ("python space/app.py --share", "unrecognized arguments: --share"),
        ('pip install -e ".[onnx]"', "no extra 'onnx'"),
        ("make all", "a test has to know"),
    ],
)
def test_a_wrong_command_is_found(text: str, message: str, reader: HubClient) -> None:
    answer = reader.run(f"from tests.docs import reader\nreader.check_bash({text!r})")
    assert message in answer.get("message", "")


def test_a_wrong_output_and_a_wrong_line_are_found(reader: HubClient) -> None:
    with pytest.raises(AssertionError, match="^4"):
        check(Block("a page", 3, "python", "print(4)", output="5"), reader)
    with pytest.raises(AssertionError, match="a page:8: ZeroDivisionError"):
        check(Block("a page", 7, "python", "a = 1\na / 0"), reader)


def test_every_exception_is_one_of_a_command() -> None:
    lines = [" ".join(words) for page in GUIDES for block in blocks_of(page) for words in commands_of(block)]
    for like in (*SMALL, *NOT_RUN):
        assert any(fnmatchcase(line, like) for line in lines), like


@pytest.mark.parametrize("page", [*GUIDES, *OTHER_PAGES])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    for link in links:
        path, _, heading = link.partition("#")
        if "://" in link:
            continue
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in anchors, f"{page}: {link}"


def commands_of(block: Block) -> list[list[str]]:
    """The commands of a block; none of Python."""
    return commands(block.code) if block.language == "bash" else []
