"""The flags and the steps of a build of sequences: build the units, report, write the card. There are no splits."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_scripts.builds.build_commands import IMAGE_SIZE, FailedUnitsError, build_units
from data_scripts.builds.ledger import locked
from data_scripts.builds.run_units import ENGINES
from data_scripts.builds.work_units import BuildReport, Source
from modeling_cde.data.sequence_schema import SEQUENCE_FOLDER, step_classes

if TYPE_CHECKING:
    import PIL.Image

    from modeling_cde.data.building.card import DatasetCard

MOST_FRAMES = 256


def add_sequence_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of every build of sequences."""
    add = parser.add_argument_group("build").add_argument
    add("--output", type=Path, required=True, help="folder of the data set")
    add("--seed", type=int, default=0, help="of everything random")
    add("--workers", type=int, default=2, help="processes that build at the same time")
    add("--engine", choices=ENGINES, default="local", help="run them on this machine, or on Ray")
    add("--ray_address", help="of a running Ray cluster; none starts Ray here")
    told = "a unit that takes longer is killed and tried again (%(default)s)"
    add("--unit_timeout", type=float, metavar="SECONDS", help=told)
    add("--retries", type=int, default=2, help="how often to try a failed unit again")


def build_sequences(source: Source, options: argparse.Namespace, card: DatasetCard) -> BuildReport:
    """Build the unfinished units into `<output>/sequences` and write README.md.

    Args:
        source: Whose `features` are those of `sequence_features`.
        options: Of `add_sequence_arguments`.
        card: What README.md says of the sequences.

    Raises:
        FailedUnitsError: Units failed; the printed report says why.
        ValueError: The folder has units of other settings; also what `run_units` raises.
    """
    from modeling_cde.data.building.sequence_card import write_sequence_card

    report = build_units(source, options.output / SEQUENCE_FOLDER, options)
    report.what = "sequences"
    print(report.text(), flush=True)
    if report.failed:
        raise FailedUnitsError(
            f"{len(report.failed)} of {report.units} units failed: run the same command to try them again."
        )
    with locked(options.output / ".lock"):
        write_sequence_card(options.output, card)
    print(f"Data set: {options.output} (load_sequences(folder))", flush=True)
    return report


def add_clip_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of sources that cut clips out of recordings."""
    add = parser.add_argument
    add("--frames", type=int, default=16, help="of each clip, evenly spaced from start to end (%(default)s)")
    add("--image_size", type=int, default=IMAGE_SIZE, metavar="PIXELS", help="shorter side of a frame (%(default)s)")


def evenly(first: int, last: int, frames: int) -> tuple[int, ...]:
    """That many frame numbers from `first` to `last`, both included; numbers repeat where there are too few."""
    return tuple(first + round(k * (last - first) / (frames - 1)) for k in range(frames))


def clip_row(
    pictures: Sequence[bytes | PIL.Image.Image],
    action: int,
    thing: int,
    scene: str,
    sequence_id: str,
    image_size: int,
    encoding: str,
) -> dict[str, Any]:
    """A row of `sequence_features` in which one action goes on from the first frame to the last.

    Raises:
        BadPictureError: A picture cannot be stored, or frames have different sizes.
    """
    from data_scripts.stored_views import store_pair

    actions, objects, onset, end = step_classes(len(pictures), [(action, thing, 0, len(pictures) - 1)])
    options: dict[str, Any] = {"view": "multi", "image_size": image_size, "encoding": encoding}
    return {
        "frames": [store_pair(pictures[0], picture, None, **options)["after"] for picture in pictures],
        "actions": actions,
        "objects": objects,
        "onset": onset,
        "end": end,
        "amount": None,
        "box": None,
        "scene": scene,
        "sequence_id": sequence_id,
    }


def check_frames(frames: int, image_size: int) -> None:
    """Raise a ValueError if clips of that many frames of that size cannot be cut."""
    if not 2 <= frames <= MOST_FRAMES:
        raise ValueError(f"--frames is {frames}; give 2 to {MOST_FRAMES}.")
    if image_size < 1:
        raise ValueError(f"--image_size is {image_size}; give at least 1 pixel.")
