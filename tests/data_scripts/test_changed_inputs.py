"""What a build read has changed since: the units concerned are built again, and nothing else is."""

import csv
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from PIL import Image

from data_scripts.builds.build_commands import build_steps, default_options, is_split
from data_scripts.builds.ledger import Ledger
from data_scripts.builds.run_units import run_units
from data_scripts.builds.work_units import BuildReport, Source
from data_scripts.builds.worker import build_outcome
from data_scripts.epic_kitchens.index import build_index
from data_scripts.epic_kitchens.listing import index_csv
from data_scripts.epic_kitchens.source import EpicSource
from data_scripts.episodes import lerobot, table
from data_scripts.episodes.instruction import Instruction
from data_scripts.episodes.lerobot import LeRobotSource
from data_scripts.episodes.readings import Readings
from data_scripts.episodes.table import TableSource
from data_scripts.procthor.reader import HousesSource
from modeling_cde.data.building.card import DatasetCard
from modeling_cde.data.loading import load_pairs
from tests.data.tiny_pairs import picture
from tests.data_scripts.drawn_houses import draw_houses
from tests.data_scripts.fake_source import FakeSource, calls
from tests.data_scripts.tiny_epic import row, write_frames, write_tables, write_tar
from tests.data_scripts.tiny_lerobot import CAMERA, write_recording


def build(source: Source, folder: Path) -> tuple[list[str], BuildReport]:
    """What `run_units` does, in this process: the units that were built, and the report."""
    ledger = Ledger(folder, source.units(), source.inputs)
    ledger.compare(source.settings())
    with ledger.lock():
        ledger.claim(source.settings())
        ledger.remove_leftovers()
        todo = ledger.unfinished()
        for unit in todo:
            ledger.record(build_outcome(source, source.features.arrow_schema, unit))
    return todo, ledger.report()


def stored(folder: Path, column: str = "before") -> dict[str, Any]:
    """A column of all shards by pair_id; pictures as bytes, classes by name."""
    found = {}
    for path in sorted(folder.glob("*.parquet")):
        for one in parquet.read_table(path).to_pylist():
            found[one["pair_id"]] = one[column]["bytes"] if isinstance(one[column], dict) else one[column]
    return found


