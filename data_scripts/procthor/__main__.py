"""`python -m data_scripts.procthor read ...` or `python -m data_scripts.procthor generate ...`"""

from __future__ import annotations

from collections.abc import Sequence

from data_scripts.commands import run_command

COMMANDS = {
    "read": "existing pairs: Causal Triplet's folders proc_XXXXX, as a folder, a zip or a tar",
    "generate": "new pairs with AI2-THOR, which needs a simulator",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Pass the other arguments to the command that the first one names."""
    run_command("procthor", COMMANDS, arguments)


if __name__ == "__main__":
    main()
