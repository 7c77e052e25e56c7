"""`python -m data_scripts.procthor read ...` or `python -m data_scripts.procthor generate ...`"""

from __future__ import annotations

import sys
from collections.abc import Sequence

_USAGE = """\
usage: python -m data_scripts.procthor {read,generate} ...

  read      pairs that are there: Causal Triplet's folders proc_XXXXX, as a folder, a zip or a tar
  generate  new pairs with AI2-THOR, which needs a simulator

Add --help to either for its flags.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Hand the other arguments to the command that the first one names."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if command == "read":
        from data_scripts.procthor.read import main as read

        read(rest)
    elif command == "generate":
        from data_scripts.procthor.generate import main as generate

        generate(rest)
    elif command in ("-h", "--help"):
        print(_USAGE, end="")
    else:
        problem = f"There is no command {command!r}." if command else "Say which command."
        sys.exit(f"{_USAGE}\n{problem}")


if __name__ == "__main__":
    main()