def uncompressed(seed: int) -> bytes:
    """A picture that takes as many bytes as any other."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture(seed, 20, 16))).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


@pytest.fixture
def source(tmp_path: Path) -> FakeSource:
    """Four units, of which each has a file."""
    files = tmp_path / "files"
    files.mkdir()
    source = FakeSource(tmp_path, count=4, files=files)
    for unit in source.units():
        (files / f"{unit}.txt").write_text(unit)
    return source


def test_only_units_whose_files_changed_are_built_again(source: FakeSource, tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "files" / "unit-002.txt"
    (tmp_path / "files" / "unit-001.txt").unlink()
    assert run_units(source, out, workers=1, progress=False).changed == {}
    entry = json.loads((out / "unit-002.json").read_text())
    assert entry["inputs"] == {"unit-002.txt": [8, file.stat().st_mtime_ns]}

    (tmp_path / "files" / "unit-001.txt").write_text("found at last")
    file.write_text("UNIT-002")  # of the same size
    report = run_units(source, out, workers=1, progress=False)
    assert calls(tmp_path) == {"unit-000": 1, "unit-001": 2, "unit-002": 2, "unit-003": 1}
    said = "because what they are made from has changed: unit-001 (unit-001.txt), unit-002 (unit-002.txt)."
    assert said in report.text() and report.built == 2 and report.done == 4

    assert run_units(source, out, workers=1, progress=False).changed == {}
    assert sum(calls(tmp_path).values()) == 6


def test_what_is_only_missing_now_is_kept_and_named(source: FakeSource, tmp_path: Path) -> None:
    build_one = {"workers": 1, "progress": False}
    run_units(source, tmp_path / "out", **build_one)  # type: ignore[arg-type]
    (tmp_path / "files").rename(tmp_path / "not mounted")
    report = run_units(source, tmp_path / "out", **build_one)  # type: ignore[arg-type]
    assert sum(calls(tmp_path).values()) == 4 and report.done == 4 and len(report.gone) == 4
    assert "Kept as they were built, although files are missing now: unit-000 (unit-000.txt), " in report.text()


def test_a_build_that_recorded_no_inputs_is_built_again(source: FakeSource, tmp_path: Path) -> None:
    run_units(source, tmp_path / "out", workers=1, progress=False)
    entry = json.loads((tmp_path / "out" / "unit-001.json").read_text())
    del entry["inputs"]
    (tmp_path / "out" / "unit-001.json").write_text(json.dumps(entry))
    report = run_units(source, tmp_path / "out", workers=1, progress=False)
    assert report.changed == {"unit-001": ["a build that recorded no inputs"]}


@pytest.mark.parametrize("moment", range(4))
def test_a_kill_while_a_unit_is_replaced_leaves_the_old_shard_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Before and after each rename; even where the input then goes back to what it was."""

    class Killed(BaseException):
        pass

    pairs, out = tmp_path / "pairs.csv", tmp_path / "out"
    write_pairs(pairs, [("a", "open", "box"), ("b", "close", "box")])
    (tmp_path / "a_before.png").write_bytes(uncompressed(50))
    source = TableSource(pairs, view="multi")
    build(source, out)
    shard = next(out.glob("*.parquet"))
    old = shard.read_bytes()
    first, times = (tmp_path / "a_before.png").read_bytes(), (tmp_path / "a_before.png").stat()
    new = b""
    for seed in range(51, 151):  # until the new shard has the size of the old one, which then tells nothing
        (tmp_path / "a_before.png").write_bytes(uncompressed(seed))
        built = build_outcome(source, source.features.arrow_schema, source.units()[0])
        if len(new := built.shard) == len(old):
            break
    assert new != old and len(new) == len(old)

    renames, real = 0, os.replace

    def replace(one: Any, other: Any) -> None:
        nonlocal renames
        renames += Path(other).name != "settings.json"
        if renames == moment // 2 + 1:
            if moment % 2:
                real(one, other)
            killed.setattr(Path, "unlink", lambda *_, **__: None)  # a killed process cleans nothing up
            raise Killed
        real(one, other)

    with monkeypatch.context() as killed:
        killed.setattr(os, "replace", replace)
        with pytest.raises(Killed):
            build(source, out)
    assert shard.read_bytes() == (new if moment else old)
    (tmp_path / "a_before.png").write_bytes(first)
    os.utime(tmp_path / "a_before.png", ns=(times.st_atime_ns, times.st_mtime_ns))
    build(source, out)
    assert shard.read_bytes() == old


def test_splits_are_made_again_from_shards_that_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where there are as many pairs as before."""
    pairs = tmp_path / "pairs.csv"
    write_pairs(pairs, [(f"{i}", ("open", "close")[i % 2], ("box", "door")[i // 2 % 2]) for i in range(8)])
    options = default_options(tmp_path / "out", view="multi", shift="none", group_by="none", workers=1)
    card = DatasetCard("Pairs", "Noise.")
    build_steps(TableSource(pairs, view="multi"), options, card)
    assert is_split(options, 8)

    def pictures() -> set[bytes]:
        parts = [load_pairs(tmp_path / "out", "multi_none", part) for part in ("train", "validation", "test")]
        return {one["before"]["bytes"] for part in parts for one in part.data.to_pylist()}

    assert picture(99, 20, 16) not in pictures()
    (tmp_path / "3_before.png").write_bytes(picture(99, 20, 16))
    capsys.readouterr()
    build_steps(TableSource(pairs, view="multi"), options, card)
    assert "already has its splits" not in capsys.readouterr().out and picture(99, 20, 16) in pictures()
    build_steps(TableSource(pairs, view="multi"), options, card)
    assert "already has its splits" in capsys.readouterr().out

    # Splits from before hashes were kept are those of shards from then.
    (tmp_path / "out" / "shards" / "multi_none.json").unlink()
    assert not is_split(options, 8)
    for entry in (tmp_path / "out" / "shards" / "multi").glob("rows-*.json"):
        entry.write_text(json.dumps({k: v for k, v in json.loads(entry.read_text()).items() if k != "sha256"}))
    assert is_split(options, 8)


# The sources


def write_pairs(path: Path, rows: list[tuple[str, str, str]]) -> None:
    """A table, and those pictures of it that are not there yet."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [("before", "after", "action", "object", "pair_id")]
            + [(f"{name}_before.png", f"{name}_after.png", action, noun, name) for name, action, noun in rows]
        )
    for number, (name, _, _) in enumerate(rows):
        for k, when in enumerate(("before", "after")):
            if not (path.parent / f"{name}_{when}.png").exists():
                (path.parent / f"{name}_{when}.png").write_bytes(picture(2 * number + k, 20, 16))


