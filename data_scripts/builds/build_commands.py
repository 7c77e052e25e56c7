"""The flags and the steps that all sources share: build the units, report, divide into splits, publish if asked.

A command's `main` is

    with plain_errors():
        options = parser.parse_args(arguments)      # add_build_arguments(parser) and the source's own flags
        build_steps(Source(...), options, card)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_scripts.builds.ledger import Ledger, locked, read_json
from data_scripts.builds.run_units import ENGINES, check_numbers, run_units
from data_scripts.builds.work_units import BuildReport, Source, checked_names
from modeling_cde.cli import verbs
from modeling_cde.data import schema
from modeling_cde.data.schema import VIEWS
from modeling_cde.data.splits import PROTOCOLS, CleanOptions

if TYPE_CHECKING:
    from modeling_cde.data.building.card import DatasetCard

SHIFTS = ("joint", *schema.SHIFTS)

#: Of a stored single view, the square of the box with a margin, 80 % is shown to a model: 230 pixels of 288, so that
#: one of 224 pixels is shown no more than was stored.
IMAGE_SIZE = 288


class FailedUnitsError(ValueError):
    """Units failed, so the data set is incomplete and was not divided into splits."""


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of every build."""
    add = parser.add_argument_group("build").add_argument
    add("--output", type=Path, required=True, help="folder of the data set")
    add("--view", choices=VIEWS, default="single", help="pictures of the target alone, or whole views")
    add("--seed", type=int, default=0, help="of everything random, including the splits")
    add("--workers", type=int, default=2, help="processes that build at the same time")
    add("--engine", choices=ENGINES, default="local", help="run them on this machine, or on Ray")
    add("--ray_address", help="of a running Ray cluster, such as auto or HOST:6379; none starts Ray here")
    add(
        "--unit_timeout",
        type=float,
        metavar="SECONDS",
        help="a unit that takes longer is killed and tried again (%(default)s)",
    )
    add("--retries", type=int, default=2, help="how often to try a failed unit again")
    add("--allow_failures", action="store_true", help="make splits of the finished units even if others failed")

    add = parser.add_argument_group("splits").add_argument
    add("--protocol", choices=PROTOCOLS, default="clean", help="how pairs are divided into splits")
    add(
        "--shift",
        choices=SHIFTS,
        default="joint",
        help="what is held out; mech: ways to do an action; none: nothing",
    )
    add("--group_by", choices=("scene", "none"), default="scene", help="what must not be on both sides of a split")
    add(
        "--share_evaluation_groups",
        action=argparse.BooleanOptionalAction,
        help="larger out-of-distribution parts, which may share groups with validation, test and each other",
    )
    add("--no_split", action="store_true", help="write only the shards")
    parser.set_defaults(rendered=False)  # True where the source can render more pairs if a split lacks some

    add = parser.add_argument_group("publishing").add_argument
    add("--push", metavar="ORG/NAME", help="upload the data set and its card to this repository")
    add("--private", action="store_true", help="make that repository private")


