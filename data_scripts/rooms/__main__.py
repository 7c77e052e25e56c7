"""`python -m data_scripts.rooms --output data/rooms --view single --num_pairs 3000`

`python -m data_scripts.rooms sequences ...` renders sequences instead: see `sequence_command`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from data_scripts.builds.build_commands import add_build_arguments, plain_errors
from data_scripts.rooms.build import LAYOUTS, build_from
from data_scripts.rooms.objects import CHOICES
from data_scripts.rooms.pairs import Noise
from data_scripts.rooms.units import RoomsSource, Settings
from modeling_cde.cli.verbs import command
from modeling_cde.whole_files import in_one_sentence

SEQUENCES = "Sequences of several actions: python -m data_scripts.rooms sequences --help"
NOISE = {"camera_cm": "cm", "camera_deg": "degrees", "object_cm": "cm", "light_percent": "per cent"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Render before/after pairs of furnished rooms and divide them into splits."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["sequences"]:
        from data_scripts.rooms import sequence_command

        return sequence_command.main(words[1:])
    parser = argparse.ArgumentParser(prog=command("data_scripts.rooms"), description=main.__doc__, epilog=SEQUENCES)
    parser.add_argument("--num_pairs", type=int, default=3000)
    parser.add_argument("--image_size", type=int, default=128, help="side of the pictures in pixels")
    parser.add_argument("--pairs_per_unit", type=int, default=60)
    parser.add_argument("--layout", choices=LAYOUTS, default="datasets")
    told = "all kinds of things, or classic: the 34 of the first rooms, in the same pictures as then"
    parser.add_argument("--kinds", choices=CHOICES, default="all", help=told)
    for name, unit in NOISE.items():
        parser.add_argument(f"--{name}", type=float, default=0.0, help=f"noise in the after picture, {unit}")
    told = "share of pairs in which nothing happens, under the action nothing; needs noise (default: 0)"
    parser.add_argument("--nothing_share", type=float, default=0.0, help=told)
    add_build_arguments(parser)
    options = parser.parse_args(words)
    with plain_errors():
        noise = Noise(*(getattr(options, name) for name in NOISE))
        settings = Settings(
            options.view,
            options.num_pairs,
            options.image_size,
            options.seed,
            options.pairs_per_unit,
            noise,
            options.kinds,
            options.nothing_share,
        )
        if not build_from(RoomsSource(settings), options, options.layout):
            print(f"{options.output} already has all rooms and their splits.")


if __name__ == "__main__":
    with in_one_sentence("data_scripts.rooms"):
        main()
