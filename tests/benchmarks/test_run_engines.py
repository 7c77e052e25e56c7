"""Runs one after another, and on Ray: the same results, failures named, nothing left running."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.paper.forked_training import ForkedTraining
from benchmarks.paper.plan import Run, make_plan
from benchmarks.paper.recipe import load_recipe
from benchmarks.paper.run_engines import LocalEngine, open_engine
from tests.benchmarks.test_paper_recipe import write

FAKE = (sys.executable, str(Path(__file__).with_name("fake_train.py")))


def runs(folder: Path) -> list[Run]:
    (folder / "pairs").mkdir(parents=True)
    recipe = load_recipe(write(folder, data={"folder": str(folder / "pairs")}, seeds=[0, 1]))
    made = make_plan(recipe, runs=str(folder / "runs"), results=str(folder / "results"))
    (folder / "pairs" / f"{made[1].name}.txt").write_text("fail")
    return made


def kept(folder: Path) -> dict[str, object]:
    """The results, without what differs between two makings of one run."""
    found = {path.name: json.loads(path.read_text()) for path in (folder / "results" / "small").glob("*.json")}
    return {name: (result["selected"], result["last"], result["setting"]) for name, result in found.items()}


def test_local_and_ray_make_the_same_results(tmp_path):
    ray = pytest.importorskip("ray")
    ticks: list[list[str]] = []
    made = runs(tmp_path / "local")
    local = {outcome.name: outcome for outcome in LocalEngine({"CPU": 1}).outcomes(made, ticks.append, FAKE)}
    assert [bool(local[run.name].error) for run in made] == [False, True, False, False]

    engine = open_engine("ray", {"CPU": 1})
    try:
        assert engine.slots >= 1
        with pytest.raises(ValueError, match="has not the resources of one run \\(CPU: 2, GPU: 1000\\)"):
            open_engine("ray", {"CPU": 2, "GPU": 1000})
        assert ray.is_initialized()  # it was not the second engine that started Ray
        made = runs(tmp_path / "ray")
        outcomes = {outcome.name: outcome for outcome in engine.outcomes(made, ticks.append, FAKE)}
    finally:
        engine.close()
    assert not ray.is_initialized()
    assert outcomes.keys() == {run.name for run in made}
    assert [name for name, outcome in outcomes.items() if outcome.error] == [made[1].name]
    assert "upside down" in outcomes[made[1].name].error
    assert kept(tmp_path / "ray") == kept(tmp_path / "local") and len(kept(tmp_path / "ray")) == 3
    assert any(made[0].name in names for names in ticks)


def test_a_machine_makes_as_many_runs_at_once_as_it_has_cores_for(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {7, 1, 2, 5, 3}, raising=False)
    engine = LocalEngine({"CPU": 2})
    assert engine.slots == 2 and engine._shares == [[1, 2], [3, 5]]
    assert LocalEngine({"CPU": 64})._shares == [[1, 2, 3, 5, 7]]
    with_gpu = LocalEngine({"CPU": 1, "GPU": 1})  # `accelerate launch`, as the user has configured it
    assert with_gpu.slots == 1 and with_gpu._shares == [[]]


def test_runs_that_go_on_are_ended_when_the_benchmark_stops(tmp_path):
    made = runs(tmp_path)
    for run in made:
        (tmp_path / "pairs" / f"{run.name}.txt").write_text("wait")

    def interrupt(names: list[str]) -> None:
        if all((run.folder / "waiting").is_file() for run in made if run.name in names):
            raise KeyboardInterrupt

    engine = LocalEngine({"CPU": 1})
    with pytest.raises(KeyboardInterrupt):
        list(engine.outcomes(made, interrupt, FAKE))
    begun = [int((run.folder / "waiting").read_text()) for run in made if (run.folder / "waiting").is_file()]
    assert 1 <= len(begun) <= engine.slots
    for pid in begun:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_forked_training_ends_and_tells_as_the_command_does(tmp_path):
    log, core = tmp_path / "log.txt", sorted(os.sched_getaffinity(0))[:1]
    forked = ForkedTraining(["--delta_dim", "wide"], log, core)
    with pytest.raises(subprocess.TimeoutExpired):
        forked.wait(0.0)
    assert forked.wait(120) == 2 and forked.poll() == 2
    assert "argument --delta_dim/--delta-dim: invalid int value: 'wide'" in log.read_text()
    with pytest.raises(ProcessLookupError):
        os.kill(forked.pid, 0)


def test_what_ray_cannot_do_is_said_before_anything_runs(monkeypatch):
    pytest.importorskip("ray")
    with pytest.raises(OSError, match="nowhere.invalid:6379"):
        open_engine("ray", {"CPU": 1}, "nowhere.invalid:6379")
    with pytest.raises(ValueError, match="--ray_address needs --engine ray"):
        open_engine("local", {"CPU": 1}, "auto")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OSError, match=r"pip install .*\[ray\]"):
        open_engine("ray", {"CPU": 1})
