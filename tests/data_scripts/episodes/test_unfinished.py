"""Recordings with one unusable episode, which is named while the others are read; and entries without tasks."""

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from data_scripts.episodes.lerobot import LeRobotSource
from tests.data_scripts.episodes.recorded import EPISODES, PARSED, edit, first_frames, numbers
from tests.data_scripts.tiny_lerobot import CAMERA

UNIT = "episodes-000000-000006"
BY_FRAME = PARSED | {6: ("open", "drawer")}  # the tiny frames know the first of an episode's tasks


def rewrite(path, change):
    """Change a table's rows: `change` takes one and returns it, or None to leave it out."""
    table = parquet.read_table(path)
    rows = [new for row in table.to_pylist() if (new := change(row)) is not None]
    parquet.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def index(folder, number=1):
    return folder / "meta" / "episodes" / "chunk-000" / f"file-{number:03d}.parquet"


def change_episode(folder, number, **columns):
    rewrite(index(folder), lambda row: row | columns if row["episode_index"] == number else row)


def without_tasks(folder):
    for number in range(2):
        parquet.write_table(parquet.read_table(index(folder, number)).drop_columns(["tasks"]), index(folder, number))


def expected(version, kind, numbers=tuple(PARSED)):
    """Episode -> action, object and the true numbers of its frames."""
    starts = first_frames(version, kind)
    return {i: (*BY_FRAME[i], starts[i], starts[i] + EPISODES[i][1] - 1) for i in numbers}


def found(source, unit=UNIT):
    built = source.build(unit)
    pairs = {
        int(row["pair_id"][-6:]): (source.actions[row["action"]], source.objects[row["object"]], *numbers(row))
        for row in built.rows
    }
    return pairs, built


@pytest.mark.parametrize("kind", ["image", "video"])
def test_tasks_that_the_entries_lack_come_from_the_frames(copy, kind):
    """By the value of task_index, in whatever order the table names them."""
    folder = copy("v3.0", kind)
    without_tasks(folder)
    path = folder / "meta" / "tasks.parquet"
    parquet.write_table(parquet.read_table(path).take(list(reversed(range(parquet.read_table(path).num_rows)))), path)
    pairs, built = found(LeRobotSource(folder, CAMERA, image_size=None))
    assert pairs == expected("v3.0", kind, BY_FRAME)
    assert built.rejected == {"instruction: no known verb": 1, "too short": 1}


@pytest.mark.parametrize(
    ("change", "reason", "told"),
    [
        (lambda row: {"task_index": row["frame_index"] % 2}, "several tasks", "'Open the drawer.' / 'close the"),
        (lambda row: {"task_index": 77}, "unknown task", "task_index 77, which has no name"),
        (lambda row: {"task_index": None if row["frame_index"] else 0}, "unknown task", "task_index None"),
        (lambda row: None, "missing frame", "has no frames of it"),
    ],
)
def test_frames_that_do_not_tell_the_task_are_never_guessed(copy, change, reason, told):
    folder = copy("v3.0")
    without_tasks(folder)
    path = folder / "data" / "chunk-000" / "file-000.parquet"
    rewrite(path, lambda row: row if row["episode_index"] != 1 else (new := change(row)) and row | new)
    pairs, built = found(LeRobotSource(folder, CAMERA, image_size=None))
    assert pairs == expected("v3.0", "video", set(BY_FRAME) - {1})
    assert built.rejected[reason] == 1
    assert any(text.startswith("Episode 1: ") and told in text for text in built.problems)


def test_spellings_of_one_task_are_one(copy):
    folder = copy("v3.0")
    without_tasks(folder)
    table = pa.table({"task_index": [0, 1], "task": ["Open the drawer.", "open the drawer"]})
    parquet.write_table(table, folder / "meta" / "tasks.parquet")
    for number in range(2):
        path = folder / "data" / "chunk-000" / f"file-{number:03d}.parquet"
        rewrite(path, lambda row: row | {"task_index": row["frame_index"] % 2})
    source = LeRobotSource(folder, CAMERA)
    assert len(source.build(UNIT).rows) == 6 and source.actions == ["open"]


def test_two_names_of_one_task_index_are_an_error(copy):
    folder = copy("v3.0")
    without_tasks(folder)
    table = pa.table({"task_index": [0, 0], "task": ["open the drawer", "close the drawer"]})
    parquet.write_table(table, folder / "meta" / "tasks.parquet")
    with pytest.raises(ValueError, match="task_index 0 to 'open the drawer' and 'close the drawer'"):
        LeRobotSource(folder, CAMERA)
    (folder / "meta" / "tasks.parquet").unlink()
    with pytest.raises(ValueError, match="no episodes that can be used: episode 0, .*no meta/tasks.parquet"):
        LeRobotSource(folder, CAMERA)


