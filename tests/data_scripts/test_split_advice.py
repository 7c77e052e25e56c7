"""What a command says of a small set: counts of what there is, and flags of its own that work on these pairs."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from data_scripts import splits
from data_scripts.builds import build_commands
from data_scripts.split_advice import SMALL
from modeling_cde.data.building.build import write_shard
from modeling_cde.data.building.card import DatasetCard
from modeling_cde.data.schema import pair_features
from modeling_cde.data.splits import SplitManifest
from tests.data.tiny_pairs import picture

SWITCHED, MOVED = ["open", "close", "turnon", "turnoff"], ["push", "pull", "lift", "cut"]
PICTURE = {"bytes": picture(0), "path": None}


def write_pairs(folder: Path, objects: int, actions: list[str] = SWITCHED, pairs: int = 150, groups: int = 0) -> Path:
    """Every action on every object in turn, in groups by turns, or each pair in its own."""
    names = [f"object{number}" for number in range(objects)]
    rows = []
    for number in range(pairs):
        row = {"before": PICTURE, "after": PICTURE, "box": None, "mask_before": None, "mask_after": None}
        row |= {"action": number % len(actions), "object": number // len(actions) % objects}
        rows.append(row | {"pair_id": f"p{number:04d}", "scene": f"g{number % groups if groups else number}"})
    write_shard(folder / "shards" / "multi" / "unit.parquet", rows, pair_features(actions, names))
    return folder


def split(folder: Path, *flags: str) -> None:
    splits.main(["--data", str(folder), "--view", "multi", *flags])


def refused(folder: Path, *flags: str) -> str:
    with pytest.raises(SystemExit) as ended:
        split(folder, *flags)
    message = str(ended.value.code)
    assert "\n" not in message and message.endswith(".")
    return message


def named(message: str) -> dict[str, int]:
    """The flags that a message names, with the pairs that train is said to have."""
    return {flags: int(number) for flags, number in re.findall(r"(--[a-z_0-9 -]+?) \((\d+)", message)}


def check(folder: Path, found: dict[str, int], *given: str) -> None:
    """Each flag does what was said of it."""
    assert found
    for flags, train in found.items():
        split(folder, *given, *flags.split())
        made = max((folder / "manifests").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        assert len(SplitManifest.load(made).parts["train"]) == train, flags


def check_all(folder: Path, message: str, pairs: int) -> None:
    """The command that puts all pairs into train does so."""
    (command,) = re.findall(r"train on all: `python -m data_scripts.splits (.*?)`", message)
    splits.main(command.split())
    assert len(SplitManifest.load(folder / "manifests" / "multi_none.json").parts["train"]) == pairs


CASES = {
    "three objects": (dict(objects=3), (), "of 3 objects at least two", {"--shift comp", "--shift none"}),
    "two objects": (dict(objects=2), (), "of 2 objects at least", {"--shift none"}),
    "one object": (dict(objects=1), (), "of 1 object at least", {"--shift none"}),
    "no opposites": (
        dict(objects=15, actions=MOVED), (),
        "of 60 (action, object) combinations, 44 of them not on objects held out for the shift syst, 0",
        {"--shift syst", "--shift none"},
    ),
    "no opposites, comp alone": (
        dict(objects=15, actions=MOVED), ("--shift", "comp"),
        "of 60 (action, object) combinations, 0 have", {"--shift syst", "--shift none"},
    ),
    "one group": (
        dict(objects=15, groups=1), ("--shift", "syst"), "150 pairs in 1 groups (by scene)", {"--group_by none"}
    ),
    "the published protocol": (
        dict(objects=1), ("--protocol", "causal_triplet", "--shift", "syst"), "only have object0",
        {"--protocol clean --shift none"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_impossible_is_counted_and_what_works_is_named(tmp_path, case):
    made, given, counted, works = CASES[case]
    folder = write_pairs(tmp_path, **made)
    message = refused(folder, *given)
    found = named(message)
    assert (
        counted in message
        and "of the 150 pairs in train" in message
        and set(found) - {"--min_train_objects 1"} == works
    )
    assert "(shift none)" not in message and "lower min_train_objects" not in message  # names of Python's options
    check(folder, found, *given)


def test_a_flag_that_would_not_work_is_not_named(tmp_path):
    folder = write_pairs(tmp_path, objects=1, pairs=2)
    message = refused(folder)
    assert "no other split of these 2 pairs works either: add pairs of more objects" in message
    assert not named(message)
    check_all(folder, message, 2)


def asked_of_a_build(folder: Path, *flags: str) -> argparse.Namespace:
    return builds().parse_args(["--output", str(folder), "--view", "multi", *flags])


def builds() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    build_commands.add_build_arguments(parser)
    return parser


def test_a_build_names_only_flags_that_it_has(tmp_path):
    """`data_scripts.splits` also names --min_train_objects, which a build does not have."""
    folder = write_pairs(tmp_path, objects=3)
    with pytest.raises(SystemExit) as ended, build_commands.plain_errors():
        build_commands.split(asked_of_a_build(folder), DatasetCard(), 150)
    message = str(ended.value.code)
    assert set(named(message)) == {"--shift comp", "--shift none"}
    known = {flag for action in builds()._actions for flag in action.option_strings}
    assert set(re.findall(r"--[a-z_]+", message)) <= known
    assert "--min_train_objects 1" in named(refused(folder, "--shift", "syst"))


def test_where_pairs_are_rendered_the_advice_is_to_render_more(tmp_path, capsys):
    few, many = write_pairs(tmp_path / "few", objects=3), write_pairs(tmp_path / "many", objects=15)
    asked = argparse.Namespace(**vars(asked_of_a_build(few)) | {"rendered": True})
    with pytest.raises(ValueError, match="two must be held out .*; render more than these 150 pairs[.]$"):
        build_commands.split(asked, DatasetCard(), 150)
    for rendered in (True, False):
        asked = argparse.Namespace(**vars(asked_of_a_build(many)) | {"rendered": rendered, "seed": int(rendered)})
        build_commands.split(asked, DatasetCard(), 150)
        assert ("of the 150 pairs. The same command" in capsys.readouterr().out) is not rendered


def test_a_small_set_says_how_to_train_on_more_of_it(tmp_path, capsys):
    folder = write_pairs(tmp_path, objects=15)
    split(folder)
    said = capsys.readouterr().out
    train = len(SplitManifest.load(folder / "manifests" / "multi_comp.json").parts["train"])
    assert f"train has {train} of the 150 pairs. The same command, which builds no pair again" in said and train < 75
    found = named(said)
    assert {"--shift comp", "--shift syst", "--shift none"} <= set(found) and min(found.values()) > train
    check(folder, found)
    check_all(folder, said, 150)


def test_other_sets_get_no_such_hint(tmp_path, capsys):
    folder = write_pairs(tmp_path / "most", objects=15)
    split(folder, "--shift", "none")  # 112 of 150 pairs
    split(write_pairs(tmp_path / "large", objects=15, pairs=SMALL + 1))
    assert "builds no pair again" not in capsys.readouterr().out
