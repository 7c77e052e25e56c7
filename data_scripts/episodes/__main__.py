"""`python -m data_scripts.episodes lerobot ...` or `... table ...`"""

from __future__ import annotations

import sys
from collections.abc import Sequence

COMMANDS = ("lerobot", "table")
USAGE = """usage: python -m data_scripts.episodes {lerobot,table} ...

  lerobot   first and last frame of each episode of a data set in the LeRobot format
  table     pairs that a table lists (CSV, TSV, JSON lines, Parquet), or a folder action/object/group/name_before.png

Each has its own --help."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Hand over to the command that is named first."""
    command, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in ("-h", "--help"):
        print(USAGE)
    elif command == "lerobot":
        from data_scripts.episodes.lerobot import main as lerobot

        lerobot(rest)
    elif command == "table":
        from data_scripts.episodes.table import main as table

        table(rest)
    else:
        sys.exit(f"There is no command {command!r}; choose {' or '.join(COMMANDS)}.")


if __name__ == "__main__":
    main()
