"""`cde`: every command of the project is one of its verbs, and says what it is called."""

import ast
import os
import re
import subprocess
import sys
import time

import pytest

from modeling_cde.cli import extras, project
from modeling_cde.cli.__main__ import main, overview
from modeling_cde.cli.verbs import ABOUT, VERBS, calls, command, program
from tests.test_commands import ROOT, commands

#: Scripts of this project's own development, which need a clone.
DEVELOPMENT = ("benchmarks.safety", "benchmarks.speed", "benchmarks.study", "space/make_examples.py", "setup.py")
#: Commands that another one's verb includes.
INCLUDED = {"modeling_cde.analysis.measures.geometry", "modeling_cde.analysis.plots.curves", "modeling_cde.analysis.compare.comparison", "modeling_cde.cards.publishing"}


def test_every_command_is_a_verb():
    """A new data source has a line in modeling_cde/cli/verbs.py."""
    runs = {target.partition(" ")[0] for target in calls().values()}
    for name in commands():
        module = name.removesuffix(".py").replace("/", ".").removesuffix(".__main__")
        if not {name, module} & (runs | INCLUDED) and not name.startswith(DEVELOPMENT) and not module.startswith(DEVELOPMENT):
            raise AssertionError(f"{name} has no verb")
    assert set(ABOUT) == {*VERBS, *calls()}


@pytest.mark.parametrize("call", calls())
def test_a_verb_runs_something_that_exists(call):
    target = calls()[call].partition(" ")[0]
    place = ROOT / (target if target.endswith(".py") else target.replace(".", "/"))
    assert place.is_file() or place.with_suffix(".py").is_file() or (place / "__main__.py").is_file()


def test_the_list_of_verbs_is_there_at_once():
    """Measured: without Python's own start, since that depends on the machine."""
    names = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[1:] = ['--help']\nfrom modeling_cde.cli.__main__ import main; main(); print(*sys.modules)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout
    assert all(f"\n  {verb} " in names for verb in VERBS)
    loaded = {name.partition(".")[0] for name in names.splitlines()[-1].split()}
    assert not loaded & {"torch", "transformers", "datasets", "numpy", "yaml", "argparse", "PIL"}
