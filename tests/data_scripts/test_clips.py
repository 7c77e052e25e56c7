"""Episodes and kitchen segments as clips: the exact frames, evenly spaced, in the columns of sequences."""

import io

import pytest
from PIL import Image

from data_scripts.builds.sequence_build import evenly
from data_scripts.epic_kitchens.__main__ import main as epic_kitchens
from data_scripts.epic_kitchens.clips import EpicClips
from data_scripts.episodes.__main__ import main as episodes
from data_scripts.episodes.clips import LeRobotClips
from modeling_cde.data import load_sequences
from tests.data_scripts.epic_kitchens.test_extract import make_index
from tests.data_scripts.episodes.recorded import EPISODES, PARSED, first_frames
from tests.data_scripts.fake_source import sent
from tests.data_scripts.tiny_epic import row, write_frames
from tests.data_scripts.tiny_lerobot import CAMERA, write_recording
from tests.data_scripts.tiny_video import number_of


def shown(sequence):
    return [number_of(Image.open(io.BytesIO(frame["bytes"]))) for frame in sequence["frames"]]


def test_frames_are_evenly_spaced_with_both_ends():
    assert evenly(0, 8, 5) == (0, 2, 4, 6, 8)
    assert evenly(10, 13, 3) == (10, 12, 13)
    assert evenly(4, 5, 4) == (4, 4, 5, 5)
    assert evenly(3, 9, 2) == (3, 9)


@pytest.mark.parametrize("version,kind", [("v2.1", "video"), ("v3.0", "image"), ("v3.0", "video")])
def test_an_episode_is_a_clip_of_one_action(tmp_path, version, kind):
    folder = write_recording(tmp_path / "recording", version, EPISODES, kind=kind)
    source = sent(LeRobotClips(folder, CAMERA, image_size=64, frames=8, first=1))
    (unit,) = source.units()
    rows = {row["sequence_id"]: row for row in source.build(unit).rows}
    starts = first_frames(version, kind)
    assert rows.keys() == {f"episode-{i:06d}" for i in PARSED}
    for i, (action, thing) in PARSED.items():
        made = rows[f"episode-{i:06d}"]
        assert shown(made) == [starts[i] + k for k in evenly(1, EPISODES[i][1] - 1, 8)]
        assert made["actions"] == [source.actions.index(action)] * 7
        assert made["objects"] == [source.objects.index(thing)] * 7
        assert (made["onset"], made["end"], made["amount"], made["box"]) == ([0], [7], None, None)


def test_pairs_and_clips_of_one_recording_are_not_mixed(tmp_path):
    folder = write_recording(tmp_path / "recording", "v2.1", EPISODES)
    eight, nine = LeRobotClips(folder, CAMERA, frames=8), LeRobotClips(folder, CAMERA, frames=9)
    assert eight.settings() != nine.settings()
    with pytest.raises(ValueError, match="--frames is 1; give 2 to 256"):
        LeRobotClips(folder, CAMERA, frames=1)


def test_the_command_makes_a_data_set_of_clips(tmp_path):
    folder = write_recording(tmp_path / "recording", "v2.1", EPISODES)
    output = tmp_path / "clips"
    flags = ["--camera", CAMERA, "--frames", "4", "--workers", "1", "--license", "cc-by-4.0"]
    episodes(["clips", "--input", str(folder), "--output", str(output), *flags])
    loaded = load_sequences(output, decode=True, cache_dir=tmp_path / "cache")
    assert len(loaded) == len(PARSED) and len(loaded[0]["frames"]) == 4 and loaded[0]["amount"] is None
    assert "Licence: `cc-by-4.0`" in (output / "README.md").read_text()


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory):
    """Overlapping segments of a video of five seconds, and all of its frames."""
    folder = tmp_path_factory.mktemp("kitchen")
    rows = [
        row("P01_01", 0, 0.0, 1.5),
        row("P01_01", 1, 1.0, 1.5, verb=4),
        row("P01_01", 2, 1.5, 4.9, noun=8),
        row("P01_01", 3, 1.5, 1.55, verb=4, noun=8),  # of three frames
    ]
    index = make_index(folder, rows, {"P01_01": 5.0})
    write_frames(folder / "frames" / "P01_01", range(1, 301))
    return index, folder / "frames"


def test_a_segment_is_a_clip_from_its_start_to_its_end(kitchen):
    source = sent(EpicClips(*kitchen, "frames", 256, frames=5))
    built = source.build("P01_01")
    assert built.problems == []
    by_id = {segment.narration_id: segment for segment in source.segments["P01_01"]}
    assert len(built.rows) == len(by_id) == 4
    for made in built.rows:
        segment = by_id[made["sequence_id"]]
        assert shown(made) == list(evenly(segment.before_frame, segment.after_frame, 5))
        assert made["actions"] == [source.actions.index(segment.verb)] * 4 and made["scene"] == "P01"
    assert source.inputs("P01_01") != EpicClips(*kitchen, "frames", 256, frames=6).inputs("P01_01")


def test_a_missing_frame_costs_its_own_segments(kitchen, tmp_path):
    index, frames = kitchen
    import shutil

    shutil.copytree(frames, tmp_path / "frames")
    source = EpicClips(index, tmp_path / "frames", "frames", 256, frames=5)
    segments = source.segments["P01_01"]
    gone = evenly(segments[-1].before_frame, segments[-1].after_frame, 5)[1]
    (tmp_path / "frames" / "P01_01" / f"frame_{gone:010d}.jpg").unlink()
    built = source.build("P01_01")
    lost = {s.narration_id for s in segments if gone in evenly(s.before_frame, s.after_frame, 5)}
    assert {row["sequence_id"] for row in built.rows} == {s.narration_id for s in segments} - lost
    assert built.rejected == {"frame missing": len(lost)}


def test_the_kitchen_command_makes_a_data_set_of_clips(kitchen, tmp_path):
    index, frames = kitchen
    output = tmp_path / "clips"
    flags = ["--frames_folder", str(frames), "--frames", "3", "--workers", "1"]
    epic_kitchens(["clips", "--index", str(index), "--output", str(output), *flags])
    assert len(load_sequences(output, cache_dir=tmp_path / "cache")) == 4
    assert "cc-by-nc-4.0" in (output / "README.md").read_text()
