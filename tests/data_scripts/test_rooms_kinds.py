"""The kinds of things: how many share a mechanism, and that the classic ones stay as they were, scene by scene."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.paper.data import render
from benchmarks.paper.recipe import KINDS, Rooms, load_recipe
from data_scripts.rooms.build import build_rooms, rooms_card
from data_scripts.rooms.objects import (
    ACTION_EFFECTS,
    ACTIONS,
    CHOICES,
    CLASSIC,
    MECHANISMS,
    OBJECT_TYPES,
    OBJECTS,
    objects_of,
)
from data_scripts.rooms.pairs import Noise
from data_scripts.rooms.scene import NoRoomError, furnish
from data_scripts.rooms.schedule import unit_tasks
from data_scripts.rooms.units import RoomsSource, Settings
from data_scripts.training_inputs import render_rooms
from modeling_cde.training.arguments import DataArguments

ROOT = Path(__file__).parents[2]


def test_there_are_enough_kinds_for_every_mechanism_and_action() -> None:
    assert len(OBJECTS) >= 56
    kinds = Counter(mechanism for kind in OBJECT_TYPES.values() for mechanism in set(kind.mechanisms.values()))
    assert set(kinds) == set(MECHANISMS)
    assert min(kinds.values()) >= 3, kinds
    for action in ACTIONS:
        assert len(objects_of(action)) >= 8, action


def test_an_action_and_its_opposite_are_done_in_one_way_which_belongs_to_one_change() -> None:
    changes: dict[str, set[str]] = {}
    for kind in OBJECT_TYPES.values():
        for action in kind.actions:
            changes.setdefault(kind.mechanism(action), set()).add(ACTION_EFFECTS[action][0])
    assert all(len(found) == 1 for found in changes.values())


def test_the_choices_of_kinds() -> None:
    assert len(CLASSIC) == len(set(CLASSIC)) == 34
    assert sorted(CHOICES["all"]) == sorted(OBJECTS) and CHOICES["all"][:34] == CLASSIC == CHOICES["classic"]
    assert RoomsSource(Settings("single", 4, 64, 0, 4, kinds="classic")).objects == sorted(CLASSIC)
    assert RoomsSource(Settings("single", 4, 64, 0, 4)).objects == sorted(OBJECTS)


def test_classic_rooms_are_those_of_before_there_was_a_choice() -> None:
    """The hash of schedules and rooms, from the code of that time; their pictures follow from them."""
    told = hashlib.sha256()
    for seed, unit in ((0, 0), (5, 3)):
        for task in unit_tasks(seed, unit, 600, 60, "classic"):
            told.update(repr(task).encode())
            for attempt in range(2):
                rng = np.random.default_rng([seed, 0, task.number, attempt])
                targets = [(name, ACTION_EFFECTS[action][0]) for action, name in task.combinations]
                try:
                    scene = furnish(rng, targets, "classic")
                except NoRoomError:
                    told.update(b"no room")
                    continue
                for item, (_, change) in zip(scene.items, targets, strict=False):
                    for part in (item.resting, item.part({change: 0.8})):
                        for s in part.shapes:
                            numbers = np.concatenate([s.position, s.matrix.ravel(), s.color])
                            told.update(f"{s.mesh} {s.material} {rounded(numbers)}".encode())
                for item in scene.items:
                    told.update(f"{item.kind.name}{rounded(item.position)}".encode())
    assert told.hexdigest() == "e37c2f0e7d9259d2c5bbc3fba1c0ab362907cebee68c4c96733b32868bf6df7f"


def rounded(numbers: np.ndarray) -> list[float]:
    """To a hundredth of a millimetre, which no processor's last digit changes."""
    return (np.round(numbers, 5) + 0.0).tolist()


def test_classic_rooms_hold_classic_things_only() -> None:
    names = set()
    for seed in range(40):
        try:
            names |= {item.kind.name for item in furnish(np.random.default_rng(seed), [], "classic").items}
        except NoRoomError:
            continue
    assert len(names) > 25 and names <= set(CLASSIC)


def test_a_folder_of_other_kinds_is_not_used_again(tmp_path) -> None:
    folder = tmp_path / "shards" / "single"
    folder.mkdir(parents=True)
    old = Settings("single", 20, 64, 0, 60, kinds="classic")
    (folder / "settings.json").write_text(json.dumps(RoomsSource(old).settings()))
    with pytest.raises(ValueError, match=r"built with other settings \(kinds classic there, all asked for\)"):
        build_rooms(tmp_path, num_pairs=20, image_size=64)
    before = {key: value for key, value in RoomsSource(old).settings().items() if key != "kinds"}
    (folder / "settings.json").write_text(json.dumps(before))
    with pytest.raises(ValueError, match="kinds None there, all asked for"):  # of a version without the choice
        build_rooms(tmp_path, num_pairs=20, image_size=64)
    with pytest.raises(ValueError, match="The kinds are 'old'; choose all or classic"):
        build_rooms(tmp_path / "other", kinds="old")


def test_a_training_and_a_benchmark_ask_for_the_kinds_that_they_name(tmp_path, monkeypatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("data_scripts.rooms.build.build_rooms", lambda *_, kinds, **__: asked.append(kinds))
    for kinds in CHOICES:
        render_rooms(DataArguments(rooms_kinds=kinds))
        render(Rooms(kinds=kinds), "single")
    assert asked == ["all", "all", "classic", "classic"] and tuple(CHOICES) == KINDS
    assert (DataArguments().rooms_kinds, Rooms().kinds) == ("all", "all")
    with pytest.raises(ValueError, match="rooms_kinds='old' is not known; choose one of: all, classic"):
        DataArguments(rooms_kinds="old")
    monkeypatch.chdir(ROOT)
    assert load_recipe(Path("configs/benchmark_rooms.yaml")).data.rooms == Rooms("data/rooms_classic", kinds="classic")


def test_the_guide_lists_every_mechanism_with_its_kinds() -> None:
    guide = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    assert f"{len(OBJECTS)} kinds of things" in guide
    for mechanism, how in MECHANISMS.items():
        kinds = [name for name in CHOICES["all"] if mechanism in OBJECT_TYPES[name].mechanisms.values()]
        told = ", ".join(name if name in CLASSIC else f"*{name}*" for name in kinds)
        assert f"| {mechanism} | {how} | {told} |" in guide


def test_the_card_tells_the_command_with_the_kinds() -> None:
    assert rooms_card(Settings("single", 20, 64, 0, 60, Noise(), "classic")).command.endswith("--kinds classic")
    assert "--kinds" not in rooms_card(Settings("single", 20, 64, 0, 60)).command
