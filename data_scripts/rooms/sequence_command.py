"""`python -m data_scripts.rooms sequences --output data/sequences --num 500 --frames 3`"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_scripts.builds.build_commands import plain_errors
from data_scripts.builds.sequence_build import add_sequence_arguments, build_sequences
from data_scripts.rooms.objects import CHOICES
from data_scripts.rooms.opengl import check_opengl
from data_scripts.rooms.sequence_units import SequenceSettings, SequencesSource
from data_scripts.rooms.sequences import Disturbance

if TYPE_CHECKING:
    from modeling_cde.data.building.card import DatasetCard

SQUARE = {"frames": 4, "acts": 3}
TITLE = "Rooms: sequences of actions in rendered rooms"
DESCRIPTION = (
    "Furnished rooms rendered by MuJoCo from simple solids, each under one camera while actions are done in it. "
    "Everything is drawn from the seed; nothing was photographed or downloaded."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Render sequences of rooms: several actions on one object or on two, idle steps, gradual change, disturbances."""
    parser = argparse.ArgumentParser(prog="python -m data_scripts.rooms sequences", description=main.__doc__)
    add = parser.add_argument
    add("--num", type=int, default=500, help="sequences (%(default)s)")
    add("--frames", type=int, help="frames of each (3; 16 with --gradual)")
    add("--acts", type=int, help="actions in each, the other steps are idle (one for each step; 1 with --gradual)")
    add("--targets", type=int, choices=(1, 2), default=1, help="objects that are acted on")
    add("--gradual", action="store_true", help="actions take several frames, from a frame that is drawn")
    add("--square", action="store_true", help="four frames with each of two properties changed and unchanged")
    add("--image_size", type=int, default=128, help="side of the pictures in pixels")
    add("--per_unit", type=int, default=20, help="sequences in a work unit")
    add("--kinds", choices=CHOICES, default="all", help="of things")
    add("--drift_cm", type=float, default=0.0, help="how far the camera moves until the last frame")
    add("--drift_deg", type=float, default=0.0, help="how far it turns until then, degrees")
    add("--occluder", type=float, default=0.0, help="width of a board that passes, as a share of the objects' width")
    add_sequence_arguments(parser)
    options = parser.parse_args(arguments)
    with plain_errors():
        build_sequences(SequencesSource(_settings(options)), options, sequences_card(_settings(options)))


def render_sequences(output: str | Path, *, workers: int = 2, **settings: Any) -> Path:
    """Render a data set of sequences as the command does; `settings` are those of `SequenceSettings`."""
    options = _defaults(output, workers)
    choice = SequenceSettings(**settings)
    build_sequences(SequencesSource(choice), options, sequences_card(choice))
    return Path(output)


def sequences_card(settings: SequenceSettings) -> DatasetCard:
    """What the data set's card says beyond what the files show."""
    from modeling_cde.data.building.card import DatasetCard

    return DatasetCard(
        TITLE,
        DESCRIPTION,
        license="apache-2.0",
        credit="Rendered with [MuJoCo](https://mujoco.org).",
        provenance=("rendered by `data_scripts.rooms` of modeling-cde",),
        tags=("synthetic", "mujoco", "video"),
        command=f"python -m data_scripts.rooms sequences --output data/sequences {_flags(settings)}",
        limits=(
            "Simple solids: a model that knows these rooms has seen no photograph.",
            "A thing that lies in pieces looks the same whatever was done to it before.",
            "Lamps, screens, heat and cracks change from one frame to the next, also in gradual sequences.",
        ),
    )


def _settings(options: argparse.Namespace) -> SequenceSettings:
    check_opengl()
    given = {field.name: getattr(options, field.name) for field in fields(SequenceSettings) if field.name in options}
    usual = SQUARE if options.square else {"frames": 16, "acts": 1} if options.gradual else {"frames": 3}
    given |= {name: value for name, value in usual.items() if given[name] is None}
    if given["acts"] is None:
        given["acts"] = given["frames"] - 1
    noise = Disturbance(options.drift_cm, options.drift_deg, options.occluder)
    return SequenceSettings(**given, disturbance=noise)


def _flags(settings: SequenceSettings) -> str:
    usual = SequenceSettings(1)
    values = {name: value for name, value in vars(settings).items() if name not in ("per_unit", "disturbance")}
    values = {k: v for k, v in values.items() if k in ("num", "frames", "acts") or v != getattr(usual, k)}
    values |= {name: value for name, value in asdict(settings.disturbance).items() if value}
    return " ".join(f"--{name}" if value is True else f"--{name} {value}" for name, value in values.items())


def _defaults(output: str | Path, workers: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_sequence_arguments(parser)
    return parser.parse_args(["--output", str(output), "--workers", str(workers)])
