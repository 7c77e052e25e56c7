"""Build a data set of rooms: render the missing units, then write splits or the folders of Causal Triplet."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from data_scripts.builds.build_commands import build_steps, check_options, default_options, is_split, unfinished
from data_scripts.rooms.opengl import check_opengl
from data_scripts.rooms.pairs import Noise
from data_scripts.rooms.units import RoomsSource, Settings

if TYPE_CHECKING:
    from modeling_cde.data.building.card import DatasetCard

LAYOUTS = ("datasets", "causal_triplet")
PAIRS_PER_SECOND = 20.0  # of one worker at 128 pixels, for the estimate only
TITLE = "Rooms: before/after pairs of rendered rooms"
DESCRIPTION = (
    "Furnished rooms rendered by MuJoCo from simple solids, each pair before and after one action on one object. "
    "Everything is drawn from the seed; nothing was photographed or downloaded."
)


def build_rooms(
    output: str | Path,
    view: str = "single",
    num_pairs: int = 3000,
    image_size: int = 128,
    seed: int = 0,
    workers: int = 2,
    noise: Noise | None = None,
    layout: str = "datasets",
    pairs_per_unit: int = 60,
    shift: str = "joint",
    kinds: str = "all",
    nothing_share: float = 0.0,
) -> Path:
    """Render pairs of rooms and, in the layout "datasets", divide them into splits.

    Finished units are kept: an interrupted build continues where it stopped.

    Args:
        output: folder of the data set.
        view: "single" or "multi".
        num_pairs: pairs in total; 200 show each action on each of its objects at least once.
        image_size: side of the pictures in pixels.
        seed: of everything random; the files depend on it, but not on the number of workers.
        workers: processes that render.
        noise: what changes apart from the target; by default nothing.
        layout: "datasets" or "causal_triplet" (folders `proc_00000` and so on in `<output>/<view>`).
        pairs_per_unit: pairs in a work unit, the most that an interrupted worker loses.
        shift: what the splits hold out; see `assemble`.
        kinds: "all", or "classic": the 34 kinds of things of the first rooms, in the same pictures as then.
        nothing_share: share of pairs in which nothing happens and only the noise is to be seen, under the further
            action "nothing".

    Returns:
        `output`.

    Raises:
        RenderingUnavailableError: MuJoCo or OpenGL is missing.
        ValueError: the folder has units of other settings, or a setting is out of range.
        FailedUnitsError: units failed; the printed report says why.
    """
    settings = Settings(view, num_pairs, image_size, seed, pairs_per_unit, noise or Noise(), kinds, nothing_share)
    options = default_options(output, view=view, seed=seed, workers=workers, shift=shift)
    build_from(RoomsSource(settings), options, layout)
    return Path(output)


def build_from(source: RoomsSource, options: argparse.Namespace, layout: str) -> bool:
    """Like `build_rooms`, with the options of `add_build_arguments`; returns whether there was anything to do.

    The source must have the options' view and seed.
    """
    check_options(options)
    _check_layout(layout, options)
    options = argparse.Namespace(**vars(options) | {"rendered": True})
    if options.share_evaluation_groups is None and options.protocol == "clean":
        # A room has four pairs: OOD parts with rooms of their own would be a quarter smaller.
        options = argparse.Namespace(**vars(options) | {"share_evaluation_groups": True})
    todo = unfinished(source, options)
    if todo:
        check_opengl()
        _announce(source.choice, options, len(todo))
    elif layout == "datasets" and not options.push and is_split(options, source.choice.num_pairs):
        return False  # before anything slow is imported: every training asks
    card = rooms_card(source.choice)
    if layout == "datasets":
        build_steps(source, options, card)
        return True
    from data_scripts.causal_triplet_layout import write_houses

    build_steps(source, argparse.Namespace(**vars(options) | {"no_split": True}), card)
    root = options.output / options.view
    pairs = write_houses(sorted((options.output / "shards" / options.view).glob("*.parquet")), root)
    print(f"Wrote {pairs} pairs in the layout of Causal Triplet: {root}", flush=True)
    return True


def rooms_card(settings: Settings) -> DatasetCard:
    """What the data set's card says beyond what the files show."""
    from modeling_cde.data.building.card import DatasetCard

    flags = {key: getattr(settings, key) for key in ("view", "num_pairs", "image_size", "seed")}
    flags |= {key: value for key, value in asdict(settings.noise).items() if value}
    flags |= {"kinds": settings.kinds} if settings.kinds != "all" else {}
    flags |= {"nothing_share": settings.nothing_share} if settings.nothing_share else {}
    asked = " ".join(f"--{key} {value}" for key, value in flags.items())
    return DatasetCard(
        TITLE,
        DESCRIPTION,
        license="apache-2.0",
        credit="Rendered with [MuJoCo](https://mujoco.org).",
        provenance=(
            "rendered by `data_scripts.rooms` of modeling-cde, which draws shapes, materials, cameras and light itself",
        ),
        tags=("synthetic", "mujoco"),
        command=f"python -m data_scripts.rooms --output data/rooms {asked}",
        limits=(
            "Simple solids: a model that knows these rooms has seen no photograph.",
            "Only the target changes between the two pictures, unless the settings above name noise.",
            *(
                ["In pairs of the action nothing the object stays as it is: only the noise is to be seen."]
                if settings.nothing_share
                else []
            ),
        ),
    )


def _check_layout(layout: str, options: argparse.Namespace) -> None:
    if layout not in LAYOUTS:
        raise ValueError(f"The layout is {layout!r}; choose {' or '.join(LAYOUTS)}.")
    if layout != "datasets" and options.push:
        raise ValueError("--push needs the layout datasets: leave out --layout causal_triplet.")
    root = options.output / options.view
    other = root.glob("proc_*" if layout == "datasets" else "*.parquet")
    if next(other, None) is not None:
        raise ValueError(f"{root} has a layout other than {layout}: delete it or choose another folder.")


def _announce(settings: Settings, options: argparse.Namespace, units: int) -> None:
    pixels = max(1.0, settings.image_size / 128) ** 1.5
    seconds = units * settings.pairs_per_unit / (PAIRS_PER_SECOND * max(1, options.workers)) * pixels
    print(
        f"Rendering {settings.num_pairs} pairs of rooms ({settings.view} view, {settings.image_size} pixels) into "
        f"{options.output}: {settings.num_units - units} of {settings.num_units} units exist, the rest takes about "
        f"{seconds / 60:.1f} minutes on {options.workers} workers.",
        flush=True,
    )