def add_picture_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how given pictures are stored."""
    add = parser.add_argument_group("stored pictures").add_argument
    size = "shorter side; larger pictures are scaled down, smaller ones stay (%(default)s)"
    add("--image_size", type=int, default=IMAGE_SIZE, metavar="PIXELS", help=size)
    add("--originals", action="store_true", help="store the pictures unchanged, neither cropped nor scaled")


def build_parser(command: str, description: str | None, view: str = "single") -> argparse.ArgumentParser:
    """The parser of a command that stores given pictures: the flags of every build and of its pictures.

    `command` is what follows `python -m data_scripts.`, `view` the default of --view.
    """
    parser = argparse.ArgumentParser(prog=verbs.command(f"data_scripts.{command}"), description=description)
    add_build_arguments(parser)
    add_picture_arguments(parser)
    parser.set_defaults(view=view)
    return parser


def stored_size(options: argparse.Namespace) -> int | None:
    """Shorter side of the stored pictures in pixels, or None for the originals."""
    if options.image_size < 1:
        raise ValueError(f"--image_size is {options.image_size}; give at least 1 pixel, or --originals.")
    return None if options.originals else int(options.image_size)


def build_steps(
    source: Source, options: argparse.Namespace, card: DatasetCard, *, publishable: str | None = None
) -> BuildReport:
    """Run every step that the flags ask for.

    Args:
        source: What to build.
        options: Of `add_build_arguments`.
        card: What the data set's README.md says about its pairs.
        publishable: A sentence on why this build must not be pushed; None if it may.

    Raises:
        FailedUnitsError: Units failed, and `allow_failures` is not set.
        ValueError: Options exclude each other; also what `run_units` and `assemble` raise.
    """
    check_options(options, publishable)
    if publishable is not None:
        from modeling_cde.data.building.publishing import forbid_publishing

        forbid_publishing(options.output, publishable)  # also for `data_scripts.publish`, later
    folder = options.output / "shards" / options.view
    report = build_units(source, folder, options)
    print(f"{report.text()}\nShards: {folder}", flush=True)
    if report.failed and not options.allow_failures:
        raise FailedUnitsError(
            f"{len(report.failed)} of {report.units} units failed, so nothing was divided into splits: run the same "
            "command to try them again, or add --allow_failures to go on without them."
        )
    if not options.no_split:
        split(options, card, report.rows)
    if options.push:
        from modeling_cde.data.building.publishing import push_to_hub

        print(f"Published: {push_to_hub(options.output, options.push, private=options.private)}", flush=True)
    return report


def build_units(source: Source, folder: Path, options: argparse.Namespace, **changes: Any) -> BuildReport:
    """Build the units as the flags ask, with other values of `run_units` in `changes`."""
    names = ("workers", "engine", "ray_address", "retries", "unit_timeout")
    return run_units(source, folder, **{name: getattr(options, name) for name in names} | changes)


def unfinished(source: Source, options: argparse.Namespace) -> list[str]:
    """Units still to build; writes nothing, imports nothing slow, and refuses a folder of other settings."""
    ledger = Ledger(options.output / "shards" / options.view, checked_names(source.units()), source.inputs)
    ledger.compare(source.settings())
    return ledger.unfinished()


def split(options: argparse.Namespace, card: DatasetCard, rows: int) -> None:
    """Divide the shards into splits, unless these options already did, and report on them."""
    if is_split(options, rows) and has_card(options.output, card):
        print(f"{options.output} already has its splits.", flush=True)
        return
    from data_scripts.split_advice import Asked, split_shards

    clean = CleanOptions(group_by=_group_by(options), share_evaluation_groups=bool(options.share_evaluation_groups))
    asked = Asked(options.protocol, options.shift, options.seed, clean if options.protocol == "clean" else None)
    with locked(options.output / ".lock"):
        split_shards(options.output, options.view, asked, card=card, rendered=options.rendered)
    print(f"Data set: {options.output} (load_pairs(folder, config, split)); manifests: {options.output / 'manifests'}")


def is_split(options: argparse.Namespace, rows: int) -> bool:
    """Whether the manifests say that these many pairs were divided as the options ask, and the files are there.

    Reads no pairs and imports nothing slow: every training that renders its own rooms asks.
    """
    home = options.output / (options.view if options.shift == "joint" else f"{options.view}_{options.shift}")
    for shift in schema.JOINT_SHIFTS if options.shift == "joint" else (options.shift,):
        try:
            files = [line.partition("  ")[2] for line in (home / "SHA256SUMS").read_text().splitlines()]
            manifest = json.loads((options.output / "manifests" / f"{options.view}_{shift}.json").read_text())
            # A set: in the causal_triplet protocol a pair may be in two parts.
            found = len({i for ids in (*manifest["parts"].values(), *manifest["unused"].values()) for i in ids})
            same = manifest["protocol"] == options.protocol and manifest["seed"] == options.seed
            if options.protocol == "clean":
                made = manifest["options"]
                shared = made.get("share_evaluation_groups", True)  # as it was before there was the option
                same = same and made["group_by"] == _group_by(options)
                # Without out-of-distribution parts there is nothing to share.
                same = same and (shift == "none" or shared == bool(options.share_evaluation_groups))
                same = same and (len(made["shifts"]) > 1) == (options.shift == "joint")
        except (FileNotFoundError, ValueError, KeyError):
            return False
        if not same or found != rows or not all((home / name).exists() for name in files):
            return False
    # From these shards; units that were built before hashes were kept count as the same.
    then = read_json(options.output / "shards" / f"{home.name}.json") or {}
    entries = (options.output / "shards" / options.view).glob("*.json")
    now = {path.stem: (read_json(path) or {}).get("sha256") for path in entries}
    return then.keys() <= now.keys() and all(sha256 in (None, then.get(unit)) for unit, sha256 in now.items())


def has_card(folder: Path, card: DatasetCard) -> bool:
    """Whether the folder was assembled with this card; a licence or credit given later changes the card."""
    try:
        stored = json.loads((folder / "shards" / "card.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return stored == json.loads(json.dumps(asdict(card)))  # type: ignore[no-any-return]


def check_options(options: argparse.Namespace, publishable: str | None = None) -> None:
    """Refuse options that cannot work with a ValueError, before long work starts."""
    check_numbers(options.workers, options.retries, options.unit_timeout)
    if options.push:
        if publishable is not None:
            raise ValueError(publishable)
        if options.no_split:
            raise ValueError("--push uploads the splits, but --no_split makes none: give only one of them.")
        if len([part for part in options.push.split("/") if part]) != 2:
            raise ValueError(f"--push is {options.push!r}; give ORG/NAME.")
        from modeling_cde.data.building.publishing import check_publishable

        check_publishable(options.output)
    if options.ray_address and options.engine != "ray":
        raise ValueError("--ray_address needs --engine ray: give both or neither.")
    if options.protocol == "causal_triplet" and options.shift == "joint" and not options.no_split:
        raise ValueError(
            "--protocol causal_triplet has no joint split: give --shift comp or --shift syst, and make the other one "
            f"afterwards with `{verbs.command('data_scripts.splits')}`, which builds nothing again."
        )
    if options.protocol == "causal_triplet" and options.shift == "none" and not options.no_split:
        raise ValueError("--protocol causal_triplet always holds something out: give --shift none the protocol clean.")
    if options.protocol == "causal_triplet" and options.shift == "mech" and not options.no_split:
        raise ValueError("--protocol causal_triplet holds out no mechanisms: give --shift mech the protocol clean.")
    if options.protocol != "clean" and options.share_evaluation_groups:
        raise ValueError("--share_evaluation_groups needs --protocol clean: other protocols have no groups.")
    if options.protocol != "clean" and options.group_by == "none":
        raise ValueError("--group_by needs --protocol clean: other protocols have no groups.")


@contextmanager
def plain_errors() -> Iterator[None]:
    """End the program with the error's message, for errors that a user can do something about."""
    try:
        yield
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}." if error.filename and error.strerror else str(error))
    except ValueError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print("Stopped. Run the same command to continue.", file=sys.stderr)
        sys.exit(130)


def default_options(output: str | Path, **changes: Any) -> argparse.Namespace:
    """The options of a build without a command line: the flags' defaults, but for `changes`."""
    parser = argparse.ArgumentParser()
    add_build_arguments(parser)
    options = parser.parse_args(["--output", str(output)])
    vars(options).update(changes)
    return options


def _group_by(options: argparse.Namespace) -> str | None:
    return None if options.group_by == "none" else str(options.group_by)
