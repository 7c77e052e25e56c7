"""Contact sheets, to see whether a person can name every action: each thing from several cameras, before beside after.

`python -m data_scripts.simulators.sheet --output sheet.png --examples 6`
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_scripts.builds.build_commands import plain_errors
from data_scripts.rooms.opengl import check_opengl
from data_scripts.rooms.sheet import contact_sheet
from data_scripts.simulators.pairs import draw_stage
from data_scripts.simulators.source import Settings, SimulatorSource, accepted_pair
from data_scripts.simulators.things import THINGS
from modeling_cde.cli.verbs import command
from modeling_cde.whole_files import in_one_sentence


def main(arguments: Sequence[str] | None = None) -> None:
    """Render a sheet of all things, opened or turned on: a row for each."""
    parser = argparse.ArgumentParser(prog=command("data_scripts.simulators.sheet"), description=main.__doc__)
    parser.add_argument("--output", type=Path, required=True, help="PNG or JPEG file to write")
    parser.add_argument("--image_size", type=int, default=128, help="side of a picture in pixels")
    parser.add_argument("--things", nargs="+", choices=[thing.name for thing in THINGS], help="only these")
    parser.add_argument("--examples", type=int, default=6, help="pairs of each thing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--packages", type=Path, metavar="FOLDER", help="where the simulators' packages are kept")
    options = parser.parse_args(arguments)
    with plain_errors():
        check_opengl()
        settings = Settings(options.examples * len(THINGS), options.image_size, options.seed, options.examples)
        source = SimulatorSource(settings, options.packages)
        pairs = []
        for number, (action, thing) in enumerate(source.combinations()[: len(THINGS)]):
            if options.things and thing.name not in options.things:
                continue
            rng = np.random.default_rng([options.seed, number])
            for _ in range(options.examples):
                stage = draw_stage(source.files(), source.backgrounds, thing, options.image_size, rng)
                pairs.append(accepted_pair(stage, action, rng, Counter()))
                stage.close()
        options.output.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(pairs, options.examples).save(options.output)
        print(f"Wrote {len(pairs)} pairs to {options.output}")


if __name__ == "__main__":
    with in_one_sentence("data_scripts.simulators.sheet"):
        main()
