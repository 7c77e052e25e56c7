"""The command: every recipe of configs/ is sound, a small benchmark from start to table, and what it says."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.causal_triplet import as_time, estimate, main
from benchmarks.paper.plan import make_plan
from benchmarks.paper.recipe import load_recipe
from modeling_cde.analysis.plots import style
from tests.benchmarks.test_paper_recipe import write
from tests.benchmarks.test_run_engines import FAKE

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "configs").glob("benchmark_*.yaml"))


def command(folder: Path, *arguments: str, **changes: object) -> list[str]:
    """A benchmark of two methods and one seed, with all that it writes below `folder`."""
    (folder / "pairs" / "manifests").mkdir(parents=True, exist_ok=True)
    for shift in ("comp", "syst"):
        (folder / "pairs" / "manifests" / f"single_{shift}.json").write_text("{}")
    recipe = write(folder, **{"seeds": [0], "data": {"folder": str(folder / "pairs")}, **changes})
    return ["--config", str(recipe), "--runs", str(folder / "runs"), "--results", str(folder / "results"), *arguments]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_sound_and_says_what_it_costs(path, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    main(["--config", str(path.relative_to(ROOT)), "--dry_run", "--results", str(tmp_path)])
    said = capsys.readouterr().out
    recipe = load_recipe(path)
    plan = make_plan(recipe)
    assert f"{len(plan)} runs, 0 done, {len(plan)} to do" in said
    assert "nothing was run" in said or "Before it can run: data/procthor contains no pairs" in said
    header = path.read_text().partition("\nname:")[0]
    assert f"# Command:   python -m benchmarks.causal_triplet --config configs/{path.name}" in header
    assert "# Hardware:" in header and "# Cost:" in header
    assert re.search(rf"\b{len(plan)} runs", header), "the header names another number of runs"
    assert path.stem == f"benchmark_{recipe.name}"


def test_the_recipes_cover_what_the_benchmark_promises():
    asked = "dino dino_patches dino_noise dino_sizes dino_multi dino_tune dino_scratch mechanisms "
    asked += "rooms methods main_single_comp main_single_syst main_multi_syst losses weights "
    asked += "temperature top_k backbones train_pairs objects actions noise_camera noise_clutter noise_light patch"
    assert {path.stem for path in RECIPES} == {f"benchmark_{name}" for name in asked.split()}
    weights = load_recipe(ROOT / "configs" / "benchmark_weights.yaml")
    assert list(weights.axes) == ["contrastive_weight", "sparsity_weight"]  # a product: independently of each other


def test_from_start_to_table_and_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(style._RC, "savefig.dpi", 50)  # most of the time goes into pixels that nothing here looks at
    main(command(tmp_path, seeds=[0, 1, 2]), FAKE)
    said = capsys.readouterr().out
    assert "6 runs, 0 done, 6 to do" in said
    results = tmp_path / "results" / "small"
    assert len(list(results.glob("*.json"))) == 6
    assert re.search(r"CDE \| 3 \| .*61\.0 ± 1\.0.*56\.0 ± 1\.0", said)  # both selection rules
    assert "+10.0 [+10.0, +10.0]" in said
    for name in ("table.md", "table.csv", "table.tex", "report.html"):
        assert (results / "comparison" / name).is_file()
    written = {path: path.stat().st_mtime_ns for path in results.glob("*.json")}
    main(command(tmp_path, "--table", seeds=[0, 1, 2]), FAKE)
    assert "61.0 ± 1.0" in capsys.readouterr().out
    monkeypatch.setattr("benchmarks.causal_triplet.show_table", lambda recipe, folder: None)
    main(command(tmp_path, seeds=[0, 1, 2]), FAKE)
    assert "6 runs, 6 done, 0 to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in results.glob("*.json")} == written


def test_a_failed_run_is_named_and_the_rest_goes_on(tmp_path, capsys):
    arguments = command(tmp_path)
    (tmp_path / "pairs" / "concatenation-both-seed0.txt").write_text("fail")
    with pytest.raises(SystemExit) as caught:
        main(arguments, FAKE)
    assert caught.value.code == "1 of 2 runs failed: concatenation-both-seed0."
    said = capsys.readouterr().out
    assert "concatenation-both-seed0 failed: train.py ended with status 1" in said and "upside down" in said
    assert (tmp_path / "results" / "small" / "cde-both-seed0.json").is_file()


def test_ctrl_c_ends_the_training_and_the_same_command_goes_on(tmp_path, monkeypatch):
    arguments = command(tmp_path)
    (tmp_path / "pairs" / "cde-both-seed0.txt").write_text("wait")
    # A shell's background job ignores SIGINT, and so would its child. Without the check of the flags, whose imports
    # take most of the time.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "import benchmarks.causal_triplet as command; command.check_flags = lambda plan: None; "
    code += f"command.main({arguments!r}, {FAKE!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, cwd=ROOT)
    folder = tmp_path / "runs" / "small" / "cde-both-seed0"
    for _ in range(900):
        if (folder / "waiting").exists():
            break
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "The same command goes on where it stopped" in error
    assert "Traceback" not in error
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "waiting").read_text()), 0)  # the training has ended, too
    monkeypatch.setattr("benchmarks.causal_triplet.show_table", lambda recipe, folder: None)
    main(arguments, FAKE)
    assert json.loads((tmp_path / "results" / "small" / "cde-both-seed0.json").read_text())["run"] == "cde-both-seed0"


@pytest.mark.parametrize(
    ("changes", "arguments", "sentence"),
    [
        ({"flags": {"temprature": 1}}, (), "unknown argument '--temprature'; did you mean '--temperature'?"),
        ({"flags": {"temperature": -1}}, (), "temperature must be a finite number greater than 0"),
        (
            {"flags": {"delta_dim": "wide"}},
            (),
            "argument --delta_dim/--delta-dim: invalid int value",
        ),
        ({"flags": {"save_strategy": "no"}}, (), "requires the save and eval strategy to match"),
        (
            {"methods": {"concatenation": {"method": "vanilla"}}},
            (),
            "has method='vanilla'; the methods are concatenation",
        ),
        ({"data": {"folder": "nowhere"}}, (), "nowhere contains no pairs of view single"),
        ({}, ("--ray_address", "auto"), "--ray_address needs --engine ray"),
        ({}, ("--methods", "cdee"), "--methods cdee is not in"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(tmp_path, changes, arguments, sentence):
    with pytest.raises(SystemExit, match=re.escape(sentence)) as caught:
        main(command(tmp_path, *arguments, **changes), FAKE)
    assert "\n" not in str(caught.value.code)
    assert not (tmp_path / "runs").exists() and not (tmp_path / "results").exists()


def test_the_estimate_is_what_finished_runs_took(tmp_path):
    recipe = load_recipe(write(tmp_path, minutes_per_run=5, hardware="a toaster"))
    plan = make_plan(recipe)  # 3 seeds of 2 methods
    assert estimate(recipe, plan, []) == (30, "5 minutes a run on a toaster, as the recipe guesses")
    done = [{"method": "cde", "minutes": 2.0}, {"method": "cde", "minutes": 4.0}]
    minutes, how = estimate(recipe, plan, done)
    assert minutes == 6 * 3 and "the 2 runs that are done" in how  # concatenation: what any run took
    done.append({"method": "concatenation", "minutes": 1.0})
    assert estimate(recipe, plan, done)[0] == 3 * 3 + 3 * 1
    assert estimate(recipe, plan, done, parallel=4)[0] == 3
    assert [as_time(minutes) for minutes in (0.2, 45, 390)] == ["a minute", "45 minutes", "6.5 hours"]


def test_help_needs_nothing_slow():
    code = "import sys, benchmarks.causal_triplet; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=os.environ)
    assert made.stdout.strip() == "[]"
