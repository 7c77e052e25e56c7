"""Manifests: saved and reloaded byte for byte, checked against the annotations, refused by one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_cde.data.splits import CleanOptions, SplitManifest, causal_triplet_split, clean_split, joint_split
from tests.data.splits.test_clean import make_table

TABLE = make_table(0)


def made(protocol: str, shift: str, seed: int = 0) -> SplitManifest:
    return clean_split(TABLE, shift, seed) if protocol == "clean" else causal_triplet_split(TABLE, shift, seed)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["clean", "causal_triplet"]), st.sampled_from(["comp", "syst"]), st.integers(0, 99))
def test_a_manifest_reloads_and_checks(tmp_path_factory, protocol, shift, seed):
    manifest = made(protocol, shift, seed)
    path = tmp_path_factory.mktemp("manifest") / "split.json"
    manifest.save(path)
    loaded = SplitManifest.load(path)
    assert loaded == manifest
    loaded.check(TABLE)
    loaded.save(path.with_name("again.json"))
    assert path.read_bytes() == path.with_name("again.json").read_bytes()
    changed = {**TABLE, "object": [*TABLE["object"][:-1], TABLE["object"][-1] + "x"]}
    with pytest.raises(ValueError, match="other annotations"):
        loaded.check(changed)


def test_a_manifest_of_before_there_was_overlap_is_read(tmp_path):
    values = vars(clean_split(TABLE, "syst", 0, CleanOptions(share_evaluation_groups=True)))
    values = {key: value for key, value in values.items() if key != "overlap"}
    values["options"].pop("share_evaluation_groups")
    for count in values["counts"].values():
        count.pop("groups_in_train")
    path = tmp_path / "split.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    manifest = SplitManifest.load(path)
    manifest.check(TABLE)
    assert "validation_ood" in manifest.report()


BROKEN = {
    "no list of fields": (["train"], "contains \\['train'\\] instead of named fields"),
    "protocol": ({"protocol": "verb"}, "its protocol is 'verb'"),
    "protocol of another type": ({"protocol": ["clean"]}, "its protocol is \\['clean'\\]"),
    "shift": ({"shift": "noun"}, "its shift is 'noun'"),
    "seed": ({"seed": "0"}, "its seed is '0', not a whole number"),
    "true seed": ({"seed": True}, "its seed is True"),
    "hash": ({"annotations_sha256": None}, "annotations_sha256 is None"),
    "options": ({"options": []}, "its options are \\[\\], not a table"),
    "parts": ({"parts": ["p1"]}, "its parts are \\['p1'\\], not a table"),
    "unknown part": ({"parts": {"dev": []}}, "its parts name 'dev', which is not a part"),
    "missing part": ({"parts": {"train": ["p1"]}}, "it lacks the part validation"),
    "ids": ({"parts": {"train": [1]}}, "its parts of 'train' are \\[1\\]"),
    "no ids": ({"parts": {"train": "p1"}}, "its parts of 'train' are 'p1'"),
    "held out": ({"held_out": {"test_ood": [["open"]]}}, "its held_out of 'test_ood' are"),
    "unused": ({"unused": {"over the cap": None}}, "its unused of 'over the cap' are None"),
    "counts": ({"counts": {"train": 3}}, "its counts of 'train' are 3"),
    "kind of counts": ({"counts": {"train": {"actions": ["open"]}}}, "its counts of 'train' are"),
    "overlap": ({"overlap": "p1"}, "its overlap is 'p1'"),
    "overlap of clean": ({"overlap": ["p1"]}, "only the causal_triplet protocol has"),
    "unknown field": ({"split": 1}, "differs in the fields split"),
}


@pytest.mark.parametrize(("changes", "sentence"), BROKEN.values(), ids=BROKEN)
def test_a_broken_manifest_is_named(tmp_path: Path, changes: Any, sentence: str):
    values = {**vars(made("clean", "syst")), **changes} if isinstance(changes, dict) else changes
    path = tmp_path / "split.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ValueError, match=sentence) as raised:
        SplitManifest.load(path)
    assert str(path) in str(raised.value)


def test_a_file_that_is_no_manifest_is_named(tmp_path: Path):
    path = tmp_path / "split.json"
    with pytest.raises(FileNotFoundError, match="no split manifest .*split.json"):
        SplitManifest.load(path)
    for content in (b"{", b"\xff\xfe\x00", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="it is not JSON"):
            SplitManifest.load(path)
    path.write_text(json.dumps({"protocol": "clean"}), encoding="utf-8")
    with pytest.raises(ValueError, match="differs in the fields annotations_sha256"):
        SplitManifest.load(path)


def test_a_manifest_edited_by_hand_is_named():
    for protocol in ("clean", "causal_triplet"):
        manifest = made(protocol, "syst")
        manifest.parts["test"].append(manifest.parts["train"][0])
        with pytest.raises(ValueError, match="in two parts"):
            manifest.check(TABLE)
        del manifest.parts["test"][-1], manifest.parts["train"][0]
        with pytest.raises(ValueError, match="disagrees about the pair"):
            manifest.check(TABLE)


@pytest.mark.parametrize("protocol", ["clean", "causal_triplet"])
@pytest.mark.parametrize("shift", ["comp", "syst"])
def test_pairs_moved_between_parts_are_found(protocol, shift):
    manifest = made(protocol, shift)
    moved = manifest.parts["test_ood"].pop()
    if moved in manifest.overlap:
        manifest.overlap.remove(moved)
        manifest.parts["validation_ood"].remove(moved)
    manifest.parts["train"].append(moved)
    with pytest.raises(ValueError, match=f"has {moved} in train, though .* is held out"):
        manifest.check(TABLE)
    manifest = made(protocol, shift)
    manifest.parts["test_ood"].append(moved := manifest.parts["train"].pop())
    with pytest.raises(ValueError, match=f"has {moved} in test_ood, though .* is not held out for it"):
        manifest.check(TABLE)


def test_only_the_overlap_that_is_listed_passes():
    manifest = causal_triplet_split(TABLE, "syst", 0)
    assert manifest.overlap
    manifest.overlap.pop()
    with pytest.raises(ValueError, match="in two parts"):
        manifest.check(TABLE)


def test_a_group_on_both_sides_is_found():
    """A house of train that comes into test: at most its other pairs know."""
    manifest = clean_split(TABLE, "syst", 0)
    scene = dict(zip(TABLE["pair_id"], TABLE["scene"], strict=True))
    houses = [scene[pair] for pair in manifest.parts["train"]]
    moved = next(p for p in manifest.parts["train"] if houses.count(scene[p]) > 1)
    manifest.parts["train"].remove(moved)
    manifest.parts["test"].append(moved)
    with pytest.raises(ValueError, match=f"has the scene {scene[moved]} in train and in test"):
        manifest.check(TABLE)


def test_groups_that_evaluation_parts_share_are_found_where_the_options_forbid_it():
    manifest = clean_split(TABLE, "syst", 0, CleanOptions(share_evaluation_groups=True, test=0.3))
    manifest.check(TABLE)
    manifest.options["share_evaluation_groups"] = False
    with pytest.raises(ValueError, match="has the scene .* in validation.* and in .*test"):
        manifest.check(TABLE)


def test_the_report_counts_every_action_and_object_by_part():
    manifest = causal_triplet_split(TABLE, "comp", 0)
    lines = manifest.report().split("\n")
    for kind in ("action", "object"):
        name_of = dict(zip(TABLE["pair_id"], TABLE[kind], strict=True))
        for name in {name_of[pair] for ids in manifest.parts.values() for pair in ids}:
            counts = [str(sum(name_of[pair] == name for pair in ids)) for ids in manifest.parts.values()]
            assert [name, *counts] in [line.split() for line in lines]
        assert lines[[line.split()[:1] for line in lines].index([f"{kind}s"]) - 1] == ""
    assert lines[-len(manifest.warnings()) - 1 :] == ["", *manifest.warnings()]
    shared = [f"{manifest.counts[part]['groups_in_train']} of {part}" for part in list(manifest.parts)[1:]]
    assert ", ".join(text for text in shared if not text.startswith("0 ")) in manifest.warnings()[-1]


def test_a_joint_split_has_the_seed_0_unless_told_otherwise():
    assert {manifest.seed for manifest in joint_split(TABLE).values()} == {0}


def test_miscounted_parts_are_found():
    manifest = clean_split(TABLE, "syst", 0)
    manifest.counts["test"]["groups"] += 1
    with pytest.raises(ValueError, match="miscounts test;"):
        manifest.check(TABLE)


def test_report_names_sizes_classes_and_what_is_held_out():
    manifests = joint_split(TABLE, 0)
    text = manifests["comp"].report()
    for part, ids in manifests["comp"].parts.items():
        assert any(line.startswith(part) and f" {len(ids)} " in line for line in text.splitlines())
    action, name = manifests["comp"].held_out["test_ood"][0]
    assert f"{action} {name}" in text and "held out for syst" in text
    assert not manifests["comp"].warnings()


def test_the_report_of_the_published_protocol_says_what_to_beware_of():
    manifest = causal_triplet_split(TABLE, "comp", 0)
    text = manifest.report()
    number, total = len(manifest.overlap), len(manifest.parts["test_ood"])
    assert f"{number} of the {total} pairs of test_ood are also in validation_ood" in text
    assert "the clean protocol separates them" in text
    assert "no in-distribution validation part" in text
    assert "Scenes that are also in train" in text
    assert text.count("held out for") == 1  # the same for both OOD parts: said once
