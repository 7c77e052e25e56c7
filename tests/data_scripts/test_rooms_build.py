"""Whole builds: equal bytes whatever the workers, resumed where they stopped, balanced, readable in both layouts."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Features
from PIL import Image

import modeling_cde.data.build
from data_scripts.rooms import units
from data_scripts.rooms.build import build_rooms, rejections
from data_scripts.rooms.objects import ACTIONS, OBJECTS, objects_of
from data_scripts.rooms.pairs import REASONS, RejectedError, bounding_box
from data_scripts.rooms.schedule import combination, unit_tasks
from data_scripts.rooms.writers import shard_schema
from modeling_cde.data.schema import pair_features

SMALL = {"num_pairs": 20, "image_size": 64, "pairs_per_unit": 8}


@pytest.fixture(autouse=True)
def no_splits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Twenty pairs are too few for splits; note what the builder is asked for instead."""
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(modeling_cde.data.build, "assemble", lambda *args, **options: calls.append((*args, options)))
    return calls


@pytest.fixture(scope="module")
def built(opengl: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling_cde.data.build, "assemble", lambda *args, **options: None)
        return build_rooms(tmp_path_factory.mktemp("rooms"), workers=1, **SMALL)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_bytes_do_not_depend_on_the_workers(built: Path, tmp_path: Path, no_splits: list[tuple[object, ...]]) -> None:
    again = build_rooms(tmp_path, workers=2, **SMALL)
    assert files(again) == files(built)
    assert no_splits == [(tmp_path, "single", {"seed": 0})]


def test_another_seed_gives_other_rooms(built: Path, tmp_path: Path) -> None:
    other = build_rooms(tmp_path, workers=1, seed=1, num_pairs=2, image_size=64, pairs_per_unit=8)
    assert files(other)["shards/single/unit-00000.parquet"] != files(built)["shards/single/unit-00000.parquet"]


def test_a_build_goes_on_where_it_stopped(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "shards" / "single"
    folder.mkdir(parents=True)
    for name, content in files(built / "shards" / "single").items():
        if "00001" not in name:
            (folder / name).write_bytes(content)
    (folder / ".unit-00001.parquet.tmp").write_bytes(b"cut off")
    rendered = []
    real = units.render_scene
    monkeypatch.setattr(units, "render_scene", lambda *args: rendered.append(args[1].number) or real(*args))
    build_rooms(tmp_path, workers=1, **SMALL)
    assert rendered == [2, 3]  # the scenes of unit 1 only
    assert files(tmp_path) == files(built)
    monkeypatch.setattr("data_scripts.rooms.build.check_opengl", None)  # nothing to do: not even OpenGL is needed
    build_rooms(tmp_path, workers=1, **SMALL)


def test_a_finished_data_set_is_left_alone(built: Path, tmp_path: Path, no_splits: list[tuple[object, ...]]) -> None:
    for name, content in files(built).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    build_rooms(tmp_path, **SMALL)
    assert len(no_splits) == 1  # rendered, but cut off before the splits were written
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "single_syst.json").write_text("{}")
    build_rooms(tmp_path, **SMALL)
    assert len(no_splits) == 1
    with pytest.raises(ValueError, match="num_pairs 20 there, 24 asked for"):  # also where all is finished
        build_rooms(tmp_path, **SMALL | {"num_pairs": 24})


