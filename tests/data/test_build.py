"""Shards in, a data set out that load_dataset reads; equal bytes for equal shards; old caches are not served."""

from __future__ import annotations

import hashlib
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from modeling_cde.data import build
from modeling_cde.data.build import ROW_GROUP_ROWS, assemble, write_shard
from modeling_cde.data.loading import load_pairs
from modeling_cde.data.schema import COLUMNS, SPLITS, config_name, pair_features, parse_config
from modeling_cde.data.splits import CleanOptions, SplitManifest
from tests.data.tiny_pairs import ACTIONS, OBJECTS, rows, write_shards


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "pairs"
    write_shards(folder)
    assemble(folder, "single", seed=0, progress=False)
    return folder


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "shards" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("config", ["single_comp", "single_syst"])
def test_load_dataset_reads_the_folder_as_it_is(built, config, tmp_path):
    loaded = datasets.load_dataset(str(built), config, cache_dir=str(tmp_path))
    assert tuple(loaded) == SPLITS
    manifest = SplitManifest.load(built / "manifests" / f"{config}.json")
    original = {row["pair_id"]: row for row in rows(360)}
    for name, part in loaded.items():
        assert part.features == pair_features(ACTIONS, OBJECTS)
        assert sorted(part["pair_id"]) == manifest.parts[name]
        part = part.cast_column("before", datasets.Image(decode=False)).remove_columns(
            ["after", "mask_before", "mask_after"]
        )
        for row in part:
            assert all(row[key] == original[row["pair_id"]][key] for key in row)


def test_both_shifts_share_the_training_files(built):
    names = {path.name.split("-")[0] for path in (built / "single").glob("*.parquet")}
    assert names == {"train", "validation", "test", "validation_comp", "test_comp", "validation_syst", "test_syst"}
    comp, syst = (SplitManifest.load(built / "manifests" / f"single_{s}.json") for s in ("comp", "syst"))
    assert comp.parts["train"] == syst.parts["train"]


def test_equal_shards_give_equal_bytes(built, tmp_path):
    write_shards(tmp_path / "pairs")
    assemble(tmp_path / "pairs", "single", seed=0, progress=False)
    assert contents(tmp_path / "pairs") == contents(built)
    assemble(tmp_path / "pairs", "single", seed=0, progress=False)  # over itself
    assert contents(tmp_path / "pairs") == contents(built)


