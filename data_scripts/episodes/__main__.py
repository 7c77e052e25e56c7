"""`python -m data_scripts.episodes lerobot ...` or `python -m data_scripts.episodes table ...`"""

from __future__ import annotations

from collections.abc import Sequence

from data_scripts.commands import run_command

COMMANDS = {
    "lerobot": "first and last frame of each episode of a data set in the LeRobot format",
    "table": "pairs listed in a table (CSV, TSV, JSON lines, Parquet), or in folders named by action and object",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the first argument names."""
    run_command("episodes", COMMANDS, arguments)


if __name__ == "__main__":
    main()
