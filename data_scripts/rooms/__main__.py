"""`python -m data_scripts.rooms --output data/rooms --view single --num_pairs 3000`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data_scripts.rooms.build import build_rooms
from data_scripts.rooms.opengl import RenderingUnavailableError
from data_scripts.rooms.pairs import Noise
from data_scripts.rooms.units import UnitError
from data_scripts.rooms.writers import LAYOUTS


def main(arguments: Sequence[str] | None = None) -> None:
    """Render before/after pairs of furnished rooms and divide them into splits."""
    parser = argparse.ArgumentParser(prog="python -m data_scripts.rooms", description=main.__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--view", choices=("single", "multi"), default="single")
    parser.add_argument("--num_pairs", type=int, default=3000)
    parser.add_argument("--image_size", type=int, default=128, help="side of the pictures in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--layout", choices=LAYOUTS, default="datasets")
    parser.add_argument("--pairs_per_unit", type=int, default=60)
    for name, unit in (
        ("camera_cm", "cm"),
        ("camera_deg", "degrees"),
        ("object_cm", "cm"),
        ("light_percent", "per cent"),
    ):
        parser.add_argument(f"--{name}", type=float, default=0.0, help=f"noise in the after picture, {unit}")
    options = vars(parser.parse_args(arguments))
    try:
        noise = Noise(*(options.pop(name) for name in ("camera_cm", "camera_deg", "object_cm", "light_percent")))
        build_rooms(**options, noise=noise)
    except (RenderingUnavailableError, UnitError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
