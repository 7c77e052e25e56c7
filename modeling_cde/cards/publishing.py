"""A finished run, the demo and the metric to the Hub, each in one commit.

    python -m modeling_cde.cards.publishing space ORG/NAME --model ORG/MODEL [--revision COMMIT] [--private]
    python -m modeling_cde.cards.publishing metric ORG/NAME [--private]

A run is published by `python -m modeling_cde.cards RUN --push ORG/NAME`. What a run's folder must hold is checked
before anything is sent; nothing pickled is ever sent.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .checkpoint_files import REPORT, model_files, of_an_earlier_upload
from .hub import check_name, check_readable, commit_files
from .model_card import write_model_card

PACKAGE = Path(__file__).resolve().parents[1]

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
    """Publish a finished run as a model repository, or bring the repository up to date with it.

    The card is rendered for the repository's name, and the report is written where it is missing or older than the
    results. Results and weights that the repository has of another run go.

    Args:
        run: Output folder of train.py.
        repo_id: `"ORG/NAME"` or `"USER/NAME"`; created where it does not exist.
        private: Only its owners see the new repository.
        token: With the right to write; None for the one of `hf auth login` or of `HF_TOKEN`.
        revision: Branch to commit to, which has to exist; None for the main one.
        commit_message: Of the commit; None for one that names the folder.
        name, dataset: See `write_model_card`.

    Returns:
        The repository's address.

    Raises:
        FileNotFoundError: If something is missing that loading needs, or the run was not evaluated.
        ModuleNotFoundError: If a library of the extra "analysis" is missing, which the report needs.
        ValueError: If a file is damaged or holds a token, or the name is none that the Hub takes.
        PermissionError: If the Hub refuses the token.
        ConnectionError: If the Hub cannot be reached or fails; the message has the command that publishes later.
    """
    check_name(repo_id)
    folder = Path(run)
    files = model_files(folder)
    if not (folder / "metrics.json").is_file():
        raise FileNotFoundError(f"{folder}/metrics.json is missing: the run was not evaluated, so there is no card.")
    _renew_report(folder)
    write_model_card(folder, name, repo_id, dataset)
    for pattern in REPORT:
        files |= {str(path.relative_to(folder)): path for path in folder.glob(pattern) if path.is_file()}
    _refuse_tokens(files)
    later = ["python", "-m", "modeling_cde.cards", str(run), "--push", repo_id]
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
        raise type(error)(f"{error} The run in {run} is whole; this publishes it: {shlex.join(later)}") from error


def publish_space(
    repo_id: str,
    model: str,
    *,
    revision: str | None = None,
    private: bool = False,
    token: str | None = None,
    folder: str | Path = PACKAGE.parent / "space",
) -> str:
    """Publish the demo as a Space that shows one model.

    The package's source goes with it, so that the Space installs nothing but what it finds in its requirements, and
    `model.json`, in which the app reads what to load.

    Args:
        repo_id: Of the Space.
        model: Repository of the checkpoint that it shows.
        revision: Of that repository; None for its newest.
        private, token: See `publish_run`.
        folder: The app; it lies beside the package in the source's repository.

    Returns:
        The Space's address.

    Raises:
        FileNotFoundError: If the app is not there, or no such model.
        ValueError, PermissionError, ConnectionError: See `publish_run`.
    """
    from huggingface_hub import SpaceCard

    check_readable(model, revision=revision, token=token)
    folder = Path(folder)
    files = _tree(folder, "app.py", "README.md", "requirements.txt")
    files |= {f"{PACKAGE.name}/{name}": path for name, path in _tree(PACKAGE).items()}
    card = SpaceCard.load(folder / "README.md")
    card.data.models = [model]  # links the Space to the model's page
    files["README.md"] = str(card).encode()
    files["model.json"] = json.dumps({"model": model, "revision": revision}, indent=2).encode()
    message = f"Show {model}"
    return _commit_space(repo_id, files, message, private, token)


def publish_metric(
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    folder: str | Path = PACKAGE.parent / "metric" / "action_accuracy",
) -> str:
    """Publish the metric as a Space, where `evaluate.load(repo_id)` finds it; see `publish_space`."""
    folder = Path(folder)
    # `evaluate` looks for a file with the repository's name.
    check_name(repo_id)
    if repo_id.split("/")[1] != folder.name:
        raise ValueError(
            f"evaluate.load looks for NAME.py in ORG/NAME: name the Space {repo_id.split('/')[0]}/{folder.name}."
        )
    files = _tree(folder, f"{folder.name}.py", "README.md", "requirements.txt")
    message = f"Upload the metric {folder.name}"
    return _commit_space(repo_id, files, message, private, token)


def _renew_report(folder: Path) -> None:
    """Write the report of a run that has none for its results, with its pictures; maps by UMAP take long, so none."""
    deltas, report = folder / "deltas.safetensors", folder / "report.html"
    if deltas.is_file() and not (report.is_file() and report.stat().st_mtime >= deltas.stat().st_mtime):
        from ..analysis.report import analyse

        analyse(folder, with_umap=False)


def _commit_space(
    repo_id: str, files: Mapping[str, Path | bytes], message: str, private: bool, token: str | None
) -> str:
    def old(theirs: list[str]) -> list[str]:
        return [name for name in theirs if name != ".gitattributes"]

    return commit_files(repo_id, files, repo_type="space", message=message, private=private, token=token, delete=old)


def _tree(folder: Path, *needed: str) -> dict[str, Path | bytes]:
    """Every file below a folder, by its relative name; no caches and nothing hidden."""
    lacking = [name for name in needed if not (folder / name).is_file()]
    if lacking:
        raise FileNotFoundError(f"{folder / lacking[0]} is missing: publish from the source's repository.")
    names = {path: path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name.as_posix(): path
        for path, name in names.items()
        if path.suffix != ".pyc" and not any(part.startswith((".", "__pycache__")) for part in name.parts)
    }


def _refuse_tokens(files: Mapping[str, Path | bytes]) -> None:
    """A token that was given as a flag stands in the command that metrics.json and the card repeat."""
    for name, content in files.items():
        if name.endswith((".json", ".md", ".html")):
            text = content if isinstance(content, bytes) else content.read_bytes()
            if _TOKEN.search(text):
                raise ValueError(f"{name} holds a token of the Hub, which everyone would see: take it out of the file.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m modeling_cde.cards.publishing",
        description="Publish the demo or the metric as a Space of the Hub, in one commit.",
        epilog="Log in first by `hf auth login`, or set HF_TOKEN to a token that may write.",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="space|metric")
    space = kinds.add_parser("space", help="the demo, showing one model")
    space.add_argument("--model", required=True, metavar="ORG/MODEL", help="the checkpoint that it shows")
    space.add_argument("--revision", help="commit of that repository; its newest by default")
    metric = kinds.add_parser("metric", help="the metric, for evaluate.load")
    for kind in (space, metric):
        kind.add_argument("repo", metavar="ORG/NAME", help="created where it does not exist")
        kind.add_argument("--private", action="store_true", help="only its owners see it")
    options = parser.parse_args(arguments)
    try:
        if options.kind == "space":
            url = publish_space(options.repo, options.model, revision=options.revision, private=options.private)
        else:
            url = publish_metric(options.repo, private=options.private)
    except (ValueError, OSError) as error:
        sys.exit(f"publishing: {error}")
    print(f"Published the {options.kind} at {url}")


if __name__ == "__main__":
    main()
