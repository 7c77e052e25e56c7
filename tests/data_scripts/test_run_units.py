"""Whole builds: any number of workers, any kill, any fault leave the same bytes, and nothing finished is repeated."""

import errno
import hashlib
import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from data_scripts.builds import local_pool
from data_scripts.builds.ledger import BuildingElsewhereError, Ledger
from data_scripts.builds.run_units import run_units
from data_scripts.builds.work_units import BuildReport, Outcome, StopBuildError, checked_names
from modeling_cde.data.building.build import write_shard
from modeling_cde.data.building.shards import encode_shard
from tests.data_scripts.fake_source import FakeSource, TrapSource, calls, plain_schema, shards, start, survivors


def build(source: FakeSource, folder: Path, **options: Any) -> BuildReport:
    return run_units(source, folder, progress=False, **options)


def logs(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def finished(folder: Path) -> set[str]:
    """Units whose entry says so; an entry is written after its shard."""
    return {path.stem for path in folder.glob("unit-*.json") if json.loads(path.read_bytes())["state"] == "done"}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Twelve units, as one worker makes them in one go."""
    root = tmp_path_factory.mktemp("reference")
    build(FakeSource(root, count=12), root / "out", workers=1)
    return shards(root / "out")


def test_the_folder_holds_what_the_naive_way_would_write(tmp_path: Path) -> None:
    source = FakeSource(tmp_path, count=3, real_features=True)
    report = build(source, tmp_path / "out", workers=3)
    for unit in source.units():
        write_shard(tmp_path / "naive" / f"{unit}.parquet", source.build(unit).rows, source.features)
    built = shards(tmp_path / "out")
    assert {name: content for name, content in built.items() if name.endswith("parquet")} == shards(tmp_path / "naive")
    assert json.loads(built["settings.json"]) == {"count": 3, "rows": 3, "seed": 0}
    assert json.loads(built["unit-001.json"]) == {
        "state": "done",
        "rows": 3,
        "bytes": len(built["unit-001.parquet"]),
        "rejected": {"hidden": 1},
        "problems": ["unit-001, row 0 is odd."],
        "sha256": hashlib.sha256(built["unit-001.parquet"]).hexdigest(),
    }
    assert (report.units, report.done, report.rows, report.built, report.failed) == (3, 3, 9, 3, {})
    assert report.rejected == Counter(hidden=3) and report.problems == ["unit-001, row 0 is odd."]


def test_bytes_do_not_depend_on_the_workers(reference: dict[str, bytes], tmp_path: Path) -> None:
    build(FakeSource(tmp_path, count=12), tmp_path / "out", workers=3)
    assert shards(tmp_path / "out") == reference
    assert set(calls(tmp_path).values()) == {1}


@pytest.mark.parametrize("seed", range(2))
def test_builds_killed_at_random_moments_end_with_the_same_bytes(
    reference: dict[str, bytes], tmp_path: Path, seed: int
) -> None:
    rng, folder = random.Random(seed), tmp_path / "out"
    for _ in range(40):
        before, begun = finished(folder), calls(tmp_path)
        process = start(tmp_path, folder, count=12, seconds=0.05)
        # Wait until there is something to lose, then for a random moment; the last kills may come after the end.
        deadline = time.monotonic() + 60
        while process.poll() is None and finished(folder) == before and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.15))
        process.kill()
        process.wait()
        repeated = calls(tmp_path) - begun
        assert not before & repeated.keys(), "a finished unit was built again"
        assert survivors(tmp_path, "calls") == []  # workers end with whoever started them
        if len(finished(folder)) == 12:
            break
    build(FakeSource(tmp_path, count=12), folder, workers=2)
    assert shards(folder) == reference


@pytest.mark.parametrize("moment", range(18))
def test_a_kill_at_any_write_loses_one_unit_at_most(
    reference: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Every rename of a build of four units, killed before it and after it."""

    class Killed(BaseException):
        pass

    source, folder = FakeSource(tmp_path, count=4), tmp_path / "out"
    content = {}
    for unit in source.units():
        rows = source.build(unit)
        shard = encode_shard(rows.rows, plain_schema())
        content[unit] = Outcome(unit, shard, len(rows.rows), rows.rejected, rows.problems)

    def run() -> list[str]:
        ledger = Ledger(folder, source.units())
        with ledger.lock():
            ledger.claim(source.settings())
            ledger.remove_leftovers()
            todo = ledger.unfinished()
            for unit in todo:
                ledger.record(content[unit])
        return todo

    count = 0
    real = os.replace

    def replace(*paths: Any) -> None:
        nonlocal count
        count += 1
        if count == moment // 2 + 1:
            if moment % 2:
                real(*paths)
            killed.setattr(Path, "unlink", lambda *_, **__: None)  # a killed process cleans nothing up
            raise Killed
        real(*paths)

    with monkeypatch.context() as killed:
        killed.setattr(os, "replace", replace)
        with pytest.raises(Killed):
            run()
    done = finished(folder)
    assert not done & set(run())
    assert len(done) == max(0, (moment - 1) // 4)
    expected = {name: data for name, data in reference.items() if name[:8] in content}
    built = shards(folder)
    assert {name: data for name, data in built.items() if name != "settings.json"} == expected
    assert run() == []


def test_faults_cost_their_own_unit_only(reference: dict[str, bytes], tmp_path: Path) -> None:
    faults = {"unit-001": "die once", "unit-002": "raise", "unit-004": "hang", "unit-005": "leak", "unit-006": "guard"}
    source = FakeSource(tmp_path, count=12, faults=faults)
    report = build(source, tmp_path / "out", workers=3, retries=1, unit_timeout=5)  # a busy machine needs 2 s
    assert report.failed.keys() == {"unit-002", "unit-004", "unit-006"} and report.done == 9
    assert calls(tmp_path) == Counter(source.units()) + Counter(["unit-001", *report.failed])
    assert survivors(tmp_path) == [] == survivors(tmp_path, "calls")
    entry = json.loads((tmp_path / "out" / "unit-004.json").read_text())
    assert entry == {"state": "failed", "attempts": 2, "error": report.failed["unit-004"]}
    assert "9 of 12 units" in report.text() and f"unit-004: {report.failed['unit-004']}" in report.text()

    # The next run tries what failed, and nothing else; the bytes tell nothing of all that.
    again = logs(tmp_path, "again")
    report = build(FakeSource(again, count=12), tmp_path / "out", workers=1)
    assert calls(again) == Counter(["unit-002", "unit-004", "unit-006"]) and (report.done, report.built) == (12, 3)
    assert shards(tmp_path / "out") == reference


def test_a_build_that_is_to_stop_stops_at_once(tmp_path: Path) -> None:
    source = FakeSource(tmp_path, count=40, seconds=0.2, faults={"unit-002": "stop"})
    with pytest.raises(StopBuildError, match=r"^unit-002, row 2: the picture is missing \(--strict\).$"):
        build(source, tmp_path / "out")
    assert sum(calls(tmp_path).values()) < 12
    assert survivors(tmp_path, "calls") == []


def test_a_full_disk_is_named_and_the_rest_goes_on(
    reference: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = {"tmp-unit-003.parquet.tmp", "tmp-unit-005.json.tmp", "tmp-unit-007.parquet.tmp", "tmp-unit-007.json.tmp"}
    real = Path.write_bytes

    def write_or_fail(path: Path, content: bytes) -> int:
        if path.name in full:
            real(path, b"as much as fits")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_or_fail)
    report = build(FakeSource(tmp_path, count=12), tmp_path / "out")
    assert report.done == 9 and report.failed.keys() == {"unit-003", "unit-005", "unit-007"}
    for sentence in report.failed.values():
        assert sentence.startswith("its shard of ") and sentence.endswith("cannot be written: No space left on device")
    left = shards(tmp_path / "out")
    assert not [name for name in left if name.endswith(".tmp")]
    assert not {"unit-003.parquet", "unit-005.parquet", "unit-007.parquet", "unit-007.json"} & left.keys()
    monkeypatch.undo()
    again = logs(tmp_path, "again")
    build(FakeSource(again, count=12), tmp_path / "out", workers=1)
    assert calls(again).keys() == report.failed.keys()
    assert shards(tmp_path / "out") == reference


def test_what_is_missing_or_damaged_is_built_again(reference: dict[str, bytes], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for name, content in reference.items():
        (folder / name).write_bytes(content)
    (folder / "unit-001.parquet").unlink()
    (folder / "unit-004.parquet").write_bytes(reference["unit-004.parquet"][:-1])
    (folder / "unit-006.json").write_text('{"state": "do')
    (folder / "unit-008.json").unlink()
    (folder / "tmp-unit-009.parquet.tmp").write_bytes(b"half")
    assert build(FakeSource(tmp_path, count=12), folder, workers=1).done == 12
    assert calls(tmp_path) == Counter(["unit-001", "unit-004", "unit-006", "unit-008"])
    assert shards(folder) == reference


def test_problems_that_are_not_utf_8_are_kept_as_they_are(tmp_path: Path) -> None:
    source = TrapSource(tmp_path, count=1)
    assert build(source, tmp_path / "out").problems == [str(tmp_path / "problem"), "lone \ud800"]
    assert build(source, tmp_path / "out").problems == [str(tmp_path / "problem"), "lone \ud800"]


def test_workers_wait_for_a_slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most two shards for each worker are in memory."""
    begun: list[str] = []

    class QuickWorker:
        def __init__(self, *options: Any) -> None: ...

        def build(self, unit: str) -> Outcome:
            begun.append(unit)
            return Outcome(unit)

        def close(self) -> None: ...

        stop = close

    monkeypatch.setattr(local_pool, "Worker", QuickWorker)
    outcomes = local_pool.build_locally(b"", [str(number) for number in range(40)], 3, 0, None)
    for taken in range(1, 41):
        next(outcomes)
        time.sleep(0.01)
        assert len(begun) <= taken + 6
    assert sorted(map(int, begun)) == list(range(40)) and next(outcomes, None) is None


def test_a_finished_folder_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = FakeSource(tmp_path, count=2)
    build(source, tmp_path / "out", workers=1)
    monkeypatch.setattr(FakeSource, "features", None)  # not even asked for
    with Ledger(tmp_path / "out", source.units()).lock():  # nor is the lock
        report = build(source, tmp_path / "out", engine="ray")
    assert (report.done, report.built, report.rows) == (2, 0, 6)


def test_another_build_in_the_folder_is_refused(tmp_path: Path) -> None:
    source = FakeSource(tmp_path, count=2)
    with Ledger(tmp_path / "out", source.units()).lock():
        with pytest.raises(BuildingElsewhereError, match="Another process builds in"):
            build(source, tmp_path / "out")
    assert not calls(tmp_path)


def test_other_settings_are_refused_with_the_differences(tmp_path: Path) -> None:
    build(FakeSource(tmp_path, count=2), tmp_path / "out", workers=1)
    with pytest.raises(ValueError, match=r"other settings \(rows 3 there, 5 asked for, seed 0 there, 1 asked for\)"):
        build(FakeSource(tmp_path, count=2, rows=5, seed=1), tmp_path / "out")
    (tmp_path / "out" / "stranger.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds stranger.parquet, which is not one of this source's 2 units"):
        build(FakeSource(tmp_path, count=2), tmp_path / "out")
    (tmp_path / "out" / "settings.json").unlink()
    with pytest.raises(ValueError, match="has shards but no settings.json"):
        build(FakeSource(tmp_path, count=2), tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "number of workers is 0"),
        ({"retries": -1}, "number of retries is -1"),
        ({"unit_timeout": 0}, "unit_timeout is 0"),
        ({"unit_timeout": float("inf")}, "unit_timeout is inf"),
        ({"engine": "spark"}, "engine is 'spark'; choose local or ray"),
    ],
)
def test_arguments_out_of_range_are_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(FakeSource(tmp_path), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "units", [["b", "a"], ["a", "a"], ["../a"], [".a"], ["a/b"], [""], ["settings"], [], ["a" * 101], ["a\n"]]
)
def test_names_that_cannot_be_files_are_refused(units: list[str]) -> None:
    with pytest.raises(ValueError):
        checked_names(units)
    assert checked_names(["P01_01", "house-00001", "s.2+x"][:1]) == ["P01_01"]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_build_ends_workers_and_their_children(tmp_path: Path, end: signal.Signals) -> None:
    faults = {unit: "hang" for unit in FakeSource(tmp_path).units()}
    process = start(tmp_path, tmp_path / "out", faults=faults)
    children = tmp_path / "children"
    while not (children.exists() and children.read_text().count("\n") == 2):
        time.sleep(0.02)
    process.send_signal(end)
    error = process.communicate(timeout=30)[1]
    assert process.returncode == -end or b"KeyboardInterrupt" in error
    assert survivors(tmp_path) == [] == survivors(tmp_path, "calls")
