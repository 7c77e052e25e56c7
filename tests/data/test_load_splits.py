"""What one training run loads: shared parts, one shift, and a protocol without in-distribution validation."""

from __future__ import annotations

import warnings

import pytest

from modeling_cde.data.building.build import assemble
from modeling_cde.data.load_splits import load_shifts, pairs_used_twice, reported_splits
from modeling_cde.data.loading import UnknownConfigError
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
