"""`python -m data_scripts.simulators --output data/simulators --num_pairs 600`"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data_scripts.builds.build_commands import (
    add_build_arguments,
    build_steps,
    check_options,
    is_split,
    plain_errors,
    unfinished,
)
from data_scripts.rooms.opengl import check_opengl
from data_scripts.simulators.source import Settings, SimulatorSource
from modeling_cde.cli.verbs import command
from modeling_cde.whole_files import cache_folder, in_one_sentence

if TYPE_CHECKING:
    from modeling_cde.data.building.card import DatasetCard


def main(arguments: Sequence[str] | None = None) -> None:
    """Render before/after pairs of things out of robotics simulators and divide them into splits."""
    parser = argparse.ArgumentParser(prog=command("data_scripts.simulators"), description=main.__doc__)
    add = parser.add_argument
    add("--num_pairs", type=int, default=600)
    add("--image_size", type=int, default=128, help="side of the pictures in pixels")
    add("--pairs_per_unit", type=int, default=4, help="pairs of one action before one background")
    kept = cache_folder() / "packages"
    add("--packages", type=Path, metavar="FOLDER", help=f"where the simulators' packages are kept; default: {kept}")
    add_build_arguments(parser)
    options = parser.parse_args(arguments)
    with plain_errors():
        if options.view != "single":
            raise ValueError("--view multi needs several things in a picture, and here is one: leave it out.")
        settings = Settings(options.num_pairs, options.image_size, options.seed, options.pairs_per_unit)
        source = SimulatorSource(settings, options.packages)
        if not build(source, options):
            print(f"{options.output} already has all pairs and their splits.")


def build(source: SimulatorSource, options: argparse.Namespace) -> bool:
    """Build what is missing; returns whether there was anything to do."""
    check_options(options)
    options = argparse.Namespace(**vars(options) | {"rendered": True})
    if options.share_evaluation_groups is None and options.protocol == "clean":
        # As for the rooms: a scene has few pairs, and OOD parts with scenes of their own would be small.
        options = argparse.Namespace(**vars(options) | {"share_evaluation_groups": True})
    if unfinished(source, options):
        check_opengl()
        source.files()  # downloaded here, once, and not by every worker
        source.close()
    elif not options.push and is_split(options, source.choice.num_pairs):
        return False
    build_steps(source, options, make_card(source))
    return True


def make_card(source: SimulatorSource) -> DatasetCard:
    """What the data set's card says beyond what the files show."""
    from modeling_cde.data.building.card import DatasetCard

    used = source.simulators()
    flags = {key: getattr(source.choice, key) for key in ("num_pairs", "image_size", "seed")}
    asked = " ".join(f"--{key} {value}" for key, value in flags.items())
    return DatasetCard(
        "Things out of robotics simulators, before and after",
        "Furniture and devices of robotics simulators, rendered by MuJoCo between a floor and a wall, each pair before "
        "and after one action on one thing. Models and textures are the simulators' own; cameras, light and the choice "
        "of floor and wall are drawn from the seed. No robot is shown.",
        license="other",
        license_terms="The models and textures that the pictures show keep their licences, which ask you to keep the "
        "copyright notices: " + " ".join(simulator.credit for simulator in used),
        credit="Rendered with [MuJoCo](https://mujoco.org).",
        provenance=tuple(
            f"models: {package.name} {package.version} of the Python package index, SHA-256 {package.sha256}, "
            f"{simulator.license}"
            for simulator in used
            for package in simulator.packages
        ),
        tags=("synthetic", "mujoco", "robotics"),
        command=f"python -m data_scripts.simulators --output data/simulators {asked}",
        limits=(
            "Few things, some of them alike: three cabinets share a shape, and so do two stoves, two doors and three "
            "lamps.",
            "Only the thing changes between the two pictures.",
        ),
    )


if __name__ == "__main__":
    with in_one_sentence("data_scripts.simulators"):
        main()
