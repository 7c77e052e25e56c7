"""The licence flags that both commands share, and a build that may be published only under a licence."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from data_scripts.builds.work_units import Source

if TYPE_CHECKING:
    from modeling_cde.data.building.card import DatasetCard

#: Why a build may not be pushed to the Hub.
UNLICENSED = "Say with --license under which licence the pairs may be shared, for example --license cc-by-4.0."


def add_licence_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags for the licence and the credit on the card."""
    parser.add_argument("--license", help="licence of the pairs, such as cc-by-4.0, for the card")
    parser.add_argument("--credit", default="", help="whom to credit, for the card")


def build_licensed(source: Source, options: argparse.Namespace, card: DatasetCard) -> None:
    """Build the data set, and let it be published if it has a licence."""
    from data_scripts.builds.build_commands import build_steps

    if options.license:
        from modeling_cde.data.building.publishing import allow_publishing

        allow_publishing(options.output, UNLICENSED)
    build_steps(source, options, card, publishable=None if options.license else UNLICENSED)
