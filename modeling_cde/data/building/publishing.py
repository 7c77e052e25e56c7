"""Publishes a finished build as a data set repository of the Hub, in one commit.

- One commit (see `modeling_cde.cards.hub`) is enough for any build: a file has thousands of pairs, so a terabyte is a
  few hundred files.
- Only the data set is sent: README.md, the views' files, the manifests. Shards and temporary files stay.
- The same commit deletes files of an older build of the same views.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ...cards.hub import check_name, commit_files
from ...whole_files import file_sha256
from ..schema import CONFIGS, JOINT_SHIFTS, VIEWS, data_folder, parse_config
from ..splits import SplitManifest
from .card import PLACEHOLDER
from .card_header import CHECKSUMS

_HOMES = (*VIEWS, *CONFIGS)  # folders of files; see `data_folder`

#: A file next to README.md that says why the build must not be published; it is never removed automatically.
FORBIDDEN = "NOT_FOR_PUBLISHING.txt"


def forbid_publishing(folder: str | os.PathLike[str], reason: str) -> None:
    """Record in a build's folder why it must not be published; `push_to_hub` then refuses it with this reason."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    Path(folder, FORBIDDEN).write_text(" ".join(reason.split()) + "\n", encoding="utf-8")


def allow_publishing(folder: str | os.PathLike[str], reason: str) -> None:
    """Undo `forbid_publishing` for this reason; a record of another reason stays."""
    mark = Path(folder, FORBIDDEN)
    if mark.exists() and mark.read_text(encoding="utf-8").split() == reason.split():
        mark.unlink()


def check_publishable(folder: str | os.PathLike[str]) -> None:
    """Raise a PermissionError with the reason if `forbid_publishing` has marked the folder."""
    mark = Path(folder, FORBIDDEN)
    if mark.exists():
        raise PermissionError(
            f"{folder} must not be published: {mark.read_text(encoding='utf-8').strip()} "
            f"(Delete {mark} if that no longer applies.)"
        )


def push_to_hub(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    commit_message: str = "Upload before/after pairs",
) -> str:
    """Publish a build as a data set repository, or update the repository; the result is its address.

    Args:
        folder: Made by `modeling_cde.data.building.build.assemble`.
        repo_id: `"ORG/NAME"` or `"USER/NAME"`; created if it does not exist.
        private, token: See `modeling_cde.cards.hub.commit_files`.
        commit_message: Of the commit.

    Raises:
        FileNotFoundError: The folder does not contain a finished data set.
        PermissionError: The folder must not be published, or the Hub refuses the token.
        ValueError: The Hub does not accept the name, files changed after the build, or files of the repository would
            be lost.
        ConnectionError: The Hub cannot be reached or fails; nothing became visible then.
    """
    check_name(repo_id)
    folder = Path(folder)
    files: dict[str, Path | bytes] = {**publishable_files(folder)}
    readme = Path(folder, "README.md").read_text(encoding="utf-8").replace(PLACEHOLDER, repo_id)
    files["README.md"] = readme.encode()
    return commit_files(
        repo_id,
        files,
        repo_type="dataset",
        private=private,
        token=token,
        message=commit_message,
        delete=lambda theirs: _stale(theirs, files, repo_id),
    )


def publishable_files(folder: Path) -> dict[str, Path]:
    """The files of a folder to publish, checked, by their names in the repository.

    Raises:
        FileNotFoundError, PermissionError, ValueError: See `push_to_hub`.
    """
    from huggingface_hub import DatasetCard

    check_publishable(folder)
    manifests = sorted((folder / "manifests").glob("*.json"))
    readme = folder / "README.md"
    if not manifests or not readme.is_file():
        raise FileNotFoundError(
            f"{folder} does not contain a finished data set (README.md, manifests/); build it there first."
        )
    configs = [path.stem for path in manifests]
    homes = sorted({data_folder(path.stem, SplitManifest.load(path).joint) for path in manifests})
    unfinished = [home for home in _HOMES if home not in homes and (folder / home).exists()]
    described = [config["config_name"] for config in DatasetCard.load(readme).data.get("configs") or []]
    if unfinished or sorted(described) != configs:
        what = f"the folder {unfinished[0]} has no manifest" if unfinished else "README.md and manifests/ do not agree"
        raise ValueError(f"{folder} is only partly assembled: {what}; run its build again.")
    files = {"README.md": readme} | {f"manifests/{path.name}": path for path in manifests}
    for home in homes:
        files |= _checked_files(folder / home)
    return files


def _checked_files(view: Path) -> dict[str, Path]:
    """The files of a view, after their checksums were verified."""
    sums = view / CHECKSUMS
    if not sums.is_file():
        raise ValueError(f"{sums} is missing, so the files of the view cannot be checked; run the build again.")
    lines = (line.split("  ", 1) for line in sums.read_text(encoding="utf-8").splitlines())
    wanted = {name: digest for digest, name in lines}
    present = {path.name for path in view.glob("*.parquet")}
    unlike = sorted(wanted.keys() ^ present)
    if unlike:
        what = "is missing" if unlike[0] in wanted else "does not belong to the build"
        raise ValueError(f"{view / unlike[0]} {what}, according to {sums}; run the build again.")
    for name, digest in wanted.items():
        if file_sha256(view / name) != digest:
            raise ValueError(f"{view / name} was changed or damaged after the build; run the build again.")
    return {f"{view.name}/{name}": view / name for name in [*wanted, CHECKSUMS]}


def _stale(theirs: list[str], files: Mapping[str, object], repo_id: str) -> list[str]:
    """The repository's files of an older build of these views."""
    built = [home for home in _HOMES if f"{home}/{CHECKSUMS}" in files]
    lost = [home for home in _HOMES if _in_folder(theirs, home) and not _replaced(home, built)]
    if lost:
        raise ValueError(
            f"{repo_id} has the splits {lost[0]}, which this build lacks and the new card would hide; build them "
            "into the same folder, or publish to another repository."
        )
    return _in_folder(theirs, *_HOMES, "manifests")


def _replaced(home: str, built: list[str]) -> bool:
    """Whether a build has these splits or replaces them: one shift by both at once, or the reverse."""
    if home in VIEWS:
        return home in built or any(f"{home}_{shift}" in built for shift in JOINT_SHIFTS)
    view, shift = parse_config(home)
    return home in built or (shift in JOINT_SHIFTS and view in built)


def _in_folder(names: list[str], *folders: str) -> list[str]:
    return [name for name in names if PurePosixPath(name).parts[0] in folders]