ROWS = [(name, ("open", "close")[i % 2], ("box", "door")[i // 2 % 2]) for i, name in enumerate("abcde")]


@pytest.fixture
def pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of three units."""
    monkeypatch.setattr(table, "ROWS_PER_UNIT", 2)
    (tmp_path / "data").mkdir()
    write_pairs(tmp_path / "data" / "pairs.csv", ROWS)
    return tmp_path / "data" / "pairs.csv"


def test_repaired_and_replaced_pictures_of_a_table_are_read(pairs: Path, tmp_path: Path) -> None:
    out, broken, missing = tmp_path / "out", pairs.parent / "a_after.png", pairs.parent / "d_before.png"
    good = missing.read_bytes()
    broken.write_bytes(b"not a picture")
    missing.unlink()
    assert build(TableSource(pairs, view="multi"), out)[1].rejected == {"broken picture": 1, "missing picture": 1}
    broken.write_bytes(picture(7, 20, 16))
    missing.write_bytes(good)
    (pairs.parent / "e_before.png").write_bytes(picture(8, 20, 16))
    todo, report = build(TableSource(pairs, view="multi"), out)
    assert todo == ["rows-0000001-0000002", "rows-0000003-0000004", "rows-0000005-0000005"]
    assert not report.rejected and report.rows == 5 and report.changed[todo[0]] == ["a_after.png"]
    assert stored(out)["e"] == picture(8, 20, 16) and stored(out, "after")["a"] == picture(7, 20, 16)
    assert build(TableSource(pairs, view="multi"), out)[0] == []


def test_a_table_that_changed_builds_the_rows_that_changed(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(TableSource(pairs, view="multi"), out)
    write_pairs(pairs, [*ROWS[:3], ("d", "open", "door"), ROWS[4]])
    assert build(TableSource(pairs, view="multi"), out)[0] == ["rows-0000003-0000004"]
    assert stored(out, "action")["d"] == 1  # close, open

    # With a new class all ids are others, and rows at the end make another last unit.
    write_pairs(pairs, [*ROWS, ("f", "break", "box")])
    todo, report = build(TableSource(pairs, view="multi"), out)
    assert todo == ["rows-0000001-0000002", "rows-0000003-0000004", "rows-0000005-0000006"]
    assert report.removed == ["rows-0000005-0000005"] and report.rows == 6
    assert "Removed, because they are no longer listed: rows-0000005-0000005." in report.text()
    assert stored(out, "action") == {"a": 2, "b": 1, "c": 2, "d": 1, "e": 2, "f": 0}

    write_pairs(pairs, ROWS[:2])
    todo, report = build(TableSource(pairs, view="multi"), out)
    assert len(report.removed) == 2 and sorted(stored(out)) == ["a", "b"]
    (out / "stranger.parquet").write_bytes(b"")  # without an entry: not of a build
    with pytest.raises(ValueError, match="holds stranger.parquet, which is not one of this source's 1 units"):
        build(TableSource(pairs, view="multi"), out)


def test_pictures_and_tables_of_houses_that_changed_are_read(tmp_path: Path) -> None:
    houses, out = draw_houses(tmp_path / "data", houses=3), tmp_path / "out"

    def source() -> HousesSource:
        return HousesSource(houses, "multi", None, progress=False)

    first = sorted((houses / "proc_00001" / "color").glob("*_first.png"))[0]
    mask = sorted((houses / "proc_00002" / "mask").glob("*_first.png"))[0]
    kept = mask.read_bytes()
    mask.unlink()
    good = first.read_bytes()
    first.write_bytes(good[:50])
    assert sum(build(source(), out)[1].rejected.values()) > 0
    first.write_bytes(good)
    mask.write_bytes(kept)
    todo, report = build(source(), out)
    assert todo == ["proc_00001", "proc_00002"] and not report.rejected
    assert report.changed == {"proc_00001": [f"color/{first.name}"], "proc_00002": [f"mask/{mask.name}"]}

    annotations = houses / "proc_00000" / "annotations.csv"
    lines = annotations.read_text().splitlines(keepends=True)
    annotations.write_text("".join(lines[:-2]))
    assert build(source(), out)[0][0] == "proc_00000"
    rows = sum(1 for name in stored(out) if name.startswith("proc_00000"))
    assert rows == len(lines) // 2 - 1
    shutil.rmtree(houses / "proc_00002")
    assert build(source(), out)[1].removed == ["proc_00002"]


def test_an_archive_that_changed_is_read_again_by_all_units(tmp_path: Path) -> None:
    houses, out, path = draw_houses(tmp_path / "data", houses=2), tmp_path / "out", tmp_path / "houses.zip"

    def pack() -> HousesSource:
        with zipfile.ZipFile(path, "w") as file:
            for one in sorted(one for one in houses.rglob("*") if one.is_file()):
                file.write(one, one.relative_to(houses))
        return HousesSource(path, "multi", None, progress=False)

    build(pack(), out)
    first = sorted((houses / "proc_00001" / "color").glob("*_first.png"))[0]
    good = first.read_bytes()
    first.write_bytes(good + b"more")
    todo, report = build(pack(), out)
    assert todo == ["proc_00000", "proc_00001"] and report.changed["proc_00000"] == ["houses.zip"]
    assert (
        good + b"more" in stored(out).values()
        and build(HousesSource(path, "multi", None, progress=False), out)[0] == []
    )


@pytest.mark.parametrize("packed", [False, True])
def test_frames_and_segments_that_changed_are_read_again(tmp_path: Path, packed: bool) -> None:
    root, out = tmp_path / "frames", tmp_path / "out"
    rows = [row("P01_01", 0, 0.0, 1.5), row("P02_102", 0, 0.5, 1.0, verb=36), row("P02_102", 1, 1.0, 1.9, verb=36)]

    def source(rows: list[list[str]] = rows) -> EpicSource:
        tables = write_tables(tmp_path / "tables", rows, {"P01_01": 2.0, "P02_102": 2.0})
        (tmp_path / "index.csv").write_text(index_csv(build_index(**tables).segments))
        return EpicSource(tmp_path / "index.csv", root, "frames", None)

    write_frames(root / "P01_01", range(1, 121))
    write: Callable[..., Any] = write_tar if packed else write_frames
    write(root / ("P02_102.tar" if packed else "P02_102"), [n for n in range(1, 101) if n != 50])
    assert build(source(), out)[1].rejected == {"frame missing": 2}
    write(root / ("P02_102.tar" if packed else "P02_102"), range(1, 101))
    todo, report = build(source(), out)
    assert todo == ["P02_102"] and not report.rejected
    assert (report.changed["P02_102"] == ["P02_102.tar"]) == packed
    assert build(source(), out)[0] == []
    assert build(source([*rows[:2], row("P02_102", 1, 1.1, 1.9, verb=36)]), out)[0] == ["P02_102"]
    (root / "P01_01" / "frame_0000000002.jpg").write_bytes(b"no segment names it")
    assert build(source([*rows[:2], row("P02_102", 1, 1.1, 1.9, verb=36)]), out)[0] == []


@pytest.mark.parametrize(("version", "kind"), [("v2.1", "video"), ("v3.0", "image")])
def test_episodes_that_changed_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, kind: str
) -> None:
    monkeypatch.setattr(lerobot, "EPISODES_PER_UNIT", 2)
    episodes = [(["open the drawer"], 4), (["close the drawer"], 4), (["do a dance"], 4), (["open the door"], 4)]
    folder, out = write_recording(tmp_path / "data", version, episodes, kind=kind), tmp_path / "out"

    def source(known: dict[str, Instruction] | None = None) -> LeRobotSource:
        return LeRobotSource(folder, CAMERA, readings=Readings(known=known))

    last = sorted(folder.glob("videos/**/*.mp4" if kind == "video" else "data/**/*.parquet"))[-1]
    good = last.read_bytes()
    last.write_bytes(good[:100])
    assert sum(build(source(), out)[1].rejected.values()) > 1
    last.write_bytes(good)
    todo, report = build(source(), out)
    assert todo[-1] == "episodes-000002-000003" and "door" in str(source().objects) and report.rows == 3
    assert str(last.relative_to(folder)) in report.changed["episodes-000002-000003"]
    assert build(source(), out)[0] == []
    # A reading of one's own, of known classes, concerns its unit alone.
    assert build(source({"do a dance": Instruction("close", "door")}), out)[0] == ["episodes-000002-000003"]
    assert len(build(source({"do a dance": Instruction("dance", "door")}), out)[0]) == 2
