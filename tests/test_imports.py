"""Imports are cheap: nothing is loaded before it is used, and yet Transformers knows the models in either order."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import modeling_cde
import modeling_cde.data
import modeling_cde.evaluation

ROOT = Path(__file__).resolve().parent.parent
#: Libraries whose import takes between 0.1 and 5 s of CPU.
HEAVY = ("torch", "transformers", "datasets", "pyarrow", "pandas", "accelerate", "evaluate", "matplotlib", "sklearn")

COMMANDS = (
    "modeling_cde.evaluation",
    "modeling_cde.analysis",
    "modeling_cde.analysis compare",
    "modeling_cde.analysis.doctor",
    "modeling_cde.cards",
    "modeling_cde.cards catalogue",
    "modeling_cde.cards.publishing",
    "modeling_cde.evaluation.export",
    "data_scripts.rooms",
    "data_scripts.simulators",
    "data_scripts.simulators.sheet",
    "data_scripts.procthor read",
    "data_scripts.procthor generate",
    "data_scripts.epic_kitchens index",
    "data_scripts.epic_kitchens extract",
    "data_scripts.episodes lerobot",
    "data_scripts.episodes table",
    "data_scripts.splits",
    "data_scripts.publish",
    "benchmarks.causal_triplet",
    "benchmarks.study",
)

REGISTERED = """
from transformers import AutoConfig, AutoImageProcessor, AutoModel, pipeline
from transformers.pipelines import PIPELINE_REGISTRY
model, processor = AutoModel.from_pretrained({folder!r}), AutoImageProcessor.from_pretrained({folder!r})
assert type(AutoConfig.from_pretrained({folder!r})).__module__ == "modeling_cde.models.configuration_cde"
assert type(model).__module__ == "modeling_cde.models.modeling_cde"
assert type(processor).__module__ == "modeling_cde.models.image_processing_cde"
assert type(pipeline("action-classification", model={folder!r})).__module__ == "modeling_cde.models.pipeline_cde"
import sys
assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("modeling_cde")]
"""


def python(code, *arguments):
    """What a fresh process prints; it must end well."""
    run = subprocess.run([sys.executable, *arguments, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def loaded(modules):
    """Which heavy libraries importing modules of the package loads."""
    imports = ", ".join(f"modeling_cde{name}" for name in modules)
    names = python(f"import sys, json, {imports}\nprint(json.dumps(sorted(sys.modules)))")
    return [name for name in HEAVY if name in json.loads(names)]


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        (("", ".data.splits", ".evaluation.metrics", ".whole_files"), []),
        ((".cards.hub", ".analysis.report", ".models.registration"), []),
        ((".training.losses", ".training.distributed"), ["torch"]),
    ],
)
def test_an_import_loads_what_it_needs_and_no_more(modules, expected):
    assert loaded(modules) == expected


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from modeling_cde import CDEImageProcessor
    from tests.tiny_models import tiny_cde

    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_cde().save_pretrained(folder)
    CDEImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)


# Of the libraries that are the same in any order, torch takes a third of the time: each order is tried in a fork.
ORDERS = """
import os, traceback
import torch, torch._dynamo, torch.distributed.tensor
for first in (
    "import modeling_cde; from transformers import AutoModel",
    "from transformers import AutoModel; import modeling_cde",
    "import modeling_cde; from transformers import pipeline",
    "import modeling_cde.models.configuration_cde",
):
    if not os.fork():
        try:
            exec(first + {registered!r}, {{"__name__": "__main__"}})
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.wait()[1] == 0, first
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork processes")
def test_transformers_knows_the_models_in_either_order(checkpoint):
    python(ORDERS.format(registered=REGISTERED.format(folder=checkpoint)))


def test_a_failed_import_of_transformers_leaves_the_next_one_to_register():
    python(
        "import sys, modeling_cde\n"
        "sys.modules['torch.nn'] = None\n"
        "try:\n    import modeling_cde.models.modeling_cde\n"
        "except ImportError:\n    pass\n"
        "else:\n    raise SystemExit('it was imported')\n"
        "del sys.modules['torch.nn']\n"
        "[watcher] = [item for item in sys.meta_path if type(item).__module__.startswith('modeling_cde')]\n"
        "assert watcher.depth == 0"
    )


@pytest.mark.parametrize("package", [modeling_cde, modeling_cde.data, modeling_cde.evaluation])
def test_public_names_are_listed_and_each_is_what_its_module_has(package):
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        found = getattr(package, name)
        assert getattr(found, "__name__", name) == name
        if isinstance(found, type):
            assert pickle.loads(pickle.dumps(found)) is copy.deepcopy(found) is found
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'CDEMode'"):
        package.CDEMode  # noqa: B018


def test_a_star_import_gives_the_public_names():
    names = {}
    exec("from modeling_cde import *", names)
    assert set(names) - {"__builtins__"} == set(modeling_cde.__all__)


def test_help_loads_nothing_heavy():
    """In one process for all, since what none of them loads is there for none; each is charged with what it adds."""
    code = (
        "import contextlib, io, json, runpy, sys\n"
        f"for command in {COMMANDS}:\n"
        "    (module, *words), before = command.split(), set(sys.modules)\n"
        "    sys.argv = ['command', *words, '--help']\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as said:\n"
        "        try:\n"
        "            runpy.run_module(module, run_name='__main__', alter_sys=True)\n"
        "        except SystemExit as stopped:\n            assert not stopped.code, stopped.code\n"
        "    print(json.dumps([command, said.getvalue(), sorted(set(sys.modules) - before)]))"
    )
    answers = [json.loads(line) for line in python(code).splitlines()]
    assert tuple(command for command, *_ in answers) == COMMANDS
    for command, said, added in answers:
        assert said.startswith("usage"), command
        # pyarrow, of 0.1 s, is what reads the tables of LeRobot.
        assert {name for name in HEAVY if name in added} <= {"pyarrow"}, command
