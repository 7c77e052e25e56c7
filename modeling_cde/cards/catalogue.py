"""The catalogue of checkpoints: each has a folder in `model_cards/`, with a card rendered from the files in it.

    python -m modeling_cde.cards catalogue                                # render all cards again
    python -m modeling_cde.cards catalogue --add cde-dino-change runs/quickstart

`card.yaml` says what the checkpoint is and which command trains it. A trained checkpoint also has `config.json`,
`metrics.json` and `geometry.json` of its run, and gets the card of that run; any other card says that nothing is
measured yet. The paper's numbers are in `card.yaml`, and have a table of their own on the card.
"""

import argparse
import dataclasses
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..cli.verbs import command
from ..data.splits.titles import split_title
from .card_tables import plain, table
from .metadata import base_metadata, base_model
from .model_card import pipeline_snippet, render, render_model_card
from .run_files import RunFiles, read_run

CATALOGUE = "model_cards"
ENTRY = "card.yaml"
#: Files of a run that are copied into the folder of its entry.
OF_A_RUN = ("config.json", "metrics.json", "geometry.json")

# Settings of a recipe that do not affect the model, or that the card shows elsewhere.
_NOT_SHOWN = frozenset(
    "output_dir data backbone rooms_folder logging_steps eval_strategy save_strategy save_total_limit "
    "per_device_eval_batch_size dataloader_num_workers greater_is_better".split()
)


@dataclass(frozen=True)
class Entry:
    """What `card.yaml` says about a checkpoint.

    Attributes:
        about: one sentence on its purpose.
        train: the command that trains it, run at the root of this project.
        data: one sentence on its training data.
        prepare: the command that prepares the data; empty if training does that itself.
        dataset: repository of these pairs, once published.
        backbone: repository of the pretrained backbone; None if it is trained from scratch.
        untrained: why it is not trained yet; may be empty.
        paper: a text on the paper's numbers; may be empty.
        paper_rows: what the paper reports, and its number.
    """

    about: str
    train: str
    data: str
    dataset: str
    prepare: str = ""
    backbone: str | None = None
    untrained: str = ""
    paper: str = ""
    paper_rows: list[tuple[str, float]] = field(default_factory=list)

    @property
    def flags(self) -> list[str]:
        """The arguments of train.py."""
        return shlex.split(self.train)[3:]  # accelerate launch train.py


def read_entry(folder: Path) -> Entry:
    """Read `card.yaml` of a folder; a `FileNotFoundError` or `ValueError` says what is wrong with it."""
    path = folder / ENTRY
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: name a checkpoint of the catalogue, or write this file for a new one."
        )
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: write only `key: value` lines.") from error
    known = {item.name for item in dataclasses.fields(Entry)}
    wanted = {"about", "data", "dataset", "train"}
    if not isinstance(found, dict) or not wanted <= set(found) <= known:
        optional = ", ".join(sorted(known - wanted))
        raise ValueError(f"{path} needs the keys about, train, data and dataset; optional are {optional}; no others.")
    entry = Entry(**found)
    if shlex.split(entry.train)[:3] != ["accelerate", "launch", "train.py"]:
        raise ValueError(f"{path}: train must be a command that starts with accelerate launch train.py.")
    return entry


def render_entry(folder: Path) -> str:
    """The card of one checkpoint of the catalogue; equal files give equal text.

    Its folder is two levels below the root of the project, which has the recipes that commands name.
    """
    entry, name = read_entry(folder), folder.name
    if (folder / "metrics.json").is_file():
        run = read_run(folder)
        return render_model_card(run, name, f"org/{name}", entry.dataset, paper=_paper(entry), command=entry.train)
    settings = recipe_settings(entry, folder.parent.parent)
    mode = settings.get("delta_mode", "global")
    tags = ["cde", f"{mode}-delta", "untrained"]
    header = base_metadata(base_model=entry.backbone, datasets=[entry.dataset], tags=tags)
    return render(
        "untrained_card.md",
        header.to_yaml(),
        name=name,
        entry=entry,
        mode=mode,
        output=settings["output_dir"],
        settings=table(
            ["setting", "value"],
            [[key, str(value)] for key, value in settings.items() if key not in _NOT_SHOWN],
            2,
        ),
        paper=_paper(entry),
        pipeline=pipeline_snippet(f"org/{name}"),
        view=settings.get("view", "single"),
        image_size=settings["image_size"],
    )


