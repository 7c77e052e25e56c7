"""The flags and the steps of a build of sequences: build the units, report, write the card. There are no splits."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from data_scripts.builds.build_commands import FailedUnitsError, build_units
from data_scripts.builds.ledger import locked
from data_scripts.builds.run_units import ENGINES
from data_scripts.builds.work_units import BuildReport, Source
from modeling_cde.data.sequence_schema import SEQUENCE_FOLDER

if TYPE_CHECKING:
    from modeling_cde.data.building.card import DatasetCard


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
