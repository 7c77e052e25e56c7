"""Sources of several commands: help names them, a wrong one is answered, a right one gets its own flags."""

from importlib import import_module

import pytest


@pytest.mark.parametrize("source", ["procthor", "epic_kitchens", "episodes"])
def test_commands_of_a_source(source, capsys):
    module = import_module(f"data_scripts.{source}.__main__")
    module.main(["--help"])
    usage = capsys.readouterr().out
    for name in module.COMMANDS:
        assert name in usage
        with pytest.raises(SystemExit, match="0"):
            module.main([name, "--help"])
        assert f"python -m data_scripts.{source} {name} " in capsys.readouterr().out
    for arguments, answer in (([], "Give a command."), (["foo"], "Unknown command 'foo'.")):
        with pytest.raises(SystemExit) as stopped:
            module.main(arguments)
        assert str(stopped.value.code) == f"{usage}\n{answer}"
