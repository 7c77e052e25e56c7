"""Shards in, a data set out that load_dataset reads; equal bytes for equal shards; old caches are not served."""

from __future__ import annotations

import hashlib
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from huggingface_hub import DatasetCard as HubCard

from modeling_cde.data.building import build
from modeling_cde.data.building.build import assemble, check_files, write_shard
from modeling_cde.data.building.card import DatasetCard
from modeling_cde.data.building.shards import ROW_GROUP_ROWS
from modeling_cde.data.loading import load_pairs
from modeling_cde.data.schema import COLUMNS, SPLITS, config_name, pair_features, parse_config
from modeling_cde.data.splits import CausalTripletOptions, CleanOptions, SplitManifest, causal_triplet_split
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


def folders(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name != "shards"} - {"README.md"}


def test_shifts_that_were_split_alone_stand_beside_each_other_and_a_joint_split_replaces_both(tmp_path):
    write_shards(tmp_path)
    for shift in ("syst", "comp"):
        assemble(tmp_path, "single", shift=shift, progress=False)
    assert folders(tmp_path) == {"single_syst", "single_comp", "manifests"}
    assert sorted(datasets.get_dataset_config_names(str(tmp_path))) == ["single_comp", "single_syst"]
    before = contents(tmp_path / "single_comp")
    assemble(tmp_path, "single", protocol="causal_triplet", shift="syst", seed=1, progress=False)
    assert contents(tmp_path / "single_comp") == before
    assert "| causal_triplet" in (tmp_path / "README.md").read_text().replace("\\", "")
    assemble(tmp_path, "single", progress=False)
    assert folders(tmp_path) == {"single", "manifests"}
    assert sorted(datasets.get_dataset_config_names(str(tmp_path))) == ["single_comp", "single_syst"]
    assemble(tmp_path, "single", shift="comp", progress=False)  # one half of a joint split is none
    assert folders(tmp_path) == {"single_comp", "manifests"}
    assert datasets.get_dataset_config_names(str(tmp_path)) == ["single_comp"]


def test_a_split_that_holds_nothing_out_stands_beside_the_others(tmp_path):
    write_shards(tmp_path)
    assemble(tmp_path, "single", progress=False)
    before = contents(tmp_path / "single")
    manifest = assemble(tmp_path, "single", shift="none", progress=False)["none"]
    assert folders(tmp_path) == {"single", "single_none", "manifests"} and contents(tmp_path / "single") == before
    check_files(tmp_path, "single_none", manifest)
    loaded = load_pairs(tmp_path, "single_none", cache_dir=tmp_path / "cache")
    assert list(loaded) == ["train", "validation", "test"]
    assert all(sorted(part["pair_id"]) == manifest.parts[name] for name, part in loaded.items())
    with pytest.raises(ValueError, match="has no split 'test_ood'; it has train, validation, test"):
        load_pairs(tmp_path, "single_none", "test_ood", cache_dir=tmp_path / "cache")

    every = CleanOptions(validation=0, test=0, cap=None)
    manifest = assemble(tmp_path, "single", shift="none", options=every, progress=False)["none"]
    check_files(tmp_path, "single_none", manifest)
    files = {path.name for path in (tmp_path / "single_none").iterdir()}
    assert files == {"train-00000-of-00001.parquet", "SHA256SUMS"} and len(manifest.parts["train"]) == 360
    card = (tmp_path / "README.md").read_text()
    assert "| `single_none` | clean | 0 | 360 | – | – | – | – |" in card and "- `none`: nothing is held out" in card
    names = {config["config_name"]: config["data_files"] for config in HubCard(card).data["configs"]}
    assert [file["split"] for file in names["single_none"]] == ["train"]
    assert len(names["single_comp"]) == len(names["single_syst"]) == 5

    none = contents(tmp_path / "single_none")
    for shift in ("syst", "joint"):  # which replace each other
        assemble(tmp_path, "single", shift=shift, seed=1, progress=False)
        assert contents(tmp_path / "single_none") == none and (tmp_path / "manifests" / "single_none.json").exists()
    with pytest.raises(ValueError, match="causal_triplet protocol has no shift 'none'; choose comp or syst"):
        assemble(tmp_path, "single", protocol="causal_triplet", shift="none", progress=False)


