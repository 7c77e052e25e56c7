"""Publish a finished build of pairs on the Hub.

python -m data_scripts.publish --data data/rooms --push ORG/NAME [--private]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from modeling_cde.cli.verbs import command, program
from modeling_cde.whole_files import in_one_sentence


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog=command("data_scripts.publish"),
        description="Publish a finished build of pairs as a data set repository of the Hub, in one commit.",
        epilog="Log in first with `hf auth login`, or set HF_TOKEN to a token with write access.",
    )
    parser.add_argument(
        "--data", required=True, metavar="FOLDER", help="the build, with README.md, manifests/ and views"
    )
    parser.add_argument("--push", required=True, metavar="ORG/NAME", help="created if it does not exist")
    parser.add_argument("--private", action="store_true", help="make the repository visible only to its owners")
    options = parser.parse_args(arguments)

    from modeling_cde.data.building.publishing import push_to_hub

    try:
        url = push_to_hub(options.data, options.push, private=options.private)
    except (ValueError, OSError) as error:
        sys.exit(f"{program('data_scripts.publish')}: {error}")
    print(f"Published {options.data} at {url}")


if __name__ == "__main__":
    with in_one_sentence("data_scripts.publish"):
        main()
