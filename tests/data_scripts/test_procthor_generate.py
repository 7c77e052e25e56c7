"""The command and its units: equal bytes whatever crashes or hangs, nothing left running, one sentence an error."""

import functools
import gzip
import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest

from data_scripts.builds.run_units import run_units
from data_scripts.builds.work_units import BuildReport
from data_scripts.procthor import generate
from data_scripts.procthor import source as procthor_source
from data_scripts.procthor.__main__ import main as dispatch
from data_scripts.procthor.actions import VERBS
from data_scripts.procthor.generator import Harvest, Quota, generate_house
from data_scripts.procthor.houses import KNOWN_FILES, REVISION, HouseFile, scan_houses
from data_scripts.procthor.simulator import Camera, Machine, SimulatorError
from data_scripts.procthor.source import GeneratedHouses
from tests.data_scripts.fake_ai2thor import FakeStart, Faults, make_house
from tests.data_scripts.fake_source import sent
from tests.data_scripts.test_procthor_simulator import leftovers

TINY = Quota(pairs_per_reset=2, pairs_per_house=3, resets=2, looks=8)


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> HouseFile:
    path = tmp_path_factory.mktemp("houses") / "train.jsonl.gz"
    lines = [json.dumps(make_house(number)) for number in range(4)]
    path.write_bytes(gzip.compress(("\n".join([*lines, "{bad"]) + "\n").encode()))
    return scan_houses(path)


def make_source(houses: HouseFile, faults: Faults | None = None, **changes: Any) -> GeneratedHouses:
    values: dict[str, Any] = {
        "houses": houses, "numbers": (0, 1, 2, 4), "view": "multi", "seed": 0, "image_size": 90,
        "camera": Camera(size=360), "quota": TINY, "build_info": {"ai2thor": "fake"},
        "start": FakeStart(faults or Faults()),
    }  # fmt: skip
    return GeneratedHouses(**{**values, **changes})


def build(source: GeneratedHouses, folder: Path, **options: Any) -> BuildReport:
    return run_units(source, folder, **{"workers": 1, "progress": False, **options})


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


