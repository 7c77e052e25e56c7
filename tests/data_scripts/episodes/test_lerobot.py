"""Episodes in the LeRobot format: exact frames in every version, and a sentence for everything that is wrong."""

import json
import re
import shutil

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from data_scripts.episodes import lerobot
from data_scripts.episodes.__main__ import main
from data_scripts.episodes.instruction import Instruction, normalized
from data_scripts.episodes.lerobot import LeRobotSource
from data_scripts.episodes.readings import Readings
from modeling_cde.data.loading import load_pairs
from tests.data_scripts.episodes.recorded import EPISODES, PARSED, edit, first_frames, numbers
from tests.data_scripts.fake_source import sent
from tests.data_scripts.tiny_lerobot import CAMERA, write_recording


@pytest.mark.parametrize("version,kind", [("v2.0", "image"), ("v2.1", "video"), ("v3.0", "image"), ("v3.0", "video")])
@pytest.mark.parametrize("first,last", [(0, 0), (2, 1)])
def test_first_and_last_frames_are_exact(recordings, version, kind, first, last):
    source = LeRobotSource(recordings[version, kind], CAMERA, image_size=None, first=first, last=last)
    assert source.units() == ["episodes-000000-000006"]
    built = sent(source).build("episodes-000000-000006")
    starts = first_frames(version, kind)
    wanted = {
        f"episode-{i:06d}": (*PARSED[i], starts[i] + first, starts[i] + EPISODES[i][1] - 1 - last) for i in PARSED
    }
    found = {
        row["pair_id"]: (source.actions[row["action"]], source.objects[row["object"]], *numbers(row))
        for row in built.rows
    }
    assert found == wanted
    assert all(row["box"] is None and row["scene"] == row["pair_id"] for row in built.rows)
    assert built.rejected == {"instruction: no known verb": 1, "instruction: several tasks": 1, "too short": 1}
    assert "Episode 2: instruction 'do a dance' not read: no known verb." in built.problems
    source.features.encode_example(built.rows[0])  # the schema's columns and types


def test_the_three_scenes(recordings):
    folder = recordings["v3.0", "image"]
    scenes = {}
    for scene in lerobot.SCENES:
        rows = LeRobotSource(folder, CAMERA, scene=scene).build("episodes-000000-000006").rows
        scenes[scene] = [row["scene"] for row in rows]
    assert scenes["episode"] == [f"episode-{i:06d}" for i in PARSED]
    assert scenes["task"][0] == "open the drawer" and scenes["task"][3] == "open the drawer / open the top drawer"
    assert scenes["file"] == ["data/chunk-000/file-000.parquet"] * 3 + ["data/chunk-000/file-001.parquet"]


def test_units_are_ranges_of_episodes(recordings, monkeypatch):
    source = LeRobotSource(recordings["v3.0", "video"], CAMERA, image_size=None)
    whole = source.build(source.units()[0])
    monkeypatch.setattr(lerobot, "EPISODES_PER_UNIT", 2)
    assert source.units() == [f"episodes-{i:06d}-{min(i + 1, 6):06d}" for i in (0, 2, 4, 6)]
    parts = [source.build(unit) for unit in source.units()]
    assert [row for part in parts for row in part.rows] == whole.rows
    assert sum(len(part.problems) for part in parts) == len(whole.problems)


def test_settings_and_inputs_are_what_the_bytes_depend_on(recordings, copy, tmp_path):
    one, other = recordings["v2.1", "video"], copy()
    assert LeRobotSource(one, CAMERA).settings() == LeRobotSource(other, CAMERA).settings()  # wherever they lie
    changed = [
        LeRobotSource(one, CAMERA, first=1),
        LeRobotSource(one, CAMERA, image_size=32),
        LeRobotSource(one, CAMERA, scene="task"),
        LeRobotSource(one, CAMERA, encoding="jpeg"),
        LeRobotSource(one, CAMERA, readings=Readings(known={"do a dance": ("dance", "robot")})),
    ]
    lines = (other / "meta" / "episodes.jsonl").read_text().replace('"length": 12', '"length": 11')
    (other / "meta" / "episodes.jsonl").write_text(lines)
    every = [*changed, LeRobotSource(one, CAMERA), LeRobotSource(other, CAMERA)]
    texts = [json.dumps([one.settings(), one.inputs(one.units()[0])], sort_keys=True) for one in every]
    assert len(set(texts)) == len(texts) and not any(str(tmp_path) in text for text in texts)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "meta" / "info.json").unlink(), "There is no .*info.json"),
        (lambda f: (f / "meta" / "info.json").write_text("{"), "info.json cannot be read"),
        (lambda f: edit(f, codebase_version="v1.6"), r"version v1.6 .*; supported are v2.0, v2.1, v3.0"),
        (lambda f: edit(f, codebase_version="v9.0"), r"version v9.0 .*; supported are v2.0, v2.1, v3.0"),
        (lambda f: edit(f, fps=0), "0 frames per second"),
        (lambda f: edit(f, fps=25), "25 frames per second and 10 for the videos"),
        (lambda f: edit(f, features={}), "without a camera"),
        (lambda f: edit(f, video_path="../{video_key}.mp4"), "leaves the folder"),
        (lambda f: edit(f, data_path="data/{nothing}.parquet"), "no usable entry"),
        (lambda f: (f / "meta" / "episodes.jsonl").unlink(), "There is no .*episodes.jsonl"),
        (lambda f: (f / "meta" / "episodes.jsonl").write_text("{}\n"), "line 1, has no usable entry"),
        (lambda f: (f / "meta" / "episodes.jsonl").write_text("no\n"), "line 1, is not JSON"),
        (lambda f: (f / "meta" / "episodes.jsonl").write_text("\n"), "lists no episodes"),
        (lambda f: edit(f, total_episodes=1000), "of the 1000 episodes in info.json"),
    ],
)
def test_broken_metadata_are_named(copy, damage, message):
    folder = copy()
    damage(folder)
    with pytest.raises(ValueError, match=message) as raised:
        LeRobotSource(folder, CAMERA)
    assert "\n" not in str(raised.value)


