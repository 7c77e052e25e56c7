"""Split a built data set again without rebuilding its pairs, or check the splits that it has.

    python -m data_scripts.splits --data data/rooms --view single --seed 1
    python -m data_scripts.splits --data data/rooms --view single --protocol causal_triplet --shift syst --seed 2022
    python -m data_scripts.splits --data data/rooms --shift none --validation 0 --test 0 --cap 0  # all into train
    python -m data_scripts.splits --data data/rooms --view single --check

Needs the shards of the build (`<data>/shards/<view>`). Prints a report of sizes, classes and what is held out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data_scripts.builds.build_commands import SHIFTS, plain_errors
from modeling_cde.cli.verbs import command
from modeling_cde.data.schema import JOINT_SHIFTS, VIEWS
from modeling_cde.data.splits import PROTOCOLS
from modeling_cde.whole_files import in_one_sentence

if TYPE_CHECKING:
    from modeling_cde.data.splits import CausalTripletOptions, CleanOptions

# Flags of one protocol only: name -> (protocol, type, help).
_OPTIONS = {
    "validation": ("clean", float, "share of the pairs for validation; 0 for none with --shift none"),
    "test": ("clean", float, "share of the pairs for test; 0 for none with --shift none"),
    "ood": ("clean", float, "share of the objects, combinations or mechanisms to hold out"),
    "min_train_objects": ("clean", int, "how many objects of each action stay in training at least"),
    "min_ood_pairs": ("clean", int, "objects, combinations or mechanisms with fewer pairs stay in training"),
    "cap": ("clean", float, "maximum of pairs of one action, as a multiple of the mean; 0 for no limit"),
    "group_by": ("clean", str, "scene, or none to divide pair by pair"),
    "train_size": ("causal_triplet", int, "maximum of pairs in train; the original has 1000 for EPIC-KITCHENS"),
}


def make_parser() -> argparse.ArgumentParser:
    """The flags of the command."""
    parser = argparse.ArgumentParser(
        prog=command("data_scripts.splits"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of the data set")
    add("--view", choices=VIEWS, default="single", help="which of its views")
    add("--protocol", choices=PROTOCOLS, help="how pairs are divided (default clean)")
    add("--shift", choices=SHIFTS, help="what is held out (default joint: comp and syst around one training part)")
    add("--seed", type=int, help="of the split (default 0)")
    add(
        "--check",
        action="store_true",
        help="change nothing; check the existing splits, all of them or those of --shift",
    )
    for name, (protocol, kind, text) in _OPTIONS.items():
        choices = ("scene", "none") if name == "group_by" else None
        add(f"--{name}", type=kind, choices=choices, help=f"{text} ({protocol} protocol)")
    add("--share_evaluation_groups", action="store_true", help="larger OOD parts, which may share groups (clean)")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = make_parser().parse_args(arguments)
    with plain_errors():
        if options.check:
            _refuse_with_check(options)
            check(options.data, options.view, options.shift)
        else:
            split(options)


def split(options: argparse.Namespace) -> None:
    """Split the shards again and report."""
    from data_scripts.builds.ledger import locked
    from data_scripts.split_advice import Asked, split_shards

    protocol = options.protocol or "clean"
    protocol_options = _protocol_options(options, protocol)
    shards = options.data / "shards" / options.view
    if not shards.is_dir():
        raise FileNotFoundError(f"{shards} does not exist: build the data set first, or check --data and --view.")
    asked = Asked(protocol, options.shift or "joint", options.seed or 0, protocol_options, all_flags=True)
    with locked(options.data / ".lock"):
        split_shards(options.data, options.view, asked)
    print(f"\nData set: {options.data}; manifests: {options.data / 'manifests'}")


def check(data: Path, view: str, shift: str | None = None) -> None:
    """Check the manifests of a view against its shards, and its files against the manifests; report.

    Raises:
        FileNotFoundError: There are no shards, or no manifests.
        ValueError: Shards, manifests and files do not match; the message says where.
    """
    from modeling_cde.data.building.build import check_files, read_annotations
    from modeling_cde.data.splits import SplitManifest

    shards = data / "shards" / view
    shifts = {None: SHIFTS[1:], "joint": JOINT_SHIFTS}.get(shift) or (str(shift),)
    paths = [path for name in shifts if (path := data / "manifests" / f"{view}_{name}.json").exists()]
    if not paths:
        raise FileNotFoundError(f"{data} has no manifest for {view}_{' or _'.join(shifts)}: split it first.")
    _, annotations = read_annotations(sorted(shards.glob("*.parquet")), shards)
    for path in paths:
        manifest = SplitManifest.load(path)
        manifest.check(annotations)
        check_files(data, path.stem, manifest)
        print(f"{manifest.report()}\n\n{path} matches the shards in {shards} and the files of {path.stem}.\n")


def _refuse_with_check(options: argparse.Namespace) -> None:
    given = [name for name in ("protocol", "seed", *_OPTIONS) if getattr(options, name) is not None]
    given += ["share_evaluation_groups"] if options.share_evaluation_groups else []
    if given:
        raise ValueError(f"--check reads protocol, seed and options from the manifests: leave out --{given[0]}.")


def _protocol_options(options: argparse.Namespace, protocol: str) -> CleanOptions | CausalTripletOptions:
    """The protocol's options object, from the given flags."""
    from modeling_cde.data.splits import CausalTripletOptions, CleanOptions

    given = {name: value for name in _OPTIONS if (value := getattr(options, name)) is not None}
    given |= {"share_evaluation_groups": True} if options.share_evaluation_groups else {}
    for name in ("ood", "min_ood_pairs", "share_evaluation_groups"):
        if name in given and options.shift == "none":
            raise ValueError(f"--{name} is about held-out pairs, which --shift none does not have: leave it out.")
    for name in given:
        owner = _OPTIONS[name][0] if name in _OPTIONS else "clean"
        if owner != protocol:
            raise ValueError(f"--{name} belongs to the {owner} protocol: leave it out, or give --protocol {owner}.")
    if protocol == "causal_triplet":
        return CausalTripletOptions(**given)
    if given.get("group_by") == "none":
        given["group_by"] = None
    if given.get("cap") == 0:
        given["cap"] = None
    return CleanOptions(**given)


if __name__ == "__main__":
    with in_one_sentence("data_scripts.splits"):
        main()
