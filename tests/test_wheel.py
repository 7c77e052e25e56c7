"""The wheel is the whole product: installed without a clone, `cde` does everything from an empty folder.

Its environment has the libraries of this one, but not this project as it is installed here: a path in a `.pth` file
makes importable what lies there, and runs no `.pth` file of that place, such as that of an editable install.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from tests.hub_client import HubClient
from tests.hub_server import HubServer
from tests.test_commands import ROOT

BACKBONE = '{"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}'
TINY = ["--backbone_config", BACKBONE, "--image_size=32", "--delta_dim=8", "--per_device_train_batch_size=16"]
TINY += ["--use_cpu=true", "--dataloader_num_workers=0", "--disable_tqdm=true"]


def tracked(*folders):
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, without what lies about in this folder."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in tracked():
        if not name.startswith(("tests/", "docs/", "fuzz/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(built)!r})"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def cde(wheel, tmp_path_factory):
    """Runs `cde` of an environment with the wheel, in an empty folder."""
    home = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python, folder = home / "bin" / "python", tmp_path_factory.mktemp("empty")
    paths = sysconfig.get_paths(vars={"base": str(home), "platbase": str(home)})
    kept_off = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path.endswith("blocked_network")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(kept_off)}
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*pip, "--no-compile", "--disable-pip-version-check", str(wheel)], env=environment, check=True)
    # Only now: pip would find this project installed there.
    Path(paths["purelib"], "libraries.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")

    def run(*words, status=0, program="cde", also=()):
        command = [str(home / "bin" / program), *map(str, words)]
        done = subprocess.run(command, cwd=folder, env=environment | dict(also), capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stderr

    where = "import modeling_cde, importlib.util as u; print(modeling_cde.__file__, u.find_spec('data_scripts'))"
    assert run("-c", where, program="python").split() == [f"{paths['purelib']}/modeling_cde/__init__.py", "None"]
    run.folder = folder
    return run


def test_the_wheel_has_every_file_and_no_name_but_ours(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"modeling_cde"}
    assert set(tracked("modeling_cde")) <= names
    shipped = tracked("benchmarks", "configs", "data_scripts", "metric", "space", "train.py", "fit.py")
    wanted = {f"modeling_cde/_checkout/{name}" for name in shipped if "/comparison/" not in name}
    assert {name for name in names if "/_checkout/" in name} == wanted
    assert wheel.stat().st_size < 4 << 20


def other_pythons():
    """Interpreters of this machine that are newer than this one, by the newest first."""
    places = Path("/usr/bin"), Path("/usr/local/bin"), *(Path.home() / ".pyenv" / "versions").glob("3.*/bin")
    found = [path for place in places for path in place.glob("python3.[1-9][0-9]")]
    numbered = {tuple(map(int, path.name.removeprefix("python").split("."))): path for path in found}
    return [numbered[version] for version in sorted(numbered, reverse=True) if version > sys.version_info[:2]]


def test_a_newer_python_compiles_all_of_it_and_lists_the_commands(wheel, tmp_path):
    """Without what it requires, which is installed for one Python alone."""
    if not (newer := other_pythons()):
        pytest.skip("this is the newest Python here")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(tmp_path)], check=True)
    compiled = [str(newer[0]), "-W", "error", "-m", "compileall", "-q", "modeling_cde"]
    done = subprocess.run(compiled, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    listed = subprocess.run([str(newer[0]), "-m", "modeling_cde.cli", "--help"], cwd=tmp_path, capture_output=True)
    assert listed.returncode == 0 and b"fit a classifier to a few pairs" in listed.stdout


def draw_pairs(folder):
    """Pictures of two actions on six things in twelve rooms, and their table."""
    random, lines = np.random.default_rng(0), ["before,after,action,object,group"]
    for number in range(96):
        action, thing = ("open", "close")[number % 2], number // 2 % 6
        picture = random.integers(0, 60, (32, 32, 3), dtype=np.uint8)
        changed = picture.copy()
        (changed if action == "open" else picture)[8:24, 8:24] = 100 + 20 * thing
        for name, pixels in (("before", picture), ("after", changed)):
            Image.fromarray(pixels).save(folder / f"{number}_{name}.png")
        lines.append(f"{number}_before.png,{number}_after.png,{action},thing{thing},room{number // 8}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")


DATA = ["--data", "mine", "--view", "multi"]


@pytest.fixture(scope="module")
def trained(cde):
    """What a training says that leaves the folder `run`; its pairs lie in `mine`."""
    draw_pairs(cde.folder)
    cde("data", "episodes", "table", "--input", "pairs.csv", "--output", "mine", "--view", "multi", "--workers", 1)
    return cde("train", "--config", "from_scratch", *DATA, "--output_dir=run", "--max_steps=2", *TINY)


def test_from_a_table_of_pictures_to_a_tested_model(cde, trained):
    assert "cde analyze run" in trained
    recorded = json.loads((cde.folder / "run" / "metrics.json").read_text())["training"]["command"]
    assert recorded.startswith("cde train --config from_scratch --data mine")
    assert "| IID | " in cde("evaluate", "--model", "run", *DATA, "--output", "tested")


def modules_without(requirements):
    """The modules that are installed here, and would not be where somebody installs these requirements alone."""
    needed, left = set(), list(map(Requirement, requirements))
    while left:
        one = left.pop()
        key = (canonicalize_name(one.name), *sorted(one.extras))
        if key not in needed:
            needed.add(key)
            further = map(Requirement, metadata.requires(one.name) or [])
            extras = ("", *one.extras)
            left += [
                each for each in further if not each.marker or any(each.marker.evaluate({"extra": e}) for e in extras)
            ]
    names = {name for name, *_ in needed}
    modules = metadata.packages_distributions().items()
    return {module for module, owners in modules if names.isdisjoint(map(canonicalize_name, owners))}


IN_THE_SPACE = """
import sys
from transformers import AutoModel, pipeline
pair = [f"examples/1_open_book_{frame}.png" for frame in ("before", "after")]
kind = type(AutoModel.from_pretrained("org/tiny", trust_remote_code=True)).__name__
answers = pipeline("action-classification", model="org/tiny", trust_remote_code=True, device="cpu")(*pair)
assert "modeling_cde" not in sys.modules

