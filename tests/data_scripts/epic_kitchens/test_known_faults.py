"""What is wrong, or looks wrong, in EPIC-KITCHENS-100's own files and in tables that other programs saved."""

from fractions import Fraction

import pytest

from data_scripts.epic_kitchens.__main__ import main
from data_scripts.epic_kitchens.csv_tables import TableError, read_classes
from data_scripts.epic_kitchens.index import build_index
from data_scripts.epic_kitchens.listing import index_csv, read_index
from data_scripts.epic_kitchens.source import EpicSource
from tests.data_scripts.epic_kitchens.test_extract import NTSC, command, make_index, numbers
from tests.data_scripts.tiny_epic import row, write_csv, write_frames, write_tables


def test_a_segment_may_stop_in_the_slot_that_begins_before_the_videos_end(tmp_path):
    """P29_05_563 of the official tables stops at frame 109305 of a video of 109304.2 frames."""
    good, bad = row("P29_05", 563, 1819.0, 1821.75), row("P29_05", 564, 1819.0, 1821.77)
    index = build_index(**write_tables(tmp_path, [good, bad], {"P29_05": 1821.736567}))
    assert [(s.narration_id, s.after_frame) for s in index.segments] == [("P29_05_563", 109305)]
    assert [fault.reason for fault in index.faults] == ["beyond the video's end"]


def test_the_last_slot_of_a_video_shows_its_last_frame(tmp_path):
    pytest.importorskip("av")
    from tests.data_scripts.tiny_video import write_video

    seconds = float(299 / NTSC)  # 4.98832: the middle of frame 300's slot, 4.99167, lies after it
    index = make_index(tmp_path, [row("P01_01", 0, 1.0, 5.0)], {"P01_01": seconds})
    write_video(tmp_path / "P01_01.mp4", 299, NTSC, size=(128, 64))
    source = EpicSource(index, tmp_path, "videos")
    assert numbers(source, "P01_01") == {"P01_01_0": (int(Fraction(119, 120) * NTSC), 298)}


def test_videos_of_the_erratum_are_not_read_from_their_official_frames(tmp_path, capsys):
    rows = [row(video, 0, 0.1, 0.3) for video in ("P01_01", "P01_109", "P27_103")]
    index = make_index(tmp_path, rows, dict.fromkeys(("P01_01", "P01_109", "P27_103"), 0.4))
    for video, last in (("P01_01", 24), ("P01_109", 20), ("P27_103", 20)):
        write_frames(tmp_path / "root" / video, range(1, last + 1))
    arguments = command(index, tmp_path / "epic", "--frames", str(tmp_path / "root"), "--no_split")
    with pytest.raises(SystemExit, match="frames of P01_109 and P27_103, with 2 segments, are wrong.*--videos FOLDER"):
        main(arguments)
    assert not (tmp_path / "epic").exists()
    main([*arguments, "--skip_missing"])
    assert "P01_109 and P27_103" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "epic/shards/multi").glob("*.parquet")] == ["P01_01.parquet"]
    only = make_index(tmp_path, rows[1:], dict.fromkeys(("P01_109", "P27_103"), 0.4))
    with pytest.raises(SystemExit, match="--videos FOLDER[.]$"):
        main([*command(only, tmp_path / "other", "--frames", str(tmp_path / "root")), "--skip_missing"])


def test_videos_of_the_erratum_are_right_themselves(tmp_path):
    index = make_index(tmp_path, [row("P27_103", 0, 0.1, 0.3)], {"P27_103": 0.4})
    (tmp_path / "P27_103.mp4").touch()
    source = EpicSource(index, tmp_path, "videos")
    assert source.units() == ["P27_103"] and source.wrong == [] and source.missing == []


def test_whole_numbers_may_be_written_as_floats(tmp_path):
    plain = row("P01_01", 0, 0.5, 1.5)
    floats = row("P01_01", 0, 0.5, 1.5, start_frame="30.0", stop_frame="90.00", verb_class="3.0", noun_class="3.")
    broken = row("P01_01", 1, 0.5, 1.5, start_frame="30.5")
    seconds = {"P01_01": 9.0}
    index = build_index(**write_tables(tmp_path / "floats", [floats, broken], seconds))
    assert index.segments == build_index(**write_tables(tmp_path / "plain", [plain], seconds)).segments
    assert [fault.reason for fault in index.faults] == ["bad number"] and "'30.5'" in index.faults[0].sentence
    path = tmp_path / "index.csv"
    path.write_text(index_csv(index.segments).replace(",30,90,60,", ",30.0,90.0,60.0,"))
    assert index_csv(read_index(path)) == index_csv(index.segments)


def test_a_first_line_that_names_the_separator_is_no_row(tmp_path):
    seconds = {"P01_01": 9.0}
    tables = write_tables(tmp_path, [row("P01_01", 0, 0.5, 1.5), row("P01_01", 1, 0.5, 1.5, verb_class=99)], seconds)
    wanted = build_index(**tables)
    for path in (*tables["annotations"], tables["verb_classes"], tables["video_info"]):
        path.write_bytes(b"sep=,\r\n" + path.read_bytes())
    found = build_index(**tables)
    assert found.segments == wanted.segments
    assert "line 3, P01_01_1" in wanted.faults[0].sentence and "line 4, P01_01_1" in found.faults[0].sentence


@pytest.mark.parametrize("key", ["NaN", "none", " n/a ", ""])
def test_what_stands_for_a_missing_name_is_no_class(tmp_path, key):
    path = write_csv(tmp_path / "verbs.csv", ("id", "key"), [(0, "take"), (1, key)])
    with pytest.raises(TableError, match="line 3: a class needs a number and a key"):
        read_classes(path)
    index = build_index(**write_tables(tmp_path, [row("P01_01", 0, 0.5, 1.5)], {"P01_01": 9.0}))
    listed = tmp_path / "index.csv"
    listed.write_text(index_csv(index.segments).replace(",drawer,", f",{key},"))
    with pytest.raises(TableError, match="line 2: 'P01_01_0' is not a segment of P01_01 with a verb and a noun"):
        read_index(listed)


def test_two_spellings_of_one_class_are_one(tmp_path):
    path = write_csv(tmp_path / "nouns.csv", ("id", "key"), [(0, "tap"), (1, "cafe\u0301")])
    assert read_classes(path) == {0: "tap", 1: "caf\u00e9"}