def test_broken_metadata_of_v3_are_named(copy):
    folder = copy("v3.0", "video")
    path = folder / "meta" / "episodes" / "chunk-000" / "file-001.parquet"
    table = parquet.read_table(path)
    parquet.write_table(table.drop_columns(["length"]), path)
    with pytest.raises(ValueError, match="file-001.parquet has no column length"):
        LeRobotSource(folder, CAMERA)
    path.write_bytes(b"PAR1 broken")
    with pytest.raises(ValueError, match="file-001.parquet cannot be read"):
        LeRobotSource(folder, CAMERA)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ValueError, match="Git LFS pointer"):
        LeRobotSource(folder, CAMERA)
    shutil.rmtree(folder / "meta" / "episodes")
    with pytest.raises(ValueError, match="no Parquet file in .*meta/episodes"):
        LeRobotSource(folder, CAMERA)


@pytest.mark.parametrize("camera", [None, "observation.image"])
def test_a_missing_camera_is_answered_with_those_that_exist(recordings, camera):
    with pytest.raises(ValueError, match=r"--camera: observation.images.image, observation.images.wrist"):
        LeRobotSource(recordings["v2.1", "video"], camera)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"first": -1}, "--first is -1"), ({"scene": "room"}, "--scene is 'room'"), ({"scene": "file"}, "needs v3.0")],
)
def test_useless_options_are_named(recordings, options, message):
    with pytest.raises(ValueError, match=message):
        LeRobotSource(recordings["v2.1", "video"], CAMERA, **options)


def test_faulty_episodes_are_named_and_the_others_come_out(copy):
    folder = copy()
    videos = folder / "videos" / "chunk-000" / CAMERA
    (videos / "episode_000000.mp4").unlink()
    (videos / "episode_000001.mp4").write_bytes(b"no video")
    lines = (folder / "meta" / "episodes.jsonl").read_text().replace('"length": 12', '"length": 40')
    (folder / "meta" / "episodes.jsonl").write_text(lines)
    built = LeRobotSource(folder, CAMERA).build("episodes-000000-000006")
    assert [row["pair_id"] for row in built.rows] == ["episode-000005"]
    assert built.rejected["missing video"] == 1 and built.rejected["broken video"] == 2
    problems = " ".join(built.problems)
    assert "Episode 0: there is no videos/chunk-000/" in problems and "Episode 1: videos/chunk-000/" in problems
    assert re.search(r"Episode 3: videos/\S+ has 12 frames and ends before frame 39 of it", problems)
    assert str(folder) not in problems


def test_faulty_data_files_are_named_and_the_others_come_out(copy):
    folder = copy("v3.0", "image")
    path = folder / "data" / "chunk-000" / "file-000.parquet"
    table = parquet.read_table(path)
    parquet.write_table(table.slice(0, 10), path)
    built = LeRobotSource(folder, CAMERA).build("episodes-000000-000006")
    assert [row["pair_id"] for row in built.rows] == ["episode-000000", "episode-000005"]
    assert built.rejected["missing frame"] == 2 and any("no picture of frame 8" in text for text in built.problems)
    broken = [{"bytes": b"no picture", "path": None}] * table.num_rows
    place = table.schema.get_field_index(CAMERA)
    column = pa.array(broken, type=table.schema.field(CAMERA).type)
    parquet.write_table(table.set_column(place, table.schema.field(CAMERA), column), path)
    assert LeRobotSource(folder, CAMERA).build("episodes-000000-000006").rejected["broken picture"] == 3
    parquet.write_table(table.drop_columns(["frame_index"]), path)
    built = LeRobotSource(folder, CAMERA).build("episodes-000000-000006")
    assert built.rejected["broken data file"] == 3 and any("no column frame_index" in text for text in built.problems)
    path.write_bytes(path.read_bytes()[:-50])
    assert LeRobotSource(folder, CAMERA).build("episodes-000000-000006").rejected["broken data file"] == 3
    path.unlink()
    assert LeRobotSource(folder, CAMERA).build("episodes-000000-000006").rejected["missing data file"] == 3