import app
checkpoint = app.Checkpoint.load(*app.configured())
app.build(checkpoint)
message, shown, *_ = app.run(checkpoint, *pair)
result = {"kind": kind, "answers": answers, "shown": shown, "package": sys.modules["modeling_cde"].__file__,
          "page": checkpoint.description()}
"""


def test_a_run_and_its_demo_are_published_by_two_commands(cde, trained, tmp_path):
    """And work where nothing is installed but what the demo's requirements.txt and Gradio's name."""
    (cde.folder / "run" / "report.html").touch()  # drawing its pictures takes longer than all else here
    with HubServer() as hub:
        account = hub.environment(tmp_path / "home")
        del account["PYTHONPATH"]
        assert cde("push", "run", "run", "--push", "org/tiny", also=account).endswith(f"{hub.url}/org/tiny\n")
        cde("push", "space", "--push", "org/tiny-demo", "--model", "org/tiny", also=account)
        space = tmp_path / "space"
        for name, content in hub.repositories["space", "org/tiny-demo"].files().items():
            (space / name).parent.mkdir(parents=True, exist_ok=True)
            (space / name).write_bytes(content)
        wanted = [*(space / "requirements.txt").read_text().splitlines(), "gradio"]
        hidden = modules_without(wanted) | {"data_scripts", "benchmarks"}
        assert {"sklearn", "matplotlib", "mujoco"} <= hidden
        hidden.remove("modeling_cde")  # the demo brings it along
        with HubClient(hub, space, token="", without=sorted(hidden)) as client:
            answer = client.run(IN_THE_SPACE)
        assert "result" in answer, answer
        found = answer["result"]
        assert found["kind"] == "CDEModel" and found["package"] == str(space / "modeling_cde" / "__init__.py")
        assert {one["label"]: pytest.approx(one["score"], abs=1e-6) for one in found["answers"]} == found["shown"]
        assert hub.repositories["model", "org/tiny"].head[:10] in found["page"]


def test_what_is_missing_or_wrong_is_said_in_one_sentence(cde):
    assert cde("doctor", "nothing", status=2).startswith("cde doctor: nothing has no ")
    assert cde("fit", "nothing", status=1).startswith("cde fit: There is no file or folder nothing.")


@pytest.mark.slow
def test_every_verb(cde):
    """With rendered rooms, and all that needs a trained model."""
    assert cde("train", "--config", "quickstrat", status=1).startswith("cde train: --config quickstrat: there is no")
    assert cde("demo", status=1).startswith("cde demo: give --model FOLDER or ORG/NAME")
    cde("data", "rooms", "--num_pairs", 120, "--image_size", 48, "--output", "rooms")
    train = ["--config", "from_scratch", "--data", "rooms", "--output_dir", "model", "--max_steps", 2, *TINY]
    cde("train", *train)
    cde("analyze", "model", "--no_umap")
    assert "model/README.md" in cde("card", "model")
    cde("export", "model")
    cde("doctor", "model")
    assert "| actions | pairs |" in cde("benchmark", "few_pairs", "--table")
    assert "| method | seeds |" in cde("benchmark", "causal_triplet", "--config", "benchmark_rooms", "--table")
    assert (cde.folder / "benchmarks/results/rooms/comparison/table.md").is_file()
    cde("push", "metric", "--output", ".")
    assert (cde.folder / "action_accuracy" / "action_accuracy.py").is_file()