def test_checksums_are_right(built):
    for line in (built / "single" / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((built / "single" / name).read_bytes()).hexdigest() == digest


def test_the_other_view_stays(tmp_path):
    write_shards(tmp_path)
    write_shards(tmp_path, "multi", offset=1000)
    assemble(tmp_path, "single", seed=0, progress=False)
    before = contents(tmp_path / "single")
    assemble(tmp_path, "multi", seed=0, shift="syst", progress=False)
    assert contents(tmp_path / "single") == before
    names = datasets.get_dataset_config_names(str(tmp_path))
    assert sorted(names) == ["multi_syst", "single_comp", "single_syst"]
    assert len(load_pairs(tmp_path, "multi_syst", "test_ood", cache_dir=tmp_path / "cache")) > 0
    assemble(tmp_path, "multi", seed=0, shift="comp", progress=False)  # the former manifest goes
    assert sorted(datasets.get_dataset_config_names(str(tmp_path))) == ["multi_comp", "single_comp", "single_syst"]


def test_files_and_row_groups_have_a_fixed_number_of_rows(tmp_path):
    write_shards(tmp_path, units=3, pairs=230)
    manifests = assemble(tmp_path, "single", seed=0, rows_per_file=150, progress=False)
    total = len(manifests["syst"].parts["train"])
    files = sorted((tmp_path / "single").glob("train-*.parquet"))
    assert len(files) == -(-total // 150) and files[0].name == f"train-00000-of-{len(files):05d}.parquet"
    sizes = [parquet.read_metadata(path) for path in files]
    assert [size.num_rows for size in sizes] == [150] * (total // 150) + [total % 150] * (total % 150 > 0)
    assert [sizes[0].row_group(i).num_rows for i in range(2)] == [ROW_GROUP_ROWS, 50]


def test_a_folder_that_was_built_anew_is_not_served_from_an_old_cache(tmp_path):
    cache = tmp_path / "cache"
    for seed in (0, 1):
        write_shards(tmp_path / "pairs", offset=0)
        wanted = assemble(tmp_path / "pairs", "single", seed=seed, progress=False)["syst"].parts["train"]
        ours = load_pairs(tmp_path / "pairs", "single_syst", "train", cache_dir=cache)
        theirs = datasets.load_dataset(str(tmp_path / "pairs"), "single_syst", split="train", cache_dir=str(cache))
        assert sorted(ours["pair_id"]) == sorted(theirs["pair_id"]) == wanted
    # another folder of the same name
    write_shards(tmp_path / "other" / "pairs", offset=5000)
    assemble(tmp_path / "other" / "pairs", "single", seed=1, progress=False)
    other = load_pairs(tmp_path / "other" / "pairs", "single_syst", "train", cache_dir=cache)
    assert not set(other["pair_id"]) & set(ours["pair_id"])


def test_an_assembly_that_fails_leaves_the_data_set_as_it_was(tmp_path):
    write_shards(tmp_path)
    assemble(tmp_path, "single", seed=0, progress=False)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="leaves .* empty"):
        assemble(tmp_path, "single", options=CleanOptions(validation=1e-9), progress=False)
    assert contents(tmp_path) == before


def test_an_assembly_killed_at_the_end_has_no_manifests_and_is_run_again(tmp_path, monkeypatch):
    write_shards(tmp_path)
    assemble(tmp_path, "single", seed=1, progress=False)
    wanted = contents(tmp_path)
    assemble(tmp_path, "single", seed=0, progress=False)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(build, "render_readme", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assemble(tmp_path, "single", seed=1, progress=False)
    assert not list((tmp_path / "manifests").iterdir())
    assemble(tmp_path, "single", seed=1, progress=False)
    assert contents(tmp_path) == wanted


def test_errors_name_the_shard(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no .*shards"):
        assemble(tmp_path, "single", progress=False)
    write_shards(tmp_path, units=2)
    with pytest.raises(ValueError, match="no view 'both'"):
        assemble(tmp_path, "both", progress=False)
    with pytest.raises(ValueError, match="no shift 'noun'"):
        assemble(tmp_path, "single", shift="noun", progress=False)
    shard = tmp_path / "shards" / "single" / "unit-00002.parquet"
    write_shard(shard, rows(5, 500), pair_features([*ACTIONS, "slice"], OBJECTS))
    with pytest.raises(ValueError, match="unit-00002.*other columns or class names"):
        assemble(tmp_path, "single", progress=False)
    write_shard(shard, rows(5, 10), pair_features(ACTIONS, OBJECTS))
    with pytest.raises(ValueError, match="'pair00010' occurs twice"):
        assemble(tmp_path, "single", progress=False)
    shard.write_bytes(b"no parquet")
    with pytest.raises(ValueError, match="unit-00002.parquet is no readable shard"):
        assemble(tmp_path, "single", progress=False)
    parquet.write_table(pa.table({"before": [1]}), tmp_path / "shards" / "multi.parquet")
    (tmp_path / "shards" / "multi").mkdir()
    (tmp_path / "shards" / "multi.parquet").rename(tmp_path / "shards" / "multi" / "unit.parquet")
    with pytest.raises(ValueError, match="unit.parquet"):
        assemble(tmp_path, "multi", progress=False)


def test_schema_names():
    assert tuple(pair_features(ACTIONS, OBJECTS)) == COLUMNS
    assert parse_config(config_name("multi", "comp")) == ("multi", "comp")
    with pytest.raises(ValueError, match="names open twice"):
        pair_features(["open", "open"], OBJECTS)
    with pytest.raises(ValueError, match="list of objects is empty"):
        pair_features(ACTIONS, [])
    with pytest.raises(ValueError, match="no configuration 'single_noun'"):
        config_name("single", "noun")
    with pytest.raises(ValueError, match="no configuration 'triple_syst'"):
        parse_config("triple_syst")
