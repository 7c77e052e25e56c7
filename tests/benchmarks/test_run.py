"""One run: what is kept of it, how it goes on after it was cut off, and what is said when it fails."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.paper.plan import Run, make_plan
from benchmarks.paper.recipe import load_recipe
from benchmarks.paper.run import execute, machine, read_result
from benchmarks.paper.run_engines import run_text
from tests.benchmarks.test_paper_recipe import write

FAKE = (sys.executable, str(Path(__file__).with_name("fake_train.py")))


def one_run(folder: Path, word: str = "", seed: int = 2) -> Run:
    """A run of the fake train.py, told to fail or to wait by a file in its data folder."""
    data = folder / "pairs"
    data.mkdir(exist_ok=True)
    recipe = load_recipe(write(folder, data={"folder": str(data)}))
    run = make_plan(recipe, [seed], ["cde"], str(folder / "runs"), str(folder / "results"))[0]
    (data / f"{run.name}.txt").write_text(word)
    return run


def calls(run: Run) -> list[str]:
    return (run.folder / "calls.txt").read_text().splitlines()


def test_what_is_kept_is_what_the_run_measured(tmp_path):
    run = one_run(tmp_path)
    outcome = execute(run, FAKE)
    assert (outcome.name, outcome.error) == (run.name, "")
    result = json.loads(run.result.read_text())
    assert result["selected"]["splits"]["test_syst"]["accuracy"] == pytest.approx(0.62)
    assert result["last"]["splits"]["test_syst"]["accuracy"] == pytest.approx(0.57)
    assert (result["selected"]["step"], result["last"]["step"], result["last"]["epoch"]) == (9, 18, 2.0)
    assert result["selected"]["criterion"] == "eval_validation_cross_entropy" and result["last"]["criterion"] is None
    named = ("run", "method", "title", "setting", "view", "shift", "seed", "split_seed", "command", "data")
    assert [result[key] for key in named] == [
        "cde-both-seed2", "cde", "CDE", {}, "single", "both", 2, None, run.command(), str(tmp_path / "pairs"),
    ]  # fmt: skip
    assert result["manifests"] == {"single_comp.json": hashlib.sha256(b"{}").hexdigest()}
    asked = result["settings"]
    assert asked["flags"]["temperature"] == 0.2 and "temperature" not in asked["recipe"]
    assert asked["recipe"]["delta_dim"] == 256 and "output_dir" not in asked["flags"]
    assert result["machine"]["cores"] == os.cpu_count() and result["machine"]["device"] == "cpu"
    assert len(result["commit"]) >= 7 and result["date"][:2] == "20"
    # The fake leaves no deltas: that costs the geometry, and says so, but not the run.
    assert result["geometry"] is None and "deltas" in result["geometry_problem"]


def test_a_result_is_read_only_if_it_answers_the_same_question(tmp_path):
    run = one_run(tmp_path)
    assert read_result(run) is None
    execute(run, FAKE)
    found = read_result(run)
    assert found is not None and found["run"] == run.name
    assert read_result(replace(run, flags={**run.flags, "output_dir": "elsewhere"})) is not None
    with pytest.raises(ValueError, match="was made with temperature=0.2, and now it is 0.3: delete it") as caught:
        read_result(replace(run, flags={**run.flags, "temperature": 0.3}))
    assert "\n" not in str(caught.value)
    run.result.write_text("{")
    with pytest.raises(ValueError, match="is not valid JSON"):
        read_result(run)


def test_a_finished_run_without_its_result_is_not_trained_again(tmp_path):
    run = one_run(tmp_path)
    execute(run, FAKE)
    first = run.result.read_text()
    run.result.unlink()
    assert not execute(run, FAKE).error
    assert len(calls(run)) == 1 and run.result.read_text() == first


def test_a_failed_run_shows_its_last_lines_and_is_tried_again(tmp_path):
    run = one_run(tmp_path, "fail")
    error = execute(run, FAKE).error
    assert error.startswith("train.py ended with status 1") and "the pictures are upside down" in error
    assert "accelerate" not in error and not run.result.exists()
    one_run(tmp_path, "")
    assert not execute(run, FAKE).error and len(calls(run)) == 2


def test_the_launchers_own_trace_is_left_out(tmp_path):
    run = one_run(tmp_path)
    code = "print('accelerate config`.'); print('train.py: no.'); print('Traceback (most recent call last):');"
    code += "print('  File \"x/accelerate/commands/launch.py\", line 1'); raise SystemExit(1)"
    error = execute(run, (sys.executable, "-c", code)).error
    assert error.endswith("train.py: no.")


def test_a_run_that_was_cut_off_goes_on_from_its_checkpoints(tmp_path):
    run = one_run(tmp_path, "wait")

    def interrupt() -> None:
        if (run.folder / "waiting").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(run, FAKE, interrupt)
    assert not run.result.exists()
    noted = json.loads((run.folder / "benchmark.json").read_text())
    assert noted["finished"] is False and noted["minutes"] > 0
    (run.folder / "benchmark.json").write_text(json.dumps({**noted, "minutes": 7.0}))
    outcome = execute(run, FAKE)
    assert not outcome.error and 7.0 <= outcome.minutes < 8.0  # of both parts
    assert calls(run)[1].endswith("--resume_from_checkpoint true")
    assert read_result(run)["command"] == run.command()  # what a user would type for the whole


def test_an_unfinished_run_of_other_settings_is_not_gone_on_with(tmp_path):
    run = one_run(tmp_path, "fail")
    execute(run, FAKE)
    error = execute(replace(run, flags={**run.flags, "temperature": 0.3}), FAKE).error
    assert "The unfinished run in" in error and "temperature=0.2" in error and len(calls(run)) == 1


def test_a_killed_benchmark_leaves_its_training_locked_until_it_ends(tmp_path):
    run = one_run(tmp_path, "wait")
    code = (
        "from benchmarks.paper.run import execute; from benchmarks.paper.run_engines import read_run; "
        f"execute(*read_run({run_text(run, FAKE)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    for _ in range(200):
        if (run.folder / "waiting").exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "is being trained by another process" in execute(run, FAKE).error
    os.kill(int((run.folder / "waiting").read_text()), signal.SIGKILL)
    for _ in range(50):
        outcome = execute(run, FAKE)
        if not outcome.error:
            break
        time.sleep(0.1)
    assert not outcome.error


def test_what_trained_is_told_apart():
    assert machine({"device": "NVIDIA H100"})["device"] == "NVIDIA H100"
    assert machine({"device": "CPU"})["device"] == "cpu" and machine({})["cpu"]
