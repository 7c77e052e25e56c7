"""The metric as it is written and published: `evaluate` loads it without the package, and it is ready to be a Space."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import gradio
import pytest
import yaml

from modeling_cde.cards.publishing import METRIC, main
from modeling_cde.evaluation.metrics import compute_action_metrics
from tests.cards.hub_rules import problems

ROOT = Path(__file__).resolve().parents[2]
BLOCKED = str(
    ROOT / "tests" / "blocked_network"
)  # of PYTHONPATH, what keeps the tests off the network is all that is left

# What a reader of the folder's README.md runs, in a process that cannot see the package.
LOAD = """
import json, sys
sys.modules["modeling_cde"] = None  # as where it is not installed
%s
batched = evaluate.load("ORG/action_accuracy")
for part in (slice(0, 2), slice(2, 3)):
    batched.add_batch(
        predictions=[0, 1, 0][part], references=[0, 0, 2][part], objects=["safe", "box", "vase"][part]
    )
more = batched.compute(action_names=["open", "close", "break"], opposites={"open": "close", "close": "open"})
print(json.dumps([results, more]))
"""


def header():
    return yaml.safe_load((METRIC / "README.md").read_text().split("---\n")[1])


def block(language):
    return (METRIC / "README.md").read_text().split(f"```{language}\n")[1].split("```")[0]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder as the command writes it; it lies in ORG, as README.md names it."""
    home = tmp_path_factory.mktemp("home") / "ORG"
    main(["metric", "--output", str(home)])
    return home / "action_accuracy"


@pytest.fixture
def app(written, monkeypatch):
    """`app.py` of the Space, which finds the metric beside itself."""
    monkeypatch.syspath_prepend(str(written))
    spec = importlib.util.spec_from_file_location("metric_app", written / "app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules.pop("metrics", None)
    return module


def test_it_holds_the_packages_own_metrics_and_everything_of_the_folder(written):
    assert (written / "metrics.py").read_bytes() == (ROOT / "modeling_cde" / "evaluation" / "metrics.py").read_bytes()
    kept = {path.name for path in METRIC.iterdir() if path.is_file()}
    assert {path.name for path in written.iterdir()} == kept | {"metrics.py"} and "metrics.py" not in kept


def test_evaluate_loads_it_without_the_package_and_gives_what_the_readme_shows(written, tmp_path):
    environment = os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": BLOCKED}
    run = subprocess.run(
        [sys.executable, "-c", LOAD % block("python")],
        cwd=written.parent.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    *shown, last = run.stdout.splitlines()
    assert shown == block("text").splitlines()
    results, batched = json.loads(last)
    expected = compute_action_metrics(
        [0, 1, 0], [0, 0, 2], ["open", "close", "break"], ["safe", "box", "vase"], {"open": "close", "close": "open"}
    )
    assert results == batched == expected


def test_the_space_has_what_a_space_needs():
    assert not problems(header(), "space")
    assert {"evaluate", "metric"} <= set(header()["tags"])  # what the Hub lists metrics by
    for name in (header()["app_file"], "requirements.txt", "action_accuracy.py"):
        assert (METRIC / name).is_file()
    wanted = {line.partition(">")[0] for line in (METRIC / "requirements.txt").read_text().split()}
    assert wanted == {"evaluate", "datasets"}  # Spaces of this kind have gradio
    pinned = (ROOT / "constraints.txt").read_text().split()
    assert f"gradio=={header()['sdk_version']}" in pinned


def test_what_the_page_computes(app):
    found = json.loads(app.measure(app.EXAMPLE))
    assert (found["n"], found["accuracy"], found["opposite_error_share"]) == (3, pytest.approx(1 / 3), 0.5)
    assert found["accuracy_by_object"] == {"box": 0.0, "safe": 1.0, "vase": 0.0}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("open", "Expecting value"),
        ("[]", "argument after ** must be a mapping"),
        ('{"predictions": []}', "missing 2 required positional arguments"),
        ('{"predictions": [], "references": [], "action_names": []}', "references is empty"),
    ],
)
def test_wrong_arguments_are_refused_in_one_sentence(app, arguments, told):
    with pytest.raises(gradio.Error) as error:
        app.measure(arguments)
    assert told in error.value.message and "\n" not in error.value.message


def test_the_command_publishes_or_writes(capsys):
    for wrong in (["metric"], ["metric", "--push", "org/action_accuracy", "--output", "somewhere"]):
        with pytest.raises(SystemExit):
            main(wrong)
        assert "give either --push ORG/action_accuracy or --output FOLDER" in capsys.readouterr().err