@pytest.fixture(scope="module")
def built(houses: HouseFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    report = build(make_source(houses), folder)
    assert (report.done, report.failed, report.rows) == (4, {}, 9)
    # The bad line is a unit without pairs, named and counted.
    assert report.rejected["bad house"] == 1 and "train.jsonl.gz, line 5 (house 4)" in report.problems[0]
    return folder


# --- work units -------------------------------------------------------------------------------------------------


def test_rows_are_those_of_the_schema(built: Path, houses: HouseFile) -> None:
    table = pq.read_table(built / "proc_00001.parquet")
    features = datasets.Features.from_arrow_schema(table.schema)
    assert features == make_source(houses).features
    assert features["action"].names == list(VERBS) and {"Fridge", "Mug", "Drawer"} <= set(features["object"].names)
    simulator = FakeStart()(Camera(size=360), Machine())
    pairs = generate_house(simulator, make_house(1), 1, 0, TINY).pairs
    simulator.stop()
    for number, (row, pair) in enumerate(zip(table.to_pylist(), pairs, strict=True), 1):
        assert features["action"].names[row["action"]] == pair.verb
        assert features["object"].names[row["object"]] == pair.noun
        assert row["scene"] == "proc_00001" and row["pair_id"] == f"procthor-multi-00001-{number:05d}"
        pictures = {key: PIL.Image.open(BytesIO(row[key]["bytes"])) for key in ("before", "after", "mask_after")}
        assert {picture.size for picture in pictures.values()} == {(90, 90)}
        shrunk = np.asarray(PIL.Image.fromarray(pair.after).resize((90, 90), PIL.Image.Resampling.BICUBIC))
        assert np.array_equal(np.asarray(pictures["after"]), shrunk)
        box = pair.box_after
        assert row["box"] == [box[0] // 4, box[1] // 4, box[2] // 4, box[3] // 4]
        mask = np.asarray(pictures["mask_after"])
        assert set(np.unique(mask)) == {0, 255}
        assert abs((mask > 0).mean() - pair.mask_after.mean()) < 0.02


def test_the_single_view_cuts_out_the_target_of_the_same_pairs(houses: HouseFile) -> None:
    rows: dict[str, list[dict[str, Any]]] = {}
    for view in ("multi", "single"):
        source = make_source(houses, view=view, image_size=64)
        rows[view] = source.build("proc_00002").rows
        source.close()
    assert rows["single"] and len(rows["single"]) == len(rows["multi"])
    for single, multi in zip(rows["single"], rows["multi"], strict=True):
        assert (single["action"], single["object"]) == (multi["action"], multi["object"])
        assert PIL.Image.open(BytesIO(single["before"]["bytes"])).size == (64, 64)
        x0, y0, x1, y1 = single["box"]
        assert min(x1 - x0, y1 - y0) > 30 > max(multi["box"][2] - multi["box"][0], 0) - 64


def test_settings_hold_everything_that_the_bytes_depend_on(houses: HouseFile) -> None:
    first = make_source(houses)
    settings = json.loads(json.dumps(first.settings()))
    assert settings["houses_sha256"] == houses.sha256 and settings["houses_revision"] is None
    assert settings["camera"] == {"size": 360, "field_of_view": 90.0, "horizon": 30.0, "visibility_distance": 5.0}
    assert settings["quota"]["pairs_per_house"] == 3 and settings["rules"]["min_changed"] == 1000
    assert settings["ai2thor"] == "fake" and settings["platform"] == "CloudRendering"
    changes: list[dict[str, Any]] = [
        {"view": "single"}, {"seed": 1}, {"image_size": 91}, {"camera": Camera()}, {"quota": Quota()},
        {"build_info": {"ai2thor": "5.0.0"}}, {"machine": Machine(platform="Linux64")},
    ]  # fmt: skip
    for change in changes:
        assert make_source(houses, **change).settings() != first.settings()
    # A data set can be enlarged, and built with other machines.
    same = make_source(houses, numbers=(0, 3), gpu_devices=(0, 1), machine=Machine(server_timeout=5.0))
    assert same.settings() == first.settings()


def test_a_source_can_be_sent_to_a_worker_and_opens_nothing(houses: HouseFile) -> None:
    source = sent(make_source(houses))
    assert source.units() == ["proc_00000", "proc_00001", "proc_00002", "proc_00004"]
    assert source._simulator is None and source._reader is None
    source.close()


def test_gpus_are_spread_over_the_houses(houses: HouseFile) -> None:
    source = make_source(houses, gpu_devices=(2, 5), machine=Machine("Linux64", None, "abc", 7.0, 8.0))
    assert [source.machine_for(number).gpu_device for number in source.numbers] == [2, 5, 2, 5]
    assert source.machine_for(1) == Machine("Linux64", 5, "abc", 7.0, 8.0)
    assert make_source(houses).machine_for(0) == Machine()


def test_crashes_change_no_byte_and_leave_nothing_running(built: Path, houses: HouseFile, tmp_path: Path) -> None:
    (tmp_path / "faults").mkdir()
    # One after the other, each in a worker of its own; no Unity ends when it is told to.
    faults = {"start timeout": 1, "reset restart": 1, "step timeout": 1, "die": 1, "leak": 99}
    report = build(make_source(houses, Faults(tmp_path / "faults", faults)), tmp_path / "out", retries=4)
    happened = {path.name for path in (tmp_path / "faults").iterdir()}
    assert report.failed == {} and happened >= {f"{name} 0" for name in faults}
    assert files(tmp_path / "out") == files(built)
    assert leftovers(tmp_path / "faults") == []


def test_hangs_outside_every_timeout_are_ended_from_outside(built: Path, houses: HouseFile, tmp_path: Path) -> None:
    (tmp_path / "faults").mkdir()
    faults = Faults(tmp_path / "faults", {"start freeze": 1, "step hang": 1})
    report = build(make_source(houses, faults), tmp_path / "out", workers=2, unit_timeout=5.0)
    assert report.failed == {} and len(list((tmp_path / "faults").iterdir())) == 2
    assert files(tmp_path / "out") == files(built)
    assert leftovers(tmp_path / "faults") == []


def test_one_house_that_always_fails_is_named_and_the_others_are_built(
    built: Path, houses: HouseFile, tmp_path: Path
) -> None:
    (tmp_path / "faults").mkdir()
    faults = Faults(tmp_path / "faults", {"reset restart": 99}, house=1)
    report = build(make_source(houses, faults, numbers=(1, 2)), tmp_path / "out", retries=1)
    assert list(report.failed) == ["proc_00001"] and report.done == 1
    assert "proc_00001: AI2-THOR failed while opening a house: RestartError" in report.failed["proc_00001"]
    assert len(list((tmp_path / "faults").iterdir())) == 2
    # Without the fault the next run adds just that house.
    again = build(make_source(houses, numbers=(1, 2)), tmp_path / "out")
    assert again.built == 1
    for name in ("proc_00001.parquet", "proc_00002.parquet"):
        assert files(tmp_path / "out")[name] == files(built)[name]
    assert leftovers(tmp_path / "faults") == []


def test_a_house_that_is_refused_has_no_pairs_and_is_named(houses: HouseFile) -> None:
    source = make_source(houses, Faults(None, {"house refused": 1}))
    rows = source.build("proc_00002")
    source.close()
    assert (rows.rows, rows.rejected) == ([], {"house refused": 1})
    assert rows.problems == [
        "proc_00002: AI2-THOR cannot build the house: Asset 'Fridge_99' not found in the asset database."
    ]


def test_a_lost_simulator_is_stopped_and_named(houses: HouseFile, tmp_path: Path) -> None:
    source = make_source(houses, Faults(tmp_path, {"reset restart": 1, "leak": 9}))
    with pytest.raises(SimulatorError, match="proc_00000: AI2-THOR failed while opening a house: RestartError"):
        source.build("proc_00000")
    assert leftovers(tmp_path) == []  # the library had started another Unity
    assert len(source.build("proc_00000").rows) == 3
    source.close()
    assert leftovers(tmp_path) == []


def test_targets_of_an_unknown_class_are_counted(houses: HouseFile) -> None:
    source = make_source(HouseFile(houses.path, houses.sha256, houses.count, ("Fridge",)), quota=Quota(5, 5, 1, 40))
    built = source.build("proc_00000")
    source.close()
    unknown = {reason: count for reason, count in built.rejected.items() if "is not among the object classes" in reason}
    assert unknown and sum(unknown.values()) + len(built.rows) == 5


def test_changes_that_vanish_in_what_is_stored_are_counted(houses: HouseFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules look at the whole picture; what is stored is smaller."""

    def hardly_changed(*arguments: Any) -> Harvest:
        harvest = generate_house(*arguments)
        pair = harvest.pairs[0]
        after = pair.before.copy()
        after[1, 1] ^= 1
        harvest.pairs[0] = replace(pair, after=after)
        return harvest

    monkeypatch.setattr(procthor_source, "generate_house", hardly_changed)
    source = make_source(houses)
    built = source.build("proc_00000")
    source.close()
    assert built.rejected["identical pictures"] == 1 and len(built.rows) == TINY.pairs_per_house - 1
    assert [row["pair_id"][-5:] for row in built.rows] == ["00001", "00002"]


# --- the command ------------------------------------------------------------------------------------------------


@pytest.fixture
def run(houses: HouseFile, tmp_path: Path) -> Callable[..., Path]:
    """Runs the command on the fake, with small quotas."""

    def run(*arguments: str, faults: dict[str, int] | None = None) -> Path:
        folder = tmp_path / "faults"
        folder.mkdir(exist_ok=True)
        small = "--workers 1 --pairs_per_house 2 --pairs_per_reset 2 --resets 1 --looks 20 --image_size 48".split()
        given = ["--houses", str(houses.path), "--output", str(tmp_path / "out"), *small, *arguments]
        if "--houses_sha256" not in arguments:
            given += ["--houses_sha256", houses.sha256]
        generate.main(given, FakeStart(Faults(folder, faults or {})))
        return tmp_path / "out"

    return run


def test_the_command_builds_shards(run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = run("--view", "multi", "--no_split", "--last", "1") / "shards" / "multi"
    assert {"proc_00000.parquet", "proc_00001.parquet", "settings.json"} <= set(files(folder))
    settings = json.loads((folder / "settings.json").read_text())
    assert "672" in json.dumps(settings) and "procthor generate" in json.dumps(settings)
    said = capsys.readouterr().out
    assert "5 houses, 1 of them bad, of another revision" in said and "2 of 2 units are done, with 4 pairs" in said
    run("--view", "multi", "--no_split", "--last", "2")  # more houses, the same folder
    assert "3 of 3 units are done" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="seed"):
        run("--view", "multi", "--no_split", "--seed", "3")


def test_the_first_house_is_tried_alone(run: Callable[..., Path]) -> None:
    with pytest.raises(SystemExit, match="The first house failed, so no other was tried: .*Vulkan does not work here"):
        run("--no_split", "--retries", "0", "--last", "2", faults={"start crash": 1})
    folder = run("--no_split", "--retries", "0", "--last", "0") / "shards" / "single"
    assert [path.name for path in folder.glob("*.parquet")] == ["proc_00000.parquet"]


def test_check_says_what_works(run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    out = run("--check", "--only", "2")
    said = capsys.readouterr().out
    for step in ("start the simulator ...", "build house 2 ...", "64 positions", "with at least 2 candidates"):
        assert step in said
    assert "Everything needed for pairs works" in said and not out.exists()
    with pytest.raises(SystemExit, match="cannot stand anywhere"):
        run("--check", faults={"no positions": 1})
    with pytest.raises(SystemExit, match="Vulkan does not work here"):
        run("--check", faults={"start crash": 1})
    assert "start the simulator ... failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--first", "3", "--last", "1"], "--first 3 is larger than --last 1"),
        (["--last", "9"], "has the houses 0 to 4, but .0, 9. were asked for"),
        (["--only", "-1"], "has the houses 0 to 4"),
        (["--only", "1", "--first", "0"], "use one or the other"),
        (["--only", "4"], "No house is usable; the first one: .*line 5"),
        (["--houses", "/nowhere/train.jsonl.gz"], "cannot be read: /nowhere/train.jsonl.gz"),
        (["--houses_sha256", "abc"], "pins abc"),
        (["--looks", "0"], "--looks is 0"),
        (["--image_size", "0"], "--image_size is 0"),
        (["--gpu_device", "-2"], "--gpu_device is"),
        (["--server_timeout", "0"], "--server_timeout is 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--push", "me", "--no_split", "--license", "mit"], "--no_split"),
    ],
)
def test_bad_flags_end_with_one_sentence(
    run: Callable[..., Path], arguments: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match=message) as stopped:
        run("--no_split", *arguments) if "--push" not in arguments else run(*arguments)
    assert "\n" not in str(stopped.value) and not (tmp_path / "out" / "shards").exists()


def test_an_unpinned_file_is_refused_with_its_hash(houses: HouseFile, tmp_path: Path) -> None:
    arguments = ["--houses", str(houses.path), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match=f"is not a file of procthor-10k .*--houses_sha256 {houses.sha256}"):
        generate.main(arguments, FakeStart())


def test_without_ai2thor_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = importlib.metadata.version

    def version(found: str | None, name: str) -> str:
        if name != "ai2thor":
            return real(name)
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    arguments = ["generate", "--houses", "x", "--output", str(tmp_path)]
    monkeypatch.setattr(importlib.metadata, "version", functools.partial(version, None))
    with pytest.raises(SystemExit, match=r"AI2-THOR, which is not installed: pip install .*\[procthor\]"):
        dispatch(arguments)
    monkeypatch.setattr(importlib.metadata, "version", functools.partial(version, "4.3.0"))
    with pytest.raises(SystemExit, match=r"ai2thor 4\.3\.0 is installed, but version 5 is needed"):
        dispatch(arguments)


def test_the_installed_version_and_build_are_recorded() -> None:
    pytest.importorskip("ai2thor", reason="ai2thor is not installed")
    found = generate.check_installed()
    assert found["ai2thor"].startswith("5.") and len(found["unity_build"]) == 40
    assert generate.check_installed("abc")["unity_build"] == "abc"


def test_the_watchdog_is_on_by_default() -> None:
    options = generate.parser().parse_args(["--houses", "x", "--output", "y"])
    assert options.unit_timeout == 1800.0


def test_the_card_names_origin_and_licence(houses: HouseFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KNOWN_FILES, houses.sha256, "train.jsonl.gz")
    card = generate.make_card(make_source(houses))
    assert card.license == "apache-2.0" and "ProcTHOR-10K and AI2-THOR by the Allen Institute" in card.credit
    assert houses.sha256 in card.provenance[0] and REVISION in card.provenance[0] and "fake" in card.provenance[1]
    assert "Causal Triplet" in card.description and "360x360" in card.description


def test_houses_of_another_revision_have_no_known_origin_and_licence(houses: HouseFile) -> None:
    card = generate.make_card(make_source(houses))
    assert card.license is None and "ProcTHOR" not in card.title + card.credit + card.description
    assert f"{houses.path.name} with SHA-256 {houses.sha256}, which is not of revision" in card.provenance[0]


def test_whole_builds_end_as_data_sets(run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(
        "data_scripts.builds.build_commands.split",
        lambda options, card, rows: calls.append((options.view, card.title, rows)),
    )
    run("--last", "0")
    assert calls == [("single", "Before/after pairs in the houses of train.jsonl.gz", 2)]
