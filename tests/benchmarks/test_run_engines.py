"""Runs one after another, and on Ray: the same results, failures named, nothing left running."""

import json
import sys
from pathlib import Path

import pytest

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
    local = list(LocalEngine().outcomes(runs(tmp_path / "local"), ticks.append, FAKE))
    assert [bool(outcome.error) for outcome in local] == [False, True, False, False]

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


def test_what_ray_cannot_do_is_said_before_anything_runs(monkeypatch):
    pytest.importorskip("ray")
    with pytest.raises(OSError, match="nowhere.invalid:6379"):
        open_engine("ray", {"CPU": 1}, "nowhere.invalid:6379")
    with pytest.raises(ValueError, match="--ray_address needs --engine ray"):
        open_engine("local", {"CPU": 1}, "auto")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OSError, match="install it with `pip install ray`"):
        open_engine("ray", {"CPU": 1})
