"""What every source's command does after its units: report, refuse, split, leave alone, publish."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import modeling_cde.data.building.build
from data_scripts import splits
from data_scripts.builds.build_commands import (
    FailedUnitsError,
    add_build_arguments,
    build_steps,
    default_options,
    is_split,
    plain_errors,
    unfinished,
)
from data_scripts.builds.ledger import locked
from modeling_cde.data import load_pairs
from modeling_cde.data.building.card import DatasetCard
from tests.data_scripts.fake_source import FakeSource, calls

CARD = DatasetCard("Fake pairs", "Noise.")


@pytest.fixture
def source(tmp_path: Path) -> FakeSource:
    return FakeSource(tmp_path, count=3)


@pytest.fixture
def assembled(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `assemble` was asked for, in its place."""
    asked: list[dict[str, Any]] = []

    def assemble(folder: Path, view: str, **options: Any) -> dict[str, Any]:
        asked.append({"folder": folder, "view": view, **options})
        return {}

    monkeypatch.setattr(modeling_cde.data.building.build, "assemble", assemble)
    return asked


def options(tmp_path: Path, **changes: Any) -> argparse.Namespace:
    return default_options(tmp_path / "out", **({"workers": 1} | changes))  # each worker is an interpreter to start


def test_from_units_to_a_data_set_that_loads_and_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = FakeSource(tmp_path, count=40, rows=12, real_features=True)
    asked = options(tmp_path, seed=3, shift="syst", group_by="none")
    report = build_steps(source, asked, CARD)
    said = capsys.readouterr().out
    assert report.rows == 480 and "40 of 40 units" in said and "held out for test_ood" in said
    assert str(tmp_path / "out" / "shards" / "single") in said and str(tmp_path / "out" / "manifests") in said
    manifest = json.loads((tmp_path / "out" / "manifests" / "single_syst.json").read_text())
    assert manifest["seed"] == 3 and manifest["options"]["group_by"] is None
    assert len(load_pairs(tmp_path / "out", "single_syst", "train")) == len(manifest["parts"]["train"]) > 50
    assert "# Fake pairs" in (tmp_path / "out" / "README.md").read_text()

    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    build_steps(source, asked, CARD)
    assert "already has its splits" in capsys.readouterr().out and sum(calls(tmp_path).values()) == 40
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")} == written
    assert is_split(asked, 480) and not is_split(asked, 479)
    for change in ({"seed": 4}, {"group_by": "scene"}, {"shift": "comp"}, {"shift": "joint"}, {"view": "multi"}):
        assert not is_split(options(tmp_path, **{"seed": 3, "shift": "syst", "group_by": "none"} | change), 480)

    for lost in sorted((tmp_path / "out" / "single_syst").glob("test-*")):
        lost.unlink()  # the manifests alone are no data set
    assert not is_split(asked, 480)
    build_steps(source, asked, CARD)
    assert is_split(asked, 480) and {path for path in (tmp_path / "out").rglob("*.parquet")} == set(written)

    # A licence that is given later reaches the card, and no unit is built for it.
    build_steps(source, asked, DatasetCard("Fake pairs", "Noise.", license="mit"))
    assert "license: mit" in (tmp_path / "out" / "README.md").read_text() and sum(calls(tmp_path).values()) == 40

    published = options(tmp_path, seed=3, shift="syst", protocol="causal_triplet")
    build_steps(source, published, CARD)  # the original's parts may overlap: every pair is counted once
    assert is_split(published, 480) and not is_split(asked, 480)


def test_a_training_on_all_pairs_is_kept_by_the_next_build(tmp_path: Path) -> None:
    source = FakeSource(tmp_path, count=4, rows=12, real_features=True)
    asked = options(tmp_path, shift="none", group_by="none")
    build_steps(source, asked, CARD)
    assert is_split(asked, 48) and not is_split(options(tmp_path, group_by="none"), 48)
    assert [path.name for path in (tmp_path / "out" / "manifests").iterdir()] == ["single_none.json"]
    splits.main(f"--data {tmp_path / 'out'} --shift none --group_by none --validation 0 --test 0 --cap 0".split())
    assert is_split(asked, 48) and not is_split(options(tmp_path, shift="none"), 48)
    asked.share_evaluation_groups = True  # as the rooms are built, and without meaning here
    assert is_split(asked, 48)
    build_steps(source, asked, CARD)
    assert len(load_pairs(tmp_path / "out", "single_none", "train")) == 48