def test_an_episode_that_ends_as_it_began_gives_no_pair(copy):
    folder = copy("v3.0", "image")
    path = folder / "data" / "chunk-000" / "file-000.parquet"
    table = parquet.read_table(path)
    rows = table.to_pylist()
    for row in rows:
        if row["episode_index"] == 1:
            row[CAMERA] = rows[0][CAMERA]
    parquet.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    built = LeRobotSource(folder, CAMERA).build("episodes-000000-000006")
    assert len(built.rows) == 3 and built.rejected["identical pictures"] == 1
    assert "Episode 1: before and after are the same picture, pixel for pixel." in built.problems


def test_frames_that_a_data_file_has_twice_or_too_many_of(copy):
    """An episode that was recorded again, and an entry from before: what is taken is never a guess."""
    folder = copy("v3.0", "image")
    path = folder / "data" / "chunk-000" / "file-000.parquet"
    table = parquet.read_table(path)
    again = [row | {"frame_index": row["frame_index"] + 9} for row in table.to_pylist() if row["episode_index"] == 1]
    first = [row for row in table.to_pylist() if row["episode_index"] == 0]
    parquet.write_table(pa.Table.from_pylist([*table.to_pylist(), *first, *again[:2]], schema=table.schema), path)
    built = LeRobotSource(folder, CAMERA).build("episodes-000000-000006")
    assert {row["pair_id"] for row in built.rows} == {"episode-000001", "episode-000003", "episode-000005"}
    assert built.rejected["frame twice"] == 1
    file = "data/chunk-000/file-000.parquet"
    assert f"Episode 0: {file} has several pictures of frame 0." in built.problems
    assert f"{file} has 11 frames of episode 1, and its entry lists 9." in built.problems


def test_pictures_beside_the_data_files_are_read_inside_the_folder_only(copy):
    folder = copy("v2.0", "image")
    path = folder / "data" / "chunk-000" / "episode_000000.parquet"
    table = parquet.read_table(path)
    place, field = table.schema.get_field_index(CAMERA), table.schema.field(CAMERA)
    stored = table.column(CAMERA).to_pylist()
    (folder / "images").mkdir()
    for frame, value in enumerate(stored):
        (folder / "images" / f"{frame}.png").write_bytes(value["bytes"])
    for prefix, rejected in (("images/", None), ("../copy/images/", 1), (f"{folder}/images/", 1)):
        values = pa.array([{"bytes": None, "path": f"{prefix}{i}.png"} for i in range(len(stored))], type=field.type)
        parquet.write_table(table.set_column(place, field, values), path)
        built = LeRobotSource(folder, CAMERA).build("episodes-000000-000006")
        assert built.rejected.get("missing frame") == rejected
        assert rejected or numbers(built.rows[0]) == (0, 6)


@pytest.mark.parametrize(("kind", "name"), [("image", "data/chunk-000/episode_000000.parquet"), ("video", None)])
def test_links_to_files_elsewhere_are_not_read(kind, name, copy, tmp_path):
    folder = copy("v2.0" if kind == "image" else "v2.1", kind)
    path = folder / (name or f"videos/chunk-000/{CAMERA}/episode_000000.mp4")
    path.rename(tmp_path / "mine")
    path.symlink_to(tmp_path / "mine")
    built = LeRobotSource(folder, CAMERA).build("episodes-000000-000006")
    assert built.rejected["missing data file" if kind == "image" else "missing video"] == 1
    said = f"{path.name} is a link to a file outside of the folder; put the file itself there"
    assert any(said in text and str(folder) not in text for text in built.problems), built.problems


def test_a_number_of_episodes_from_elsewhere_is_not_counted_up_to(copy):
    folder = copy()
    edit(folder, total_episodes=10**15)
    with pytest.raises(ValueError, match="meta lists 7 of the 1000000000000000 episodes in info.json"):
        LeRobotSource(folder, CAMERA)


