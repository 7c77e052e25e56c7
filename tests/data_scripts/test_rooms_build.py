"""Whole builds: equal bytes whatever the workers, resumed where they stopped, balanced, readable in both layouts."""

import csv
import io
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Features
from PIL import Image

import modeling_cde.data.building.build
from data_scripts.rooms import units
from data_scripts.rooms.build import build_rooms
from data_scripts.rooms.objects import ACTIONS, OBJECT_TYPES, OBJECTS, objects_of
from data_scripts.rooms.pairs import REASONS, Noise, RejectedError, bounding_box
from data_scripts.rooms.schedule import combination, unit_tasks
from modeling_cde.data.building.shards import encode_shard
from modeling_cde.data.schema import pair_features

ROOT = Path(__file__).parents[2]
SMALL = {"num_pairs": 20, "image_size": 64, "pairs_per_unit": 8}


@pytest.fixture(autouse=True)
def no_splits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Twenty pairs are too few for splits; note what the builder is asked for instead."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        modeling_cde.data.building.build, "assemble", lambda *args, **options: calls.append((*args, options)) or {}
    )
    return calls


@pytest.fixture(scope="module")
def built(opengl: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling_cde.data.building.build, "assemble", lambda *args, **options: {})
        return build_rooms(tmp_path_factory.mktemp("rooms"), workers=2, **SMALL)


def files(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if path.name != ".lock"}


def test_bytes_do_not_depend_on_the_process(built: Path, renderer: object) -> None:
    # Rendered here, in one go and unit after unit in reverse: what two workers made of them, byte for byte.
    source = units.RoomsSource(units.Settings("single", 20, 64, 0, 8))
    for unit in reversed(source.units()):
        rows = source.build(unit).rows
        shard = built / "shards" / "single" / f"{unit}.parquet"
        assert encode_shard(rows, source.features.arrow_schema) == shard.read_bytes()
    source.close()


def test_another_seed_gives_other_rooms(renderer: object) -> None:
    pictures = []
    for seed in (0, 1):
        source = units.RoomsSource(units.Settings("single", 1, 64, seed, 1))
        pictures.append(source.build("unit-00000").rows[0]["before"]["bytes"])
        source.close()
    assert pictures[0] != pictures[1]


