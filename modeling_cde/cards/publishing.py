"""Publishes a finished run, the demo or the metric on the Hub, each in one commit.

    python -m modeling_cde.cards.publishing space --push ORG/NAME --model ORG/MODEL [--revision COMMIT] [--private]
    python -m modeling_cde.cards.publishing metric --push ORG/action_accuracy [--private]
    python -m modeling_cde.cards.publishing metric --output FOLDER

`python -m modeling_cde.cards push RUN --push ORG/NAME` publishes a run. The run's folder is checked before anything
is sent, and nothing pickled is ever sent.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..cli.project import PACKAGE, SHIPPED, project_root
from ..cli.verbs import command, program
from ..whole_files import in_one_sentence
from .checkpoint_files import REPORT, model_files, of_an_earlier_upload
from .hub import check_name, check_readable, commit_files
from .run_files import read_run

METRIC = project_root() / "metric" / "action_accuracy"

_TOKEN = re.compile(rb"\bhf_[A-Za-z0-9]{30,}\b")


def publish_run(
    run: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    name: str | None = None,
    dataset: str | None = None,
) -> str:
    """Publish a finished run as a model repository, or update the repository; the result is its address.

    This renders the card for the repository's name, and writes the report if it is missing or older than the results.
    Weights and results of an earlier run are deleted from the repository.

    Args:
        run: Output folder of train.py.
        repo_id: `"ORG/NAME"` or `"USER/NAME"`; created if it does not exist.
        private, token, revision: See `commit_files`.
        commit_message: None for one that names the folder.
        name, dataset: See `write_model_card`.

    Raises:
        FileNotFoundError: A file that loading needs is missing, or the run was not evaluated.
        ModuleNotFoundError: The report needs a library of the extra "analysis" that is not installed.
        ValueError: A file is damaged or contains a token, or the Hub does not accept the name.
        PermissionError, ConnectionError: See `commit_files`; the message has the command that publishes later.
    """
    from .model_card import write_model_card

    check_name(repo_id)
    folder = Path(run)
    files = model_files(folder)
    if not (folder / "metrics.json").is_file():
        raise FileNotFoundError(
            f"{folder}/metrics.json is missing, so the card has no numbers: evaluate the run first "
            f"({command('modeling_cde.evaluation')})."
        )
    _renew_report(folder)
    write_model_card(folder, name, repo_id, dataset)
    for pattern in REPORT:
        files |= {str(path.relative_to(folder)): path for path in folder.glob(pattern) if path.is_file()}
    files["metrics.json"] = (json.dumps(read_run(folder).metrics, indent=2) + "\n").encode()  # without places
    _refuse_tokens(files)
    later = [str(run), "--push", repo_id]
    for flag, value in (("--revision", revision), ("--name", name), ("--dataset", dataset)):
        later += [flag, value] if value else []
    later += ["--private"] * private
    message = commit_message or f"Upload the run {folder.resolve().name}"
    try:
        return commit_files(
            repo_id,
            files,
            message=message,
            private=private,
            token=token,
            revision=revision,
            delete=of_an_earlier_upload,
        )
    except (PermissionError, ConnectionError) as error:
        raise type(error)(
            f"{error} The run in {run} is complete; publish it with: {command('modeling_cde.cards push', *later)}"
        ) from error


def publish_space(
    repo_id: str,
    model: str,
    *,
    revision: str | None = None,
    private: bool = False,
    token: str | None = None,
    folder: str | Path | None = None,
) -> str:
    """Publish the demo as a Space that shows one model.

    The Space gets the package's source, so that it installs only its own requirements, and `model.json`, which tells
    the app what to load.

    Args:
        repo_id: The Space.
        model: Repository of the checkpoint to show.
        revision: Commit of that repository; None for the newest.
        private, token: See `commit_files`.
        folder: The app; None for the one that comes with the project.

    Returns:
        The Space's address.

    Raises:
        FileNotFoundError: The app or the model does not exist.
        ValueError, PermissionError, ConnectionError: See `publish_run`.
    """
    from huggingface_hub import SpaceCard

    check_readable(model, revision=revision, token=token)
    folder = project_root() / "space" if folder is None else Path(folder)
    files: dict[str, Path | bytes] = {**_tree(folder, "app.py", "README.md", "requirements.txt")}
    source = {name: path for name, path in _tree(PACKAGE).items() if SHIPPED not in path.parents}
    files |= {f"{PACKAGE.name}/{name}": path for name, path in source.items()}
    card = SpaceCard.load(folder / "README.md")
    card.data.models = [model]  # links the Space to the model's page
    files["README.md"] = str(card).encode()
    files["model.json"] = json.dumps({"model": model, "revision": revision}, indent=2).encode()
    message = f"Show {model}"
    return _commit_space(repo_id, files, message, private, token)


def publish_metric(repo_id: str, *, private: bool = False, token: str | None = None) -> str:
    """Publish the metric as a Space, where `evaluate.load(repo_id)` finds it; see `publish_space`."""
    check_name(repo_id)
    if repo_id.split("/")[1] != METRIC.name:
        raise ValueError(
            f"evaluate.load looks for NAME.py in ORG/NAME: name the Space {repo_id.split('/')[0]}/{METRIC.name}."
        )
    return _commit_space(repo_id, _metric_files(), f"Upload the metric {METRIC.name}", private, token)


def write_metric(folder: str | Path) -> Path:
    """Write the metric into `folder`/action_accuracy, and return that path, which `evaluate.load` takes."""
    target = Path(folder, METRIC.name)
    target.mkdir(parents=True, exist_ok=True)
    for name, path in _metric_files().items():
        shutil.copyfile(path, target / name)
    return target


def _metric_files() -> dict[str, Path]:
    files = _tree(METRIC, f"{METRIC.name}.py", "app.py", "README.md")
    return files | {"metrics.py": PACKAGE / "evaluation" / "metrics.py"}


def _renew_report(folder: Path) -> None:
    """Write the report and its pictures if the run has none for its results; without UMAP's maps, which take long."""
    deltas, report = folder / "deltas.safetensors", folder / "report.html"
    if deltas.is_file() and not (report.is_file() and report.stat().st_mtime >= deltas.stat().st_mtime):
        from ..analysis.report import analyse

        analyse(folder, with_umap=False)