def test_instructions_that_nobody_understands_stop_the_build_and_are_listed(tmp_path, capsys):
    write_recording(
        tmp_path / "in", "v2.1", [(["do a dance"], 3), (["打开抽屉 A"], 3), (["do a dance"], 4)], kind="image"
    )
    with pytest.raises(ValueError, match="None of the 3 episodes .*'do a dance'.*--verbs, or .*--list_instructions"):
        LeRobotSource(tmp_path / "in", CAMERA).units()
    arguments = ["lerobot", "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--camera", CAMERA]
    main([*arguments, "--list_instructions"])
    printed = capsys.readouterr().out
    assert "the instructions of 0 are read" in printed and "2 x 'do a dance': no known verb" in printed
    listed = tmp_path / "out" / "instructions.csv"
    assert listed.read_text(encoding="utf-8").splitlines()[1:] == [
        "do a dance,,,2,no known verb",
        "打开抽屉 A,,,1,not in Latin letters",
    ]
    with pytest.raises(SystemExit, match="None of the 3 episodes"):
        main(arguments)
    assert not list(tmp_path.glob("out/shards/*/*"))
    listed.write_text(listed.read_text(encoding="utf-8").replace("A,,,", "A,open,drawer,"), encoding="utf-8")
    main([*arguments, "--list_instructions", "--instructions", str(listed)])
    assert "the instructions of 1 are read, as 1 actions on 1 objects" in capsys.readouterr().out


def test_scenes_of_tasks_in_any_script_are_kept_apart_and_marks_do_not_make_one(tmp_path):
    tasks = [["打开抽屉 A"], ["关闭抽屉 A"], ["打开抽屉  A。"], ["open the box", "valid"], ["Open the box."]]
    write_recording(tmp_path / "in", "v2.1", [(task, 3) for task in tasks], kind="image")
    known = {
        normalized("打开抽屉 A"): Instruction("open", "drawer"),
        normalized("关闭抽屉 A"): Instruction("close", "drawer"),
    }
    source = LeRobotSource(tmp_path / "in", CAMERA, scene="task", readings=Readings(known=known))
    rows = source.build("episodes-000000-000004").rows
    assert [row["scene"] for row in rows] == ["打开抽屉 a", "关闭抽屉 a", "打开抽屉 a", "open the box", "open the box"]
    assert [source.actions[row["action"]] for row in rows] == ["open", "close", "open", "open", "open"]


def test_the_command_builds_a_data_set(tmp_path, capsys):
    verbs = ("open", "close")
    things = ("drawer", "door", "box", "lid", "fridge")
    episodes = [([f"{verb} the {thing}"], 2 + k) for k in range(6) for verb in verbs for thing in things]
    write_recording(tmp_path / "in", "v3.0", [*episodes, (["turn on and off"], 3)], kind="image", files=1)
    known = tmp_path / "known.csv"
    known.write_text("instruction,action,object\nTurn on and off!,open,lid\n")
    arguments = ["lerobot", "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--camera", CAMERA]
    arguments += ["--image_size", "32", "--shift", "syst", "--workers", "1", "--instructions", str(known)]
    main([*arguments, "--list_instructions"])
    assert not (tmp_path / "out" / "shards").exists()
    assert "turn on and off,open,lid,1," in (tmp_path / "out" / "instructions.csv").read_text()
    # What was read by hand is not lost to a run that was not given it.
    with pytest.raises(SystemExit, match="has a reading of 'turn on and off'.*--instructions"):
        main([*arguments[:-2], "--list_instructions"])
    main(arguments)
    printed = capsys.readouterr().out
    assert "61 episodes of in (v3.0, 10 frames per second" in printed and "the instructions of 61 are read" in printed
    pairs = load_pairs(tmp_path / "out", "multi_syst", "train", decode=True, cache_dir=tmp_path / "cache")
    assert pairs.features["action"].names == ["close", "open"] and pairs[0]["before"].size == (64, 32)
    assert "LeRobot format v3.0" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lerobot", "--camera", CAMERA, "--view", "single"], "no boxes"),
        (["lerobot", "--camera", CAMERA, "--push", "me/mine"], "--license"),
        (["lerobot", "--camera", CAMERA, "--verbs", "no.csv"], "no.csv cannot be read"),
        (["lerobot", "--camera", CAMERA, "--image_size", "-3"], "--image_size is -3"),
        (["lerobot"], "choose with --camera"),
    ],
)
def test_wrong_commands_get_one_sentence(recordings, tmp_path, arguments, message):
    where = ["--input", str(recordings["v2.1", "video"]), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stopped:
        main([arguments[0], *where, *arguments[1:]])
    assert message in str(stopped.value.code) and "\n" not in str(stopped.value.code)
    assert not (tmp_path / "out" / "shards").exists()
