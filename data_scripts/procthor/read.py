"""`python -m data_scripts.procthor read --input FOLDER_OR_ARCHIVE --output data/procthor --view single`"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from data_scripts.builds.build_commands import build_parser, check_options, plain_errors, stored_size
from data_scripts.builds.licensed_build import UNLICENSED, add_licence_arguments, build_licensed, stated_card
from data_scripts.procthor.actions import VERBS

DESCRIPTION = """\
Read pairs in the folder layout of Causal Triplet's ProcTHOR pairs: houses proc_XXXXX with color/, mask/ (optional) and
annotations.csv, in a folder, a zip or a tar, without unpacking it. A house is a work unit.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read a folder or archive of houses and divide its pairs into splits."""
    parser = build_parser("procthor read", DESCRIPTION)
    parser.add_argument("--input", type=Path, required=True, help="folder, .zip, .tar or .tar.gz with the houses")
    parser.add_argument("--strict", action="store_true", help="stop at the first bad row instead of reporting it")
    parser.add_argument(
        "--verbs", nargs="+", default=list(VERBS), metavar="VERB", help=f"actions to read ({' '.join(VERBS)})"
    )
    add_licence_arguments(parser)
    options = parser.parse_args(arguments)
    with plain_errors():
        check_options(options, None if options.license else UNLICENSED)
        read(options)


def read(options: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        ValueError: The input is refused or has no pairs.
    """
    from data_scripts.archives.open_files import open_files
    from data_scripts.procthor.reader import HousesSource

    cost = open_files(options.input).cost
    print(f"{cost}\n" if cost else "", f"Reading {options.input} ...", sep="", flush=True)
    source = HousesSource(options.input, options.view, stored_size(options), options.verbs, options.strict)
    print(
        f"{source.pairs} pairs in the tables of {len(source.units())} houses: {len(source.actions)} actions "
        f"({', '.join(source.actions)}) of {len(source.objects)} kinds of objects.",
        flush=True,
    )
    if source.without_table:
        print(f"{source.without_table} houses have pictures but no annotations.csv, and so no pairs.", flush=True)

    from modeling_cde.data.building.card import DatasetCard

    size = "as they are" if options.originals else f"scaled down to {options.image_size} pixels on their shorter side"
    card = DatasetCard(
        title=f"Before/after pairs of {options.input.resolve().name}",
        description="Pictures before and after one action on one object, read from the folder layout of Causal "
        f"Triplet's ProcTHOR pairs; pictures are stored {size}.",
        provenance=(f"Read from {options.input.resolve().name}; SHA-256 of its tables: {source.tables_sha256}.",),
        limits=(
            "The box is that of the object after the action, as in Causal Triplet; both pictures are cropped by it.",
            "Rows of the tables that were found bad are left out, so there may be fewer pairs than in the original.",
        ),
    )
    build_licensed(source, options, stated_card(options, card))