def _commit_space(
    repo_id: str, files: Mapping[str, Path] | Mapping[str, Path | bytes], message: str, private: bool, token: str | None
) -> str:
    def old(theirs: list[str]) -> list[str]:
        return [name for name in theirs if name != ".gitattributes"]

    return commit_files(repo_id, files, repo_type="space", message=message, private=private, token=token, delete=old)


def _tree(folder: Path, *needed: str) -> dict[str, Path]:
    """Every file below a folder, by its relative name, without caches and hidden files."""
    lacking = [name for name in needed if not (folder / name).is_file()]
    if lacking:
        raise FileNotFoundError(f"{folder / lacking[0]} is missing: publish from a clone of the project.")
    names = {path: path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name.as_posix(): path
        for path, name in names.items()
        if path.suffix != ".pyc" and not any(part.startswith((".", "__pycache__")) for part in name.parts)
    }


def _refuse_tokens(files: Mapping[str, Path | bytes]) -> None:
    """Refuse tokens: one that was given as a flag is part of the command that metrics.json and the card repeat."""
    for name, content in files.items():
        if name.endswith((".json", ".md", ".html")):
            text = content if isinstance(content, bytes) else content.read_bytes()
            if _TOKEN.search(text):
                raise ValueError(
                    f"{name} contains a token of the Hub, which everyone would see: remove it from the file."
                )


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m modeling_cde.cards.publishing",
        description="Publish the demo or the metric as a Space of the Hub, in one commit.",
        epilog="Log in first with `hf auth login`, or set HF_TOKEN to a token with write access.",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="space|metric")
    called = {name: command(f"modeling_cde.cards.publishing {name}") for name in ("space", "metric")}
    space = kinds.add_parser("space", prog=called["space"], help="the demo, showing one model")
    space.add_argument("--model", required=True, metavar="ORG/MODEL", help="the checkpoint to show")
    space.add_argument("--revision", help="commit of that repository (default: the newest)")
    space.add_argument("--push", required=True, metavar="ORG/NAME", help="the Space; created if it does not exist")
    metric = kinds.add_parser("metric", prog=called["metric"], help="the metric, for evaluate.load")
    metric.add_argument("--push", metavar="ORG/action_accuracy", help="the Space; created if it does not exist")
    metric.add_argument("--output", metavar="FOLDER", help="write FOLDER/action_accuracy here and publish nothing")
    for kind in (space, metric):
        kind.add_argument("--private", action="store_true", help="only its owners see a new repository")
    options = parser.parse_args(arguments)
    if options.kind == "metric" and bool(options.push) == bool(options.output):
        metric.error("give either --push ORG/action_accuracy or --output FOLDER")
    try:
        if options.kind == "space":
            url = publish_space(options.push, options.model, revision=options.revision, private=options.private)
        elif options.output:
            print(write_metric(options.output))
            return
        else:
            url = publish_metric(options.push, private=options.private)
    except (ValueError, OSError) as error:
        sys.exit(f"{program(f'modeling_cde.cards.publishing {options.kind}')}: {error}")
    print(f"Published the {options.kind} at {url}")


if __name__ == "__main__":
    with in_one_sentence("modeling_cde.cards.publishing"):
        main()
