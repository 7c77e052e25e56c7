"""The data sets of a benchmark: rendered where they are absent, split again where each seed has its own split."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.paper.plan import Run
from benchmarks.paper.recipe import NOISE, Recipe, Rooms
from modeling_cde.data.schema import JOINT_SHIFTS, data_folder


def missing_data(recipe: Recipe) -> str | None:
    """What keeps a benchmark from starting, as a sentence, or None: a folder that only its user can build."""
    data = recipe.data
    if data.rooms is not None or not data.is_folder:
        return None
    for shift in sorted({part for name in recipe.shifts for part in _parts(name)}):
        if not Path(data.source, "manifests", f"{recipe.view}_{shift}.json").is_file():
            advice = f"build it with `{data.build}`" if data.build else "build it first (docs/data.md)"
            return f"{data.source} contains no pairs of view {recipe.view} split for shift {shift}: {advice}."
    return None


def _parts(shift: str) -> tuple[str, ...]:
    return JOINT_SHIFTS if shift == "both" else (shift,)


def prepare_data(plan: Iterable[Run]) -> None:
    """Render and split what the runs need and what is not there yet.

    Raises:
        ValueError: if a folder holds rooms of other settings, or a folder's split cannot be made anew.
        OSError: if the renderer is missing, or a file cannot be read or written.
    """
    rendered: set[str] = set()
    split: set[tuple[str, str]] = set()
    for run in plan:
        if run.rooms is not None and run.base not in rendered:
            render(run.rooms, run.view)
            rendered.add(run.base)
        if run.split_seed is not None and (run.source, run.shift) not in split:
            split_again(Path(run.base), Path(run.source), run.view, run.shift, run.split_seed)
            split.add((run.source, run.shift))


def render(rooms: Rooms, view: str) -> None:
    """Render what is missing of a data set of rooms; see `data_scripts.rooms.build.build_rooms`."""
    from data_scripts.rooms.build import build_rooms
    from data_scripts.rooms.pairs import Noise

    build_rooms(
        rooms.folder,
        view=view,
        num_pairs=rooms.num_pairs,
        image_size=rooms.image_size,
        seed=rooms.seed,
        workers=rooms.workers,
        kinds=rooms.kinds,
        noise=Noise(**{name: getattr(rooms, name) for name in NOISE}),
    )


def split_again(base: Path, folder: Path, view: str, shift: str, seed: int) -> None:
    """Make a folder with the pairs of `base`, divided as `base` is, by another seed.

    The shards are hard links where the file system has them, so that pictures are stored once.

    Args:
        base: a built data set with its shards.
        folder: the data set to make; left alone if its splits are of this seed.
        view: "single" or "multi".
        shift: of the runs: "both", "comp", "syst" or "mech".
        seed: of the split.

    Raises:
        ValueError: if `base` has no shards or no manifest of the shift; for the shift mech any of the view will do.
    """
    from data_scripts.builds.ledger import locked
    from modeling_cde.data.building.build import assemble
    from modeling_cde.data.splits import CausalTripletOptions, CleanOptions

    shifts = _parts(shift)
    manifest = _example(base, view, shifts[0])
    shards = base / "shards" / view
    if manifest is None or not shards.is_dir():
        raise ValueError(
            f"{base} has no shards of view {view} or no manifest of shift {shifts[0]}, which a split of "
            "another seed is made from: build the data set there, or set split_seeds: fixed."
        )
    if all(_is_that_split(base, folder, view, name, seed) for name in shifts):
        return
    kind: Any = CleanOptions if manifest["protocol"] == "clean" else CausalTripletOptions
    names = {item.name for item in dataclasses.fields(kind)}
    given = {key: value for key, value in manifest["options"].items() if key in names}
    if "left_out" in given:
        given["left_out"] = tuple(given["left_out"])
    joint = len(shifts) > 1 and len(manifest["options"].get("shifts", ())) > 1
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        for source in sorted([*shards.iterdir(), base / "shards" / "card.json"]):
            _link(source, folder / source.relative_to(base))
        for name in ("joint",) if joint else shifts:
            assemble(folder, view, seed, protocol=manifest["protocol"], shift=name, options=kind(**given))


def _is_that_split(base: Path, folder: Path, view: str, shift: str, seed: int) -> bool:
    """Whether a folder's manifest is of the same pairs and options as the base's, with this seed."""
    example, made = _example(base, view, shift), _manifest(folder, view, shift)
    if example is None or made is None or made["seed"] != seed or made["protocol"] != example["protocol"]:
        return False
    if example["shift"] == shift:
        return all(example[key] == made[key] for key in ("options", "annotations_sha256"))
    # Another shift hashes other columns; the same shards are the same pairs.
    options = [{**one["options"], "shifts": None} for one in (example, made)]
    return options[0] == options[1] and _made_from(base, view, example) == _made_from(folder, view, made)


def _example(base: Path, view: str, shift: str) -> dict[str, Any] | None:
    """The manifest whose protocol and options a split takes; rooms are built without one of mechanisms."""
    names = (shift, *JOINT_SHIFTS) if shift == "mech" else (shift,)
    return next((found for name in names if (found := _manifest(base, view, name)) is not None), None)


def _made_from(folder: Path, view: str, manifest: Mapping[str, Any]) -> Any:
    """The hashes of the shards that a split was made from."""
    joint = len(manifest["options"].get("shifts", ())) > 1
    name = data_folder(f"{view}_{manifest['shift']}", joint)
    return json.loads((folder / "shards" / f"{name}.json").read_text(encoding="utf-8"))


def _manifest(folder: Path, view: str, shift: str) -> dict[str, Any] | None:
    try:
        content = json.loads((folder / "manifests" / f"{view}_{shift}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _link(source: Path, target: Path) -> None:
    if not source.is_file():
        return
    if target.exists():
        old, new = target.stat(), source.stat()
        if (old.st_size, old.st_mtime_ns) == (new.st_size, new.st_mtime_ns):
            return
        target.unlink()  # a shard that was built again since
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)
