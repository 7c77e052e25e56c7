"""The table of all speed targets, from the results that are kept; docs/performance.md holds it.

    python -m benchmarks.speed.speed_table [--write]

Reads `benchmarks/results/speed/*.json`. `--write` puts the table between the markers of docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.measured import RESULTS, ROOT, Target, targets_table
from modeling_cde.whole_files import in_one_sentence

DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- speed table: python -m benchmarks.speed.speed_table --write -->", "<!-- end of the speed table -->"


def render(folder: Path = RESULTS) -> str:
    """All targets of a folder's results as one Markdown table, and below it the commands that measured them.

    Raises:
        ValueError: A file is not a result of a benchmark.
    """
    targets: list[Target] = []
    commands = []
    for path in sorted(folder.glob("*.json")):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            targets += [Target(**target) for target in result["targets"]]
            command, where = result["command"], result["environment"]
            place = f"{where['device']}, {where['cores']} cores, {where['precision']}, commit {where['commit']}"
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a result of a benchmark ({error!r}).") from error
        commands.append(f"- `{command}` ({place})")
    return "\n".join([targets_table(targets), "", "Measured by", "", *commands])


def replaced(document: str, table: str, begin: str = BEGIN, end: str = END) -> str:
    """The document with the table between its markers.

    Raises:
        ValueError: A marker is missing.
    """
    before, found, rest = document.partition(begin)
    _, also, after = rest.partition(end)
    if not (found and also):
        raise ValueError(f"The document lacks the marker {end if found else begin!r}.")
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def show(arguments: Any, name: str, text: str | None, render: Callable[[], str], page: Path, *markers: str) -> None:
    """The command line of a script of kept tables: prints them; with --write puts them between the markers."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(f"python -m benchmarks.speed.{name}", description=text, formatter_class=form)
    parser.add_argument("--write", action="store_true", help="put it into docs/performance.md")
    options = parser.parse_args(arguments)
    try:
        table = render()
        print(table)
        if options.write:
            page.write_text(replaced(page.read_text(encoding="utf-8"), table, *markers), encoding="utf-8")
    except (ValueError, OSError) as error:
        sys.exit(f"benchmarks.speed.{name}: {error}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; with --write put it into docs/performance.md."""
    show(arguments, "speed_table", __doc__, render, DOCUMENT, BEGIN, END)


if __name__ == "__main__":
    with in_one_sentence("benchmarks.speed.speed_table"):
        main()