def test_a_build_goes_on_where_it_stopped(built: Path, tmp_path: Path, no_splits: list[tuple[Any, ...]]) -> None:
    folder = tmp_path / "shards" / "single"
    shutil.copytree(built / "shards" / "single", folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    (folder / "unit-00001.json").unlink()
    (folder / "tmp-unit-00001.parquet.tmp").write_bytes(b"cut off")
    build_rooms(tmp_path, workers=1, **SMALL)
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert {name for name in after if after[name] != before[name]} == {"unit-00001.parquet"}
    assert files(tmp_path) == files(built)
    assert no_splits[0][:2] == (tmp_path, "single") and no_splits[0][2]["seed"] == 0


def test_a_finished_data_set_is_left_alone(
    built: Path, tmp_path: Path, no_splits: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(built / "shards", tmp_path / "shards")
    monkeypatch.setattr("data_scripts.rooms.build.check_opengl", None)  # nothing to do: not even OpenGL is needed
    build_rooms(tmp_path, **SMALL)
    assert len(no_splits) == 1  # rendered, but cut off before the splits were written
    (tmp_path / "manifests").mkdir()
    ids = [f"pair-{number}" for number in range(20)]
    manifest = {
        "protocol": "clean",
        "seed": 0,
        "options": {"group_by": "scene", "shifts": ["syst", "comp"]},
        "unused": {},
        "parts": {"train": ids},
    }
    for shift in ("comp", "syst"):
        (tmp_path / "manifests" / f"single_{shift}.json").write_text(json.dumps(manifest))
    (tmp_path / "single").mkdir()
    (tmp_path / "single" / "SHA256SUMS").write_text("")
    entries = (tmp_path / "shards" / "single").glob("unit-*.json")
    made_from = {entry.stem: json.loads(entry.read_text())["sha256"] for entry in entries}
    (tmp_path / "shards" / "single.json").write_text(json.dumps(made_from))
    build_rooms(tmp_path, **SMALL)
    assert len(no_splits) == 1
    with pytest.raises(ValueError, match="num_pairs 20 there, 24 asked for"):  # also where all is finished
        build_rooms(tmp_path, **SMALL | {"num_pairs": 24})


def test_a_finished_data_set_costs_no_imports(built: Path) -> None:
    code = (
        "import sys\n"
        "from data_scripts.builds.build_commands import default_options, unfinished\n"
        "from data_scripts.rooms.build import RoomsSource, Settings\n"
        f"options = default_options({str(built)!r})\n"
        "assert unfinished(RoomsSource(Settings('single', 20, 64, 0, 8)), options) == []\n"
        "print(sorted({'torch', 'datasets', 'transformers', 'ray', 'mujoco', 'pyarrow'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.strip() in ("[]", "['mujoco']"), result.stderr


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
        assert Features.from_arrow_schema(table.schema) == pair_features(ACTIONS, OBJECTS, mechanism=True)
    rows = [row for table in tables for row in table.to_pylist()]
    assert len(rows) == 20 and len({row["pair_id"] for row in rows}) == 20
    assert Counter(Counter(row["scene"] for row in rows).values()) == {4: 5}
    for row in rows:
        action, kind = ACTIONS[row["action"]], OBJECT_TYPES[OBJECTS[row["object"]]]
        assert kind.name in objects_of(action) and row["mechanism"] == kind.mechanism(action)
        assert row["pair_id"].startswith(f"rooms-single-{row['scene'].removeprefix('room-')}-")


def test_datasets_reads_a_shard(built: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    shard = str(built / "shards" / "single" / "unit-00000.parquet")
    rows = datasets.load_dataset("parquet", data_files=shard, split="train", cache_dir=str(tmp_path))
    assert rows.features["action"].names == list(ACTIONS)
    assert rows[0]["before"].size == (64, 64) and rows[0]["before"].mode == "RGB"
    masks = [np.asarray(rows[0][f"mask_{when}"]) > 0 for when in ("before", "after")]
    assert tuple(rows[0]["box"]) == bounding_box(masks[0] | masks[1])


def test_causal_triplet_layout(built: Path, tmp_path: Path, no_splits: list[tuple[Any, ...]]) -> None:
    # The same shards serve both layouts, so nothing is rendered here.
    shutil.copytree(built / "shards", tmp_path / "shards")
    build_rooms(tmp_path, layout="causal_triplet", workers=1, **SMALL)
    houses = sorted(tmp_path.glob("single/proc_*"))
    assert len(houses) == 5 and not no_splits
    annotated = [row for house in houses for row in csv.reader((house / "annotations.csv").open())]
    assert [row[4] == "none" for row in annotated] == [True, False] * 20
    assert {row[4] for row in annotated} <= {"none", *ACTIONS} and {row[3] for row in annotated} <= set(OBJECTS)
    for house in houses:
        for path in (house / "color").iterdir():
            mask = Image.open(house / "mask" / path.name)
            assert Image.open(path).size == mask.size == (64, 64)
            assert mask.mode == "L" and set(np.unique(mask)) == {0, 255}
    with pytest.raises(ValueError, match="has a layout other than datasets"):
        build_rooms(tmp_path, **SMALL)


def test_rejected_tries_are_counted(renderer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = units.make_pair, []

    def refuse_twice(*args: Any) -> Any:
        calls.append(args)
        if len(calls) <= 2:
            raise RejectedError("margin")
        return real(*args)

    monkeypatch.setattr(units, "make_pair", refuse_twice)
    built = units.RoomsSource(units.Settings("single", 2, 64, 0, 2)).build("unit-00000")
    assert len(built.rows) == 2
    assert built.rejected["margin"] >= 2 and set(built.rejected) <= set(REASONS)


def test_a_scene_that_cannot_be_had_is_named(renderer: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> Any:
        raise RejectedError("hidden")

    monkeypatch.setattr(units, "make_pair", fail)
    monkeypatch.setattr(units, "SCENE_ATTEMPTS", 2)
    with pytest.raises(units.UnitError, match=r"Scene 9 \(.*\) gave no acceptable pairs in 2 rooms"):
        units.RoomsSource(units.Settings("single", 40, 64, 0, 10)).build("unit-00003")


@pytest.mark.parametrize(("kinds", "least"), [("all", 10), ("classic", 25)])
def test_combinations_are_balanced(kinds: str, least: int) -> None:
    counts = Counter(combination(index, kinds=kinds) for index in range(3000))
    assert set(counts) == {(action, name) for action in ACTIONS for name in objects_of(action, kinds)}
    assert min(counts.values()) >= least
    for action in ACTIONS:
        shares = [count for (acted, _), count in counts.items() if acted == action]
        assert sum(shares) == 300 and max(shares) - min(shares) <= 1


def test_units_share_out_all_pairs_once() -> None:
    tasks = [task for unit in range(7) for task in unit_tasks(4, unit, num_pairs=130, pairs_per_unit=20)]
    assert len({task.number for task in tasks}) == len(tasks)
    got = Counter(pair for task in tasks for pair in task.combinations)
    assert got == Counter(combination(index, offset=4) for index in range(130))


STILL = SMALL | {"num_pairs": 10, "nothing_share": 0.4}


def test_a_share_of_pairs_shows_nothing_but_noise(opengl: None, tmp_path: Path) -> None:
    noise = Noise(light_percent=20)
    build_rooms(tmp_path, workers=1, noise=noise, **STILL)
    shards = sorted((tmp_path / "shards" / "single").glob("*.parquet"))
    rows = [row for shard in shards for row in pq.read_table(shard).to_pylist()]
    features = Features.from_arrow_schema(pq.read_schema(shards[0]))
    assert features["action"].names == [*ACTIONS, "nothing"]
    still = [row for row in rows if features["action"].names[row["action"]] == "nothing"]
    assert len(rows) == 10 and len(still) == 4
    for row in still:
        before, after = (np.array(Image.open(io.BytesIO(row[name]["bytes"]))) for name in ("before", "after"))
        masks = [row[name]["bytes"] for name in ("mask_before", "mask_after")]
        assert masks[0] == masks[1] and row["mechanism"] == "nothing"  # the object and the camera stay where they are
        assert (before != after).any()
    # Two workers, and an interruption, give the same bytes.
    again = tmp_path / "again"
    build_rooms(again, workers=2, noise=noise, **STILL)
    assert files(again / "shards") == files(tmp_path / "shards")
    (again / "shards" / "single" / "unit-00001.json").unlink()
    build_rooms(again, workers=1, noise=noise, **STILL)
    assert files(again / "shards") == files(tmp_path / "shards")


def test_the_share_leaves_the_other_pairs_balanced() -> None:
    tasks = [task for unit in range(5) for task in unit_tasks(4, unit, 100, 20, nothing_share=0.25)]
    planned = [pair for task in tasks for pair in zip(task.combinations, task.still, strict=True)]
    assert Counter(c for c, still in planned if not still) == Counter(combination(i, 4) for i in range(75))
    assert Counter(c for c, still in planned if still) == Counter(combination(i, 4) for i in range(25))
    assert [task.combinations for task in unit_tasks(4, 0, 100, 20)] == [
        task.combinations for task in unit_tasks(4, 0, 100, 20, nothing_share=0)
    ]
    assert all(all(task.still) for task in unit_tasks(4, 0, 100, 20, nothing_share=1))


def test_a_data_set_without_the_share_has_the_settings_and_classes_it_always_had() -> None:
    source = units.RoomsSource(units.Settings("single", 20, 64, 0, 8, Noise(camera_cm=1)))
    assert "nothing_share" not in source.settings() and source.actions == list(ACTIONS)


@pytest.mark.parametrize(
    ("noise", "share", "message"),
    [(Noise(), 0.5, "give noise beside nothing_share"), (Noise(camera_cm=1), 1.5, "give a share from 0 to 1")],
)
def test_a_share_that_cannot_be_is_refused(noise: Noise, share: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        units.Settings("single", 20, 64, 0, 8, noise, nothing_share=share)