def recipe_settings(entry: Entry, root: Path) -> dict[str, Any]:
    """The settings of the entry's command: its recipe's (a path relative to `root`), overridden by its flags."""
    settings: dict[str, Any] = {}
    for flag, value in zip(entry.flags[::2], entry.flags[1::2], strict=True):
        if flag == "--config":
            settings |= yaml.safe_load((root / value).read_text(encoding="utf-8"))
        else:
            settings[flag.removeprefix("--")] = value
    return settings


def write_catalogue(root: Path) -> list[Path]:
    """Render the card of every checkpoint in the folder `model_cards`, and the list of checkpoints.

    Raises:
        FileNotFoundError: it has no entry.
    """
    folders = sorted(path.parent for path in root.glob(f"*/{ENTRY}"))
    if not folders:
        raise FileNotFoundError(f"{root} has no checkpoint ({root}/NAME/{ENTRY}): run this at the root of the project.")
    texts = {folder / "README.md": render_entry(folder) for folder in folders}
    texts[root / "README.md"] = render_list(folders)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return list(texts)


def render_list(folders: Sequence[Path]) -> str:
    """The list of checkpoints, with their measured accuracy."""
    rows = []
    for folder in folders:
        entry = read_entry(folder)
        if (folder / "metrics.json").is_file():
            splits = read_run(folder).metrics["splits"]
            tests = {split_title(name): values for name, values in splits.items() if name.startswith("test")}
            told = ", ".join(f"{values['accuracy']:.3f} {title}" for title, values in tests.items())
        else:
            told = "not trained yet"
        rows.append([f"[{folder.name}]({folder.name}/README.md)", plain(entry.about), told])
    text = table(["checkpoint", "what", "accuracy, measured"], rows, 3, escaped=True)
    made = "Rendered from the files beside them by `cde card catalogue`."
    made += " The commands that publish a checkpoint and its\ndemo are in the [guide](../docs/publish.md)."
    return f"# Model cards\n\n{made}\n\n{text}\n"


def add_run(root: Path, name: str, run: str | Path) -> None:
    """Copy the files of a run (after `python -m modeling_cde.analysis`) into its checkpoint's folder below `root`.

    Raises:
        FileNotFoundError: a file of the run is missing, or the checkpoint is not in the catalogue.
        ValueError: the entry's command trains another model than this run's.
    """
    entry, files = read_entry(root / name), read_run(run)
    if files.geometry is None:
        raise FileNotFoundError(
            f"{files.folder / 'geometry.json'} is missing: run python -m modeling_cde.analysis {files.folder} first."
        )
    _check_is_of(entry, files, recipe_settings(entry, root.parent))
    for file in OF_A_RUN:
        shutil.copyfile(files.folder / file, root / name / file)


def _check_is_of(entry: Entry, run: RunFiles, settings: dict[str, Any]) -> None:
    for key, wanted, found in (
        ("delta_mode", settings.get("delta_mode", "global"), run.config.get("delta_mode")),
        ("view", settings.get("view", "single"), run.training["arguments"].get("view")),
        ("backbone", entry.backbone, base_model(run)),
    ):
        if found != wanted:
            raise ValueError(
                f"{run.folder} was trained with {key} {found}, but this checkpoint has {key} {wanted}: add a run "
                f"of the checkpoint's own command ({entry.train})."
            )


def _paper(entry: Entry) -> str:
    if not entry.paper:
        return ""
    rows = [[what, f"{value:.2f}"] for what, value in entry.paper_rows]
    numbers = [table(["the paper reports", "accuracy"], rows, 1)] if rows else []
    return "\n\n".join(["### The paper's numbers", entry.paper.strip(), *numbers])


def main(arguments: Sequence[str]) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=command("modeling_cde.cards catalogue"), description="Render the cards of model_cards/ from their files."
    )
    parser.add_argument("--folder", type=Path, default=Path(CATALOGUE), help="the catalogue (model_cards)")
    parser.add_argument("--add", nargs=2, metavar=("NAME", "RUN"), help="first add a finished run to the catalogue")
    options = parser.parse_args(arguments)
    if options.add:
        add_run(options.folder, *options.add)
    for path in write_catalogue(options.folder):
        print(path)
