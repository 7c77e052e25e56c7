"""`python -m data_scripts.epic_kitchens index ...` or `python -m data_scripts.epic_kitchens extract ...`"""

from __future__ import annotations

import sys
from collections.abc import Sequence

_USAGE = """\
usage: python -m data_scripts.epic_kitchens {index,extract} ...

  index    from the official CSV tables to the frame numbers before and after each segment
  extract  those frames, out of the official frame tars or folders or out of the videos, as a data set of pairs

Add --help to either for its flags.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Hand the other arguments to the command that the first one names."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if command == "index":
        from data_scripts.epic_kitchens.index import main as index

        index(rest)
    elif command == "extract":
        from data_scripts.epic_kitchens.extract import main as extract

        extract(rest)
    elif command in ("-h", "--help"):
        print(_USAGE, end="")
    else:
        problem = f"There is no command {command!r}." if command else "Say which command."
        sys.exit(f"{_USAGE}\n{problem}")


if __name__ == "__main__":
    main()
