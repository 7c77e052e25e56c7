"""Sequences of rooms: what scripts do, that every action shows, disturbances by their amounts, equal bytes twice."""

import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_scripts.rooms.__main__ import main
from data_scripts.rooms.objects import ACTION_EFFECTS, OBJECT_TYPES
from data_scripts.rooms.pairs import RejectedError
from data_scripts.rooms.scene import NoRoomError, furnish
from data_scripts.rooms.scripts import GRADUAL, HARD_KINDS, Act, Script, draw_square, draw_walk, hidden, kind_pairs
from data_scripts.rooms.sequence_command import render_sequences
from data_scripts.rooms.sequence_units import SequenceSettings, draw_script
from data_scripts.rooms.sequences import Disturbance, FrameSequence, make_sequence
from data_scripts.sequence_sheet import main as draw_sheet
from modeling_cde.data import load_sequences

NONE: frozenset[str] = frozenset()


def states(script: Script, target: int = 0) -> list[frozenset[str]]:
    """What is changed of a target in each frame, all the way or not at all."""
    full = dict.fromkeys(OBJECT_TYPES[script.targets[target]].changes, 1.0)
    return [
        frozenset(name for name, value in script.state(target, t, full).items() if value == 1.0)
        for t in range(script.frames)
    ]


def render(renderer: Any, script: Script, change: str, disturbance: Disturbance | None = None) -> FrameSequence:
    """The first acceptable room of a script; the same room for every disturbance."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        try:
            scene = furnish(rng, [(name, change) for name in script.targets])
            make_sequence(renderer, scene, script, np.random.default_rng(seed))
            return make_sequence(renderer, scene, script, np.random.default_rng(seed), disturbance)
        except (RejectedError, NoRoomError):
            continue
    raise AssertionError("no acceptable room")


def test_a_property_changes_bit_by_bit_from_onset_to_end_and_back() -> None:
    script = Script(("Fridge",), (NONE,), (Act(0, "open", 1, 5), Act(0, "close", 6, 8)), 10)
    levels = [script.state(0, t, {"open": 0.8}).get("open", 0.0) for t in range(10)]
    assert levels == pytest.approx([0, 0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.4, 0, 0])


def test_a_laptop_whose_lid_is_moved_begins_closed_and_another_stands_open() -> None:
    moved = Script(("Laptop",), (NONE,), (Act(0, "open", 0, 1),), 2)
    switched = Script(("Laptop",), (NONE,), (Act(0, "turnon", 0, 1),), 2)
    assert moved.state(0, 0, {"open": 0.7, "on": 1.0}) == {"open": 0.0}
    assert "open" not in switched.state(0, 0, {"open": 0.7, "on": 1.0})


@pytest.mark.parametrize("name,a,b", kind_pairs("all"))
def test_a_square_shows_all_four_states_by_actions_that_can_be_done(name: str, a: str, b: str) -> None:
    for seed in range(20):
        script = draw_square(np.random.default_rng(seed), [name], (a, b))
        seen = states(script)
        assert {frozenset(s & {a, b}) for s in seen} == {NONE, frozenset({a}), frozenset({b}), frozenset({a, b})}
        check_acts(script)


def check_acts(script: Script) -> None:
    """Each action changes what it names, in the direction it names, and nothing else changes."""
    for k in range(len(script.targets)):
        seen = states(script, k)
        for t, (before, after) in enumerate(pairwise(seen)):
            acts = [act for act in script.acts if act.onset == t and act.target == k]
            assert len(acts) == len(before ^ after) <= 1
            for act in acts:
                change, ends_changed = ACTION_EFFECTS[act.action]
                assert before ^ after == {change} and (change in after) == ends_changed


def test_two_changes_that_cannot_be_undone_have_no_square() -> None:
    with pytest.raises(ValueError, match="Neither broken nor sliced"):
        draw_square(np.random.default_rng(0), ["Plate", "Apple"], ("broken", "sliced"))


@pytest.mark.parametrize("seed", range(40))
def test_a_walk_does_as_many_actions_as_asked_and_each_can_be_seen(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool = sorted(name for name, kind in OBJECT_TYPES.items() if len(kind.changes) > 1)
    targets = [str(name) for name in rng.choice(pool, 1 + seed % 2, replace=False)]
    script = draw_walk(rng, targets, 6, 2 * len(targets))
    assert len(script.acts) == 2 * len(targets)
    assert {act.target for act in script.acts} == set(range(len(targets)))
    check_acts(script)
    for act in script.acts:
        before = states(script, act.target)[act.onset]
        assert not hidden(script.targets[act.target], before, ACTION_EFFECTS[act.action][0])


@pytest.mark.parametrize("seed", range(30))
def test_gradual_actions_follow_each_other_and_take_their_time(seed: int) -> None:
    script = draw_walk(np.random.default_rng(seed), ["Microwave"], 16, 2, gradual=True)
    assert len(script.acts) == 2
    ends = [0]
    for act in script.acts:
        assert ends[-1] <= act.onset < act.end <= 15
        assert (act.end - act.onset >= 3) == (ACTION_EFFECTS[act.action][0] in GRADUAL)
        ends.append(act.end)


def test_onsets_are_drawn() -> None:
    walks = [draw_walk(np.random.default_rng(seed), ["Fridge"], 16, 1, gradual=True) for seed in range(30)]
    assert len({walk.acts[0].onset for walk in walks}) > 5


def test_hard_kinds_are_those_whose_pieces_show_nothing_else() -> None:
    assert {"Plate", "Cup", "Bottle"} <= set(HARD_KINDS)
    for name in HARD_KINDS:
        build = OBJECT_TYPES[name].draw(np.random.default_rng(0))
        (other,) = set(OBJECT_TYPES[name].changes) - {"broken"}
        drawn = [[(s.mesh, *s.position, s.color) for s in build(state).shapes]
                 for state in ({"broken": 1.0}, {"broken": 1.0, other: 1.0})]  # fmt: skip
        assert drawn[0] == drawn[1]
        assert hidden(name, {"broken"}, other) and not hidden(name, set(), other)
        assert not hidden(name, {other}, "broken")


def test_idle_frames_are_the_same_picture_and_steps_are_not(renderer: Any) -> None:
    script = Script(("Fridge",), (NONE,), (Act(0, "open", 1, 2),), 4)
    made = render(renderer, script, "open")
    frames = made.frames
    assert np.array_equal(frames[0], frames[1]) and np.array_equal(frames[2], frames[3])
    assert not np.array_equal(frames[1], frames[2])
    for masks in made.masks:
        rows, columns = np.nonzero(masks[0])
        assert made.box[0] <= columns.min() and columns.max() <= made.box[2]
        assert made.box[1] <= rows.min() and rows.max() <= made.box[3]


def test_nothing_happens_without_actions(renderer: Any) -> None:
    made = render(renderer, Script(("Fridge",), (NONE,), (), 3), "open")
    assert all(np.array_equal(frame, made.frames[0]) for frame in made.frames)


def test_two_objects_change_one_after_the_other(renderer: Any) -> None:
    script = Script(("Pot", "Bowl"), (NONE, NONE), (Act(0, "fill", 0, 1), Act(1, "dirty", 1, 2)), 3)
    made = render(renderer, script, "fill")
    for t, changed in ((0, 0), (1, 1)):
        apart = np.abs(made.frames[t].astype(int) - made.frames[t + 1]).max(axis=2)
        inside = [apart[made.masks[t][k] & made.masks[t + 1][k]].mean() for k in (0, 1)]
        assert inside[changed] > 5 * inside[1 - changed]


def test_a_drifting_camera_ends_as_far_off_as_asked_and_starts_where_it_was(renderer: Any) -> None:
    script = Script(("Fridge",), (NONE,), (), 5)
    still = render(renderer, script, "open").frames
    near, far = (render(renderer, script, "open", Disturbance(cm, 0.0)).frames for cm in (1.0, 4.0))
    assert np.array_equal(still[0], near[0]) and np.array_equal(still[0], far[0])
    moved = [[np.abs(frame.astype(int) - still[0]).mean() for frame in frames] for frames in (near, far)]
    assert all(a < b for a, b in pairwise(moved[1]))
    assert np.array_equal(near[4], far[1])  # a quarter of the way to 4 cm


def test_an_occluder_covers_the_share_of_the_objects_width_that_was_asked_for(renderer: Any) -> None:
    script = Script(("Fridge",), (NONE,), (), 5)
    plain = render(renderer, script, "open")
    covered = render(renderer, script, "open", Disturbance(occluder=0.25))
    width = plain.box[2] - plain.box[0] + 1
    starts = []
    for frame, before in zip(covered.frames, plain.frames, strict=True):
        columns = np.flatnonzero((frame != before).any(axis=2).mean(axis=0) > 0.8)
        assert len(columns) == pytest.approx(0.25 * width, abs=2)
        starts.append(columns[0])
    assert sorted(starts) in (starts, starts[::-1]) and max(starts) - min(starts) == pytest.approx(0.75 * width, abs=3)


def test_disturbances_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="occluder is 1.5"):
        Disturbance(occluder=1.5)
    with pytest.raises(ValueError, match="drift_cm is -1"):
        Disturbance(-1)


def test_settings_say_what_is_wrong() -> None:
    for wrong, told in (
        ({"frames": 1, "acts": 0}, "frames is 1"),
        ({"frames": 3, "acts": 3}, "room for 0 to 2"),
        ({"square": True, "frames": 3}, "A square has 4 frames"),
        ({"targets": 3}, "targets is 3"),
        ({"kinds": "some"}, "kinds are 'some'"),
        ({"image_size": 8}, "image_size is 8"),
    ):
        with pytest.raises(ValueError, match=told):
            SequenceSettings(1, **wrong)  # type: ignore[arg-type]


def test_pairs_of_changes_take_turns() -> None:
    choices = kind_pairs("all")
    settings = SequenceSettings(2 * len(choices), frames=4, acts=3, square=True)
    drawn = [draw_script(np.random.default_rng(k), k, settings).targets[0] for k in range(2 * len(choices))]
    assert sorted(drawn) == sorted(2 * [name for name, _, _ in choices])


@pytest.fixture(scope="module")
def built(opengl: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sequences")
    return render_sequences(folder, num=4, frames=3, acts=1, image_size=64, per_unit=2, workers=2)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*")) if path.is_file()}


def test_a_build_gives_equal_bytes_twice_and_goes_on_where_it_stopped(built: Path, tmp_path: Path) -> None:
    copy = tmp_path / "sequences"
    shutil.copytree(built, copy)
    (copy / "sequences" / "unit-00001.json").unlink()
    (copy / "sequences" / "unit-00001.parquet").write_bytes(b"cut off")
    kept = (copy / "sequences" / "unit-00000.parquet").stat().st_mtime_ns
    render_sequences(copy, num=4, frames=3, acts=1, image_size=64, per_unit=2, workers=1)
    assert (copy / "sequences" / "unit-00000.parquet").stat().st_mtime_ns == kept
    assert files(copy) == files(built)


def test_another_choice_in_the_same_folder_is_refused(built: Path) -> None:
    with pytest.raises(ValueError, match="built with other settings .frames 3 there, 4 asked for"):
        render_sequences(built, num=4, frames=4, acts=1, image_size=64, per_unit=2)


def test_rows_say_what_happens(built: Path) -> None:
    rows = load_sequences(built, decode=True)
    assert len(rows) == 4 and len(set(rows["sequence_id"])) == 4
    for row in rows:
        (onset,), (end,), (amount,) = row["onset"], row["end"], row["amount"]
        assert end == onset + 1 and amount == [float(t >= end) for t in range(3)]
        assert [action is not None for action in row["actions"]] == [t == onset for t in range(2)]
        assert row["objects"][onset] is not None and row["objects"][1 - onset] is None
        assert row["frames"][0].size == (64, 64)
        assert (row["frames"][onset].tobytes() == row["frames"][end].tobytes()) is False


def test_the_command_renders_and_the_sheet_draws(opengl: None, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "clips"
    flags = ["--num", "1", "--gradual", "--frames", "6", "--image_size", "64", "--drift_cm", "1", "--workers", "1"]
    main(["sequences", "--output", str(folder), *flags])
    assert "1 of 1 units are done, with 1 sequences" in capsys.readouterr().out
    text = (folder / "README.md").read_text()
    assert "--num 1 --frames 6 --acts 1 --gradual --image_size 64 --drift_cm 1.0" in text
    draw_sheet([str(folder), "--output", str(tmp_path / "strips.png"), "--side", "40"])
    assert (tmp_path / "strips.png").stat().st_size > 1000
