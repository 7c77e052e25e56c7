"""The command that splits a built data set again, or checks it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from data_scripts import splits
from data_scripts.builds.work_units import BuildReport
from data_scripts.rooms.build import build_rooms
from data_scripts.rooms.schedule import unit_tasks
from modeling_cde.data.building import build
from modeling_cde.data.building.build import assemble
from modeling_cde.data.building.card import DatasetCard
from modeling_cde.data.splits import SplitManifest, joint_split
from tests.data.tiny_pairs import write_shards


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "pairs"
    write_shards(folder)
    assemble(folder, "single", card=DatasetCard("Ours"), progress=False)
    return folder


def run(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    splits.main(["--data", str(folder), *arguments])
    return capsys.readouterr().out


def refused(folder: Path, *arguments: str) -> str:
    with pytest.raises(SystemExit) as raised:
        splits.main(["--data", str(folder), *arguments])
    return str(raised.value.code)


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_data_set_is_split_again_from_its_shards_and_keeps_its_card(built, capsys):
    text = run(capsys, built, "--seed", "3", "--group_by", "none", "--validation", "0.2", "--cap", "0")
    manifest = SplitManifest.load(built / "manifests" / "single_comp.json")
    assert manifest.seed == 3 and manifest.options["validation"] == 0.2
    assert manifest.options["group_by"] is None and manifest.options["cap"] is None
    assert "clean split, shift comp, seed 3" in text and "clean split, shift syst, seed 3" in text
    assert "# Ours" in (built / "README.md").read_text()


def test_both_shifts_of_the_published_protocol_one_after_the_other(built, capsys):
    for shift in ("syst", "comp"):
        text = run(capsys, built, "--protocol", "causal_triplet", "--shift", shift, "--seed", "2022")
        assert f"causal_triplet split, shift {shift}, seed 2022" in text and "are also in validation_ood" in text
    assert sorted(path.name for path in (built / "manifests").iterdir()) == ["single_comp.json", "single_syst.json"]


def test_a_check_changes_nothing_and_finds_what_does_not_fit(built, capsys):
    run(capsys, built)
    before = contents(built)
    text = run(capsys, built, "--check")
    assert "single_comp.json matches the shards" in text and "single_syst.json matches the shards" in text
    assert "single_comp" not in run(capsys, built, "--check", "--shift", "syst")
    assert contents(built) == before
    file = built / "single" / "test-00000-of-00001.parquet"
    content = file.read_bytes()
    parquet.write_table(parquet.read_table(file).slice(1), file)
    assert "files of test" in refused(built, "--check") and "lack the pair" in refused(built, "--check")
    file.write_bytes(content)
    write_shards(built, units=1, pairs=80)  # a shard that was built anew with fewer pairs
    assert "made from other annotations" in refused(built, "--check")
    write_shards(built)


def test_all_pairs_go_into_training_beside_the_shifts(built, capsys):
    run(capsys, built)
    text = run(capsys, built, "--shift", "none", "--validation", "0", "--test", "0", "--cap", "0")
    assert "clean split, shift none, seed 0, 360 pairs" in text and "unused" not in text and "ood" not in text
    assert len(SplitManifest.load(built / "manifests" / "single_none.json").parts["train"]) == 360
    text = run(capsys, built, "--check")
    assert all(f"single_{shift}.json matches the shards" in text for shift in ("comp", "syst", "none"))
    assert "single_none" not in run(capsys, built, "--check", "--shift", "joint")
    (built / "single_none" / "train-00000-of-00001.parquet").unlink()
    assert "files of train in" in refused(built, "--check", "--shift", "none")


REFUSED = {
    "joint": (("--protocol", "causal_triplet"), "has no joint split"),
    "other protocol's flag": (("--train_size", "10"), "--train_size belongs to the causal_triplet protocol"),
    "clean flag": (
        ("--protocol", "causal_triplet", "--shift", "syst", "--share_evaluation_groups"),
        "--share_evaluation_groups belongs to the clean protocol",
    ),
    "check and seed": (("--check", "--seed", "0"), "leave out --seed"),
    "no view": (("--view", "multi"), "multi does not exist: build the data set first"),
    "nothing to check": (("--view", "multi", "--check"), "has no manifest for multi_comp or _syst or _mech or _none"),
    "nothing to check of one": (("--view", "multi", "--check", "--shift", "none"), "has no manifest for multi_none:"),
    "nothing held out by the original": (("--protocol", "causal_triplet", "--shift", "none"), "has no shift 'none'"),
    "share of nothing": (("--shift", "none", "--ood", "0.2"), "--ood is about held-out pairs, which --shift none"),
    "nothing to share": (("--shift", "none", "--share_evaluation_groups"), "--share_evaluation_groups is about held"),
    "share": (("--test", "2"), "The share test is 2.0"),
}


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_one_sentence(built, arguments, sentence):
    assert sentence in refused(built, *arguments)


@pytest.mark.parametrize(
    ("kinds", "comp", "syst"),
    [
        ("classic", [1731, 252, 385, 233, 231], [1731, 252, 385, 652, 575]),
        ("all", [1603, 236, 345, 283, 304], [1603, 236, 345, 611, 629]),
    ],
)
def test_the_split_of_the_published_rooms_stays(kinds, comp, syst, tmp_path, monkeypatch):
    """README's numbers are of these parts: 5,000 pairs, seed 0, as `data_scripts.rooms` asks for them."""
    table: dict[str, list[str]] = {name: [] for name in ("pair_id", "action", "object", "scene")}
    for unit in range(-(-5000 // 60)):
        for task in unit_tasks(0, unit, 5000, 60, kinds):
            for target, (action, name) in enumerate(task.combinations):
                row = (f"rooms-single-{task.number:05d}-{target:02d}", action, name, f"room-{task.number:05d}")
                for column, value in zip(table.values(), row, strict=True):
                    column.append(value)
    asked: dict[str, Any] = {}
    monkeypatch.setattr("data_scripts.rooms.build.check_opengl", lambda: None)
    monkeypatch.setattr(
        "data_scripts.builds.build_commands.run_units", lambda *_, **__: BuildReport(units=84, rows=5000)
    )
    monkeypatch.setattr(build, "assemble", lambda *_, **keywords: asked.update(keywords) or {})
    build_rooms(tmp_path, num_pairs=5000, kinds=kinds)
    manifests = joint_split(table, asked["seed"], asked["options"])
    sizes = {shift: [len(ids) for ids in manifest.parts.values()] for shift, manifest in manifests.items()}
    assert asked["shift"] == "joint" and asked["protocol"] == "clean"
    assert sizes == {"comp": comp, "syst": syst}
    manifests["comp"].check(table)
