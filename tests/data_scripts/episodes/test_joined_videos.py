"""Several episodes in one video: each frame taken is the episode's own, whatever its time stamp says."""

import shutil
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from data_scripts.builds.work_units import BadPairError
from data_scripts.episodes.entries import Episode
from data_scripts.episodes.lerobot import LeRobotSource
from data_scripts.episodes.places import VideoPlaces
from tests.data_scripts.episodes.recorded import numbers
from tests.data_scripts.tiny_lerobot import CAMERA, write_recording
from tests.data_scripts.tiny_video import write_video

FROM = f"videos/{CAMERA}/from_timestamp"
LENGTHS = [3 + number % 4 for number in range(20)]
EPISODES = [(["open the drawer"], length) for length in LENGTHS]
STARTS = [sum(LENGTHS[:number]) for number in range(20)]
VIDEO = f"videos/{CAMERA}/chunk-000/file-000.mp4"


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    """Twenty episodes in one video at 30 frames per second."""
    return write_recording(tmp_path_factory.mktemp("joined") / "in", "v3.0", EPISODES, fps=30, files=1)


@pytest.fixture
def copy(joined, tmp_path):
    """A copy of it, to be changed."""
    return Path(shutil.copytree(joined, tmp_path / "copy"))


def edit(folder, change):
    """Change the rows of the episodes: `change` takes a row and returns it, or None to leave it out."""
    path = folder / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    table = parquet.read_table(path)
    rows = [new for row in table.to_pylist() if (new := change(row)) is not None]
    parquet.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def chosen(built):
    """Episode -> the true numbers of its two frames."""
    return {int(row["pair_id"][-6:]): numbers(row) for row in built.rows}


def true_frames(numbers=range(20)):
    return {number: (STARTS[number], STARTS[number] + LENGTHS[number] - 1) for number in numbers}


@pytest.mark.parametrize("drift", [-0.031, -0.017, 0.0, 0.017, 0.031, 0.2])
def test_drifting_time_stamps_choose_no_frame_of_a_neighbour(copy, drift):
    """As far at the end as in a file of 200 episodes whose durations were added up: 31 ms, almost one frame."""
    edit(copy, lambda row: row | {FROM: max(0.0, row[FROM] + drift * row["episode_index"] / 19)})
    built = LeRobotSource(copy, CAMERA, image_size=None).build("episodes-000000-000019")
    assert chosen(built) == true_frames() and not built.rejected
    if abs(drift) > 0.5 / 30:
        assert len(built.problems) == 1 and f"{abs(drift) * 1000:.0f} ms" in built.problems[0]
        assert built.problems[0].startswith(f"{VIDEO}: ") and "lengths" in built.problems[0]
    else:
        assert built.problems == []


def test_time_stamps_are_followed_where_episodes_are_left_out(copy):
    """A chosen part of a data set: its videos hold more than its episodes."""
    kept = [1, 2, 5, 12, 19]
    edit(copy, lambda row: row if row["episode_index"] in kept else None)
    (copy / "meta" / "info.json").write_text((copy / "meta" / "info.json").read_text().replace("total_episodes", "x"))
    built = LeRobotSource(copy, CAMERA, image_size=None).build("episodes-000001-000019")
    assert chosen(built) == true_frames(kept)
    assert built.problems == [f"{VIDEO} has {sum(LENGTHS)} frames, and its episodes list 22 of them."]


def test_frames_behind_the_last_episode_change_nothing(copy):
    """Those of an episode that was never finished, in a file whose time stamps drift."""
    edit(copy, lambda row: row | {FROM: row[FROM] + 0.031 * row["episode_index"] / 19})
    write_video(copy / VIDEO, sum(LENGTHS) + 5, 30, key_interval=7)
    built = LeRobotSource(copy, CAMERA, image_size=None).build("episodes-000000-000019")
    assert chosen(built) == true_frames() and not built.rejected
    assert "31 ms" in built.problems[0] and f"has {sum(LENGTHS) + 5} frames" in built.problems[1]


def test_two_episodes_that_claim_one_stretch_are_both_refused(copy):
    stamps = {}
    edit(copy, lambda row: stamps.update({row["episode_index"]: row[FROM]}) or row)
    edit(copy, lambda row: row | {FROM: stamps[5]} if row["episode_index"] == 6 else row)
    built = LeRobotSource(copy, CAMERA, image_size=None).build("episodes-000000-000019")
    assert chosen(built) == true_frames(set(range(20)) - {5, 6})
    assert built.rejected == {"frames claimed twice": 2}
    for number, other in ((5, 6), (6, 5)):
        told = f"Episode {number}: episode {other} claims frames of {VIDEO} that are its own, too."
        assert told in built.problems


