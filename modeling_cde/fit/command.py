"""What the command `fit.py` does: cross-validates a classifier on one's own pairs, fits it to all, and saves it.

The command has what lies outside of this package: how pairs are listed, and weights where there is no Hub.
"""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..cards.hub import check_name
from ..whole_files import check_writable
from . import FOLDS, HEADS

_SHOWN = 5


@dataclass(frozen=True)
class OwnPairs:
    """The pairs of a folder or table.

    Attributes:
        name: Of the folder or table.
        pairs: Paths of the pictures before and after.
        actions, objects: Of each pair.
        scenes: Of each pair; None where they are not given.
        refused: A sentence for each pair that cannot be used.
        boxes: Of each pair; where all have one, the object is cut out as in training on the single view.
    """

    name: str
    pairs: Sequence[tuple[str, str]]
    actions: Sequence[str]
    objects: Sequence[str]
    scenes: Sequence[str] | None
    refused: Sequence[str] = field(default=())
    boxes: Sequence[Sequence[int] | None] = field(default=())

    def cut_out(self) -> bool:
        """Whether each pair has a box."""
        return bool(self.boxes) and all(box is not None for box in self.boxes)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what the command takes; this file imports nothing slow, so that --help need not wait."""
    parser.add_argument(
        "pairs",
        type=Path,
        help="folder ACTION/OBJECT/SCENE/NAME_before.jpg, NAME_after.jpg, or a table (CSV, TSV, JSON lines, Parquet) "
        "with the columns before, after, action, object and, if known, group",
    )
    parser.add_argument("--output", type=Path, default=Path("my_model"), help="folder of the checkpoint (%(default)s)")
    parser.add_argument(
        "--backbone", default="facebook/dinov2-small", help="repository or folder of a vision backbone (%(default)s)"
    )
    parser.add_argument("--backbone_revision", help="commit of the backbone's repository")
    parser.add_argument(
        "--image_size", type=int, default=224, help="side of what the backbone sees (%(default)s pixels)"
    )
    parser.add_argument(
        "--head", choices=("auto", *HEADS), default="auto", help="default: by the number of pairs (docs/fit.md)"
    )
    parser.add_argument(
        "--opposites",
        nargs="+",
        metavar="A:B",
        help="actions that undo each other, such as lift:lower (default: open:close turnon:turnoff dirty:clean "
        "fill:empty)",
    )
    parser.add_argument("--folds", type=int, default=FOLDS, help="folds of cross-validation (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the folds, and of a trained head (%(default)s)")
    parser.add_argument("--feature_store", help="folder for what the backbone reads of pictures (default: the cache)")
    parser.add_argument("--object", metavar="NAME", help="a table without objects: the object of all pairs")
    parser.add_argument("--whole", action="store_true", help="read pictures whole, also where the pairs have boxes")
    parser.add_argument(
        "--license", default="", help="licence of the checkpoint, such as cc-by-4.0 (default: none stated)"
    )
    parser.add_argument("--push", metavar="ORG/NAME", help="publish the checkpoint with its card")
    parser.add_argument("--private", action="store_true", help="only its owners see a new repository")


def run(options: argparse.Namespace, own: OwnPairs, backbone: str, command: str) -> None:
    """Runs the command.

    Args:
        options: Of `add_arguments`.
        own: The pairs.
        backbone: What stands for `options.backbone` on this machine.
        command: For the card.

    Raises:
        ValueError, OSError: Pairs, backbone or an option cannot be used; the message says which.
    """
    from ..training.distributed import use_all_cores
    from .classifier import CDEClassifier
    from .thresholds import measure_still

    started = time.time()
    if options.push:
        check_name(options.push)
    classifier = CDEClassifier(
        backbone,
        revision=options.backbone_revision,
        image_size=options.image_size,
        head=options.head,
        opposites=parse_opposites(options.opposites),
        seed=options.seed,
        feature_store=options.feature_store,
    )
    print("\n".join(_about(own, options.whole)), flush=True)
    X: list[Any] = list(own.pairs)
    if own.cut_out() and not options.whole:
        X = [{"before": a, "after": b, "box": box} for (a, b), box in zip(own.pairs, own.boxes, strict=True)]
    classifier.check(X, own.actions, objects=own.objects, groups=own.scenes)
    options.output.mkdir(parents=True, exist_ok=True)
    check_writable(options.output)
    use_all_cores()
    features = classifier.encode(X)
    encoded = time.time()
    targets = {"objects": own.objects, "groups": own.scenes, "folds": options.folds}
    report = classifier.cross_validate(features, own.actions, **targets)
    classifier.fit(features, own.actions, own.objects)
    measure_still(classifier, own.pairs)
    minutes = round((time.time() - started) / 60, 1)
    classifier.crops_ = own.cut_out() and not options.whole  # features do not say
    about = {"data": own.name, "command": command, "minutes": minutes, "license": options.license}
    classifier.save_pretrained(options.output, report, **about)
    head = {"closed_form": "in closed form", "trained": "trained by CDE's losses"}[classifier.head_]
    print(f"\nCross-validated accuracy of a head {head}:\n\n{report.table()}\n")
    print("".join(f"{sentence}\n" for sentence in report.says), end="")
    if classifier.rejections_ and (still := classifier.rejections_.get("still")):
        share = f"{100 * still['action']:.0f} % of {still['pairs']} pairs of one picture, seen by a camera that moved"
        print(f'The pipeline also answers "nothing changed" and "something else": {share} a little,')
        print("got an action (its card has more).")
    seconds = f"{time.time() - encoded:.1f} s after the features, which took {encoded - started:.1f} s"
    print(f"{options.output}/ holds the checkpoint, fitted to all {len(own.pairs)} pairs, its card (README.md) and")
    print(f"metrics.json. It took {seconds}.")
    print(f'In Python: pipeline("action-classification", model="{options.output}", trust_remote_code=True)')
    if options.push:
        from ..cards.publishing import publish_run

        print(f"Published at {publish_run(options.output, options.push, private=options.private)}")


def parse_opposites(given: Sequence[str] | None) -> dict[str, str] | None:
    """`["lift:lower"]` as {"lift": "lower"}; None where nothing is given.

    Raises:
        ValueError: A word is no A:B.
    """
    if given is None:
        return None
    found = {}
    for word in given:
        first, _, second = word.partition(":")
        if not first or not second:
            raise ValueError(f"--opposites {word} names no two actions: write them as lift:lower.")
        found[first] = second
    return found


def _about(own: OwnPairs, whole: bool = False) -> list[str]:
    """Lines about the pairs."""
    counts = ", ".join(f"{action} {number}" for action, number in sorted(Counter(own.actions).items()))
    scenes = "scenes not given" if own.scenes is None else f"{len(set(own.scenes))} scenes"
    lines = [f"{own.name}: {len(own.pairs)} pairs ({counts}), {len(set(own.objects))} kinds of objects, {scenes}."]
    if own.cut_out():
        said = (
            "The boxes are not used, as --whole says."
            if whole
            else "Boxes are cut out; --whole reads all of each picture."
        )
        lines.append(said)
    elif without := sum(box is None for box in own.boxes):
        if without < len(own.boxes):
            lines.append(
                f"{without} pairs have no box, so pictures are read whole: give each pair one to cut them out."
            )
    if own.refused:
        lines.append(f"Pairs that are left out, with the reason ({len(own.refused)}):")
        lines += [f"  {sentence}" for sentence in own.refused[:_SHOWN]]
        lines += [f"  and {len(own.refused) - _SHOWN} more"] * (len(own.refused) > _SHOWN)
    return lines