def test_other_settings_in_the_same_folder_are_an_error(built: Path) -> None:
    with pytest.raises(ValueError, match=r"num_pairs 20 there, 24 asked for, seed 0 there, 3 asked for"):
        build_rooms(built, workers=1, **SMALL | {"num_pairs": 24, "seed": 3})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"view": "double"}, "view is 'double'"),
        ({"layout": "zip"}, "layout is 'zip'"),
        ({"num_pairs": 0}, "num_pairs is 0"),
        ({"workers": 0}, "workers is 0"),
    ],
)
def test_settings_out_of_range_are_named(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_rooms(tmp_path, **options)
    assert not any(tmp_path.iterdir())


def test_shards_have_the_columns_of_the_schema(built: Path) -> None:
    tables = [pq.read_table(path) for path in sorted((built / "shards" / "single").glob("*.parquet"))]
    for table in tables:
        assert Features.from_arrow_schema(table.schema) == pair_features(ACTIONS, OBJECTS)
    rows = [row for table in tables for row in table.to_pylist()]
    assert len(rows) == 20 and len({row["pair_id"] for row in rows}) == 20
    assert Counter(Counter(row["scene"] for row in rows).values()) == {4: 5}
    for row in rows:
        assert OBJECTS[row["object"]] in objects_of(ACTIONS[row["action"]])
        assert row["pair_id"].startswith(f"rooms-single-{row['scene'].removeprefix('room-')}-")


def test_datasets_reads_a_shard(built: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    shard = str(built / "shards" / "single" / "unit-00000.parquet")
    rows = datasets.load_dataset("parquet", data_files=shard, split="train", cache_dir=str(tmp_path))
    assert rows.features["action"].names == list(ACTIONS)
    assert rows[0]["before"].size == (64, 64) and rows[0]["before"].mode == "RGB"
    masks = [np.asarray(rows[0][f"mask_{when}"]) > 0 for when in ("before", "after")]
    assert tuple(rows[0]["box"]) == bounding_box(masks[0] | masks[1])


def test_causal_triplet_layout(opengl: None, tmp_path: Path, no_splits: list[tuple[object, ...]]) -> None:
    build_rooms(tmp_path, layout="causal_triplet", workers=1, **SMALL | {"num_pairs": 6})
    houses = sorted(tmp_path.glob("single/proc_*"))
    assert [house.name for house in houses] == ["proc_00000", "proc_00001"]
    assert not no_splits
    count = 0
    for house in houses:
        with (house / "annotations.csv").open() as file:
            rows = list(csv.reader(file))
        for first, second in zip(rows[::2], rows[1::2], strict=True):
            assert first[4] == "none" and second[4] in ACTIONS and first[3] == second[3]
            assert second[2].split("second")[0] + "first.png" == first[2]
            assert second[2] == f"{first[2][:5]}_second_{second[3]}_{second[4]}.png"
            for row in (first, second):
                mask = Image.open(house / "mask" / row[2])
                assert mask.mode == "L" and set(np.unique(mask)) == {0, 255}
                assert bounding_box(np.asarray(mask) > 0) == tuple(int(bound) for bound in row[5:9])
                assert Image.open(house / "color" / row[2]).size == (64, 64)
            count += 1
        assert (house / "bbox").is_dir() and int(rows[0][1]) == int(house.name[-5:])
    assert count == 6


def test_rejected_tries_are_counted(renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = units.make_pair, []

    def refuse_twice(*args):
        calls.append(args)
        if len(calls) <= 2:
            raise RejectedError("margin")
        return real(*args)

    monkeypatch.setattr(units, "make_pair", refuse_twice)
    settings = units.Settings("single", 2, 64, 0, 2)
    report = units.build_unit(renderer, tmp_path, 0, settings, shard_schema())
    assert report.rejected["margin"] >= 2 and set(report.rejected) <= set(REASONS)
    assert rejections(tmp_path) == report.rejected
    assert json.loads((tmp_path / "unit-00000.json").read_text())["pairs"] == 2


def test_a_failing_unit_is_named(renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args):
        raise RejectedError("hidden")

    monkeypatch.setattr(units, "make_pair", fail)
    monkeypatch.setattr(units, "SCENE_ATTEMPTS", 2)
    with pytest.raises(units.UnitError, match=r"Work unit 3 of .* gave no acceptable pairs in 2 rooms"):
        units.build_unit(renderer, tmp_path, 3, units.Settings("single", 40, 64, 0, 10), shard_schema())
    assert not any(tmp_path.iterdir())


def test_combinations_are_balanced() -> None:
    counts = Counter(combination(index) for index in range(3000))
    assert set(counts) == {(action, name) for action in ACTIONS for name in objects_of(action)}
    assert min(counts.values()) >= 25
    by_action = Counter()
    for (action, _), count in counts.items():
        by_action[action] += count
    assert set(by_action.values()) == {300}


def test_units_share_out_all_pairs_once() -> None:
    tasks = [task for unit in range(7) for task in unit_tasks(4, unit, num_pairs=130, pairs_per_unit=20)]
    assert len({task.number for task in tasks}) == len(tasks)
    got = Counter(pair for task in tasks for pair in task.combinations)
    assert got == Counter(combination(index, offset=4) for index in range(130))
