"""Every command ends with one sentence, whatever happens."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import PreTrainedConfig

from modeling_cde.evaluation.metrics import compute_action_metrics
from modeling_cde.whole_files import in_one_sentence

ROOT = Path(__file__).parents[1]
#: A Space without this package, and two that run others, which have a handler of their own.
OTHERS = ("metric/action_accuracy/app.py", "benchmarks/safety/kill_switch.py", "modeling_cde/cli/__main__.py")


def commands():
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.split():
        if not name.startswith(("tests/", *OTHERS)) and 'if __name__ == "__main__":' in (ROOT / name).read_text():
            yield name


@pytest.mark.parametrize("name", commands())
def test_every_command_has_the_outermost_handler(name):
    block = ast.parse((ROOT / name).read_text()).body[-1]
    assert isinstance(block, ast.If)
    withs = [item.context_expr for node in block.body if isinstance(node, ast.With) for item in node.items]
    said = [call.args[0].value for call in withs if isinstance(call, ast.Call) and call.func.id == "in_one_sentence"]
    module = name.removesuffix(".py").replace("/", ".").removesuffix(".__main__")
    assert said == [name if name.startswith(("train", "fit", "space")) else module]
    assert isinstance(block.body[-1], ast.With)


def ended(call):
    with pytest.raises(SystemExit) as stopped, in_one_sentence("command"):
        call()
    assert "\n" not in str(stopped.value.code)
    return stopped.value.code


def test_a_fault_leaves_a_report(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said = ended(lambda: {}["missing"])
    (report,) = tmp_path.iterdir()
    assert said.startswith("command: stopped by a fault (KeyError: 'missing'); ") and str(report) in said
    assert 'ended(lambda: {}["missing"])' in report.read_text() and report.read_text().startswith("command, Python ")
    assert report.stat().st_mode & 0o077 == 0


def test_what_is_known_says_so_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ValueError) as error:
        compute_action_metrics([0], [0, 1], ["open"])
    assert (
        ended(lambda: compute_action_metrics([0], [0, 1], ["open"])) == f"command: {error.value}"
    )  # a ValueError of ours
    missing = tmp_path / "absent"
    assert ended(lambda: missing.read_text()) == f"command: [Errno 2] No such file or directory: '{missing}'"
    assert not list(tmp_path.iterdir())


def test_a_librarys_value_error_is_a_fault(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said = ended(lambda: PreTrainedConfig(id2label={"x": 1}))
    assert "stopped by a fault (ValueError: invalid literal for int()" in said and len(list(tmp_path.iterdir())) == 1


def test_interruption_is_no_fault(capsys):
    def interrupt():
        raise KeyboardInterrupt

    assert ended(interrupt) == 130 and capsys.readouterr().err == "\ncommand: stopped.\n"


def test_at_the_command_line(tmp_path):
    """Of a command whose own code is made to fail."""
    code = "import runpy, sys, modeling_cde.data.building.publishing as p; p.push_to_hub = None; "
    code += "runpy.run_module('data_scripts.publish', run_name='__main__')"
    command = [sys.executable, "-c", code, "--data", str(tmp_path), "--push", "org/name"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    )
    (report,) = tmp_path.glob("modeling-cde-*.txt")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("data_scripts.publish: stopped by a fault (TypeError: ")
    assert str(report) in done.stderr and "Traceback" in report.read_text()
