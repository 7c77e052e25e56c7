"""`cde`: every command of the project is one of its verbs, and says what it is called."""

import subprocess
import sys
from pathlib import Path

import pytest

from modeling_cde.cli import extras, project
from modeling_cde.cli.__main__ import main
from modeling_cde.cli.verbs import ABOUT, VERBS, calls, command, program
from tests.test_commands import ROOT, commands

#: Scripts of this project's own development, which need a clone.
DEVELOPMENT = ("benchmarks/safety/", "benchmarks/speed/", "benchmarks/study/", "fuzz/", "space/make_examples.py")
#: Modules that a verb reaches by another module or with words of its own.
INCLUDED = {
    "modeling_cde.analysis.compare.comparison",
    "modeling_cde.analysis.measures.geometry",
    "modeling_cde.analysis.plots.curves",
}


def python(code, **how):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **{"cwd": ROOT, **how})


@pytest.fixture
def as_cde(monkeypatch):
    """As in a process that `cde` has started."""
    monkeypatch.setattr(sys, "argv", ["cde evaluate", "--help"])


@pytest.mark.parametrize("name", [name for name in commands() if not name.startswith(DEVELOPMENT)])
def test_every_command_is_a_verb(name):
    """Also that of a new data source: it gets a line in modeling_cde/cli/verbs.py."""
    module = name.removesuffix(".py").replace("/", ".").removesuffix(".__main__")
    assert {name, module} & ({target.partition(" ")[0] for target in calls().values()} | INCLUDED)


def test_every_verb_is_explained_and_runs_something():
    assert set(ABOUT) == {*VERBS, *calls()}
    for target in calls().values():
        name = target.partition(" ")[0]
        place = ROOT / (name if name.endswith(".py") else name.replace(".", "/"))
        assert place.is_file() or place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), target


def test_the_list_of_verbs_is_there_at_once():
    code = "import sys; from modeling_cde.cli.__main__ import main; main(['--help']); print(*sys.modules)"
    *lines, modules = python(code, check=True).stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(VERBS)
    heavy = {"torch", "transformers", "datasets", "numpy", "yaml", "PIL", "safetensors"}
    assert not heavy & {name.partition(".")[0] for name in modules.split()}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "cde: there is no 'trian'; did you mean train?"),
        (["data", "room"], "cde data: there is no 'room'; did you mean rooms?"),
        (["push", "xyz"], "cde push: there is no 'xyz'; see cde push --help."),
    ],
)
def test_a_verb_that_does_not_exist_is_said(words, said):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == said


def test_without_a_verb_all_are_listed_and_nothing_is_done(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["data"])
    assert stopped.value.code == 2 and "rooms" in capsys.readouterr().err


def test_commands_are_named_as_they_were_called(as_cde):
    assert command("modeling_cde.analysis", "my runs/x") == "cde analyze 'my runs/x'"
    assert command("modeling_cde.analysis compare") == "cde compare"
    assert command("data_scripts.episodes table") == "cde data episodes table"
    assert command("modeling_cde.cards catalogue") == "cde card catalogue"
    assert command("modeling_cde.cards.publishing space") == program("modeling_cde.cards.publishing space")
    assert program("modeling_cde.cards.publishing space") == "cde push space" and program("train.py") == "cde train"
    assert command("benchmarks.safety.soak") == "python -m benchmarks.safety.soak"  # has no verb


def test_without_cde_they_are_named_as_in_a_clone():
    assert command("train.py", "--seed", "1") == "accelerate launch train.py --seed 1"
    assert command("fit.py") == "python fit.py" and command("data_scripts.rooms") == "python -m data_scripts.rooms"
    assert program("modeling_cde.evaluation") == "modeling_cde.evaluation" and program("train.py") == "train.py"


def test_a_verb_runs_its_module_elsewhere_and_says_its_own_name(tmp_path):
    call = "import sys; sys.path.insert(0, {!r}); from modeling_cde.cli.__main__ import main; main({!r})"

    def cde(*words):
        return python(call.format(str(ROOT), list(words)), cwd=tmp_path)

    assert cde("data", "episodes", "table", "--help").stdout.startswith("usage: cde data episodes table [-h]")
    assert cde("push", "space", "--help").stdout.startswith("usage: cde push space [-h]")
    assert cde("fit", "--help").stdout.startswith("usage: cde fit [-h]")
    assert cde("fit", "nothing").stderr.startswith("cde fit: ")
    failed = cde("compare", str(tmp_path / "nothing"))
    assert failed.returncode == 1 and failed.stderr.startswith("cde compare: ")


def test_recipes_of_the_project_are_found_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quickstart = ROOT / "configs" / "quickstart.yaml"
    for name in ("quickstart", "quickstart.yaml", "configs/quickstart.yaml", "configs/quickstart"):
        assert project.find_recipe(name) == quickstart
    Path("quickstart").mkdir()
    assert project.find_recipe("quickstart") == quickstart
    Path("quickstart.yaml").write_text("seed: 1\n")
    assert project.find_recipe("quickstart") == Path("quickstart.yaml")  # what is here comes first
    assert project.find_recipe("nothing") == Path("nothing") and project.find_recipe("") == Path()


def test_what_to_install_is_said_for_a_clone_and_for_a_wheel(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert extras.install("rooms") == 'pip install -c constraints.txt -e ".[rooms]"'
    monkeypatch.chdir(tmp_path)
    assert extras.install("rooms") == f'pip install -c {ROOT}/constraints.txt -e "{ROOT}[rooms]"'
    listed = ["torch>=2", 'mujoco>=3.3; extra == "rooms"', "onnx>=1.17 ; extra == 'export'", 'av; extra == "video"']
    monkeypatch.setattr(extras, "in_clone", lambda: False)
    monkeypatch.setattr("importlib.metadata.requires", lambda name: listed)
    assert extras.install("rooms") == "pip install 'mujoco>=3.3'" and extras.install("video") == "pip install av"
    assert extras.install("export") == "pip install 'onnx>=1.17'"
    monkeypatch.setattr("importlib.metadata.requires", lambda name: None)
    assert extras.install("rooms") == "install the extra rooms of modeling-cde"


def test_no_message_names_an_index_that_has_no_such_project():
    folders = ("modeling_cde", "data_scripts", "benchmarks", "space", "metric")
    files = [ROOT / "train.py", ROOT / "fit.py", *(path for name in folders for path in (ROOT / name).rglob("*.py"))]
    assert not [path for path in files if "modeling-cde[" in path.read_text()]