@pytest.mark.parametrize("wrong", [0.0, 1.3])
def test_one_wrong_stamp_costs_two_episodes_at_most(copy, wrong):
    """A last episode whose entry was left from before."""
    edit(copy, lambda row: row | {FROM: wrong} if row["episode_index"] == 19 else row)
    built = LeRobotSource(copy, CAMERA, image_size=None).build("episodes-000000-000019")
    found = chosen(built)
    assert found == true_frames(found.keys()) and len(found) >= 17 and 19 not in found
    assert any(text.startswith("Episode 19: ") for text in built.problems)


def test_lost_frames_are_noticed(copy):
    """One frame is missing in the middle of the video, and all that follow have kept their times."""
    times = [Fraction(k, 30) for k in range(sum(LENGTHS)) if k != STARTS[10] + 1]
    write_video(copy / VIDEO, len(times), 30, times=times)  # numbered by their place
    built = LeRobotSource(copy, CAMERA, image_size=None).build("episodes-000000-000019")
    found = chosen(built)
    assert found == true_frames(range(10)) and built.rejected == {"uncertain frames": 10}


def test_the_last_frames_of_a_video_that_was_cut_off(copy):
    write_video(copy / VIDEO, STARTS[15] + 2, 30, key_interval=7)
    built = LeRobotSource(copy, CAMERA, image_size=None).build("episodes-000000-000019")
    assert chosen(built) == true_frames(range(15)) and built.rejected == {"broken video": 5}
    assert f"Episode 15: {VIDEO} has {STARTS[15] + 2} frames and ends before frame 5 of it." in " ".join(built.problems)


def test_a_video_without_its_second_half(copy):
    """Its header still counts all frames."""
    write_video(copy / VIDEO, sum(LENGTHS), 30, key_interval=7, options={"container_movflags": "faststart"})
    content = (copy / VIDEO).read_bytes()
    (copy / VIDEO).write_bytes(content[: len(content) * 2 // 3])
    built = LeRobotSource(copy, CAMERA, image_size=None).build("episodes-000000-000019")
    found = chosen(built)
    assert found == true_frames(range(len(found))) and 5 < len(found) < 15
    assert built.rejected == {"broken video": 20 - len(found)}


def test_the_video_of_one_episode_has_another_number_of_frames(tmp_path):
    """v2.1: frames more or less than listed are said, and nothing else is taken than what was asked for."""
    folder = write_recording(tmp_path / "in", "v2.1", [(["open the drawer"], 9)] * 3, fps=30)
    for number, frames in ((0, 11), (1, 8)):
        write_video(folder / f"videos/chunk-000/{CAMERA}/episode_{number:06d}.mp4", frames, 30)
    built = LeRobotSource(folder, CAMERA, image_size=None).build("episodes-000000-000002")
    assert chosen(built) == {0: (0, 8), 2: (0, 8)} and built.rejected == {"broken video": 1}
    assert sum("and its episodes list 9" in text for text in built.problems) == 2


def places(episodes, frames, fps=10):
    """Places in a video of `frames` frames for (number, length, start in frames)."""
    listed = [Episode(n, (), length, "", "v.mp4", Fraction(start) / fps) for n, length, start in episodes]
    return VideoPlaces("v.mp4", listed, [Fraction(k, fps) for k in range(frames)], Fraction(fps))


@pytest.mark.parametrize(
    ("episodes", "frames", "first"),
    [
        ([(0, 5, 0), (1, 5, 4), (2, 5, 8)], 15, {0: 0, 1: 5, 2: 10}),  # durations without the last frame
        ([(0, 5, 0), (1, 5, 4), (2, 5, 9)], 14, {2: 9}),  # two claim one frame, and lengths do not decide
        ([(1, 5, 0), (0, 5, 5)], 10, {1: 0, 0: 5}),  # in another order than that of their numbers
        ([(0, 5, 3), (1, 5, 20)], 30, {0: 3, 1: 20}),
        ([(0, 5, 0), (1, 5, Fraction(11, 2)), (2, 5, 11)], 20, {0: 0}),  # between two frames: nothing holds from there
        ([(0, 50, 0), (1, 5, 10), (2, 5, 30), (3, 5, 50)], 80, {3: 50}),
        ([(0, 5, 0), (1, 5, 90)], 20, {0: 0}),
    ],
)
def test_where_episodes_begin(episodes, frames, first):
    found = places(episodes, frames)
    assert {n: start for n, start in found.starts.items() if not isinstance(start, BadPairError)} == first
