"""Fit a classifier to a few pairs of one's own, in seconds, and say how well it does on new scenes and objects.

python fit.py photos/ --output my_model

The pairs are a folder or a table, as docs/fit.md shows them.
"""

import argparse
import sys
from pathlib import Path
from typing import Any


def list_pairs(path: Path, object_name: str | None = None) -> Any:
    """The pairs of a folder or table, as `modeling_cde.fit.command.OwnPairs`; for the name see `read_listing`."""
    from data_scripts.episodes.folder import list_folder
    from data_scripts.episodes.listing import class_names, read_listing
    from data_scripts.episodes.table import find_table
    from data_scripts.names import find_file
    from modeling_cde.fit.command import OwnPairs

    table = find_table(path)
    listing = list_folder(table) if table.is_dir() else read_listing(table, object_name)
    root, listed = table if table.is_dir() else table.parent, listing.listed()
    refused = [f"{row.where}: {row.sentence}" for row in listing.rows if row not in listed]
    if not listed:
        raise ValueError(f"{path} lists no usable pair. {refused[0] if refused else ''}".rstrip())
    class_names(listed, listing.name)
    return OwnPairs(
        name=listing.name,
        pairs=[(str(find_file(root, row.before)), str(find_file(root, row.after))) for row in listed],
        actions=[row.action for row in listed],
        objects=[row.object for row in listed],
        scenes=[row.scene for row in listed] if listing.has_groups else None,
        refused=refused,
        boxes=[row.box for row in listed],
    )


def main(arguments: list[str]) -> None:
    """Command line: see the module's docstring."""
    from modeling_cde.cli.verbs import command
    from modeling_cde.fit.command import add_arguments, run

    parser = argparse.ArgumentParser(
        prog=command("fit.py"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    options = parser.parse_args(arguments)
    from data_scripts.training_inputs import reachable_backbone

    own = list_pairs(options.pairs, options.object)
    backbone = reachable_backbone(options.backbone, options.backbone_revision)
    run(options, own, str(backbone), command("fit.py", *arguments))


if __name__ == "__main__":
    from modeling_cde.whole_files import in_one_sentence

    with in_one_sentence("fit.py"):
        main(sys.argv[1:])
