"""What one training run loads: shared parts, one shift, and a protocol without in-distribution validation."""

from __future__ import annotations

import warnings

import pytest

from modeling_cde.data.building.build import assemble
from modeling_cde.data.load_splits import load_shifts, load_tested, pairs_used_twice, reported_splits
from modeling_cde.data.loading import UnknownConfigError
from modeling_cde.data.splits import CleanOptions
from modeling_cde.data.swapped_pairs import held_out_combinations
from tests.data.tiny_pairs import write_shards


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shifts")
    write_shards(folder, "multi")  # its rows have no boxes in part, which the single view needs
    return folder


def test_both_shifts_of_a_joint_split_share_the_in_distribution_parts(folder):
    manifests = assemble(folder, "multi", progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        splits = load_shifts(str(folder), "multi")
    wanted = {"train", "validation", "test", "validation_comp", "test_comp", "validation_syst", "test_syst"}
    assert set(splits) == wanted and set(reported_splits(splits)) == wanted - {"train"}
    assert pairs_used_twice(splits) == {}
    for name, shift, part in (("train", "comp", "train"), ("test_syst", "syst", "test_ood")):
        assert sorted(splits[name]["pair_id"]) == manifests[shift].parts[part]


def test_a_protocol_without_validation_selects_on_its_own(folder):
    manifest = assemble(folder, "multi", protocol="causal_triplet", shift="syst", progress=False)["syst"]
    with pytest.warns(UserWarning, match="no in-distribution validation part .* selected on validation_syst") as caught:
        splits = load_shifts(str(folder), "multi", "syst")
    assert len(caught) == 1
    assert set(splits) == {"train", "validation", "test", "validation_syst", "test_syst"}
    assert sorted(splits["validation"]["pair_id"]) == sorted(manifest.parts["validation_ood"])
    reported = reported_splits(splits)  # not under a name that says in-distribution
    assert set(reported) == {"test", "validation_syst", "test_syst"}
    assert sorted(reported["test_syst"]["pair_id"]) == sorted(manifest.parts["test_ood"])
    assert pairs_used_twice(splits) == {"test_syst": len(manifest.overlap)} and manifest.overlap


def test_shifts_with_different_training_parts_are_not_mixed(folder):
    for shift in ("comp", "syst"):
        assemble(folder, "multi", protocol="causal_triplet", shift=shift, progress=False)
    with pytest.raises(ValueError, match="have different train parts, so one model cannot be tested on both"):
        load_shifts(str(folder), "multi")


def test_both_of_a_data_set_of_one_shift_is_told_the_flag(tmp_path):
    write_shards(tmp_path)
    assemble(tmp_path, "single", shift="syst", progress=False)
    with pytest.raises(UnknownConfigError, match="it has single_syst. If it has only one shift, .* by --shift"):
        load_shifts(str(tmp_path))
    with pytest.raises(UnknownConfigError, match="no configuration 'multi_syst'.*it has single_syst.$"):
        load_shifts(str(tmp_path), view="multi", shift="syst")


# What a finished model is tested on need not have the splits of a training.


def plain_folder(source, folder, **files):
    """A folder without a card: parts of a built data set under other names of files."""
    folder.mkdir()
    for name, part in files.items():
        (path,) = source.glob(f"*/{part}-00000-of-*.parquet")
        (folder / f"{name}-00000-of-00001.parquet").write_bytes(path.read_bytes())
    return str(folder)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    write_shards(folder, "multi")
    assemble(folder, "multi", progress=False, shift="syst")
    return folder


def test_a_training_data_set_is_tested_under_the_same_names(folder):
    assemble(folder, "multi", progress=False)
    expected, tested = load_shifts(str(folder), "multi"), load_tested(str(folder), "multi")
    assert [*expected] == [*tested]
    assert all(expected[name]["pair_id"][:] == tested[name]["pair_id"][:] for name in expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no model is selected here
        assemble(folder, "multi", protocol="causal_triplet", shift="syst", progress=False)
        assert set(load_tested(str(folder), "multi", "syst")) == {"train", "test", "validation_syst", "test_syst"}


def test_the_shifts_that_there_are_or_those_asked_for(built):
    assert set(load_tested(str(built), "multi")) == {"train", "validation", "test", "validation_syst", "test_syst"}
    assert set(load_tested(str(built), "multi", names=["test_syst"])) == {"train", "test_syst"}
    assert set(load_tested(str(built), "multi", names=["test", "test_syst"], with_train=False)) == {"test", "test_syst"}
    with pytest.raises(UnknownConfigError, match="no configuration 'multi_comp'; it has multi_syst"):
        load_tested(str(built), "multi", "both")
    with pytest.raises(ValueError, match="multi_syst has no split 'test_comp'; it has train, validation, test, valid"):
        load_tested(str(built), "multi", names=["test_comp"])
    with pytest.raises(UnknownConfigError, match="no configuration of the view single; it has multi_syst: choose one"):
        load_tested(str(built))


def test_a_folder_of_one_split_without_a_card(built, tmp_path):
    pairs = load_shifts(str(built), "multi", "syst")
    only = load_tested(plain_folder(built, tmp_path / "only", test="test_syst"), "multi")
    assert {name: rows["pair_id"][:] for name, rows in only.items()} == {"test": pairs["test_syst"]["pair_id"][:]}
    nameless = plain_folder(built, tmp_path / "nameless", pairs="test")  # datasets calls it train
    assert set(load_tested(nameless, "multi")) == set(load_tested(nameless, "multi", with_train=False)) == {"all"}
    train = plain_folder(built, tmp_path / "train", train="test")
    assert set(load_tested(train, "multi", names=["train"])) == {"train"}
    with pytest.raises(ValueError, match="has no box for the single view"):
        load_tested(train)


def test_a_data_set_with_names_of_its_own(built, tmp_path):
    folder = plain_folder(built, tmp_path / "own", kitchen="test_syst", bath="test", hall="train")
    head = "---\nconfigs:\n"
    kitchen = "- config_name: rooms\n  data_files:\n  - {split: kitchen, path: kitchen-*}\n"
    bath = "- config_name: wet\n  data_files:\n  - {split: test_ood, path: bath-*}\n  - {split: train, path: hall-*}\n"
    (tmp_path / "own" / "README.md").write_text(f"{head}{kitchen}---\n")
    assert set(load_tested(folder, "multi")) == {"kitchen"}
    (tmp_path / "own" / "README.md").write_text(f"{head}{kitchen}{bath}---\n")
    with pytest.raises(UnknownConfigError, match="it has rooms, wet: choose one by --config"):
        load_tested(folder, "multi")
    assert set(load_tested(folder, "multi", config="wet")) == {"test_ood", "train"}
    with pytest.raises(UnknownConfigError, match="no configuration 'dry'; it has rooms, wet"):
        load_tested(folder, "multi", config="dry")


# Splits that hold nothing out.


def test_without_a_shift_there_are_the_parts_that_the_data_set_has(tmp_path):
    write_shards(tmp_path, "multi")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for validation, test, parts in ((0.1, 0.15, {"validation", "test"}), (0, 0.2, {"test"}), (0, 0, set())):
            options = CleanOptions(validation=validation, test=test)
            manifest = assemble(tmp_path, "multi", shift="none", options=options, progress=False)["none"]
            splits = load_shifts(str(tmp_path), "multi", "none")
            assert set(splits) == parts | {"train"} and set(reported_splits(splits)) == parts
            assert sorted(splits["train"]["pair_id"]) == manifest.parts["train"]
            assert held_out_combinations(splits) == set()  # the swapped copies keep every combination
            streamed = load_shifts(str(tmp_path), "multi", "none", stream_buffer=10)
            assert set(streamed) == set(splits) and len(streamed["train"]) == len(splits["train"])
            assert set(load_tested(str(tmp_path), "multi")) == (parts | {"train"} if parts else {"all"})
            assert set(load_tested(str(tmp_path), "multi", "none", names=["train"])) == {"train"}


def test_the_shifts_are_tested_where_a_data_set_also_has_a_split_without(tmp_path):
    write_shards(tmp_path, "multi")
    for shift in ("none", "comp"):
        assemble(tmp_path, "multi", shift=shift, progress=False)
    assert set(load_tested(str(tmp_path), "multi")) == {"train", "validation", "test", "validation_comp", "test_comp"}
    assert set(load_tested(str(tmp_path), "multi", "none")) == {"train", "validation", "test"}
    with pytest.raises(UnknownConfigError, match="no configuration 'single_none'; it has multi_comp, multi_none"):
        load_shifts(str(tmp_path), shift="none")
