"""`python -m modeling_cde.cards`: the card of a run, its publication, and the catalogue of checkpoints."""

import argparse
import sys
from collections.abc import Sequence

from ..cli.verbs import command
from ..whole_files import in_one_sentence


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see `--help`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["catalogue"]:
            from .catalogue import main as catalogue

            catalogue(given[1:])
        elif given[:1] == ["push"]:
            _card(given[1:], "modeling_cde.cards push")
        else:
            _card(given, "modeling_cde.cards")
    except (ValueError, OSError, ModuleNotFoundError) as error:
        sys.exit(f"{command('modeling_cde.cards')}: {error}")


def _card(arguments: list[str], called: str) -> None:
    about = "Write the model card of a finished run into its folder, and publish the run if asked. For the cards in "
    about += f"model_cards/ see `{command('modeling_cde.cards catalogue')} --help`."
    parser = argparse.ArgumentParser(prog=command(called), description=about)
    parser.add_argument("run", metavar="RUN", help="output folder of a finished run")
    parser.add_argument("--name", help="the model's name (default: the repository's or the folder's)")
    parser.add_argument(
        "--push",
        required=called.endswith("push"),
        metavar="ORG/NAME",
        help="publish the run with its card as this repository",
    )
    parser.add_argument("--private", action="store_true", help="with --push: make a new repository private")
    parser.add_argument("--revision", metavar="BRANCH", help="with --push: an existing branch (default: the main one)")
    parser.add_argument(
        "--dataset", metavar="ORG/NAME", help="where the pairs are published, if training read them from a folder"
    )
    options = parser.parse_args(arguments)
    for flag in ("private", "revision"):
        if getattr(options, flag) and not options.push:
            raise ValueError(f"--{flag} has an effect only with --push ORG/NAME: give both or neither.")
    if not options.push:
        from .model_card import write_model_card

        print(write_model_card(options.run, options.name, dataset=options.dataset))
        return
    from .publishing import publish_run

    told = {"name": options.name, "dataset": options.dataset, "revision": options.revision}
    print(f"Published: {publish_run(options.run, options.push, private=options.private, **told)}")


if __name__ == "__main__":
    with in_one_sentence("modeling_cde.cards"):
        main()
