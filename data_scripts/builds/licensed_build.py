"""Pairs that were given: their title, licence, credit and origin are what the user states, and else unknown.

A build without a stated licence may not be published.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from data_scripts.builds.work_units import Source

if TYPE_CHECKING:
    from modeling_cde.data.building.card import DatasetCard

#: Why a build may not be pushed to the Hub.
UNLICENSED = "Say with --license under which licence the pairs may be shared, for example --license cc-by-4.0."


def add_licence_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags for what the card says of the pairs' origin and licence."""
    add = parser.add_argument_group("card").add_argument
    add("--title", help="of the data set")
    add("--license", help="licence of the pairs, such as cc-by-4.0; unknown if it is not given")
    add("--license_terms", default="", metavar="TEXT", help="what the licence asks of others; --license other needs it")
    add("--credit", default="", metavar="TEXT", help="whom to credit")
    add("--provenance", nargs="+", default=[], metavar="TEXT", help="where the pairs come from: names, links, versions")


def stated_card(options: argparse.Namespace, card: DatasetCard, *, known: bool = False) -> DatasetCard:
    """The card with what the flags state; without a stated origin it is unknown, unless the card has it (`known`)."""
    from modeling_cde.data.building.card import UNKNOWN_ORIGIN

    stated = {name: value for name in ("title", "license", "license_terms") if (value := getattr(options, name))}
    credit = "\n\n".join(text for text in (options.credit, card.credit) if text)
    origin = tuple(options.provenance) or (() if known else (UNKNOWN_ORIGIN,))
    return replace(card, **stated, credit=credit, provenance=(*origin, *card.provenance))


def build_licensed(source: Source, options: argparse.Namespace, card: DatasetCard) -> None:
    """Build the data set, and let it be published if its card has a licence."""
    from data_scripts.builds.build_commands import build_steps

    if card.license:
        from modeling_cde.data.building.publishing import allow_publishing

        allow_publishing(options.output, UNLICENSED)
    build_steps(source, options, card, publishable=None if card.license else UNLICENSED)
