"""Builds on Ray: the same bytes as local workers, even when workers, tasks and units fail."""

import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_scripts.builds.ray_tasks import EngineUnavailableError, start_ray
from data_scripts.builds.run_units import run_units
from data_scripts.builds.work_units import StopBuildError
from tests.data_scripts.fake_source import FakeSource, calls, shards, start, survivors


def logs(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


@pytest.fixture(scope="module")
def session() -> Iterator[str]:
    """The address of a session of Ray that Ray's user started; seconds for each, so one for all tests here."""
    ray = pytest.importorskip("ray")
    start_ray(ray, None, num_cpus=2, logging_level="error", log_to_driver=False)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def test_ray_gives_the_bytes_of_local_workers_and_is_left_as_it_was(session: str, tmp_path: Path) -> None:
    import ray

    faults = {"unit-001": "die once", "unit-003": "leak", "unit-005": "starter once", "unit-006": "raise"}
    source = FakeSource(tmp_path, count=16, faults=faults)  # `starter` kills a task's process: that costs one try
    assert session.startswith("127.0.0.1:")  # and is reached from nowhere else
    report = run_units(source, tmp_path / "ray", workers=2, engine="ray", retries=1, progress=False)
    assert ray.is_initialized()
    assert report.failed.keys() == {"unit-006"} and report.done == 15
    # A task builds two units. When the second one kills it, the first has been sent back, or is just being sent.
    repeated = calls(tmp_path) - Counter(source.units())
    assert Counter(["unit-001", "unit-005", "unit-006"]) <= repeated
    assert repeated <= Counter(["unit-001", "unit-004", "unit-005", "unit-006"])
    assert survivors(tmp_path) == [] == survivors(tmp_path, "calls")

    local = FakeSource(logs(tmp_path, "local"), count=16, faults={"unit-006": "raise"})
    run_units(local, tmp_path / "local" / "out", workers=2, retries=1, progress=False)
    assert shards(tmp_path / "local" / "out") == shards(tmp_path / "ray")


def test_a_killed_build_on_ray_leaves_no_process_behind(session: str, tmp_path: Path) -> None:
    # Ray kills the children of its tasks, but not their children: the worker's guard does that.
    hanging = {unit: "hang" for unit in FakeSource(tmp_path).units()}
    process = start(tmp_path, tmp_path / "out", session, faults=hanging)
    children = tmp_path / "children"
    while not (children.exists() and children.read_text().count("\n") == 2):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert survivors(tmp_path, "children", 30) == [] == survivors(tmp_path, "calls", 30)


def test_a_session_that_the_build_started_ends_with_it(tmp_path: Path) -> None:
    """Also where a source asks to stop. One process has one session: this test follows those of `session`."""
    ray = pytest.importorskip("ray")
    ray.shutdown()
    stopping = FakeSource(tmp_path, faults={"unit-002": "stop"})
    with pytest.raises(StopBuildError, match="^unit-002, row 2"):
        run_units(stopping, tmp_path / "out", workers=1, engine="ray", progress=False)
    assert not ray.is_initialized() and survivors(tmp_path, "calls") == []


def test_without_ray_a_sentence_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        EngineUnavailableError, match=r"not installed: choose the engine local, or pip install .*\[ray\]"
    ) as caught:
        run_units(FakeSource(tmp_path), tmp_path / "out", engine="ray")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_a_cluster_that_is_not_there_is_named(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(EngineUnavailableError, match="Ray cannot be reached at nowhere.invalid:6379") as caught:
        run_units(FakeSource(tmp_path), tmp_path / "out", engine="ray", ray_address="nowhere.invalid:6379")
    assert "\n" not in str(caught.value)
