"""The data sets of a benchmark: what is missing is said, and each seed can have its own split of the same pairs."""

import json
import os
from pathlib import Path

import pytest

from benchmarks.paper.data import missing_data, split_again
from benchmarks.paper.recipe import load_recipe
from modeling_cde.data.building.build import assemble
from modeling_cde.data.loading import load_pairs
from modeling_cde.data.splits import CleanOptions
from tests.benchmarks.test_paper_recipe import write
from tests.data.tiny_pairs import write_shards
from tests.drawn_pairs import draw_data_set


def manifest(folder: Path, shift: str = "comp") -> dict[str, object]:
    content: dict[str, object] = json.loads((folder / "manifests" / f"single_{shift}.json").read_text())
    return content


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark") / "pairs"
    write_shards(folder, units=2, pairs=150)
    assemble(folder, "single", seed=0, options=CleanOptions(test=0.2, share_evaluation_groups=True), progress=False)
    return folder


def test_another_seed_gives_another_split_of_the_same_pairs_with_the_same_options(base):
    folder = base.parent / "pairs-split1"
    split_again(base, folder, "single", "both", 1)
    for shift in ("comp", "syst"):
        old, new = manifest(base, shift), manifest(folder, shift)
        assert (old["seed"], new["seed"]) == (0, 1)
        assert old["options"] == new["options"] and old["annotations_sha256"] == new["annotations_sha256"]
        assert old["parts"] != new["parts"]
    shard = "shards/single/unit-00000.parquet"
    assert os.path.samefile(base / shard, folder / shard)  # pictures are stored once
    assert sorted(load_pairs(folder, "single_comp", "train")["pair_id"][:]) == new["parts"]["train"]

    # As `data_scripts.splits` would have made it, and only once.
    written = (folder / "manifests" / "single_comp.json").stat().st_mtime_ns
    split_again(base, folder, "single", "both", 1)
    assert (folder / "manifests" / "single_comp.json").stat().st_mtime_ns == written


def test_a_base_that_was_built_anew_is_split_anew(tmp_path):
    base, folder = tmp_path / "pairs", tmp_path / "pairs-split1"
    write_shards(base, units=2, pairs=150)
    assemble(base, "single", seed=0, progress=False)
    split_again(base, folder, "single", "both", 1)
    before = manifest(folder)["annotations_sha256"]
    write_shards(base, units=2, pairs=150, offset=1000)
    assemble(base, "single", seed=0, progress=False)
    split_again(base, folder, "single", "both", 1)
    assert manifest(folder)["annotations_sha256"] == manifest(base)["annotations_sha256"] != before


def test_shifts_that_were_split_alone_stay_alone(tmp_path):
    base, folder = tmp_path / "pairs", tmp_path / "pairs-split5"
    write_shards(base, units=2, pairs=150)
    for shift in ("comp", "syst"):
        assemble(base, "single", seed=0, shift=shift, progress=False)
        split_again(base, folder, "single", shift, 5)
    assert [manifest(folder, shift)["options"]["shifts"] for shift in ("comp", "syst")] == [["comp"], ["syst"]]
    assert (folder / "single_comp").is_dir() and not (folder / "single").exists()


def test_mechanisms_are_split_as_the_base_is_which_need_not_hold_them_out(tmp_path):
    base = draw_data_set(tmp_path / "pairs", mechanisms=True)
    folder = tmp_path / "pairs-split5"
    split_again(base, folder, "single", "both", 5)
    split_again(base, folder, "single", "mech", 5)
    made = manifest(folder, "mech")
    assert (made["shift"], made["seed"]) == ("mech", 5)
    assert {**made["options"], "shifts": None} == {**manifest(base)["options"], "shifts": None}
    assert manifest(folder)["seed"] == 5 and (folder / "single").is_dir()  # beside the splits of both other shifts
    written = (folder / "manifests" / "single_mech.json").stat().st_mtime_ns
    split_again(base, folder, "single", "mech", 5)
    assert (folder / "manifests" / "single_mech.json").stat().st_mtime_ns == written
    (base / "shards" / "single.json").write_text('{"unit-00000": "another build"}')
    split_again(base, folder, "single", "mech", 5)
    assert (folder / "manifests" / "single_mech.json").stat().st_mtime_ns != written


def test_a_base_without_shards_or_manifest_is_named(tmp_path):
    with pytest.raises(ValueError, match="has no shards of view single or no manifest of shift comp"):
        split_again(tmp_path, tmp_path / "x", "single", "both", 1)


def test_only_folders_can_be_missing(tmp_path, base):
    data = {"folder": str(tmp_path / "none"), "build": "python -m data_scripts.procthor read"}
    recipe = load_recipe(write(tmp_path, data=data, shifts=["syst"]))
    assert missing_data(recipe) == (
        f"{tmp_path / 'none'} contains no pairs of view single split for shift syst: build it with "
        "`python -m data_scripts.procthor read`."
    )
    assert missing_data(load_recipe(write(tmp_path, data={"folder": str(base)}))) is None
    assert missing_data(load_recipe(write(tmp_path, data={"folder": str(base)}, view="multi"))) is not None
    assert missing_data(load_recipe(write(tmp_path, data={"repository": "org/name"}))) is None
    assert missing_data(load_recipe(write(tmp_path))) is None
