"""Checkpoints of a training: folders that are complete or absent, and whose damage is detected.

    OUTPUT_DIR/checkpoint-60/manifest.json       written last: every file of the checkpoint with its size and SHA-256
    OUTPUT_DIR/tmp-checkpoint-90/                is being written, or was when the process was killed

A checkpoint is written under its temporary name, flushed to disk, described by its manifest and then renamed. One that
is removed is renamed first, too. So every checkpoint-N was once complete, and the manifest tells whether it still is.
"""

import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ...whole_files import TEMPORARY, file_sha256, flushed, to_disk

MANIFEST, STATE = "manifest.json", "trainer_state.json"
REPLACED = "replaced-"  # a checkpoint whose step is being written once more


def temporary_of(folder: Path) -> Path:
    """Where a checkpoint is written before it gets its name."""
    return folder.with_name(TEMPORARY + folder.name)


def begin(folder: Path) -> None:
    """Make the empty temporary folder of a checkpoint."""
    shutil.rmtree(temporary_of(folder), ignore_errors=True)
    temporary_of(folder).mkdir(parents=True)


def complete(folder: Path, **about: Any) -> None:
    """Turn the temporary folder, which holds all files of a checkpoint, into the checkpoint; replace an existing one.

    The plain values in `about` go into the manifest, beside the files.
    """
    written = temporary_of(folder)
    files = sorted(flushed(written))
    with ThreadPoolExecutor() as readers:
        sums = readers.map(file_sha256, files)
    listed = {
        file.relative_to(written).as_posix(): {"bytes": file.stat().st_size, "sha256": digest}
        for file, digest in zip(files, sums, strict=True)
    }
    manifest = written / MANIFEST
    manifest.write_text(json.dumps({**about, "files": listed}, indent=1) + "\n", encoding="utf-8")
    for path in (manifest, *(path for path in written.rglob("*") if path.is_dir()), written):
        to_disk(path)
    replaced = folder.with_name(f"{TEMPORARY}{REPLACED}{folder.name}")
    if folder.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        os.rename(folder, replaced)  # a process that is killed here leaves no checkpoint-N: see `tidy`
    os.rename(written, folder)
    to_disk(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def find_damage(folder: Path) -> str | None:
    """Why training cannot resume from a checkpoint, in a few words; None if it can."""
    if not folder.is_dir():
        return "there is no such folder"
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        names = manifest["files"]
        if any(".." in Path(name).parts or Path(name).is_absolute() or not name.isprintable() for name in names):
            raise ValueError("it names files outside of a checkpoint")
        listed = {folder / name: (int(about["bytes"]), about["sha256"]) for name, about in names.items()}
        if folder / STATE not in listed:
            return f"its {MANIFEST} does not name {STATE}"
    except FileNotFoundError:
        return f"it has no {MANIFEST}: it is incomplete, or of an older version"
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return f"its {MANIFEST} cannot be read"
    try:
        for file, (size, _) in listed.items():
            if not file.is_file():
                return f"{file.relative_to(folder)} is missing"
            if file.stat().st_size != size:
                return f"{file.relative_to(folder)} has {file.stat().st_size} bytes instead of {size}"
        if manifest.get("save_only_model"):
            return "it has the model but not the state of the training (save_only_model)"
        with ThreadPoolExecutor() as readers:
            sums = list(readers.map(file_sha256, listed))
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    for (file, (_, wanted)), found in zip(listed.items(), sums, strict=True):
        if found != wanted:
            return f"{file.relative_to(folder)} was changed after it was written"
    return None


def best_of(folder: Path) -> Path | None:
    """The best checkpoint so far, as recorded in a complete checkpoint; None if none was selected.

    It is expected beside the checkpoint, since a run may have been moved or copied, and otherwise where it was.
    """
    recorded = json.loads((folder / STATE).read_text(encoding="utf-8")).get("best_model_checkpoint")
    if not recorded:
        return None
    beside = folder.parent / Path(recorded).name
    return beside if beside.is_dir() else Path(recorded)


def find_lost_best(folder: Path) -> str | None:
    """Why the best one by a complete checkpoint cannot be loaded at the end; None if it can, or if there is none."""
    best = best_of(folder)
    if best is None or best == folder or (damage := find_damage(best)) is None:
        return None
    return f"the best one by then, {best}, cannot be loaded: {damage}"


def checkpoints(run: Path) -> dict[int, Path]:
    """The checkpoint folders of a run by step, newest first."""
    named = ((re.fullmatch(r"checkpoint-(0|[1-9][0-9]*)", path.name), path) for path in run.glob("checkpoint-*"))
    return dict(sorted(((int(match[1]), path) for match, path in named if match and path.is_dir()), reverse=True))


def newest_complete(run: Path, with_best: bool = False) -> tuple[int | None, list[str]]:
    """The step of the newest checkpoint in a run's folder that can be resumed, and a sentence about each newer one.

    With `with_best` those whose best checkpoint so far cannot be loaded are skipped, unless that leaves none.
    """
    passed_over: list[str] = []
    for step, folder in checkpoints(run).items():
        damage = find_damage(folder) or (find_lost_best(folder) if with_best else None)
        if damage is None:
            return step, passed_over
        passed_over.append(f"{folder} is passed over: {damage}.")
    return newest_complete(run) if with_best else (None, passed_over)


def check_is_new(args: Any) -> None:
    """Raise ValueError if no checkpoint is resumed, but the output folder has some: two would mix."""
    run = Path(args.output_dir)
    if args.resume_from_checkpoint is None and (there := list(checkpoints(run).values())):
        raise ValueError(
            f"{run} has checkpoints of an earlier training ({there[0].name}): resume it with "
            "--resume_from_checkpoint true, remove it, or choose another output_dir."
        )


def rotate(written: Path, limit: int | None, best: str | None) -> None:
    """Remove the oldest checkpoints of a run until `limit` remain (None or 0: all).

    The checkpoint that was just written and the best one stay in any case.
    """
    if not limit or limit < 0:
        return
    own = int(written.name.rpartition("-")[2])
    there = checkpoints(written.parent)
    kept = [path for path in there.values() if path == written or (best and path.resolve() == Path(best).resolve())]
    # What lies ahead of this step is what a resumed training has passed over: that first, then the oldest.
    others = sorted((step < own, step) for step, path in there.items() if path not in kept)
    for _, step in others[: max(0, len(there) - max(limit, len(kept)))]:
        remove(there[step])


def remove(folder: Path) -> None:
    """Remove a checkpoint: half removed it has no checkpoint's name any more."""
    gone = folder.with_name(f"{TEMPORARY}old-{folder.name}")
    shutil.rmtree(gone, ignore_errors=True)
    os.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


def tidy(run: Path) -> list[Path]:
    """Remove what a killed process has left in the folder of a run, and return what was removed.

    A checkpoint that was moved aside for a new one of the same step gets its name back if the new one is absent.
    Folders that are half-written or half-removed are removed. A single file that was left is overwritten later.
    """
    for path in run.glob(f"{TEMPORARY}{REPLACED}checkpoint-*"):
        before = path.with_name(path.name.removeprefix(TEMPORARY + REPLACED))
        if path.is_dir() and not before.exists():
            os.rename(path, before)
    ours = re.compile(rf"{TEMPORARY}(old-|{REPLACED})?checkpoint-\d+|{TEMPORARY}files|_push_\w{{8}}")
    found = sorted(path for path in run.glob("*") if ours.fullmatch(path.name) and path.is_dir())
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
    return found