def test_the_flags_reach_the_split(tmp_path: Path, source: FakeSource, assembled: list[dict[str, Any]]) -> None:
    parser = argparse.ArgumentParser()
    add_build_arguments(parser)
    flags = f"--output {tmp_path / 'out'} --view multi --seed 5 --shift comp --workers 1 --group_by none"
    build_steps(source, parser.parse_args(flags.split()), CARD)
    [asked] = assembled
    assert asked.pop("options").group_by is None
    expected = {"folder": tmp_path / "out", "view": "multi", "seed": 5, "protocol": "clean", "shift": "comp"}
    assert asked == expected | {"card": CARD}
    assert (tmp_path / "out" / "shards" / "multi" / "unit-002.parquet").exists()
    assert vars(default_options("x")) == vars(parser.parse_args(["--output", "x"]))


def test_failures_stop_before_the_split_unless_allowed(
    tmp_path: Path, assembled: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    source = FakeSource(tmp_path, count=3, faults={"unit-001": "raise"})
    with pytest.raises(FailedUnitsError, match=r"1 of 3 units failed.*run the same command"):
        build_steps(source, options(tmp_path, retries=0), CARD)
    assert not assembled and "unit-001: KeyError: 'unit-001 is broken'" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="1 of 3 units failed"):
        with plain_errors():
            build_steps(source, options(tmp_path, retries=0), CARD)
    report = build_steps(source, options(tmp_path, retries=0, allow_failures=True), CARD)
    assert report.done == 2 and len(assembled) == 1


def test_no_split_writes_shards_only(tmp_path: Path, source: FakeSource, assembled: list[dict[str, Any]]) -> None:
    assert unfinished(source, options(tmp_path)) == source.units() and not (tmp_path / "out").exists()
    build_steps(source, options(tmp_path, no_split=True), CARD)
    assert not assembled and unfinished(source, options(tmp_path)) == []


@pytest.mark.parametrize(
    ("changes", "publishable", "message"),
    [
        ({"push": "org/name"}, "Frames of videos may not be shared.", "^Frames of videos may not be shared.$"),
        ({"push": "org/name", "no_split": True}, None, "--no_split makes none"),
        ({"push": "name"}, None, "--push is 'name'; give ORG/NAME"),
        ({"ray_address": "auto"}, None, "--ray_address needs --engine ray"),
        ({"protocol": "causal_triplet"}, None, "has no joint split: give --shift comp"),
        ({"protocol": "causal_triplet", "shift": "syst", "group_by": "none"}, None, "--group_by needs"),
        ({"protocol": "causal_triplet", "shift": "none"}, None, "always holds something out"),
        ({"protocol": "causal_triplet", "shift": "mech"}, None, "holds out no mechanisms: give --shift mech the prot"),
        ({"workers": 0}, None, "number of workers is 0"),
    ],
)
def test_what_cannot_end_well_is_refused_before_anything_is_built(
    tmp_path: Path, source: FakeSource, changes: dict[str, Any], publishable: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build_steps(source, options(tmp_path, **changes), CARD, publishable=publishable)
    assert not calls(tmp_path) and not (tmp_path / "out").exists()


def test_a_finished_build_is_pushed_with_its_card(
    tmp_path: Path,
    source: FakeSource,
    assembled: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import modeling_cde.data.building.publishing as publishing

    pushed: list[Any] = []
    monkeypatch.setattr(publishing, "push_to_hub", lambda *args, **how: pushed.append((*args, how)) or "https://hub/x")
    build_steps(source, options(tmp_path, push="org/name", private=True), CARD)
    assert pushed == [(tmp_path / "out", "org/name", {"private": True})]
    assert "https://hub/x" in capsys.readouterr().out


def test_two_commands_do_not_split_one_folder_at_once(tmp_path: Path, source: FakeSource) -> None:
    build_steps(source, options(tmp_path, no_split=True), CARD)
    with locked(tmp_path / "out" / ".lock"), pytest.raises(ValueError, match="Another process builds in"):
        build_steps(source, options(tmp_path), CARD)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("Say so."), "Say so."),
        (OSError("No."), "No."),
        (PermissionError(13, "Permission denied", "/there"), "/there: Permission denied."),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_of_users_end_with_a_sentence(error: BaseException, code: object) -> None:
    with pytest.raises(SystemExit) as caught, plain_errors():
        raise error
    assert caught.value.code == code
    with pytest.raises(KeyError), plain_errors():
        raise KeyError("ours")


def test_the_flags_need_nothing_slow() -> None:
    code = (
        "import data_scripts.builds.build_commands, sys; data_scripts.builds.build_commands.default_options('x'); "
        "print(sorted({'torch', 'datasets', 'pyarrow', 'ray', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