@pytest.mark.parametrize("shift", ["comp", "syst"])
def test_the_published_protocol_has_overlapping_parts_and_no_validation(tmp_path, shift):
    write_shards(tmp_path, units=3, pairs=90)
    shards = tmp_path / "shards" / "single"
    (shards / "unit-00000.parquet").rename(shards / "unit-zzzzz.parquet")
    options = CausalTripletOptions(train_size=40)
    made = assemble(tmp_path, "single", 7, protocol="causal_triplet", shift=shift, options=options, progress=False)
    manifest = made[shift]
    in_order = [*rows(90, 90), *rows(90, 180), *rows(90)]  # shards by name, rows in each
    table = {key: [row[key] for row in in_order] for key in ("pair_id", "scene")}
    table |= {key: [names[row[key]] for row in in_order] for key, names in (("action", ACTIONS), ("object", OBJECTS))}
    assert manifest == causal_triplet_split(table, shift, 7, options)
    assert manifest.overlap and SplitManifest.load(tmp_path / "manifests" / f"single_{shift}.json") == manifest
    loaded = load_pairs(tmp_path, f"single_{shift}", cache_dir=tmp_path / "cache")
    assert list(loaded) == ["train", "test", "validation_ood", "test_ood"]
    assert len(loaded["train"]) == 40
    place = {pair_id: number for number, pair_id in enumerate(table["pair_id"])}
    for name, part in loaded.items():
        assert part["pair_id"][:] == sorted(manifest.parts[name], key=place.__getitem__)
    with pytest.raises(ValueError, match="has no split 'validation'"):
        load_pairs(tmp_path, f"single_{shift}", "validation", cache_dir=tmp_path / "cache")
    check_files(tmp_path, f"single_{shift}", manifest)


def test_units_without_pairs_are_read_over(tmp_path):
    write_shards(tmp_path, units=3)
    wanted = assemble(tmp_path, "single", progress=False)
    before = contents(tmp_path)
    for name in ("aaa", "unit-00001-empty", "zzz"):
        write_shard(tmp_path / "shards" / "single" / f"{name}.parquet", [], pair_features(ACTIONS, OBJECTS))
    assert assemble(tmp_path, "single", progress=False) == wanted
    assert contents(tmp_path) == before
    for path in (tmp_path / "shards" / "single").glob("unit-0000?.parquet"):
        path.unlink()
    with pytest.raises(ValueError, match="have no rows"):
        assemble(tmp_path, "single", progress=False)
    assert contents(tmp_path) == before


def test_the_card_stays_where_no_other_is_given(tmp_path):
    write_shards(tmp_path)
    card = DatasetCard("Kitchens", "Of <our> own.", license="cc-by-nc-4.0", provenance=("here",))
    assemble(tmp_path, "single", card=card, progress=False)
    before = contents(tmp_path)
    assemble(tmp_path, "single", progress=False)
    assert contents(tmp_path) == before and "cc-by-nc-4.0" in (tmp_path / "README.md").read_text()
    assemble(tmp_path, "single", card=DatasetCard("Others"), progress=False)
    assert "# Others" in (tmp_path / "README.md").read_text()
    (tmp_path / "shards" / "card.json").write_text('{"titel": "x"}')
    with pytest.raises(ValueError, match="card.json is not a stored card"):
        assemble(tmp_path, "single", progress=False)


def test_what_is_not_ours_is_not_removed(tmp_path):
    write_shards(tmp_path)
    (tmp_path / "single" / "proc_00001").mkdir(parents=True)
    with pytest.raises(ValueError, match="single contains something other than splits of pairs"):
        assemble(tmp_path, "single", progress=False)
    assemble(tmp_path, "single", shift="syst", progress=False)
    assert (tmp_path / "single" / "proc_00001").is_dir() and (tmp_path / "single_syst").is_dir()
    (tmp_path / "manifests" / "notes.json").write_text("{}")
    with pytest.raises(ValueError, match="notes.json is not the manifest"):
        assemble(tmp_path, "single", shift="syst", progress=False)