def test_a_missing_data_file_costs_its_own_episodes(copy):
    """v2, where entries without tasks need the data file of each episode."""
    folder = copy("v2.1")
    path = folder / "meta" / "episodes.jsonl"
    path.write_text(path.read_text().replace('["close the drawer"]', "[]"))
    pairs, built = found(LeRobotSource(folder, CAMERA, image_size=None))
    assert pairs == expected("v2.1", "video")
    (folder / "data" / "chunk-000" / "episode_000001.parquet").unlink()
    pairs, built = found(LeRobotSource(folder, CAMERA, image_size=None))
    assert pairs == expected("v2.1", "video", (0, 3, 5)) and built.rejected["missing data file"] == 1
    assert any("Episode 1: its task is unknown, as there is no data/chunk-000/" in text for text in built.problems)


VIDEO = f"videos/{CAMERA}"


@pytest.mark.parametrize(
    ("columns", "reason", "told"),
    [
        (dict.fromkeys((f"{VIDEO}/chunk_index", f"{VIDEO}/file_index", f"{VIDEO}/from_timestamp")), "broken entry", ""),
        ({f"{VIDEO}/from_timestamp": float("nan")}, "broken entry", f"{VIDEO}/from_timestamp is nan"),
        ({"length": None}, "broken entry", "length is None"),
        ({"length": -1}, "broken entry", "length is -1"),
        ({"data/file_index": None}, "broken entry", "data/file_index is None"),
        ({"episode_index": None}, "broken entry", "episode_index is None"),
        ({f"{VIDEO}/file_index": 7}, "missing video", "there is no videos/"),
    ],
)
def test_an_unfinished_last_episode_is_named_and_the_rest_is_read(copy, columns, reason, told):
    folder = copy("v3.0")
    change_episode(folder, 6, **{"tasks": ["open the drawer"]} | columns)
    source = LeRobotSource(folder, CAMERA, image_size=None)
    assert source.units() == [UNIT]
    pairs, built = found(source)
    assert pairs == expected("v3.0", "video") and built.rejected[reason] == 1
    assert any(text.startswith("Episode 6: ") and told in text for text in built.problems)
    assert str(folder) not in " ".join(built.problems)
    assert reason == "missing video" or "1 more cannot be used; the first one, episode 6: meta/" in source.summary()


def test_episodes_whose_videos_were_never_encoded(copy):
    """Their file has no columns of videos; where all are so, the first one is named."""
    folder = copy("v3.0")

    def never_encoded(number):
        table = parquet.read_table(index(folder, number))
        columns = [name for name in table.schema.names if name.startswith(VIDEO)]
        parquet.write_table(table.drop_columns(columns), index(folder, number))

    never_encoded(1)
    pairs, built = found(LeRobotSource(folder, CAMERA, image_size=None))
    assert pairs == expected("v3.0", "video", (0, 1, 3)) and built.rejected["broken entry"] == 3
    assert any("Episode 5: meta/" in text and f"no '{VIDEO}" in text for text in built.problems)
    never_encoded(0)
    with pytest.raises(ValueError, match="no episodes that can be used: .*file-000.parquet, row 0, has no"):
        LeRobotSource(folder, CAMERA)


@pytest.mark.parametrize("line", ['{"episode_index": 6, "tasks": ["open the dr', '"open"', "\x00\x00", '{"tasks": []}'])
def test_half_a_line_at_the_end_costs_its_episode(copy, line):
    folder = copy("v2.1")
    path = folder / "meta" / "episodes.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], line]))
    pairs, built = found(LeRobotSource(folder, CAMERA, image_size=None))
    assert pairs == expected("v2.1", "video") and built.rejected["broken entry"] == 1
    assert any(text.startswith("Episode 6: meta/episodes.jsonl, line 7, ") for text in built.problems)


def test_episodes_that_were_counted_and_never_listed(copy):
    folder = copy("v2.1")
    edit(folder, total_episodes=9)
    pairs, built = found(LeRobotSource(folder, CAMERA, image_size=None), "episodes-000000-000008")
    assert pairs == expected("v2.1", "video") and built.rejected["not listed"] == 2
    path = folder / "meta" / "episodes.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:2] + lines[3:]))
    with pytest.raises(ValueError, match="lists 6 of the 9 episodes in info.json"):
        LeRobotSource(folder, CAMERA)


def test_an_episode_that_is_listed_twice_is_refused(copy):
    folder = copy("v2.1")
    path = folder / "meta" / "episodes.jsonl"
    path.write_text(path.read_text().replace('"episode_index": 1,', '"episode_index": 0,'))
    edit(folder, total_episodes=6)
    pairs, built = found(LeRobotSource(folder, CAMERA, image_size=None))
    assert pairs == expected("v2.1", "video", (3, 5)) and built.rejected["listed twice"] == 1
    assert "Episode 0: meta/episodes.jsonl, line 2, lists episode 0 once more." in built.problems


def test_one_chunk_whose_video_was_cut_off(copy):
    folder = copy("v3.0")
    path = folder / VIDEO / "chunk-000" / "file-000.mp4"
    path.write_bytes(path.read_bytes()[:-400])  # its index is at the end
    pairs, built = found(LeRobotSource(folder, CAMERA, image_size=None))
    assert pairs == expected("v3.0", "video", (5,)) and built.rejected["broken video"] == 3
    assert any("Episode 0: videos/" in text and "cannot be opened" in text for text in built.problems)
