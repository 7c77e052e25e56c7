"""Reports of finished runs, without their models.

    python -m modeling_cde.analysis runs/quickstart [RUN ...]
    python -m modeling_cde.analysis compare benchmarks/results/rooms

The first reads `metrics.json` and `deltas.safetensors` of each run and writes into its folder `geometry.json`, the
pictures in `pictures/` as PNG and SVG, and `report.html`, one page that needs no network. The second compares runs.
"""

import argparse
import sys

from ..cli.verbs import command
from ..whole_files import in_one_sentence


def main(arguments: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["compare"]:
        from .compare.comparison import main as compare

        compare(arguments[1:])
        return
    parser = argparse.ArgumentParser(
        prog=command("modeling_cde.analysis"),
        description="Measure and draw the deltas of finished runs and write their reports.",
        epilog=f"To compare runs with each other: {command('modeling_cde.analysis compare')} --help",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="output folder of train.py or modeling_cde.evaluation")
    parser.add_argument("--no_umap", action="store_true", help="skip the UMAP maps, which take longest")
    options = parser.parse_args(arguments)
    failed = False
    for run in options.runs:
        failed = not _analyse(run, with_umap=not options.no_umap) or failed
    sys.exit(1 if failed else 0)


def _analyse(run: str, with_umap: bool) -> bool:
    """Analyse one run and print what was found; returns whether the run could be read."""
    from .measures.geometry import GEOMETRY_FILE, summary_table
    from .plots.run_plots import PICTURES_FOLDER, shown_splits
    from .report import analyse

    try:
        written = analyse(run, with_umap)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        print(f"{command('modeling_cde.analysis')}: {error}", file=sys.stderr)
        return False
    print(f"\n{run}\n")
    if written.geometry is None:
        print(written.trouble)
    else:
        splits = written.geometry["splits"]
        print(summary_table({"splits": {name: splits[name] for name in shown_splits(splits)}}))
    print()
    for finding in written.examination.findings:
        print(finding.line())
    folder = written.path.parent
    print(f"{written.path}")
    if written.geometry:
        print(f"{folder / GEOMETRY_FILE}")
    print(f"{folder / PICTURES_FOLDER}/ holds {len(written.pictures.paths)} pictures, as PNG and SVG.")
    return True


if __name__ == "__main__":
    with in_one_sentence("modeling_cde.analysis"):
        main()