def test_files_that_do_not_fit_their_manifest_are_named(tmp_path):
    write_shards(tmp_path)
    manifest = assemble(tmp_path, "single", shift="syst", progress=False)["syst"]
    check_files(tmp_path, "single_syst", manifest)
    file = tmp_path / "single_syst" / "test-00000-of-00001.parquet"
    content = file.read_bytes()
    for rows_of, sentence in (
        (lambda table: table.slice(1), "test in .*single_syst lack the pair pair"),
        (lambda table: pa.concat_tables([table, table.slice(0, 1)]), "test .* contain a pair twice"),
    ):
        parquet.write_table(rows_of(parquet.read_table(file)), file)
        with pytest.raises(ValueError, match=sentence):
            check_files(tmp_path, "single_syst", manifest)
        file.write_bytes(content)
    file.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="files of test in .* cannot be read"):
        check_files(tmp_path, "single_syst", manifest)
    moved = manifest.parts["test"].pop(0)
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"have, unlike the manifest, the pair {moved}"):
        check_files(tmp_path, "single_syst", manifest)


def test_a_changed_picture_is_found_in_the_files_and_in_the_shards(tmp_path):
    write_shards(tmp_path)
    manifest = assemble(tmp_path, "single", shift="syst", progress=False)["syst"]
    home, shard = tmp_path / "single_syst", tmp_path / "shards" / "single" / "unit-00002.parquet"
    damage(home / "train-00000-of-00001.parquet")
    with pytest.raises(ValueError, match="train-00000-of-00001.parquet was changed after it was written"):
        check_files(tmp_path, "single_syst", manifest)
    assemble(tmp_path, "single", shift="syst", progress=False)
    check_files(tmp_path, "single_syst", manifest)
    (home / "SHA256SUMS").unlink()
    with pytest.raises(ValueError, match="SHA256SUMS is missing"):
        check_files(tmp_path, "single_syst", manifest)
    assemble(tmp_path, "single", shift="syst", progress=False)
    before = contents(tmp_path)
    damage(shard)
    with pytest.raises(ValueError, match="unit-00002.parquet is not a readable shard .* delete it and run the source"):
        assemble(tmp_path, "single", seed=1, shift="syst", progress=False)
    assert before.items() <= contents(tmp_path).items()


def damage(path: Path) -> None:
    """Change some bytes of one picture; size, columns and ids stay as they are."""
    table = parquet.read_table(path)
    content = bytearray(path.read_bytes())
    place = content.index(table["before"][7].as_py()["bytes"][100:140])  # the first stands in statistics, too
    content[place : place + 8] = bytes(255 - byte for byte in content[place : place + 8])
    path.write_bytes(content)
    assert parquet.read_table(path, columns=["pair_id"]) == table.select(["pair_id"])
    assert parquet.read_table(path)["before"] != table["before"]


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
    few = CleanOptions(validation=1e-9, group_by=None)
    with pytest.raises(ValueError, match="leaves validation empty"):
        assemble(tmp_path, "single", options=few, progress=False)
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
    with pytest.raises(FileNotFoundError, match="contains no .*shards"):
        assemble(tmp_path, "single", progress=False)
    write_shards(tmp_path, units=2)
    with pytest.raises(ValueError, match="no view 'both'"):
        assemble(tmp_path, "both", progress=False)
    with pytest.raises(ValueError, match="no shift 'noun'"):
        assemble(tmp_path, "single", shift="noun", progress=False)
    with pytest.raises(ValueError, match="no protocol 'noun'; choose clean or causal_triplet"):
        assemble(tmp_path, "single", protocol="noun", progress=False)
    with pytest.raises(ValueError, match="has no joint split: .* choose the shift comp or syst"):
        assemble(tmp_path, "single", protocol="causal_triplet", progress=False)
    with pytest.raises(ValueError, match="options are CausalTripletOptions; the clean protocol takes CleanOptions"):
        assemble(tmp_path, "single", options=CausalTripletOptions(), progress=False)
    with pytest.raises(ValueError, match="rows_per_file is 0"):
        assemble(tmp_path, "single", rows_per_file=0, progress=False)
    shard = tmp_path / "shards" / "single" / "unit-00002.parquet"
    write_shard(shard, rows(5, 500), pair_features([*ACTIONS, "slice"], OBJECTS))
    with pytest.raises(ValueError, match="unit-00002.*other columns or class names"):
        assemble(tmp_path, "single", progress=False)
    write_shard(shard, rows(5, 10), pair_features(ACTIONS, OBJECTS))
    with pytest.raises(ValueError, match="'pair00010' occurs twice"):
        assemble(tmp_path, "single", progress=False)
    shard.write_bytes(b"no parquet")
    with pytest.raises(ValueError, match="unit-00002.parquet is not a readable shard"):
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
