"""`python -m data_scripts.<source> <command> ...`, for sources that have several commands."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

from modeling_cde.cli.verbs import command


def run_command(source: str, commands: Mapping[str, str], arguments: Sequence[str] | None = None) -> None:
    """Pass all arguments but the first to `main` of the module that the first one names.

    `commands` has the name of each command, which is also that of a module of `source`, and a line on what it does.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    lines = [f"usage: {command(f'data_scripts.{source}')} {{{','.join(commands)}}} ...", ""]
    lines += [f"  {name:<{max(map(len, commands)) + 2}}{text}" for name, text in commands.items()]
    usage = "\n".join([*lines, "", "Add --help to a command for its flags."])
    if words and words[0] in commands:
        # Imported only now: the help of one command should not wait for the imports of the others.
        import_module(f"data_scripts.{source}.{words[0]}").main(words[1:])
    elif words and words[0] in ("-h", "--help"):
        print(usage)
    else:
        sys.exit(f"{usage}\n\n" + (f"Unknown command {words[0]!r}." if words else "Give a command."))
